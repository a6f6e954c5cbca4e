//! PANet as a pixel model: an encoder, meta-trained or not, and prototypes of the labelled pictures.

use burn::prelude::*;
use image::RgbImage;
use kshot_data::mask::Mask;
use kshot_data::resize::resize;

use crate::contract::pixel_model::{PixelModel, Scores};
use crate::data::batch::{labels, normalised};
use crate::encoder::Normalization;
use crate::error::Result;
use crate::features::score_map::ScoreMap;
use crate::method::few_shot::panet::{Maps, Panet, PanetConfig, class_prototypes, planes_of};
use crate::nn::{Precision, cpu_values};

/// Pixels of the square a cell of the grid that scores are taken to.
const CELL: usize = 4;

/// PANet with what it needs to see a picture.
#[derive(Debug, Clone)]
pub struct PanetEncoder {
    panet: Panet,
    normalization: Normalization,
    device: Device,
    precision: Precision,
}

impl PanetEncoder {
    /// Around a network on a device; it is optimised for inference.
    pub fn new(panet: Panet, normalization: Normalization, device: Device) -> Self {
        Self { panet: panet.optimize(), normalization, device, precision: Precision::F32 }
    }

    /// The same with another precision.
    #[must_use]
    pub fn with_precision(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    /// The maps of a picture.
    ///
    /// # Errors
    /// If it has no pixels.
    pub fn maps(&self, image: &RgbImage) -> Result<Maps> {
        let size = self.panet.config().size as u32;
        let square = resize(image, size, size)?;
        let square = normalised(&[&square], &self.normalization, &self.device);
        Ok(self.precision.run(|| self.panet.maps(square)))
    }

    /// A model of labelled pictures: their maps and labels.
    pub fn model(&self, pictures: &[(Maps, Mask)], planes: usize) -> PanetModel {
        let size = self.panet.config().size;
        let maps: Vec<Maps> = pictures.iter().map(|(maps, _)| maps.clone()).collect();
        let masks: Vec<Mask> = pictures.iter().map(|(_, mask)| mask.resized(size, size)).collect();
        let masks = planes_of(&labels(&masks.iter().collect::<Vec<_>>(), &self.device), planes);
        let prototypes = class_prototypes(&Maps::cat(&maps), &masks);
        PanetModel { encoder: self.clone(), prototypes, planes }
    }
}

/// PANet with the prototypes of labelled pictures.
pub struct PanetModel {
    encoder: PanetEncoder,
    /// `[planes, channels]`
    prototypes: Tensor<2>,
    planes: usize,
}

impl PanetModel {
    /// The scores of a picture of a size (`[height, width]`) whose maps were made before.
    pub fn scores_of(&self, maps: &Maps, size: [usize; 2]) -> Scores {
        let PanetConfig { size: square, scale, .. } = *self.encoder.panet.config();
        let side = square.div_ceil(CELL);
        let logits = maps.logits(&self.prototypes, [side; 2], scale);
        let logits = ScoreMap {
            planes: self.planes,
            height: side,
            width: side,
            data: cpu_values(logits),
            scale: size.map(|length| side as f32 / length as f32),
        };
        Scores::plain(logits)
    }
}

impl PixelModel for PanetModel {
    fn planes(&self) -> usize {
        self.planes
    }

    fn scores(&self, picture: &RgbImage) -> Result<Scores> {
        let maps = self.encoder.maps(picture)?;
        Ok(self.scores_of(&maps, [picture.height() as usize, picture.width() as usize]))
    }

    fn set_precision(&mut self, precision: Precision) {
        self.encoder.precision = precision;
    }
}
