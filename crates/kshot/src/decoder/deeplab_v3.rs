//! DeepLab v3 (Chen et al. 2017, arXiv 1706.05587) with torchvision's `DeepLabHead`: atrous spatial pyramid pooling
//! with the mean of the whole map, a 3x3 convolution, and a 1x1 classifier, whose logits are resized to the picture.
//!
//! Dilations are the paper's, of maps of stride 16; they are doubled at stride 8, as the paper does, and scaled on
//! others. The encoder is meant to be dilated: `encoder = { name = "resnet50", output_stride = 8 }` is torchvision's
//! `deeplabv3_resnet50`, whose file `model.weights` may name; with `auxiliary = 0.5` it has the second head of that
//! file too.
//!
//! `layout = "smp"` is `segmentation_models_pytorch.DeepLabV3`, which differs in that corners meet where logits are
//! resized. Its dilated encoders spread the first block of a stage as far as the others, torchvision's and ours do
//! not, so a network from its file wants some more training.
//!
//! Deviation: the 3x3 convolution after the pyramid is not in the paper, but in both implementations.

use burn::module::Module;
use burn::prelude::*;

use super::aspp::{self, Aspp, AsppConfig};
use super::fcn_head::{AuxiliaryHead, EPSILON, without_auxiliary};
use super::{Decode, DecodeConfig, Layout, TrainLogits, check_classes, keys, maps};
use crate::encoder::Features;
use crate::encoder::keys::Renamed;
use crate::error::Result;
use crate::nn::{Activation, Conv, ConvConfig, ConvNormAct};

/// What a [`DeepLabV3`] is made from.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DeepLabV3Config {
    /// Dilations of the pyramid on maps of stride 16; scaled on others.
    #[schemars(length(min = 1, max = 16), inner(range(min = 1, max = 256)))]
    pub rates: Vec<usize>,
    /// Channels of each part of the pyramid and of what follows.
    #[schemars(range(min = *aspp::WIDTHS.start(), max = *aspp::WIDTHS.end()))]
    pub width: usize,
    /// Dilated convolutions of each channel by itself and then across, which are faster.
    pub separable: bool,
    /// Share of the joined values that training drops.
    #[schemars(range(min = 0.0, max = 0.95))]
    pub dropout: f64,
    /// What the loss of an auxiliary head on the map before counts in training; 0 for no such head.
    #[schemars(range(min = 0.0, max = 10.0))]
    pub auxiliary: f64,
    /// Whose details it has.
    pub layout: Layout,
}

impl Default for DeepLabV3Config {
    fn default() -> Self {
        Self {
            rates: aspp::RATES.to_vec(),
            width: 256,
            separable: false,
            dropout: 0.5,
            auxiliary: 0.0,
            layout: Layout::Paper,
        }
    }
}

impl DeepLabV3Config {
    fn pyramid(&self) -> AsppConfig<'_> {
        let Self { rates, width, separable, dropout, .. } = self;
        AsppConfig { rates, width: *width, separable: *separable, dropout: *dropout }
    }
}

/// The decoder.
#[derive(Module, Debug)]
pub struct DeepLabV3 {
    pyramid: Aspp,
    hidden: ConvNormAct,
    classify: Conv,
    auxiliary: Option<AuxiliaryHead>,
    map: usize,
    #[module(skip)]
    layout: Layout,
}

impl DecodeConfig for DeepLabV3Config {
    type Network = DeepLabV3;

    const NAME: &'static str = "deeplab-v3";
    const SUMMARY: &'static str =
        "DeepLab v3: dilated convolutions and the map's mean, side by side";
    const SOURCE: &'static str = "https://arxiv.org/abs/1706.05587";

    /// # Errors
    /// If there are no maps or no classes, none for the auxiliary head, or width or rates are out of bounds.
    fn init(
        &self,
        channels: &[usize],
        strides: &[usize],
        classes: usize,
        device: &Device,
    ) -> Result<DeepLabV3> {
        check_classes(classes)?;
        let map = maps::coarsest(Self::NAME, strides)?;
        let hidden = ConvConfig::new([self.width, self.width], 3);
        Ok(DeepLabV3 {
            pyramid: self.pyramid().init(Self::NAME, channels[map], strides[map], device)?,
            hidden: ConvNormAct::new(&hidden, EPSILON, Activation::Relu, device),
            classify: ConvConfig::new([self.width, classes], 1).init(true, device),
            auxiliary: AuxiliaryHead::before(map, channels, classes, self.auxiliary, device)?,
            map,
            layout: self.layout,
        })
    }

    fn optimize(network: DeepLabV3) -> DeepLabV3 {
        DeepLabV3 {
            pyramid: network.pyramid.optimize(),
            hidden: network.hidden.fold(),
            classify: network.classify.compile(),
            ..network
        }
    }

    fn rename(&self, foreign: &str) -> Renamed {
        if without_auxiliary(foreign, self.auxiliary) {
            return Renamed::Spare;
        }
        let mut layers = keys::Layers::new();
        // torchvision's, then segmentation_models_pytorch's.
        self.pyramid().layers(&mut layers, "classifier.0", "pyramid");
        keys::conv_norm(&mut layers, ["classifier.1", "classifier.2"], "hidden");
        keys::conv(&mut layers, "classifier.4", "classify");
        AuxiliaryHead::layers(&mut layers);
        self.pyramid().layers(&mut layers, "decoder.aspp", "pyramid");
        keys::conv_norm(&mut layers, ["decoder.conv", "decoder.bn"], "hidden");
        keys::conv(&mut layers, "segmentation_head.0", "classify");
        keys::rename(foreign, &layers)
    }
}

impl Decode for DeepLabV3 {
    fn forward(&self, features: &Features, size: [usize; 2]) -> Tensor<4> {
        let hidden = self.hidden.forward(self.pyramid.forward(features.maps[self.map].clone()));
        let logits = self.classify.forward(hidden);
        kshot_kernels::bilinear(logits, size, self.layout.aligns_corners())
    }

    fn train_forward(&self, features: &Features, size: [usize; 2]) -> TrainLogits {
        let logits = self.forward(features, size);
        AuxiliaryHead::beside(self.auxiliary.as_ref(), logits, features)
    }
}
