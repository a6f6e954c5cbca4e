//! DeepLab-LargeFOV, the decoder of DeepLab v1 (Chen et al. 2014, arXiv 1412.7062): a 3x3 convolution of dilation 12
//! and a 1x1 one, each with ReLU and dropout, and a 1x1 classifier, whose logits are resized to the picture.
//!
//! The dilation is the paper's, of maps of stride 8; on maps of another stride it is scaled to span as many pixels of
//! the picture (6 at stride 16). The paper's encoder is VGG16 whose last two pools keep the size and whose last block
//! is dilated by 2, here nearest to `vgg16-panet`; its dense CRF is `predict.refinement`.
//!
//! Deviation: the convolution sees the encoder's coarsest map, without the two 3x3 pools of stride 1 (by maxima, then
//! by means) that the authors put before it.

use burn::module::Module;
use burn::prelude::*;

use super::{Decode, DecodeConfig, check_classes, maps};
use crate::encoder::Features;
use crate::error::{Error, Result};
use crate::nn::{Activation, Conv, ConvConfig, ConvNormAct, Dropout};

/// The stride that rates are given for.
const CHOSEN_AT: usize = 8;
/// Widths that make sense.
const WIDTHS: std::ops::RangeInclusive<usize> = 1..=4096;

/// What a [`DeepLabV1`] is made from.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DeepLabV1Config {
    /// Dilation of the first convolution on maps of stride 8; scaled on others.
    #[schemars(range(min = 1, max = 256))]
    pub rate: usize,
    /// Channels of the two hidden layers.
    #[schemars(range(min = *WIDTHS.start(), max = *WIDTHS.end()))]
    pub width: usize,
    /// Share of the hidden values that training drops.
    #[schemars(range(min = 0.0, max = 0.95))]
    pub dropout: f64,
}

impl Default for DeepLabV1Config {
    fn default() -> Self {
        Self { rate: 12, width: 1024, dropout: 0.5 }
    }
}

/// The decoder.
#[derive(Module, Debug)]
pub struct DeepLabV1 {
    hidden: Vec<ConvNormAct>,
    classify: Conv,
    map: usize,
    #[module(skip)]
    dropout: Dropout,
}

impl DecodeConfig for DeepLabV1Config {
    type Network = DeepLabV1;

    const NAME: &'static str = "deeplab-v1";
    const SUMMARY: &'static str = "DeepLab-LargeFOV: a widely dilated convolution and a classifier";
    const SOURCE: &'static str = "https://arxiv.org/abs/1412.7062";

    /// # Errors
    /// If there are no maps or no classes, or width or rate are out of bounds.
    fn init(
        &self,
        channels: &[usize],
        strides: &[usize],
        classes: usize,
        device: &Device,
    ) -> Result<DeepLabV1> {
        check_classes(classes)?;
        let map = maps::coarsest(Self::NAME, strides)?;
        if !WIDTHS.contains(&self.width) || self.rate == 0 {
            return Err(Error::config(format!(
                "a deeplab-v1 of width {} and rate {}; valid are widths of {} to {} and rates from 1 up",
                self.width,
                self.rate,
                WIDTHS.start(),
                WIDTHS.end()
            )));
        }
        let rate = maps::dilation(self.rate, CHOSEN_AT, strides[map]);
        let layer =
            |config: ConvConfig| ConvNormAct::biased(&config, None, Activation::Relu, device);
        Ok(DeepLabV1 {
            hidden: vec![
                layer(ConvConfig::new([channels[map], self.width], 3).with_dilation(rate)),
                layer(ConvConfig::new([self.width, self.width], 1)),
            ],
            classify: ConvConfig::new([self.width, classes], 1).init(true, device),
            map,
            dropout: Dropout::new(self.dropout),
        })
    }

    fn optimize(network: DeepLabV1) -> DeepLabV1 {
        DeepLabV1 {
            hidden: network.hidden.into_iter().map(ConvNormAct::fold).collect(),
            classify: network.classify.compile(),
            ..network
        }
    }
}

impl Decode for DeepLabV1 {
    fn forward(&self, features: &Features, size: [usize; 2]) -> Tensor<4> {
        let map = features.maps[self.map].clone();
        let hidden =
            self.hidden.iter().fold(map, |image, layer| self.dropout.forward(layer.forward(image)));
        kshot_kernels::bilinear(self.classify.forward(hidden), size, false)
    }
}
