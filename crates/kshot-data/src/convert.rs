//! From one label format to another, without losing an id or a pixel.
//!
//! Labels are read into [`Annotation`](crate::annotation::Annotation)s and written from them: what
//! both formats hold (corners, instances, boxes, run lengths, void) goes over as it is; masks become
//! outlines along the pixels' borders where a format has outlines alone. What the target cannot hold
//! is refused unless it is allowed to be lost. At the end everything is read again and compared pixel
//! by pixel.
//!
//! The output folder of `kshot segment` can be converted too, to correct its masks in another tool. There, outlines are
//! simplified ([`crate::labels::simplify`]), and how many pixels that costs is measured.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::finding::Findings;
use crate::label_folder::{FolderPicture, LabelFolder, LabelSource, MaskReading, PaintedLabels};
use crate::mask::Mask;
use crate::names::{SHOWN, shortened};
use crate::predicted::Predicted;

mod format;
mod loss;
mod outlines;
mod shapes;
mod source;
pub mod weaken;
mod write;

pub use format::LabelFormat;
use loss::FormatTally;
pub use outlines::Simplified;
use outlines::{Outliner, Overlap};
use source::Source;

/// How far corners of simplified outlines may be off where a result is converted and nothing else is asked for, in
/// pixels.
pub const TOLERANCE: f64 = 1.5;

/// How to convert.
#[derive(Debug, Clone)]
pub struct ConvertOptions {
    /// The format to write.
    pub to: LabelFormat,
    /// How the numbers in masks are read.
    pub masks: MaskReading,
    /// Whether what the format cannot hold may be lost.
    pub lossy: bool,
    /// Whether the output folder may hold files already; those in the way are replaced.
    pub force: bool,
    /// Whether pictures are linked (hard links) instead of copied.
    pub link: bool,
    /// How far corners of simplified outlines may be off, in pixels; 0 keeps every pixel. Where nothing is given,
    /// [`TOLERANCE`] for a result, 0 for labels.
    pub simplify: Option<f64>,
    /// Names and patterns of the pictures to convert ([`crate::result_folder::chosen`]); all where there is none.
    pub only: Vec<String>,
    /// Of a result, so many pictures that its page says to label next.
    pub next: Option<usize>,
    /// Where the pictures of a result are, if they were moved.
    pub images: Option<PathBuf>,
}

impl ConvertOptions {
    /// To a format, without losing anything, into an empty folder.
    pub fn new(to: LabelFormat) -> Self {
        Self {
            to,
            masks: MaskReading::Auto,
            lossy: false,
            force: false,
            link: false,
            simplify: None,
            only: Vec::new(),
            next: None,
            images: None,
        }
    }

    fn check(&self, is_result: bool, from: &Path) -> Result<()> {
        if self.simplify.is_some_and(|pixels| !(0.0..=100.0).contains(&pixels)) {
            return Err(Error::config(
                "--simplify takes 0 to 100 pixels, such as 1.5; 0 keeps every pixel",
            ));
        }
        if self.simplify.is_some_and(|pixels| pixels > 0.0) && !self.to.has_outlines() {
            return Err(Error::config(format!(
                "--simplify is for outlines, and {} has none; leave it out, or choose labelme, coco or yolo-seg",
                self.to.name()
            )));
        }
        let given = if self.images.is_some() { "--images" } else { "--next" };
        if !is_result && (self.images.is_some() || self.next.is_some()) {
            return Err(Error::config(format!(
                "{given} is for the output folder of kshot segment, and this is none (it has no run.toml and masks/)"
            ))
            .in_file(from));
        }
        Ok(())
    }
}

/// What was converted.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
pub struct Summary {
    /// Pictures written with their labels.
    pub pictures: usize,
    /// Objects written; for masks, the classes of each picture.
    pub objects: usize,
    /// Pictures without a label, or that were not chosen, left out.
    pub left_out: usize,
    /// Of these, what cannot be read of some, in words.
    pub unreadable: Vec<String>,
    /// The classes' names, in the order of their numbers.
    pub classes: Vec<String>,
    /// What the format could not hold, in words.
    pub lost: Vec<String>,
    /// What is not kept although no pixel changes its class, in words.
    pub notes: Vec<String>,
    /// Pictures whose labels were read again and are the same pixel by pixel.
    pub verified: usize,
    /// What became of outlines, where they were simplified.
    pub simplified: Option<Simplified>,
    /// How many labels are predictions, which count as labels once a tool has saved them.
    pub predictions: usize,
}

/// Converts the labels of folder `from` into folder `out`: a folder laid out as for [`LabelFolder::open`], or the output
/// folder of `kshot segment`, whose pictures are found by its `run.toml` ([`crate::result_folder::ResultFolder`]). Pictures are copied (or
/// linked) to `out/images`, the classes' names go to `out/classes.txt`. Predictions of a result are noted
/// ([`Predicted`]), so that they count as labels only once somebody has saved them.
///
/// # Errors
/// If a label is wrong, the format cannot hold what there is (and `lossy` is not set), the output
/// folder is not empty (and `force` is not set), a result's picture is not found, or a file cannot be written.
pub fn convert(from: &Path, out: &Path, options: &ConvertOptions) -> Result<Summary> {
    refuse_filled(from, out, options.force)?;
    let mut source = Source::open(from, options)?;
    let mut findings = std::mem::take(&mut source.folder.findings);
    let Source { folder, predicted, .. } = &source;
    let is_result = !predicted.is_empty();
    let usual = if is_result && options.to.has_outlines() { TOLERANCE } else { 0.0 };
    let outliner = Outliner::new(options.simplify.unwrap_or(usual));
    let mut labelled = source.labelled();
    let inspected: Vec<(Option<Inspected>, Findings)> = labelled
        .par_iter()
        .map(|&index| inspect(folder, index, options.to, outliner.tolerance > 0.0))
        .collect();
    let mut sizes = Vec::new();
    let mut tally = FormatTally::default();
    let mut places = Vec::new();
    for (index, (inspected, mut found)) in labelled.into_iter().zip(inspected) {
        findings.0.append(&mut found.0);
        if let Some(inspected) = inspected {
            tally.add(&inspected.tally);
            sizes.push(inspected);
            places.push(index);
        }
    }
    labelled = places;
    if labelled.is_empty() {
        findings.refuse_errors(from)?;
    }
    findings.refuse_errors_of_all(from)?;
    let unreadable = findings.0.iter().filter(|finding| finding.left_out);
    let unreadable = unreadable.map(ToString::to_string).collect();
    refuse_same_names(folder, &labelled, options.to)?;
    refuse_unwritable_classes(folder)?;
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
    Predicted::clear(out)?;
    let writer = write::LabelWriter {
        out,
        classes: &folder.classes,
        format: options.to,
        outliner: &outliner,
    };
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
    let (verified, overlap) = verify(folder, &labelled, &sizes, out)?;
    let predictions = if is_result { note_predictions(&source, &labelled, out)? } else { 0 };
    Ok(Summary {
        pictures: written.len(),
        objects: written.iter().map(write::FolderEntry::objects).sum(),
        left_out: folder.pictures.len() - labelled.len(),
        unreadable,
        classes: folder.classes.names().to_vec(),
        lost,
        notes: tally.notes(options.to, outliner.tolerance > 0.0),
        verified,
        simplified: outliner.result(&overlap),
        predictions,
    })
}

/// Notes the label files that hold predictions; how many pictures' labels these are.
fn note_predictions(source: &Source, labelled: &[usize], out: &Path) -> Result<usize> {
    let predicted = |index: &&usize| source.predicted[**index];
    let pictures: Vec<&Path> = labelled
        .iter()
        .filter(predicted)
        .map(|&index| source.folder.pictures[index].name.as_path())
        .collect();
    if pictures.is_empty() {
        return Ok(0);
    }
    let back = LabelFolder::open(out)?;
    let of = back.pictures.iter().filter(|picture| pictures.contains(&&*picture.name));
    let mut files: Vec<PathBuf> = of
        .filter_map(|picture| picture.labels.as_ref())
        .flat_map(LabelSource::files)
        .map(Path::to_owned)
        .collect();
    files.sort();
    files.dedup();
    Predicted::write(out, &files)?;
    Ok(pictures.len())
}

/// What is kept of a picture after its inspection.
struct Inspected {
    size: (usize, usize),
    /// A hash of the painted labels; `None` where they change on purpose.
    hash: Option<u64>,
    /// The place in the folder, where outlines are simplified: these are compared by their overlap.
    simplified: Option<usize>,
    tally: FormatTally,
}

fn inspect(
    folder: &LabelFolder,
    index: usize,
    to: LabelFormat,
    simplify: bool,
) -> (Option<Inspected>, Findings) {
    let mut findings = Findings::default();
    let file = &folder.pictures[index].file;
    let size = match crate::image::read(file) {
        Ok(picture) => (picture.width() as usize, picture.height() as usize),
        Err(error) => {
            findings.leaves_out(file, &error);
            return (None, findings);
        }
    };
    let read = folder.read(index, size.0, size.1, &mut findings);
    let inspected = read.map(|read| {
        let tally = FormatTally::of(&read, &folder.classes);
        let same = tally.lost(to).is_empty();
        let simplified = (same && simplify && tally.is_painted()).then_some(index);
        let hash = (same && simplified.is_none()).then(|| hash(&read.mask));
        Inspected { size, hash, simplified, tally }
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

/// `classes.txt` has a name a line, without blanks around it.
fn refuse_unwritable_classes(folder: &LabelFolder) -> Result<()> {
    let names = folder.classes.names();
    let wrong =
        names.iter().find(|name| name.trim() != *name || name.is_empty() || name.contains('\n'));
    match wrong.map(|name| shortened(name, SHOWN)) {
        None => Ok(()),
        Some(name) => Err(Error::data(format!(
            "the class name {name:?} is empty, or has blanks around it or a line's end in it, which classes.txt cannot \
             hold; mend the name in the labelling tool"
        ))
        .in_file(folder.list.as_deref().unwrap_or(&folder.root))),
    }
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

/// Reads what was written and compares it: how many pictures are the same, and the overlap of those that were simplified.
fn verify(
    folder: &LabelFolder,
    labelled: &[usize],
    inspected: &[Inspected],
    out: &Path,
) -> Result<(usize, Overlap)> {
    let expected: Vec<(&FolderPicture, &Inspected)> = labelled
        .iter()
        .zip(inspected)
        .filter(|(_, inspected)| inspected.hash.is_some() || inspected.simplified.is_some())
        .map(|(&index, inspected)| (&folder.pictures[index], inspected))
        .collect();
    if expected.is_empty() {
        return Ok((0, Overlap::default()));
    }
    let back = LabelFolder::open(out)?;
    back.findings.refuse_errors(out)?;
    let places: HashMap<&Path, usize> =
        back.pictures.iter().enumerate().map(|(at, picture)| (&*picture.name, at)).collect();
    let compared = expected.par_iter().map(|(picture, inspected)| {
        let mut findings = Findings::default();
        let (width, height) = inspected.size;
        let read: Option<PaintedLabels> = places
            .get(&*picture.name)
            .and_then(|&index| back.read(index, width, height, &mut findings));
        findings.refuse_errors(out)?;
        if let (Some(index), Some(read)) = (inspected.simplified, &read) {
            let before = folder.read(index, width, height, &mut Findings::default());
            return Ok((0, before.map(|of| Overlap::of(&of.mask, &read.mask)).unwrap_or_default()));
        }
        if read.is_some_and(|read| Some(hash(&read.mask)) == inspected.hash) {
            return Ok((1, Overlap::default()));
        }
        Err(Error::data(format!(
            "the labels of {} read back from the output are not what they were; are there older \
             labels in the output folder? Convert into an empty one, and if that fails too, please \
             report it with the file",
            picture.name.display()
        ))
        .in_file(&picture.file))
    });
    let sum = |(a, one): (usize, Overlap), (b, two): (usize, Overlap)| Ok((a + b, one.plus(two)));
    compared.try_reduce(|| (0, Overlap::default()), sum)
}
