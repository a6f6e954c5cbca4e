//! Transforms: random changes to training pictures and their masks.
//!
//! # Contract
//! A transform takes a picture, with a mask of its size or (for class labels) without one, and gives the
//! changed ones, again of one size. Geometric transforms move labels with their pixels; where a pixel
//! comes from outside the picture, the picture repeats its border and the mask is VOID, which neither
//! losses nor metrics count. Labels are never blended: masks hold no value that they did not hold
//! before, but VOID.
//!
//! Random numbers come from the generator handed in and from nothing else: the same state gives the
//! same result, with a mask or without. Parameters are in natural units (pixels, degrees, factors,
//! levels of 0 to 255) and ranges are `[least, most]`, drawn from evenly. At no strength (a range of
//! `[0, 0]`, a probability of 0) nothing changes. All but those that set a size (`crop`, `resize`, `affine`) and `flip`,
//! whose settings are probabilities, have a `probability`: the share of the pictures that they change, 1 unless said.
//!
//! A picture may have a focus, a point that transforms move with its pixel: `crop` and `affine` put their part around it.
//!
//! # nnU-Net's augmentation
//! Isensee et al. 2021, as in the authors' code (batchgeneratorsv2). There values are floats of mean 0 and standard
//! deviation 1, each channel changed on its own; here they are levels of 0 to 255, of which one standard deviation is
//! about 58 (ImageNet's), and channels change together, as those of one camera do.
//!
//! | there | here |
//! |---|---|
//! | rotation by up to 180 degrees (0.2), scale 0.7 to 1.4 (0.2), crop | `{ name = "affine", size = 256, rotate = 180.0, rotate_probability = 0.2, scale = [0.7, 1.4], scale_probability = 0.2 }` |
//! | noise of 0 to 0.1 (called a variance, used as a standard deviation; 0.1) | `{ name = "noise", std = [0.0, 5.8], probability = 0.1 }` |
//! | blur of 0.5 to 1 pixels (0.2; each channel in half of these) | `{ name = "blur", sigma = [0.5, 1.0], probability = 0.2 }` |
//! | values times 0.75 to 1.25 (0.15) | `{ name = "brightness", range = [0.75, 1.25], probability = 0.15 }`: levels are multiplied, so the picture's mean moves, which there stays at 0 |
//! | contrast 0.75 to 1.25 about the mean, within the old range (0.15) | `{ name = "contrast", range = [0.75, 1.25], probability = 0.15 }` |
//! | low resolution, 0.5 to 1 (0.25; each channel in half of these) | `{ name = "low-resolution", zoom = [0.5, 1.0], probability = 0.25 }` |
//! | gamma 0.7 to 1.5 of the inverted picture (0.1), and as it is (0.3) | `{ name = "gamma", range = [0.7, 1.5], invert = 1.0, probability = 0.1 }`, `{ name = "gamma", range = [0.7, 1.5], probability = 0.3 }` |
//! | mirrors along both axes | `{ name = "flip", horizontal = 0.5, vertical = 0.5 }` |
//!
//! Ranges around 1 are drawn from evenly; there half of the factors are below 1.
//!
//! # One sampling
//! Transforms change a [`Pair`]. Those that move pixels say by a [`Map`] where they come from; maps that follow each other
//! are composed, and the picture is sampled once, when somebody looks at it: the next transform that changes levels, or
//! whoever takes the result. So a list is cheapest that moves pixels first and changes levels after, on the part that is
//! left. Between two such looks it makes no difference whether a picture was, say, enlarged and then cut, but for the last
//! bits of its levels.
//!
//! # Adding one
//! One file with a configuration that implements [`Change`], and one line in the table at the end of
//! this file. Recipes, `kshot list` and the registry-wide tests read the table.

use std::borrow::Cow;

use image::RgbImage;
use kshot_data::mask::Mask;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::names::Row;

pub mod affine;
pub mod blur;
pub mod brightness;
pub mod colour;
pub mod contrast;
pub mod crop;
pub mod cutout;
pub mod flip;
pub mod gamma;
mod levels;
pub mod low_resolution;
pub mod noise;
mod pair;
pub mod resize;
pub mod rotate;
mod sample;
pub mod shift;
mod view;

pub use pair::Pair;
pub use view::Map;

/// The recipe key that errors name.
const KEY: &str = "data.transforms";

/// A picture of these pixels.
fn picture(width: usize, height: usize, pixels: Vec<u8>) -> RgbImage {
    match RgbImage::from_raw(width as u32, height as u32, pixels) {
        Some(image) => image,
        None => unreachable!("three bytes for each pixel"),
    }
}

/// What a transform provides to the table.
pub trait Change: Default {
    /// The name in recipes.
    const NAME: &'static str;
    /// One line on what it does.
    const SUMMARY: &'static str;
    /// The address of the paper, where there is one.
    const SOURCE: Option<&'static str> = None;
    /// Whether pixels move (or are lost), so that labels must follow.
    const GEOMETRIC: bool;

    /// Checks the settings.
    ///
    /// # Errors
    /// If one is out of range; the key `data.transforms` is named.
    fn check(&self) -> Result<()>;

    /// Share of the pictures that are changed, 0 to 1.
    fn probability(&self) -> f64 {
        1.0
    }

    /// Changes a pair, of those that are changed.
    ///
    /// # Errors
    /// If the picture cannot be resized.
    fn apply(&self, pair: &mut Pair<'_>, random: &mut ChaCha8Rng) -> Result<()>;
}

/// Makes the enum of all transforms from the table at the end of this file.
macro_rules! transforms {
    ($($variant:ident($config:path) = $name:literal;)+) => {
        /// Any of the built-in transforms, by its name in recipes.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(tag = "name")]
        pub enum Transform {
            $(
                #[doc = concat!("[`", stringify!($config), "`]")]
                #[serde(rename = $name)]
                $variant($config),
            )+
        }

        impl Transform {
            /// Every transform with its defaults, in the order of the table.
            pub fn all() -> Vec<Self> {
                vec![$(Self::$variant(<$config>::default()),)+]
            }

            /// The name in recipes.
            pub fn name(&self) -> &'static str {
                match self { $(Self::$variant(_) => <$config>::NAME,)+ }
            }

            /// Whether pixels move (or are lost), so that labels must follow.
            pub fn is_geometric(&self) -> bool {
                match self { $(Self::$variant(_) => <$config>::GEOMETRIC,)+ }
            }

            /// Checks the settings.
            ///
            /// # Errors
            /// If one is out of range; the key `data.transforms` is named.
            pub fn check(&self) -> Result<()> {
                check_range(self.name(), "probability", [self.probability(); 2], [0.0, 1.0])?;
                match self { $(Self::$variant(config) => config.check(),)+ }
            }

            /// Share of the pictures that are changed, 0 to 1.
            pub fn probability(&self) -> f64 {
                match self { $(Self::$variant(config) => config.probability(),)+ }
            }

            /// Changes the pair or (by its probability) leaves it as it is.
            ///
            /// # Errors
            /// If the picture cannot be resized.
            pub fn apply(&self, pair: &mut Pair<'_>, random: &mut ChaCha8Rng) -> Result<()> {
                let probability = self.probability();
                if probability < 1.0 && random.random::<f64>() >= probability {
                    return Ok(());
                }
                match self { $(Self::$variant(config) => config.apply(pair, random),)+ }
            }
        }

        /// The table, for people.
        pub fn rows() -> Vec<Row> {
            vec![$(Row {
                name: <$config>::NAME.to_owned(),
                summary: <$config>::SUMMARY.to_owned(),
                source: <$config>::SOURCE.map(str::to_owned),
            },)+]
        }
    };
}

/// Checks the settings of all.
///
/// # Errors
/// If one is out of range; the key `data.transforms` is named.
pub fn check_all(transforms: &[Transform]) -> Result<()> {
    transforms.iter().try_for_each(Transform::check)
}

/// Changes a picture and its mask by each transform in turn.
///
/// # Errors
/// If the two are not of one size or have no pixels, or the picture cannot be resized.
pub fn apply_all(
    transforms: &[Transform],
    image: RgbImage,
    mask: Mask,
    random: &mut ChaCha8Rng,
) -> Result<(RgbImage, Mask)> {
    let pair = Pair::new(Cow::Owned(image), Some(Cow::Owned(mask)))?;
    owned(apply(transforms, pair, random)?)
}

/// The same of a picture and mask that stay as they are; where a part is cut out, it lies around the focus (`[x, y]` in
/// pixels) if there is one.
///
/// # Errors
/// As [`apply_all`].
pub fn apply_to(
    transforms: &[Transform],
    image: &RgbImage,
    mask: &Mask,
    focus: Option<[f64; 2]>,
    random: &mut ChaCha8Rng,
) -> Result<(RgbImage, Mask)> {
    let pair = Pair::new(Cow::Borrowed(image), Some(Cow::Borrowed(mask)))?.with_focus(focus);
    owned(apply(transforms, pair, random)?)
}

fn owned(pair: Pair<'_>) -> Result<(RgbImage, Mask)> {
    match pair.into_parts()? {
        (image, Some(mask)) => Ok((image.into_owned(), mask.into_owned())),
        (_, None) => unreachable!("a transform keeps the mask"),
    }
}

/// Changes a picture whose label is of the whole by each transform in turn: the same as the picture of
/// [`apply_all`].
///
/// # Errors
/// If it has no pixels or cannot be resized.
pub fn apply_image(
    transforms: &[Transform],
    image: RgbImage,
    random: &mut ChaCha8Rng,
) -> Result<RgbImage> {
    let pair = Pair::new(Cow::Owned(image), None)?;
    Ok(apply(transforms, pair, random)?.into_parts()?.0.into_owned())
}

/// Changes a pair by each transform in turn.
///
/// # Errors
/// If the picture cannot be resized.
pub fn apply<'a>(
    transforms: &[Transform],
    mut pair: Pair<'a>,
    random: &mut ChaCha8Rng,
) -> Result<Pair<'a>> {
    transforms.iter().try_for_each(|transform| transform.apply(&mut pair, random))?;
    Ok(pair)
}

/// Width and height of a result in pixels: in recipes a side, or `[height, width]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum OutputSize {
    /// A square of that side.
    Square(#[schemars(range(min = 1, max = 8192))] usize),
    /// Height and width.
    Rectangle(#[schemars(inner(range(min = 1, max = 8192)))] [usize; 2]),
}

impl OutputSize {
    /// Width and height.
    fn sides(self) -> [usize; 2] {
        match self {
            Self::Square(side) => [side, side],
            Self::Rectangle([height, width]) => [width, height],
        }
    }

    fn check(self, name: &str) -> Result<()> {
        if self.sides().iter().all(|side| (1..=8192).contains(side)) {
            return Ok(());
        }
        let [width, height] = self.sides();
        wrong(name, &format!("size {width} x {height}; valid are sides of 1 to 8192 pixels"))
    }
}

fn wrong(name: &str, text: &str) -> Result<()> {
    Err(Error::config(format!("{name}: {text}")).at_key(KEY))
}

/// Checks that a range is in order and within bounds.
fn check_range(name: &str, key: &str, [low, high]: [f64; 2], bounds: [f64; 2]) -> Result<()> {
    if bounds[0] <= low && low <= high && high <= bounds[1] {
        return Ok(());
    }
    let [least, most] = bounds;
    wrong(name, &format!("{key} [{low}, {high}]; valid are [least, most] from {least} to {most}"))
}

/// A number drawn evenly from a range; a range of one number draws as well.
fn draw([low, high]: [f64; 2], random: &mut ChaCha8Rng) -> f64 {
    random.random_range(low..=high)
}

// The table: one line per transform.
transforms! {
    Flip(flip::Flip) = "flip";
    Scale(resize::RandomScale) = "scale";
    Crop(crop::Crop) = "crop";
    Rotate(rotate::Rotate) = "rotate";
    Resize(resize::Resize) = "resize";
    Shift(shift::Shift) = "shift";
    Colour(colour::Colour) = "colour";
    Blur(blur::Blur) = "blur";
    Noise(noise::GaussianNoise) = "noise";
    Cutout(cutout::Cutout) = "cutout";
    Affine(affine::Affine) = "affine";
    Brightness(brightness::Brightness) = "brightness";
    Contrast(contrast::Contrast) = "contrast";
    Gamma(gamma::Gamma) = "gamma";
    LowResolution(low_resolution::LowResolution) = "low-resolution";
}
