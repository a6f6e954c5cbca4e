//! The exponential moving average of a network's parameters and running statistics (Polyak and Juditsky 1992; as
//! kept beside the network by Tarvainen and Valpola, *Mean teachers are better role models*, 2017, arXiv 1703.01780).
//!
//! After each step `average += (1 - decay) * (network - average)`. The decay warms up as TensorFlow's
//! `ExponentialMovingAverage` does, so that the random start is soon forgotten: `min(decay, (1 + step) / (10 + step))`.
//! Running statistics of batch normalisation are averaged with the rest, as in timm's `ModelEmaV2`.

use std::collections::VecDeque;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::prelude::*;

use crate::nn::weights::{deep_copy, plain};

/// The decay at a step, from 0.
pub fn decay_at(decay: f64, step: usize) -> f64 {
    let step = step as f64;
    decay.min((1.0 + step) / (10.0 + step))
}

/// The average, moved towards a network: what is no floating-point number is the network's own.
///
/// # Panics
/// If the average is of another network.
#[must_use]
pub fn moved<M: Module>(average: &M, network: &M, decay: f64) -> M {
    let mut numbers = Numbers::default();
    average.visit(&mut numbers);
    // A copy, because a clone would share the network's running statistics.
    let moved = deep_copy(network).map(&mut Mixer { average: numbers.0, decay });
    moved.no_grad()
}

/// The numbers of a module in the order of its parameters.
#[derive(Default)]
struct Numbers(VecDeque<Tensor<1>>);

impl ModuleVisitor for Numbers {
    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
        let value = plain(parameter.base());
        let count = value.dims().iter().product::<usize>();
        self.0.push_back(value.reshape([count]));
    }
}

struct Mixer {
    average: VecDeque<Tensor<1>>,
    decay: f64,
}

impl ModuleMapper for Mixer {
    fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(average) = self.average.pop_front() else {
            panic!("the average has fewer parameters than the network")
        };
        parameter.map(|value| {
            let now = plain(value.clone());
            let average = average.reshape(now.dims());
            // In this form what does not change stays to the bit.
            let mixed = average.clone() + (now - average) * (1.0 - self.decay);
            if value.is_autodiff() { Tensor::from_inner(mixed) } else { mixed }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::{Activation, ConvConfig, ConvNormAct};
    use burn::tensor::Distribution;

    fn numbers(layer: &ConvNormAct) -> Vec<f32> {
        let mut all = Numbers::default();
        layer.visit(&mut all);
        let all = Tensor::cat(all.0.into_iter().collect(), 0);
        all.into_data().iter::<f32>().collect()
    }

    #[test]
    fn parameters_and_statistics_are_averaged_and_the_network_is_left_alone() {
        let device = Device::flex().autodiff();
        device.seed(5);
        let layer = |_| {
            let layer =
                ConvNormAct::new(&ConvConfig::new([2, 3], 3), 1e-5, Activation::Relu, &device);
            // Moves the running statistics.
            layer.forward(Tensor::random([2, 2, 5, 5], Distribution::Default, &device));
            deep_copy(&layer)
        };
        let [first, second] = [0, 1].map(layer);
        let before = [numbers(&first), numbers(&second)];
        let average = moved(&first, &second, 0.9);
        assert_eq!([numbers(&first), numbers(&second)], before);
        let found = numbers(&average);
        assert_eq!(found.len(), 3 * 2 * 9 + 4 * 3);
        for ((found, first), second) in found.iter().zip(&before[0]).zip(&before[1]) {
            let expected = 0.9 * first + 0.1 * second;
            assert!((found - expected).abs() < 1e-6, "{found} instead of {expected}");
        }
        assert_eq!(numbers(&moved(&first, &first, 0.999)), before[0]);
        let mut tracked = false;
        struct Tracked<'a>(&'a mut bool);
        impl ModuleVisitor for Tracked<'_> {
            fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
                *self.0 |= parameter.is_require_grad();
            }
        }
        average.visit(&mut Tracked(&mut tracked));
        assert!(!tracked, "an average takes no gradient");
    }

    #[test]
    fn the_decay_warms_up() {
        assert_eq!(decay_at(0.999, 0), 0.1);
        assert_eq!(decay_at(0.5, 8), 0.5);
        assert_eq!(decay_at(0.999, 1_000_000), 0.999);
    }
}
