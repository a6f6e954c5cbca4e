//! A trained encoder and decoder as a pixel model.

use burn::prelude::*;
use image::RgbImage;

use super::test_time::TestTime;
use crate::contract::pixel_model::{PixelModel, Scores};
use crate::data::batches::shrunk;
use crate::decoder::Segmenter;
use crate::encoder::Normalization;
use crate::error::Result;
use crate::nn::{Precision, cpu_values};

/// An encoder and a decoder with what they need to see a picture.
pub struct SegmenterModel {
    segmenter: Segmenter,
    normalization: Normalization,
    planes: usize,
    longest: Option<u32>,
    background: bool,
    test_time: TestTime,
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
        test_time: TestTime,
        device: Device,
    ) -> Self {
        let (segmenter, precision) = (segmenter.optimize(), Precision::F32);
        Self { segmenter, normalization, planes, longest, background, test_time, device, precision }
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
        let network = |working: &RgbImage, [top, left, height, width]: [usize; 4]| {
            let values = self.normalization.planes(working, [top, left, height, width]);
            let data = TensorData::new(values, [1, 3, height, width]);
            let images = Tensor::from_data(data, &self.device);
            let mut logits = cpu_values(self.precision.run(|| self.segmenter.forward(images)));
            if !self.background {
                logits[..height * width].fill(NEVER);
            }
            logits
        };
        let size = [height as usize, width as usize];
        let logits = self.test_time.scores(picture, size, self.planes, &network)?;
        Ok(Scores::plain(logits))
    }

    fn set_precision(&mut self, precision: Precision) {
        self.precision = precision;
    }
}
