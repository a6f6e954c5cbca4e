//! `local`: a small classifier of pixels for each picture, trained on the pixels where the head is sure.
//!
//! The head's cells are coarse and see far; within one picture colour and brightness mostly tell the
//! classes apart once it is known where some of each are. Per class a logistic regression on the
//! picture's own filters (see [`bank`](crate::features::filter_bank)) learns the head's sure pixels, and both logits are
//! averaged. No other picture is used.

use image::RgbImage;
use kshot_data::resize::resize;
use nalgebra::{DMatrix, DVector};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::error::Result;
use crate::features::filter_bank::{CHANNELS, PyramidLevel};
use crate::features::score_map::{BilinearResize, ScoreMap};

/// Pixels whose best probability passes are sure.
const SURE: f32 = 0.8;
/// Sure pixels that are learned from, at most.
const PIXELS: usize = 4_000;
/// Of a class and of all others, at least: with fewer the head is left alone.
const LEAST: usize = 20;
/// Logits are cut here before they are averaged.
const LARGEST: f32 = 6.0;
/// Longer side of the picture as it is worked on, at most: bounds memory.
const SIDE: usize = 1_536;
/// Newton's steps.
const STEPS: usize = 12;

/// Probabilities at the picture's own size (or its longer side cut to 1536 pixels) from coarser ones.
///
/// # Errors
/// If the picture has no pixels.
pub fn sharpen(map: &ScoreMap, picture: &RgbImage) -> Result<ScoreMap> {
    let full = [picture.height() as usize, picture.width() as usize];
    let shrink = (SIDE as f32 / full[0].max(full[1]) as f32).min(1.0);
    let [height, width] = full.map(|length| ((length as f32 * shrink).round() as usize).max(1));
    let seen = resize(picture, width as u32, height as u32)?;
    let scale = [height as f32 / full[0] as f32, width as f32 / full[1] as f32];
    let area = height * width;
    let mut data = map.resampled([height, width], full).data;
    let sure: Vec<(usize, usize)> = (0..area)
        .filter_map(|at| {
            let best = (0..map.planes)
                .max_by(|&a, &b| data[a * area + at].total_cmp(&data[b * area + at]))?;
            (data[best * area + at] > SURE).then_some((at, best))
        })
        .collect();
    let mut random = ChaCha8Rng::seed_from_u64(0);
    let chosen = rand::seq::index::sample(&mut random, sure.len(), sure.len().min(PIXELS));
    let samples: Vec<(usize, usize)> = chosen.into_iter().map(|index| sure[index]).collect();
    let finished = |data| ScoreMap { planes: map.planes, height, width, data, scale };
    let mut counts = vec![0usize; map.planes];
    samples.iter().for_each(|(_, plane)| counts[*plane] += 1);
    let trainable = |plane: usize| counts[plane] >= LEAST && samples.len() - counts[plane] >= LEAST;
    if !(0..map.planes).any(trainable) {
        return Ok(finished(data));
    }
    let filters = Filters::of(&seen, &samples);
    let rows = filters.rows(samples.iter().map(|(at, _)| *at));
    data.par_chunks_exact_mut(area).enumerate().for_each(|(plane, values)| {
        let logit = |p: f32| (p / (1.0 - p).max(1e-6)).max(1e-6).ln().clamp(-LARGEST, LARGEST);
        if !trainable(plane) {
            values.iter_mut().for_each(|value| *value = sigmoid(logit(*value)));
            return;
        }
        let labels: Vec<bool> = samples.iter().map(|(_, of)| *of == plane).collect();
        let weight = logistic_regression(&rows, &labels);
        let local = filters.linear(&weight);
        for (value, local) in values.iter_mut().zip(local) {
            *value = sigmoid(f32::midpoint(logit(*value), local.clamp(-LARGEST, LARGEST)));
        }
    });
    for at in 0..area {
        let sum: f32 = (0..map.planes).map(|plane| data[plane * area + at]).sum();
        (0..map.planes).for_each(|plane| data[plane * area + at] /= sum.max(f32::MIN_POSITIVE));
    }
    Ok(finished(data))
}

fn sigmoid(logit: f32) -> f32 {
    1.0 / (1.0 + (-logit).exp())
}

/// The picture's filters at its own and at half its size, standardised by the samples.
struct Filters {
    area: usize,
    /// `[channels, area]`.
    planes: Vec<f32>,
}

impl Filters {
    fn of(picture: &RgbImage, samples: &[(usize, usize)]) -> Self {
        let (height, width) = (picture.height() as usize, picture.width() as usize);
        let area = height * width;
        let fine = PyramidLevel::new(picture.as_raw(), height, width);
        let coarse = fine.halved();
        let mut planes = fine.filters();
        planes.extend_from_slice(&fine.colours);
        let start = planes.len();
        planes.resize(start + CHANNELS * area, 0.0);
        let up = BilinearResize::new([coarse.height, coarse.width], [height, width]);
        planes[start..]
            .par_chunks_exact_mut(area)
            .zip(coarse.filters().par_chunks_exact(coarse.height * coarse.width))
            .for_each(|(out, plane)| up.add(plane, out));
        planes.par_chunks_exact_mut(area).for_each(|plane| {
            let count = samples.len() as f32;
            let mean = samples.iter().map(|(at, _)| plane[*at]).sum::<f32>() / count;
            let square = samples.iter().map(|(at, _)| (plane[*at] - mean).powi(2)).sum::<f32>();
            let std = (square / count).sqrt() + 1e-3;
            plane.iter_mut().for_each(|value| *value = (*value - mean) / std);
        });
        Self { area, planes }
    }

    /// The filters of some pixels and a constant 1, a row each.
    fn rows(&self, pixels: impl ExactSizeIterator<Item = usize>) -> DMatrix<f64> {
        let columns = self.planes.len() / self.area;
        let count = pixels.len();
        let values = pixels.flat_map(|at| {
            let own = (0..columns).map(move |c| f64::from(self.planes[c * self.area + at]));
            own.chain([1.0])
        });
        DMatrix::from_row_iterator(count, columns + 1, values)
    }

    /// A linear function of every pixel's filters.
    fn linear(&self, weight: &DVector<f64>) -> Vec<f32> {
        let constant = weight[weight.len() - 1] as f32;
        let mut sum = vec![constant; self.area];
        for (plane, weight) in self.planes.chunks_exact(self.area).zip(weight.iter()) {
            let weight = *weight as f32;
            sum.iter_mut().zip(plane).for_each(|(sum, value)| *sum += weight * value);
        }
        sum
    }
}

/// The weights (the constant last) of least logistic loss plus half their squared length, by Newton's
/// method; a step that does not lower the loss is halved.
fn logistic_regression(rows: &DMatrix<f64>, labels: &[bool]) -> DVector<f64> {
    let columns = rows.ncols();
    let signs: Vec<f64> = labels.iter().map(|&label| if label { 1.0 } else { -1.0 }).collect();
    let penalty = |column: usize| if column + 1 == columns { 1e-6 } else { 1.0 };
    let loss = |weight: &DVector<f64>| {
        let products = rows * weight;
        // log(1 + exp(-m)) without overflow.
        let of = |margin: f64| (-margin.abs()).exp().ln_1p() + (-margin).max(0.0);
        let data: f64 = products.iter().zip(&signs).map(|(p, s)| of(p * s)).sum();
        let prior: f64 = weight.iter().enumerate().map(|(c, w)| penalty(c) * w * w / 2.0).sum();
        data + prior
    };
    let mut weight = DVector::<f64>::zeros(columns);
    let mut now = loss(&weight);
    for _ in 0..STEPS {
        let products = rows * &weight;
        let mut slope = DVector::<f64>::zeros(rows.nrows());
        let mut scaled = rows.clone();
        for (row, (product, sign)) in products.iter().zip(&signs).enumerate() {
            let wrong = 1.0 / (1.0 + (product * sign).exp());
            slope[row] = -sign * wrong;
            scaled.row_mut(row).scale_mut(wrong * (1.0 - wrong));
        }
        let mut gradient = rows.tr_mul(&slope);
        let mut curvature = rows.tr_mul(&scaled);
        for column in 0..columns {
            gradient[column] += penalty(column) * weight[column];
            curvature[(column, column)] += penalty(column);
        }
        let Some(step) = curvature.cholesky().map(|factor| factor.solve(&gradient)) else { break };
        let mut length = 1.0;
        let better = loop {
            let next = &weight - &step * length;
            let then = loss(&next);
            if then < now {
                break Some((next, then));
            }
            length /= 2.0;
            if length < 1e-3 {
                break None;
            }
        };
        let Some((next, then)) = better else { break };
        let gain = now - then;
        (weight, now) = (next, then);
        if gain < 1e-4 * now {
            break;
        }
    }
    weight
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    #[test]
    fn a_coarse_blob_takes_the_shape_of_the_disc_under_it() {
        let inside = |x: u32, y: u32| (x as f32 - 30.0).hypot(y as f32 - 34.0) < 14.0;
        let picture = RgbImage::from_fn(64, 64, |x, y| {
            let noise = ((x * 7 + y * 13) % 11) as u8;
            Rgb([if inside(x, y) { 170 } else { 60 } + noise; 3])
        });
        // Eight cells a side: sure of a square within the disc and of the picture's border.
        let front: Vec<f32> = (0..64)
            .map(|cell| {
                let (x, y) = (cell % 8, cell / 8);
                let border = x == 0 || y == 0 || x == 7 || y == 7;
                if (3..5).contains(&x) && (3..6).contains(&y) {
                    0.97
                } else if border {
                    0.02
                } else {
                    0.4
                }
            })
            .collect();
        let data: Vec<f32> = front.iter().map(|p| 1.0 - p).chain(front.clone()).collect();
        let map = ScoreMap { planes: 2, height: 8, width: 8, data, scale: [0.125; 2] };
        let sharp = sharpen(&map, &picture).unwrap();
        assert_eq!((sharp.height, sharp.width, sharp.scale), (64, 64, [1.0; 2]));
        let wrong = (0..64 * 64u32)
            .filter(|at| (sharp.plane(1)[*at as usize] > 0.5) != inside(at % 64, at / 64))
            .count();
        assert!(wrong < 40, "{wrong} pixels are wrong");
    }

    #[test]
    fn logistic_regression_finds_the_plane_and_stays_finite_where_it_is_exact() {
        let values = (0..200).flat_map(|i| {
            let x = f64::from(i % 20) / 10.0 - 1.0;
            [x, f64::from(i / 20) / 5.0 - 1.0, 1.0]
        });
        let rows = DMatrix::from_row_iterator(200, 3, values);
        let labels: Vec<bool> = (0..200).map(|i| rows[(i, 0)] > 0.2).collect();
        let weight = logistic_regression(&rows, &labels);
        let right = (0..200).filter(|&i| ((rows.row(i) * &weight)[0] > 0.0) == labels[i]).count();
        assert!(right >= 195 && weight.iter().all(|w| w.abs() < 100.0), "{right} {weight}");
        assert!(weight[0] > 5.0 * weight[1].abs());
    }
}
