//! `filter-forest`: a random forest on classical filters of the pixels alone, at their own resolution.
//!
//! What users of ilastik (Berg et al., Nature Methods 2019) and Weka's segmentation do: smoothed colours, gradients,
//! the Hessian's eigenvalues and the local spread at several scales, and a forest on them. It knows nothing of what
//! things are, which is an advantage where an encoder trained on photographs knows the wrong things.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::features::look::Look;
use crate::method::few_shot::forest::ForestConfig;
use crate::method::few_shot::{SegmentationHead, SegmentationMethod, Shot};

/// How the forest is grown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FilterForestConfig {
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

impl Default for FilterForestConfig {
    fn default() -> Self {
        Self { trees: 48, features: 16, rows: 4_000, depth: 14, cells: 8_000 }
    }
}

impl FilterForestConfig {
    fn forest(&self) -> ForestConfig {
        let Self { trees, features, rows, depth, cells } = *self;
        ForestConfig { trees, features, rows, depth, cells }
    }
}

impl SegmentationMethod for FilterForestConfig {
    fn name(&self) -> &'static str {
        "filter-forest"
    }

    fn boxed(&self) -> Box<dyn SegmentationMethod> {
        Box::new(self.clone())
    }

    fn look(&self) -> Look {
        Look::FILTERS
    }

    fn needs_masks(&self) -> bool {
        true
    }

    fn most_folds(&self) -> usize {
        3
    }

    fn fit(&self, shots: &[&Shot], planes: usize, seed: u64) -> Result<Box<dyn SegmentationHead>> {
        self.forest().fit(shots, planes, seed)
    }
}
