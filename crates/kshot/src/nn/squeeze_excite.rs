//! Squeeze-and-excitation: each channel is weighted by what the means of all channels say.
//!
//! - Paper: Hu et al., *Squeeze-and-Excitation Networks*, 2017, <https://arxiv.org/abs/1709.01507>
//!
//! The two linear layers are convolutions of size 1 with bias, as in torchvision and timm. The paper's gate
//! is the sigmoid; MobileNetV3's is the hard sigmoid.

use burn::module::Module;
use burn::prelude::*;
use kshot_kernels::scale_kernels;

use crate::nn::activation::ActivationFunction;
use crate::nn::{Activation, Conv, ConvConfig, global_average};

/// Weights for each channel of each picture, from the channels' means: a linear layer to fewer channels, ReLU, a
/// linear layer back, and the gate.
#[derive(Module, Debug)]
pub struct SqueezeExcite {
    /// To fewer channels.
    pub reduce: Conv,
    /// Back to all of them.
    pub expand: Conv,
    #[module(skip)]
    gate: ActivationFunction,
}

impl SqueezeExcite {
    /// For so many channels, squeezed to so many.
    pub fn new(
        [channels, squeezed]: [usize; 2],
        gate: ActivationFunction,
        device: &Device,
    ) -> Self {
        Self {
            reduce: ConvConfig::new([channels, squeezed], 1).init(true, device),
            expand: ConvConfig::new([squeezed, channels], 1).init(true, device),
            gate,
        }
    }

    /// The weighted maps.
    ///
    /// # Shapes
    /// `[batch, channels, height, width]` to the same
    pub fn forward(&self, maps: Tensor<4>) -> Tensor<4> {
        let [batch, channels, height, width] = maps.dims();
        let means = global_average(maps.clone());
        let squeezed = self.reduce.activated(means, Activation::Relu);
        let weights = self.gate.apply(self.expand.forward(squeezed));
        // Each plane is what a kernel is there: something with a factor of its own.
        let planes = maps.reshape([batch * channels, 1, height, width]);
        let weighted = scale_kernels(planes, weights.reshape([batch * channels]));
        weighted.reshape([batch, channels, height, width])
    }

    /// The same function, faster, for inference only.
    #[must_use]
    pub fn fold(self) -> Self {
        Self { reduce: self.reduce.compile(), expand: self.expand.compile(), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Distribution;

    fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
        let values = tensor.into_data().try_into_vec::<f32>().unwrap();
        values.into_iter().map(f64::from).collect()
    }

    /// By the definition, in 64 bits.
    fn exact(block: &SqueezeExcite, maps: &[f64], channels: usize, area: usize) -> Vec<f64> {
        let linear = |layer: &Conv, input: &[f64]| -> Vec<f64> {
            let weight = values(layer.weight.val().inner());
            let bias = values(layer.bias.as_ref().unwrap().val().inner());
            let rows = weight.chunks_exact(input.len()).zip(bias);
            rows.map(|(row, bias)| row.iter().zip(input).map(|(w, x)| w * x).sum::<f64>() + bias)
                .collect()
        };
        let mut result = Vec::new();
        for picture in maps.chunks_exact(channels * area) {
            let planes = picture.chunks_exact(area);
            let means: Vec<f64> =
                planes.clone().map(|plane| plane.iter().sum::<f64>() / area as f64).collect();
            let squeezed = linear(&block.reduce, &means).into_iter().map(|x| x.max(0.0));
            let weights = linear(&block.expand, &squeezed.collect::<Vec<_>>());
            for (plane, x) in planes.zip(weights) {
                let gate = match block.gate {
                    ActivationFunction::HardSigmoid => ((x + 3.0) / 6.0).clamp(0.0, 1.0),
                    _ => 1.0 / (1.0 + (-x).exp()),
                };
                result.extend(plane.iter().map(|value| value * gate));
            }
        }
        result
    }

    #[test]
    fn channels_are_weighted_by_the_definition() {
        let device = Device::flex().autodiff();
        device.seed(6);
        for gate in [ActivationFunction::Sigmoid, ActivationFunction::HardSigmoid] {
            let block = SqueezeExcite::new([5, 3], gate, &device);
            let maps = Tensor::<4>::random([2, 5, 3, 4], Distribution::Default, &device);
            let maps = (maps - 0.4).require_grad();
            let result = block.forward(maps.clone());
            let expected = exact(&block, &values(maps.clone().inner()), 5, 12);
            for (ours, expected) in values(result.clone().inner()).iter().zip(&expected) {
                assert!((ours - expected).abs() < 1e-6, "{ours} instead of {expected}");
            }
            let folded = block.valid().fold().forward(maps.clone().inner());
            for (ours, expected) in values(folded).iter().zip(&expected) {
                assert!((ours - expected).abs() < 1e-6, "{ours} instead of {expected}, folded");
            }

            // The gradient of the sum of squares, against differences of the definition.
            let gradients = result.powi_scalar(2).sum().backward();
            let gradient = values(maps.grad(&gradients).unwrap());
            let at = values(maps.inner());
            for (index, gradient) in gradient.iter().enumerate().step_by(7) {
                let loss = |step: f64| {
                    let mut moved = at.clone();
                    moved[index] += step;
                    exact(&block, &moved, 5, 12).iter().map(|value| value * value).sum::<f64>()
                };
                let expected = (loss(1e-4) - loss(-1e-4)) / 2e-4;
                assert!((gradient - expected).abs() < 1e-4, "{gradient} instead of {expected}");
            }
        }
    }
}
