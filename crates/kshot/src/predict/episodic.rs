//! Meta-trained few-shot segmentation as a pixel model: an encoder and a head, with what labelled pictures said.

use burn::prelude::*;
use image::RgbImage;
use kshot_data::mask::Mask;
use kshot_data::resize::resize;

use crate::contract::pixel_model::{PixelModel, Scores};
use crate::data::batch::{labels, normalised};
use crate::encoder::Normalization;
use crate::error::{Error, Result};
use crate::features::score_map::ScoreMap;
use crate::method::episodic::{AnyTask, EpisodicSegmenter, LabelledMaps, Maps};
use crate::nn::{Precision, cpu_values};

/// Pixels of the square a cell of the grid that scores are taken to.
const CELL: usize = 4;

/// A network with what it needs to see a picture.
#[derive(Debug, Clone)]
pub struct EpisodicNetwork {
    network: EpisodicSegmenter,
    normalization: Normalization,
    device: Device,
    precision: Precision,
}

impl EpisodicNetwork {
    /// Around a network on a device; it is optimised for inference.
    pub fn new(network: EpisodicSegmenter, normalization: Normalization, device: Device) -> Self {
        let (network, precision) = (network.optimize(), Precision::F32);
        Self { network, normalization, device, precision }
    }

    /// The same with another precision.
    #[must_use]
    pub fn with_precision(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    /// Whether a query is fitted at test time.
    pub fn is_transductive(&self) -> bool {
        self.network.is_transductive()
    }

    /// The maps of a picture.
    ///
    /// # Errors
    /// If it has no pixels.
    pub fn maps(&self, image: &RgbImage) -> Result<Maps> {
        let size = self.network.input().size as u32;
        let square = resize(image, size, size)?;
        let square = normalised(&[&square], &self.normalization, &self.device);
        Ok(self.precision.run(|| self.network.maps(square)))
    }

    /// A model of labelled pictures: their maps and masks, of `planes` classes with background.
    ///
    /// # Errors
    /// If a class is in none of them.
    pub fn model(&self, pictures: &[(Maps, Mask)], planes: usize) -> Result<EpisodicModel> {
        let size = self.network.input().size;
        let maps: Vec<Maps> = pictures.iter().map(|(maps, _)| maps.clone()).collect();
        let masks: Vec<Mask> = pictures.iter().map(|(_, mask)| mask.resized(size, size)).collect();
        let counts: Vec<[usize; 256]> = pictures.iter().map(|(_, mask)| mask.counts()).collect();
        let holders = |class: usize| -> Vec<usize> {
            (0..counts.len()).filter(|index| counts[*index][class] > 0).collect()
        };
        let holders: Vec<Vec<usize>> = (1..planes).map(holders).collect();
        if let Some(class) = holders.iter().position(Vec::is_empty) {
            return Err(Error::data(format!(
                "no labelled picture holds a pixel of class {}; label one, or leave the class out",
                class + 1
            )));
        }
        let support = LabelledMaps {
            maps: Maps::cat(&maps),
            labels: labels(&masks.iter().collect::<Vec<_>>(), &self.device),
            holders,
            known: Vec::new(),
        };
        let task = self.precision.run(|| self.network.task(&support));
        Ok(EpisodicModel { network: self.clone(), task, planes })
    }
}

/// A network with what labelled pictures said.
pub struct EpisodicModel {
    network: EpisodicNetwork,
    task: AnyTask,
    planes: usize,
}

impl EpisodicModel {
    /// The scores of a picture of a size (`[height, width]`) whose maps were made before.
    pub fn scores_of(&self, maps: &Maps, size: [usize; 2]) -> Scores {
        let EpisodicNetwork { network, precision, .. } = &self.network;
        let side = network.input().size.div_ceil(CELL);
        let logits = precision.run(|| network.logits(&self.task, maps, [side; 2]));
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

impl PixelModel for EpisodicModel {
    fn planes(&self) -> usize {
        self.planes
    }

    fn scores(&self, picture: &RgbImage) -> Result<Scores> {
        let maps = self.network.maps(picture)?;
        Ok(self.scores_of(&maps, [picture.height() as usize, picture.width() as usize]))
    }

    fn set_precision(&mut self, precision: Precision) {
        self.network.precision = precision;
    }
}
