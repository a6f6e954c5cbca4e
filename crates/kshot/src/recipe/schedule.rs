//! `train.schedule`: how the learning rate changes over a training, as a pure function of the step.

use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::lr_scheduler::{LrScheduler, LrSchedulerRecord};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::names::Row;
use crate::recipe::named::name_or_table;
use crate::schema::or_name;

/// The schedule: a bare name, or a table with its settings and the steps of warm-up.
///
/// The learning rate of the first `warmup` steps rises evenly from 0 to the recipe's
/// (`(step + 1) / warmup` of it, so that no step is lost); the schedule runs over the steps behind them.
///
/// ```
/// use kshot::recipe::schedule::ScheduleConfig;
/// let schedule: ScheduleConfig = toml::from_str("name = 'poly'\nwarmup = 2").unwrap();
/// let rates: Vec<f64> = (0..4).map(|step| schedule.rate(1.0, step, 4)).collect();
/// assert_eq!(rates[..3], [0.5, 1.0, 1.0]);
/// assert!((rates[3] - 0.5f64.powf(0.9)).abs() < 1e-12);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(remote = "Self")]
#[schemars(transform = or_name)]
pub struct ScheduleConfig {
    /// What happens behind the warm-up, with its own keys.
    #[serde(flatten)]
    pub decay: Decay,
    /// Steps of warm-up.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1_000_000_000))]
    pub warmup: usize,
}

name_or_table!(ScheduleConfig, "a schedule");

/// How the learning rate decays.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "name", rename_all = "lowercase")]
pub enum Decay {
    /// [`Constant`]
    Constant(Constant),
    /// [`StepSchedule`]
    Step(StepSchedule),
    /// [`Poly`]
    Poly(Poly),
    /// [`Cosine`]
    Cosine(Cosine),
    /// [`LinearSchedule`]
    Linear(LinearSchedule),
}

impl Default for Decay {
    /// Constant.
    fn default() -> Self {
        Self::Constant(Constant {})
    }
}

/// Not at all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Constant {}

/// By a factor every so many steps, as `torch.optim.lr_scheduler.StepLR`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct StepSchedule {
    /// How many steps lie between two changes.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub every: usize,
    /// The factor.
    #[schemars(extend("exclusiveMinimum" = 0.0), range(max = 1.0))]
    pub gamma: f64,
}

impl Default for StepSchedule {
    fn default() -> Self {
        Self { every: 10_000, gamma: 0.1 }
    }
}

/// By a power of the share of steps left, as `PolynomialLR` and DeepLab (arXiv 1606.00915).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Poly {
    /// The power.
    #[schemars(extend("exclusiveMinimum" = 0.0), range(max = 100.0))]
    pub power: f64,
}

impl Default for Poly {
    fn default() -> Self {
        Self { power: 0.9 }
    }
}

/// Along half a cosine, as `CosineAnnealingLR` (Loshchilov and Hutter, *SGDR*, ICLR 2017, arXiv
/// 1608.03983; without restarts).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Cosine {
    /// The share of the learning rate that it goes down to, 0 to 1.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub minimum: f64,
}

/// Evenly; what follows the last step would have the minimum.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LinearSchedule {
    /// The share of the learning rate that it goes down to, 0 to 1.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub minimum: f64,
}

/// The schedules, for people.
pub fn rows() -> Vec<Row> {
    const TORCH: &str = "https://docs.pytorch.org/docs/stable/optim.html";
    ScheduleConfig::all()
        .iter()
        .map(|config| {
            let (summary, source) = match config.decay {
                Decay::Constant(_) => ("the learning rate stays", TORCH),
                Decay::Step(_) => ("by a factor every so many steps", TORCH),
                Decay::Poly(_) => {
                    ("by a power of the share of steps left", "https://arxiv.org/abs/1606.00915")
                }
                Decay::Cosine(_) => ("along half a cosine", "https://arxiv.org/abs/1608.03983"),
                Decay::Linear(_) => ("evenly", TORCH),
            };
            Row {
                name: config.name().to_owned(),
                summary: summary.to_owned(),
                source: Some(source.to_owned()),
            }
        })
        .collect()
}

impl From<Decay> for ScheduleConfig {
    /// Without warm-up.
    fn from(decay: Decay) -> Self {
        Self { decay, warmup: 0 }
    }
}

impl ScheduleConfig {
    /// Each schedule with its defaults.
    pub fn all() -> Vec<Self> {
        let all = [
            Decay::Constant(Constant {}),
            Decay::Step(StepSchedule::default()),
            Decay::Poly(Poly::default()),
            Decay::Cosine(Cosine::default()),
            Decay::Linear(LinearSchedule::default()),
        ];
        all.into_iter().map(Self::from).collect()
    }

    /// The name in recipes.
    pub fn name(&self) -> &'static str {
        match self.decay {
            Decay::Constant(_) => "constant",
            Decay::Step(_) => "step",
            Decay::Poly(_) => "poly",
            Decay::Cosine(_) => "cosine",
            Decay::Linear(_) => "linear",
        }
    }

    /// Checks the settings for a training of so many steps.
    ///
    /// # Errors
    /// If one is out of range; the key `train.schedule` is named.
    pub fn check(&self, steps: usize) -> Result<()> {
        let wrong = |text: String| {
            let message = format!("{}: {text}", self.name());
            Err(Error::config(message).at_key("train.schedule"))
        };
        if self.warmup > steps {
            return wrong(format!("warmup of {} steps; the training has {steps}", self.warmup));
        }
        match &self.decay {
            Decay::Step(StepSchedule { every: 0, .. }) => {
                wrong("every 0 steps; valid are 1 and more".to_owned())
            }
            Decay::Step(StepSchedule { gamma, .. }) if !(*gamma > 0.0 && *gamma <= 1.0) => {
                wrong(format!("gamma {gamma}; valid are above 0 to 1"))
            }
            Decay::Poly(Poly { power }) if !(*power > 0.0 && power.is_finite()) => {
                wrong(format!("power {power}; valid are above 0"))
            }
            Decay::Cosine(Cosine { minimum }) | Decay::Linear(LinearSchedule { minimum })
                if !(0.0..=1.0).contains(minimum) =>
            {
                wrong(format!("minimum {minimum}; valid are shares of 0 to 1"))
            }
            _ => Ok(()),
        }
    }

    /// The learning rate of a step, from 0, of a training of `steps` with the recipe's rate `base`.
    /// Steps behind the last have the rate that the schedule goes down to.
    pub fn rate(&self, base: f64, step: usize, steps: usize) -> f64 {
        if step < self.warmup {
            return base * (step + 1) as f64 / self.warmup as f64;
        }
        let steps = steps.saturating_sub(self.warmup).max(1);
        let taken = step - self.warmup;
        let left = steps.saturating_sub(taken);
        match &self.decay {
            Decay::Constant(_) => base,
            Decay::Step(StepSchedule { every, gamma }) => {
                let changes = taken / (*every).max(1);
                base * gamma.powi(i32::try_from(changes).unwrap_or(i32::MAX))
            }
            Decay::Poly(Poly { power }) => base * (left as f64 / steps as f64).powf(*power),
            Decay::Cosine(Cosine { minimum }) => {
                let last = base * minimum;
                let place = (steps - left) as f64 / steps as f64;
                last + (base - last) * (1.0 + (std::f64::consts::PI * place).cos()) / 2.0
            }
            Decay::Linear(LinearSchedule { minimum }) => {
                let last = base * minimum;
                // In the order of burn's linear scheduler, for the same bits.
                last - (last - base) / steps as f64 * left as f64
            }
        }
    }

    /// A scheduler for burn's learner, which goes on where its record left off.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn init(&self, base: f64, steps: usize) -> Result<ModuleLrScheduler> {
        self.check(steps)?;
        Ok(ModuleLrScheduler::new(self.scheduler(base, steps)))
    }

    /// The same for some of the parameters.
    pub fn scheduler(&self, base: f64, steps: usize) -> Scheduler {
        Scheduler { schedule: self.clone(), base, steps, step: 0 }
    }
}

/// Steps through [`ScheduleConfig::rate`]; its record is the number of steps taken.
#[derive(Debug, Clone)]
pub struct Scheduler {
    schedule: ScheduleConfig,
    base: f64,
    steps: usize,
    step: usize,
}

/// The record's only number.
const STEP: &str = "step";

impl LrScheduler for Scheduler {
    fn step(&mut self) -> f64 {
        let rate = self.schedule.rate(self.base, self.step, self.steps);
        self.step += 1;
        rate
    }

    fn to_record(&self) -> LrSchedulerRecord {
        LrSchedulerRecord::new().with_scalar(STEP, self.step as u64)
    }

    fn load_record(&mut self, record: LrSchedulerRecord) {
        if let Some(step) = record.scalar::<u64>(STEP) {
            self.step = step as usize;
        }
    }
}
