//! `train.optimizer`: stochastic gradient descent, Adam, AdamW, with PyTorch's defaults.

use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamConfig, AdamWConfig, ModuleOptimizer, SgdConfig};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::names::Row;
use crate::recipe::named::name_or_table;
use crate::schema::or_name;

/// The optimiser: a bare name, or a table with its settings.
///
/// ```
/// use kshot::recipe::optimizer::OptimizerConfig;
/// #[derive(serde::Deserialize)]
/// struct Train { optimizer: OptimizerConfig }
/// let read = |text| toml::from_str::<Train>(text).unwrap().optimizer;
/// assert_eq!(read("optimizer = 'adam'"), OptimizerConfig::default());
/// read("optimizer = { name = 'sgd', momentum = 0.9, weight_decay = 5e-4 }");
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "name", rename_all = "lowercase", remote = "Self")]
#[schemars(transform = or_name)]
pub enum OptimizerConfig {
    /// [`Sgd`]
    Sgd(Sgd),
    /// [`Adam`]
    Adam(Adam),
    /// [`AdamW`]
    AdamW(AdamW),
}

name_or_table!(OptimizerConfig, "an optimizer");

/// Stochastic gradient descent, as `torch.optim.SGD` (without dampening).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Sgd {
    /// Share of the last step that is kept, 0 (none) to below 1.
    #[schemars(range(min = 0.0, max = 0.999_999))]
    pub momentum: f64,
    /// Added to gradients by this share of the parameters (L2 penalty).
    #[schemars(range(min = 0.0, max = 100.0))]
    pub weight_decay: f64,
    /// Nesterov's momentum, which looks one step ahead.
    pub nesterov: bool,
}

/// Adam (Kingma and Ba, ICLR 2015, arXiv 1412.6980), as `torch.optim.Adam`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Adam {
    /// Decay of the mean of gradients, 0 to below 1.
    #[schemars(range(min = 0.0, max = 0.999_999))]
    pub beta1: f64,
    /// Decay of the mean of their squares, 0 to below 1.
    #[schemars(range(min = 0.0, max = 0.999_999))]
    pub beta2: f64,
    /// Added to the root of the squares' mean.
    #[schemars(range(min = 1e-30, max = 1.0))]
    pub epsilon: f64,
    /// Added to gradients by this share of the parameters (L2 penalty).
    #[schemars(range(min = 0.0, max = 100.0))]
    pub weight_decay: f64,
}

impl Default for Adam {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.0 }
    }
}

/// Adam with decoupled weight decay (Loshchilov and Hutter, ICLR 2019, arXiv 1711.05101), as
/// `torch.optim.AdamW`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AdamW {
    /// Decay of the mean of gradients, 0 to below 1.
    #[schemars(range(min = 0.0, max = 0.999_999))]
    pub beta1: f64,
    /// Decay of the mean of their squares, 0 to below 1.
    #[schemars(range(min = 0.0, max = 0.999_999))]
    pub beta2: f64,
    /// Added to the root of the squares' mean.
    #[schemars(range(min = 1e-30, max = 1.0))]
    pub epsilon: f64,
    /// Each step takes the learning rate times this share off the parameters.
    #[schemars(range(min = 0.0, max = 100.0))]
    pub weight_decay: f64,
}

impl Default for AdamW {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.01 }
    }
}

impl Default for OptimizerConfig {
    /// Adam.
    fn default() -> Self {
        Self::Adam(Adam::default())
    }
}

/// The optimisers, for people.
pub fn rows() -> Vec<Row> {
    OptimizerConfig::all()
        .iter()
        .map(|config| {
            let (summary, source) = match config {
                OptimizerConfig::Sgd(_) => (
                    "stochastic gradient descent with momentum and weight decay",
                    "https://docs.pytorch.org/docs/stable/generated/torch.optim.SGD.html",
                ),
                OptimizerConfig::Adam(_) => {
                    ("steps scaled by the gradients' moments", "https://arxiv.org/abs/1412.6980")
                }
                OptimizerConfig::AdamW(_) => {
                    ("Adam with decoupled weight decay", "https://arxiv.org/abs/1711.05101")
                }
            };
            Row {
                name: config.name().to_owned(),
                summary: summary.to_owned(),
                source: Some(source.to_owned()),
            }
        })
        .collect()
}

impl OptimizerConfig {
    /// Each optimiser with its defaults.
    pub fn all() -> Vec<Self> {
        vec![Self::Sgd(Sgd::default()), Self::Adam(Adam::default()), Self::AdamW(AdamW::default())]
    }

    /// The name in recipes.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Sgd(_) => "sgd",
            Self::Adam(_) => "adam",
            Self::AdamW(_) => "adamw",
        }
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// If one is out of range; the key `train.optimizer` is named.
    pub fn check(&self) -> Result<()> {
        let wrong = |text: String| {
            let message = format!("{}: {text}", self.name());
            Err(Error::config(message).at_key("train.optimizer"))
        };
        let shares: &[(&str, f64)] = match self {
            Self::Sgd(sgd) => &[("momentum", sgd.momentum)],
            Self::Adam(Adam { beta1, beta2, .. }) | Self::AdamW(AdamW { beta1, beta2, .. }) => {
                &[("beta1", *beta1), ("beta2", *beta2)]
            }
        };
        for (key, value) in shares {
            if !(0.0..1.0).contains(value) {
                return wrong(format!("{key} {value}; valid are 0 to below 1"));
            }
        }
        let (decay, epsilon) = match self {
            Self::Sgd(sgd) => (sgd.weight_decay, 1.0),
            Self::Adam(adam) => (adam.weight_decay, adam.epsilon),
            Self::AdamW(adam) => (adam.weight_decay, adam.epsilon),
        };
        if !(decay.is_finite() && decay >= 0.0) {
            return wrong(format!("weight_decay {decay}; valid are 0 and more"));
        }
        // Below it, 32-bit floats divide by 0.
        if !(1e-30..=1.0).contains(&epsilon) {
            return wrong(format!("epsilon {epsilon}; valid are 1e-30 to 1"));
        }
        match self {
            Self::Sgd(Sgd { nesterov: true, momentum: 0.0, .. }) => {
                wrong("nesterov needs a momentum above 0".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// The optimiser, for all parameters of a module.
    pub fn init(&self) -> ModuleOptimizer {
        let decay =
            |share: f64| (share > 0.0).then_some(WeightDecayConfig { penalty: share as f32 });
        match self {
            Self::Sgd(Sgd { momentum, weight_decay, nesterov }) => {
                let momentum = (*momentum > 0.0).then_some(MomentumConfig {
                    momentum: *momentum,
                    dampening: 0.0,
                    nesterov: *nesterov,
                });
                let config = SgdConfig::new().with_momentum(momentum);
                config.with_weight_decay(decay(*weight_decay)).init()
            }
            Self::Adam(Adam { beta1, beta2, epsilon, weight_decay }) => AdamConfig::new()
                .with_beta_1(*beta1 as f32)
                .with_beta_2(*beta2 as f32)
                .with_epsilon(*epsilon as f32)
                .with_weight_decay(decay(*weight_decay))
                .init(),
            Self::AdamW(AdamW { beta1, beta2, epsilon, weight_decay }) => AdamWConfig::new()
                .with_beta_1(*beta1 as f32)
                .with_beta_2(*beta2 as f32)
                .with_epsilon(*epsilon as f32)
                .with_weight_decay(*weight_decay as f32)
                .init(),
        }
    }
}
