//! Heads on features of the labelled pictures, which several of them share.

use std::sync::Arc;
use std::time::Instant;

use image::RgbImage;
use kshot_data::mask::Mask;

use super::{Candidate, CandidateContext, FinishedCandidate, JudgedPictures, partly_labelled};
use crate::error::Result;
use crate::features::extract::{Extractor, TileFeatures, Working};
use crate::features::intensity::Intensity;
use crate::features::score_map::ScoreMap;
use crate::features::tile::Blend;
use crate::method::few_shot::{CellLabels, SegmentationHead, SegmentationMethod, Shot};
use crate::predict::familiarity::Familiarity;
use crate::predict::folds::PartLabels;
use crate::predict::heads::HeadModel;
use crate::predict::placement::{PictureSums, SupportPlacement};
use crate::predict::prior;
use crate::predict::views::TestView;

/// The labelled pictures through one extractor at one scale.
pub struct SeenSupport {
    extractor: Extractor,
    scale: f32,
    intensity: Intensity,
    planes: usize,
    /// By picture and view.
    pictures: Vec<Vec<SeenView>>,
    /// All of them with all labels.
    shots: Vec<Shot>,
    /// What places each among others.
    sums: Vec<PictureSums>,
}

struct SeenView {
    view: TestView,
    working: Working,
    tiles: Vec<TileFeatures>,
}

impl SeenSupport {
    /// Through `fitting`, which sums in 32 bits; new pictures go through `extractor`.
    ///
    /// # Errors
    /// If a picture has no pixels.
    pub fn new(
        context: &CandidateContext<'_>,
        [fitting, extractor]: [&Extractor; 2],
        scale: f32,
        views: &[TestView],
    ) -> Result<Self> {
        let seen = |image: &RgbImage| -> Result<Vec<SeenView>> {
            let view = |view: &TestView| {
                let working = fitting.prepare(&view.of_picture(image), scale)?;
                let tiles = working.tiles.iter().map(|&tile| fitting.features(&working, tile));
                let tiles = tiles.collect();
                Ok(SeenView { view: *view, working, tiles })
            };
            views.iter().map(view).collect()
        };
        let pictures = &context.support.pictures;
        let seen = pictures.iter().map(|picture| seen(&context.intensity.apply(&picture.image)));
        Ok(Self::of(context, extractor, scale, seen.collect::<Result<_>>()?))
    }

    fn of(
        context: &CandidateContext<'_>,
        extractor: &Extractor,
        scale: f32,
        pictures: Vec<Vec<SeenView>>,
    ) -> Self {
        let labelled = pictures.iter().zip(&context.support.pictures);
        let shots = labelled.map(|(views, of)| shot(views, &of.mask)).collect();
        let sums = pictures.iter().map(|views| {
            let mut sums = PictureSums::default();
            views[0].tiles.iter().for_each(|tile| sums.add(tile));
            sums
        });
        let sums = sums.collect();
        let (extractor, intensity) = (extractor.clone(), context.intensity);
        Self { extractor, scale, intensity, planes: context.planes, pictures, shots, sums }
    }

    /// Whether the encoder's stages that were seen are all it has.
    pub fn has_all_stages(&self) -> bool {
        self.extractor.look().stride == usize::MAX
    }

    /// With another look at the same scale, for which the encoder need not see the pictures again.
    pub fn with_look(
        &self,
        context: &CandidateContext<'_>,
        [fitting, extractor]: [&Extractor; 2],
    ) -> Self {
        let look = self.extractor.look();
        let again = |of: &SeenView| {
            let working = Working { cell: fitting.look().cell, ..of.working.clone() };
            let tiles = of.tiles.iter().map(|tile| fitting.features_beside(&working, tile, look));
            SeenView { view: of.view, tiles: tiles.collect(), working }
        };
        let pictures = self.pictures.iter().map(|views| views.iter().map(again).collect());
        Self::of(context, extractor, self.scale, pictures.collect())
    }

    /// The labelled pictures with some of the labels.
    fn shots(&self, labels: &[PartLabels]) -> Vec<Shot> {
        let shot = |part: &PartLabels| match &part.mask {
            Some(mask) => shot(&self.pictures[part.picture], mask),
            None => self.shots[part.picture].clone(),
        };
        labels.iter().map(shot).collect()
    }

    /// Where the pictures of some labels lie.
    fn placement(&self, labels: &[PartLabels]) -> SupportPlacement {
        let sums = labels.iter().map(|part| self.sums[part.picture].clone());
        SupportPlacement::fit(&sums.collect::<Vec<_>>())
    }

    /// A head's logits of a labelled picture as it is.
    fn scores(&self, head: &dyn SegmentationHead, picture: usize) -> ScoreMap {
        let SeenView { working, tiles, .. } = &self.pictures[picture][0];
        let mut blend = Blend::new(self.planes, working.size(), working.picture, working.cell);
        for tile in tiles {
            blend.add(tile.tile, &head.scores(tile));
        }
        blend.finish()
    }
}

/// A picture's features with some of its labels.
fn shot(views: &[SeenView], mask: &Mask) -> Shot {
    let (mut tiles, mut labels) = (Vec::new(), Vec::new());
    for SeenView { view, working, tiles: seen } in views {
        let mask = view.of_mask(mask);
        labels.extend(working.tiles.iter().map(|&tile| CellLabels::new(&mask, working, tile)));
        tiles.extend(seen.iter().cloned());
    }
    Shot::new(tiles, labels)
}

/// A head on features of the labelled pictures.
pub struct HeadCandidate {
    method: Box<dyn SegmentationMethod>,
    seen: Arc<SeenSupport>,
    seed: u64,
    partly: bool,
}

impl HeadCandidate {
    /// On features that others may share.
    pub fn new(
        method: Box<dyn SegmentationMethod>,
        seen: Arc<SeenSupport>,
        context: &CandidateContext<'_>,
    ) -> Self {
        let partly = partly_labelled(context.support);
        Self { method, seen, seed: context.seed, partly }
    }
}

impl HeadCandidate {
    /// Fits a head to labelled pictures.
    fn fit(
        &self,
        method: &dyn SegmentationMethod,
        shots: &[Shot],
    ) -> Result<Box<dyn SegmentationHead>> {
        method.fit(&shots.iter().collect::<Vec<_>>(), self.seen.planes, self.seed)
    }
}

impl Candidate for HeadCandidate {
    fn name(&self) -> &'static str {
        self.method.name()
    }

    fn scale(&self) -> f32 {
        self.seen.scale
    }

    fn most_folds(&self) -> usize {
        self.method.most_folds()
    }

    fn judged(&self, fit: &[PartLabels], of: &[usize]) -> Result<JudgedPictures> {
        let started = Instant::now();
        let quick = self.method.for_judging();
        let method = quick.as_deref().unwrap_or(self.method.as_ref());
        let head = self.fit(method, &self.seen.shots(fit))?;
        let seconds = started.elapsed().as_secs_f64();
        let maps = of.iter().map(|&picture| self.seen.scores(head.as_ref(), picture)).collect();
        let placement = self.seen.placement(fit);
        let distance = |&picture: &usize| Some(placement.of(&self.seen.sums[picture]).distance);
        Ok(JudgedPictures { maps, distances: of.iter().map(distance).collect(), seconds })
    }

    fn finished(&self, temperature: f32) -> Result<FinishedCandidate> {
        let seen = &self.seen;
        let head = self.fit(self.method.as_ref(), &seen.shots)?;
        let ratios = self
            .partly
            .then(|| prior::ratios(head.as_ref(), &seen.shots, seen.planes, temperature));
        let familiarity = Familiarity::fit(&seen.shots, seen.planes);
        let placement = SupportPlacement::fit(&seen.sums);
        let (extractor, scale, intensity) = (seen.extractor.clone(), seen.scale, seen.intensity);
        let model = HeadModel::new(
            extractor,
            head,
            (familiarity, placement),
            seen.planes,
            scale,
            intensity,
        );
        Ok(FinishedCandidate { model: Box::new(model), ratios })
    }
}
