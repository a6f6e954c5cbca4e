//! Vision transformers: a picture's patches as tokens that attend to each other.
//!
//! - Paper: Dosovitskiy et al., *An Image is Worth 16x16 Words*, 2020, <https://arxiv.org/abs/2010.11929>
//! - Three families share this network: [`plain`], [`dinov2`] and [`dinov3`]
//! - Pictures of any size: zeros are added at the right and the bottom up to whole patches (timm's `dynamic_img_pad`), and
//!   positions are brought to the grid (`nn/positions.rs`)
//! - Tokens: the class token, then registers (Darcet et al. 2023, arXiv 2309.16588) where there are some, then patches;
//!   registers have no position
//!
//! Features are the patches after four blocks at even distances (of fewer blocks, after each), all of the patch's stride.
//! The last map passes the final normalisation, the others do not (in timm's words `forward_intermediates(norm=False)`,
//! and its final result in place of the last). [`Encode::embedding`] is the class token after the final normalisation, as a
//! map of one pixel, or the last map, whose mean stands for the picture.
//!
//! Not as in timm: no dropout, no stochastic depth, and weights start as in the authors' code (Glorot's uniform law).

use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::prelude::*;

use crate::encoder::{Encode, Features};
use crate::nn::attention::QkvBias;
use crate::nn::positions::{self, Interpolation, Rotary};
use crate::nn::transformer::{TransformerBlock, TransformerConfig};
use crate::nn::{Conv, ConvConfig, LayerNorm, Padding};

pub mod dinov2;
pub mod dinov3;
mod family;
pub mod plain;

pub use family::VitFamily;

/// How tokens know where they are.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Positions {
    /// A learnt vector for each patch of the grid it was trained at, and for the class token.
    Learnt,
    /// Sines and cosines of the patch's number.
    #[serde(rename = "sinusoidal-1d")]
    Sinusoidal1d,
    /// Sines and cosines of the patch's row and column.
    #[serde(rename = "sinusoidal-2d")]
    Sinusoidal2d,
    /// Queries and keys are turned by row and column, in each block.
    Rotary,
    /// Not at all.
    None,
}

/// What stands for the whole picture.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Pool {
    /// The class token.
    ClassToken,
    /// The mean of the patches.
    Mean,
}

/// A vision transformer of any size.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VitConfig {
    /// Side of a patch.
    pub patch: usize,
    /// Channels of the tokens.
    pub width: usize,
    /// Blocks.
    pub depth: usize,
    /// Heads of each block's attention.
    pub heads: usize,
    /// Biases of each block's attention.
    pub bias: QkvBias,
    /// What each block's scales start at; 0 for none.
    pub layer_scale: f64,
    /// Added to variances.
    pub epsilon: f64,
    /// How tokens know where they are.
    pub positions: Positions,
    /// Patches a side of the grid of learnt positions.
    pub grid: usize,
    /// Whether the class token has a learnt position too.
    pub class_position: bool,
    /// How learnt positions are brought to other grids.
    pub interpolation: Interpolation,
    /// Tokens beside the class token and the patches.
    pub registers: usize,
    /// What stands for the whole picture.
    pub pool: Pool,
    /// Channels of the pictures.
    pub in_channels: usize,
}

impl VitConfig {
    /// The base of all presets: ViT-Ti/16 (192 channels, three heads).
    pub const TINY: Self = Self {
        patch: 16,
        width: 192,
        depth: 12,
        heads: 3,
        bias: QkvBias::All,
        layer_scale: 0.0,
        epsilon: 1e-6,
        positions: Positions::Learnt,
        grid: 14,
        class_position: true,
        interpolation: Interpolation::Antialiased,
        registers: 0,
        pool: Pool::ClassToken,
        in_channels: 3,
    };
    /// ViT-S/16.
    pub const SMALL: Self = Self { width: 384, heads: 6, ..Self::TINY };
    /// ViT-B/16.
    pub const BASE: Self = Self { width: 768, heads: 12, ..Self::TINY };

    /// The network with random weights.
    ///
    /// # Panics
    /// If there is no block, or the heads do not divide the width.
    pub fn init(&self, device: &Device) -> VisionTransformer {
        assert!(self.depth > 0, "a vision transformer of no block");
        let Self { patch, width, depth, heads, in_channels, .. } = *self;
        let block = TransformerConfig {
            channels: width,
            heads,
            hidden: 4 * width,
            bias: self.bias,
            layer_scale: self.layer_scale,
            epsilon: self.epsilon,
        };
        let kernels = ConvConfig::new([in_channels, width], patch).with_stride(patch);
        let kernels = kernels.with_padding(Padding::End);
        let inputs = in_channels * patch * patch;
        let law = Initializer::Normal { mean: 0.0, std: (inputs as f64).sqrt().recip() };
        let tokens = |count: usize| {
            Initializer::Normal { mean: 0.0, std: 0.02 }.init([1, count, width], device)
        };
        let placed = self.grid * self.grid + usize::from(self.class_position);
        VisionTransformer {
            patches: kernels.init_by(&law, true, device),
            class_token: tokens(1),
            registers: (self.registers > 0).then(|| tokens(self.registers)),
            positions: (self.positions == Positions::Learnt).then(|| tokens(placed)),
            blocks: (0..depth).map(|_| block.init(device)).collect(),
            norm: LayerNorm::new(width, self.epsilon, device),
            config: *self,
        }
    }

    /// The blocks whose results are maps.
    fn taken(&self) -> impl Iterator<Item = usize> + use<> {
        let (depth, maps) = (self.depth, self.depth.min(4));
        (1..=maps).map(move |map| map * depth / maps - 1)
    }

    /// Channels of each map.
    pub fn channels(&self) -> Vec<usize> {
        vec![self.width; self.taken().count()]
    }

    /// Strides of each map.
    pub fn strides(&self) -> Vec<usize> {
        vec![self.patch; self.taken().count()]
    }
}

/// A vision transformer without its classifier.
#[derive(Module, Debug)]
pub struct VisionTransformer {
    patches: Conv,
    /// `[1, 1, width]`
    class_token: Param<Tensor<3>>,
    /// `[1, registers, width]`
    registers: Option<Param<Tensor<3>>>,
    /// `[1, grid * grid, width]`, behind the class token's where it has one.
    positions: Option<Param<Tensor<3>>>,
    blocks: Vec<TransformerBlock>,
    norm: LayerNorm,
    #[module(skip)]
    config: VitConfig,
}

/// Tokens of a grid of patches.
struct Tokens {
    /// `[batch, width, 1, others + grid[0] * grid[1]]`
    values: Tensor<4>,
    grid: [usize; 2],
    rotary: Option<Rotary>,
}

impl VisionTransformer {
    /// The patches of pictures, and the other tokens.
    fn tokens(&self, images: Tensor<4>) -> Tokens {
        let patches = self.patches.forward(images);
        let [batch, width, rows, columns] = patches.dims();
        let grid = [rows, columns];
        let device = patches.device();
        let mut patches = patches.reshape([batch, width, 1, rows * columns]);
        let standing = |tokens: Tensor<3>| {
            let [_, count, _] = tokens.dims();
            tokens.swap_dims(1, 2).reshape([1, width, 1, count])
        };
        let mut class = standing(self.class_token.val());
        let mut rotary = None;
        match self.config.positions {
            Positions::Learnt => {
                if let Some(positions) = &self.positions {
                    let mut positions = positions.val();
                    if self.config.class_position {
                        let [_, count, _] = positions.dims();
                        class = class + standing(positions.clone().narrow(1, 0, 1));
                        positions = positions.narrow(1, 1, count - 1);
                    }
                    patches = patches + self.config.interpolation.resample(positions, grid);
                }
            }
            Positions::Sinusoidal1d => {
                patches = patches + positions::sinusoidal_1d(grid, width, &device);
            }
            Positions::Sinusoidal2d => {
                patches = patches + positions::sinusoidal_2d(grid, width, &device);
            }
            Positions::Rotary => {
                let (others, heads) = (1 + self.config.registers, self.config.heads);
                rotary = Some(positions::rotary(grid, others, width / heads, &device));
            }
            Positions::None => {}
        }
        let mut all = vec![class];
        all.extend(self.registers.as_ref().map(|registers| standing(registers.val())));
        let mut all: Vec<_> = all.into_iter().map(|tokens| tokens.repeat_dim(0, batch)).collect();
        all.push(patches);
        Tokens { values: Tensor::cat(all, 3), grid, rotary }
    }

    /// The patches among tokens, `[batch, width, grid[0], grid[1]]`.
    fn map(&self, tokens: Tensor<4>, [rows, columns]: [usize; 2]) -> Tensor<4> {
        let [batch, width, ..] = tokens.dims();
        let patches = tokens.narrow(3, 1 + self.config.registers, rows * columns);
        patches.reshape([batch, width, rows, columns])
    }

    /// The same function, faster, for inference only.
    #[must_use]
    pub fn fold(self) -> Self {
        Self {
            patches: self.patches.compile(),
            blocks: self.blocks.into_iter().map(TransformerBlock::fold).collect(),
            ..self
        }
    }
}

impl Encode for VisionTransformer {
    fn forward(&self, images: Tensor<4>) -> Features {
        let Tokens { mut values, grid, rotary } = self.tokens(images);
        let last = self.blocks.len() - 1;
        let mut taken = self.config.taken().peekable();
        let mut maps = Vec::new();
        for (index, block) in self.blocks.iter().enumerate() {
            values = block.forward(values, rotary.as_ref());
            if taken.next_if_eq(&index).is_some() {
                let tokens = values.clone();
                maps.push(match index == last {
                    true => self.norm.forward(self.map(tokens, grid)),
                    false => self.map(tokens, grid),
                });
            }
        }
        Features { maps }
    }

    fn embedding(&self, images: Tensor<4>) -> Tensor<4> {
        let Tokens { mut values, grid, rotary } = self.tokens(images);
        for block in &self.blocks {
            values = block.forward(values, rotary.as_ref());
        }
        self.norm.forward(match self.config.pool {
            Pool::ClassToken => values.narrow(3, 0, 1),
            Pool::Mean => self.map(values, grid),
        })
    }

    fn in_channels(&self) -> usize {
        self.patches.weight.dims()[1]
    }

    fn channels(&self) -> Vec<usize> {
        self.config.channels()
    }

    fn strides(&self) -> Vec<usize> {
        self.config.strides()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_of_blocks_at_even_distances() {
        let taken = |depth| VitConfig { depth, ..VitConfig::TINY }.taken().collect::<Vec<_>>();
        assert_eq!(taken(12), [2, 5, 8, 11]);
        assert_eq!(taken(4), [0, 1, 2, 3]);
        assert_eq!(taken(6), [0, 2, 3, 5]);
        assert_eq!(taken(2), [0, 1]);
    }

    /// Zeros beyond the picture, none before it.
    #[test]
    fn a_picture_is_padded_at_the_right_and_the_bottom() {
        let device = Device::flex();
        device.seed(9);
        let config = VitConfig { width: 8, depth: 1, heads: 1, ..VitConfig::TINY };
        let network = config.init(&device);
        let picture =
            Tensor::<4>::random([1, 3, 20, 9], burn::tensor::Distribution::Default, &device);
        let whole = Tensor::zeros([1, 3, 32, 16], &device);
        let whole = whole.slice_assign([0..1, 0..3, 0..20, 0..9], picture.clone());
        let [ours, expected] = [picture, whole].map(|images| network.forward(images).last());
        assert_eq!(ours.dims(), [1, 8, 2, 1]);
        assert!((ours - expected).abs().max().into_scalar::<f32>() < 1e-5);
    }
}
