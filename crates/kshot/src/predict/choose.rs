//! Which pictures to label: the K that together show most of a folder.
//!
//! Each picture is its frozen features, averaged over the picture; k-means finds K groups, and of each
//! group the picture nearest to its centre is taken. Typical pictures of different groups are what
//! label-poor active learning found to serve best (Hacohen et al., ICML 2022, arXiv 2202.02794).
//! Deviation: k-means alone, without the density estimate within a group.

use image::RgbImage;

use crate::error::{Error, Result};
use crate::method::features::{Extractor, cpu_values};
use crate::method::kmeans::kmeans;

/// Longer side, in pixels, at which pictures are compared.
const SIDE: f32 = 320.0;
/// The last stages are compared: what is shown, not its texture.
const STAGES: usize = 3;
/// Rounds of k-means.
const ROUNDS: usize = 50;

/// What a picture shows: the last stages' mean features, each stage of unit length.
///
/// # Errors
/// If the picture has no pixels.
pub fn embed(extractor: &Extractor, picture: &RgbImage) -> Result<Vec<f32>> {
    let scale = SIDE / picture.width().max(picture.height()).max(1) as f32;
    let working = extractor.prepare(picture, scale)?;
    let mut sums: Vec<Vec<f32>> = Vec::new();
    for &tile in &working.tiles {
        let features = extractor.features(&working, tile);
        let skipped = features.stages.len().saturating_sub(STAGES);
        let stages = &features.stages[skipped..];
        sums.resize(stages.len(), Vec::new());
        for (sum, stage) in sums.iter_mut().zip(stages) {
            sum.resize(stage.channels, 0.0);
            let means = cpu_values(stage.values.clone().mean_dim(1));
            sum.iter_mut().zip(means).for_each(|(sum, mean)| *sum += mean);
        }
    }
    for sum in &mut sums {
        let length = sum.iter().map(|v| v * v).sum::<f32>().sqrt().max(1e-12);
        sum.iter_mut().for_each(|value| *value /= length);
    }
    Ok(sums.concat())
}

/// Indices of `count` pictures to label, in rising order, from what [`embed`] made of all. The same
/// seed chooses the same pictures.
///
/// # Errors
/// If there are fewer pictures than `count`, or `count` is 0.
pub fn choose(embedded: &[Vec<f32>], count: usize, seed: u64) -> Result<Vec<usize>> {
    if count == 0 || count > embedded.len() {
        return Err(Error::config(format!(
            "{count} pictures to choose of {}; give 1 to {}",
            embedded.len(),
            embedded.len()
        )));
    }
    let width = embedded[0].len();
    let centres = kmeans(&embedded.concat(), width, count, ROUNDS, seed);
    let distance =
        |a: &[f32], b: &[f32]| -> f32 { a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum() };
    let mut chosen: Vec<usize> = Vec::with_capacity(count);
    let free = |chosen: &[usize], near: &dyn Fn(usize) -> f32| {
        (0..embedded.len())
            .filter(|index| !chosen.contains(index))
            .min_by(|&a, &b| near(a).total_cmp(&near(b)))
    };
    for centre in centres.chunks_exact(width) {
        chosen.extend(free(&chosen, &|index| distance(&embedded[index], centre)));
    }
    // Fewer groups than asked for, where pictures are alike: the farthest from those chosen follow.
    while chosen.len() < count {
        let farthest = free(&chosen, &|index| {
            -chosen
                .iter()
                .map(|&other| distance(&embedded[index], &embedded[other]))
                .fold(f32::INFINITY, f32::min)
        });
        chosen.extend(farthest);
    }
    chosen.sort_unstable();
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_each_group_is_chosen() {
        let embedded: Vec<Vec<f32>> = (0..30)
            .map(|index| {
                let group = (index / 10) as f32;
                vec![group * 10.0 + (index % 10) as f32 * 0.1, -group * 5.0]
            })
            .collect();
        for seed in 0..5 {
            let chosen = choose(&embedded, 3, seed).unwrap();
            let groups: Vec<usize> = chosen.iter().map(|index| index / 10).collect();
            assert_eq!(groups, [0, 1, 2]);
        }
    }

    #[test]
    fn pictures_that_are_alike_still_give_as_many_as_asked() {
        let embedded = vec![vec![1.0, 2.0]; 6];
        assert_eq!(choose(&embedded, 4, 0).unwrap().len(), 4);
        assert!(choose(&embedded, 7, 0).is_err() && choose(&embedded, 0, 0).is_err());
    }
}
