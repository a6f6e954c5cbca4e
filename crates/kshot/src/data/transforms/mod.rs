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
//! `[0, 0]`, a probability of 0) nothing changes.
//!
//! # Adding one
//! One file with a configuration that implements [`Change`], and one line in the table at the end of
//! this file. Recipes, `kshot list` and the registry-wide tests read the table.

use image::RgbImage;
use kshot_data::mask::Mask;
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::names::Row;

pub mod blur;
pub mod colour;
pub mod crop;
pub mod cutout;
pub mod flip;
pub mod noise;
pub mod resize;
pub mod rotate;
pub mod shift;

/// The recipe key that errors name.
const KEY: &str = "data.transforms";

/// A picture and its mask, if it has one; of the same size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The picture.
    pub image: RgbImage,
    /// A label for every pixel; `None` where the label is the whole picture's.
    pub mask: Option<Mask>,
}

impl Pair {
    /// Width and height in pixels.
    pub fn size(&self) -> [usize; 2] {
        [self.image.width() as usize, self.image.height() as usize]
    }

    /// The pair of a size whose pixel `[x, y]` is ours at `from(x, y)`; from outside, the picture's
    /// border and VOID.
    fn moved(self, [width, height]: [usize; 2], from: impl Fn(i64, i64) -> [i64; 2]) -> Self {
        let [columns, rows] = self.size().map(|side| side as i64);
        let image = RgbImage::from_fn(width as u32, height as u32, |x, y| {
            let [x, y] = from(x.into(), y.into());
            *self.image.get_pixel(x.clamp(0, columns - 1) as u32, y.clamp(0, rows - 1) as u32)
        });
        let mask = self.mask.map(|mask| {
            let pixels = (0..height as i64).flat_map(|y| (0..width as i64).map(move |x| (x, y)));
            let pixels = pixels.map(|(x, y)| {
                let [x, y] = from(x, y);
                let inside = (0..columns).contains(&x) && (0..rows).contains(&y);
                if inside { mask.at(x as usize, y as usize) } else { kshot_data::mask::VOID }
            });
            Mask { width, height, pixels: pixels.collect() }
        });
        Self { image, mask }
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

    /// The changed pair.
    ///
    /// # Errors
    /// If the picture cannot be resized.
    fn apply(&self, pair: Pair, random: &mut ChaCha8Rng) -> Result<Pair>;
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
                match self { $(Self::$variant(config) => config.check(),)+ }
            }

            /// The changed pair.
            ///
            /// # Errors
            /// If the picture cannot be resized.
            pub fn apply(&self, pair: Pair, random: &mut ChaCha8Rng) -> Result<Pair> {
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
/// If the two are not of one size or have no pixels, or a picture cannot be resized.
pub fn apply_all(
    transforms: &[Transform],
    image: RgbImage,
    mask: Mask,
    random: &mut ChaCha8Rng,
) -> Result<(RgbImage, Mask)> {
    let [width, height] = [image.width() as usize, image.height() as usize];
    if [mask.width, mask.height] != [width, height] {
        return Err(Error::data(format!(
            "the mask is {} x {} but the picture {width} x {height}",
            mask.width, mask.height
        )));
    }
    let pair = apply(transforms, Pair { image, mask: Some(mask) }, random)?;
    match pair.mask {
        Some(mask) => Ok((pair.image, mask)),
        None => unreachable!("a transform keeps the mask"),
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
    Ok(apply(transforms, Pair { image, mask: None }, random)?.image)
}

fn apply(transforms: &[Transform], pair: Pair, random: &mut ChaCha8Rng) -> Result<Pair> {
    if pair.size().contains(&0) {
        return Err(Error::data("a picture without pixels cannot be changed"));
    }
    transforms.iter().try_fold(pair, |pair, transform| transform.apply(pair, random))
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
    rand::Rng::random_range(random, low..=high)
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
}
