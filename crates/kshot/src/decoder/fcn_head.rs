//! torchvision's `FCNHead`: a 3x3 convolution to a quarter of the channels, batch normalisation, ReLU, dropout and a
//! 1x1 convolution, whose logits are resized bilinearly to the picture. On a dilated encoder it is the "FCN" of
//! torchvision and of many papers since; the paper's own (Long, Shelhamer and Darrell 2015, arXiv 1411.4038), which
//! joins three scales, is [`Fcn`](super::fcn::Fcn).
//!
//! The same head beside another decoder, on the map before the one that this sees, is what Zhao et al. (2016, arXiv
//! 1612.01105) train as auxiliary head, and torchvision with it.
//!
//! With `non_local = true` a non-local block (Wang et al. 2017, arXiv 1711.07971; keys and values pooled) stands behind the
//! first convolution, so that each place sees the whole map.
//!
//! `decoder = "fcn-head"` on `encoder = { name = "resnet50", output_stride = 8 }` is `fcn_resnet50`, whose file
//! `model.weights` may name: with `auxiliary = 0.5` the whole of it is used, else all but the auxiliary head.

use burn::module::Module;
use burn::prelude::*;

use super::{AuxiliaryLogits, Decode, DecodeConfig, TrainLogits, check_classes, keys, maps};
use crate::encoder::Features;
use crate::encoder::keys::Renamed;
use crate::error::{Error, Result};
use crate::nn::non_local::{NonLocalBlock, NonLocalConfig, Pairwise};
use crate::nn::{Activation, Conv, ConvConfig, ConvNormAct, Dropout};

/// Added to variances.
pub(super) const EPSILON: f64 = 1e-5;
/// What torchvision drops.
const DROPOUT: f64 = 0.1;

/// What a [`FcnHeadDecoder`] is made from.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FcnHeadConfig {
    /// Share of the hidden values that training drops.
    #[schemars(range(min = 0.0, max = 0.95))]
    pub dropout: f64,
    /// What the loss of an auxiliary head on the map before counts in training; 0 for no such head.
    #[schemars(range(min = 0.0, max = 10.0))]
    pub auxiliary: f64,
    /// Whether each place of the hidden map adds what it sees in all others: a non-local block (arXiv 1711.07971).
    pub non_local: bool,
}

impl Default for FcnHeadConfig {
    fn default() -> Self {
        Self { dropout: DROPOUT, auxiliary: 0.0, non_local: false }
    }
}

/// The head alone: maps to logits of their size.
#[derive(Module, Debug)]
pub struct FcnHead {
    hidden: ConvNormAct,
    non_local: Option<NonLocalBlock>,
    classify: Conv,
    #[module(skip)]
    dropout: Dropout,
}

impl FcnHead {
    /// For maps of that many channels.
    pub fn new(channels: usize, classes: usize, dropout: f64, device: &Device) -> Self {
        let width = (channels / 4).max(1);
        let hidden = ConvConfig::new([channels, width], 3);
        Self {
            hidden: ConvNormAct::new(&hidden, EPSILON, Activation::Relu, device),
            non_local: None,
            classify: ConvConfig::new([width, classes], 1).init(true, device),
            dropout: Dropout::new(dropout),
        }
    }

    /// The same with a non-local block behind its first convolution, which starts as the identity.
    #[must_use]
    fn with_non_local(mut self, device: &Device) -> Self {
        let [channels, ..] = self.hidden.conv.weight.dims();
        let pairwise = Pairwise::EmbeddedGaussian;
        let config = NonLocalConfig { channels, pairwise, subsample: true };
        self.non_local = Some(config.init(device));
        self
    }

    /// Logits of the map's own size.
    ///
    /// # Shapes
    /// `[batch, channels, height, width]` to `[batch, classes, height, width]`
    pub fn forward(&self, map: Tensor<4>) -> Tensor<4> {
        let hidden = self.hidden.forward(map);
        let hidden = match &self.non_local {
            Some(block) => block.forward(hidden),
            None => hidden,
        };
        self.classify.forward(self.dropout.forward(hidden))
    }

    /// The same function for inference in fewer steps.
    #[must_use]
    pub fn optimize(self) -> Self {
        let non_local = self.non_local.map(NonLocalBlock::fold);
        Self { hidden: self.hidden.fold(), non_local, classify: self.classify.compile(), ..self }
    }

    /// Its layers in a file that keeps them below `foreign`.
    pub(super) fn layers(layers: &mut keys::Layers, foreign: &str, ours: &str) {
        let of = |index: usize| format!("{foreign}.{index}");
        keys::conv_norm(layers, [&of(0), &of(1)], &format!("{ours}.hidden"));
        keys::conv(layers, &of(4), &format!("{ours}.classify"));
    }
}

/// A head on the map before a decoder's own that only training sees.
#[derive(Module, Debug)]
pub struct AuxiliaryHead {
    head: FcnHead,
    /// Which map.
    map: usize,
    #[module(skip)]
    weight: f64,
}

impl AuxiliaryHead {
    /// On the map before `map`; none where the weight is 0.
    ///
    /// # Errors
    /// If there is no map before.
    pub fn before(
        map: usize,
        channels: &[usize],
        classes: usize,
        weight: f64,
        device: &Device,
    ) -> Result<Option<Self>> {
        if weight == 0.0 {
            return Ok(None);
        }
        let Some(before) = map.checked_sub(1) else {
            return Err(Error::config(
                "an auxiliary head needs two maps of an encoder, and here is one; write auxiliary = 0",
            ));
        };
        let head = FcnHead::new(channels[before], classes, DROPOUT, device);
        Ok(Some(Self { head, map: before, weight }))
    }

    /// Its logits beside a decoder's.
    pub fn beside(this: Option<&Self>, logits: Tensor<4>, features: &Features) -> TrainLogits {
        let of = |head: &Self| AuxiliaryLogits {
            logits: head.head.forward(features.maps[head.map].clone()),
            weight: head.weight,
        };
        TrainLogits { logits, auxiliary: this.map(of).into_iter().collect() }
    }

    /// Its layers in torchvision's files.
    pub(super) fn layers(layers: &mut keys::Layers) {
        FcnHead::layers(layers, "aux_classifier", "auxiliary.head");
    }
}

/// What becomes of an auxiliary head's tensor of a file: it is left out where the decoder has none.
pub(super) fn without_auxiliary(foreign: &str, auxiliary: f64) -> bool {
    auxiliary == 0.0 && foreign.starts_with("aux_classifier.")
}

/// The decoder.
#[derive(Module, Debug)]
pub struct FcnHeadDecoder {
    head: FcnHead,
    auxiliary: Option<AuxiliaryHead>,
    map: usize,
}

impl FcnHeadDecoder {
    /// Whether each place sees the whole map.
    pub(super) fn is_non_local(&self) -> bool {
        self.head.non_local.is_some()
    }
}

impl DecodeConfig for FcnHeadConfig {
    type Network = FcnHeadDecoder;

    const NAME: &'static str = "fcn-head";
    const SUMMARY: &'static str =
        "torchvision's FCN: two convolutions of the coarsest map, resized";
    const SOURCE: &'static str = "https://arxiv.org/abs/1411.4038";

    /// # Errors
    /// If there are no maps or no classes, or there is no map for the auxiliary head.
    fn init(
        &self,
        channels: &[usize],
        strides: &[usize],
        classes: usize,
        device: &Device,
    ) -> Result<FcnHeadDecoder> {
        check_classes(classes)?;
        let map = maps::coarsest(Self::NAME, strides)?;
        let auxiliary = AuxiliaryHead::before(map, channels, classes, self.auxiliary, device)?;
        let head = FcnHead::new(channels[map], classes, self.dropout, device);
        let head = if self.non_local { head.with_non_local(device) } else { head };
        Ok(FcnHeadDecoder { head, auxiliary, map })
    }

    fn optimize(network: FcnHeadDecoder) -> FcnHeadDecoder {
        FcnHeadDecoder { head: network.head.optimize(), ..network }
    }

    fn rename(&self, foreign: &str) -> Renamed {
        if without_auxiliary(foreign, self.auxiliary) {
            return Renamed::Spare;
        }
        let mut layers = keys::Layers::new();
        FcnHead::layers(&mut layers, "classifier", "head");
        AuxiliaryHead::layers(&mut layers);
        keys::rename(foreign, &layers)
    }
}

impl Decode for FcnHeadDecoder {
    fn forward(&self, features: &Features, size: [usize; 2]) -> Tensor<4> {
        let logits = self.head.forward(features.maps[self.map].clone());
        kshot_kernels::bilinear(logits, size, false)
    }

    fn train_forward(&self, features: &Features, size: [usize; 2]) -> TrainLogits {
        let logits = self.forward(features, size);
        AuxiliaryHead::beside(self.auxiliary.as_ref(), logits, features)
    }
}
