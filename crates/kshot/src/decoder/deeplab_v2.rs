//! DeepLab v2's atrous spatial pyramid pooling (Chen et al. 2016, arXiv 1606.00915): 3x3 convolutions of the same map
//! with dilations 6, 12, 18 and 24, whose logits are added up and resized to the picture.
//!
//! As on ResNet-101 in the paper each branch is one convolution to the classes. With `width = 1024` each is what the
//! paper has on VGG16 (ASPP-L): the dilated convolution, a 1x1 one, and a 1x1 classifier, with ReLU and dropout
//! between.
//!
//! The dilations are the paper's, of maps of stride 8; on maps of another stride they are scaled to span as many
//! pixels of the picture. The paper's three scales of the picture and its dense CRF are not part of the decoder.

use burn::module::Module;
use burn::prelude::*;

use super::{Decode, DecodeConfig, check_classes, maps};
use crate::encoder::Features;
use crate::error::{Error, Result};
use crate::nn::{Activation, Conv, ConvConfig, ConvNormAct, Dropout};

/// The stride that rates are given for.
const CHOSEN_AT: usize = 8;
/// The most channels of hidden layers.
const WIDEST: usize = 4096;

/// What a [`DeepLabV2`] is made from.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DeepLabV2Config {
    /// Dilations of the branches on maps of stride 8; scaled on others.
    #[schemars(length(min = 1, max = 16), inner(range(min = 1, max = 256)))]
    pub rates: Vec<usize>,
    /// Channels of the two hidden layers of each branch, 1024 on VGG16 in the paper; 0 for branches of one
    /// convolution, as on ResNet-101.
    #[schemars(range(min = 0, max = WIDEST))]
    pub width: usize,
    /// Share of the hidden values that training drops.
    #[schemars(range(min = 0.0, max = 0.95))]
    pub dropout: f64,
}

impl Default for DeepLabV2Config {
    fn default() -> Self {
        Self { rates: vec![6, 12, 18, 24], width: 0, dropout: 0.5 }
    }
}

/// The decoder.
#[derive(Module, Debug)]
pub struct DeepLabV2 {
    branches: Vec<AsppBranch>,
    map: usize,
    #[module(skip)]
    dropout: Dropout,
}

/// From the map to logits.
#[derive(Module, Debug)]
struct AsppBranch {
    hidden: Vec<ConvNormAct>,
    classify: Conv,
}

impl DecodeConfig for DeepLabV2Config {
    type Network = DeepLabV2;

    const NAME: &'static str = "deeplab-v2";
    const SUMMARY: &'static str = "DeepLab v2: logits of four dilated convolutions, added up";
    const SOURCE: &'static str = "https://arxiv.org/abs/1606.00915";

    /// # Errors
    /// If there are no maps or no classes, or width or rates are out of bounds.
    fn init(
        &self,
        channels: &[usize],
        strides: &[usize],
        classes: usize,
        device: &Device,
    ) -> Result<DeepLabV2> {
        check_classes(classes)?;
        let map = maps::coarsest(Self::NAME, strides)?;
        if self.width > WIDEST || self.rates.is_empty() || self.rates.contains(&0) {
            return Err(Error::config(format!(
                "a deeplab-v2 of width {} and rates {:?}; valid are widths of at most {WIDEST}, and one rate or more \
                 from 1 up",
                self.width, self.rates
            )));
        }
        let branch = |rate: &usize| {
            let rate = maps::dilation(*rate, CHOSEN_AT, strides[map]);
            let dilated =
                |outside| ConvConfig::new([channels[map], outside], 3).with_dilation(rate);
            if self.width == 0 {
                return AsppBranch {
                    hidden: Vec::new(),
                    classify: dilated(classes).init(true, device),
                };
            }
            let layer =
                |config: ConvConfig| ConvNormAct::biased(&config, None, Activation::Relu, device);
            let second = ConvConfig::new([self.width, self.width], 1);
            AsppBranch {
                hidden: vec![layer(dilated(self.width)), layer(second)],
                classify: ConvConfig::new([self.width, classes], 1).init(true, device),
            }
        };
        Ok(DeepLabV2 {
            branches: self.rates.iter().map(branch).collect(),
            map,
            dropout: Dropout::new(self.dropout),
        })
    }

    fn optimize(network: DeepLabV2) -> DeepLabV2 {
        let branch = |branch: AsppBranch| AsppBranch {
            hidden: branch.hidden.into_iter().map(ConvNormAct::fold).collect(),
            classify: branch.classify.compile(),
        };
        DeepLabV2 { branches: network.branches.into_iter().map(branch).collect(), ..network }
    }
}

impl Decode for DeepLabV2 {
    fn forward(&self, features: &Features, size: [usize; 2]) -> Tensor<4> {
        let branches = self.branches.iter().map(|branch| {
            let map = features.maps[self.map].clone();
            let hidden = branch
                .hidden
                .iter()
                .fold(map, |image, layer| self.dropout.forward(layer.forward(image)));
            branch.classify.forward(hidden)
        });
        match branches.reduce(|sum, logits| sum + logits) {
            Some(logits) => kshot_kernels::bilinear(logits, size, false),
            None => unreachable!("a deeplab-v2 has a branch"),
        }
    }
}
