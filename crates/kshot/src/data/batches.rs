//! Batches of pictures with masks, for supervised training and validation: each made from (seed, index) alone.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use burn::prelude::*;
use image::RgbImage;
use kshot_data::mask::Mask;
use rayon::prelude::*;

use crate::data::balance::{ClassPixels, is_chosen};
use crate::data::batch::{Batch, SemiBatch, labels, normalised};
use crate::data::cache::Cache;
use crate::data::dataset::{Dataset, read_at};
use crate::data::order::Order;
use crate::data::picture_weights::PictureWeights;
use crate::data::source::{ItemSource, generator};
use crate::data::transforms::{Pair, Transform, apply};
use crate::encoder::Normalization;
use crate::error::{Error, Result};

/// Bytes of decoded pictures that are kept.
const KEPT: usize = 2 << 30;

/// Width and height of a picture whose longer side is brought down to `longest` pixels where it is longer.
pub fn shrunk(width: u32, height: u32, longest: Option<u32>) -> (u32, u32) {
    let side = width.max(height);
    match longest {
        Some(longest) if side > longest => {
            let at = |length: u32| {
                ((f64::from(length) * f64::from(longest) / f64::from(side)).round() as u32).max(1)
            };
            (at(width), at(height))
        }
        _ => (width, height),
    }
}

/// The pictures of a data set at their working size, kept decoded as far as there is room.
pub struct Pictures {
    set: Arc<dyn Dataset>,
    longest: Option<u32>,
    normalization: Normalization,
    kept: Cache<(RgbImage, Mask)>,
}

impl Pictures {
    /// Pictures whose longer side is at most `longest` pixels, read when they are asked for.
    pub fn new(set: Arc<dyn Dataset>, longest: Option<u32>, normalization: Normalization) -> Self {
        Self { set, longest, normalization, kept: Cache::new(KEPT) }
    }

    /// Number of pictures.
    pub fn len(&self) -> usize {
        self.set.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty()
    }

    /// A picture at its working size, and its mask at the same.
    fn get(&self, index: usize) -> Result<Arc<(RgbImage, Mask)>> {
        let size = |width, height| shrunk(width, height, self.longest);
        self.kept.get(index, || read_at(&*self.set, index, size))
    }
}

/// Batches to train on: every picture once before any comes again, in an order that each round has of its own; with
/// weights as often as these say.
pub struct TrainingBatches {
    pictures: Arc<Pictures>,
    transforms: Vec<Transform>,
    batch: usize,
    seed: u64,
    /// Share of the patches that lie around a pixel of a class.
    balanced: f64,
    order: Order,
    /// By picture, where its classes are, once it was asked.
    pixels: Vec<OnceLock<ClassPixels>>,
}

impl TrainingBatches {
    /// Batches of `batch` pictures, each changed at random by the transforms, which must leave all of one size.
    pub fn new(
        pictures: Arc<Pictures>,
        transforms: Vec<Transform>,
        batch: usize,
        seed: u64,
    ) -> Self {
        let pixels = (0..pictures.len()).map(|_| OnceLock::new()).collect();
        let order = Order::new(pictures.len(), seed);
        Self { pictures, transforms, batch, seed, balanced: 0.0, order, pixels }
    }

    /// The same with that share of the patches, 0 to 1, around a pixel of a class that is drawn evenly among the
    /// picture's, as far as transforms cut a part out.
    #[must_use]
    pub fn with_balanced(self, balanced: f64) -> Self {
        Self { balanced, ..self }
    }

    /// The same with pictures drawn by their weights. An item is then a function of the weights at the time, too: they
    /// may be changed when no item is being made, as between two validations.
    #[must_use]
    pub fn with_weights(self, weights: Option<PictureWeights>) -> Self {
        Self { order: self.order.with_weights(weights), ..self }
    }

    /// Around which pixel of a picture the patch at a place of the endless list lies.
    fn focus(&self, place: u64, picture: usize, mask: &Mask) -> Option<[f64; 2]> {
        if !is_chosen(place, self.balanced) {
            return None;
        }
        let pixels = self.pixels[picture].get_or_init(|| ClassPixels::of(mask));
        pixels.draw(&mut generator(self.seed, place, 1))
    }

    /// Each picture at those places of the endless list, changed.
    fn changed<'a>(&self, first: u64, kept: &'a [KeptPicture]) -> Result<Vec<ChangedPicture<'a>>> {
        let places = (first..).zip(kept).collect::<Vec<_>>();
        let changed = places.into_par_iter().map(|(place, (picture, kept))| {
            let (image, mask) = (&kept.0, &kept.1);
            let pair = Pair::new(Cow::Borrowed(image), Some(Cow::Borrowed(mask)))?;
            let pair = pair.with_focus(self.focus(place, *picture, mask));
            let mut random = generator(self.seed, place, 0);
            match apply(&self.transforms, pair, &mut random)?.into_parts()? {
                (image, Some(mask)) => Ok((image, mask)),
                (_, None) => unreachable!("a transform keeps the mask"),
            }
        });
        changed.collect()
    }
}

/// A picture's number, and the picture with its mask.
type KeptPicture = (usize, Arc<(RgbImage, Mask)>);
/// What transforms left of one; borrowed where they left it as it was.
type ChangedPicture<'a> = (Cow<'a, RgbImage>, Cow<'a, Mask>);

impl ItemSource<Batch<3>> for TrainingBatches {
    fn item(&self, index: u64, device: &Device) -> Result<Batch<3>> {
        let first = index * self.batch as u64;
        let kept = (first..first + self.batch as u64).into_par_iter().map(|place| {
            let picture = self.order.picture(place);
            Ok((picture, self.pictures.get(picture)?))
        });
        let kept = kept.collect::<Result<Vec<_>>>()?;
        let (images, masks): (Vec<_>, Vec<_>) = self.changed(first, &kept)?.into_iter().unzip();
        if let Some(other) =
            images.iter().find(|image| image.dimensions() != images[0].dimensions())
        {
            return Err(Error::config(format!(
                "a batch holds pictures of {} x {} and of {} x {} pixels; end the transforms with a crop, \
                 such as {{ name = \"crop\", size = [256, 256] }}, or set train.batch = 1",
                images[0].width(),
                images[0].height(),
                other.width(),
                other.height()
            ))
            .at_key("data.transforms"));
        }
        let images: Vec<&RgbImage> = images.iter().map(|image| &**image).collect();
        let masks: Vec<&Mask> = masks.iter().map(|mask| &**mask).collect();
        Ok(Batch {
            images: normalised(&images, &self.pictures.normalization, device),
            labels: labels(&masks, device),
            seed: self.seed.rotate_left(32) ^ index,
        })
    }

    fn shared(&self, shares: usize) -> Option<Arc<dyn ItemSource<Batch<3>>>> {
        let batch = self.batch / shares;
        if batch == 0 || batch * shares != self.batch {
            return None;
        }
        let (pictures, transforms) = (Arc::clone(&self.pictures), self.transforms.clone());
        let shared = Self::new(pictures, transforms, batch, self.seed);
        let shared = shared.with_balanced(self.balanced);
        Some(Arc::new(shared.with_weights(self.order.weights().cloned())))
    }
}

/// Labelled batches with an unlabelled one beside each: two streams, each in an order of its own.
pub struct TwoStreams {
    /// The batches with masks.
    pub labelled: Arc<dyn ItemSource<Batch<3>>>,
    /// Those whose masks are not used; none for validations.
    pub unlabelled: Option<Arc<dyn ItemSource<Batch<3>>>>,
}

impl ItemSource<SemiBatch> for TwoStreams {
    fn item(&self, index: u64, device: &Device) -> Result<SemiBatch> {
        let labelled = self.labelled.item(index, device)?;
        let unlabelled = match &self.unlabelled {
            Some(source) => Some(source.item(index, device)?.images),
            None => None,
        };
        if let Some(other) = &unlabelled {
            let ([.., height, width], [.., h, w]) = (labelled.images.dims(), other.dims());
            if [height, width] != [h, w] {
                return Err(Error::config(format!(
                    "labelled pictures come out as {width} x {height} pixels, unlabelled ones as {w} x {h}; end the \
                     transforms with a crop, such as {{ name = \"crop\", size = [256, 256] }}"
                ))
                .at_key("data.transforms"));
            }
        }
        Ok(SemiBatch { labelled, unlabelled, index })
    }

    fn shared(&self, shares: usize) -> Option<Arc<dyn ItemSource<SemiBatch>>> {
        let labelled = self.labelled.shared(shares)?;
        let unlabelled = match &self.unlabelled {
            Some(source) => Some(source.shared(shares)?),
            None => None,
        };
        Some(Arc::new(Self { labelled, unlabelled }))
    }
}

/// Whole pictures to validate on, one an item, unchanged; labels are at the picture's own size.
pub struct WholePictures(pub Arc<Pictures>);

impl ItemSource<Batch<3>> for WholePictures {
    fn item(&self, index: u64, device: &Device) -> Result<Batch<3>> {
        let index = index as usize % self.0.len();
        let kept = self.0.get(index)?;
        let full = match self.0.longest {
            // What is counted is the picture's own pixels, whatever size the network sees.
            Some(_) => Cow::Owned(self.0.set.mask(index)?),
            None => Cow::Borrowed(&kept.1),
        };
        Ok(Batch {
            images: normalised(&[&kept.0], &self.0.normalization, device),
            labels: labels(&[&full], device),
            seed: index as u64,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::data::transforms::{OutputSize, crop::Crop, noise::GaussianNoise};

    /// Three pictures of 100 x 80 pixels with one pixel of class 1, one of class 2 and background.
    struct Dots([String; 2]);

    impl Dataset for Dots {
        fn classes(&self) -> &[String] {
            &self.0
        }
        fn len(&self) -> usize {
            3
        }
        fn file(&self, _: usize) -> &Path {
            Path::new("dots")
        }
        fn label_files(&self, _: usize) -> Vec<PathBuf> {
            Vec::new()
        }
        fn image(&self, _: usize) -> Result<RgbImage> {
            Ok(RgbImage::new(100, 80))
        }
        fn mask(&self, index: usize) -> Result<Mask> {
            let mut mask = Mask::filled(100, 80, 0);
            mask.pixels[100 * 40 + 30 + index] = 1;
            mask.pixels[100 * 79 + 99] = 2;
            Ok(mask)
        }
    }

    /// What each patch holds of class 1 and 2.
    fn patches(balanced: f64) -> Vec<[bool; 2]> {
        let set = Arc::new(Dots(["one", "two"].map(str::to_owned)));
        let pictures = Arc::new(Pictures::new(set, None, Normalization::IMAGENET));
        let crop = Transform::Crop(Crop { size: OutputSize::Square(5) });
        let batches = TrainingBatches::new(pictures, vec![crop], 3, 1).with_balanced(balanced);
        let all = (0..40).flat_map(|index| {
            let device = Device::flex();
            let labels = batches.item(index, &device).unwrap().labels;
            let again = batches.item(index, &device).unwrap().labels;
            let values: Vec<i64> = labels.into_data().iter().collect();
            assert_eq!(values, again.into_data().iter().collect::<Vec<i64>>());
            let patch = |patch: &[i64]| [1, 2].map(|class| patch.contains(&class));
            values.chunks(25).map(patch).collect::<Vec<_>>()
        });
        all.collect()
    }

    #[test]
    fn a_share_of_the_patches_holds_a_class_drawn_evenly() {
        let count = |of: &[[bool; 2]], class: usize| of.iter().filter(|of| of[class]).count();
        let plain = patches(0.0);
        assert!(plain.len() == 120 && count(&plain, 0) + count(&plain, 1) < 5);
        let all = patches(1.0);
        assert_eq!(count(&all, 0) + count(&all, 1), 120);
        assert!((40..80).contains(&count(&all, 0)), "{}", count(&all, 0));
        let third = patches(1.0 / 3.0);
        let held = count(&third, 0) + count(&third, 1);
        assert!((39..46).contains(&held), "{held}");
    }

    #[test]
    fn a_batch_is_the_same_on_any_number_of_threads() {
        let set = Arc::new(Dots(["one", "two"].map(str::to_owned)));
        let batches = |threads: usize| -> Vec<Vec<f32>> {
            let pictures = Arc::new(Pictures::new(set.clone(), None, Normalization::IMAGENET));
            let crop = Transform::Crop(Crop { size: OutputSize::Square(20) });
            let noise = Transform::Noise(GaussianNoise::default());
            let batches = TrainingBatches::new(pictures, vec![crop, noise], 4, 1);
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let item = |index| batches.item(index, &Device::flex()).unwrap().images.into_data();
            pool.install(|| {
                let all = (0..6u64).into_par_iter().map(|index| item(index).iter().collect());
                all.collect()
            })
        };
        let one = batches(1);
        assert!(one == batches(3) && one[0] != one[1]);
    }

    #[test]
    fn only_longer_pictures_are_shrunk() {
        assert_eq!(shrunk(1000, 500, Some(400)), (400, 200));
        assert_eq!(shrunk(300, 500, Some(600)), (300, 500));
        assert_eq!(shrunk(3, 5000, Some(100)), (1, 100));
        assert_eq!(shrunk(1000, 500, None), (1000, 500));
    }
}
