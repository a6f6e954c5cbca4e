//! Numbers of training steps that lie on a device still: many are read together, since each reading waits for
//! all that the device was told before.

use burn::prelude::*;

use crate::metric::confusion::Confusion;
use crate::metric::state::MetricState;
use crate::nn::weights::plain;

/// Something that a step gave and nobody has read.
#[derive(Debug, Clone)]
pub(super) enum Unread {
    /// The mean of a number, `[1]`, over a weight.
    Mean { name: String, value: Tensor<1>, weight: f64 },
    /// Pixels by actual and predicted class, `[classes, classes]`.
    Confusion { counts: Tensor<2>, background: bool },
}

/// What is not read is like nothing else.
impl PartialEq for Unread {
    fn eq(&self, _: &Self) -> bool {
        false
    }
}

impl Unread {
    fn device(&self) -> Device {
        match self {
            Self::Mean { value, .. } => value.device(),
            Self::Confusion { counts, .. } => counts.device(),
        }
    }

    /// Its numbers in one row.
    fn row(&self) -> Tensor<1> {
        match self {
            Self::Mean { value, .. } => value.clone(),
            Self::Confusion { counts, .. } => {
                let [classes, _] = counts.dims();
                counts.clone().reshape([classes * classes])
            }
        }
    }

    /// How many numbers these are.
    fn len(&self) -> usize {
        match self {
            Self::Mean { .. } => 1,
            Self::Confusion { counts, .. } => counts.dims().iter().product(),
        }
    }

    /// Adds it to a state, from its numbers.
    fn add(self, state: MetricState, numbers: &[f64]) -> MetricState {
        match self {
            Self::Mean { name, weight, .. } => state.with_mean(&name, numbers[0], weight),
            Self::Confusion { counts, background } => {
                let classes = counts.dims()[0];
                let counts = Confusion::from_counts(classes, numbers.to_vec());
                state.with_confusion(counts.with_background(background))
            }
        }
    }
}

/// Reads everything, once a device, and adds it to a state.
pub(super) fn read(unread: Vec<Unread>, mut state: MetricState) -> MetricState {
    let mut left = unread;
    while let Some(first) = left.first() {
        let device = first.device();
        let (here, elsewhere): (Vec<_>, Vec<_>) =
            left.into_iter().partition(|one: &Unread| one.device() == device);
        left = elsewhere;
        let rows = Tensor::cat(here.iter().map(Unread::row).collect(), 0);
        let numbers: Vec<f64> = rows.into_data().iter::<f64>().collect();
        let mut rest = &numbers[..];
        for one in here {
            let (own, others) = rest.split_at(one.len());
            rest = others;
            state = one.add(state, own);
        }
    }
    state
}

/// Counts pixels where the logits lie: rows are the truth, columns the class of the highest logit; labels that are
/// no class (void, unlabelled) count nothing. Counts are exact up to 2^24 a cell.
///
/// # Shapes
/// - `logits`: `[batch, classes, height, width]`
/// - `labels`: `[batch, height, width]`
/// - returns `[classes, classes]`
pub fn counted(logits: Tensor<4>, labels: Tensor<3, Int>) -> Tensor<2> {
    let logits = plain(logits);
    let [batch, classes, height, width] = logits.dims();
    let pixels = height * width;
    let columns = Tensor::<1, Int>::arange(0..classes as i64, &logits.device());
    let labels = if labels.is_autodiff() { labels.inner() } else { labels };
    // Labels that were made on another device may be of another width.
    let labels = labels.cast(columns.dtype());
    let truth = labels.reshape([batch, 1, pixels]);
    let found = logits.argmax(1).reshape([batch, pixels, 1]);
    let truth = truth.equal(columns.clone().reshape([1, classes, 1])).float();
    let found = found.equal(columns.reshape([1, 1, classes])).float();
    truth.matmul(found).sum_dim(0).reshape([classes, classes])
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;

    use super::*;

    #[test]
    fn pixels_counted_on_a_device_are_those_counted_on_the_cpu() {
        let device = Device::flex();
        let [batch, classes, height, width] = [2, 3, 5, 7];
        let values: Vec<f32> =
            (0..batch * classes * height * width).map(|at| ((at * 7919) % 101) as f32).collect();
        let labels: Vec<i64> =
            (0..batch * height * width).map(|at| [0, 1, 2, 255, 254][at * 31 % 5]).collect();
        let logits = Tensor::<4>::from_data(
            TensorData::new(values, [batch, classes, height, width]),
            &device,
        );
        let truth = Tensor::<3, Int>::from_data(
            TensorData::new(labels.clone(), [batch, height, width]),
            &device,
        );
        let found: Vec<u8> =
            logits.clone().argmax(1).into_data().iter::<i64>().map(|label| label as u8).collect();
        let labels: Vec<u8> = labels.into_iter().map(|label| label as u8).collect();
        let mut expected = Confusion::new(classes).with_background(false);
        expected.add_pixels(&labels, &found).unwrap();
        let loss = Tensor::<1>::from_floats([0.5], &device);
        let mut state = MetricState::default();
        for _ in 0..2 {
            state.merge(
                &MetricState::default()
                    .with_unread_mean("loss", loss.clone(), 3.0)
                    .with_unread_confusion(counted(logits.clone(), truth.clone()), false),
            );
        }
        assert!(state.is_unread());
        assert_eq!((state.value("loss"), state.confusion()), (None, None));
        state.read();
        assert!(!state.is_unread());
        let mut twice = expected.clone();
        twice.merge(&expected);
        assert_eq!(state.confusion(), Some(&twice));
        assert_eq!(state, MetricState::default().with_mean("loss", 0.5, 6.0).with_confusion(twice));
    }
}
