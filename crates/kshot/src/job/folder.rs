//! The main job: a folder of pictures in, masks, overlays, tables and a report out.

use std::time::Instant;

use image::RgbImage;
use kshot_data::atomic::unwritable;
use kshot_data::journal::{Journal, PictureRecord};
use kshot_data::overlay::{self, OverlayStyle};
use kshot_data::palette::Palette;
use kshot_data::query::{FailedPicture, Item, fingerprint};
use kshot_data::{mask_png, rle};

use crate::error::Result;
use crate::predict::pipeline::overlap;
use crate::predict::{Prediction, Predictor};
use crate::report::run::Counts;
use crate::report::{coco, table};

/// Longer side and bytes at most of a thumbnail in the report.
pub const THUMBNAIL: (u32, usize) = (320, 8_000);

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
            let picture = kshot_data::image::read(&item.file)?;
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
