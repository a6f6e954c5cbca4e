//! SegNet (Badrinarayanan, Kendall and Cipolla 2015, arXiv 1511.00561): the encoder mirrored, with unpooling by the
//! places of its maximum pools.
//!
//! From the coarsest map up: values are put where the 2x2 maximum pool of the encoder's map found the largest pixel
//! (`nn/unpool.rs` finds these places again from the map), and 3x3 convolutions with batch normalisation and ReLU
//! fill the zeros between. There are as many convolutions at each size as in VGG16's encoder, mirrored; the last at a
//! size has the channels of the next finer map, the very last the classes, without normalisation.
//!
//! On VGG, whose maps stand right before 2x2 pools, the places are those that the encoder's own pools chose. Other
//! encoders shrink otherwise, and the places are those that such a pool of their maps would choose.
//!
//! # Deviations
//! - A coarsest map finer than stride 32 is pooled first, which is the fifth pool that `encoder/vgg.rs` leaves out; one
//!   of stride 32 or more is taken as it is.
//! - Convolutions before batch normalisation have no bias, which it would take away.
//! - Where the finest map is smaller than the picture the logits are resized bilinearly.

use burn::module::Module;
use burn::prelude::*;

use super::fcn_head::EPSILON;
use super::{Decode, DecodeConfig, check_classes, maps};
use crate::encoder::Features;
use crate::error::{Error, Result};
use crate::nn::{Activation, Conv, ConvConfig, ConvNormAct, unpool};

/// From which stride on the coarsest map is not pooled.
const POOLED: usize = 32;

/// What a [`SegNet`] is made from.
#[derive(
    Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(deny_unknown_fields, default)]
pub struct SegNetConfig {
    /// Convolutions at each size, coarsest first; an encoder with fewer sizes takes those of the finest.
    #[schemars(inner(range(min = 1, max = 16)))]
    pub convolutions: [usize; 5],
}

impl Default for SegNetConfig {
    fn default() -> Self {
        Self { convolutions: [3, 3, 3, 2, 2] }
    }
}

/// The decoder.
#[derive(Module, Debug)]
pub struct SegNet {
    /// Coarsest first.
    stages: Vec<SegNetStage>,
    head: Conv,
}

/// Values put to their places, and convolved.
#[derive(Module, Debug)]
struct SegNetStage {
    layers: Vec<ConvNormAct>,
    map: usize,
    /// How values come in: unpooled, or the map itself.
    #[module(skip)]
    start: StageStart,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StageStart {
    /// The map is where it begins.
    Map,
    /// The map is where it begins, pooled and unpooled.
    PooledMap,
    /// Values of the stage before go to the map's places.
    Values,
}

impl DecodeConfig for SegNetConfig {
    type Network = SegNet;

    const NAME: &'static str = "segnet";
    const SUMMARY: &'static str =
        "SegNet: unpooling by the places of maximum pools, and convolutions";
    const SOURCE: &'static str = "https://arxiv.org/abs/1511.00561";

    /// # Errors
    /// If one size is not half of the one before, there are none or more than five, or no classes.
    fn init(
        &self,
        channels: &[usize],
        strides: &[usize],
        classes: usize,
        device: &Device,
    ) -> Result<SegNet> {
        check_classes(classes)?;
        let used = maps::last_of_each(strides);
        let halve = used.windows(2).all(|pair| strides[pair[1]] == 2 * strides[pair[0]]);
        let sizes = self.convolutions.len();
        if used.is_empty() || used.len() > sizes || !halve || self.convolutions.contains(&0) {
            return Err(Error::config(format!(
                "a SegNet with {:?} convolutions on maps of strides {strides:?}: it needs one to {sizes} sizes, each \
                 half of the one before, and a convolution at each",
                self.convolutions
            )));
        }
        let layer = |channels| {
            ConvNormAct::new(&ConvConfig::new(channels, 3), EPSILON, Activation::Relu, device)
        };
        let counts = &self.convolutions[sizes - used.len()..];
        let coarsest = used.len() - 1;
        let mut stages = Vec::with_capacity(used.len());
        for (level, count) in (0..used.len()).rev().zip(counts) {
            let (map, width) = (used[level], channels[used[level]]);
            let start = match (level == coarsest, strides[map] < POOLED) {
                (true, true) => StageStart::PooledMap,
                (true, false) => StageStart::Map,
                (false, _) => StageStart::Values,
            };
            // The very last convolution is the head's.
            let (plain, next) = match level.checked_sub(1) {
                Some(finer) => (count - 1, Some(channels[used[finer]])),
                None => (count - 1, None),
            };
            let widths = std::iter::repeat_n(width, plain).chain(next);
            let layers = widths.map(|outside| layer([width, outside])).collect();
            stages.push(SegNetStage { layers, map, start });
        }
        let head = ConvConfig::new([channels[used[0]], classes], 3).init(true, device);
        Ok(SegNet { stages, head })
    }

    fn optimize(network: SegNet) -> SegNet {
        let stage = |stage: SegNetStage| SegNetStage {
            layers: stage.layers.into_iter().map(ConvNormAct::fold).collect(),
            ..stage
        };
        SegNet {
            stages: network.stages.into_iter().map(stage).collect(),
            head: network.head.compile(),
        }
    }
}

impl Decode for SegNet {
    fn forward(&self, features: &Features, size: [usize; 2]) -> Tensor<4> {
        let coarsest = features.maps[self.stages[0].map].clone();
        let stages = self.stages.iter();
        let finest = stages.fold(coarsest, |values, stage| {
            let map = features.maps[stage.map].clone();
            let image = match stage.start {
                StageStart::Map => values,
                StageStart::PooledMap => unpool::unpool(unpool::halve(values), map),
                StageStart::Values => unpool::unpool(values, map),
            };
            stage.layers.iter().fold(image, |image, layer| layer.forward(image))
        });
        kshot_kernels::bilinear(self.head.forward(finest), size, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_mirror_vgg16() {
        let device = Device::flex();
        let (channels, strides) = ([4, 8, 16, 32, 32], [1, 2, 4, 8, 16]);
        let network = SegNetConfig::default().init(&channels, &strides, 3, &device).unwrap();
        let widths: Vec<Vec<usize>> = network
            .stages
            .iter()
            .map(|stage| stage.layers.iter().map(|layer| layer.conv.weight.dims()[0]).collect())
            .collect();
        // The last of the finest is the head.
        assert_eq!(
            widths,
            [vec![32, 32, 32], vec![32, 32, 16], vec![16, 16, 8], vec![8, 4], vec![4]]
        );
        let starts: Vec<StageStart> = network.stages.iter().map(|stage| stage.start).collect();
        assert_eq!(starts[..2], [StageStart::PooledMap, StageStart::Values]);
        let network = SegNetConfig::default().init(&[4, 8], &[16, 32], 3, &device).unwrap();
        assert_eq!(network.stages[0].start, StageStart::Map);
    }

    #[test]
    fn maps_that_do_not_halve_are_refused() {
        let config = SegNetConfig::default();
        let error = config.init(&[8, 8], &[4, 16], 5, &Device::flex()).unwrap_err().to_string();
        assert!(error.contains("[4, 16]"), "{error}");
    }
}
