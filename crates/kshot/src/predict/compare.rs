//! Self-support as a pixel model: nothing is fitted, pictures are compared with the labelled ones.

use std::sync::Arc;

use image::RgbImage;
use kshot_data::mask::Mask;
use rayon::prelude::*;

use crate::contract::pixel_model::{PixelModel, Scores};
use crate::error::Result;
use crate::features::extract::Extractor;
use crate::features::intensity::Intensity;
use crate::features::score_map::ScoreMap;
use crate::method::few_shot::self_support::{Bank, SelfSupport, SupportExample};
use crate::nn::Precision;
use crate::predict::familiarity::Familiarity;
use crate::predict::placement::{PictureSums, SupportPlacement};

/// The labelled pictures as the method sees them.
pub struct SelfSupportExamples {
    /// Features of each, and by plane the share of each cell.
    pictures: Vec<(Arc<Bank>, Vec<Vec<f32>>)>,
}

impl SelfSupportExamples {
    /// Of features that were made before, with the labels of each.
    pub fn from_banks(
        method: &SelfSupport,
        pictures: Vec<(Arc<Bank>, Mask)>,
        planes: usize,
    ) -> Self {
        let pictures = pictures
            .into_par_iter()
            .map(|(bank, mask)| (bank, method.shares(&mask, planes)))
            .collect();
        Self { pictures }
    }

    /// Logits of a picture of a size (`[height, width]`) from some of the examples.
    pub fn logits(
        &self,
        method: &SelfSupport,
        some: &[usize],
        query: &Bank,
        size: [usize; 2],
    ) -> ScoreMap {
        let examples: Vec<SupportExample<'_>> = some
            .iter()
            .map(|&index| {
                let (bank, shares) = &self.pictures[index];
                SupportExample { bank, shares: shares.clone() }
            })
            .collect();
        method.scores(&examples, query, size)
    }

    /// What the classes look like in them.
    fn familiarity(&self) -> Familiarity {
        Familiarity::of_cells(
            self.pictures.iter().map(|(bank, shares)| (bank.deepest(), &**shares)),
        )
    }

    /// Score planes.
    pub fn planes(&self) -> usize {
        self.pictures.first().map_or(1, |(_, shares)| shares.len())
    }

    /// All of them.
    fn all(&self) -> Vec<usize> {
        (0..self.pictures.len()).collect()
    }
}

/// Self-support against labelled pictures.
pub struct SelfSupportModel {
    method: SelfSupport,
    extractor: Extractor,
    examples: Arc<SelfSupportExamples>,
    comparison: Option<(Familiarity, SupportPlacement)>,
    intensity: Intensity,
}

impl SelfSupportModel {
    /// Against these examples.
    pub fn new(
        method: SelfSupport,
        extractor: Extractor,
        examples: Arc<SelfSupportExamples>,
        intensity: Intensity,
    ) -> Self {
        Self { method, extractor, examples, comparison: None, intensity }
    }

    /// Telling how pictures, and what is found in them, compare with the labelled ones.
    #[must_use]
    pub fn comparing(self, placement: SupportPlacement) -> Self {
        let familiarity = self.examples.familiarity();
        Self { comparison: Some((familiarity, placement)), ..self }
    }

    /// The scores of a picture of a size (`[height, width]`) whose features were made before.
    pub fn scores_of(&self, query: &Bank, size: [usize; 2]) -> Scores {
        let logits = self.examples.logits(&self.method, &self.examples.all(), query, size);
        let Some((familiarity, placement)) = &self.comparison else {
            return Scores::plain(logits);
        };
        let mut found = familiarity.query();
        found.add_cells(query.deepest(), &logits.labels());
        let placement = Some(placement.of(&PictureSums::of_cells(query.cells())));
        Scores { similarity: found.similarity(), placement, ..Scores::plain(logits) }
    }
}

impl PixelModel for SelfSupportModel {
    fn planes(&self) -> usize {
        self.examples.planes()
    }

    fn scores(&self, picture: &RgbImage) -> Result<Scores> {
        let bank = self.method.prepare(&self.extractor, &self.intensity.apply(picture))?;
        Ok(self.scores_of(&bank, [picture.height() as usize, picture.width() as usize]))
    }

    fn set_precision(&mut self, precision: Precision) {
        self.extractor.set_precision(precision);
    }
}
