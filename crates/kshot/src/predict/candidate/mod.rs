//! Ways to label pictures that compete on held-out labels: each can be fitted to any part of the labels, and says what
//! it thinks of the labelled pictures themselves.

pub mod compete;
mod head;
mod self_support;

use kshot_data::mask::UNLABELLED;
use kshot_data::support::Support;

use crate::contract::PixelModel;
use crate::error::Result;
use crate::features::intensity::Intensity;
use crate::features::score_map::ScoreMap;
use crate::predict::folds::PartLabels;

pub use head::{HeadCandidate, SeenSupport};

/// One way to label pictures.
pub trait Candidate: Sync {
    /// The method's name.
    fn name(&self) -> &'static str;

    /// Working pixels per picture pixel.
    fn scale(&self) -> f32;

    /// Ways to hold labels out that it is judged by, at most; slow ones by few.
    fn most_folds(&self) -> usize {
        usize::MAX
    }

    /// What it thinks of the labelled pictures `of` after it was fitted to others, or to other parts of them.
    ///
    /// # Errors
    /// If the labels to fit to hold no pixel of any class.
    fn judged(&self, fit: &[PartLabels], of: &[usize]) -> Result<JudgedPictures>;

    /// Fitted to all labels; its logits are to be divided by `temperature`.
    ///
    /// # Errors
    /// If there is none.
    fn finished(&self, temperature: f32) -> Result<FinishedCandidate>;
}

/// What a candidate thinks of labelled pictures.
pub struct JudgedPictures {
    /// Logits, by picture.
    pub maps: Vec<ScoreMap>,
    /// How far each picture is from those that were fitted to; `None` where the candidate has no notion of it.
    pub distances: Vec<Option<f32>>,
    /// Seconds of the fit.
    pub seconds: f64,
}

/// A candidate that was fitted to all labels.
pub struct FinishedCandidate {
    /// What labels new pictures.
    pub model: Box<dyn PixelModel>,
    /// By plane, how much more frequent it is than among the labelled pixels; `None` where every pixel is labelled.
    pub ratios: Option<Vec<f32>>,
}

/// What the candidates share.
pub struct CandidateContext<'a> {
    /// The labelled pictures.
    pub support: &'a Support,
    /// Score planes: background and the classes.
    pub planes: usize,
    /// What is done to brightness.
    pub intensity: Intensity,
    /// Seed of everything random.
    pub seed: u64,
}

/// Whether some pixels of the support are not labelled, as strokes leave them.
pub fn partly_labelled(support: &Support) -> bool {
    support.pictures.iter().any(|picture| picture.mask.pixels.contains(&UNLABELLED))
}
