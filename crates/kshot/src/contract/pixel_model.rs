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
    /// How many times farther the picture as a whole is from the labelled ones than these are from each other; `None`
    /// where a model has no notion of it.
    pub distance: Option<f32>,
}

impl Scores {
    /// Of a model without a notion of similarity.
    pub fn plain(logits: ScoreMap) -> Self {
        Self { logits, similarity: Vec::new(), distance: None }
    }
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
