//! The main job: a folder of pictures in, masks, overlays, tables and a report out.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::{Instant, UNIX_EPOCH};

use image::RgbImage;

use super::pipeline::overlap;
use super::{Prediction, Predictor};
use crate::data;
use crate::error::{Error, Result};
use crate::report::html::FailedPicture;
use crate::report::journal::{Journal, PictureRecord, Record};
use crate::report::overlay::{self, OverlayStyle};
use crate::report::palette::Palette;
use crate::report::run::Counts;
use crate::report::{coco, mask_png, rle, table};

/// Longer side and bytes at most of a thumbnail in the report.
pub const THUMBNAIL: (u32, usize) = (320, 8_000);

/// A picture to segment.
#[derive(Debug, Clone)]
pub struct Item {
    /// Its file.
    pub file: PathBuf,
    /// Its path below the query folder, for people.
    pub shown: String,
    /// The name of its outputs, unique, without an extension.
    pub name: String,
}

/// What happened to a picture.
#[derive(Debug)]
pub enum Event<'a> {
    /// Its files are written.
    Done(&'a PictureRecord),
    /// It could not be done; the others go on.
    Failed(&'a FailedPicture),
}

/// What came of a folder.
#[derive(Debug, Default)]
pub struct Outcome {
    /// How many pictures went which way.
    pub counts: Counts,
    /// Those that failed.
    pub failed: Vec<FailedPicture>,
}

/// The pictures of a folder (or the one picture that `query` is), with unique output names.
///
/// # Errors
/// If there is no picture there.
pub fn items(query: &Path) -> Result<Vec<Item>> {
    let (root, files) = if query.is_file() {
        (query.parent().unwrap_or(Path::new("")).to_owned(), vec![query.to_owned()])
    } else {
        (query.to_owned(), data::image::list(query, true)?)
    };
    if files.is_empty() {
        return Err(Error::data(
            "no picture here; kshot reads JPEG, PNG, TIFF, WebP, BMP and GIF, in subfolders too",
        )
        .in_file(query));
    }
    let mut taken = HashSet::new();
    let mut items = Vec::with_capacity(files.len());
    for file in files {
        let relative = file.strip_prefix(&root).unwrap_or(&file);
        let shown = slashed(relative);
        let stem = slashed(&relative.with_extension(""));
        // `a.jpg` and `a.png` would both become `a`: the later one keeps its extension, and a number
        // where even that is taken (names that differ only in bytes that are not text).
        let candidates = [stem, shown.clone()].into_iter();
        let numbered = (2..).map(|number| format!("{shown}-{number}"));
        let name = candidates
            .chain(numbered)
            .find(|name| !taken.contains(&name.to_lowercase()))
            .unwrap_or_else(|| shown.clone());
        taken.insert(name.to_lowercase());
        items.push(Item { file, shown, name });
    }
    Ok(items)
}

pub(crate) fn slashed(path: &Path) -> String {
    let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy()).collect();
    parts.join("/")
}

/// Size and time of a file: enough to see that it was changed, without reading it.
pub(crate) fn fingerprint(file: &Path) -> Result<String> {
    let metadata =
        std::fs::metadata(file).map_err(|error| Error::io("look at the picture", file, error))?;
    let modified = metadata
        .modified()
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
        .map_or(0, |time| time.as_nanos());
    Ok(format!("{}-{modified}", metadata.len()))
}

/// Which of `items` an earlier run of the same settings (`run`) has finished.
///
/// # Errors
/// If a picture cannot be looked at.
pub fn split_finished<R: Record>(
    items: Vec<Item>,
    journal: &Journal<R>,
    run: &str,
) -> (Vec<Item>, usize) {
    let all = items.len();
    let left: Vec<Item> = items
        .into_iter()
        .filter(|item| {
            // A picture that cannot be looked at is tried, and fails with its reason.
            !fingerprint(&item.file).is_ok_and(|print| journal.is_finished(&item.name, &print, run))
        })
        .collect();
    let skipped = all - left.len();
    (left, skipped)
}

/// Segments `items` into the journal's folder, decoding, computing and writing side by side.
/// `on_event` is told of every picture as its files are written.
///
/// # Errors
/// If the output folder cannot be written to (nothing more is tried then).
pub fn segment(
    predictor: &Predictor,
    items: Vec<Item>,
    journal: &mut Journal,
    run: &str,
    mut on_event: impl FnMut(Event<'_>) + Send,
) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    let mut stopped = None;
    let palette = Palette::distinct();
    overlap(
        items,
        |item| {
            let started = Instant::now();
            let picture = data::image::read(&item.file)?;
            Ok((picture, started.elapsed().as_secs_f64()))
        },
        |_, (picture, decoded): (RgbImage, f64)| {
            let started = Instant::now();
            let prediction = predictor.predict(&picture)?;
            Ok((picture, prediction, decoded + started.elapsed().as_secs_f64()))
        },
        |item, done| {
            let written = done.and_then(|(picture, prediction, seconds)| {
                let writing =
                    Writing { journal, palette: &palette, classes: predictor.classes(), run };
                writing.write(&item, &picture, &prediction, seconds)
            });
            match written {
                Ok(record) => {
                    outcome.counts.done += 1;
                    on_event(Event::Done(&record));
                }
                Err(error) => {
                    let failed = FailedPicture { name: item.shown, error: error.to_string() };
                    outcome.counts.failed += 1;
                    on_event(Event::Failed(&failed));
                    outcome.failed.push(failed);
                    // A full disk or a folder that may not be written to fails every picture alike.
                    if unwritable(&error) {
                        stopped = Some(error);
                        return false;
                    }
                }
            }
            true
        },
    );
    match stopped {
        Some(error) => Err(error),
        None => Ok(outcome),
    }
}

/// Whether an error means that the output folder takes nothing more.
pub(crate) fn unwritable(error: &Error) -> bool {
    let Some(source) = std::error::Error::source(error) else { return false };
    source.downcast_ref::<std::io::Error>().is_some_and(|error| {
        use std::io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
        matches!(error.kind(), StorageFull | QuotaExceeded | ReadOnlyFilesystem)
    })
}

struct Writing<'a> {
    journal: &'a mut Journal,
    palette: &'a Palette,
    classes: &'a [String],
    run: &'a str,
}

impl Writing<'_> {
    fn write(
        self,
        item: &Item,
        picture: &RgbImage,
        prediction: &Prediction,
        seconds: f64,
    ) -> Result<PictureRecord> {
        let started = Instant::now();
        let labelling = &prediction.labelling;
        let mask = format!("masks/{}.png", item.name);
        let overlay_file = format!("overlays/{}.jpg", item.name);
        let out = self.journal.out().to_owned();
        mask_png::write(&out.join(&mask), &labelling.mask, self.palette, self.classes)?;
        let drawn = overlay::draw(
            picture,
            &labelling.mask,
            Some(&labelling.confidence),
            self.palette,
            &OverlayStyle::default(),
        )?;
        overlay::write(&out.join(&overlay_file), &drawn)?;
        let mut flags = Vec::new();
        if prediction.none_of_these {
            flags.push("none-of-these".to_owned());
        }
        if prediction.uncertain {
            flags.push("uncertain".to_owned());
        }
        let classes = u8::try_from(self.classes.len()).unwrap_or(u8::MAX);
        let record = PictureRecord {
            name: item.name.clone(),
            path: item.shown.clone(),
            width: picture.width(),
            height: picture.height(),
            mask,
            overlay: overlay_file,
            fingerprint: fingerprint(&item.file)?,
            run: self.run.to_owned(),
            classes: rle::measure(&labelling.mask, Some(&labelling.confidence), classes),
            confidence: prediction.confidence as f32,
            flags,
            seconds: seconds + started.elapsed().as_secs_f64(),
            thumbnail: overlay::thumbnail(&drawn, THUMBNAIL.0, THUMBNAIL.1)?,
        };
        self.journal.append(&record)?;
        Ok(record)
    }
}

/// Writes `coco.json` and `labels.csv` from the journal.
///
/// # Errors
/// If they cannot be written.
pub fn tables(journal: &Journal, classes: &[String]) -> Result<()> {
    coco::write(journal, classes)?;
    table::write(journal, classes)?;
    Ok(())
}
