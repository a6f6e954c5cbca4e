//! Self-support as a candidate.

use std::sync::Arc;

use image::RgbImage;
use kshot_data::mask::{MAX_CLASSES, Mask};
use kshot_data::support::Support;

use super::{Candidate, CandidateContext, FinishedCandidate, JudgedPictures};
use crate::error::Result;
use crate::features::extract::Extractor;
use crate::features::intensity::Intensity;
use crate::method::few_shot::self_support::{Bank, NAME, SelfSupport};
use crate::metric::confusion::Confusion;
use crate::predict::compare::{SelfSupportExamples, SelfSupportModel};
use crate::predict::folds::PartLabels;
use crate::predict::held_out::mean_iou;
use crate::predict::placement::{PictureSums, SupportPlacement};

/// Self-support: nothing is fitted, pictures are compared with the labelled ones.
pub struct SelfSupportCandidate<'a> {
    method: SelfSupport,
    extractor: Extractor,
    support: &'a Support,
    banks: Vec<Arc<Bank>>,
    planes: usize,
    intensity: Intensity,
}

impl<'a> SelfSupportCandidate<'a> {
    /// On the labelled pictures.
    ///
    /// # Errors
    /// If a picture has no pixels.
    pub fn new(
        method: &SelfSupport,
        extractor: &Extractor,
        context: &CandidateContext<'a>,
    ) -> Result<Self> {
        let pictures = &context.support.pictures;
        let bank = |image: &RgbImage| {
            Ok(Arc::new(method.prepare(extractor, &context.intensity.apply(image))?))
        };
        let banks = pictures.iter().map(|picture| bank(&picture.image)).collect::<Result<_>>()?;
        Ok(Self {
            method: method.clone(),
            extractor: extractor.clone(),
            support: context.support,
            banks,
            planes: context.planes,
            intensity: context.intensity,
        })
    }

    /// How much of some masks its grid can show: mean IoU of their most frequent class a cell, 0 to 1. Of vessels a tenth.
    pub fn resolves(method: &SelfSupport, masks: &[&Mask], planes: usize) -> f64 {
        let mut confusion = Confusion::new(planes);
        for mask in masks {
            let shares = method.shares(mask, planes);
            let likeliest = |cell: usize| {
                (0..planes)
                    .max_by(|&a, &b| shares[a][cell].total_cmp(&shares[b][cell]))
                    .unwrap_or(0)
            };
            let cells: Vec<usize> = (0..method.grid.pow(2)).map(likeliest).collect();
            for (at, &class) in mask.pixels.iter().enumerate().filter(|of| *of.1 <= MAX_CLASSES) {
                let (y, x) = (at / mask.width, at % mask.width);
                let row = y * method.grid / mask.height * method.grid;
                let shown = cells[row + x * method.grid / mask.width];
                // Classes are below the number of planes: the support was checked.
                let _ = confusion.add_weighted(usize::from(class), shown, 1.0);
            }
        }
        mean_iou(&confusion)
    }

    fn examples(&self, labels: &[PartLabels]) -> SelfSupportExamples {
        let example = |part: &PartLabels| {
            let whole = || self.support.pictures[part.picture].mask.clone();
            (Arc::clone(&self.banks[part.picture]), part.mask.clone().unwrap_or_else(whole))
        };
        SelfSupportExamples::from_banks(
            &self.method,
            labels.iter().map(example).collect(),
            self.planes,
        )
    }
}

impl Candidate for SelfSupportCandidate<'_> {
    fn name(&self) -> &'static str {
        NAME
    }

    fn scale(&self) -> f32 {
        1.0
    }

    fn judged(&self, fit: &[PartLabels], of: &[usize]) -> Result<JudgedPictures> {
        let examples = self.examples(fit);
        let all: Vec<usize> = (0..fit.len()).collect();
        let map = |&picture: &usize| {
            let mask = &self.support.pictures[picture].mask;
            examples.logits(&self.method, &all, &self.banks[picture], [mask.height, mask.width])
        };
        Ok(JudgedPictures {
            maps: of.iter().map(map).collect(),
            distances: vec![None; of.len()],
            seconds: 0.0,
        })
    }

    fn finished(&self, _: f32) -> Result<FinishedCandidate> {
        let all = (0..self.banks.len()).map(|picture| PartLabels { picture, mask: None });
        let examples = Arc::new(self.examples(&all.collect::<Vec<_>>()));
        let sums = self.banks.iter().map(|bank| PictureSums::of_cells(bank.cells()));
        let placement = SupportPlacement::fit(&sums.collect::<Vec<_>>());
        let (method, extractor) = (self.method.clone(), self.extractor.clone());
        let model =
            SelfSupportModel::new(method, extractor, examples, self.intensity).comparing(placement);
        Ok(FinishedCandidate { model: Box::new(model), ratios: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grid_shows_large_things_and_no_hairs() {
        let method = SelfSupport::default();
        let painted = |width: usize, step: usize| {
            let mut mask = Mask::filled(260, 260, 0);
            for (at, pixel) in mask.pixels.iter_mut().enumerate() {
                *pixel = u8::from(at % 260 % step < width);
            }
            SelfSupportCandidate::resolves(&method, &[&mask], 2)
        };
        assert!(painted(100, 260) > 0.95);
        assert!(painted(2, 26) < 0.1);
    }
}
