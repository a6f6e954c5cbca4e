//! How a trained network sees a picture: in tiles where it is large, mirrored and at several sizes where asked.
//!
//! - Tiles overlap and are weighted by a Gaussian whose standard deviation is an eighth of the side, as nnU-Net does
//!   (Isensee et al. 2021, arXiv 1904.08128): logits are averaged.
//! - Views (mirror images and sizes) each give probabilities, which are averaged on the grid of the picture's working
//!   size. nnU-Net averages the logits of mirror images.

use std::borrow::Cow;

use image::{RgbImage, imageops};
use kshot_data::resize::resize;

use super::ensemble::LEAST;
use crate::error::Result;
use crate::features::score_map::ScoreMap;
use crate::features::tile::{Tile, TileMean, Tiling, batches};
use crate::recipe::Predict;

/// A network that is shown tiles of one size of a picture, and gives their logits, `[tiles, planes, height, width]`.
type TileNetwork<'a> = dyn Fn(&RgbImage, &[Tile]) -> Vec<f32> + 'a;

/// Tiles and views.
#[derive(Debug, Clone, PartialEq)]
pub struct TestTime {
    tiling: Tiling,
    /// Left and right, top and bottom exchanged.
    flips: &'static [[bool; 2]],
    /// Factors of the working size.
    scales: Vec<f32>,
    /// Tiles that the network is shown at once.
    at_once: usize,
}

impl TestTime {
    /// As a recipe's `[predict]` says.
    pub fn of(predict: &Predict) -> Self {
        Self {
            tiling: Tiling::new(predict.tile, predict.overlap),
            flips: predict.flip.views(),
            scales: predict.scales.clone(),
            at_once: 1,
        }
    }

    /// The same that shows the network up to so many tiles at once.
    #[must_use]
    pub fn with_at_once(self, at_once: usize) -> Self {
        Self { at_once, ..self }
    }

    /// The logits of a picture on a grid of its working size (`[height, width]`), from a network that is shown tiles
    /// of a picture. Of several views they are logarithms of the mean probabilities.
    ///
    /// # Errors
    /// If the picture has no pixels.
    pub fn scores(
        &self,
        picture: &RgbImage,
        size: [usize; 2],
        planes: usize,
        network: &TileNetwork<'_>,
    ) -> Result<ScoreMap> {
        let original = [picture.height() as usize, picture.width() as usize];
        let mut views = Vec::with_capacity(self.scales.len() * self.flips.len());
        for scale in &self.scales {
            let [height, width] = size.map(|side| ((side as f32 * scale).round() as u32).max(1));
            let working = resize(picture, width, height)?;
            for &flip in self.flips {
                let mut map = self.tiled(&mirrored(&working, flip), planes, network);
                map.scale =
                    [0, 1].map(|axis| [map.height, map.width][axis] as f32 / original[axis] as f32);
                restore(&mut map, flip);
                views.push(map);
            }
        }
        if let [only] = &views[..]
            && [only.height, only.width] == size
        {
            return Ok(views.swap_remove(0));
        }
        let share = 1.0 / (self.scales.len() * self.flips.len()) as f32;
        let [height, width] = size;
        let mut mean = ScoreMap {
            planes,
            height,
            width,
            data: vec![0.0; planes * height * width],
            scale: [0, 1].map(|axis| size[axis] as f32 / original[axis] as f32),
        };
        for mut map in views {
            map.softmax(1.0);
            if [map.height, map.width] != size {
                map = map.resampled(size, original);
            }
            mean.data.iter_mut().zip(map.data).for_each(|(sum, value)| *sum += share * value);
        }
        mean.data.iter_mut().for_each(|value| *value = value.max(LEAST).ln());
        Ok(mean)
    }

    /// The logits of a picture, in one piece where it fits into a tile.
    fn tiled(&self, picture: &RgbImage, planes: usize, network: &TileNetwork<'_>) -> ScoreMap {
        let [height, width] = [picture.height() as usize, picture.width() as usize];
        let tiles = self.tiling.tiles([height, width]);
        let map = |data| ScoreMap { planes, height, width, data, scale: [1.0; 2] };
        if tiles.len() < 2 {
            return map(network(picture, &tiles));
        }
        let mut mean = TileMean::new(planes, [height, width]);
        for group in batches(tiles, self.at_once) {
            let logits = network(picture, &group);
            for (index, tile) in group.into_iter().enumerate() {
                let count = planes * tile.height * tile.width;
                mean.add(tile, &logits[index * count..][..count]);
            }
        }
        map(mean.finish())
    }
}

/// The picture with left and right, and top and bottom, exchanged where asked.
fn mirrored(picture: &RgbImage, [horizontal, vertical]: [bool; 2]) -> Cow<'_, RgbImage> {
    if !horizontal && !vertical {
        return Cow::Borrowed(picture);
    }
    let mut picture = picture.clone();
    if horizontal {
        imageops::flip_horizontal_in_place(&mut picture);
    }
    if vertical {
        imageops::flip_vertical_in_place(&mut picture);
    }
    Cow::Owned(picture)
}

/// The map of a mirrored picture, mirrored back.
fn restore(map: &mut ScoreMap, [horizontal, vertical]: [bool; 2]) {
    let (height, width) = (map.height, map.width);
    if horizontal {
        map.data.chunks_exact_mut(width).for_each(<[f32]>::reverse);
    }
    if vertical {
        for plane in map.data.chunks_exact_mut(height * width) {
            for y in 0..height / 2 {
                let (upper, lower) = plane.split_at_mut((height - 1 - y) * width);
                upper[y * width..][..width].swap_with_slice(&mut lower[..width]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::*;
    use crate::recipe::TestFlip;

    fn picture(width: u32, height: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| {
            Rgb([(x * 7 + y * 3) as u8, (x * y) as u8, (x + 200 * y) as u8])
        })
    }

    /// A pixel of a picture, whose border is repeated.
    fn value(of: &RgbImage, x: i64, y: i64, channel: usize) -> f32 {
        let [width, height] = [of.width(), of.height()].map(i64::from);
        let pixel = of.get_pixel(x.clamp(0, width - 1) as u32, y.clamp(0, height - 1) as u32);
        f32::from(pixel.0[channel]) / 64.0
    }

    /// Three planes: each the mean of a channel over a square of `2 * radius + 1` pixels, and the column by `lean`.
    fn network(radius: i64, lean: f32) -> impl Fn(&RgbImage, &[Tile]) -> Vec<f32> {
        let of_tile = move |picture: &RgbImage, tile: &Tile| {
            let [top, left, height, width] = tile.area();
            let mut logits = Vec::with_capacity(3 * height * width);
            for (channel, y, x) in (0..3).flat_map(|channel| {
                (0..height).flat_map(move |y| (0..width).map(move |x| (channel, y, x)))
            }) {
                let (x, y) = ((left + x) as i64, (top + y) as i64);
                let square = (-radius..=radius)
                    .flat_map(|v| (-radius..=radius).map(move |u| (x + u, y + v)));
                let sum: f32 = square.map(|(x, y)| value(picture, x, y, channel)).sum();
                let count = ((2 * radius + 1) * (2 * radius + 1)) as f32;
                logits.push(sum / count + if channel == 0 { lean * x as f32 } else { 0.0 });
            }
            logits
        };
        move |picture, tiles| tiles.iter().flat_map(|tile| of_tile(picture, tile)).collect()
    }

    fn probabilities(predict: &Predict, of: &RgbImage, network: &TileNetwork<'_>) -> Vec<f32> {
        let size = [of.height() as usize, of.width() as usize];
        let mut map = TestTime::of(predict).scores(of, size, 3, network).unwrap();
        assert_eq!([map.height, map.width], size);
        assert_eq!(map.scale, [1.0; 2]);
        map.softmax(1.0);
        map.data
    }

    fn apart(a: &[f32], b: &[f32]) -> f32 {
        assert_eq!(a.len(), b.len());
        a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    }

    #[test]
    fn tiles_of_a_local_network_are_the_whole() {
        let of = picture(150, 101);
        let whole = probabilities(&Predict::default(), &of, &network(0, 0.01));
        for (tile, overlap) in [(64, 0.25), (64, 0.0), (96, 0.5), (70, 0.9)] {
            let predict = Predict { tile, overlap, ..Predict::default() };
            let tiled = probabilities(&predict, &of, &network(0, 0.01));
            assert!(apart(&whole, &tiled) < 1e-5, "{tile} {overlap}");
            // Several tiles at once are the same.
            let size = [of.height() as usize, of.width() as usize];
            let together = TestTime::of(&predict).with_at_once(4);
            let mut map = together.scores(&of, size, 3, &network(0, 0.01)).unwrap();
            map.softmax(1.0);
            assert!(apart(&tiled, &map.data) < 1e-6, "{tile} {overlap}");
        }
    }

    #[test]
    fn mirror_images_change_nothing_that_does_not_know_left_from_right() {
        let of = picture(37, 20);
        let plain = probabilities(&Predict::default(), &of, &network(1, 0.0));
        for flip in [TestFlip::Horizontal, TestFlip::Both] {
            let predict = Predict { flip, ..Predict::default() };
            assert!(apart(&plain, &probabilities(&predict, &of, &network(1, 0.0))) < 1e-5);
        }
    }

    #[test]
    fn views_are_averaged_as_probabilities() {
        let of = picture(8, 3);
        let leaning = network(0, 0.5);
        let plain = probabilities(&Predict::default(), &of, &leaning);
        let mut turned = of.clone();
        imageops::flip_horizontal_in_place(&mut turned);
        let mut other = probabilities(&Predict::default(), &turned, &leaning);
        other.chunks_exact_mut(8).for_each(<[f32]>::reverse);
        let predict = Predict { flip: TestFlip::Horizontal, ..Predict::default() };
        let both = probabilities(&predict, &of, &leaning);
        let mean: Vec<f32> = plain.iter().zip(&other).map(|(a, b)| (a + b) / 2.0).collect();
        assert!(apart(&plain, &other) > 0.2 && apart(&both, &mean) < 1e-5);
    }

    #[test]
    fn sizes_are_brought_back_to_the_working_one() {
        let even = RgbImage::from_pixel(50, 40, Rgb([10, 90, 200]));
        let plain = probabilities(&Predict::default(), &even, &network(1, 0.0));
        let predict = Predict { scales: vec![0.5, 1.0, 1.7], ..Predict::default() };
        assert!(apart(&plain, &probabilities(&predict, &even, &network(1, 0.0))) < 1e-5);
        // A picture that changes slowly is much the same at every size.
        let slow = RgbImage::from_fn(64, 64, |x, y| Rgb([3 * x as u8, 2 * y as u8, 100]));
        let plain = probabilities(&Predict::default(), &slow, &network(0, 0.0));
        let predict = Predict { scales: vec![2.0], ..Predict::default() };
        let seen = probabilities(&predict, &slow, &network(0, 0.0));
        assert!(apart(&plain, &seen) < 0.03, "{}", apart(&plain, &seen));
    }
}
