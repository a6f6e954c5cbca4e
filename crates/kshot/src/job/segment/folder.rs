//! Pictures through a predictor, one after the other: decoded, computed and written side by side.

use std::time::Instant;

use image::RgbImage;
use kshot_data::atomic::unwritable;
use kshot_data::deep::DeepRange;
use kshot_data::journal::{Journal, PictureRecord};
use kshot_data::objects::measure::ObjectsRecord;
use kshot_data::objects::{ObjectMap, map_png, measure};
use kshot_data::overlay::{self, OverlayStyle};
use kshot_data::palette::Palette;
use kshot_data::query::{FailedPicture, Item, fingerprint};
use kshot_data::{mask_png, rle};

use crate::error::Result;
use crate::job::event::{Event, PictureEvent};
use crate::job::segment::labelled::{self, LabelledPictures};
use crate::job::watch::Watch;
use crate::predict::objects::ObjectSplitter;
use crate::predict::pipeline::overlap;
use crate::predict::{Prediction, Predictor};

/// Longer side and bytes at most of a thumbnail in the report.
pub(super) const THUMBNAIL: (u32, usize) = (320, 8_000);

/// What came of the pictures.
#[derive(Debug, Default)]
pub(super) struct Segmented {
    /// How many were done.
    pub done: usize,
    /// Those that failed.
    pub failed: Vec<FailedPicture>,
    /// Whether it was stopped before all were tried.
    pub cancelled: bool,
}

/// What labels the pictures of a folder.
pub(super) struct Segmenting<'a> {
    pub(super) predictor: &'a Predictor,
    /// What tells single objects apart, where these are asked for.
    pub(super) splitter: Option<&'a ObjectSplitter>,
    /// The pictures that keep their labels.
    pub(super) labelled: &'a LabelledPictures<'a>,
    /// What the masks depend on.
    pub(super) run: &'a str,
    /// What 16-bit pictures share.
    pub(super) range: Option<DeepRange>,
}

/// Segments `items` into the journal's folder. Once the watch is cancelled, the picture that is being
/// written is the last.
///
/// # Errors
/// If the output folder cannot be written to (nothing more is tried then).
pub(super) fn segment(
    by: &Segmenting<'_>,
    items: Vec<Item>,
    journal: &mut Journal,
    watch: &Watch<'_>,
) -> Result<Segmented> {
    let Segmenting { predictor, splitter, labelled, run, range } = *by;
    let mut segmented = Segmented::default();
    let mut stopped = None;
    let palette = Palette::distinct();
    let total = items.len();
    watch.progress(0, total);
    overlap(
        items.into_iter().take_while(|_| !watch.is_cancelled()),
        |item| {
            let started = Instant::now();
            let picture = kshot_data::image::read_deep(&item.file, range)?;
            Ok((picture, started.elapsed().as_secs_f64()))
        },
        |item, (picture, decoded): (RgbImage, f64)| {
            // What is decoded already need not be computed any more.
            if watch.is_cancelled() {
                return Ok(None);
            }
            let started = Instant::now();
            let mut prediction = predictor.predict(&picture)?;
            let labels = labelled.of(&item.file, &picture);
            if let Some(labels) = labels {
                labelled::keep(&labels.mask, &mut prediction);
            }
            let labelling = &mut prediction.labelling;
            let objects = splitter.map(|splitter| match labels {
                None => splitter.split(&picture, labelling),
                Some(of) => {
                    let own = (&of.mask, of.objects.as_ref());
                    splitter.of_labelled(&picture, labelling, own)
                }
            });
            let objects = objects.transpose()?;
            let is_labelled = labels.is_some();
            let predicted = PictureResult { picture, prediction, objects, is_labelled };
            Ok(Some((predicted, decoded + started.elapsed().as_secs_f64())))
        },
        |item, done| {
            let written = match done {
                Ok(None) => return false,
                Ok(Some((predicted, seconds))) => {
                    let classes = predictor.classes();
                    let writing = Writing { journal, palette: &palette, classes, run };
                    writing.write(&item, &predicted, seconds)
                }
                Err(error) => Err(error),
            };
            match written {
                Ok(record) => {
                    segmented.done += 1;
                    watch.tell(&Event::Picture(PictureEvent::Segmented {
                        file: &record.path,
                        mask: &record.mask,
                        confidence: record.confidence,
                        objects: record.objects.as_ref().map(|objects| objects.found.len()),
                        flags: &record.flags,
                        seconds: record.seconds,
                    }));
                }
                Err(error) => {
                    let failed = FailedPicture { name: item.shown, error: error.to_string() };
                    watch.tell(&Event::Failed { file: &failed.name, error: &failed.error });
                    segmented.failed.push(failed);
                    // A full disk or a folder that may not be written to fails every picture alike.
                    if unwritable(&error) {
                        stopped = Some(error);
                        return false;
                    }
                }
            }
            watch.progress(segmented.done + segmented.failed.len(), total)
        },
    );
    if let Some(error) = stopped {
        return Err(error);
    }
    let tried = segmented.done + segmented.failed.len();
    segmented.cancelled = watch.is_cancelled() && tried < total;
    Ok(segmented)
}

/// A picture with its mask.
struct PictureResult {
    picture: RgbImage,
    prediction: Prediction,
    objects: Option<ObjectMap>,
    /// Whether the user labelled it.
    is_labelled: bool,
}

struct Writing<'a> {
    journal: &'a mut Journal,
    palette: &'a Palette,
    classes: &'a [String],
    run: &'a str,
}

impl Writing<'_> {
    fn write(self, item: &Item, predicted: &PictureResult, seconds: f64) -> Result<PictureRecord> {
        let PictureResult { picture, prediction, objects, is_labelled } = predicted;
        let started = Instant::now();
        let labelling = &prediction.labelling;
        let mask = format!("masks/{}.png", item.name);
        let overlay_file = format!("overlays/{}.jpg", item.name);
        let out = self.journal.out().to_owned();
        let (style, doubt) = (OverlayStyle::default(), Some(&*labelling.margin));
        let drawn = match objects {
            None => overlay::draw(picture, &labelling.mask, doubt, self.palette, &style)?,
            Some(objects) => {
                let layers = (&labelling.mask, objects);
                overlay::draw_objects(picture, layers, doubt, self.palette, &style)?
            }
        };
        let measured = match objects {
            None => None,
            Some(map) => {
                let found = measure::measure(map, picture, &labelling.confidence)?;
                Some(ObjectsRecord { file: format!("objects/{}.png", item.name), found })
            }
        };
        let mut flags = Vec::new();
        if prediction.none_of_these {
            flags.push("none-of-these".to_owned());
        }
        if prediction.unlike {
            flags.push("unlike".to_owned());
        }
        if prediction.uncertain {
            flags.push("uncertain".to_owned());
        }
        if *is_labelled {
            flags.push(labelled::FLAG.to_owned());
        }
        let classes = u8::try_from(self.classes.len()).unwrap_or(u8::MAX);
        let mut record = PictureRecord {
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
            distance: prediction.placement.as_ref().map(|placement| placement.distance),
            position: prediction.placement.as_ref().map_or_else(Vec::new, |placement| {
                placement.position.iter().map(|value| (value * 1e3).round() / 1e3).collect()
            }),
            estimates: prediction.estimates.iter().map(|iou| iou.map(|iou| iou as f32)).collect(),
            expected_accuracy: prediction.expected_accuracy as f32,
            flags,
            seconds: 0.0,
            thumbnail: overlay::thumbnail(&drawn, THUMBNAIL.0, THUMBNAIL.1)?,
            objects: measured,
        };
        self.journal.begin(&record)?;
        mask_png::write(&out.join(&record.mask), &labelling.mask, self.palette, self.classes)?;
        if let (Some(map), Some(measured)) = (objects, &record.objects) {
            map_png::write(&out.join(&measured.file), map)?;
        }
        overlay::write(&out.join(&record.overlay), &drawn)?;
        record.seconds = seconds + started.elapsed().as_secs_f64();
        self.journal.append(&record)?;
        Ok(record)
    }
}
