//! `conv4`: four blocks of 3x3 convolution, batch normalisation, ReLU and 2x2 max pooling, 64 channels
//! each; the network of the few-shot literature (Vinyals et al. 2016, arXiv 1606.04080; Snell et al.
//! 2017, arXiv 1703.05175). Options give MAML's form for Omniglot (strides in place of pools, the mean
//! over pixels at the end; Finn et al. 2017, arXiv 1703.03400) and Relation Networks' (no padding in
//! the first two blocks, no pools in the last two; Sung et al. 2018, arXiv 1711.06025).
//!
//! Deviation: convolutions have no bias unless `bias` asks for it; batch normalisation would take it
//! away again.

use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::prelude::*;
use burn::tensor::TensorData;
use burn::tensor::ops::ConvOptions;

use crate::error::Result;
use crate::nn::dual::Dual;
use crate::nn::norm::{BatchNorm, Pass};
use crate::nn::weights::{Cursor, FlatWeights};

/// How a block halves its picture.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Reduction {
    /// 2x2 max pooling after the activation.
    #[default]
    MaxPool,
    /// A convolution of stride 2, then the mean over all pixels at the end.
    Stride,
    /// Relation Networks' form: the first two blocks pool and do not pad, the last two neither.
    Relation,
}

/// What a [`Conv4`] is made from.
#[derive(
    Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Conv4Config {
    /// Channels of each block.
    #[schemars(range(min = 1, max = 4096))]
    pub width: usize,
    /// Blocks.
    #[schemars(range(min = 1, max = 16))]
    pub blocks: usize,
    /// How blocks halve the picture.
    pub reduction: Reduction,
    /// Whether convolutions add a bias.
    pub bias: bool,
}

impl Default for Conv4Config {
    fn default() -> Self {
        Self { width: 64, blocks: 4, reduction: Reduction::MaxPool, bias: false }
    }
}

/// The network.
#[derive(Module, Debug)]
pub struct Conv4 {
    blocks: Vec<ConvBlock>,
    #[module(skip)]
    reduction: Reduction,
}

/// 3x3 convolution, batch normalisation, ReLU.
#[derive(Module, Debug)]
pub struct ConvBlock {
    weight: Param<Tensor<4>>,
    bias: Option<Param<Tensor<1>>>,
    norm: BatchNorm,
}

impl Conv4 {
    /// Its blocks, to load weights into.
    pub fn blocks_mut(&mut self) -> &mut [ConvBlock] {
        &mut self.blocks
    }

    /// Random weights for pictures of `channels`: Xavier's uniform law.
    pub fn new(config: &Conv4Config, channels: usize, device: &Device) -> Self {
        let blocks = (0..config.blocks)
            .map(|index| {
                let inside = if index == 0 { channels } else { config.width };
                ConvBlock::new([inside, config.width], config.bias, device)
            })
            .collect();
        Self { blocks, reduction: config.reduction }
    }

    /// Appends its parameters in the order of their use.
    pub fn list(&self, weights: &mut FlatWeights) {
        for block in &self.blocks {
            block.list(weights);
        }
    }

    /// `[batch, channels, height, width]` to `[batch, width, height', width']`.
    pub fn maps(&self, images: Dual<4>, weights: &mut Cursor, pass: &mut Pass) -> Dual<4> {
        let last = self.blocks.len();
        self.blocks.iter().enumerate().fold(images, |images, (index, block)| {
            let (stride, padding, pool) = match self.reduction {
                Reduction::MaxPool => (1, 1, true),
                Reduction::Stride => (2, 1, false),
                Reduction::Relation => (1, usize::from(index >= 2), index < 2.min(last)),
            };
            let result = block.forward(images, stride, padding, weights, pass);
            if pool { result.max_pool(2) } else { result }
        })
    }

    /// `[batch, channels, height, width]` to `[batch, features]`: the last maps laid out as a vector,
    /// or their mean where strides replace pools.
    pub fn embed(&self, images: Dual<4>, weights: &mut Cursor, pass: &mut Pass) -> Dual<2> {
        let maps = self.maps(images, weights, pass);
        match self.reduction {
            Reduction::Stride => maps.global_mean(),
            Reduction::MaxPool | Reduction::Relation => maps.flatten(),
        }
    }

    /// Height and width of the maps for pictures of `size`; `None` if nothing would be left.
    pub fn size(&self, size: [usize; 2]) -> Option<[usize; 2]> {
        let one = |mut size: usize| {
            for index in 0..self.blocks.len() {
                size = match self.reduction {
                    Reduction::MaxPool => size / 2,
                    Reduction::Stride => size.div_ceil(2),
                    Reduction::Relation if index < 2 => size.checked_sub(2)? / 2,
                    Reduction::Relation => size,
                };
            }
            (size > 0).then_some(size)
        };
        Some([one(size[0])?, one(size[1])?])
    }

    /// Length of an embedding for pictures of `size`; `None` if nothing would be left.
    pub fn features(&self, size: [usize; 2]) -> Option<usize> {
        let [height, width] = self.size(size)?;
        let channels = self.channels();
        Some(match self.reduction {
            Reduction::Stride => channels,
            Reduction::MaxPool | Reduction::Relation => channels * height * width,
        })
    }

    /// Channels of the maps.
    pub fn channels(&self) -> usize {
        self.blocks.last().map_or(0, |block| block.weight.dims()[0])
    }
}

impl ConvBlock {
    /// Random weights, Xavier's uniform law.
    pub fn new([inside, outside]: [usize; 2], bias: bool, device: &Device) -> Self {
        let initializer = Initializer::XavierUniform { gain: 1.0 };
        let weight = initializer.init_with(
            [outside, inside, 3, 3],
            Some(inside * 9),
            Some(outside * 9),
            device,
        );
        let bias = bias.then(|| Initializer::Zeros.init([outside], device));
        Self { weight, bias, norm: BatchNorm::new(outside, device) }
    }

    /// Takes the weights that `take` finds by PyTorch's names: `0.weight` and `0.bias` of the
    /// convolution, `1.weight` and `1.bias` of the normalisation.
    ///
    /// # Errors
    /// Those of `take`.
    pub fn fill(
        &mut self,
        mut take: impl FnMut(&str, &[usize]) -> Result<TensorData>,
    ) -> Result<()> {
        let device = self.weight.val().device();
        let shape = self.weight.dims();
        let channels = shape[0];
        let mut vector = |name: &str| -> Result<Tensor<1>> {
            Ok(Tensor::from_data(take(name, &[channels])?, &device))
        };
        let bias = match &self.bias {
            Some(_) => Some(vector("0.bias")?),
            None => None,
        };
        self.norm.set(vector("1.weight")?, vector("1.bias")?);
        if let (Some(parameter), Some(bias)) = (&mut self.bias, bias) {
            *parameter = Param::initialized(parameter.id, bias);
        }
        let weight = Tensor::from_data(take("0.weight", &shape)?, &device);
        self.weight = Param::initialized(self.weight.id, weight);
        Ok(())
    }

    /// Appends its parameters in the order of their use.
    pub fn list(&self, weights: &mut FlatWeights) {
        weights.push(&self.weight);
        if let Some(bias) = &self.bias {
            weights.push(bias);
        }
        self.norm.list(weights);
    }

    /// Convolves with a stride and padding, normalises, activates.
    pub fn forward(
        &self,
        images: Dual<4>,
        stride: usize,
        padding: usize,
        weights: &mut Cursor,
        pass: &mut Pass,
    ) -> Dual<4> {
        let shape = self.weight.dims();
        let weight = weights.take(shape);
        let bias = self.bias.as_ref().map(|_| weights.take([shape[0]]));
        let options = ConvOptions::new([stride; 2], [padding; 2], [1; 2], 1);
        let images = images.conv2d(weight, bias, options);
        self.norm.forward_dual(images, weights, pass, true)
    }
}
