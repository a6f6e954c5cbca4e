//! Instance normalisation (Ulyanov, Vedaldi and Lempitsky 2016, arXiv 1607.08022), and nnU-Net's layer of it: a
//! convolution, instance normalisation and a leaky ReLU (Maas, Hannun and Ng 2013).
//!
//! Each picture's channels are normalised by their own mean and variance, in training and inference alike, so there are
//! no running statistics, and nothing depends on what else is in a batch.

use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::prelude::*;
use kshot_kernels::{Activation, NormOptions, instance_norm};

use crate::nn::conv::{Conv, ConvConfig};

/// Added to variances.
const EPSILON: f64 = 1e-5;
/// The slope of the leaky ReLU below 0.
const SLOPE: f64 = 0.01;

/// Instance normalisation of one layer's channels.
#[derive(Module, Debug)]
pub struct InstanceNorm {
    /// The factor of each channel, `[channels]`.
    pub gamma: Param<Tensor<1>>,
    /// What is added to each channel, `[channels]`.
    pub beta: Param<Tensor<1>>,
}

impl InstanceNorm {
    /// Of so many channels: gamma 1, beta 0, epsilon 1e-5.
    pub fn new(channels: usize, device: &Device) -> Self {
        Self {
            gamma: Initializer::Ones.init([channels], device),
            beta: Initializer::Zeros.init([channels], device),
        }
    }

    /// Normalises, then applies a leaky ReLU of that slope below 0; 1 leaves it out. In one kernel on the CPU.
    ///
    /// A map of a single pixel has no variance: its result is beta.
    ///
    /// # Shapes
    /// `[batch, channels, height, width]` to the same
    ///
    /// # Panics
    /// If there are other than `channels` channels.
    pub fn forward(&self, images: Tensor<4>, slope: f64) -> Tensor<4> {
        let (activation, leak) = match slope {
            1.0 => (Activation::Identity, 0.0),
            slope => (Activation::Relu, slope as f32),
        };
        let options = NormOptions { epsilon: EPSILON, activation, leak };
        instance_norm(images, self.gamma.val(), self.beta.val(), options)
    }
}

/// A convolution without bias (normalisation would take it away again), instance normalisation and a leaky ReLU.
#[derive(Module, Debug)]
pub struct ConvInstanceNorm {
    /// The convolution.
    pub conv: Conv,
    /// The normalisation of its result.
    pub norm: InstanceNorm,
}

impl ConvInstanceNorm {
    /// Random kernels as nnU-Net starts them (see [`he`]).
    pub fn new(config: &ConvConfig, device: &Device) -> Self {
        let norm = InstanceNorm::new(config.channels[1], device);
        Self { conv: he_conv(config, false, device), norm }
    }

    /// Convolves, normalises and activates.
    ///
    /// # Shapes
    /// `[batch, channels_in, height, width]` to `[batch, channels_out, height', width']`
    pub fn forward(&self, images: Tensor<4>) -> Tensor<4> {
        self.norm.forward(self.conv.forward(images), SLOPE)
    }

    /// The same function, faster on the CPU, for inference only.
    #[must_use]
    pub fn compile(self) -> Self {
        Self { conv: self.conv.compile(), ..self }
    }
}

/// Random weights by He et al.'s normal law for leaky ReLUs of slope 0.01 (2015, arXiv 1502.01852), over so many inputs.
pub fn he<const D: usize>(shape: [usize; D], inputs: usize, device: &Device) -> Param<Tensor<D>> {
    let gain = (2.0 / (1.0 + SLOPE * SLOPE)).sqrt();
    let initializer = Initializer::KaimingNormal { gain, fan_out_only: false };
    initializer.init_with(shape, Some(inputs), None, device)
}

/// A convolution with kernels by [`he`] and, where asked, a bias of 0.
pub fn he_conv(config: &ConvConfig, bias: bool, device: &Device) -> Conv {
    let inside = config.channels[0] / config.groups;
    let shape = [config.channels[1], inside, config.kernel[0], config.kernel[1]];
    let weight = he(shape, inside * config.kernel[0] * config.kernel[1], device);
    let mut conv = config.init(bias, device);
    conv.weight = weight;
    conv
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Distribution;

    #[test]
    fn pictures_are_normalised_apart() {
        let device = Device::flex();
        let images = Tensor::<4>::random([3, 4, 5, 6], Distribution::Normal(7.0, 3.0), &device);
        let norm = InstanceNorm {
            gamma: Param::from_tensor(Tensor::from_data([0.5, 1.0, -2.0, 3.0], &device)),
            beta: Param::from_tensor(Tensor::from_data([0.1, -0.2, 0.3, 0.0], &device)),
        };
        let all = norm.forward(images.clone(), SLOPE);
        for picture in 0..3 {
            let alone = norm.forward(images.clone().narrow(0, picture, 1), SLOPE);
            let apart = (all.clone().narrow(0, picture, 1) - alone).abs().max();
            assert!(apart.into_scalar::<f32>() < 1e-6);
        }
        // By the definition.
        let flat = images.reshape([12, 30]);
        let (variance, mean) = flat.clone().var_mean_bias(1);
        let normal = ((flat - mean) / (variance + EPSILON).sqrt()).reshape([3, 4, 5, 6]);
        let [gamma, beta] = [&norm.gamma, &norm.beta].map(|of| of.val().reshape([1, 4, 1, 1]));
        let expected = burn::tensor::activation::leaky_relu(normal * gamma + beta, SLOPE);
        assert!((all - expected).abs().max().into_scalar::<f32>() < 1e-5);
    }

    #[test]
    fn a_slope_of_one_leaves_the_activation_out() {
        let device = Device::flex();
        let norm = InstanceNorm::new(1, &device);
        let images = Tensor::<4>::from_data([[[[1.0f32, 3.0]]]], &device);
        let values: Vec<f32> = norm.forward(images.clone(), 1.0).into_data().iter().collect();
        assert!((values[0] + 1.0).abs() < 1e-4 && (values[1] - 1.0).abs() < 1e-4, "{values:?}");
        let values: Vec<f32> = norm.forward(images, 0.1).into_data().iter().collect();
        assert!((values[0] + 0.1).abs() < 1e-5 && (values[1] - 1.0).abs() < 1e-4, "{values:?}");
    }
}
