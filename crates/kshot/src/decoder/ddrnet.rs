//! DDRNet's decoder (Hong et al. 2021, arXiv 2101.06085): the coarsest map through [`Dappm`], added to the
//! stride-8 map, and a small head of two convolutions. While it trains, another such head sees the first
//! stride-8 map.
//!
//! Made for DDRNet, whose encoder has two maps of stride 8; on encoders with one both heads see that one.
//! Those without one are refused, and so are those without a coarser map.
//!
//! Deviations: where the high-resolution map has other channels than the authors', DAPPM makes as many as it
//! has and the heads half as many, as in DDRNet-23.

use burn::module::Module;
use burn::prelude::*;

use super::{AuxiliaryLogits, Dappm, Decode, DecodeConfig, TrainLogits, check_classes};
use crate::encoder::Features;
use crate::encoder::keys::{self, Renamed};
use crate::error::{Error, Result};
use crate::nn::{Activation, Conv, ConvConfig, ConvNormAct, NormRelu};

/// Added to variances.
const EPSILON: f64 = 1e-5;
/// Widths that make sense.
const WIDTHS: std::ops::RangeInclusive<usize> = 1..=1024;
/// Weights of the auxiliary head that make sense.
const WEIGHTS: std::ops::RangeInclusive<f64> = 0.0..=10.0;
/// Stride of the map that is labelled.
const STRIDE: usize = 8;

/// What a [`DdrNetHead`] is made from.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DdrNetHeadConfig {
    /// Channels of each scale of the pyramid.
    #[schemars(range(min = *WIDTHS.start(), max = *WIDTHS.end()))]
    pub pyramid: usize,
    /// Channels of the heads; half of the stride-8 map's if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = *WIDTHS.start(), max = *WIDTHS.end()))]
    pub width: Option<usize>,
    /// What the auxiliary head's loss counts beside the main one's 1; with 0 there is no such head.
    #[schemars(range(min = *WEIGHTS.start(), max = *WEIGHTS.end()))]
    pub auxiliary: f64,
}

impl Default for DdrNetHeadConfig {
    fn default() -> Self {
        Self { pyramid: 128, width: None, auxiliary: 0.4 }
    }
}

impl DdrNetHeadConfig {
    /// # Errors
    /// If a setting is out of bounds.
    fn check(&self) -> Result<()> {
        let (least, most) = (WIDTHS.start(), WIDTHS.end());
        for (name, width) in [("pyramid", Some(self.pyramid)), ("width", self.width)] {
            if let Some(width) = width.filter(|width| !WIDTHS.contains(width)) {
                return Err(Error::config(format!(
                    "decoder ddrnet with {name} = {width}; valid are {least} to {most}"
                )));
            }
        }
        if !WEIGHTS.contains(&self.auxiliary) {
            return Err(Error::config(format!(
                "decoder ddrnet with auxiliary = {}; valid are {} to {}",
                self.auxiliary,
                WEIGHTS.start(),
                WEIGHTS.end()
            )));
        }
        Ok(())
    }
}

/// The decoder.
#[derive(Module, Debug)]
pub struct DdrNetHead {
    pyramid: Dappm,
    head: SegmentationHead,
    auxiliary: Option<SegmentationHead>,
    /// What the auxiliary head counts.
    weight: f64,
    /// Of the encoder's maps, the one the auxiliary head sees and the one that is labelled.
    fine: [usize; 2],
    /// Maps of the encoder.
    maps: usize,
}

impl DecodeConfig for DdrNetHeadConfig {
    type Network = DdrNetHead;

    const NAME: &'static str = "ddrnet";
    const SUMMARY: &'static str =
        "DDRNet's: a pooling pyramid of the coarsest map, added to the stride-8 map";
    const SOURCE: &'static str = "https://arxiv.org/abs/2101.06085";

    /// # Errors
    /// If there is no map of stride 8 or none coarser, a setting is out of bounds, or there are no classes.
    fn init(
        &self,
        channels: &[usize],
        strides: &[usize],
        classes: usize,
        device: &Device,
    ) -> Result<DdrNetHead> {
        check_classes(classes)?;
        self.check()?;
        let fine = |stride: &usize| *stride == STRIDE;
        let (first, last) = (strides.iter().position(fine), strides.iter().rposition(fine));
        let coarsest = strides.last().zip(channels.last()).filter(|(stride, _)| **stride > STRIDE);
        let (Some(first), Some(last), Some((_, coarse))) = (first, last, coarsest) else {
            return Err(Error::config(format!(
                "decoder ddrnet on maps of strides {strides:?}: it needs one of stride {STRIDE} and a \
                 coarser one"
            )));
        };
        let head = |map: usize| {
            let width = self.width.unwrap_or_else(|| (channels[last] / 2).max(1));
            SegmentationHead::new(channels[map], width, classes, device)
        };
        Ok(DdrNetHead {
            pyramid: Dappm::new([*coarse, channels[last]], self.pyramid, device),
            head: head(last),
            auxiliary: (self.auxiliary > 0.0).then(|| head(first)),
            weight: self.auxiliary,
            fine: [first, last],
            maps: channels.len(),
        })
    }

    fn optimize(network: DdrNetHead) -> DdrNetHead {
        DdrNetHead {
            pyramid: network.pyramid.optimize(),
            head: network.head.fold(),
            auxiliary: None,
            ..network
        }
    }

    fn rename(&self, foreign: &str) -> Renamed {
        keys::ddrnet::rename_decoder(foreign, self.auxiliary > 0.0)
    }
}

impl DdrNetHead {
    /// Logits of the stride-8 map's pixels.
    fn logits(&self, features: &Features) -> Tensor<4> {
        assert_eq!(features.maps.len(), self.maps, "maps of the encoder, and of the decoder's");
        let [.., coarsest] = features.maps.as_slice() else {
            unreachable!("every encoder has a map")
        };
        let fine = features.maps[self.fine[1]].clone();
        let [.., height, width] = fine.dims();
        let context = self.pyramid.forward(coarsest.clone());
        self.head.forward(fine + kshot_kernels::bilinear(context, [height, width], false))
    }
}

impl Decode for DdrNetHead {
    fn forward(&self, features: &Features, size: [usize; 2]) -> Tensor<4> {
        kshot_kernels::bilinear(self.logits(features), size, false)
    }

    fn train_forward(&self, features: &Features, size: [usize; 2]) -> TrainLogits {
        let auxiliary = self.auxiliary.iter().map(|head| AuxiliaryLogits {
            logits: head.forward(features.maps[self.fine[0]].clone()),
            weight: self.weight,
        });
        TrainLogits { auxiliary: auxiliary.collect(), logits: self.forward(features, size) }
    }
}

/// Normalised, a 3x3 convolution, normalised, a 1x1 one to logits.
#[derive(Module, Debug)]
struct SegmentationHead {
    first: NormRelu,
    hidden: ConvNormAct,
    classify: Conv,
}

impl SegmentationHead {
    fn new(channels: usize, width: usize, classes: usize, device: &Device) -> Self {
        let hidden = ConvConfig::new([channels, width], 3);
        Self {
            first: NormRelu::new(channels, device),
            hidden: ConvNormAct::new(&hidden, EPSILON, Activation::Relu, device),
            classify: ConvConfig::new([width, classes], 1).init(true, device),
        }
    }

    fn forward(&self, map: Tensor<4>) -> Tensor<4> {
        self.classify.forward(self.hidden.forward(self.first.forward(map)))
    }

    fn fold(self) -> Self {
        Self {
            first: self.first.fold(),
            hidden: self.hidden.fold(),
            classify: self.classify.compile(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANNELS: [usize; 4] = [3, 4, 6, 5];

    fn init(config: &DdrNetHeadConfig, strides: [usize; 4]) -> Result<DdrNetHead> {
        config.init(&CHANNELS, &strides, 2, &Device::flex())
    }

    #[test]
    fn the_auxiliary_head_sees_the_first_of_its_maps_and_goes() {
        let device = Device::flex();
        let maps = [[9, 7], [5, 4], [5, 4], [2, 1]];
        let maps = CHANNELS.iter().zip(maps).map(|(channels, [height, width])| {
            Tensor::ones([2, *channels, height, width], &device)
        });
        let features = Features { maps: maps.collect() };
        let config = DdrNetHeadConfig { pyramid: 4, ..Default::default() };
        let network = init(&config, [4, 8, 8, 32]).unwrap();
        assert_eq!(network.fine, [1, 2]);
        let outcome = network.train_forward(&features, [33, 26]);
        assert_eq!(outcome.logits.dims(), [2, 2, 33, 26]);
        let [auxiliary] = outcome.auxiliary.as_slice() else { panic!("one head") };
        assert_eq!((auxiliary.weight, auxiliary.logits.dims()), (0.4, [2, 2, 5, 4]));
        let optimized = DdrNetHeadConfig::optimize(network);
        assert!(optimized.train_forward(&features, [33, 26]).auxiliary.is_empty());
        let without = DdrNetHeadConfig { auxiliary: 0.0, ..config };
        let without = init(&without, [4, 8, 8, 32]).unwrap();
        assert!(without.train_forward(&features, [33, 26]).auxiliary.is_empty());
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let plain = DdrNetHeadConfig::default();
        for (config, strides, expected) in [
            (plain.clone(), [2, 4, 16, 32], "strides [2, 4, 16, 32]"),
            (plain.clone(), [2, 4, 8, 8], "a coarser one"),
            (DdrNetHeadConfig { pyramid: 0, ..plain.clone() }, [2, 4, 8, 16], "pyramid = 0"),
            (DdrNetHeadConfig { width: Some(2000), ..plain.clone() }, [2, 4, 8, 16], "1 to 1024"),
            (DdrNetHeadConfig { auxiliary: -1.0, ..plain.clone() }, [2, 4, 8, 16], "0 to 10"),
            (DdrNetHeadConfig { auxiliary: f64::NAN, ..plain }, [2, 4, 8, 16], "0 to 10"),
        ] {
            let error = init(&config, strides).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
