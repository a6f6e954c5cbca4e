//! The rules for the training itself: how many steps, how fast, and how often rare classes come.

use super::DataFindings;
use super::input::Patches;
use super::network::is_pretrained;
use super::rules::{Choice, RARE, Shares, Wishes, table};

/// The share of patches around a pixel of a class, where one is rare.
const BALANCED: f64 = 0.33;
/// The decoder's learning rate beside an encoder that is fine-tuned, and that of a network that learns from scratch.
const FINE_TUNED: f64 = 3e-3;
const FROM_SCRATCH: f64 = 1e-3;
/// Rounds over the pictures, and the bounds of the steps that make them.
const ROUNDS: usize = 60;
const STEPS: std::ops::RangeInclusive<usize> = 600..=6000;
/// Validations of a training.
pub(crate) const VALIDATIONS: usize = 10;

pub(super) fn training(found: &DataFindings, wishes: &Wishes, patches: &Patches) -> Vec<Choice> {
    let batch = patches.of_step();
    let learnt = Shares::of(found, wishes).learnt(found.pictures);
    let by_rounds = (ROUNDS * learnt).div_ceil(batch);
    let (steps, why) = match wishes.steps() {
        Some(steps) => (steps, "as asked for".to_owned()),
        None => {
            let steps = by_rounds.clamp(*STEPS.start(), *STEPS.end());
            (steps, format!("about {} rounds over the pictures", steps * batch / learnt.max(1)))
        }
    };
    let mut all = patches.choices();
    if let Some(class) = found.rarest().filter(|class| class.share < RARE) {
        let why = format!(
            "a third of the patches is cut around a pixel of a class, so that `{}` ({:.2} % of the pixels) is seen",
            class.name,
            100.0 * class.share
        );
        all.push(Choice::new("train.balanced", BALANCED, why));
    }
    all.extend(schedule(steps, &why));
    let rate = if is_pretrained(wishes) { FINE_TUNED } else { FROM_SCRATCH };
    all.extend([
        Choice::new("train.seed", wishes.seed as i64, ""),
        Choice::new("train.monitor", "mean_iou", ""),
        Choice::new(
            "train.optimizer",
            table("value = { name = \"adamw\", weight_decay = 0.01 }"),
            "",
        ),
        Choice::new("train.learning_rate", rate, ""),
    ]);
    all
}

/// The keys that follow from the number of steps.
pub fn schedule(steps: usize, why: &str) -> Vec<Choice> {
    let every = steps.div_ceil(VALIDATIONS).max(1);
    let warmup = steps / 20;
    let poly = format!("value = {{ name = \"poly\", power = 0.9, warmup = {warmup} }}");
    vec![
        Choice::new("train.steps", steps as i64, why),
        Choice::new("train.validate_every", every as i64, ""),
        Choice::new("train.schedule", table(&poly), ""),
    ]
}
