//! A trained encoder and decoder as a pixel model.

use burn::prelude::*;
use image::RgbImage;
use kshot_data::image::resize;

use crate::contract::pixel_model::{PixelModel, Scores};
use crate::data::batches::shrunk;
use crate::decoder::Segmenter;
use crate::encoder::Normalization;
use crate::error::Result;
use crate::features::extract::{TILE_OVERLAP, TILE_SIDE};
use crate::features::score_map::ScoreMap;
use crate::features::tile::{Blend, plan};
use crate::nn::{Precision, cpu_values};

/// An encoder and a decoder with what they need to see a picture.
pub struct SegmenterModel {
    segmenter: Segmenter,
    normalization: Normalization,
    planes: usize,
    longest: Option<u32>,
    background: bool,
    device: Device,
    precision: Precision,
}

impl SegmenterModel {
    /// Around a network on a device, which is optimised for inference. Pictures whose longer side is above `longest`
    /// pixels are shrunk to it; without `background` no pixel is background.
    pub fn new(
        segmenter: Segmenter,
        normalization: Normalization,
        (planes, background): (usize, bool),
        longest: Option<u32>,
        device: Device,
    ) -> Self {
        let (segmenter, precision) = (segmenter.optimize(), Precision::F32);
        Self { segmenter, normalization, planes, longest, background, device, precision }
    }
}

/// The logit of background where there is none.
const NEVER: f32 = -1e4;

impl PixelModel for SegmenterModel {
    fn planes(&self) -> usize {
        self.planes
    }

    fn scores(&self, picture: &RgbImage) -> Result<Scores> {
        let (width, height) = shrunk(picture.width(), picture.height(), self.longest);
        let working = resize(picture, width, height)?;
        let size = [height as usize, width as usize];
        let original = [picture.height() as usize, picture.width() as usize];
        let tiles = plan(size, TILE_SIDE, TILE_OVERLAP);
        let run = |[top, left, height, width]: [usize; 4]| {
            let values = self.normalization.planes(&working, [top, left, height, width]);
            let data = TensorData::new(values, [1, 3, height, width]);
            let images = Tensor::from_data(data, &self.device);
            cpu_values(self.precision.run(|| self.segmenter.forward(images)))
        };
        let mut logits = if let [_] = tiles[..] {
            // As in validation: the picture as it is, without what tiles add at the borders.
            let [height, width] = size;
            ScoreMap {
                planes: self.planes,
                height,
                width,
                data: run([0, 0, height, width]),
                scale: [0, 1].map(|axis| size[axis] as f32 / original[axis] as f32),
            }
        } else {
            let mut blend = Blend::new(self.planes, size, original, 1);
            tiles.into_iter().for_each(|tile| blend.add(tile, &run(tile.area())));
            blend.finish()
        };
        if !self.background {
            let cells = logits.height * logits.width;
            logits.data[..cells].fill(NEVER);
        }
        Ok(Scores::plain(logits))
    }

    fn set_precision(&mut self, precision: Precision) {
        self.precision = precision;
    }
}
