//! What is learnt in feature space, behind a frozen encoder: nothing but a gain, or a residual
//! bottleneck, x + relu(x D + b) U (Houlsby et al. 2019, arXiv 1902.00751), which starts as x itself.
//!
//! Vectors have length 1 ([`super::embed`]); the gain makes their distances large enough for a softmax.

use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::prelude::*;

use crate::nn::dual::Dual;
use crate::nn::weights::{Cursor, Weights};

/// The gain before learning.
const GAIN: f32 = 5.0;

/// The head.
#[derive(Module, Debug)]
pub struct FeatureHead {
    bottleneck: Option<Bottleneck>,
    /// The gain's logarithm.
    gain: Param<Tensor<1>>,
    #[module(skip)]
    features: usize,
}

#[derive(Module, Debug)]
struct Bottleneck {
    /// `[features, units]`
    down: Param<Tensor<2>>,
    /// `[units]`
    bias: Param<Tensor<1>>,
    /// `[units, features]`
    up: Param<Tensor<2>>,
}

impl FeatureHead {
    /// For vectors of `features` numbers; without units there is only the gain.
    pub fn new(features: usize, units: usize, device: &Device) -> Self {
        let bottleneck = (units > 0).then(|| Bottleneck {
            // Of deviation 1, since its input has length 1 and not deviation 1.
            down: Initializer::Normal { mean: 0.0, std: 1.0 }.init([features, units], device),
            bias: Initializer::Zeros.init([units], device),
            up: Initializer::Zeros.init([units, features], device),
        });
        Self { bottleneck, gain: Param::from_data([GAIN.ln()], device), features }
    }

    /// Appends its parameters in the order of their use.
    pub fn list(&self, weights: &mut Weights) {
        if let Some(Bottleneck { down, bias, up }) = &self.bottleneck {
            weights.push(down);
            weights.push(bias);
            weights.push(up);
        }
        weights.push(&self.gain);
    }

    /// Numbers of a vector.
    pub fn features(&self) -> usize {
        self.features
    }

    /// `[batch, features, 1, 1]` to the same shape.
    pub fn maps(&self, vectors: Dual<4>, weights: &mut Cursor) -> Dual<4> {
        let rows = self.embed(vectors, weights);
        let [count, features] = rows.value.dims();
        rows.reshape([count, features, 1, 1])
    }

    /// `[batch, features, 1, 1]` to `[batch, features]`.
    pub fn embed(&self, vectors: Dual<4>, weights: &mut Cursor) -> Dual<2> {
        let mut rows = vectors.flatten();
        if let Some(Bottleneck { down, bias, up }) = &self.bottleneck {
            let hidden = rows.clone().matmul(weights.take(down.dims()));
            let hidden = hidden.plus_row(weights.take(bias.dims())).relu(0.0);
            rows = rows.plus(hidden.matmul(weights.take(up.dims())));
        }
        let [count, features] = rows.value.dims();
        let gain = weights.take::<1>([1]).exp();
        rows.times(gain.linear(|gain| gain.reshape([1, 1]).expand([count, features])))
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Distribution;

    use super::*;

    #[test]
    fn an_untaught_head_keeps_directions() {
        let device = Device::flex();
        for units in [0, 3] {
            let head = FeatureHead::new(6, units, &device);
            let mut list = Weights::default();
            head.list(&mut list);
            assert_eq!(list.0.len(), if units == 0 { 1 } else { 4 });
            let vectors = Tensor::<4>::random([2, 6, 1, 1], Distribution::Default, &device);
            let duals = list.duals();
            let rows = head.embed(Dual::from(vectors.clone()), &mut Cursor::new(&duals)).value;
            let gap = (rows - vectors.reshape([2, 6]) * GAIN).abs().max().into_scalar::<f32>();
            assert!(gap < 1e-5, "{gap}");
        }
    }
}
