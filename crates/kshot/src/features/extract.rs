//! Frozen features of a picture, tile by tile, on every stage of an encoder.

use std::path::Path;

use burn::prelude::*;
use burn::tensor::TensorData;
use image::RgbImage;
use kshot_data::resize::resize;
use rayon::prelude::*;

use crate::encoder::{Encode, Encoder, EncoderConfig, Normalization};
use crate::error::Result;
use crate::features::filter_bank::{CHANNELS, PyramidLevel, halve};
use crate::features::look::Look;
use crate::features::score_map::{BilinearResize, taps};
use crate::features::tile::{CELL, GRAIN, Tile, common_side, plan};
use crate::nn::{Precision, cpu_values};
use crate::weights::source::WeightsSource;

/// Cells whose rows are filled together, so that they stay in the fastest cache.
const TOGETHER: usize = 16;

/// One stage of one tile.
#[derive(Debug, Clone)]
pub struct StageMap {
    /// Number of channels.
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// `[channels, height * width]`, on the CPU device.
    pub values: Tensor<2>,
}

impl StageMap {
    /// Of one picture's map, `[1, channels, height, width]`.
    fn of(map: Tensor<4>, device: &Device) -> Self {
        let [_, channels, height, width] = map.dims();
        let values = map.reshape([channels, height * width]).to_device(device);
        Self { channels, height, width, values }
    }

    /// The values at another size, `[channels, size[0] * size[1]]`.
    fn resized(&self, size: [usize; 2]) -> Tensor<2> {
        let cells = size[0] * size[1];
        let resize = BilinearResize::new([self.height, self.width], size);
        let mut values = vec![0.0f32; self.channels * cells];
        values
            .par_chunks_exact_mut(cells)
            .zip(cpu_values(self.values.clone()).par_chunks_exact(self.height * self.width))
            .for_each(|(target, source)| resize.add(source, target));
        Tensor::from_data(TensorData::new(values, [self.channels, cells]), &self.values.device())
    }
}

/// The features of one tile of a picture.
#[derive(Debug, Clone)]
pub struct TileFeatures {
    /// The tile's place in the working picture.
    pub tile: Tile,
    /// Working pixels per cell of its grid.
    pub cell: usize,
    /// One map per stage, finest first.
    pub stages: Vec<StageMap>,
}

impl TileFeatures {
    /// Rows and columns of the tile's grid of cells.
    pub fn grid(&self) -> [usize; 2] {
        [self.tile.height / self.cell, self.tile.width / self.cell]
    }

    /// The concatenated features at some cells of the grid, bilinearly: `[cells.len(), channels]`.
    pub fn rows(&self, cells: &[usize]) -> Vec<f32> {
        let [grid_height, grid_width] = self.grid();
        let channels: usize = self.stages.iter().map(|stage| stage.channels).sum();
        let mut rows = vec![0.0f32; cells.len() * channels];
        let mut offset = 0;
        for stage in &self.stages {
            let values = cpu_values(stage.values.clone());
            let down = taps(grid_height, stage.height, stage.height as f32 / grid_height as f32);
            let across = taps(grid_width, stage.width, stage.width as f32 / grid_width as f32);
            let together = rows.par_chunks_mut(TOGETHER * channels).zip(cells.par_chunks(TOGETHER));
            together.for_each(|(rows, cells)| {
                let planes = values.chunks_exact(stage.height * stage.width);
                for (plane, values) in planes.enumerate() {
                    for (row, cell) in rows.chunks_exact_mut(channels).zip(cells) {
                        let (y, x) = (down[cell / grid_width], across[cell % grid_width]);
                        let at = |row: usize| {
                            let line = &values[row * stage.width..][..stage.width];
                            line[x.low] + (line[x.high] - line[x.low]) * x.weight
                        };
                        let (low, high) = (at(y.low), at(y.high));
                        row[offset + plane] = low + (high - low) * y.weight;
                    }
                }
            });
            offset += stage.channels;
        }
        rows
    }

    /// A linear map of the concatenated features, on the grid of cells: `[outputs, cells]` from a
    /// weight of `[outputs, channels]` and a bias of `[outputs]`. Resizing and the map commute, since
    /// both are linear: finer stages are brought to the grid first, coarser ones are mapped at their
    /// own resolution and brought to the grid afterwards, which is a fraction of the work.
    pub fn linear(&self, weight: &[f32], bias: &[f32]) -> Vec<f32> {
        let to = self.grid();
        let cells = to[0] * to[1];
        let outputs = bias.len();
        let inputs = weight.len() / outputs;
        let mut grid: Vec<f32> = Vec::with_capacity(outputs * cells);
        for bias in bias {
            grid.resize(grid.len() + cells, *bias);
        }
        // By size, so that stages of one size are resized once.
        let mut responses: Vec<([usize; 2], Tensor<2>)> = Vec::new();
        let mut offset = 0;
        for stage in &self.stages {
            let columns: Vec<f32> = weight
                .chunks_exact(inputs)
                .flat_map(|row| &row[offset..offset + stage.channels])
                .copied()
                .collect();
            offset += stage.channels;
            let data = TensorData::new(columns, [outputs, stage.channels]);
            let weight = Tensor::<2>::from_data(data, &stage.values.device());
            let from = [stage.height, stage.width];
            let (size, values) = if from[0] * from[1] > cells {
                (to, stage.resized(to))
            } else {
                (from, stage.values.clone())
            };
            let response = weight.matmul(values);
            match responses.iter_mut().find(|(other, _)| *other == size) {
                Some((_, sum)) => *sum = sum.clone() + response,
                None => responses.push((size, response)),
            }
        }
        for (from, response) in responses {
            let resize = BilinearResize::new(from, to);
            grid.par_chunks_exact_mut(cells)
                .zip(cpu_values(response).par_chunks_exact(from[0] * from[1]))
                .for_each(|(target, source)| resize.add(source, target));
        }
        grid
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.stages.iter().map(|stage| stage.channels * stage.height * stage.width * 4).sum()
    }
}

/// A picture made ready for the encoder: resized to its working size and cut into tiles.
#[derive(Debug, Clone)]
pub struct Working {
    /// The resized picture.
    pub image: RgbImage,
    /// `[height, width]` of the picture it was made from.
    pub picture: [usize; 2],
    /// Its tiles.
    pub tiles: Vec<Tile>,
    /// Working pixels per cell of the grid that scores are made on.
    pub cell: usize,
}

impl Working {
    /// `[height, width]` of the working picture.
    pub fn size(&self) -> [usize; 2] {
        [self.image.height() as usize, self.image.width() as usize]
    }
}

/// An encoder, frozen, with what it needs to see a picture.
#[derive(Debug, Clone)]
pub struct Extractor {
    encoder: Encoder,
    normalization: Normalization,
    device: Device,
    /// Largest tile, in working pixels a side.
    side: usize,
    look: Look,
    precision: Precision,
    few_shapes: bool,
}

/// Largest tile, in working pixels a side: bounds the memory of one forward pass.
pub const TILE_SIDE: usize = 768;
/// Working pixels that neighbouring tiles share.
pub const TILE_OVERLAP: usize = 128;
impl Extractor {
    /// Wraps an encoder that is on `device`.
    pub fn new(encoder: Encoder, normalization: Normalization, device: Device) -> Self {
        let (side, look, precision) = (TILE_SIDE, Look::COARSE, Precision::F32);
        let few_shapes = device != Device::flex();
        Self { encoder, normalization, device, side, look, precision, few_shapes }
    }

    /// A frozen encoder with published weights (see [`WeightsSource::of`]), and the SHA-256 of their file.
    ///
    /// # Errors
    /// When the weights are missing, damaged, or do not fit the encoder, or it takes other than RGB pictures.
    pub fn from_weights(
        config: &EncoderConfig,
        weights: Option<&Path>,
        device: &Device,
    ) -> Result<(Self, String)> {
        config.check_rgb()?;
        let (encoder, sha256) = WeightsSource::of(config, weights)?.load(config, device)?;
        let extractor = Self::new(encoder.optimize(), config.normalization(), device.clone());
        Ok((extractor, sha256))
    }

    /// The same with another precision.
    #[must_use]
    pub fn with_precision(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    /// How its convolutions sum.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// How its convolutions sum from now on.
    pub fn set_precision(&mut self, precision: Precision) {
        self.precision = precision;
    }

    /// The same that sees other features, or on another grid.
    #[must_use]
    pub fn with_look(self, look: Look) -> Self {
        Self { look, ..self }
    }

    /// What it sees of a picture.
    pub fn look(&self) -> Look {
        self.look
    }

    /// Resizes a picture by `scale` (working pixels per pixel) and plans its tiles.
    ///
    /// # Errors
    /// If the picture has no pixels.
    pub fn prepare(&self, picture: &RgbImage, scale: f32) -> Result<Working> {
        let (width, height) = picture.dimensions();
        let at = |length: u32| ((length as f32 * scale).round() as u32).max(1);
        let image = resize(picture, at(width), at(height))?;
        let size = [image.height() as usize, image.width() as usize];
        Ok(Working {
            image,
            picture: [height as usize, width as usize],
            tiles: plan(size, self.side, TILE_OVERLAP),
            cell: self.look.cell,
        })
    }

    /// The features of one tile.
    pub fn features(&self, working: &Working, tile: Tile) -> TileFeatures {
        let data = self.pixels(working, tile);
        let cpu = Device::flex();
        let mut stages = self.beside_encoder(working, tile, &data);
        let shown = self.shown(tile);
        let strides = self.encoder.strides();
        let used = strides.iter().filter(|stride| **stride <= self.look.stride).count();
        if used > 0 {
            let data = if shown == tile { data } else { self.pixels(working, shown) };
            let images = Tensor::from_data(data, &self.device);
            let maps = self.precision.run(|| self.encoder.forward(images)).maps;
            let maps = maps.into_iter().take(used).map(|map| inside(map, tile, shown));
            stages.extend(maps.map(|map| StageMap::of(map, &cpu)));
        }
        TileFeatures { tile, cell: self.look.cell, stages }
    }

    /// What the encoder is shown of a tile: on the CPU the tile itself, else a rectangle of one of few sizes that holds
    /// it, as far as that changes nothing inside.
    fn shown(&self, tile: Tile) -> Tile {
        if !self.few_shapes || !self.encoder.is_local() {
            return tile;
        }
        Tile { height: common_side(tile.height), width: common_side(tile.width), ..tile }
    }

    /// The same that shows its encoder rectangles of few sizes, if so: by default on all devices but the CPU.
    #[must_use]
    pub fn with_few_shapes(self, few_shapes: bool) -> Self {
        Self { few_shapes, ..self }
    }

    /// The same without another pass of the encoder: its stages are those of features that the same encoder made of the
    /// same tile, with a look that sees all of them.
    pub fn features_beside(
        &self,
        working: &Working,
        seen: &TileFeatures,
        look: Look,
    ) -> TileFeatures {
        let tile = seen.tile;
        let mut stages = self.beside_encoder(working, tile, &self.pixels(working, tile));
        let strides = self.encoder.strides();
        let used = strides.iter().filter(|stride| **stride <= self.look.stride).count();
        let encoded = seen.stages.iter().skip(usize::from(look.pixels) + look.filters);
        stages.extend(encoded.take(used).cloned());
        TileFeatures { tile, cell: self.look.cell, stages }
    }

    /// The normalised pixels of a tile, `[1, 3, height, width]`.
    fn pixels(&self, working: &Working, tile: Tile) -> TensorData {
        let planes = self.normalization.planes(&working.image, tile.area());
        TensorData::new(planes, [1, 3, tile.height, tile.width])
    }

    /// What the look has before the encoder's stages.
    fn beside_encoder(&self, working: &Working, tile: Tile, pixels: &TensorData) -> Vec<StageMap> {
        let cpu = Device::flex();
        let mut stages = Vec::new();
        if self.look.pixels {
            stages.push(StageMap::of(Tensor::from_data(pixels.clone(), &cpu), &cpu));
        }
        stages.extend(self.filters(working, tile, &cpu));
        stages
    }

    /// The levels of classical filters over a tile, none finer than the grid of cells.
    fn filters(&self, working: &Working, tile: Tile, device: &Device) -> Vec<StageMap> {
        let mut stages = Vec::with_capacity(self.look.filters);
        if self.look.filters == 0 {
            return stages;
        }
        let pixels = pixels(&working.image, tile);
        let mut level = PyramidLevel::new(&pixels, tile.height, tile.width);
        for index in 0..self.look.filters {
            let mut planes = level.filters();
            let mut channels = CHANNELS;
            if index == 0 {
                planes.extend_from_slice(&level.colours);
                channels += 3;
            }
            let (mut height, mut width) = (level.height, level.width);
            while height > tile.height / self.look.cell {
                planes = halve(&planes, [height, width]);
                (height, width) = (height / 2, width / 2);
            }
            let data = TensorData::new(planes, [channels, height * width]);
            let values = Tensor::from_data(data, device);
            stages.push(StageMap { channels, height, width, values });
            level = level.halved();
        }
        stages
    }
}

/// The part of a map of `shown` that is of `tile`, which has the same first row and column.
fn inside(map: Tensor<4>, tile: Tile, shown: Tile) -> Tensor<4> {
    let [.., height, width] = map.dims();
    let map = match (height * tile.height).div_ceil(shown.height) {
        rows if rows < height => map.narrow(2, 0, rows),
        _ => map,
    };
    match (width * tile.width).div_ceil(shown.width) {
        columns if columns < width => map.narrow(3, 0, columns),
        _ => map,
    }
}

/// The pixels of a tile; beyond the picture its border is repeated.
fn pixels(image: &RgbImage, tile: Tile) -> Vec<u8> {
    let (width, height) = (image.width() as usize, image.height() as usize);
    let mut pixels = Vec::with_capacity(3 * tile.height * tile.width);
    for y in tile.top..tile.top + tile.height {
        let line = &image.as_raw()[y.min(height - 1) * width * 3..][..width * 3];
        let inside = (width - tile.left).min(tile.width);
        pixels.extend_from_slice(&line[tile.left * 3..][..inside * 3]);
        for _ in inside..tile.width {
            pixels.extend_from_slice(&line[(width - 1) * 3..]);
        }
    }
    pixels
}

const _: () = assert!(TILE_SIDE.is_multiple_of(GRAIN) && GRAIN.is_multiple_of(CELL));

#[cfg(test)]
#[path = "extract_tests.rs"]
mod tests;
