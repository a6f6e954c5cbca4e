//! Fully convolutional networks FCN-32s, FCN-16s and FCN-8s (Long, Shelhamer and Darrell 2015, arXiv 1411.4038).
//!
//! The coarsest map passes what were the classifier's hidden layers, `fc6` of 7x7 and `fc7` of 1x1, each with ReLU
//! and dropout, and becomes class scores at stride 32. For FCN-16s these are doubled by a transposed convolution, and
//! the scores of the map of stride 16 are added; for FCN-8s this is done once more at stride 8. What results is
//! resized to the picture. The transposed convolutions of 4x4 start as bilinear interpolation and learn.
//!
//! # On which maps
//! The paper's maps are those behind VGG's pools. `encoder/vgg.rs` gives the maps before its pools and leaves out the
//! fifth, so its coarsest stride is 16. Where the coarsest stride is `32 / f`, the maps of strides `32 / f`, `16 / f`
//! and `8 / f` are therefore pooled to the paper's by maxima over `f` pixels: on VGG16 that is exactly pool5, pool4
//! and pool3. On ResNet and others of stride 32 nothing is pooled.
//!
//! # Deviations
//! - Convolutions are padded by half a kernel, so that maps need no cropping; the paper pads the picture by 100 pixels.
//! - `width` is 512 by default, which trains on a processor; the paper's is 4096 (`width = 4096`).
//! - The last upsampling, which the paper holds at bilinear too, is a bilinear resize: the same but within half a cell
//!   of the picture's border, where it repeats the border instead of fading to zero.
//! - Score layers start at random, not at zero, and the skips are not scaled (0.01 and 0.0001 in FCN-8s at once).

use burn::module::{Module, Param};
use burn::prelude::*;
use burn::tensor::TensorData;
use burn::tensor::ops::ConvTransposeOptions;

use super::{Decode, DecodeConfig, check_classes, maps};
use crate::encoder::Features;
use crate::error::{Error, Result};
use crate::nn::{Activation, Conv, ConvConfig, ConvNormAct, Dropout, unpool};

/// Widths of the hidden layers that make sense.
const WIDTHS: std::ops::RangeInclusive<usize> = 1..=4096;

/// The stride of the scores that are resized to the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "usize", into = "usize")]
pub enum ScoreStride {
    /// FCN-32s: the coarsest map alone.
    S32,
    /// FCN-16s.
    S16,
    /// FCN-8s.
    S8,
}

impl TryFrom<usize> for ScoreStride {
    type Error = String;

    fn try_from(stride: usize) -> std::result::Result<Self, String> {
        match stride {
            32 => Ok(Self::S32),
            16 => Ok(Self::S16),
            8 => Ok(Self::S8),
            _ => Err(format!("a stride of {stride}; valid are 32, 16 and 8")),
        }
    }
}

impl From<ScoreStride> for usize {
    fn from(stride: ScoreStride) -> Self {
        match stride {
            ScoreStride::S32 => 32,
            ScoreStride::S16 => 16,
            ScoreStride::S8 => 8,
        }
    }
}

impl schemars::JsonSchema for ScoreStride {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ScoreStride".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "integer", "enum": [32, 16, 8] })
    }
}

/// What an [`Fcn`] is made from.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FcnConfig {
    /// Stride of the finest scores: 32, 16 or 8, for FCN-32s, FCN-16s or FCN-8s.
    pub stride: ScoreStride,
    /// Channels of the two hidden layers, fc6 and fc7; 4096 in the paper.
    #[schemars(range(min = *WIDTHS.start(), max = *WIDTHS.end()))]
    pub width: usize,
    /// Share of the hidden values that training drops.
    #[schemars(range(min = 0.0, max = 0.95))]
    pub dropout: f64,
}

impl Default for FcnConfig {
    fn default() -> Self {
        Self { stride: ScoreStride::S8, width: 512, dropout: 0.5 }
    }
}

/// The decoder.
#[derive(Module, Debug)]
pub struct Fcn {
    fc6: ConvNormAct,
    fc7: ConvNormAct,
    /// Scores at stride 32.
    score: Conv,
    /// Coarsest first.
    skips: Vec<FcnSkip>,
    map: usize,
    /// How often maps are halved first.
    pools: usize,
    #[module(skip)]
    dropout: Dropout,
}

/// Scores doubled, and those of a finer map added.
#[derive(Module, Debug)]
struct FcnSkip {
    /// `[classes, classes, 4, 4]`
    up: Param<Tensor<4>>,
    score: Conv,
    map: usize,
}

/// The kernels that double maps by bilinear interpolation, each class by itself: `[classes, classes, 4, 4]`.
fn bilinear_kernels(classes: usize, device: &Device) -> Param<Tensor<4>> {
    const SIDE: [f32; 4] = [0.25, 0.75, 0.75, 0.25];
    let mut values = vec![0.0f32; classes * classes * 16];
    for class in 0..classes {
        let start = (class * classes + class) * 16;
        for (at, value) in values[start..start + 16].iter_mut().enumerate() {
            *value = SIDE[at / 4] * SIDE[at % 4];
        }
    }
    Param::from_tensor(Tensor::from_data(TensorData::new(values, [classes, classes, 4, 4]), device))
}

impl FcnConfig {
    /// Maps of the strides 32, 16, 8, as many as are used, and how often they are halved to have these.
    fn maps(&self, strides: &[usize]) -> Result<(Vec<usize>, usize)> {
        let refuse = || {
            Error::config(format!(
                "fcn on maps of strides {strides:?}: it needs strides s, s / 2 and s / 4 of powers of two, s at most \
                 32 and the coarsest; or write stride = 32, which uses the coarsest alone"
            ))
        };
        let coarsest = strides[maps::coarsest(Self::NAME, strides)?];
        if !coarsest.is_power_of_two() || coarsest > 32 {
            return Err(refuse());
        }
        let factor = 32 / coarsest;
        let levels = [32, 16, 8].into_iter().filter(|level| *level >= usize::from(self.stride));
        let found = levels.map(|level| {
            let divides = level % factor == 0;
            divides.then(|| maps::of_stride(strides, level / factor)).flatten().ok_or_else(refuse)
        });
        Ok((found.collect::<Result<_>>()?, factor.trailing_zeros() as usize))
    }
}

impl DecodeConfig for FcnConfig {
    type Network = Fcn;

    const NAME: &'static str = "fcn";
    const SUMMARY: &'static str =
        "FCN-8s, FCN-16s or FCN-32s: class scores of three scales, added up";
    const SOURCE: &'static str = "https://arxiv.org/abs/1411.4038";

    /// # Errors
    /// If there are no maps of the strides it joins, the width is out of bounds, or there are no classes.
    fn init(
        &self,
        channels: &[usize],
        strides: &[usize],
        classes: usize,
        device: &Device,
    ) -> Result<Fcn> {
        check_classes(classes)?;
        if !WIDTHS.contains(&self.width) {
            return Err(Error::config(format!(
                "an fcn of width {}; valid are {} to {}",
                self.width,
                WIDTHS.start(),
                WIDTHS.end()
            )));
        }
        let (used, pools) = self.maps(strides)?;
        let layer = |channels, kernel| {
            let config = ConvConfig::new(channels, kernel);
            ConvNormAct::biased(&config, None, Activation::Relu, device)
        };
        let score = |channels| ConvConfig::new([channels, classes], 1).init(true, device);
        let skip = |&map: &usize| FcnSkip {
            up: bilinear_kernels(classes, device),
            score: score(channels[map]),
            map,
        };
        Ok(Fcn {
            fc6: layer([channels[used[0]], self.width], 7),
            fc7: layer([self.width, self.width], 1),
            score: score(self.width),
            skips: used[1..].iter().map(skip).collect(),
            map: used[0],
            pools,
            dropout: Dropout::new(self.dropout),
        })
    }

    fn optimize(network: Fcn) -> Fcn {
        let skip = |skip: FcnSkip| FcnSkip { score: skip.score.compile(), ..skip };
        Fcn {
            fc6: network.fc6.fold(),
            fc7: network.fc7.fold(),
            score: network.score.compile(),
            skips: network.skips.into_iter().map(skip).collect(),
            ..network
        }
    }
}

impl Decode for Fcn {
    fn forward(&self, features: &Features, size: [usize; 2]) -> Tensor<4> {
        let map = |index: usize| {
            (0..self.pools).fold(features.maps[index].clone(), |map, _| unpool::halve(map))
        };
        let hidden = self.dropout.forward(self.fc6.forward(map(self.map)));
        let hidden = self.dropout.forward(self.fc7.forward(hidden));
        let coarsest = self.score.forward(hidden);
        let scores = self.skips.iter().fold(coarsest, |scores, skip| {
            let finer = skip.score.forward(map(skip.map));
            let [.., height, width] = finer.dims();
            let options = ConvTransposeOptions::new([2, 2], [1, 1], [0, 0], [1, 1], 1);
            let up = kshot_kernels::conv_transpose2d(scores, skip.up.val(), None, options);
            finer + up.narrow(2, 0, height).narrow(3, 0, width)
        });
        kshot_kernels::bilinear(scores, size, false)
    }
}

impl Fcn {
    /// The kernels of the transposed convolutions, `[classes, classes, 4, 4]`, coarsest first.
    pub fn transposed(&self) -> Vec<Tensor<4>> {
        self.skips.iter().map(|skip| skip.up.val()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_those_behind_vggs_pools_or_as_they_are() {
        let of = |stride: usize, strides: &[usize]| {
            let config = FcnConfig { stride: stride.try_into().unwrap(), ..FcnConfig::default() };
            config.maps(strides)
        };
        assert_eq!(of(8, &[1, 2, 4, 8, 16]).unwrap(), (vec![4, 3, 2], 1)); // VGG: pool5, pool4, pool3
        assert_eq!(of(8, &[2, 4, 8, 16, 32]).unwrap(), (vec![4, 3, 2], 0));
        assert_eq!(of(16, &[2, 4, 8, 8, 8]).unwrap(), (vec![4, 1], 2));
        assert_eq!(of(32, &[14]).unwrap_err().kind(), crate::error::ErrorKind::Config);
        for strides in [&[4, 8, 64][..], &[4, 32], &[16]] {
            let error = of(8, strides).unwrap_err().to_string();
            assert!(error.contains(&format!("{strides:?}")), "{error}");
        }
        assert_eq!(of(32, &[16]).unwrap(), (vec![0], 1));
    }

    #[test]
    fn doubling_starts_as_bilinear_interpolation() {
        let device = Device::flex();
        let map = Tensor::arange(0..2 * 3 * 4, &device).float().sin().reshape([1, 2, 3, 4]);
        let options = ConvTransposeOptions::new([2, 2], [1, 1], [0, 0], [1, 1], 1);
        let kernels = bilinear_kernels(2, &device).val();
        let ours = kshot_kernels::conv_transpose2d(map.clone(), kernels, None, options);
        let expected = kshot_kernels::bilinear(map, [6, 8], false);
        // But for the border.
        let inside = |map: Tensor<4>| map.narrow(2, 1, 4).narrow(3, 1, 6);
        let apart = (inside(ours) - inside(expected)).abs().max().into_scalar::<f32>();
        assert!(apart < 1e-6, "{apart}");
    }

    #[test]
    fn other_strides_are_refused() {
        let error = toml::from_str::<FcnConfig>("stride = 4").unwrap_err().to_string();
        assert!(error.contains("valid are 32, 16 and 8"), "{error}");
    }
}
