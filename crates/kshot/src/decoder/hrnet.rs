//! HRNetV2's head (Sun et al. 2019, arXiv 1904.04514; Wang et al. 2019, arXiv 1908.07919): all maps of stride
//! 4 or more side by side at the finest one's size, a 1x1 convolution with batch normalisation and ReLU, and
//! one to logits.
//!
//! Each map is convolved before it is resized, and the sum is normalised: the same function as on
//! concatenated, resized maps, at a fraction of the work.
//!
//! Deviations: the first convolution has no bias, which the normalisation behind it would take away again;
//! any encoder will do that has maps of two strides; where the maps have more than 720 channels together,
//! those of the widest network of the papers, the hidden layer has 720.

use burn::module::{Module, Param};
use burn::prelude::*;
use kshot_kernels::{add_activated, scale_kernels};

use super::{Decode, DecodeConfig, check_classes};
use crate::encoder::Features;
use crate::error::{Error, Result};
use crate::nn::{Activation, BatchNorm, Conv, ConvConfig};

/// Widths that make sense.
const WIDTHS: std::ops::RangeInclusive<usize> = 1..=1024;
/// Of HRNet-W48's four branches together.
const WIDEST: usize = 720;
/// Finer maps are not used.
pub(crate) const FINEST: usize = 4;

/// What a [`HrNetHead`] is made from.
#[derive(
    Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(deny_unknown_fields, default)]
pub struct HrNetHeadConfig {
    /// Channels of the hidden layer; those of all maps together, at most 720, if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = *WIDTHS.start(), max = *WIDTHS.end()))]
    pub width: Option<usize>,
}

/// The decoder.
#[derive(Module, Debug)]
pub struct HrNetHead {
    /// One for each map used, finest first. The first has a bias once the normalisation is part of the
    /// kernels.
    layers: Vec<Conv>,
    /// Of their sum; none once it is part of the kernels.
    norm: Option<BatchNorm>,
    classify: Conv,
    /// Maps of the encoder.
    maps: usize,
}

impl DecodeConfig for HrNetHeadConfig {
    type Network = HrNetHead;

    const NAME: &'static str = "hrnet";
    const SUMMARY: &'static str =
        "HRNet's: all maps at the finest one's size, and two 1x1 convolutions";
    const SOURCE: &'static str = "https://arxiv.org/abs/1908.07919";

    /// # Errors
    /// If the maps of stride 4 or more are not of two strides, the width is out of bounds, or there are no
    /// classes.
    fn init(
        &self,
        channels: &[usize],
        strides: &[usize],
        classes: usize,
        device: &Device,
    ) -> Result<HrNetHead> {
        check_classes(classes)?;
        let skipped = strides.iter().take_while(|stride| **stride < FINEST).count();
        let (used, strides_used) = (&channels[skipped..], &strides[skipped..]);
        if strides_used.first() == strides_used.last() {
            return Err(Error::config(format!(
                "decoder hrnet on maps of strides {strides:?}: it needs maps of two strides or more, of \
                 {FINEST} and above"
            )));
        }
        let width = self.width.unwrap_or_else(|| used.iter().sum::<usize>().min(WIDEST));
        if !WIDTHS.contains(&width) {
            return Err(Error::config(format!(
                "decoder hrnet with width = {width}; valid are {} to {}",
                WIDTHS.start(),
                WIDTHS.end()
            )));
        }
        let layers = used
            .iter()
            .map(|&channels| ConvConfig::new([channels, width], 1).init(false, device))
            .collect();
        Ok(HrNetHead {
            layers,
            norm: Some(BatchNorm::new(width, device)),
            classify: ConvConfig::new([width, classes], 1).init(true, device),
            maps: channels.len(),
        })
    }

    fn optimize(network: HrNetHead) -> HrNetHead {
        let HrNetHead { mut layers, norm, classify, maps } = network;
        if let Some(norm) = norm {
            let (scale, shift) = norm.affine();
            for layer in &mut layers {
                let scaled = scale_kernels(layer.weight.val(), scale.clone());
                layer.weight = Param::from_tensor(scaled.detach());
            }
            layers[0].bias = Some(Param::from_tensor(shift.detach()));
        }
        let layers = layers.into_iter().map(Conv::compile).collect();
        HrNetHead { layers, norm: None, classify: classify.compile(), maps }
    }
}

impl Decode for HrNetHead {
    fn forward(&self, features: &Features, size: [usize; 2]) -> Tensor<4> {
        assert_eq!(features.maps.len(), self.maps, "maps of the encoder, and of the decoder's");
        let used = &features.maps[self.maps - self.layers.len()..];
        let [.., height, width] = used[0].dims();
        let mut maps = self.layers.iter().zip(used).map(|(layer, map)| {
            kshot_kernels::bilinear(layer.forward(map.clone()), [height, width], false)
        });
        let (Some(mut sum), Some(mut last)) = (maps.next(), maps.next()) else {
            unreachable!("an HRNet head is of two maps or more")
        };
        for map in maps {
            sum = sum + last;
            last = map;
        }
        let hidden = match &self.norm {
            Some(norm) => norm.forward(sum + last, Activation::Relu),
            None => add_activated(sum, last, Activation::Relu),
        };
        kshot_kernels::bilinear(self.classify.forward(hidden), size, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_of_one_stride_and_widths_out_of_bounds_are_refused() {
        let device = Device::flex();
        for (width, strides, expected) in [
            (None, [2, 4, 4], "strides [2, 4, 4]"),
            (None, [1, 2, 2], "strides [1, 2, 2]"),
            (None, [16, 16, 16], "two strides or more"),
            (Some(0), [2, 4, 8], "width = 0"),
            (Some(1025), [2, 4, 8], "1 to 1024"),
        ] {
            let config = HrNetHeadConfig { width };
            let error = config.init(&[3, 4, 5], &strides, 2, &device).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn the_hidden_layer_is_as_wide_as_the_maps_together() {
        let device = Device::flex();
        for (channels, expected) in
            [([64, 18, 36, 72, 144], 270), ([64, 256, 512, 1024, 2048], 720)]
        {
            let network =
                HrNetHeadConfig::default().init(&channels, &[2, 4, 8, 16, 32], 2, &device).unwrap();
            assert_eq!(network.classify.weight.dims()[1], expected);
        }
    }
}
