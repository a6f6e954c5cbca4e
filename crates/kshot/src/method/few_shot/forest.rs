//! `forest`: a random forest on the same features, the habit of ilastik's and Weka's users.
//!
//! Trees by the `smartcore` crate (Gini impurity); each sees a bootstrap of the cells and a random
//! part of the features (the random subspace method, Ho 1998, IEEE TPAMI 20(8)), and the leaves'
//! class shares are averaged. Deviation from Breiman's forest: features are drawn per tree, not per
//! split.

use rand::seq::index::sample;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use smartcore::linalg::basic::arrays::Array;
use smartcore::linalg::basic::matrix::DenseMatrix;
use smartcore::tree::decision_tree_classifier::{
    DecisionTreeClassifier, DecisionTreeClassifierParameters,
};

use crate::error::{Error, Result};
use crate::features::extract::TileFeatures;
use crate::method::few_shot::samples::{Samples, gather};
use crate::method::few_shot::{SegmentationHead, SegmentationMethod, Shot};

type Tree = DecisionTreeClassifier<f32, u32, DenseMatrix<f32>, Vec<u32>>;

/// How a forest is grown.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ForestConfig {
    /// Number of trees.
    #[schemars(range(min = 1, max = 2000))]
    pub trees: usize,
    /// Features a tree sees.
    #[schemars(range(min = 1, max = 4096))]
    pub features: usize,
    /// Cells a tree sees.
    #[schemars(range(min = 2, max = 1_000_000))]
    pub rows: usize,
    /// Deepest level.
    #[schemars(range(min = 1, max = 64))]
    pub depth: u16,
    /// At most this many cells a picture are kept for training.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub cells: usize,
}

impl Default for ForestConfig {
    fn default() -> Self {
        Self { trees: 48, features: 64, rows: 3_000, depth: 14, cells: 6_000 }
    }
}

impl SegmentationMethod for ForestConfig {
    fn name(&self) -> &'static str {
        "forest"
    }

    fn boxed(&self) -> Box<dyn SegmentationMethod> {
        Box::new(self.clone())
    }

    fn fit(&self, shots: &[&Shot], planes: usize, seed: u64) -> Result<Box<dyn SegmentationHead>> {
        let samples = gather(shots, self.cells, seed)?;
        let trees = (0..self.trees)
            .into_par_iter()
            .map(|index| self.grow(&samples, seed.wrapping_add(index as u64 * 7_919)))
            .collect::<Result<Vec<_>>>()?;
        Ok(Box::new(ForestHead { trees, planes, width: samples.width }))
    }
}

/// A tree, the features it looks at, and the class of each of its probability columns.
struct Grown {
    /// `None` where the tree saw a single class, which it then always says.
    tree: Option<Tree>,
    features: Vec<usize>,
    classes: Vec<u8>,
}

impl ForestConfig {
    fn grow(&self, samples: &Samples, seed: u64) -> Result<Grown> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let width = samples.width;
        let mut features = sample(&mut random, width, self.features.min(width)).into_vec();
        features.sort_unstable();
        let count = samples.labels.len();
        let chosen: Vec<usize> =
            (0..self.rows.min(count)).map(|_| random.random_range(0..count)).collect();
        let labels: Vec<u32> = chosen.iter().map(|&row| u32::from(samples.labels[row])).collect();
        let mut classes: Vec<u8> = chosen.iter().map(|&row| samples.labels[row]).collect();
        classes.sort_unstable();
        classes.dedup();
        let rows = chosen.iter().map(|&row| samples.row(row));
        let inputs = matrix(rows, chosen.len(), &features)?;
        let parameters = DecisionTreeClassifierParameters::default()
            .with_max_depth(self.depth)
            .with_min_samples_leaf(3);
        if classes.len() == 1 {
            return Ok(Grown { tree: None, features, classes });
        }
        let tree = Tree::fit(&inputs, &labels, parameters)
            .map_err(|error| Error::data(format!("a tree could not be grown: {error}")))?;
        Ok(Grown { tree: Some(tree), features, classes })
    }
}

fn matrix<'a>(
    rows: impl Iterator<Item = &'a [f32]>,
    count: usize,
    features: &[usize],
) -> Result<DenseMatrix<f32>> {
    let values: Vec<f32> =
        rows.flat_map(|row| features.iter().map(move |&feature| row[feature])).collect();
    DenseMatrix::new(count, features.len(), values, false)
        .map_err(|error| Error::data(format!("the forest's inputs do not fit: {error}")))
}

struct ForestHead {
    trees: Vec<Grown>,
    planes: usize,
    width: usize,
}

impl SegmentationHead for ForestHead {
    fn scores(&self, tile: &TileFeatures) -> Vec<f32> {
        let [height, width] = tile.grid();
        let cells = height * width;
        let places: Vec<usize> = (0..cells).collect();
        let rows = tile.rows(&places);
        let votes = self
            .trees
            .par_iter()
            .map(|grown| {
                let mut votes = vec![0.0f32; self.planes * cells];
                let Some(tree) = &grown.tree else {
                    votes[usize::from(grown.classes[0]) * cells..][..cells].fill(1.0);
                    return votes;
                };
                let rows = rows.chunks_exact(self.width);
                let probabilities = matrix(rows, cells, &grown.features)
                    .ok()
                    .and_then(|inputs| tree.predict_proba(&inputs).ok());
                // Shapes are fixed by `fit`; a failure here would be a bug of the library's.
                let Some(probabilities) = probabilities else {
                    panic!("a tree refused rows of the width it was grown on");
                };
                for (column, &class) in grown.classes.iter().enumerate() {
                    for cell in 0..cells {
                        votes[usize::from(class) * cells + cell] +=
                            *probabilities.get((cell, column)) as f32;
                    }
                }
                votes
            })
            .reduce(
                || vec![0.0f32; self.planes * cells],
                |mut sum, votes| {
                    sum.iter_mut().zip(votes).for_each(|(sum, vote)| *sum += vote);
                    sum
                },
            );
        // Logarithms of smoothed shares, so that every head's scores are logits.
        let trees = self.trees.len() as f32;
        votes.into_iter().map(|vote| ((vote + 0.1) / (trees + 0.1)).ln()).collect()
    }
}
