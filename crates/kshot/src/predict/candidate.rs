//! Ways to label pictures that compete on held-out labels: each can be fitted to any part of the labels, and says what
//! it thinks of the labelled pictures themselves.

use std::sync::Arc;
use std::time::Instant;

use image::RgbImage;
use kshot_data::mask::{Mask, UNLABELLED};
use kshot_data::support::Support;

use crate::contract::PixelModel;
use crate::error::Result;
use crate::features::extract::{Extractor, TileFeatures, Working};
use crate::features::intensity::Intensity;
use crate::features::score_map::ScoreMap;
use crate::features::tile::Blend;
use crate::method::few_shot::self_support::{Bank, NAME, SelfSupport};
use crate::method::few_shot::{CellLabels, SegmentationHead, SegmentationMethod, Shot};
use crate::predict::compare::{SelfSupportExamples, SelfSupportModel};
use crate::predict::familiarity::Familiarity;
use crate::predict::folds::PartLabels;
use crate::predict::heads::HeadModel;
use crate::predict::placement::{PictureSums, SupportPlacement};
use crate::predict::prior;
use crate::predict::views::TestView;

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

    /// What it thinks of labelled pictures after it was fitted to others, or to other parts of them: logits of the
    /// pictures `of`, and the seconds of the fit.
    ///
    /// # Errors
    /// If the labels to fit to hold no pixel of any class.
    fn judged(&self, fit: &[PartLabels], of: &[usize]) -> Result<(Vec<ScoreMap>, f64)>;

    /// Fitted to all labels; its logits are to be divided by `temperature`.
    ///
    /// # Errors
    /// If there is none.
    fn finished(&self, temperature: f32) -> Result<FinishedCandidate>;
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
        let (extractor, intensity) = (extractor.clone(), context.intensity);
        Self { extractor, scale, intensity, planes: context.planes, pictures, shots }
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

    /// Fits a head to some of the labels.
    fn fit(
        &self,
        method: &dyn SegmentationMethod,
        labels: &[PartLabels],
        seed: u64,
    ) -> Result<Box<dyn SegmentationHead>> {
        let shots: Vec<Shot> = labels
            .iter()
            .map(|part| match &part.mask {
                Some(mask) => shot(&self.pictures[part.picture], mask),
                None => self.shots[part.picture].clone(),
            })
            .collect();
        method.fit(&shots.iter().collect::<Vec<_>>(), self.planes, seed)
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

    fn judged(&self, fit: &[PartLabels], of: &[usize]) -> Result<(Vec<ScoreMap>, f64)> {
        let started = Instant::now();
        let quick = self.method.for_judging();
        let head =
            self.seen.fit(quick.as_deref().unwrap_or(self.method.as_ref()), fit, self.seed)?;
        let seconds = started.elapsed().as_secs_f64();
        let maps = of.iter().map(|&picture| self.seen.scores(head.as_ref(), picture)).collect();
        Ok((maps, seconds))
    }

    fn finished(&self, temperature: f32) -> Result<FinishedCandidate> {
        let seen = &self.seen;
        let all = (0..seen.shots.len()).map(|picture| PartLabels { picture, mask: None });
        let head = seen.fit(self.method.as_ref(), &all.collect::<Vec<_>>(), self.seed)?;
        let ratios = self
            .partly
            .then(|| prior::ratios(head.as_ref(), &seen.shots, seen.planes, temperature));
        let familiarity = Familiarity::fit(&seen.shots, seen.planes);
        let sums = seen.pictures.iter().map(|views| {
            let mut sums = PictureSums::default();
            views[0].tiles.iter().for_each(|tile| sums.add(tile));
            sums
        });
        let placement = SupportPlacement::fit(&sums.collect::<Vec<_>>());
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

/// Whether some pixels of the support are not labelled, as strokes leave them.
pub fn partly_labelled(support: &Support) -> bool {
    support.pictures.iter().any(|picture| picture.mask.pixels.contains(&UNLABELLED))
}

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

    fn judged(&self, fit: &[PartLabels], of: &[usize]) -> Result<(Vec<ScoreMap>, f64)> {
        let examples = self.examples(fit);
        let all: Vec<usize> = (0..fit.len()).collect();
        let map = |&picture: &usize| {
            let mask = &self.support.pictures[picture].mask;
            examples.logits(&self.method, &all, &self.banks[picture], [mask.height, mask.width])
        };
        Ok((of.iter().map(map).collect(), 0.0))
    }

    fn finished(&self, _: f32) -> Result<FinishedCandidate> {
        let all = (0..self.banks.len()).map(|picture| PartLabels { picture, mask: None });
        let examples = Arc::new(self.examples(&all.collect::<Vec<_>>()));
        let (method, extractor) = (self.method.clone(), self.extractor.clone());
        let model = SelfSupportModel::new(method, extractor, examples, self.intensity);
        Ok(FinishedCandidate { model: Box::new(model), ratios: None })
    }
}
