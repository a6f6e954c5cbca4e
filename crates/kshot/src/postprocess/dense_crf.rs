//! `dense-crf` and `bilateral`: dense CRF with Gaussian pairwise potentials, and its bilateral kernel alone.
//!
//! Krähenbühl and Koltun, *Efficient Inference in Fully Connected CRFs with Gaussian Edge Potentials*
//! (2011, arXiv 1210.5644): mean-field steps with a kernel of position and colour and one of position
//! alone, Potts' compatibility, kernels normalised symmetrically as in the authors' code. `bilateral`
//! is one pass of the first kernel over the probabilities (joint bilateral upsampling: Kopf et al.
//! 2007). Both filter on the permutohedral lattice (see [`lattice`](crate::postprocess::lattice)).

use image::RgbImage;
use kshot_data::resize::resize;
use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::features::score_map::ScoreMap;
use crate::postprocess::lattice::Lattice;

/// Longer side of the picture as it is worked on, at most: bounds memory.
const SIDE: usize = 1_536;
/// Probabilities are held away from 0, whose logarithm is none.
const LEAST: f32 = 1e-5;

/// The kernels of the random field; the defaults are those the authors' example uses.
#[derive(
    Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(default, deny_unknown_fields)]
pub struct DenseCrf {
    /// Mean-field steps.
    #[schemars(range(min = 0, max = 100))]
    pub steps: usize,
    /// Standard deviation of the colour kernel in position, in pixels of the picture.
    #[schemars(range(min = 0.1, max = 10_000.0))]
    pub position: f32,
    /// Its standard deviation in colour, in levels of 0 to 255.
    #[schemars(range(min = 0.1, max = 10_000.0))]
    pub colour: f32,
    /// Its weight.
    #[schemars(range(min = 0.0, max = 1000.0))]
    pub weight: f32,
    /// Standard deviation of the kernel of position alone, in pixels.
    #[schemars(range(min = 0.1, max = 10_000.0))]
    pub near: f32,
    /// Its weight; 0 leaves it out.
    #[schemars(range(min = 0.0, max = 1000.0))]
    pub near_weight: f32,
}

impl Default for DenseCrf {
    fn default() -> Self {
        Self { steps: 5, position: 80.0, colour: 13.0, weight: 10.0, near: 3.0, near_weight: 3.0 }
    }
}

/// A kernel over a picture's pixels with its symmetric normalisation.
struct PairwiseKernel {
    lattice: Lattice,
    /// One by the square root of each pixel's sum of weights.
    norm: Vec<f32>,
    weight: f32,
}

impl PairwiseKernel {
    fn new(lattice: Lattice, points: usize, weight: f32) -> Self {
        let norm = lattice
            .filter(&vec![1.0; points])
            .iter()
            .map(|sum| 1.0 / (sum + 1e-20).sqrt())
            .collect();
        Self { lattice, norm, weight }
    }

    /// Adds the weighted message of `plane` to `to`.
    fn tell(&self, plane: &[f32], to: &mut [f32]) {
        let told: Vec<f32> =
            plane.iter().zip(&self.norm).map(|(value, norm)| value * norm).collect();
        for ((to, told), norm) in to.iter_mut().zip(self.lattice.filter(&told)).zip(&self.norm) {
            *to += self.weight * norm * told;
        }
    }
}

/// A picture at the working size, at most [`SIDE`] long, and the probabilities there.
fn working(map: &ScoreMap, picture: &RgbImage) -> Result<(RgbImage, ScoreMap)> {
    let [height, width] = [picture.height(), picture.width()];
    let shrink = (SIDE as f32 / height.max(width) as f32).min(1.0);
    let size = [height, width].map(|length| ((length as f32 * shrink).round() as u32).max(1));
    let seen = resize(picture, size[1], size[0])?;
    let finer =
        map.resampled(size.map(|length| length as usize), [height, width].map(|l| l as usize));
    Ok((seen, finer))
}

fn coloured(picture: &RgbImage, position: f32, colour: f32) -> Lattice {
    let features: Vec<[f32; 5]> = picture
        .enumerate_pixels()
        .map(|(x, y, pixel)| {
            let [red, green, blue] = pixel.0.map(|value| f32::from(value) / colour);
            [x as f32 / position, y as f32 / position, red, green, blue]
        })
        .collect();
    Lattice::new(&features)
}

/// Standard deviations are above 0.
fn check(stds: &[f32], weights: &[f32]) -> Result<()> {
    let long = stds.iter().all(|of| *of > 0.0 && of.is_finite());
    if long && weights.iter().all(|of| of.is_finite()) {
        return Ok(());
    }
    let text = format!(
        "standard deviations {stds:?} and weights {weights:?}: standard deviations are above 0 (pixels, \
         or levels of 0 to 255), weights finite"
    );
    Err(Error::config(text).at_key("predict.refinement"))
}

/// Probabilities at the picture's own size (or its longer side cut to 1536 pixels) after one pass of
/// the kernel of `position` (pixels) and `colour` (levels of 0 to 255).
///
/// # Errors
/// If the picture has no pixels, or a standard deviation is not above 0.
pub fn bilateral(
    map: &ScoreMap,
    picture: &RgbImage,
    position: f32,
    colour: f32,
) -> Result<ScoreMap> {
    check(&[position, colour], &[])?;
    let (seen, mut finer) = working(map, picture)?;
    let area = finer.height * finer.width;
    let lattice = coloured(&seen, position * finer.scale[1], colour);
    let sums = lattice.filter(&vec![1.0; area]);
    finer.data.par_chunks_exact_mut(area).for_each(|plane| {
        let mean = lattice.filter(plane);
        for ((plane, mean), sum) in plane.iter_mut().zip(mean).zip(&sums) {
            *plane = mean / sum.max(f32::MIN_POSITIVE);
        }
    });
    Ok(finer)
}

/// Probabilities at the picture's own size (or its longer side cut to 1536 pixels) after mean-field
/// steps of the random field.
///
/// # Errors
/// If the picture has no pixels, or a standard deviation is not above 0.
pub fn infer(map: &ScoreMap, picture: &RgbImage, field: &DenseCrf) -> Result<ScoreMap> {
    check(&[field.position, field.colour, field.near], &[field.weight, field.near_weight])?;
    let (seen, mut finer) = working(map, picture)?;
    let area = finer.height * finer.width;
    let shrink = finer.scale[1];
    let mut kernels = Vec::new();
    if field.weight != 0.0 {
        let lattice = coloured(&seen, field.position * shrink, field.colour);
        kernels.push(PairwiseKernel::new(lattice, area, field.weight));
    }
    if field.near_weight != 0.0 {
        let near = field.near * shrink;
        let features: Vec<[f32; 2]> =
            seen.enumerate_pixels().map(|(x, y, _)| [x as f32 / near, y as f32 / near]).collect();
        kernels.push(PairwiseKernel::new(Lattice::new(&features), area, field.near_weight));
    }
    let unary: Vec<f32> = finer.data.iter().map(|p| p.max(LEAST).ln()).collect();
    for _ in 0..field.steps {
        let mut next = unary.clone();
        next.par_chunks_exact_mut(area)
            .zip(finer.data.par_chunks_exact(area))
            .for_each(|(next, plane)| kernels.iter().for_each(|kernel| kernel.tell(plane, next)));
        finer.data = next;
        finer.softmax(1.0);
    }
    Ok(finer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    /// A noisy field over two colours; the field's border is three pixels off the colours'.
    fn blurred() -> (ScoreMap, RgbImage) {
        let picture = RgbImage::from_fn(40, 30, |x, y| {
            let noise = ((x * 7 + y * 13) % 5) as u8;
            Rgb(if x < 20 { [40 + noise, 60, 50] } else { [200 - noise, 180, 190] })
        });
        let right: Vec<f32> = (0..30 * 40).map(|at| if at % 40 < 23 { 0.3 } else { 0.8 }).collect();
        let data = right.iter().map(|p| 1.0 - p).chain(right.iter().copied()).collect();
        (ScoreMap { planes: 2, height: 30, width: 40, data, scale: [1.0; 2] }, picture)
    }

    fn wrong(map: &ScoreMap) -> usize {
        (0..1200).filter(|at| (map.plane(1)[*at] > 0.5) != (at % 40 >= 20)).count()
    }

    #[test]
    fn borders_move_to_the_edges() {
        let (map, picture) = blurred();
        assert_eq!(wrong(&map), 90);
        assert_eq!(wrong(&bilateral(&map, &picture, 20.0, 20.0).unwrap()), 0);
        let field = DenseCrf { position: 20.0, colour: 20.0, ..DenseCrf::default() };
        assert_eq!(wrong(&infer(&map, &picture, &field).unwrap()), 0);
    }

    #[test]
    fn a_kernel_of_no_width_is_refused() {
        let (map, picture) = blurred();
        let flat = DenseCrf { colour: 0.0, ..DenseCrf::default() };
        assert!(infer(&map, &picture, &flat).is_err());
        assert!(bilateral(&map, &picture, f32::NAN, 3.0).is_err());
    }

    #[test]
    fn no_kernel_changes_nothing() {
        let (map, picture) = blurred();
        let field = DenseCrf { weight: 0.0, near_weight: 0.0, ..DenseCrf::default() };
        let same = infer(&map, &picture, &field).unwrap();
        for (ours, given) in same.data.iter().zip(&map.data) {
            assert!((ours - given).abs() < 1e-5);
        }
    }
}
