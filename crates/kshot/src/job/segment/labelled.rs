//! Pictures that the user labelled and that are among those to segment: they keep their labels.

use std::collections::HashMap;
use std::path::Path;

use image::RgbImage;
use kshot_data::mask::{MAX_CLASSES, Mask};
use kshot_data::support::{LabelledPicture, Support};

use crate::hash;
use crate::predict::Prediction;
use crate::report::run::SupportFile;

/// The flag of such a picture.
pub(super) const FLAG: &str = kshot_data::journal::LABELLED;

/// The labelled pictures by their files' contents.
pub(super) struct LabelledPictures<'a> {
    /// By size in bytes: SHA-256 and labels.
    by_size: HashMap<u64, Vec<(String, &'a LabelledPicture)>>,
}

impl<'a> LabelledPictures<'a> {
    /// Of a support set, with what is known of its files in the same order. A file that is gone since is none of those
    /// to segment.
    pub(super) fn new(support: &'a Support, files: &[SupportFile]) -> Self {
        let mut by_size: HashMap<u64, Vec<(String, &LabelledPicture)>> = HashMap::new();
        for (picture, file) in support.pictures.iter().zip(files) {
            if let Some(size) = size(&picture.path) {
                by_size.entry(size).or_default().push((file.image_sha256.clone(), picture));
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
pub(super) fn keep(labels: &Mask, prediction: &mut Prediction) {
    let labelling = &mut prediction.labelling;
    let mut own = 0usize;
    let pixels = labelling.mask.pixels.iter_mut().zip(&mut labelling.confidence);
    for (((pixel, confidence), margin), &label) in
        pixels.zip(&mut labelling.margin).zip(&labels.pixels)
    {
        if label <= MAX_CLASSES {
            (*pixel, *confidence, *margin) = (label, u8::MAX, u8::MAX);
            own += 1;
        }
    }
    let share = own as f64 / labels.pixels.len().max(1) as f64;
    let known = |value: f64| share + (1.0 - share) * value;
    prediction.confidence = known(prediction.confidence);
    prediction.expected_accuracy = known(prediction.expected_accuracy);
    let mut holds = [false; MAX_CLASSES as usize + 1];
    let kept = labelling.mask.pixels.iter().filter(|class| **class <= MAX_CLASSES);
    kept.for_each(|class| holds[usize::from(*class)] = true);
    for (class, estimate) in prediction.estimates.iter_mut().enumerate() {
        *estimate = holds[class + 1].then(|| known(estimate.unwrap_or(0.0)));
    }
    (prediction.uncertain, prediction.none_of_these) = (false, false);
}
