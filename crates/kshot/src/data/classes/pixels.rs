//! The pictures of a class set at one size: kept decoded where they fit, read when needed otherwise. Or
//! vectors made of them, each once.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use image::RgbImage;
use kshot_data::resize::{resize, resize_gray};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::data::transforms::{self, Transform};
use crate::error::{Error, Result};

/// Bytes of decoded pictures that are kept.
const KEPT: usize = 3 << 30;

/// How bytes become numbers for a network.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scaling {
    /// Subtracted from each channel after division by 255.
    pub mean: [f32; 3],
    /// Divides each channel after that.
    pub std: [f32; 3],
}

impl Scaling {
    /// Gray drawings, dark ink on white paper, inverted: ink is 1, paper is 0.
    pub const INK: Self = Self { mean: [1.0; 3], std: [-1.0; 3] };
    /// ImageNet's mean and standard deviation.
    pub const IMAGENET: Self = Self { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };
}

/// Pictures of one size and number of channels (1 or 3), or vectors as pictures of one pixel.
#[derive(Debug)]
pub struct Pixels {
    /// Channels: 1 is gray, 3 is RGB, more are numbers of a vector.
    pub channels: usize,
    /// Height and width.
    pub size: [usize; 2],
    /// How bytes become numbers.
    pub scaling: Scaling,
    store: Store,
}

/// What is done to a picture at random, if anything.
pub type Changes<'a> = Option<(&'a [Transform], &'a mut ChaCha8Rng)>;

/// Makes a vector of a picture file.
pub type Make = dyn Fn(&Path) -> Result<Vec<f32>> + Send + Sync;

enum Store {
    /// `[pictures, channels, height, width]`
    Kept(Vec<u8>),
    /// Read each time.
    Files(Vec<PathBuf>),
    /// Each made when first needed, then kept.
    Vectors { files: Vec<PathBuf>, make: Box<Make>, made: Vec<OnceLock<Vec<f32>>> },
}

impl fmt::Debug for Store {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kept(bytes) => write!(formatter, "{} decoded bytes", bytes.len()),
            Self::Files(files) => write!(formatter, "{} files", files.len()),
            Self::Vectors { files, .. } => write!(formatter, "vectors of {} files", files.len()),
        }
    }
}

impl Pixels {
    /// Decoded pictures, `[pictures, channels, height, width]`.
    ///
    /// # Panics
    /// If the length is no whole number of pictures.
    pub fn kept(bytes: Vec<u8>, channels: usize, size: [usize; 2], scaling: Scaling) -> Self {
        assert!(bytes.len().is_multiple_of(channels * size[0] * size[1]), "not whole pictures");
        Self { channels, size, scaling, store: Store::Kept(bytes) }
    }

    /// Picture files, resized to `size` (the whole picture, antialiased). They are decoded now if all
    /// of them fit into memory, else each time they are needed.
    ///
    /// # Errors
    /// If a picture cannot be read.
    pub fn read(
        files: Vec<PathBuf>,
        channels: usize,
        size: [usize; 2],
        scaling: Scaling,
    ) -> Result<Self> {
        let each = channels * size[0] * size[1];
        if files.len() * each > KEPT {
            return Ok(Self { channels, size, scaling, store: Store::Files(files) });
        }
        let mut bytes = vec![0; files.len() * each];
        bytes
            .par_chunks_exact_mut(each)
            .zip(&files)
            .try_for_each(|(bytes, file)| file_into(file, channels, size, bytes))?;
        Ok(Self { channels, size, scaling, store: Store::Kept(bytes) })
    }

    /// Vectors of `features` numbers, which `make` makes of files when they are first needed.
    pub fn vectors(files: Vec<PathBuf>, features: usize, make: Box<Make>) -> Self {
        let made = files.iter().map(|_| OnceLock::new()).collect();
        let scaling = Scaling { mean: [0.0; 3], std: [1.0; 3] };
        let store = Store::Vectors { files, make, made };
        Self { channels: features, size: [1, 1], scaling, store }
    }

    /// Values of one picture.
    pub fn each(&self) -> usize {
        self.channels * self.size[0] * self.size[1]
    }

    /// Makes those of these vectors that are not made yet, side by side; pictures need nothing.
    ///
    /// # Errors
    /// If one cannot be made.
    pub fn load(&self, indices: &[usize]) -> Result<()> {
        let Store::Vectors { files, make, made } = &self.store else { return Ok(()) };
        let missing = indices.par_iter().filter(|&&index| made[index].get().is_none());
        missing.try_for_each(|&index| {
            // Whoever comes second made the same.
            let _ = made[index].set(make(&files[index])?);
            Ok(())
        })
    }

    /// Writes picture `index`, turned by `turns` quarters counter-clockwise and then transformed, as scaled
    /// numbers, `[channels, height, width]`. Vectors are not transformed.
    ///
    /// # Errors
    /// If it must be read and cannot be, or the transforms leave it another size.
    pub fn write(
        &self,
        index: usize,
        turns: u8,
        changes: Changes<'_>,
        target: &mut [f32],
    ) -> Result<()> {
        let each = self.each();
        match &self.store {
            Store::Kept(bytes) => {
                self.changed(&bytes[index * each..][..each], turns, changes, target)?;
            }
            Store::Files(files) => {
                let mut bytes = vec![0; each];
                file_into(&files[index], self.channels, self.size, &mut bytes)?;
                self.changed(&bytes, turns, changes, target)?;
            }
            Store::Vectors { made, .. } => {
                self.load(&[index])?;
                target.copy_from_slice(made[index].get().map_or(&[], Vec::as_slice));
            }
        }
        Ok(())
    }

    /// Transforms, then scales.
    fn changed(
        &self,
        bytes: &[u8],
        turns: u8,
        changes: Changes<'_>,
        target: &mut [f32],
    ) -> Result<()> {
        let Some((transforms, random)) = changes else {
            self.scale(bytes, turns, target);
            return Ok(());
        };
        let [height, width] = self.size;
        let area = height * width;
        let picture = RgbImage::from_fn(width as u32, height as u32, |x, y| {
            let at = y as usize * width + x as usize;
            image::Rgb(std::array::from_fn(|c| bytes[c.min(self.channels - 1) * area + at]))
        });
        let picture = transforms::apply_image(transforms, picture, random)?;
        if picture.dimensions() != (width as u32, height as u32) {
            return Err(Error::config(format!(
                "the transforms leave pictures of {} x {} pixels, and the network takes {width} x {height}",
                picture.width(),
                picture.height()
            ))
            .at_key("data.transforms"));
        }
        let mut planes = vec![0; self.channels * area];
        for (at, pixel) in picture.pixels().enumerate() {
            for (channel, plane) in planes.chunks_exact_mut(area).enumerate() {
                plane[at] = pixel.0[channel];
            }
        }
        self.scale(&planes, turns, target);
        Ok(())
    }

    fn scale(&self, bytes: &[u8], turns: u8, target: &mut [f32]) {
        let [height, width] = self.size;
        assert!(turns == 0 || height == width, "only square pictures are turned");
        let side = height;
        for (channel, (bytes, target)) in bytes
            .chunks_exact(height * width)
            .zip(target.chunks_exact_mut(height * width))
            .enumerate()
        {
            let scale = 1.0 / (255.0 * self.scaling.std[channel]);
            let shift = self.scaling.mean[channel] / self.scaling.std[channel];
            let value = |byte: u8| f32::from(byte) * scale - shift;
            if turns == 0 {
                for (target, byte) in target.iter_mut().zip(bytes) {
                    *target = value(*byte);
                }
                continue;
            }
            for row in 0..side {
                for column in 0..side {
                    let (y, x) = match turns {
                        1 => (column, side - 1 - row),
                        2 => (side - 1 - row, side - 1 - column),
                        _ => (side - 1 - column, row),
                    };
                    target[row * side + column] = value(bytes[y * side + x]);
                }
            }
        }
    }
}

/// Reads and resizes a file into planes.
fn file_into(file: &Path, channels: usize, size: [usize; 2], target: &mut [u8]) -> Result<()> {
    let picture = kshot_data::image::read(file)?;
    if channels == 1 {
        let gray = image::DynamicImage::from(picture).into_luma8();
        return gray_into(&gray, size, target).map_err(|error| error.in_file(file));
    }
    let pixels =
        resize(&picture, size[1] as u32, size[0] as u32).map_err(|error| error.in_file(file))?;
    let area = size[0] * size[1];
    for (index, pixel) in pixels.chunks_exact(3).enumerate() {
        for (channel, value) in pixel.iter().enumerate() {
            target[channel * area + index] = *value;
        }
    }
    Ok(())
}

/// Resizes a gray picture into a plane, antialiased (Lanczos, as MAML's code shrinks Omniglot).
///
/// # Errors
/// If it has no pixel.
pub fn gray_into(gray: &image::GrayImage, size: [usize; 2], target: &mut [u8]) -> Result<()> {
    let resized = resize_gray(gray, size[1] as u32, size[0] as u32)?;
    target.copy_from_slice(resized.as_raw());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_counter_clockwise_and_ink_is_one() {
        // A top-left corner of ink: 0 is ink, 255 paper.
        let pixels = Pixels::kept(vec![0, 255, 255, 255], 1, [2, 2], Scaling::INK);
        let turned = |turns| {
            let mut target = vec![9.0; 4];
            pixels.write(0, turns, None, &mut target).unwrap();
            target.iter().position(|value| (value - 1.0).abs() < 1e-6).unwrap()
        };
        // Top left, bottom left, bottom right, top right.
        assert_eq!([turned(0), turned(1), turned(2), turned(3)], [0, 2, 3, 1]);
    }

    #[test]
    fn imagenet_scaling_is_torchvisions() {
        let pixels = Pixels::kept(vec![0, 128, 255], 3, [1, 1], Scaling::IMAGENET);
        let mut target = vec![0.0; 3];
        pixels.write(0, 0, None, &mut target).unwrap();
        for (value, expected) in target.iter().zip([-2.117_904, 0.205_182, 2.64]) {
            assert!((value - expected).abs() < 1e-4, "{value} is not {expected}");
        }
    }
}
