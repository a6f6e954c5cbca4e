//! A folder of labelled pictures with weaker labels: strokes or boxes made from its masks.

use std::path::Path;

use rayon::prelude::*;

use super::{refuse_filled, refuse_same_names, refuse_unwritable_classes, write};
use crate::error::{Error, Result};
use crate::finding::Findings;
use crate::label_folder::{LabelFolder, MaskReading};
use crate::mask::{Mask, UNLABELLED, VOID};
use crate::mask_png;
use crate::palette::Palette;
use crate::scribble::scribble;
use crate::weak;

/// What masks become.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum WeakLabels {
    /// Strokes on this share of the labelled pixels, above 0 to 1 ([`scribble`]).
    Scribbles(f64),
    /// Boxes ([`weak::boxes`]).
    Boxes,
}

/// How to weaken.
#[derive(Debug, Clone)]
pub struct WeakenOptions {
    /// What masks become.
    pub to: WeakLabels,
    /// By which strokes are drawn; each picture has its own.
    pub seed: u64,
    /// How the numbers in masks are read.
    pub masks: MaskReading,
    /// Whether the output folder may hold files already; those in the way are replaced.
    pub force: bool,
    /// Whether pictures are linked (hard links) instead of copied.
    pub link: bool,
}

/// What was weakened.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Weakened {
    /// Pictures written with their labels.
    pub pictures: usize,
    /// Pictures without a label, left out.
    pub left_out: usize,
    /// The classes' names, in the order of their numbers.
    pub classes: Vec<String>,
    /// Share of the pixels that had a label which have one still, 0 to 1.
    pub labelled: f64,
}

/// Writes the labelled pictures of a folder with weaker labels into another, laid out as for [`LabelFolder::open`]:
/// pictures in `images/`, strokes in `scribbles/` (255 is unlabelled there), boxes in `masks/` (254 is unlabelled there).
///
/// # Errors
/// If the share is out of bounds, a label is wrong, no picture has one, the output folder is not empty (and `force` is not
/// set), or a file cannot be written.
pub fn weaken(from: &Path, out: &Path, options: &WeakenOptions) -> Result<Weakened> {
    if let WeakLabels::Scribbles(share) = options.to
        && !(share > 0.0 && share <= 1.0)
    {
        let text = format!("--share {share}; valid are numbers above 0, at most 1, such as 0.02");
        return Err(Error::config(text));
    }
    refuse_filled(from, out, options.force)?;
    let folder = LabelFolder::open_reading(from, options.masks)?;
    folder.findings.clone().refuse_errors_of_all(from)?;
    refuse_unwritable_classes(&folder)?;
    let labelled: Vec<usize> = (0..folder.pictures.len())
        .filter(|index| folder.pictures[*index].labels.is_some())
        .collect();
    if labelled.is_empty() {
        return Err(Error::data("no picture here has a label to weaken").in_file(from));
    }
    refuse_same_names(&folder, &labelled, super::LabelFormat::Mask)?;
    let kept = labelled.par_iter().map(|&index| one(&folder, index, out, options));
    let kept = kept.collect::<Result<Vec<[usize; 2]>>>()?;
    let names = folder.classes.names();
    crate::atomic::write(out.join("classes.txt"), format!("{}\n", names.join("\n")).as_bytes())?;
    let [before, after] = [0, 1].map(|at| kept.iter().map(|of| of[at]).sum::<usize>());
    Ok(Weakened {
        pictures: labelled.len(),
        left_out: folder.pictures.len() - labelled.len(),
        classes: names.to_vec(),
        labelled: after as f64 / before.max(1) as f64,
    })
}

/// Writes one picture with its label: how many pixels had one, and how many have.
fn one(
    folder: &LabelFolder,
    index: usize,
    out: &Path,
    options: &WeakenOptions,
) -> Result<[usize; 2]> {
    let picture = &folder.pictures[index];
    let (width, height) = crate::image::dimensions(&picture.file)?;
    let mut findings = Findings::default();
    let read = folder.read(index, width as usize, height as usize, &mut findings);
    findings.refuse_errors_of_all(&folder.root)?;
    let read = read.ok_or_else(|| {
        Error::data("its labels changed while they were read").in_file(&picture.file)
    })?;
    let (mut mask, below) = match options.to {
        WeakLabels::Scribbles(share) => {
            // Of the name, so that a picture's strokes do not depend on which others are there.
            let name = picture.name.to_string_lossy();
            let of_name = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            });
            (scribble(&read.mask, share, options.seed ^ of_name), "scribbles")
        }
        WeakLabels::Boxes => (weak::boxes(&read.mask), "masks"),
    };
    let labelled = |mask: &Mask| mask.pixels.iter().filter(|value| **value < UNLABELLED).count();
    let counts = [labelled(&read.mask), labelled(&mask)];
    if below == "scribbles" {
        // There, 255 is what nobody has labelled.
        mask.pixels.iter_mut().filter(|value| **value == UNLABELLED).for_each(|v| *v = VOID);
    }
    write::picture(&picture.file, &out.join("images").join(&picture.name), options.link)?;
    let file = out.join(below).join(picture.name.with_extension("png"));
    mask_png::write(&file, &mask, &Palette::distinct(), folder.classes.names())?;
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::Support;

    fn folder(root: &Path) {
        for below in ["images", "masks"] {
            std::fs::create_dir_all(root.join(below)).unwrap();
        }
        std::fs::write(root.join("classes.txt"), "square\n").unwrap();
        for name in ["a", "b"] {
            let inside =
                |x: u32, y: u32| (10..30).contains(&x) && (12..28).contains(&y) && x + y > 30;
            image::RgbImage::from_pixel(48, 40, image::Rgb([90, 120, 30]))
                .save(root.join(format!("images/{name}.png")))
                .unwrap();
            image::GrayImage::from_fn(48, 40, |x, y| image::Luma([u8::from(inside(x, y))]))
                .save(root.join(format!("masks/{name}.png")))
                .unwrap();
        }
    }

    fn options(to: WeakLabels) -> WeakenOptions {
        WeakenOptions { to, seed: 3, masks: MaskReading::Auto, force: false, link: false }
    }

    #[test]
    fn what_is_written_is_a_support_of_weaker_labels() {
        let place = tempfile::tempdir().unwrap();
        let from = place.path().join("from");
        folder(&from);
        let full = Support::load(&from).unwrap();
        for (to, name) in [(WeakLabels::Scribbles(0.05), "strokes"), (WeakLabels::Boxes, "boxes")] {
            let out = place.path().join(name);
            let told = weaken(&from, &out, &options(to)).unwrap();
            assert_eq!((told.pictures, told.left_out), (2, 0));
            let weak = Support::load(&out).unwrap();
            assert_eq!(weak.classes, ["square"]);
            for (weak, full) in weak.pictures.iter().zip(&full.pictures) {
                let expected = match to {
                    WeakLabels::Boxes => weak::boxes(&full.mask),
                    WeakLabels::Scribbles(_) => {
                        let right = weak.mask.pixels.iter().zip(&full.mask.pixels);
                        assert!(right.into_iter().all(|(w, f)| *w == UNLABELLED || w == f));
                        assert!(weak.mask.counts()[1] > 0 && weak.mask.counts()[0] > 0);
                        continue;
                    }
                };
                assert_eq!(weak.mask, expected);
            }
            let again = weaken(&from, &out, &options(to)).unwrap_err().to_string();
            assert!(again.contains("--force"), "{again}");
        }
        let error = weaken(&from, place.path(), &options(WeakLabels::Scribbles(0.0))).unwrap_err();
        assert!(error.to_string().contains("0.02"), "{error}");
    }
}
