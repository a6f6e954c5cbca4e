//! Layers of the encoder that stay as they are for a time, or learn at rates of their own.
//!
//! Rates are those of timm and BEiT (Bao et al. 2021, arXiv 2106.08254): the decoder's is the recipe's, that of the
//! encoder's last stage `encoder_rate * layer_decay` of it, and each stage before that has `layer_decay` of the one
//! behind it.

use std::sync::Arc;

use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::module::{Module, ParamGroup, ParamId};

use crate::contract::Objective;
use crate::encoder::stages::{self, StageParameters};
use crate::error::{Error, Result};
use crate::recipe::{Freeze, FrozenLayers, Model, Training};

/// What a recipe says of layers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LayerPlan {
    frozen: Option<FrozenLayers>,
    encoder_rate: f64,
    layer_decay: f64,
}

impl Default for LayerPlan {
    /// All learn alike.
    fn default() -> Self {
        Self { frozen: None, encoder_rate: 1.0, layer_decay: 1.0 }
    }
}

impl From<&Model> for LayerPlan {
    fn from(model: &Model) -> Self {
        let frozen = match model.freeze {
            Some(Freeze::Layers(layers)) => Some(layers),
            _ => None,
        };
        let (encoder_rate, layer_decay) = (model.encoder_rate, model.layer_decay);
        Self { frozen, encoder_rate, layer_decay }
    }
}

/// The layers of what is trained.
#[derive(Debug, Clone, Default)]
pub struct Layers {
    plan: LayerPlan,
    stages: Arc<Vec<StageParameters>>,
}

impl Layers {
    /// Of an objective as it is before anything is frozen by steps.
    ///
    /// # Errors
    /// If it has no encoder and the plan asks for one's layers, or there are fewer stages than are to be frozen.
    pub fn of<O: Objective>(plan: LayerPlan, objective: &O) -> Result<Self> {
        if plan == LayerPlan::default() {
            return Ok(Self::default());
        }
        let wrong = |key: &str, text: String| Err(Error::config(text).at_key(key));
        let Some(encoder) = objective.encoder() else {
            return wrong(
                "model",
                "freeze as a table, encoder_rate and layer_decay are for an encoder, and this method has none"
                    .to_owned(),
            );
        };
        let stages = stages::stages(encoder);
        let (asked, all) = (plan.frozen.map_or(0, |frozen| frozen.stages), stages.len());
        if asked > all {
            return wrong(
                "model.freeze.stages",
                format!(
                    "{asked}; this encoder has {all} stages (all of them: freeze = \"encoder\")"
                ),
            );
        }
        Ok(Self { plan, stages: Arc::new(stages) })
    }

    /// How many of the first stages are frozen at a step.
    fn frozen(&self, step: usize) -> usize {
        self.plan.frozen.map_or(0, |frozen| frozen.frozen(step, self.stages.len()))
    }

    /// The module as it takes step `step` (from 0).
    #[must_use]
    pub fn at_step<M: Module>(&self, module: M, step: usize) -> M {
        if self.plan.frozen.is_none() {
            return module;
        }
        let (still, learning) = self.stages.split_at(self.frozen(step));
        module.freeze_group(group(still)).unfreeze_group(group(learning))
    }

    /// The module after step `step`, as it takes the next one.
    #[must_use]
    pub fn after_step<M: Module>(&self, module: M, step: usize) -> M {
        if self.frozen(step) == self.frozen(step + 1) {
            return module;
        }
        self.at_step(module, step + 1)
    }

    /// The learning rates of a training.
    ///
    /// # Errors
    /// If the schedule is out of range.
    pub fn schedule(&self, train: &Training) -> Result<ModuleLrScheduler> {
        let all = train.schedule.init(train.learning_rate, train.steps)?;
        let LayerPlan { encoder_rate, layer_decay, .. } = self.plan;
        if encoder_rate == 1.0 && layer_decay == 1.0 {
            return Ok(all);
        }
        let stages = self.stages.iter().rev().enumerate();
        Ok(stages.fold(all, |all, (below, stage)| {
            let power = i32::try_from(below + 1).unwrap_or(i32::MAX);
            let rate = train.learning_rate * encoder_rate * layer_decay.powi(power);
            let ids = ParamGroup::from_ids(stage.parameters.clone());
            all.with_group(ids, train.schedule.scheduler(rate, train.steps))
        }))
    }
}

fn group(stages: &[StageParameters]) -> ParamGroup {
    let ids: Vec<ParamId> = stages
        .iter()
        .flat_map(|stage| stage.parameters.iter().chain(&stage.flags))
        .copied()
        .collect();
    ParamGroup::from_ids(ids)
}
