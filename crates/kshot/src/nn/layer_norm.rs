//! Layer normalisation (Ba, Kiros and Hinton 2016, arXiv 1607.06450) of the channels of each place: of tokens
//! `[batch, channels, 1, tokens]`, and of maps as in ConvNeXt (Liu et al. 2022, arXiv 2201.03545).

use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::prelude::*;

/// Brings the channels of each place to mean 0 and variance 1 (the biased one, as PyTorch), then scales and shifts
/// each channel.
#[derive(Module, Debug)]
pub struct LayerNorm {
    /// `[channels]`
    pub gamma: Param<Tensor<1>>,
    /// `[channels]`
    pub beta: Param<Tensor<1>>,
    #[module(skip)]
    epsilon: f64,
}

impl LayerNorm {
    /// With scales of 1 and shifts of 0; `epsilon` is added to the variance.
    pub fn new(channels: usize, epsilon: f64, device: &Device) -> Self {
        Self {
            gamma: Initializer::Ones.init([channels], device),
            beta: Initializer::Zeros.init([channels], device),
            epsilon,
        }
    }

    /// Normalises each place.
    ///
    /// # Shapes
    /// `[batch, channels, height, width]` to the same
    ///
    /// # Panics
    /// If there are other channels than the layer's.
    pub fn forward(&self, images: Tensor<4>) -> Tensor<4> {
        let [_, channels, ..] = images.dims();
        assert_eq!(self.gamma.dims(), [channels], "channels of a layer normalisation");
        kshot_kernels::layer_norm2d(images, self.gamma.val(), self.beta.val(), self.epsilon)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_place_is_normalised_alone() {
        let device = Device::flex();
        let mut norm = LayerNorm::new(4, 0.0, &device);
        let shifted = Tensor::from_data([0.0, 0.0, 10.0, 0.0], &device);
        norm.beta = Param::from_tensor(shifted);
        // Two places: 1, 2, 3, 4 (mean 2.5, variance 1.25), and the same a hundred times as large.
        let data = [[[[1.0f32, 100.0]], [[2.0, 200.0]], [[3.0, 300.0]], [[4.0, 400.0]]]];
        let ours = norm.forward(Tensor::from_data(data, &device));
        let ours = ours.into_data().try_into_vec::<f32>().unwrap();
        let (near, far) = (0.5 / 1.25f32.sqrt(), 1.5 / 1.25f32.sqrt());
        for (channel, expected) in [-far, -near, near + 10.0, far].into_iter().enumerate() {
            for place in 0..2 {
                let apart = (ours[2 * channel + place] - expected).abs();
                assert!(apart < 1e-5, "{channel} {place}: {ours:?}");
            }
        }
    }
}
