//! The transformer's block (Vaswani et al. 2017, arXiv 1706.03762) as vision transformers have it: normalisation first,
//! attention, then two linear layers with a GELU between (Hendrycks and Gimpel 2016, arXiv 1606.08415; the exact one, by
//! the error function). What each part adds may be scaled channel by channel (layer scale: Touvron et al. 2021,
//! arXiv 2103.17239). No dropout, and no stochastic depth.

use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::prelude::*;
use kshot_kernels::gelu;

use crate::nn::Conv;
use crate::nn::attention::{AttentionConfig, MultiHeadSelfAttention, QkvBias};
use crate::nn::layer_norm::LayerNorm;
use crate::nn::linear::linear;
use crate::nn::positions::Rotary;

/// What a [`TransformerBlock`] is made of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TransformerConfig {
    /// Channels of the tokens.
    pub channels: usize,
    /// Heads of the attention; a divisor of the channels.
    pub heads: usize,
    /// Channels between the two linear layers.
    pub hidden: usize,
    /// Biases of the attention.
    pub bias: QkvBias,
    /// What the scales of both parts start at; 0 for none.
    pub layer_scale: f64,
    /// Added to variances.
    pub epsilon: f64,
}

impl TransformerConfig {
    /// The block with random weights.
    ///
    /// # Panics
    /// If the heads do not divide the channels.
    pub fn init(&self, device: &Device) -> TransformerBlock {
        let Self { channels, heads, hidden, bias, layer_scale, epsilon } = *self;
        let scale = || {
            let law = Initializer::Constant { value: layer_scale };
            (layer_scale != 0.0).then(|| law.init([channels], device))
        };
        TransformerBlock {
            norm1: LayerNorm::new(channels, epsilon, device),
            attention: AttentionConfig { channels, heads, bias }.init(device),
            scale1: scale(),
            norm2: LayerNorm::new(channels, epsilon, device),
            expand: linear([channels, hidden], true, device),
            reduce: linear([hidden, channels], true, device),
            scale2: scale(),
        }
    }
}

/// Attention and a perceptron, each added to what it sees.
#[derive(Module, Debug)]
pub struct TransformerBlock {
    norm1: LayerNorm,
    attention: MultiHeadSelfAttention,
    /// `[channels]`
    scale1: Option<Param<Tensor<1>>>,
    norm2: LayerNorm,
    expand: Conv,
    reduce: Conv,
    /// `[channels]`
    scale2: Option<Param<Tensor<1>>>,
}

impl TransformerBlock {
    /// The tokens after the block.
    ///
    /// # Shapes
    /// `[batch, channels, 1, tokens]` to the same
    pub fn forward(&self, tokens: Tensor<4>, rotary: Option<&Rotary>) -> Tensor<4> {
        let attended = self.attention.forward(self.norm1.forward(tokens.clone()), rotary);
        let tokens = tokens + scaled(attended, &self.scale1);
        let hidden = gelu(self.expand.forward(self.norm2.forward(tokens.clone())));
        tokens + scaled(self.reduce.forward(hidden), &self.scale2)
    }

    /// The same function, faster, for inference only.
    #[must_use]
    pub fn fold(self) -> Self {
        Self {
            attention: self.attention.fold(),
            expand: self.expand.compile(),
            reduce: self.reduce.compile(),
            ..self
        }
    }
}

fn scaled(tokens: Tensor<4>, scale: &Option<Param<Tensor<1>>>) -> Tensor<4> {
    match scale {
        Some(scale) => {
            let [_, channels, ..] = tokens.dims();
            tokens * scale.val().reshape([1, channels, 1, 1])
        }
        None => tokens,
    }
}
