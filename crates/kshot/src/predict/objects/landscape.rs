//! The landscape whose hills are objects.

use kshot_data::objects::distance;
use kshot_data::objects::watershed::SplitRule;
use serde::{Deserialize, Serialize};

use crate::postprocess::refine::Labelling;

/// What a landscape is made of, and when two of its hills are two objects.
///
/// Its height at a pixel is `distance^d * probability^p * core^c`: how far the pixel lies inside its class (in pixels),
/// how probable the class is there, and how probably it is the core of an object (0 to 1 both). As a product, the pass
/// between two hills is judged by its share of the lower hill whatever the units are.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ObjectRule {
    /// The exponent of the distance.
    pub distance: f32,
    /// The exponent of the probability.
    pub probability: f32,
    /// The exponent of the cores.
    pub core: f32,
    /// When two hills are two objects.
    pub split: SplitRule,
}

impl ObjectRule {
    /// Nothing is split: each piece of the mask is an object.
    pub const PIECES: Self = Self {
        distance: 1.0,
        probability: 0.0,
        core: 0.0,
        split: SplitRule { pass: 0.0, least: 0.0 },
    };

    /// By the mask's shape and the probability: what is done where no objects are labelled.
    pub const SHAPE: Self = Self {
        distance: 1.0,
        probability: 1.0,
        core: 0.0,
        split: SplitRule { pass: 0.7, least: 2.0 },
    };

    /// Whether it looks at cores.
    pub fn needs_cores(&self) -> bool {
        self.core > 0.0
    }

    /// The height of each pixel, row by row; `cores` where they are needed.
    pub fn landscape(&self, labelling: &Labelling, cores: Option<&[f32]>) -> Vec<f32> {
        let mut heights = if self.distance == 0.0 {
            vec![1.0; labelling.mask.pixels.len()]
        } else {
            distance::of_classes(&labelling.mask)
        };
        let power = |value: f32, exponent: f32| match exponent {
            1.0 => value,
            0.0 => 1.0,
            exponent => value.powf(exponent),
        };
        heights.iter_mut().for_each(|height| *height = power(*height, self.distance));
        if self.probability > 0.0 {
            for (height, &confidence) in heights.iter_mut().zip(&labelling.confidence) {
                *height *= power(f32::from(confidence) / 255.0, self.probability);
            }
        }
        if let Some(cores) = cores.filter(|_| self.needs_cores()) {
            heights
                .iter_mut()
                .zip(cores)
                .for_each(|(height, core)| *height *= power(*core, self.core));
        }
        heights
    }
}
