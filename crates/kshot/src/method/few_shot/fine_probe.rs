//! `fine-probe`: the probe at single pixels, on classical filters beside the encoder's stages.
//!
//! The encoder's finest stage lies at every other pixel and blurs what is narrower; Gaussians, gradients and Hessians of
//! the pixels themselves (see [`filter_bank`](crate::features::filter_bank)) tell it. The head is that of
//! [`probe`](super::probe), with fewer hidden units for the many cells.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::features::look::Look;
use crate::method::few_shot::probe::ProbeConfig;
use crate::method::few_shot::{SegmentationHead, SegmentationMethod, Shot};

/// How the head is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FineProbeConfig {
    /// Units of the hidden layer; 0 for a linear probe.
    #[schemars(range(min = 0, max = 4096))]
    pub hidden: usize,
    /// Steps of Adam.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub steps: usize,
    /// How strongly rare classes are raised: weights are frequency to the power of minus this.
    #[schemars(range(min = 0.0, max = 2.0))]
    pub balance: f32,
    /// At most this many pixels a picture are kept for training.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub cells: usize,
}

impl Default for FineProbeConfig {
    fn default() -> Self {
        Self { hidden: 48, steps: 400, balance: 0.5, cells: 16_000 }
    }
}

impl FineProbeConfig {
    fn probe(&self) -> ProbeConfig {
        let Self { hidden, steps, balance, cells } = *self;
        ProbeConfig { hidden, steps, balance, cells, ..ProbeConfig::default() }
    }
}

impl SegmentationMethod for FineProbeConfig {
    fn name(&self) -> &'static str {
        "fine-probe"
    }

    fn boxed(&self) -> Box<dyn SegmentationMethod> {
        Box::new(self.clone())
    }

    fn look(&self) -> Look {
        Look::PIXELS
    }

    fn needs_masks(&self) -> bool {
        true
    }

    fn for_judging(&self) -> Option<Box<dyn SegmentationMethod>> {
        Some(Box::new(Self { steps: self.steps / 2, ..self.clone() }))
    }

    fn fit(&self, shots: &[&Shot], planes: usize, seed: u64) -> Result<Box<dyn SegmentationHead>> {
        self.probe().fit(shots, planes, seed)
    }
}
