//! What a step of the loop does besides the optimiser's: averages gradients over batches, clips them, thaws layers,
//! and keeps the moving average of the weights.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::prelude::*;

use super::layers::Layers;
use crate::nn::{ema, on_cpu};
use crate::recipe::{Clip, Training};

/// What happens around each step of the optimiser.
#[derive(Debug, Clone, Default)]
pub struct StepPlan {
    /// Layers that are frozen for a time.
    pub layers: Layers,
    /// The decay of the moving average of the weights, if there is one.
    ema: Option<f64>,
    /// Batches (or shares of batches, one a device) whose gradients a step is of.
    accumulate: usize,
    clip: Option<Clip>,
}

impl StepPlan {
    /// Of a training.
    pub fn of(training: &Training, layers: Layers) -> Self {
        Self { layers, ema: training.ema, accumulate: training.accumulate, clip: training.clip }
    }

    /// The same where each batch comes in so many shares, one a device.
    #[must_use]
    pub fn with_shares(self, shares: usize) -> Self {
        Self { accumulate: self.accumulate.max(1) * shares, ..self }
    }

    /// The gradients as the optimiser takes them, of the sums over the batches of a step: their mean, clipped.
    pub fn prepared<M: Module>(&self, module: &M, gradients: GradientsParams) -> GradientsParams {
        let batches = self.accumulate.max(1);
        let mean = match batches {
            1 => gradients,
            _ => changed(module, gradients, Change::Scale(1.0 / batches as f64)),
        };
        match self.clip {
            None => mean,
            Some(Clip::Value(most)) => changed(module, mean, Change::Clamp(most)),
            Some(Clip::Norm(most)) => {
                let Some(squares) = squares(module, &mean) else { return mean };
                // As PyTorch's `clip_grad_norm_`; on a GPU without waiting for the norm.
                if !on_cpu(&squares) {
                    let share = (squares.sqrt() + 1e-6).recip().mul_scalar(most).clamp_max(1.0);
                    return changed(module, mean, Change::ScaleBy(share));
                }
                let share = most / (f64::from(squares.into_scalar::<f32>()).sqrt() + 1e-6);
                if share >= 1.0 { mean } else { changed(module, mean, Change::Scale(share)) }
            }
        }
    }

    /// The moving average after step `step`, from 0.
    pub fn averaged<M: Module>(&self, average: Option<M>, network: &M, step: usize) -> Option<M> {
        let decay = ema::decay_at(self.ema?, step);
        average.map(|average| ema::moved(&average, network, decay))
    }
}

/// The squared length of all gradients as one vector, `[1]`; `None` without any.
fn squares<M: Module>(module: &M, gradients: &GradientsParams) -> Option<Tensor<1>> {
    struct Squares<'a>(&'a GradientsParams, Vec<Tensor<1>>);
    impl ModuleVisitor for Squares<'_> {
        fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
            if let Some(gradient) = self.0.get::<D>(parameter.id) {
                self.1.push(gradient.square().sum());
            }
        }
    }
    let mut squares = Squares(gradients, Vec::new());
    module.visit(&mut squares);
    (!squares.1.is_empty()).then(|| Tensor::cat(squares.1, 0).sum())
}

#[derive(Clone)]
// There is one at a time.
#[allow(clippy::large_enum_variant)]
enum Change {
    Scale(f64),
    /// By a number that lies on the device, `[1]`.
    ScaleBy(Tensor<1>),
    Clamp(f64),
}

fn changed<M: Module>(module: &M, gradients: GradientsParams, change: Change) -> GradientsParams {
    struct Changed {
        from: GradientsParams,
        to: GradientsParams,
        change: Change,
    }
    impl ModuleVisitor for Changed {
        fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
            let Some(gradient) = self.from.remove::<D>(parameter.id) else { return };
            let gradient = match &self.change {
                Change::Scale(share) => gradient * *share,
                Change::ScaleBy(share) => gradient * share.clone().unsqueeze::<D>(),
                Change::Clamp(most) => gradient.clamp(-most, *most),
            };
            self.to.register(parameter.id, gradient);
        }
    }
    let mut changed = Changed { from: gradients, to: GradientsParams::new(), change };
    module.visit(&mut changed);
    changed.to
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Module, Debug)]
    struct Pair {
        a: Param<Tensor<1>>,
        b: Param<Tensor<2>>,
    }

    /// Gradients of 3 and 4 (12 with a factor of 3).
    fn pair() -> (Pair, GradientsParams) {
        let device = Device::flex().autodiff();
        let a = Param::from_data([1.0_f32], &device);
        let b = Param::from_data([[1.0_f32]], &device);
        let pair = Pair { a, b };
        let loss = pair.a.val() * 3.0 + pair.b.val().reshape([1]) * -4.0;
        let gradients = GradientsParams::from_grads(loss.backward(), &pair);
        (pair, gradients)
    }

    fn numbers(plan: &StepPlan) -> [f32; 2] {
        let (pair, gradients) = pair();
        let gradients = plan.prepared(&pair, gradients);
        let a = gradients.get::<1>(pair.a.id).unwrap().into_scalar();
        [a, gradients.get::<2>(pair.b.id).unwrap().into_scalar()]
    }

    #[test]
    fn gradients_are_averaged_and_clipped_as_one_vector_or_each() {
        let plan = |accumulate, clip| StepPlan { accumulate, clip, ..StepPlan::default() };
        assert_eq!(numbers(&StepPlan::default()), [3.0, -4.0]);
        assert_eq!(numbers(&plan(2, None)), [1.5, -2.0]);
        assert_eq!(numbers(&plan(1, Some(Clip::Value(3.5)))), [3.0, -3.5]);
        assert_eq!(numbers(&plan(1, Some(Clip::Norm(5.5)))), [3.0, -4.0]);
        // The mean has a length of 2.5.
        assert_eq!(numbers(&plan(2, Some(Clip::Norm(2.6)))), [1.5, -2.0]);
        for (found, expected) in
            numbers(&plan(1, Some(Clip::Norm(0.5)))).iter().zip([0.3_f32, -0.4])
        {
            assert!((found - expected).abs() < 1e-6, "{found} instead of {expected}");
        }
    }
}
