//! A head fitted to frozen features, as a pixel model.

use image::RgbImage;

use super::familiarity::Familiarity;
use super::placement::{PictureSums, SupportPlacement};
use crate::contract::pixel_model::{PixelModel, Scores};
use crate::error::Result;
use crate::features::extract::Extractor;
use crate::features::intensity::Intensity;
use crate::features::tile::Blend;
use crate::method::few_shot::SegmentationHead;
use crate::nn::Precision;

/// Features tile by tile, a head's logits, tiles blended.
pub struct HeadModel {
    extractor: Extractor,
    head: Box<dyn SegmentationHead>,
    familiarity: Familiarity,
    placement: SupportPlacement,
    planes: usize,
    scale: f32,
    intensity: Intensity,
}

impl HeadModel {
    /// Of a fitted head: pictures are seen at `scale` working pixels a pixel.
    pub fn new(
        extractor: Extractor,
        head: Box<dyn SegmentationHead>,
        (familiarity, placement): (Familiarity, SupportPlacement),
        planes: usize,
        scale: f32,
        intensity: Intensity,
    ) -> Self {
        Self { extractor, head, familiarity, placement, planes, scale, intensity }
    }
}

impl PixelModel for HeadModel {
    fn planes(&self) -> usize {
        self.planes
    }

    fn scores(&self, picture: &RgbImage) -> Result<Scores> {
        let mut familiar = self.familiarity.query();
        let mut sums = PictureSums::default();
        let seen = self.intensity.apply(picture);
        let working = self.extractor.prepare(&seen, self.scale)?;
        let mut blend = Blend::new(self.planes, working.size(), working.picture, working.cell);
        for &tile in &working.tiles {
            let features = self.extractor.features(&working, tile);
            let scores = self.head.scores(&features);
            familiar.add(&features, &scores);
            sums.add(&features);
            blend.add(tile, &scores);
        }
        let placement = Some(self.placement.of(&sums));
        let (logits, similarity) = (blend.finish(), familiar.similarity());
        Ok(Scores { logits, similarity, placement, agreement: Vec::new() })
    }

    fn set_precision(&mut self, precision: Precision) {
        self.extractor.set_precision(precision);
    }
}
