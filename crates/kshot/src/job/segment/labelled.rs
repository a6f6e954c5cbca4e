//! Pictures that the user labelled and that are among those to segment: they keep their labels.

use std::collections::HashMap;
use std::path::Path;

use image::RgbImage;
use kshot_data::mask::{MAX_CLASSES, Mask};
use kshot_data::support::{LabelledPicture, Support};

use crate::hash;
use crate::predict::{ClassShare, Prediction};

/// The flag of such a picture.
pub(super) const FLAG: &str = "labelled";

/// The labelled pictures by their files' contents.
pub(super) struct LabelledPictures<'a> {
    /// By size in bytes: SHA-256 and labels.
    by_size: HashMap<u64, Vec<(String, &'a LabelledPicture)>>,
}

impl<'a> LabelledPictures<'a> {
    /// Of a support set. A file that cannot be read again is none of those to segment.
    pub(super) fn new(support: &'a Support) -> Self {
        let mut by_size: HashMap<u64, Vec<(String, &LabelledPicture)>> = HashMap::new();
        for picture in &support.pictures {
            if let (Some(size), Ok(sha256)) = (size(&picture.path), hash::of_file(&picture.path)) {
                by_size.entry(size).or_default().push((sha256, picture));
            }
        }
        Self { by_size }
    }

    /// The labels of a picture, if it is one of the labelled ones. It is read only where its size is that of one.
    pub(super) fn of(&self, file: &Path, picture: &RgbImage) -> Option<&'a LabelledPicture> {
        let alike = self.by_size.get(&size(file)?)?;
        let sha256 = hash::of_file(file).ok()?;
        let (_, labelled) = alike.iter().find(|(of, _)| *of == sha256)?;
        let mask = &labelled.mask;
        let same =
            [mask.width, mask.height] == [picture.width() as usize, picture.height() as usize];
        same.then_some(*labelled)
    }
}

fn size(file: &Path) -> Option<u64> {
    std::fs::metadata(file).ok().map(|metadata| metadata.len())
}

/// The user's labels where there are some; elsewhere what was predicted. Void pixels are background: a mask has no
/// other word for them.
pub(super) fn keep(labels: &Mask, prediction: &mut Prediction, classes: usize) {
    let labelling = &mut prediction.labelling;
    let mut own = 0usize;
    let pixels = labelling.mask.pixels.iter_mut().zip(&mut labelling.confidence);
    for ((pixel, confidence), &label) in pixels.zip(&labels.pixels) {
        if label <= MAX_CLASSES {
            (*pixel, *confidence) = (label, u8::MAX);
            own += 1;
        }
    }
    let all = labels.pixels.len().max(1) as f64;
    let share = own as f64 / all;
    prediction.confidence = share + (1.0 - share) * prediction.confidence;
    prediction.right = share + (1.0 - share) * prediction.right;
    (prediction.uncertain, prediction.none_of_these) = (false, false);
    let (mask, confidence) = (&labelling.mask, &labelling.confidence);
    prediction.classes = (1..=classes as u8)
        .filter_map(|class| {
            let of_class = mask.pixels.iter().zip(confidence).filter(|(of, _)| **of == class);
            let (area, sum) = of_class.fold((0usize, 0u64), |(area, sum), (_, confidence)| {
                (area + 1, sum + u64::from(*confidence))
            });
            let confidence = sum as f64 / 255.0 / area.max(1) as f64;
            let fraction = area as f64 / all;
            let iou = prediction.confidence;
            (area > 0).then_some(ClassShare { class, area, fraction, confidence, iou })
        })
        .collect();
}
