//! Activation functions of networks, by name.
//!
//! | function | value | paper |
//! |---|---|---|
//! | ReLU | `max(x, 0)` | Nair and Hinton 2010 |
//! | ReLU6 | `min(max(x, 0), 6)` | Howard et al. 2017, arXiv 1704.04861 |
//! | hard sigmoid | `min(max(x + 3, 0), 6) / 6` | Howard et al. 2019, arXiv 1905.02244 |
//! | hard swish | `x` times its hard sigmoid | Howard et al. 2019, arXiv 1905.02244 |
//! | sigmoid | `1 / (1 + exp(-x))` | |
//! | SiLU (swish) | `x` times its sigmoid | Elfwing et al. 2017, arXiv 1702.03118 |
//!
//! Those that clamp pass through a convolution's or a normalisation's kernel; the others follow it in a pass of their
//! own (`kshot_kernels::pointwise`).

use burn::prelude::*;
use burn::tensor::activation;
use kshot_kernels::{Pointwise, pointwise};

use crate::nn::conv::Activation;

/// A function of each value of a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActivationFunction {
    /// Nothing.
    Identity,
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, 0), 6)`.
    Relu6,
    /// `min(max(x + 3, 0), 6) / 6`.
    HardSigmoid,
    /// `x` times its hard sigmoid.
    HardSwish,
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// `x` times its sigmoid.
    Silu,
}

impl From<Activation> for ActivationFunction {
    fn from(clamp: Activation) -> Self {
        match clamp {
            Activation::Identity => Self::Identity,
            Activation::Relu => Self::Relu,
            Activation::Relu6 => Self::Relu6,
        }
    }
}

impl ActivationFunction {
    /// The function of each value.
    ///
    /// # Shapes
    /// Any to the same.
    pub fn apply<const D: usize>(self, values: Tensor<D>) -> Tensor<D> {
        match self {
            Self::Identity => values,
            Self::Relu => activation::relu(values),
            Self::Relu6 => values.clamp(0.0, 6.0),
            Self::HardSigmoid => pointwise(values, Pointwise::HardSigmoid),
            Self::HardSwish => pointwise(values, Pointwise::HardSwish),
            Self::Sigmoid => pointwise(values, Pointwise::Sigmoid),
            Self::Silu => pointwise(values, Pointwise::Silu),
        }
    }

    /// The part that the kernels do in their own pass: all of a clamp, nothing of others.
    pub(crate) fn clamp(self) -> Activation {
        match self {
            Self::Relu => Activation::Relu,
            Self::Relu6 => Activation::Relu6,
            _ => Activation::Identity,
        }
    }

    /// What is left after [`Self::clamp`].
    pub(crate) fn after_clamp<const D: usize>(self, values: Tensor<D>) -> Tensor<D> {
        match self.clamp() {
            Activation::Identity => self.apply(values),
            _ => values,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::{ConvConfig, ConvNormAct};
    use burn::module::Module;

    /// Values and slopes by their formulas.
    fn exact(function: ActivationFunction, x: f64) -> (f64, f64) {
        let sigmoid = 1.0 / (1.0 + (-x).exp());
        let hard = ((x + 3.0) / 6.0).clamp(0.0, 1.0);
        let slope = |low: f64, high: f64| if x > low && x < high { 1.0 } else { 0.0 };
        match function {
            ActivationFunction::Identity => (x, 1.0),
            ActivationFunction::Relu => (x.max(0.0), slope(0.0, f64::INFINITY)),
            ActivationFunction::Relu6 => (x.clamp(0.0, 6.0), slope(0.0, 6.0)),
            ActivationFunction::HardSigmoid => (hard, slope(-3.0, 3.0) / 6.0),
            ActivationFunction::HardSwish => (x * hard, hard + x * slope(-3.0, 3.0) / 6.0),
            ActivationFunction::Sigmoid => (sigmoid, sigmoid * (1.0 - sigmoid)),
            ActivationFunction::Silu => (x * sigmoid, sigmoid + x * sigmoid * (1.0 - sigmoid)),
        }
    }

    const ALL: [ActivationFunction; 7] = [
        ActivationFunction::Identity,
        ActivationFunction::Relu,
        ActivationFunction::Relu6,
        ActivationFunction::HardSigmoid,
        ActivationFunction::HardSwish,
        ActivationFunction::Sigmoid,
        ActivationFunction::Silu,
    ];

    #[test]
    fn values_and_slopes_are_those_of_the_formulas() {
        let device = Device::flex().autodiff();
        let places = [-20.0f32, -4.0, -2.9, -1.5, -0.1, 0.2, 1.0, 2.9, 3.1, 5.9, 7.0, 20.0];
        for function in ALL {
            let values = Tensor::<1>::from_data(places, &device).reshape([1, 2, 3, 2]);
            let values = values.require_grad();
            let result: Tensor<4> = function.apply(values.clone());
            let gradients = result.clone().sum().backward();
            let slopes = values.grad(&gradients).unwrap();
            let read = |tensor: Tensor<4>| tensor.into_data().try_into_vec::<f32>().unwrap();
            let pairs = read(result.inner()).into_iter().zip(read(slopes));
            for (x, (value, slope)) in places.iter().zip(pairs) {
                let expected = exact(function, f64::from(*x));
                let far = (f64::from(value) - expected.0).abs() / expected.0.abs().max(1.0);
                assert!(far < 1e-6, "{function:?} of {x}: {value}, expected {}", expected.0);
                let far = (f64::from(slope) - expected.1).abs();
                assert!(
                    far < 1e-6,
                    "slope of {function:?} at {x}: {slope}, expected {}",
                    expected.1
                );
            }
        }
    }

    /// Whether a kernel does it or it follows one: while training, by running statistics, and folded.
    #[test]
    fn a_layer_applies_it_once() {
        let device = Device::flex().autodiff();
        device.seed(4);
        let images =
            Tensor::<4>::random([2, 3, 5, 4], burn::tensor::Distribution::Default, &device);
        for function in ALL {
            let plain =
                ConvNormAct::new(&ConvConfig::new([3, 4], 3), 1e-5, Activation::Identity, &device);
            let layer = ConvNormAct { activation: function, ..plain.clone() };
            let largest = |a: Tensor<4>, b: Tensor<4>| (a - b).abs().max().into_scalar::<f32>();
            let expected = function.apply(plain.forward(images.clone()));
            assert!(largest(layer.forward(images.clone()), expected) < 1e-6, "{function:?}");
            let (plain, layer, images) = (plain.valid(), layer.valid(), images.clone().inner());
            let expected = function.apply(plain.forward(images.clone()));
            assert!(
                largest(layer.forward(images.clone()), expected.clone()) < 1e-6,
                "{function:?}"
            );
            assert!(largest(layer.fold().forward(images), expected) < 1e-5, "{function:?} folded");
        }
    }
}
