//! How much of a picture each class covers, where the labels do not say: strokes mark small classes
//! more often than their area, and a head fitted to them then finds them too often.
//!
//! The shares are those under which the fitted head explains all cells of the labelled pictures, marked
//! or not, by expectation maximisation (Saerens, Latinne and Decaestecker, Neural Computation 14, 2002).

use crate::method::few_shot::{SegmentationHead, Shot};

/// Rounds: the shares have settled long before.
const ROUNDS: usize = 50;
/// A class is made at most this much more or less frequent.
const LARGEST: f32 = 4.0;

/// By plane, the share among all cells over the share that the head learned from the labelled ones;
/// 1 for planes without a labelled cell.
pub fn ratios(
    head: &dyn SegmentationHead,
    shots: &[Shot],
    planes: usize,
    temperature: f32,
) -> Vec<f32> {
    let mut rows: Vec<f32> = Vec::new();
    let mut learned = vec![0.0f64; planes];
    let mut seen = vec![false; planes];
    for shot in shots {
        for (tile, labels) in shot.tiles.iter().zip(&shot.labels) {
            let scores = head.scores(tile);
            let cells = labels.labels.len();
            for (cell, label) in labels.labels.iter().enumerate() {
                let row = softmax((0..planes).map(|p| scores[p * cells + cell] / temperature));
                if let Some(class) = label {
                    seen[usize::from(*class)] = true;
                    learned.iter_mut().zip(&row).for_each(|(sum, p)| *sum += f64::from(*p));
                }
                rows.extend(row);
            }
        }
    }
    normalise(&mut learned);
    let mut shares = learned.clone();
    for _ in 0..ROUNDS {
        let mut next = vec![0.0f64; planes];
        for row in rows.chunks_exact(planes) {
            let weight =
                |plane: usize| f64::from(row[plane]) * shares[plane] / learned[plane].max(1e-12);
            let sum: f64 = (0..planes).map(weight).sum();
            for (plane, next) in next.iter_mut().enumerate() {
                *next += weight(plane) / sum.max(1e-12);
            }
        }
        normalise(&mut next);
        shares = next;
    }
    let ratio = |plane: usize| {
        let ratio = (shares[plane] / learned[plane].max(1e-12)) as f32;
        if seen[plane] { ratio.clamp(1.0 / LARGEST, LARGEST) } else { 1.0 }
    };
    (0..planes).map(ratio).collect()
}

fn softmax(logits: impl Iterator<Item = f32> + Clone) -> Vec<f32> {
    let largest = logits.clone().fold(f32::NEG_INFINITY, f32::max);
    let mut row: Vec<f32> = logits.map(|logit| (logit - largest).exp()).collect();
    let sum: f32 = row.iter().sum();
    row.iter_mut().for_each(|value| *value /= sum);
    row
}

fn normalise(values: &mut [f64]) {
    let sum: f64 = values.iter().sum();
    values.iter_mut().for_each(|value| *value /= sum.max(1e-12));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Device;
    use crate::features::extract::{StageMap, TileFeatures};
    use crate::features::tile::Tile;
    use crate::method::few_shot::CellLabels;
    use burn::tensor::{Tensor, TensorData};

    /// Reads the logit of class 1 straight off the only feature.
    struct Straight;

    impl SegmentationHead for Straight {
        fn scores(&self, tile: &TileFeatures) -> Vec<f32> {
            tile.linear(&[0.0, 1.0], &[0.0, 0.0])
        }
    }

    #[test]
    fn a_class_marked_too_often_becomes_rarer() {
        let (height, width) = (10, 10);
        // One cell in ten is of class 1, but as many strokes as of background mark it.
        let class = |cell: usize| u8::from(usize::is_multiple_of(cell, 10));
        let logits: Vec<f32> = (0..100).map(|c| if class(c) == 1 { 3.0 } else { -3.0 }).collect();
        let labels = (0..100)
            .map(|cell| (class(cell) == 1 || cell % 10 == 5).then(|| class(cell)))
            .collect();
        let data = TensorData::new(logits, [1, 100]);
        let values = Tensor::from_data(data, &Device::flex());
        let stage = StageMap { channels: 1, height, width, values };
        let tile = Tile { top: 0, left: 0, height: height * 4, width: width * 4 };
        let shot = Shot::new(
            vec![TileFeatures { tile, cell: 4, stages: vec![stage] }],
            vec![CellLabels { labels, shares: vec![1.0; 100] }],
        );
        let ratios = ratios(&Straight, &[shot], 2, 1.0);
        assert!(ratios[1] < 0.4 && ratios[0] > 1.4, "{ratios:?}");
    }
}
