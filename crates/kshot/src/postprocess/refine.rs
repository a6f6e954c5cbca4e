//! From coarse probabilities to a label for every pixel, along the picture's own edges.
//!
//! The fast guided filter (He and Sun, 2015, arXiv 1505.00996) with a colour guide: on the coarse
//! grid each window explains the probability as a linear function of colour; the function's
//! coefficients, not the probability, are upsampled, and meet the full picture's colours there.
//! Linear in the number of pixels, and only the coarse grid is kept in memory.

use image::RgbImage;
use kshot_data::mask::{BACKGROUND, Mask};
use rayon::prelude::*;

use crate::error::Result;
use crate::features::score_map::{ScoreMap, bilinear, box_mean, taps};
use crate::postprocess::dense_crf::{self, DenseCrf};
use crate::postprocess::local;

/// How coarse probabilities become pixels.
#[derive(
    Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Refinement {
    /// What suits the labelled pictures: tried on held-out labels where all pixels are labelled, else a dense CRF.
    Auto,
    /// Bilinear upsampling.
    None,
    /// The fast guided filter.
    Guided {
        /// Half the window, in cells of the coarse grid.
        #[schemars(range(min = 1, max = 64), example = 2)]
        radius: usize,
        /// Variance of colour (0..1 squared) below which a window counts as flat.
        #[schemars(range(min = 1e-6, max = 100.0), example = 1e-3)]
        epsilon: f32,
    },
    /// A classifier of pixels for each picture (see [`local`]).
    Local,
    /// Joint bilateral filtering.
    Bilateral {
        /// Standard deviation in position, in pixels of the picture.
        #[schemars(range(min = 0.1, max = 10_000.0), example = 8.0)]
        position: f32,
        /// Standard deviation in colour, in levels of 0 to 255.
        #[schemars(range(min = 0.1, max = 10_000.0), example = 13.0)]
        colour: f32,
    },
    /// A fully connected conditional random field (see [`dense_crf`]).
    DenseCrf(DenseCrf),
}

impl Refinement {
    /// The guided filter as it is used where nothing else is asked for.
    pub const GUIDED: Self = Self::Guided { radius: 2, epsilon: 1e-3 };
}

/// A label and a confidence for every pixel.
#[derive(Debug, Clone)]
pub struct Labelling {
    /// The most probable class of each pixel.
    pub mask: Mask,
    /// Its probability, 0 to 255 for 0 to 1.
    pub confidence: Vec<u8>,
    /// By how much it surpasses the next most probable class's, 0 to 255 for 0 to 1.
    pub margin: Vec<u8>,
}

/// Planes whose probability never reaches this are skipped: they can win nowhere.
const NEGLIGIBLE: f32 = 0.02;

/// Labels every pixel of `picture` from `probabilities` (softmax already taken).
///
/// # Errors
/// If the picture has no pixels.
pub fn label(
    probabilities: &ScoreMap,
    picture: &RgbImage,
    refinement: Refinement,
) -> Result<Labelling> {
    let sharp = match refinement {
        Refinement::None | Refinement::Guided { .. } => {
            return Ok(painted(probabilities, picture, refinement));
        }
        Refinement::Auto => return Ok(painted(probabilities, picture, Refinement::GUIDED)),
        Refinement::Local => local::sharpen(probabilities, picture)?,
        Refinement::Bilateral { position, colour } => {
            dense_crf::bilateral(probabilities, picture, position, colour)?
        }
        Refinement::DenseCrf(field) => {
            let sharp = dense_crf::infer(probabilities, picture, &field)?;
            let mut labelling = finest(&sharp, picture);
            // Mean-field marginals are all but 0 and 1; with what the head believes they say more.
            let believed = believed(probabilities, &labelling.mask);
            let both = labelling.confidence.iter_mut().zip(&mut labelling.margin);
            for ((confidence, margin), believed) in both.zip(believed) {
                *confidence = confidence.midpoint(believed);
                // The others have the rest at most.
                *margin = margin.midpoint(believed.saturating_sub(u8::MAX - believed));
            }
            return Ok(labelling);
        }
    };
    Ok(finest(&sharp, picture))
}

/// Labels of a map of the picture's own size, or nearly.
fn finest(sharp: &ScoreMap, picture: &RgbImage) -> Labelling {
    let whole = sharp.scale == [1.0; 2];
    let rest = if whole { Refinement::None } else { Refinement::GUIDED };
    painted(sharp, picture, rest)
}

/// What the head itself believes of each pixel's label, 0 to 255.
fn believed(map: &ScoreMap, mask: &Mask) -> Vec<u8> {
    let rows = taps(mask.height, map.height, map.scale[0]);
    let columns = taps(mask.width, map.width, map.scale[1]);
    let mut confidence = vec![0u8; mask.pixels.len()];
    confidence
        .par_chunks_exact_mut(mask.width)
        .zip(mask.pixels.par_chunks_exact(mask.width))
        .zip(rows)
        .for_each(|((confidence, labels), row)| {
            for ((confidence, label), &column) in confidence.iter_mut().zip(labels).zip(&columns) {
                let plane = map.plane(usize::from(*label));
                let believed = bilinear(plane, map.width, [row, column]);
                *confidence = (believed * 255.0 + 0.5) as u8;
            }
        });
    confidence
}

fn painted(probabilities: &ScoreMap, picture: &RgbImage, refinement: Refinement) -> Labelling {
    let candidates: Vec<usize> = (0..probabilities.planes)
        .filter(|&plane| {
            plane == usize::from(BACKGROUND)
                || probabilities.plane(plane).iter().any(|&p| p > NEGLIGIBLE)
        })
        .collect();
    if let Refinement::Guided { radius, epsilon } = refinement {
        let guide = coarse_guide(probabilities, picture);
        let planes = coefficients(probabilities, &candidates, guide, radius, epsilon);
        return paint(probabilities, picture, &candidates, &planes, 4);
    }
    let planes: Vec<f32> =
        candidates.iter().flat_map(|&plane| probabilities.plane(plane)).copied().collect();
    paint(probabilities, picture, &candidates, &planes, 1)
}

/// Probabilities at some pixels of a picture (places row by row), `[pixels.len(), planes]`, upsampled plainly or by the
/// guided filter: before the clamping to 0..1, linear in `probabilities`.
pub fn probabilities_at(
    probabilities: &ScoreMap,
    picture: &RgbImage,
    refinement: Refinement,
    pixels: &[usize],
) -> Vec<f32> {
    let planes: Vec<usize> = (0..probabilities.planes).collect();
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let (terms, values) = match refinement {
        Refinement::Guided { radius, epsilon } => {
            let guide = coarse_guide(probabilities, picture);
            (4, coefficients(probabilities, &planes, guide, radius, epsilon))
        }
        _ => (1, probabilities.data.clone()),
    };
    let rows = taps(height, probabilities.height, probabilities.scale[0]);
    let columns = taps(width, probabilities.width, probabilities.scale[1]);
    let cells = probabilities.height * probabilities.width;
    let mut found = vec![0.0f32; pixels.len() * planes.len()];
    found.par_chunks_exact_mut(planes.len()).zip(pixels).for_each(|(found, &place)| {
        let (row, column) = (rows[place / width], columns[place % width]);
        let pixel = &picture.as_raw()[3 * place..][..3];
        let colour = |term: usize| if term == 3 { 1.0 } else { f32::from(pixel[term]) / 255.0 };
        for (plane, found) in found.iter_mut().enumerate() {
            let at = |term: usize| {
                let map = &values[(plane * terms + term) * cells..][..cells];
                bilinear(map, probabilities.width, [row, column])
            };
            let value =
                if terms == 1 { at(0) } else { (0..4).map(|term| at(term) * colour(term)).sum() };
            *found = value.clamp(0.0, 1.0);
        }
        let sum: f32 = found.iter().sum();
        found.iter_mut().for_each(|value| *value /= sum.max(1e-6));
    });
    found
}

/// The picture's mean colour in each cell, `[3, height, width]`, 0 to 1.
fn coarse_guide(map: &ScoreMap, picture: &RgbImage) -> Vec<f32> {
    let (height, width) = (map.height, map.width);
    let (picture_width, picture_height) = (picture.width() as usize, picture.height() as usize);
    let span = |cell: usize, scale: f32, size: usize| {
        let start = ((cell as f32 / scale).round() as usize).min(size - 1);
        let end = (((cell + 1) as f32 / scale).round() as usize).clamp(start + 1, size);
        start..end
    };
    let columns: Vec<_> = (0..width).map(|x| span(x, map.scale[1], picture_width)).collect();
    let pixels = picture.as_raw();
    let mut guide = vec![0.0f32; 3 * height * width];
    let rows: Vec<Vec<[f32; 3]>> = (0..height)
        .into_par_iter()
        .map(|y| {
            let lines = span(y, map.scale[0], picture_height);
            columns
                .iter()
                .map(|columns| {
                    let mut sum = [0u64; 3];
                    for line in lines.clone() {
                        let start = (line * picture_width + columns.start) * 3;
                        let end = (line * picture_width + columns.end) * 3;
                        for pixel in pixels[start..end].chunks_exact(3) {
                            for (sum, value) in sum.iter_mut().zip(pixel) {
                                *sum += u64::from(*value);
                            }
                        }
                    }
                    let count = (lines.len() * columns.len()) as f32 * 255.0;
                    sum.map(|sum| sum as f32 / count)
                })
                .collect()
        })
        .collect();
    for (y, row) in rows.iter().enumerate() {
        for (x, colour) in row.iter().enumerate() {
            for (channel, value) in colour.iter().enumerate() {
                guide[(channel * height + y) * width + x] = *value;
            }
        }
    }
    guide
}

/// For each candidate plane the smoothed coefficients `[red, green, blue, constant]`.
fn coefficients(
    map: &ScoreMap,
    candidates: &[usize],
    guide: Vec<f32>,
    radius: usize,
    epsilon: f32,
) -> Vec<f32> {
    let (height, width) = (map.height, map.width);
    let cells = height * width;
    let channel = |index: usize| &guide[index * cells..][..cells];
    const PAIRS: [(usize, usize); 6] = [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)];
    let mut mean = guide.clone();
    box_mean(&mut mean, height, width, radius);
    let mut covariance: Vec<f32> = PAIRS
        .iter()
        .flat_map(|&(i, j)| channel(i).iter().zip(channel(j)).map(|(a, b)| a * b))
        .collect();
    box_mean(&mut covariance, height, width, radius);
    for (pair, &(i, j)) in PAIRS.iter().enumerate() {
        for cell in 0..cells {
            covariance[pair * cells + cell] -= mean[i * cells + cell] * mean[j * cells + cell];
        }
    }
    // The inverse of (covariance + epsilon), symmetric, by cofactors: it is the same for all planes.
    for cell in 0..cells {
        let at = |pair: usize| covariance[pair * cells + cell];
        let (xx, xy, xz) = (at(0) + epsilon, at(1), at(2));
        let (yy, yz, zz) = (at(3) + epsilon, at(4), at(5) + epsilon);
        let cofactors = [
            yy * zz - yz * yz,
            xz * yz - xy * zz,
            xy * yz - xz * yy,
            xx * zz - xz * xz,
            xy * xz - xx * yz,
            xx * yy - xy * xy,
        ];
        let determinant = xx * cofactors[0] + xy * cofactors[1] + xz * cofactors[2];
        for (pair, cofactor) in cofactors.iter().enumerate() {
            covariance[pair * cells + cell] = cofactor / determinant;
        }
    }
    let inverse = covariance;
    const ROWS: [[usize; 3]; 3] = [[0, 1, 2], [1, 3, 4], [2, 4, 5]];
    let mut planes = vec![0.0f32; candidates.len() * 4 * cells];
    for (&candidate, plane) in candidates.iter().zip(planes.chunks_exact_mut(4 * cells)) {
        let probability = map.plane(candidate);
        for index in 0..3 {
            let products = plane[index * cells..][..cells].iter_mut();
            for ((out, guide), p) in products.zip(channel(index)).zip(probability) {
                *out = guide * p;
            }
        }
        plane[3 * cells..].copy_from_slice(probability);
        box_mean(plane, height, width, radius);
        for cell in 0..cells {
            let mean_p = plane[3 * cells + cell];
            let shared: [f32; 3] = std::array::from_fn(|index| {
                plane[index * cells + cell] - mean[index * cells + cell] * mean_p
            });
            let mut constant = mean_p;
            for (row, pairs) in ROWS.iter().enumerate() {
                let slope: f32 =
                    pairs.iter().zip(&shared).map(|(&p, s)| inverse[p * cells + cell] * s).sum();
                constant -= slope * mean[row * cells + cell];
                plane[row * cells + cell] = slope;
            }
            plane[3 * cells + cell] = constant;
        }
        box_mean(plane, height, width, radius);
    }
    planes
}

/// Evaluates the planes at every pixel and keeps the best: `terms` is 1 (a value) or 4 (a linear
/// function of colour) per candidate.
fn paint(
    map: &ScoreMap,
    picture: &RgbImage,
    candidates: &[usize],
    planes: &[f32],
    terms: usize,
) -> Labelling {
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let cells = map.height * map.width;
    let rows = taps(height, map.height, map.scale[0]);
    let columns = taps(width, map.width, map.scale[1]);
    let mut mask = Mask::filled(width, height, BACKGROUND);
    let mut confidence = vec![0u8; width * height];
    let mut margin = vec![0u8; width * height];
    let maps = planes.len() / cells;
    mask.pixels
        .par_chunks_exact_mut(width)
        .zip(confidence.par_chunks_exact_mut(width))
        .zip(margin.par_chunks_exact_mut(width))
        .zip(picture.as_raw().par_chunks_exact(3 * width))
        .zip(rows)
        .for_each_init(
            // The grid's line at this row's height, cell by cell: [map.width, maps].
            || vec![0.0f32; maps * map.width],
            |line, ((((mask, confidence), margin), pixels), row)| {
                for (index, plane) in planes.chunks_exact(cells).enumerate() {
                    let low = &plane[row.low * map.width..][..map.width];
                    let high = &plane[row.high * map.width..][..map.width];
                    for (x, (low, high)) in low.iter().zip(high).enumerate() {
                        line[x * maps + index] = low + (high - low) * row.weight;
                    }
                }
                for (x, tap) in columns.iter().enumerate() {
                    let low = &line[tap.low * maps..][..maps];
                    let high = &line[tap.high * maps..][..maps];
                    let colour: [f32; 3] =
                        std::array::from_fn(|i| f32::from(pixels[3 * x + i]) / 255.0);
                    let (mut best, mut best_value, mut sum) = (0, f32::NEG_INFINITY, 0.0);
                    let mut second = 0.0f32;
                    for (index, (low, high)) in
                        low.chunks_exact(terms).zip(high.chunks_exact(terms)).enumerate()
                    {
                        let at = |i: usize| low[i] + (high[i] - low[i]) * tap.weight;
                        let value = if terms == 1 {
                            at(0)
                        } else {
                            at(0) * colour[0] + at(1) * colour[1] + at(2) * colour[2] + at(3)
                        };
                        let value = value.clamp(0.0, 1.0);
                        sum += value;
                        if value > best_value {
                            second = second.max(best_value);
                            (best, best_value) = (index, value);
                        } else {
                            second = second.max(value);
                        }
                    }
                    mask[x] = candidates[best] as u8;
                    let share = 255.0 / sum.max(1e-6);
                    confidence[x] = (best_value * share + 0.5) as u8;
                    margin[x] = ((best_value - second) * share + 0.5) as u8;
                }
            },
        );
    Labelling { mask, confidence, margin }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    fn half_and_half() -> (ScoreMap, RgbImage) {
        // The picture's edge is at x = 18; the coarse map's, blurred, about x = 16.
        let picture = RgbImage::from_fn(32, 32, |x, _| Rgb([if x < 18 { 20 } else { 220 }; 3]));
        let row = [0.05, 0.05, 0.1, 0.3, 0.7, 0.9, 0.95, 0.95];
        let foreground: Vec<f32> = (0..64).map(|cell| row[cell % 8]).collect();
        let data = foreground.iter().map(|p| 1.0 - p).chain(foreground.iter().copied()).collect();
        let map = ScoreMap { planes: 2, height: 8, width: 8, data, scale: [0.25, 0.25] };
        (map, picture)
    }

    #[test]
    fn the_guided_filter_moves_the_border_to_the_edge() {
        let (map, picture) = half_and_half();
        let wrong = |refinement| {
            let labelling = label(&map, &picture, refinement).unwrap();
            (0..32 * 32).filter(|i| labelling.mask.pixels[*i] != u8::from(i % 32 >= 18)).count()
        };
        assert!(wrong(Refinement::None) >= 32);
        assert_eq!(wrong(Refinement::Guided { radius: 2, epsilon: 1e-3 }), 0);
    }

    #[test]
    fn a_flat_picture_keeps_the_probabilities() {
        let (map, _) = half_and_half();
        let flat = RgbImage::from_pixel(32, 32, Rgb([90; 3]));
        let labelling = label(&map, &flat, Refinement::Guided { radius: 1, epsilon: 1e-3 });
        let labelling = labelling.unwrap();
        assert_eq!(labelling.mask.at(0, 0), 0);
        assert_eq!(labelling.mask.at(31, 31), 1);
        assert!(labelling.confidence[0] > 230);
        for (&confidence, &margin) in labelling.confidence.iter().zip(&labelling.margin) {
            // Of two classes: the one's share less the other's.
            let rest = confidence.abs_diff(u8::MAX - confidence);
            assert!(margin.abs_diff(rest) <= 1, "{confidence} {margin}");
        }
    }
}
