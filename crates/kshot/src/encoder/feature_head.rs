//! What is learnt in feature space, behind a frozen encoder: nothing but a gain; or, with a bottleneck,
//! batch normalisation, x + relu(x D + b) U (Houlsby et al. 2019, arXiv 1902.00751), and length 1 again, as
//! centred and scaled features serve few shots best (Wang et al. 2019, arXiv 1911.04623). Before it learns,
//! a head that normalises by running averages keeps every direction.
//!
//! Vectors have length 1 ([`crate::features::embed`]); the gain makes their distances large enough for a softmax.

use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::prelude::*;

use crate::nn::dual::Dual;
use crate::nn::norm::{BatchNorm, Pass};
use crate::nn::weights::{Cursor, FlatWeights};

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
    norm: BatchNorm,
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
            norm: BatchNorm::new(features, device),
            down: Initializer::Normal { mean: 0.0, std: (features as f64).recip().sqrt() }
                .init([features, units], device),
            bias: Initializer::Zeros.init([units], device),
            up: Initializer::Zeros.init([units, features], device),
        });
        Self { bottleneck, gain: Param::from_data([GAIN.ln()], device), features }
    }

    /// Appends its parameters in the order of their use.
    pub fn list(&self, weights: &mut FlatWeights) {
        if let Some(Bottleneck { norm, down, bias, up }) = &self.bottleneck {
            norm.list(weights);
            weights.push(down);
            weights.push(bias);
            weights.push(up);
        }
        weights.push(&self.gain);
    }

    /// Dimension of a vector.
    pub fn features(&self) -> usize {
        self.features
    }

    /// `[batch, features, 1, 1]` to the same shape.
    pub fn maps(&self, vectors: Dual<4>, weights: &mut Cursor, pass: &mut Pass) -> Dual<4> {
        let rows = self.embed(vectors, weights, pass);
        let [count, features] = rows.value.dims();
        rows.reshape([count, features, 1, 1])
    }

    /// `[batch, features, 1, 1]` to `[batch, features]`.
    pub fn embed(&self, vectors: Dual<4>, weights: &mut Cursor, pass: &mut Pass) -> Dual<2> {
        let [count, features, ..] = vectors.value.dims();
        let mut rows = vectors.clone().flatten();
        if let Some(Bottleneck { norm, down, bias, up }) = &self.bottleneck {
            // Numbers of about 1, so that one learning rate suits all of the parameters.
            let vectors = vectors.linear(|vectors| vectors * (features as f64).sqrt());
            rows = norm.forward_dual(vectors, weights, pass, false).flatten();
            let hidden = rows.clone().matmul(weights.take(down.dims()));
            let hidden = hidden.plus_row(weights.take(bias.dims())).relu(0.0);
            rows = rows.plus(hidden.matmul(weights.take(up.dims()))).unit();
        }
        let gain = weights.take::<1>([1]).exp();
        rows.times(gain.linear(|gain| gain.reshape([1, 1]).expand([count, features])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Distribution;

    fn embedded(units: usize, vectors: &Tensor<4>, device: &Device) -> Tensor<2> {
        let head = FeatureHead::new(6, units, device);
        let mut list = FlatWeights::default();
        head.list(&mut list);
        assert_eq!(list.0.len(), if units == 0 { 1 } else { 6 });
        let duals = list.duals();
        head.embed(Dual::from(vectors.clone()), &mut Cursor::new(&duals), &mut Pass::running())
            .value
    }

    #[test]
    fn an_untrained_head_keeps_directions() {
        let device = Device::flex();
        let vectors = Tensor::<2>::random([2, 6], Distribution::Default, &device) + 0.1;
        let vectors = Dual::from(vectors).unit().value;
        for units in [0, 3] {
            let rows = embedded(units, &vectors.clone().reshape([2, 6, 1, 1]), &device);
            let gap = (rows - vectors.clone() * GAIN).abs().max().into_scalar::<f32>();
            assert!(gap < 1e-5, "{gap}");
        }
    }
}
