//! Batch normalisation and ReLU before a convolution instead of behind it: pre-activation (He et al. 2016,
//! arXiv 1603.05027).

use burn::module::{Module, Param};
use burn::prelude::*;

use crate::nn::conv::{Activation, Conv, ConvConfig};
use crate::nn::norm::BatchNorm;

/// Batch normalisation, then ReLU.
#[derive(Module, Debug)]
pub struct NormRelu {
    /// None once it is folded.
    norm: Option<BatchNorm>,
    /// A factor and a shift of each channel, once it is folded.
    folded: Option<Conv>,
}

impl NormRelu {
    /// Of so many channels.
    pub fn new(channels: usize, device: &Device) -> Self {
        Self { norm: Some(BatchNorm::new(channels, device)), folded: None }
    }

    /// # Shapes
    /// `[batch, channels, height, width]` to the same
    pub fn forward(&self, images: Tensor<4>) -> Tensor<4> {
        match (&self.norm, &self.folded) {
            (Some(norm), _) => norm.forward(images, Activation::Relu),
            (None, Some(folded)) => folded.activated(images, Activation::Relu),
            (None, None) => unreachable!("a normalisation is folded or not"),
        }
    }

    /// The same function for inference in one pass, by the running statistics. Folding twice changes
    /// nothing.
    #[must_use]
    pub fn fold(self) -> Self {
        let Some(norm) = &self.norm else { return self };
        let (scale, shift) = norm.affine();
        let [channels] = scale.dims();
        let mut conv = ConvConfig::new([channels; 2], 1).depthwise().init(true, &scale.device());
        conv.weight = Param::from_tensor(scale.detach().reshape([channels, 1, 1, 1]));
        conv.bias = Some(Param::from_tensor(shift.detach()));
        Self { norm: None, folded: Some(conv.compile()) }
    }
}

/// Batch normalisation and ReLU, then a convolution without bias.
#[derive(Module, Debug)]
pub struct NormReluConv {
    first: NormRelu,
    conv: Conv,
}

impl NormReluConv {
    /// With random kernels.
    pub fn new(config: &ConvConfig, device: &Device) -> Self {
        Self { first: NormRelu::new(config.channels[0], device), conv: config.init(false, device) }
    }

    /// # Shapes
    /// `[batch, channels_in, height, width]` to `[batch, channels_out, height', width']`
    pub fn forward(&self, images: Tensor<4>) -> Tensor<4> {
        self.conv.forward(self.first.forward(images))
    }

    /// The same function, faster, for inference only. Folding twice changes nothing.
    #[must_use]
    pub fn fold(self) -> Self {
        Self { first: self.first.fold(), conv: self.conv.compile() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Distribution;

    #[test]
    fn folding_keeps_the_function() {
        let device = Device::flex().autodiff();
        let layer = NormReluConv::new(&ConvConfig::new([5, 3], 3), &device);
        let images = Tensor::<4>::random([2, 5, 6, 7], Distribution::Normal(1.0, 2.0), &device);
        // Moves the running statistics.
        assert_eq!(layer.forward(images.clone()).dims(), [2, 3, 6, 7]);
        let (layer, images) = (layer.valid(), images.inner());
        let expected = layer.forward(images.clone());
        let folded = layer.fold().fold().forward(images);
        let difference: f32 = (expected - folded).abs().max().into_scalar();
        assert!(difference < 1e-5, "folded differs by {difference}");
    }
}
