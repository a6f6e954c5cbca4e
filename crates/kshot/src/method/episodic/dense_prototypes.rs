//! `dense-prototypes`: Prototypical Networks (Snell, Swersky and Zemel 2017, arXiv 1703.05175) for pixels. Labelled pixels
//! are examples, background is a class, and a pixel's logit is minus the squared Euclidean distance of its embedding to
//! the nearest of a class's prototypes.
//!
//! Several prototypes a class by k-means (as Infinite Mixture Prototypes, Allen et al. 2019, arXiv 1902.04552, has them by
//! another clustering), each the mean of its cluster's pixels, through which gradients flow; which pixel is in which
//! cluster is taken as given. The embedding is a learnt projection of the encoder's stages. Not transductive.

use burn::module::Module;
use burn::prelude::*;
use burn::tensor::TensorData;

use super::maps::{LabelledMaps, Maps, cell_shares};
use super::parts::{Embedding, means};
use super::{EpisodeInput, EpisodicConfig, EpisodicHead};
use crate::method::kmeans::kmeans;
use crate::nn::cpu_values;
use crate::nn::weights::plain;

/// Rounds of k-means.
const ROUNDS: usize = 10;
/// Share of a cell from which it counts as a class's when clusters are looked for.
const MOST: f32 = 0.5;

/// How it compares.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DensePrototypesConfig {
    /// Side of the square that pictures are resized to, in pixels.
    #[schemars(range(min = 32, max = 2048))]
    pub size: usize,
    /// How many of the encoder's deepest stages are used.
    #[schemars(range(min = 1, max = 16))]
    pub stages: usize,
    /// Length of a pixel's embedding.
    #[schemars(range(min = 1, max = 4096))]
    pub width: usize,
    /// Prototypes of each class and of the background, at most.
    #[schemars(range(min = 1, max = 64))]
    pub prototypes: usize,
}

impl Default for DensePrototypesConfig {
    fn default() -> Self {
        Self { size: 416, stages: 3, width: 128, prototypes: 3 }
    }
}

impl EpisodicConfig for DensePrototypesConfig {
    type Head = DensePrototypes;
    const NAME: &'static str = "dense-prototypes";
    const SUMMARY: &'static str =
        "Prototypical Networks for pixels: a learnt embedding, several prototypes a class";
    const SOURCE: &'static str = "https://arxiv.org/abs/1703.05175";

    fn input(&self) -> EpisodeInput {
        EpisodeInput { size: self.size, stages: self.stages }
    }

    fn init(&self, channels: &[usize], _: usize, device: &Device) -> DensePrototypes {
        let embedding = Embedding::new(channels, self.width, device);
        DensePrototypes { embedding, prototypes: self.prototypes }
    }
}

/// The embedding.
#[derive(Module, Debug)]
pub struct DensePrototypes {
    embedding: Embedding,
    #[module(skip)]
    prototypes: usize,
}

impl DensePrototypes {
    /// The shares of cells by cluster, `[batch, clusters, rows, columns]`, of one plane's shares `[batch, 1, rows,
    /// columns]`; itself where there is nothing to cluster.
    fn clusters(&self, embedding: &Tensor<4>, shares: Tensor<4>, seed: u64) -> Tensor<4> {
        if self.prototypes == 1 {
            return shares;
        }
        let [batch, width, rows, columns] = embedding.dims();
        let cells = rows * columns;
        let values = plain(embedding.clone());
        // A row a cell.
        let values = cpu_values(values.permute([0, 2, 3, 1]).reshape([batch * cells, width]));
        let share = cpu_values(plain(shares.clone()));
        let held: Vec<usize> = (0..share.len()).filter(|cell| share[*cell] > MOST).collect();
        let row = |cell: usize| &values[cell * width..][..width];
        let of_plane: Vec<f32> = held.iter().flat_map(|cell| row(*cell)).copied().collect();
        let centres = kmeans(&of_plane, width, self.prototypes, ROUNDS, seed);
        let clusters = centres.len() / width;
        if clusters < 2 {
            return shares;
        }
        let mut parts = vec![0.0f32; batch * clusters * cells];
        for (cell, share) in share.iter().enumerate().filter(|(_, share)| **share > 0.0) {
            let apart = |cluster: &usize| -> f32 {
                let centre = &centres[cluster * width..][..width];
                row(cell).iter().zip(centre).map(|(a, b)| (a - b) * (a - b)).sum()
            };
            let nearest = (0..clusters).min_by(|a, b| apart(a).total_cmp(&apart(b))).unwrap_or(0);
            parts[(cell / cells * clusters + nearest) * cells + cell % cells] = *share;
        }
        let data = TensorData::new(parts, [batch, clusters, rows, columns]);
        Tensor::from_data(data, &shares.device())
    }
}

impl EpisodicHead for DensePrototypes {
    /// For background and each class: prototypes `[prototypes, width]`.
    type Task = Vec<Tensor<2>>;

    fn task(&self, support: &LabelledMaps) -> Vec<Tensor<2>> {
        let embedding = self.embedding.forward(&support.maps);
        let [.., rows, columns] = embedding.dims();
        let shares = cell_shares(&support.planes(), [rows, columns]);
        let planes = 0..=support.ways();
        planes
            .map(|plane| {
                let shares = shares.clone().narrow(1, plane, 1);
                means(&embedding, &self.clusters(&embedding, shares, plane as u64))
            })
            .collect()
    }

    fn logits(&self, task: &Vec<Tensor<2>>, query: &Maps, size: [usize; 2]) -> Tensor<4> {
        let embedding = self.embedding.forward(query);
        let [batch, width, rows, columns] = embedding.dims();
        let cells = embedding.reshape([batch, width, rows * columns]);
        // |x - p|^2 without |x|^2, which is the same for all classes.
        let planes = task.iter().map(|prototypes| {
            let products = prototypes.clone().unsqueeze::<3>().matmul(cells.clone());
            let lengths = prototypes.clone().square().sum_dim(1).unsqueeze::<3>();
            (products * 2.0 - lengths).max_dim(1)
        });
        let logits = Tensor::cat(planes.collect(), 1);
        let logits = logits.reshape([batch, task.len(), rows, columns]);
        kshot_kernels::bilinear(logits, size, false)
    }
}
