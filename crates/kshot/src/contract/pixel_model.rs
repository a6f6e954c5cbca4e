//! Class scores of every pixel of a picture, whatever makes them.

use image::RgbImage;

use crate::error::Result;
use crate::features::score_map::ScoreMap;
use crate::nn::Precision;

/// What a model says of a picture, before calibration and refinement.
#[derive(Debug, Clone)]
pub struct Scores {
    /// Logits of background (plane 0) and every class, on a grid over the picture.
    pub logits: ScoreMap,
    /// By plane, how what was taken for it compares with the labelled pictures, `None` where nothing was taken
    /// for it; empty where a model has no notion of similarity.
    pub similarity: Vec<Option<PlaneSimilarity>>,
    /// How the picture as a whole compares with the labelled ones; `None` where a model has no notion of it.
    pub placement: Option<PicturePlacement>,
    /// By plane, how far the models that were asked agree: intersection over union, 0 to 1, `None` where none found
    /// it; empty where one was asked.
    pub agreement: Vec<Option<f32>>,
}

impl Scores {
    /// Of a model without a notion of similarity.
    pub fn plain(logits: ScoreMap) -> Self {
        Self { logits, similarity: Vec::new(), placement: None, agreement: Vec::new() }
    }
}

/// How a picture as a whole compares with the labelled ones.
#[derive(Debug, Clone, PartialEq)]
pub struct PicturePlacement {
    /// How many times farther it is from the nearest of them than these usually are from each other, at least 0.
    pub distance: f32,
    /// Where it lies among other pictures: Euclidean distances between positions are in the same unit, to about a
    /// fifth.
    pub position: Vec<f32>,
}

/// How what was taken for a class compares with the labelled pictures of that class.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PlaneSimilarity {
    /// Mean cosine similarity to the labelled pictures' prototypes, -1 to 1.
    pub mean: f32,
    /// Whether it falls below what the labelled pictures show among each other.
    pub unlike: bool,
}

/// A fitted head, a trained network, a training-free comparison: what turns a picture into class scores.
/// `kshot segment`, `kshot eval` and the page run pictures through this and nothing else.
pub trait PixelModel: Send + Sync {
    /// Score planes: background and the classes.
    fn planes(&self) -> usize;

    /// The scores of one picture, of any size.
    ///
    /// # Errors
    /// If the picture has no pixels.
    fn scores(&self, picture: &RgbImage) -> Result<Scores>;

    /// How convolutions sum from now on; what was fitted stays as it is.
    fn set_precision(&mut self, precision: Precision);
}
