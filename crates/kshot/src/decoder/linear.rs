//! A linear classifier of an encoder's features: one 1x1 convolution, whose logits are resized
//! bilinearly to the picture, as in the coarsest of Long, Shelhamer and Darrell's fully convolutional
//! networks (2015, arXiv 1411.4038). With several maps these are laid side by side at the finest
//! one's size, as hypercolumns are (Hariharan et al. 2015, arXiv 1411.5752).
//!
//! Each map is convolved before it is resized: the same function as on concatenated, resized maps, at
//! a fraction of the work.

use burn::module::Module;
use burn::prelude::*;

use super::{Decode, DecodeConfig, check_classes};
use crate::encoder::Features;
use crate::error::{Error, Result};
use crate::nn::{Conv, ConvConfig};

/// What a [`LinearDecoder`] is made from.
#[derive(
    Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(deny_unknown_fields, default)]
pub struct LinearConfig {
    /// How many of the coarsest maps are used.
    #[schemars(range(min = 1, max = 16))]
    pub maps: usize,
}

impl Default for LinearConfig {
    fn default() -> Self {
        Self { maps: 1 }
    }
}

/// The decoder.
#[derive(Module, Debug)]
pub struct LinearDecoder {
    /// One for each map used, finest first; the first has the bias.
    layers: Vec<Conv>,
    /// Maps of the encoder.
    maps: usize,
}

impl DecodeConfig for LinearConfig {
    type Network = LinearDecoder;

    const NAME: &'static str = "linear";
    const SUMMARY: &'static str = "a 1x1 convolution of the coarsest maps, resized to the picture";
    const SOURCE: &'static str = "https://arxiv.org/abs/1411.4038";

    /// # Errors
    /// If there are fewer maps than are to be used, or none, or no classes.
    fn init(
        &self,
        channels: &[usize],
        _strides: &[usize],
        classes: usize,
        device: &Device,
    ) -> Result<LinearDecoder> {
        check_classes(classes)?;
        if self.maps == 0 || self.maps > channels.len() {
            return Err(Error::config(format!(
                "a linear decoder of {} maps; this encoder has {}, of which at least 1 is used",
                self.maps,
                channels.len()
            )));
        }
        let used = &channels[channels.len() - self.maps..];
        let layers = used.iter().enumerate().map(|(index, &channels)| {
            ConvConfig::new([channels, classes], 1).init(index == 0, device)
        });
        Ok(LinearDecoder { layers: layers.collect(), maps: channels.len() })
    }

    fn optimize(network: LinearDecoder) -> LinearDecoder {
        LinearDecoder { layers: network.layers.into_iter().map(Conv::compile).collect(), ..network }
    }
}

impl Decode for LinearDecoder {
    fn forward(&self, features: &Features, size: [usize; 2]) -> Tensor<4> {
        assert_eq!(features.maps.len(), self.maps, "maps of the encoder, and of the decoder's");
        let used = &features.maps[self.maps - self.layers.len()..];
        let logits = self.layers.iter().zip(used).map(|(layer, map)| layer.forward(map.clone()));
        let sum = logits.reduce(|finest, coarser| {
            let [.., height, width] = finest.dims();
            finest + kshot_kernels::bilinear(coarser, [height, width], false)
        });
        match sum {
            Some(sum) => kshot_kernels::bilinear(sum, size, false),
            None => unreachable!("a linear decoder has a layer"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Distribution;

    #[test]
    fn several_maps_are_as_if_concatenated() {
        let device = Device::flex();
        device.seed(2);
        let network = LinearConfig { maps: 2 }.init(&[5, 3, 4], &[2, 4, 8], 6, &device).unwrap();
        let map = |shape: [usize; 4]| Tensor::<4>::random(shape, Distribution::Default, &device);
        let maps = vec![map([2, 5, 9, 7]), map([2, 3, 5, 4]), map([2, 4, 3, 2])];
        let resized = kshot_kernels::bilinear(maps[2].clone(), [5, 4], false);
        let both = Tensor::cat(vec![maps[1].clone(), resized], 1);
        let kernels = network.layers.iter().map(|layer| layer.weight.val()).collect();
        let bias = network.layers[0].bias.as_ref().map(|bias| bias.val() + 0.5);
        let options = burn::tensor::ops::ConvOptions::new([1; 2], [0; 2], [1; 2], 1);
        let expected = crate::nn::conv2d(both, Tensor::cat(kernels, 1), bias, options) - 0.5;
        let expected = kshot_kernels::bilinear(expected, [17, 13], false);
        let features = Features { maps };
        let plain = network.forward(&features, [17, 13]);
        let optimized = LinearConfig::optimize(network).forward(&features, [17, 13]);
        for ours in [plain, optimized] {
            let apart = (ours - expected.clone()).abs().max().into_scalar::<f32>();
            assert!(apart < 1e-5, "{apart}");
        }
    }

    #[test]
    fn more_maps_than_there_are_is_refused() {
        let device = Device::flex();
        for maps in [0, 3] {
            let config = LinearConfig { maps };
            let error = config.init(&[8, 8], &[4, 8], 2, &device).unwrap_err().to_string();
            assert!(error.contains("this encoder has 2"), "{error}");
        }
    }
}
