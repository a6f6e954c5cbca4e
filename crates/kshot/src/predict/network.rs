//! A trained encoder and decoder as a pixel model.

use burn::prelude::*;
use image::RgbImage;

use super::test_time::TestTime;
use crate::contract::pixel_model::{PixelModel, Scores};
use crate::data::batches::shrunk;
use crate::decoder::Segmenter;
use crate::encoder::Normalization;
use crate::error::Result;
use crate::features::tile::{Tile, shown_size};
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
    few_shapes: bool,
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
        let few_shapes = device != Device::flex();
        let model = Self {
            segmenter,
            normalization,
            planes,
            longest,
            background,
            test_time,
            device,
            precision,
            few_shapes: false,
        };
        model.with_few_shapes(few_shapes)
    }
}

impl SegmenterModel {
    /// The same that shows its network pictures and tiles of few sizes, several tiles at once, if so: by default on all devices but the CPU.
    #[must_use]
    pub fn with_few_shapes(self, few_shapes: bool) -> Self {
        let at_once = if few_shapes { TILES } else { 1 };
        Self { few_shapes, test_time: self.test_time.with_at_once(at_once), ..self }
    }
}

/// Tiles that a network is shown at once, except on the CPU.
const TILES: usize = 8;
/// The logit of background where there is none.
const NEVER: f32 = -1e4;

impl PixelModel for SegmenterModel {
    fn planes(&self) -> usize {
        self.planes
    }

    fn scores(&self, picture: &RgbImage) -> Result<Scores> {
        let (width, height) = shrunk(picture.width(), picture.height(), self.longest);
        let network = |working: &RgbImage, tiles: &[Tile]| {
            let [height, width] = [tiles[0].height, tiles[0].width];
            let each = tiles.iter().map(|tile| self.normalization.planes(working, tile.area()));
            let values = each.reduce(|mut all, more| {
                all.extend(more);
                all
            });
            let values = values.unwrap_or_default();
            let data = TensorData::new(values, [tiles.len(), 3, height, width]);
            let images = Tensor::from_data(data, &self.device);
            let shown = shown_size(&self.segmenter, [height, width], self.few_shapes);
            let logits = self.precision.run(|| self.segmenter.forward_shown(images, shown));
            let mut logits = cpu_values(logits);
            if !self.background {
                let area = height * width;
                logits.chunks_mut(self.planes * area).for_each(|of| of[..area].fill(NEVER));
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

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::*;
    use crate::decoder::DecoderConfig;
    use crate::decoder::unet::UNetConfig;
    use crate::encoder::EncoderConfig;
    use crate::features::tile::Tiling;
    use crate::loss::LossConfig;
    use crate::method::supervised::Supervised;
    use crate::recipe::Predict;

    fn tiny(device: &Device) -> Segmenter {
        let encoder: EncoderConfig = "efficientnet-lite-tiny".parse().unwrap();
        let decoder = DecoderConfig::UNet(UNetConfig { width: 4, ..UNetConfig::default() });
        Segmenter::new(encoder.init(device), &decoder, 3, device).unwrap()
    }

    #[test]
    fn validations_see_large_pictures_as_predictions_do() {
        let device = Device::flex();
        let network = tiny(&device);
        let predict = Predict { tile: 64, overlap: 0.25, ..Predict::default() };
        let imagenet = Normalization::IMAGENET;
        let learnt = Supervised::new(network.clone(), LossConfig::default(), true, imagenet);
        let model = SegmenterModel::new(
            network,
            imagenet,
            (3, true),
            None,
            TestTime::of(&predict),
            device.clone(),
        );
        let value = |x: u32, y: u32| ((x * 37 + y * 91) % 251) as u8;
        let picture =
            RgbImage::from_fn(150, 101, |x, y| Rgb([value(x, y), value(y, x), value(x, x)]));
        let values = imagenet.planes(&picture, [0, 0, 101, 150]);
        let images = Tensor::<4>::from_data(TensorData::new(values, [1, 3, 101, 150]), &device);
        let expected = model.scores(&picture).unwrap().logits.data;
        let apart = |logits: Tensor<4>| {
            let pairs = cpu_values(logits).into_iter().zip(&expected);
            pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
        };
        let whole = apart(learnt.whole(images.clone()));
        let tiling = Tiling::new(predict.tile, predict.overlap);
        let tiled = apart(learnt.with_tiling(tiling).whole(images));
        assert!(tiled < 1e-4 && whole > 1e-3, "{tiled} by tiles, {whole} at once");
    }

    #[test]
    fn a_picture_of_odd_sides_is_seen_as_in_a_patch_of_even_ones() {
        let device = Device::flex();
        let network = tiny(&device);
        assert_eq!(network.shown_size([45, 64]), [64, 64]);
        let test_time = TestTime::of(&Predict::default());
        let model = SegmenterModel::new(
            network,
            Normalization::IMAGENET,
            (3, true),
            None,
            test_time,
            device,
        );
        let value = |x: u32, y: u32| ((x * 37 + y * 91) % 251) as u8;
        let patch = RgbImage::from_fn(96, 64, |x, y| {
            // Mirrored beyond 70 columns and 45 rows.
            let [x, y] = [x.min(138 - x), y.min(88 - y)];
            Rgb([value(x, y), value(y, x), value(x, x)])
        });
        let picture = image::imageops::crop_imm(&patch, 0, 0, 70, 45).to_image();
        let [found, expected] = [&picture, &patch].map(|of| model.scores(of).unwrap().logits);
        assert_eq!([found.height, found.width], [45, 70]);
        for (plane, y, x) in [(0, 0, 0), (1, 44, 69), (2, 21, 33), (0, 44, 1), (2, 3, 69)] {
            let at = |map: &crate::features::score_map::ScoreMap| {
                map.data[(plane * map.height + y) * map.width + x]
            };
            assert!((at(&found) - at(&expected)).abs() < 1e-4, "{plane} {y} {x}");
        }
    }
}
