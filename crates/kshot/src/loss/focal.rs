//! `focal`: cross entropy that counts pixels the less, the surer and righter they are.
//!
//! Lin et al., *Focal Loss for Dense Object Detection*, ICCV 2017, arXiv 1708.02002:
//! `(1 - p)^gamma * -ln(p)`, where `p` is the probability of a pixel's class. The paper's `alpha` is `weights`.
//! - `softmax` (the default): `p` is the softmax's; the mean is over the sum of the weights of the pixels'
//!   classes, so that `gamma = 0` is `cross-entropy`. Without weights it is segmentation_models_pytorch's
//!   `softmax_focal_loss_with_logits` (0.6).
//! - `sigmoid`: the paper's; each class against the rest, by the sigmoid of its own logit, then the mean over
//!   classes by weight: `FocalLoss(mode="multiclass")` there. Predictions are still by the highest logit.

use burn::prelude::*;
use burn::tensor::activation;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::loss::cross_entropy::{counted, not_zero, of_pixels};
use crate::loss::overlap::one_hot;
use crate::loss::weights::ClassWeights;
use crate::loss::{Criterion, KEY};

/// The focal loss's settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Focal {
    /// How much less sure pixels count; 0 for cross entropy.
    #[schemars(range(min = 0.0, max = 10.0))]
    pub gamma: f64,
    /// What each class's pixels weigh: a list, background first, or a rule. The paper's alpha.
    pub weights: ClassWeights,
    /// Whether classes exclude each other (softmax), or each is told from the rest (sigmoid).
    pub probability: Probability,
}

/// How logits become probabilities.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Probability {
    /// Those of all classes sum to 1.
    #[default]
    Softmax,
    /// Each class's own, against the rest.
    Sigmoid,
}

impl Default for Focal {
    fn default() -> Self {
        Self { gamma: 2.0, weights: ClassWeights::default(), probability: Probability::default() }
    }
}

impl Criterion for Focal {
    const NAME: &'static str = "focal";
    const SUMMARY: &'static str =
        "cross entropy in which pixels that are right and sure count little";
    const SOURCE: &'static str = "https://arxiv.org/abs/1708.02002";

    fn check(&self, classes: usize) -> Result<()> {
        if !(self.gamma.is_finite() && self.gamma >= 0.0) {
            let message = format!("focal: gamma {}; valid are 0 and more", self.gamma);
            return Err(Error::config(message).at_key(KEY));
        }
        self.weights.check(Self::NAME, classes)
    }

    fn class_weights(&mut self) -> Option<&mut ClassWeights> {
        Some(&mut self.weights)
    }

    fn forward(&self, logits: Tensor<4>, targets: Tensor<3, Int>) -> Tensor<1> {
        let [batch, classes, height, width] = logits.dims();
        assert_shape!(targets, [batch, height, width]);
        let by_class = self.weights.tensor(classes, &logits.device());
        match self.probability {
            Probability::Softmax => {
                let (targets, counts) = counted(targets, classes);
                let weights = of_pixels(by_class, targets.clone()) * counts;
                let total = not_zero(weights.clone().sum());
                let log = kshot_kernels::log_softmax2d(logits).gather(1, targets);
                (self.of(log) * weights).sum() / total
            }
            Probability::Sigmoid => {
                let labels = one_hot(targets, classes);
                let counts = labels.clone().sum_dim(1);
                let pixels = counts.clone().sum().clamp_min(1.0);
                let log = activation::log_sigmoid(logits * (labels * 2.0 - 1.0));
                let losses = (self.of(log) * counts).sum_dim(0).sum_dim(2).sum_dim(3);
                let total = by_class.clone().sum();
                (losses.reshape([classes]) * by_class).sum() / (total * pixels)
            }
        }
    }
}

/// The least base of a power, which has no slope at 0.
const LEAST: f64 = 1e-7;

impl Focal {
    /// The loss of pixels by the logarithms of their probabilities.
    fn of(&self, log: Tensor<4>) -> Tensor<4> {
        if self.gamma == 0.0 {
            return log.neg();
        }
        let wrong = (log.clone().exp().neg() + 1.0).clamp_min(LEAST);
        wrong.powf_scalar(self.gamma) * log.neg()
    }
}
