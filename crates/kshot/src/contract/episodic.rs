//! Methods that label whole pictures and learn from episodes: what they share.

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::prelude::*;
use burn::tensor::activation::softmax;

use crate::contract::StepResult;
use crate::data::batch::Episode;
use crate::device;
use crate::metric::state::MetricState;
use crate::nn::on_cpu;

/// What training on some episodes gave.
pub struct EpisodeStep {
    /// Mean loss over the episodes.
    pub loss: f32,
    /// Share of queries labelled right, 0 to 1; `None` where a method has none.
    pub accuracy: Option<f32>,
    /// The gradient for the optimiser.
    pub gradients: GradientsParams,
    /// Loss and accuracy, `[1]` each, where they lie on a device still; the numbers above then say nothing.
    pub unread: Option<[Tensor<1>; 2]>,
}

/// A method that labels queries from a few labelled pictures. Support and query arrive together, so that there is no
/// hidden state.
pub trait FewShot: Module {
    /// Logits of the queries, `[queries, ways]`: their softmax is a probability.
    fn predict(&self, episode: &Episode<1>) -> Tensor<2>;

    /// The training loss, and the logits it is of; on the autodiff side.
    fn loss(&self, episode: &Episode<1>) -> (Tensor<1>, Tensor<2>);

    /// The gradient over some episodes. Methods with an inner loop have their own.
    fn step(&self, episodes: &[Episode<1>]) -> EpisodeStep {
        let share = 1.0 / episodes.len() as f32;
        let mut losses = Vec::with_capacity(episodes.len());
        let mut shares = Vec::new();
        let mut right = 0.0;
        for episode in episodes {
            let (loss, scores) = self.loss(episode);
            let scores = scores.inner();
            if on_cpu(&scores) {
                right += accuracy(&scores, &episode.query.labels) * share;
            } else {
                shares.push(share_right(&scores, &episode.query.labels));
            }
            losses.push(loss);
        }
        let total = Tensor::cat(losses, 0).mean();
        let loss = total.clone().inner();
        let gradients = GradientsParams::from_grads(total.backward(), self);
        if shares.is_empty() {
            let loss = scalar(&loss);
            return EpisodeStep { loss, accuracy: Some(right), gradients, unread: None };
        }
        let unread = Some([loss, Tensor::cat(shares, 0).mean()]);
        EpisodeStep { loss: f32::NAN, accuracy: None, gradients, unread }
    }

    /// Whether a query's label depends on the other queries.
    fn is_transductive(&self) -> bool {
        false
    }
}

/// A training step of a method on some episodes.
pub fn step<M: FewShot>(method: &M, episodes: &[Episode<1>]) -> StepResult {
    // Noise that a method draws is the same whether training was interrupted or not.
    if let Some(first) = episodes.first() {
        let id = first.id;
        device::seed(&first.query.images.device(), id.seed.rotate_left(32) ^ id.index);
    }
    let EpisodeStep { loss, accuracy, gradients, unread } = FewShot::step(method, episodes);
    let (loss, count) = (f64::from(loss), episodes.len() as f64);
    if let Some([loss, accuracy]) = unread {
        let metrics = MetricState::default()
            .with_unread_mean("loss", loss, count)
            .with_unread_mean("accuracy", accuracy, count);
        return StepResult { loss: f64::NAN, gradients, metrics };
    }
    let mut metrics = MetricState::default().with_mean("loss", loss, count);
    if let Some(accuracy) = accuracy {
        metrics = metrics.with_mean("accuracy", f64::from(accuracy), count);
    }
    StepResult { loss, gradients, metrics }
}

/// The share of rows whose highest score is that of the label; rows labelled 255 do not count.
pub fn accuracy(scores: &Tensor<2>, labels: &Tensor<1, Int>) -> f32 {
    let [rows, _] = scores.dims();
    let labels = labels.clone().reshape([rows]);
    let labels = if labels.is_autodiff() { labels.inner() } else { labels };
    let found = scores.clone().argmax(1).reshape([rows]);
    let right: f32 = found.equal(labels.clone()).float().sum().into_scalar();
    let counted: f32 = labels.lower_elem(255).float().sum().into_scalar();
    right / counted.max(1.0)
}

/// As [`accuracy`], `[1]`, left on the device; of scores `[rows, classes]` and labels `[rows]`, or of `[batch, classes,
/// height, width]` and `[batch, height, width]`.
pub fn share_right<const D: usize, const R: usize>(
    scores: &Tensor<D>,
    labels: &Tensor<R, Int>,
) -> Tensor<1> {
    let labels = labels.clone();
    let labels = if labels.is_autodiff() { labels.inner() } else { labels };
    let found = scores.clone().argmax(1).reshape(labels.dims());
    let right = found.equal(labels.clone()).float().sum();
    right / labels.lower_elem(255).float().sum().clamp_min(1.0)
}

/// The single value of a tensor.
pub fn scalar(tensor: &Tensor<1>) -> f32 {
    tensor.clone().into_scalar()
}

/// The mean cross entropy of logits with labels.
pub fn cross_entropy(scores: Tensor<2>, labels: &Tensor<1, Int>) -> Tensor<1> {
    crate::nn::dual::Dual::from(scores).cross_entropy(labels.clone()).value
}

/// Logits of the mean probabilities of several predictions, `[queries, ways]` each: the answer of a
/// method that draws something anew for each of them.
///
/// # Panics
/// Without a prediction.
pub fn mixture(predictions: impl ExactSizeIterator<Item = Tensor<2>>) -> Tensor<2> {
    let share = 1.0 / predictions.len() as f64;
    let mean = predictions.map(|scores| softmax(scores, 1) * share).reduce(|sum, one| sum + one);
    (mean.expect("there is at least one prediction") + 1e-8).log()
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::TensorData;

    #[test]
    fn the_share_left_on_a_device_is_the_accuracy() {
        let device = Device::flex();
        let scores =
            Tensor::<2>::from_floats([[2.0, 1.0], [0.0, 3.0], [1.0, 0.0], [5.0, 4.0]], &device);
        let labels = Tensor::<1, Int>::from_ints([0, 0, 0, 255], &device);
        let share: f32 = share_right(&scores, &labels).into_scalar();
        assert_eq!(share, 2.0 / 3.0);
        assert_eq!(accuracy(&scores, &labels), share);
    }

    #[test]
    fn a_mixture_is_the_mean_of_probabilities() {
        let device = Device::default();
        let of = |row: [f32; 2]| {
            Tensor::<2>::from_data(TensorData::new(row.map(f32::ln).to_vec(), [1, 2]), &device)
        };
        let mixed = mixture([of([0.9, 0.1]), of([0.5, 0.5])].into_iter());
        let found: Vec<f32> = softmax(mixed, 1).into_data().iter::<f32>().collect();
        assert!((found[0] - 0.7).abs() < 1e-6 && (found[1] - 0.3).abs() < 1e-6, "{found:?}");
    }
}
