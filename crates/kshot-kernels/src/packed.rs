//! Weights packed once, for inference.

use std::sync::OnceLock;

use crate::micro::ROWS;
use crate::panels::{Left, Panels, pack_all, packed_len, paired};

/// Rows of a group that make it worth while to turn the right operand into pairs.
const WORTH: usize = 4 * ROWS;

/// A weight of `groups` times `rows` kernels of `depth` elements in panels.
#[derive(Debug, Clone)]
pub(crate) struct Packed {
    floats: Vec<f32>,
    /// Pairs of bf16, made when first asked for.
    pairs: OnceLock<Vec<f32>>,
    rows: usize,
    depth: usize,
}

impl Packed {
    /// # Panics
    /// If the weight is of another length.
    pub(crate) fn new(weight: &[f32], groups: usize, [rows, depth]: [usize; 2]) -> Self {
        assert_eq!(weight.len(), groups * rows * depth, "floats of a weight");
        let mut floats = vec![0.0; groups * packed_len(rows, depth)];
        pack_all(Left::Rows(weight), groups, [rows, depth], &mut floats);
        Self { floats, pairs: OnceLock::new(), rows, depth }
    }

    pub(crate) fn floats(&self) -> &[f32] {
        &self.floats
    }

    /// In pairs of bf16 if asked for and worth while, else in floats.
    pub(crate) fn panels(&self, bf16: bool) -> Panels<'_> {
        if !bf16 || self.rows < WORTH {
            return Panels::floats(&self.floats);
        }
        Panels::pairs(self.pairs.get_or_init(|| paired(&self.floats, self.depth)))
    }
}
