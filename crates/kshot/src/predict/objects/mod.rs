//! From a mask to the things in it: touching ones split, specks and holes cleared.
//!
//! ```text
//! labelled objects -> cores: a second, small network that tells cores of objects from their rims
//!                  -> choose: which landscape and how deep a pass, on objects that were held out
//! mask -> clean -> landscape (distance, probability, cores) -> watershed -> ObjectMap
//! ```
//! Without labelled objects the landscape is the distance to the mask's edge times the probability.

mod choose;
mod cores;
mod landscape;

use image::RgbImage;
use kshot_data::mask::{MAX_CLASSES, Mask, UNLABELLED};
use kshot_data::objects::{ObjectMap, clean, watershed};
use kshot_data::support::{LabelledObjects, Support};
use serde::{Deserialize, Serialize};

pub use choose::{ObjectChoice, ObjectTrial};
pub use landscape::ObjectRule;

use crate::contract::PixelModel;
use crate::error::Result;
use crate::features::extract::Extractor;
use crate::method::few_shot::Effort;
use crate::nn::Precision;
use crate::postprocess::refine::Labelling;

/// What a user may say of objects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectOptions {
    /// Objects of fewer pixels are none; `None` takes half of what nearly all labelled objects surpass.
    pub min_object: Option<usize>,
    /// Holes of at most so many pixels are filled; `None` takes the same as for objects.
    pub fill_holes: Option<usize>,
}

/// The share of the labelled objects that may be smaller than what is taken for the smallest.
const SMALLEST: f64 = 0.05;

/// What splits masks into objects.
pub struct ObjectSplitter {
    /// What tells cores from rims; `None` where no objects were labelled.
    cores: Option<Box<dyn PixelModel>>,
    choice: ObjectChoice,
}

/// How a splitter is fitted.
#[derive(Debug, Clone, Copy)]
pub struct ObjectFit {
    /// What the user says of objects.
    pub options: ObjectOptions,
    /// How much is tried.
    pub effort: Effort,
    /// Working pixels per picture pixel; `None` looks at how thick the labelled objects are.
    pub scale: Option<f32>,
    /// Seed of everything random.
    pub seed: u64,
}

impl ObjectSplitter {
    /// Learns to split from the support's objects, where there are some and an extractor of features; else touching
    /// objects are told apart by the mask's shape.
    ///
    /// # Errors
    /// If a labelled picture has no pixels, or its labels say nothing.
    pub fn fit(extractor: Option<&Extractor>, support: &Support, how: ObjectFit) -> Result<Self> {
        let smallest = smallest(support);
        let least = how.options.min_object.unwrap_or(smallest / 2);
        let sizes = choose::Sizes { least, holes: how.options.fill_holes.unwrap_or(least) };
        let told = support.pictures.iter().any(|picture| picture.objects.is_some());
        let Some(extractor) = extractor.filter(|_| told) else {
            return Ok(Self { cores: None, choice: ObjectChoice::by_shape(sizes) });
        };
        let learnt = cores::learn(extractor, support, how)?;
        let choice = choose::choose(support, &learnt.held_out, sizes)?;
        // Where shape alone does as well, the network is not run.
        let cores = choice.rule.needs_cores().then_some(learnt.model);
        Ok(Self { cores, choice })
    }

    /// What was chosen, and why.
    pub fn choice(&self) -> &ObjectChoice {
        &self.choice
    }

    /// How its network's convolutions sum from now on.
    pub fn set_precision(&mut self, precision: Precision) {
        if let Some(cores) = &mut self.cores {
            cores.set_precision(precision);
        }
    }

    /// The objects of a picture's labelling, whose specks and holes are cleared before.
    ///
    /// # Errors
    /// If the picture has no pixels.
    pub fn split(&self, picture: &RgbImage, labelling: &mut Labelling) -> Result<ObjectMap> {
        self.choice.sizes().clean(labelling);
        self.apart(picture, labelling)
    }

    /// The objects of a picture that a user labelled: the user's own where these are told, and where nothing is labelled
    /// those that were found. Labels are left as they are.
    ///
    /// # Errors
    /// If the picture has no pixels.
    pub fn of_labelled(
        &self,
        picture: &RgbImage,
        labelling: &Labelling,
        (labels, objects): (&Mask, Option<&LabelledObjects>),
    ) -> Result<ObjectMap> {
        let Some(LabelledObjects { map, .. }) = objects else {
            return self.apart(picture, labelling);
        };
        if !labels.pixels.contains(&UNLABELLED) {
            return Ok(map.clone());
        }
        let found = self.apart(picture, labelling)?;
        let own = map.count() as u32;
        let number = |at: usize| match (labels.pixels[at], found.ids[at]) {
            (..=MAX_CLASSES, _) | (_, 0) => map.ids[at],
            (_, id) => own + id,
        };
        let numbers: Vec<u32> = (0..found.ids.len()).map(number).collect();
        ObjectMap::new(map.width, map.height, &numbers, |number| match number.checked_sub(own) {
            None | Some(0) => map.class(number),
            Some(id) => found.class(id),
        })
    }

    fn apart(&self, picture: &RgbImage, labelling: &Labelling) -> Result<ObjectMap> {
        let cores = match &self.cores {
            Some(model) => Some(cores::of_picture(model.as_ref(), picture)?),
            None => None,
        };
        let rule = &self.choice.rule;
        let landscape = rule.landscape(labelling, cores.as_deref());
        let map = watershed::split(&labelling.mask, &landscape, rule.split);
        Ok(clean::absorb(&map, self.choice.min_object))
    }
}

/// What nearly all labelled objects surpass, in pixels: of those with instances, else of the masks' pieces; 0 where only
/// strokes are labelled.
fn smallest(support: &Support) -> usize {
    let told = support.pictures.iter().filter_map(|picture| picture.objects.as_ref());
    let mut areas: Vec<u64> = told.flat_map(|objects| objects.map.areas()).collect();
    if areas.is_empty() {
        let whole = |mask: &&Mask| !mask.pixels.contains(&UNLABELLED);
        let masks = support.pictures.iter().map(|picture| &picture.mask).filter(whole);
        areas = masks.flat_map(|mask| ObjectMap::components(mask).areas()).collect();
    }
    areas.sort_unstable();
    let at = (areas.len() as f64 * SMALLEST) as usize;
    areas.get(at).map_or(0, |area| *area as usize)
}
