//! `prototype`: masked average pooling and cosine similarity, after PANet (Wang et al., ICCV 2019,
//! arXiv 1908.06391).
//!
//! Late fusion: features are upsampled to the mask, averaged under it, the averages of the shots
//! are averaged, and a query pixel takes the class of the prototype that it is most like, the cosine
//! times 20 being the logit. One background prototype for all shots and ways. Deviations: the
//! features are several stages, each of unit length and weighted, instead of VGG's last; each class
//! may have several prototypes, by k-means over its cells.

use crate::error::{Error, Result};
use crate::features::extract::{StageMap, TileFeatures};
use crate::method::few_shot::samples::gather;
use crate::method::few_shot::{SegmentationHead, SegmentationMethod, Shot};
use crate::method::kmeans::kmeans;

/// How prototypes are made.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PrototypeConfig {
    /// Prototypes a class, background included; 1 is PANet's.
    #[schemars(range(min = 1, max = 1000))]
    pub per_class: usize,
    /// How many of the deepest stages are used.
    #[schemars(range(min = 1, max = 16))]
    pub stages: usize,
    /// The logit of a cosine of 1.
    #[schemars(extend("exclusiveMinimum" = 0.0), range(max = 1000.0))]
    pub scale: f32,
}

impl Default for PrototypeConfig {
    fn default() -> Self {
        Self { per_class: 1, stages: 2, scale: 20.0 }
    }
}

/// Cells a picture that k-means looks at.
const CELLS: usize = 4_000;

impl PrototypeConfig {
    /// The deepest stages, each pixel of unit length in each.
    fn embed(&self, tile: &TileFeatures) -> TileFeatures {
        let skipped = tile.stages.len().saturating_sub(self.stages);
        let stages = tile.stages[skipped..]
            .iter()
            .map(|stage| {
                let norm = stage.values.clone().square().sum_dim(0).sqrt().clamp_min(1e-6);
                StageMap { values: stage.values.clone() / norm, ..*stage }
            })
            .collect();
        TileFeatures { stages, ..*tile }
    }
}

impl SegmentationMethod for PrototypeConfig {
    fn name(&self) -> &'static str {
        "prototype"
    }

    fn boxed(&self) -> Box<dyn SegmentationMethod> {
        Box::new(self.clone())
    }

    fn fit(&self, shots: &[&Shot], planes: usize, seed: u64) -> Result<Box<dyn SegmentationHead>> {
        let shots: Vec<Shot> = shots
            .iter()
            .map(|shot| {
                let tiles = shot.tiles.iter().map(|tile| self.embed(tile)).collect();
                Shot::new(tiles, shot.labels.clone())
            })
            .collect();
        let mut prototypes = if self.per_class == 1 {
            mean_prototypes(&shots, planes)
        } else {
            let samples = gather(&shots.iter().collect::<Vec<_>>(), CELLS, seed)?;
            let width = samples.width;
            (0..planes)
                .map(|plane| {
                    let rows: Vec<f32> = (0..samples.labels.len())
                        .filter(|&index| usize::from(samples.labels[index]) == plane)
                        .flat_map(|index| samples.row(index))
                        .copied()
                        .collect();
                    kmeans(&rows, width, self.per_class, 20, seed)
                })
                .collect()
        };
        if prototypes.iter().all(Vec::is_empty) {
            return Err(Error::data(
                "no pixel of the labelled pictures holds a class or background: label at least \
                 one stroke of each",
            ));
        }
        let width = prototypes.iter().map(Vec::len).filter(|len| *len > 0).min().unwrap_or(1);
        let width = if self.per_class == 1 { width } else { stage_channels(&shots) };
        let stages = self.stages.min(shots[0].tiles[0].stages.len()) as f32;
        let mut owners = Vec::new();
        let mut weight = Vec::new();
        for (plane, rows) in prototypes.iter_mut().enumerate() {
            for row in rows.chunks_exact_mut(width) {
                let norm = row.iter().map(|v| v * v).sum::<f32>().sqrt().max(1e-6);
                // A pixel of unit length in every stage has length sqrt(stages).
                weight.extend(row.iter().map(|value| value / norm / stages.sqrt() * self.scale));
                owners.push(plane);
            }
        }
        Ok(Box::new(PrototypeHead { method: self.clone(), weight, owners, planes, width }))
    }
}

fn stage_channels(shots: &[Shot]) -> usize {
    shots[0].tiles[0].stages.iter().map(|stage| stage.channels).sum()
}

/// One prototype a plane: the mean over shots of each shot's masked average.
fn mean_prototypes(shots: &[Shot], planes: usize) -> Vec<Vec<f32>> {
    let width = stage_channels(shots);
    let mut prototypes = vec![Vec::new(); planes];
    for shot in shots {
        let mut sums = vec![vec![0.0f32; width]; planes];
        let mut totals = vec![0.0f32; planes];
        for (tile, labels) in shot.tiles.iter().zip(&shot.labels) {
            let cells: Vec<usize> =
                (0..labels.labels.len()).filter(|&cell| labels.labels[cell].is_some()).collect();
            let rows = tile.rows(&cells);
            for (row, &cell) in rows.chunks_exact(width).zip(&cells) {
                let Some(class) = labels.labels[cell] else { continue };
                let share = labels.shares[cell];
                totals[usize::from(class)] += share;
                for (sum, value) in sums[usize::from(class)].iter_mut().zip(row) {
                    *sum += share * value;
                }
            }
        }
        for ((prototype, sum), total) in prototypes.iter_mut().zip(sums).zip(totals) {
            if total > 0.0 {
                prototype.resize(width, 0.0);
                for (prototype, sum) in prototype.iter_mut().zip(sum) {
                    *prototype += sum / total;
                }
            }
        }
    }
    prototypes
}

struct PrototypeHead {
    method: PrototypeConfig,
    /// `[prototypes, width]`, scaled so that a dot product is a logit.
    weight: Vec<f32>,
    /// The plane of each prototype.
    owners: Vec<usize>,
    planes: usize,
    width: usize,
}

/// The logit of a plane without any prototype: below every cosine.
const ABSENT: f32 = -1e4;

impl SegmentationHead for PrototypeHead {
    fn scores(&self, tile: &TileFeatures) -> Vec<f32> {
        debug_assert_eq!(self.weight.len(), self.owners.len() * self.width);
        let similarity =
            self.method.embed(tile).linear(&self.weight, &vec![0.0; self.owners.len()]);
        let [height, width] = tile.grid();
        let cells = height * width;
        let mut scores = vec![ABSENT; self.planes * cells];
        for (similarity, &plane) in similarity.chunks_exact(cells).zip(&self.owners) {
            let out = &mut scores[plane * cells..][..cells];
            out.iter_mut().zip(similarity).for_each(|(out, value)| *out = out.max(*value));
        }
        scores
    }
}
