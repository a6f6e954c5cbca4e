//! DeepLab v3+ (Chen et al. 2018, arXiv 1802.02611): DeepLab v3's pyramid, resized to the map of stride 4 and joined
//! with 48 channels of it by two 3x3 convolutions; a 1x1 classifier's logits are resized to the picture.
//!
//! Convolutions of 3x3 are separable, in the pyramid too, as in the paper's fastest and best networks; `separable =
//! false` makes them plain. Dilations are of maps of stride 16, doubled at stride 8 and scaled on others; the encoder
//! is meant to be dilated: `encoder = { name = "resnet50", output_stride = 16 }`.
//!
//! `layout = "smp"` is `segmentation_models_pytorch.DeepLabV3Plus`: one separable convolution before the join and one
//! after it in place of two after it, and corners meet where maps are resized. Its default rates at stride 16 are
//! `rates = [12, 24, 36]`; `model.weights` may name its file. As said in [`deeplab_v3`](super::deeplab_v3), its
//! dilated encoders differ a little.
//!
//! Deviation: no normalisation or ReLU between the two halves of a separable convolution, as in
//! segmentation_models_pytorch; the authors' code has both.

use burn::module::Module;
use burn::prelude::*;

use super::aspp::{self, Aspp, AsppConfig, Spatial};
use super::fcn_head::EPSILON;
use super::{Decode, DecodeConfig, Layout, check_classes, keys, maps};
use crate::encoder::Features;
use crate::encoder::keys::Renamed;
use crate::error::{Error, Result};
use crate::nn::{Activation, Conv, ConvConfig, ConvNormAct};

/// The stride of the finer map that is joined.
const FINE: usize = 4;
/// Channels it is brought to.
const FINE_CHANNELS: usize = 48;

/// What a [`DeepLabV3Plus`] is made from.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DeepLabV3PlusConfig {
    /// Dilations of the pyramid on maps of stride 16; scaled on others.
    #[schemars(length(min = 1, max = 16), inner(range(min = 1, max = 256)))]
    pub rates: Vec<usize>,
    /// Channels of each part of the pyramid and of what follows.
    #[schemars(range(min = *aspp::WIDTHS.start(), max = *aspp::WIDTHS.end()))]
    pub width: usize,
    /// Convolutions of each channel by itself and then across, which are faster.
    pub separable: bool,
    /// Share of the pyramid's joined values that training drops.
    #[schemars(range(min = 0.0, max = 0.95))]
    pub dropout: f64,
    /// Whose details it has.
    pub layout: Layout,
}

impl Default for DeepLabV3PlusConfig {
    fn default() -> Self {
        let (rates, layout) = (aspp::RATES.to_vec(), Layout::Paper);
        Self { rates, width: 256, separable: true, dropout: 0.5, layout }
    }
}

impl DeepLabV3PlusConfig {
    fn pyramid(&self) -> AsppConfig<'_> {
        let Self { rates, width, separable, dropout, .. } = self;
        AsppConfig { rates, width: *width, separable: *separable, dropout: *dropout }
    }
}

/// The decoder.
#[derive(Module, Debug)]
pub struct DeepLabV3Plus {
    pyramid: Aspp,
    /// Behind the pyramid.
    before: Vec<Spatial>,
    fine: ConvNormAct,
    /// Behind the join.
    after: Vec<Spatial>,
    classify: Conv,
    /// The fine and the coarse map.
    maps: Vec<usize>,
    #[module(skip)]
    layout: Layout,
}

impl DecodeConfig for DeepLabV3PlusConfig {
    type Network = DeepLabV3Plus;

    const NAME: &'static str = "deeplab-v3-plus";
    const SUMMARY: &'static str = "DeepLab v3+: v3's pyramid joined with the map of stride 4";
    const SOURCE: &'static str = "https://arxiv.org/abs/1802.02611";

    /// # Errors
    /// If there is no map of stride 4, no coarser one, width or rates are out of bounds, or there are no classes.
    fn init(
        &self,
        channels: &[usize],
        strides: &[usize],
        classes: usize,
        device: &Device,
    ) -> Result<DeepLabV3Plus> {
        check_classes(classes)?;
        let coarse = maps::coarsest(Self::NAME, strides)?;
        let fine = maps::of_stride(strides, FINE).filter(|fine| *fine < coarse);
        let Some(fine) = fine else {
            return Err(Error::config(format!(
                "deeplab-v3-plus on maps of strides {strides:?}: it joins the map of stride {FINE} with a coarser one; \
                 take an encoder that has both, or deeplab-v3"
            )));
        };
        // segmentation_models_pytorch keeps these separable whatever the pyramid is.
        let separable = self.separable || self.layout == Layout::Smp;
        let layer = |inside| Spatial::new([inside, self.width], 1, separable, device);
        let joined = layer(FINE_CHANNELS + self.width);
        let (before, after) = match self.layout {
            Layout::Paper => (Vec::new(), vec![joined, layer(self.width)]),
            Layout::Smp => (vec![layer(self.width)], vec![joined]),
        };
        let narrow = ConvConfig::new([channels[fine], FINE_CHANNELS], 1);
        Ok(DeepLabV3Plus {
            pyramid: self.pyramid().init(Self::NAME, channels[coarse], strides[coarse], device)?,
            before,
            fine: ConvNormAct::new(&narrow, EPSILON, Activation::Relu, device),
            after,
            classify: ConvConfig::new([self.width, classes], 1).init(true, device),
            maps: vec![fine, coarse],
            layout: self.layout,
        })
    }

    fn optimize(network: DeepLabV3Plus) -> DeepLabV3Plus {
        let optimized = |all: Vec<Spatial>| all.into_iter().map(Spatial::optimize).collect();
        DeepLabV3Plus {
            pyramid: network.pyramid.optimize(),
            before: optimized(network.before),
            fine: network.fine.fold(),
            after: optimized(network.after),
            classify: network.classify.compile(),
            ..network
        }
    }

    fn rename(&self, foreign: &str) -> Renamed {
        let mut layers = keys::Layers::new();
        self.pyramid().layers(&mut layers, "decoder.aspp.0", "pyramid");
        let (aspp, join) =
            (["decoder.aspp.1", "decoder.aspp.2"], ["decoder.block2.0", "decoder.block2.1"]);
        Spatial::layers(&mut layers, aspp, true, "before.0");
        Spatial::layers(&mut layers, join, true, "after.0");
        keys::conv_norm(&mut layers, ["decoder.block1.0", "decoder.block1.1"], "fine");
        keys::conv(&mut layers, "segmentation_head.0", "classify");
        keys::rename(foreign, &layers)
    }
}

impl Decode for DeepLabV3Plus {
    fn forward(&self, features: &Features, size: [usize; 2]) -> Tensor<4> {
        let [fine, coarse] = [0, 1].map(|index| features.maps[self.maps[index]].clone());
        let through = |layers: &[Spatial], image| {
            layers.iter().fold(image, |image, layer| layer.forward(image))
        };
        let corners = self.layout.aligns_corners();
        let coarse = through(&self.before, self.pyramid.forward(coarse));
        let [.., height, width] = fine.dims();
        let coarse = kshot_kernels::bilinear(coarse, [height, width], corners);
        let joined = Tensor::cat(vec![coarse, self.fine.forward(fine)], 1);
        let logits = self.classify.forward(through(&self.after, joined));
        kshot_kernels::bilinear(logits, size, corners)
    }
}
