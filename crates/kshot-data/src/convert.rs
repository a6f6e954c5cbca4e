//! From one label format to another, without losing an id or a pixel.
//!
//! Labels are read into [`Annotation`](crate::annotation::Annotation)s and written from them: what
//! both formats hold (corners, instances, boxes, run lengths, void) goes over as it is; masks become
//! outlines along the pixels' borders where a format has outlines alone. What the target cannot hold
//! is refused unless it is allowed to be lost. At the end everything is read again and compared pixel
//! by pixel.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::finding::Findings;
use crate::label_folder::{FolderPicture, LabelFolder, PaintedLabels};
use crate::mask::Mask;
use crate::names;

mod loss;
mod shapes;
mod write;

use loss::FormatTally;

/// The formats that can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LabelFormat {
    /// `masks/NAME.png`, index PNG with a palette (scribbles in `scribbles/`).
    Mask,
    /// `masks/CLASS/NAME.png`, one for each class of a picture.
    ClassMasks,
    /// `masks/NAME.png` in colours, `colors.csv`.
    ColorMasks,
    /// `images/NAME.json`.
    Labelme,
    /// `annotations.json`.
    Coco,
    /// `labels/NAME.txt` and `data.yaml`.
    YoloSeg,
    /// `Annotations/NAME.xml`: boxes.
    VocXml,
    /// `boxes.csv`.
    BoxesCsv,
}

impl LabelFormat {
    /// All formats, in the order of lists and help.
    pub const ALL: [Self; 8] = [
        Self::Mask,
        Self::ClassMasks,
        Self::ColorMasks,
        Self::Labelme,
        Self::Coco,
        Self::YoloSeg,
        Self::VocXml,
        Self::BoxesCsv,
    ];

    /// Its name in commands.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mask => "mask",
            Self::ClassMasks => "class-masks",
            Self::ColorMasks => "color-masks",
            Self::Labelme => "labelme",
            Self::Coco => "coco",
            Self::YoloSeg => "yolo-seg",
            Self::VocXml => "voc-xml",
            Self::BoxesCsv => "boxes-csv",
        }
    }

    /// Whether a label file is for one picture and has its name without the ending.
    fn by_stem(self) -> bool {
        !matches!(self, Self::Coco | Self::BoxesCsv)
    }

    /// Whether it holds boxes only.
    fn is_boxes(self) -> bool {
        matches!(self, Self::VocXml | Self::BoxesCsv)
    }

    /// Whether it holds a value per pixel.
    fn is_dense(self) -> bool {
        matches!(self, Self::Mask | Self::ClassMasks | Self::ColorMasks)
    }
}

impl std::str::FromStr for LabelFormat {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|format| format.name() == name).ok_or_else(|| {
            let valid = Self::ALL.map(Self::name);
            Error::config(names::unknown("label format", name, &valid))
        })
    }
}

/// How to convert.
#[derive(Debug, Clone, Copy)]
pub struct ConvertOptions {
    /// The format to write.
    pub to: LabelFormat,
    /// Whether what the format cannot hold may be lost.
    pub lossy: bool,
    /// Whether the output folder may hold files already; those in the way are replaced.
    pub force: bool,
    /// Whether pictures are linked (hard links) instead of copied.
    pub link: bool,
}

/// What was converted.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Summary {
    /// Pictures written with their labels.
    pub pictures: usize,
    /// Objects written; for masks, the classes of each picture.
    pub objects: usize,
    /// Pictures without a label, left out.
    pub left_out: usize,
    /// The classes' names, in the order of their numbers.
    pub classes: Vec<String>,
    /// What the format could not hold, in words.
    pub lost: Vec<String>,
    /// What is not kept although no pixel changes its class, in words.
    pub notes: Vec<String>,
    /// Pictures whose labels were read again and are the same pixel by pixel.
    pub verified: usize,
}

/// Converts the labels of folder `from` (laid out as for [`LabelFolder::open`]) into folder `out`.
/// Pictures go to `out/images`, the classes' names to `out/classes.txt`.
///
/// # Errors
/// If a label is wrong, the format cannot hold what there is (and `lossy` is not set), the output
/// folder is not empty (and `force` is not set), or a file cannot be written.
pub fn convert(from: &Path, out: &Path, options: ConvertOptions) -> Result<Summary> {
    refuse_filled(from, out, options.force)?;
    let mut folder = LabelFolder::open(from)?;
    let mut findings = std::mem::take(&mut folder.findings);
    let labelled: Vec<usize> = (0..folder.pictures.len())
        .filter(|&index| folder.pictures[index].labels.is_some())
        .collect();
    let inspected: Vec<(Option<Inspected>, Findings)> =
        labelled.par_iter().map(|&index| inspect(&folder, index, options.to)).collect();
    let mut sizes = Vec::new();
    let mut tally = FormatTally::default();
    for (inspected, mut found) in inspected {
        findings.0.append(&mut found.0);
        if let Some(inspected) = inspected {
            tally.add(&inspected.tally);
            sizes.push(inspected);
        }
    }
    findings.refuse_errors(from)?;
    refuse_same_names(&folder, &labelled, options.to)?;
    let lost = tally.lost(options.to);
    if !lost.is_empty() && !options.lossy {
        return Err(Error::config(format!(
            "{} cannot hold everything that is here:\n  {}\nchoose another format, or lose it with \
             --lossy",
            options.to.name(),
            lost.join("\n  ")
        ))
        .in_file(from));
    }
    let writer = write::LabelWriter { out, classes: &folder.classes, format: options.to };
    let written: Vec<write::FolderEntry> = labelled
        .par_iter()
        .zip(&sizes)
        .map(|(&index, inspected)| {
            let picture = &folder.pictures[index];
            let (width, height) = inspected.size;
            let read = folder.read(index, width, height, &mut Findings::default());
            let read = read.ok_or_else(|| {
                Error::data("its labels changed while they were converted").in_file(&picture.file)
            })?;
            write::picture(&picture.file, &out.join("images").join(&picture.name), options.link)?;
            writer.labels(picture, &read)
        })
        .collect::<Result<_>>()?;
    writer.finish(&written)?;
    let verified = verify(&folder, &labelled, &sizes, out)?;
    Ok(Summary {
        pictures: written.len(),
        objects: written.iter().map(write::FolderEntry::objects).sum(),
        left_out: folder.pictures.len() - labelled.len(),
        classes: folder.classes.names().to_vec(),
        lost,
        notes: tally.notes(options.to),
        verified,
    })
}

/// What is kept of a picture after its inspection.
struct Inspected {
    size: (usize, usize),
    /// A hash of the painted labels; `None` where they change on purpose.
    hash: Option<u64>,
    tally: FormatTally,
}

fn inspect(folder: &LabelFolder, index: usize, to: LabelFormat) -> (Option<Inspected>, Findings) {
    let mut findings = Findings::default();
    let file = &folder.pictures[index].file;
    let size = match crate::image::read(file) {
        Ok(picture) => (picture.width() as usize, picture.height() as usize),
        Err(error) => {
            findings.fails(file, &error);
            return (None, findings);
        }
    };
    let read = folder.read(index, size.0, size.1, &mut findings);
    let inspected = read.map(|read| {
        let tally = FormatTally::of(&read, &folder.classes);
        let same = tally.lost(to).is_empty();
        Inspected { size, hash: same.then(|| hash(&read.mask)), tally }
    });
    (inspected, findings)
}

fn hash(mask: &Mask) -> u64 {
    let mut hasher = DefaultHasher::new();
    mask.pixels.hash(&mut hasher);
    hasher.finish()
}

fn refuse_filled(from: &Path, out: &Path, force: bool) -> Result<()> {
    let same = |a: &Path, b: &Path| matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b);
    if same(from, out) {
        return Err(Error::config("the output folder is the input folder; choose another --out")
            .in_file(out));
    }
    let filled = std::fs::read_dir(out).is_ok_and(|mut entries| entries.next().is_some());
    if filled && !force {
        return Err(Error::config(
            "the output folder is not empty; choose another, or write into it with --force",
        )
        .in_file(out));
    }
    Ok(())
}

/// `a.jpg` and `a.png` can both be labelled in COCO, but would share `masks/a.png`.
fn refuse_same_names(folder: &LabelFolder, labelled: &[usize], to: LabelFormat) -> Result<()> {
    let mut known: BTreeMap<PathBuf, &FolderPicture> = BTreeMap::new();
    for &index in labelled {
        let picture = &folder.pictures[index];
        let key = if to.by_stem() { picture.name.with_extension("") } else { picture.name.clone() };
        if let Some(other) = known.insert(key, picture) {
            return Err(Error::data(format!(
                "{} and {} would share one label as {}; rename one of them",
                other.name.display(),
                picture.name.display(),
                to.name()
            ))
            .in_file(&picture.file));
        }
    }
    Ok(())
}

/// Reads what was written and compares it; how many pictures were compared.
fn verify(
    folder: &LabelFolder,
    labelled: &[usize],
    inspected: &[Inspected],
    out: &Path,
) -> Result<usize> {
    let expected: Vec<(&FolderPicture, &Inspected)> = labelled
        .iter()
        .zip(inspected)
        .filter(|(_, inspected)| inspected.hash.is_some())
        .map(|(&index, inspected)| (&folder.pictures[index], inspected))
        .collect();
    if expected.is_empty() {
        return Ok(0);
    }
    let back = LabelFolder::open(out)?;
    back.findings.refuse_errors(out)?;
    let places: HashMap<&Path, usize> =
        back.pictures.iter().enumerate().map(|(at, picture)| (&*picture.name, at)).collect();
    expected.par_iter().try_for_each(|(picture, inspected)| {
        let mut findings = Findings::default();
        let (width, height) = inspected.size;
        let read: Option<PaintedLabels> = places
            .get(&*picture.name)
            .and_then(|&index| back.read(index, width, height, &mut findings));
        findings.refuse_errors(out)?;
        if read.is_some_and(|read| Some(hash(&read.mask)) == inspected.hash) {
            return Ok(());
        }
        Err(Error::data(format!(
            "the labels of {} read back from the output are not what they were; are there older \
             labels in the output folder? Convert into an empty one, and if that fails too, please \
             report it with the file",
            picture.name.display()
        ))
        .in_file(&picture.file))
    })?;
    Ok(expected.len())
}
