//! A linear layer at each place of a map: a 1x1 convolution, so that vectors of channels (tokens) never change
//! their layout, and everything that convolutions can (folding, low precision) goes for linear layers too.
//!
//! Tokens are places of a map `[batch, channels, 1, tokens]` all over the library.

use burn::nn::Initializer;
use burn::prelude::*;

use crate::nn::{Conv, ConvConfig};

/// A linear layer `[channels_in, channels_out]` with Glorot's uniform law, as the vision transformer's authors start
/// theirs; a bias starts at zero. Its weight is `[channels_out, channels_in, 1, 1]`.
pub fn linear(channels: [usize; 2], bias: bool, device: &Device) -> Conv {
    ConvConfig::new(channels, 1).init_by(&Initializer::XavierUniform { gain: 1.0 }, bias, device)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Distribution;

    #[test]
    fn each_token_is_multiplied_by_the_weight() {
        let device = Device::flex();
        device.seed(4);
        let layer = linear([5, 3], false, &device);
        let tokens = Tensor::<4>::random([2, 5, 1, 7], Distribution::Default, &device);
        let weight = layer.weight.val().reshape([1, 3, 5]);
        let expected = weight.repeat_dim(0, 2).matmul(tokens.clone().reshape([2, 5, 7]));
        let ours = layer.forward(tokens).reshape([2, 3, 7]);
        let apart = (ours - expected).abs().max().into_scalar::<f32>();
        assert!(apart < 1e-5, "{apart}");
    }
}
