//! What a folder of labelled pictures is like, as far as it decides how to train on it.

use kshot_data::components::{Piece, measured};
use kshot_data::image::dimensions;
use kshot_data::mask::{BACKGROUND, MAX_CLASSES, Mask, UNLABELLED};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::data::Dataset;
use crate::error::Result;

/// Pictures that are looked into at most, evenly drawn.
const LOOKED_INTO: usize = 200;
/// From so many pictures on their labels tell whether top and bottom differ.
const TOLD_FROM: usize = 3;
/// A class whose mean height in the pictures is that far from the middle, as a share of the height, has its place.
const OFF_CENTRE: f64 = 0.08;

/// What was found in the pictures and their labels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DataFindings {
    /// Labelled pictures.
    pub pictures: usize,
    /// Height and width of the typical picture (medians).
    pub typical: [u32; 2],
    /// The shortest of the shorter sides.
    pub shortest: u32,
    /// The longest of the longer sides.
    pub longest: u32,
    /// Every class, in the data set's order; background is not among them.
    pub classes: Vec<ClassFindings>,
    /// Share of the pixels that are labelled: strokes leave most of them unlabelled.
    pub labelled: f64,
    /// Whether classes have their place between top and bottom, as in street scenes; `None` where too few pictures tell.
    pub upright: Option<bool>,
    /// Whether no picture has colours.
    pub gray: bool,
}

/// What was found of one class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassFindings {
    /// Its name.
    pub name: String,
    /// Share of the pixels that are labelled with a class or background.
    pub share: f64,
    /// Pictures that hold it.
    pub pictures: usize,
    /// Thickness of its typical piece, in pixels, weighted by area; `None` where only strokes are given or there is none.
    pub thickness: Option<f32>,
}

impl DataFindings {
    /// Of a data set's pictures.
    ///
    /// # Errors
    /// If a picture or a label cannot be read.
    pub fn of(set: &dyn Dataset) -> Result<Self> {
        let count = set.len();
        let sizes: Vec<(u32, u32)> = (0..count)
            .into_par_iter()
            .map(|index| dimensions(set.file(index)))
            .collect::<Result<_>>()?;
        let looked = count.min(LOOKED_INTO);
        let seen: Vec<PictureFindings> = (0..looked)
            .into_par_iter()
            .map(|place| PictureFindings::of(set, place * count / looked))
            .collect::<Result<_>>()?;
        let median = |mut of: Vec<u32>| {
            of.sort_unstable();
            of.get(of.len() / 2).copied().unwrap_or(0)
        };
        let side = |pick: fn(u32, u32) -> u32| sizes.iter().map(move |&(w, h)| pick(w, h));
        let labelled: usize = seen.iter().map(PictureFindings::counted).sum();
        let unlabelled: usize = seen.iter().map(|of| of.counts[usize::from(UNLABELLED)]).sum();
        let names = set.classes().iter().enumerate();
        let classes: Vec<ClassFindings> = names
            .map(|(index, name)| {
                let class = (index + 1).min(usize::from(MAX_CLASSES)) as u8;
                let pixels: usize = seen.iter().map(|of| of.counts[usize::from(class)]).sum();
                ClassFindings {
                    name: name.clone(),
                    share: pixels as f64 / labelled.max(1) as f64,
                    pictures: seen.iter().filter(|of| of.counts[usize::from(class)] > 0).count(),
                    thickness: thickness(&seen, class),
                }
            })
            .collect();
        Ok(Self {
            pictures: count,
            typical: [median(side(|_, h| h).collect()), median(side(|w, _| w).collect())],
            shortest: side(u32::min).min().unwrap_or(0),
            longest: side(u32::max).max().unwrap_or(0),
            labelled: labelled as f64 / (labelled + unlabelled).max(1) as f64,
            upright: upright(&seen, classes.len()),
            gray: seen.iter().all(|of| of.gray),
            classes,
        })
    }

    /// Whether strokes label the pictures, and most pixels are not labelled.
    pub fn is_scribbled(&self) -> bool {
        self.labelled < 0.5
    }

    /// The thickness of the class of the thinnest pieces, in pixels.
    pub fn thinnest(&self) -> Option<(&str, f32)> {
        let known =
            self.classes.iter().filter_map(|class| Some((class.name.as_str(), class.thickness?)));
        known.min_by(|a, b| a.1.total_cmp(&b.1))
    }

    /// The class with the smallest share of those that are there at all.
    pub fn rarest(&self) -> Option<&ClassFindings> {
        let there = self.classes.iter().filter(|class| class.share > 0.0);
        there.min_by(|a, b| a.share.total_cmp(&b.share))
    }
}

/// What is kept of one picture.
struct PictureFindings {
    counts: [usize; 256],
    /// By class: the mean row, 0 at the top to 1.
    rows: Vec<(u8, f64)>,
    pieces: Vec<Piece>,
    gray: bool,
}

impl PictureFindings {
    fn of(set: &dyn Dataset, index: usize) -> Result<Self> {
        let mask = set.mask(index)?;
        let counts = mask.counts();
        let strokes = counts[usize::from(UNLABELLED)] > 0;
        // The picture is decoded for its colours alone; a corner of it would do, but no decoder gives one.
        let gray =
            set.image(index)?.pixels().all(|pixel| pixel[0] == pixel[1] && pixel[1] == pixel[2]);
        Ok(Self {
            rows: rows(&mask),
            pieces: if strokes { Vec::new() } else { measured(&mask) },
            counts,
            gray,
        })
    }

    /// Pixels that are labelled as a class or background.
    fn counted(&self) -> usize {
        self.counts[..usize::from(UNLABELLED)].iter().sum()
    }
}

/// The mean row of each class that is there, background included.
fn rows(mask: &Mask) -> Vec<(u8, f64)> {
    let mut sums = vec![(0u64, 0u64); usize::from(MAX_CLASSES) + 1];
    for (y, row) in mask.pixels.chunks_exact(mask.width.max(1)).enumerate() {
        for &class in row.iter().filter(|&&class| class <= MAX_CLASSES) {
            let of = &mut sums[usize::from(class)];
            *of = (of.0 + y as u64, of.1 + 1);
        }
    }
    let last = mask.height.saturating_sub(1).max(1) as f64;
    let there = sums.into_iter().enumerate().filter(|(_, (_, count))| *count > 0);
    there.map(|(class, (sum, count))| (class as u8, sum as f64 / count as f64 / last)).collect()
}

/// The thickness that half of a class's area reaches.
fn thickness(seen: &[PictureFindings], class: u8) -> Option<f32> {
    let pieces = seen.iter().flat_map(|of| &of.pieces).filter(|piece| piece.class == class);
    let mut all: Vec<(f32, usize)> = pieces.map(|piece| (piece.thickness(), piece.area)).collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let total: usize = all.iter().map(|(_, area)| area).sum();
    let mut sum = 0;
    all.iter()
        .find(|(_, area)| {
            sum += area;
            2 * sum >= total
        })
        .map(|(thickness, _)| *thickness)
}

/// Whether a class keeps to the upper or the lower part: its mean row over the pictures is off the middle, and surely
/// so (by twice the standard error).
fn upright(seen: &[PictureFindings], classes: usize) -> Option<bool> {
    if seen.len() < TOLD_FROM {
        return None;
    }
    let keeps_place = |class: u8| {
        let rows = seen.iter().flat_map(|of| &of.rows).filter(|(of, _)| *of == class);
        let rows: Vec<f64> = rows.map(|(_, row)| row - 0.5).collect();
        if rows.len() < TOLD_FROM {
            return false;
        }
        let count = rows.len() as f64;
        let mean = rows.iter().sum::<f64>() / count;
        let variance = rows.iter().map(|row| (row - mean).powi(2)).sum::<f64>() / (count - 1.0);
        mean.abs() > OFF_CENTRE && mean.abs() > 2.0 * (variance / count).sqrt()
    };
    Some((BACKGROUND..=classes.min(usize::from(MAX_CLASSES)) as u8).any(keeps_place))
}
