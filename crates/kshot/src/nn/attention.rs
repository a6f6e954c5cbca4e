//! Attention: every place looks at every other.
//!
//! - Scaled dot-product attention and its form of several heads: Vaswani et al., *Attention Is All You Need*, 2017,
//!   <https://arxiv.org/abs/1706.03762>; a layer has one product for queries, keys and values (as timm and DINO), no
//!   mask and no dropout
//! - Rotary positions: Su et al., *RoFormer*, 2021, <https://arxiv.org/abs/2104.09864>; see
//!   [`positions`](crate::nn::positions)
//!
//! Tokens are places of maps, `[batch, channels, 1, tokens]`: keys are rows and queries columns of the scores, so that
//! nothing is transposed, and the softmax runs over rows.

use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::prelude::*;

use crate::nn::Conv;
use crate::nn::linear::linear;
use crate::nn::positions::Rotary;

/// Scores that are held at once; more queries are taken in parts, so that large pictures need no more memory.
const SCORES: usize = 1 << 24;

/// For each query the mean of the values, weighted by the softmax of its products with the keys times `scale`
/// (`1 / sqrt(channels)` in the paper).
///
/// # Shapes
/// - `queries`: `[batch, heads, channels, queries]`
/// - `keys`: `[batch, heads, channels, keys]`
/// - `values`: `[batch, heads, channels_out, keys]`
/// - result: `[batch, heads, channels_out, queries]`
///
/// # Panics
/// If the shapes do not fit each other.
pub fn scaled_dot_product_attention(
    queries: Tensor<4>,
    keys: Tensor<4>,
    values: Tensor<4>,
    scale: f64,
) -> Tensor<4> {
    let [batch, heads, channels, count] = queries.dims();
    let [_, _, _, seen] = keys.dims();
    assert_eq!(keys.dims(), [batch, heads, channels, seen], "keys for these queries");
    let [of, among, _, each] = values.dims();
    assert_eq!([of, among, each], [batch, heads, seen], "values for these keys");
    let keys = keys.swap_dims(2, 3);
    let part = |queries: Tensor<4>| {
        let [.., count] = queries.dims();
        let scores = keys.clone().matmul(queries * scale);
        // The kernel for maps: keys are channels, queries are pixels.
        let scores = scores.reshape([batch * heads, seen, 1, count]);
        let weights = kshot_kernels::softmax2d(scores).reshape([batch, heads, seen, count]);
        values.clone().matmul(weights)
    };
    let together = (SCORES / (batch * heads * seen).max(1)).max(1);
    if count <= together {
        return part(queries);
    }
    let parts = (0..count).step_by(together);
    let parts =
        parts.map(|first| part(queries.clone().narrow(3, first, together.min(count - first))));
    Tensor::cat(parts.collect(), 3)
}

/// Which of queries, keys and values have a bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QkvBias {
    /// All three.
    All,
    /// Queries and values: a bias of keys changes nothing, since it adds the same to all scores of a query. It is
    /// kept in the tensor and masked, as DINOv3's authors do.
    MaskedKeys,
    /// None.
    None,
}

/// What a [`MultiHeadSelfAttention`] is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttentionConfig {
    /// Channels of the tokens.
    pub channels: usize,
    /// Groups of channels that look on their own; a divisor of the channels.
    pub heads: usize,
    /// Which biases there are.
    pub bias: QkvBias,
}

impl AttentionConfig {
    /// The layer with random weights.
    ///
    /// # Panics
    /// If the heads do not divide the channels.
    pub fn init(&self, device: &Device) -> MultiHeadSelfAttention {
        let Self { channels, heads, bias } = *self;
        assert!(heads > 0 && channels.is_multiple_of(heads), "{channels} channels, {heads} heads");
        let masked = bias == QkvBias::MaskedKeys;
        MultiHeadSelfAttention {
            qkv: linear([channels, 3 * channels], bias == QkvBias::All, device),
            masked_bias: masked.then(|| Initializer::Zeros.init([3 * channels], device)),
            project: linear([channels, channels], true, device),
            heads,
        }
    }
}

/// Attention of a picture's (or a set of tokens') places to each other.
#[derive(Module, Debug)]
pub struct MultiHeadSelfAttention {
    /// To queries, keys and values, in this order, each head by head.
    pub qkv: Conv,
    /// `[3 * channels]`, of which the keys' part does not count.
    pub masked_bias: Option<Param<Tensor<1>>>,
    /// From the heads' results side by side to the result.
    pub project: Conv,
    heads: usize,
}

impl MultiHeadSelfAttention {
    /// Each place's mean of the values of all places, by head.
    ///
    /// # Shapes
    /// `[batch, channels, height, width]` to the same
    pub fn forward(&self, tokens: Tensor<4>, rotary: Option<&Rotary>) -> Tensor<4> {
        let [batch, channels, height, width] = tokens.dims();
        let places = height * width;
        let each = channels / self.heads;
        let mut qkv = self.qkv.forward(tokens);
        if let Some(bias) = &self.masked_bias {
            qkv = qkv + without_keys(bias.val()).reshape([1, 3 * channels, 1, 1]);
        }
        let [queries, keys, values] = [0, 1, 2].map(|part| {
            let part = qkv.clone().narrow(1, part * channels, channels);
            part.reshape([batch, self.heads, each, places])
        });
        let (queries, keys) = match rotary {
            Some(rotary) => (rotary.turn(queries), rotary.turn(keys)),
            None => (queries, keys),
        };
        let scale = (each as f64).sqrt().recip();
        let seen = scaled_dot_product_attention(queries, keys, values, scale);
        self.project.forward(seen.reshape([batch, channels, height, width]))
    }

    /// The same function, faster, for inference only.
    #[must_use]
    pub fn fold(self) -> Self {
        let mut qkv = self.qkv;
        if let Some(bias) = &self.masked_bias {
            qkv.bias = Some(Param::from_tensor(without_keys(bias.val()).detach()));
        }
        Self { qkv: qkv.compile(), masked_bias: None, project: self.project.compile(), ..self }
    }
}

/// A bias of queries, keys and values with zeros for the keys.
fn without_keys(bias: Tensor<1>) -> Tensor<1> {
    let [all] = bias.dims();
    let part = |index| bias.clone().narrow(0, index * (all / 3), all / 3);
    Tensor::cat(vec![part(0), part(1).zeros_like(), part(2)], 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::positions::rotary;
    use burn::tensor::Distribution;

    fn random(shape: [usize; 4], device: &Device) -> Tensor<4> {
        Tensor::random(shape, Distribution::Normal(0.0, 1.0), device)
    }

    fn largest(tensor: Tensor<4>) -> f32 {
        tensor.abs().max().into_scalar::<f32>()
    }

    /// Two keys whose scores differ by ln 3 share a query's weight as 3 to 1.
    #[test]
    fn weights_are_the_softmax_of_products() {
        let device = Device::flex();
        let of = |values: [f32; 2]| Tensor::<1>::from_data(values, &device).reshape([1, 1, 1, 2]);
        let (keys, values) = (of([3.0f32.ln(), 0.0]), of([1.0, 5.0]));
        let result = scaled_dot_product_attention(of([1.0, 2.0]), keys, values, 1.0);
        let result = result.into_data().try_into_vec::<f32>().unwrap();
        // 0.75 * 1 + 0.25 * 5, and 0.9 * 1 + 0.1 * 5.
        assert!((result[0] - 2.0).abs() < 1e-5 && (result[1] - 1.4).abs() < 1e-5, "{result:?}");
    }

    /// Of keys' biases all scores of a query shift alike.
    #[test]
    fn folding_keeps_the_function_and_keys_need_no_bias() {
        let device = Device::flex();
        device.seed(6);
        let config = AttentionConfig { channels: 16, heads: 2, bias: QkvBias::MaskedKeys };
        let mut masked = config.init(&device);
        let bias = Tensor::random([48], Distribution::Default, &device);
        masked.masked_bias = Some(Param::from_tensor(bias.clone()));
        let mut whole = masked.clone();
        (whole.masked_bias, whole.qkv.bias) = (None, Some(Param::from_tensor(bias)));
        let tokens = random([2, 16, 3, 2], &device);
        let turned = rotary([2, 2], 2, 8, &device);
        let plain = masked.forward(tokens.clone(), None);
        let apart = largest(plain.clone() - whole.forward(tokens.clone(), None));
        assert!(apart < 1e-5, "a bias of keys changes {apart}");
        let with_positions = masked.forward(tokens.clone(), Some(&turned));
        assert!(largest(plain.clone() - with_positions.clone()) > 1e-3, "positions do nothing");
        let folded = masked.fold();
        assert!(largest(folded.forward(tokens.clone(), None) - plain) < 1e-5);
        assert!(largest(folded.forward(tokens, Some(&turned)) - with_positions) < 1e-5);
    }

    /// A query's result is the same whatever others are asked at once.
    #[test]
    fn parts_of_the_queries_give_the_same() {
        let device = Device::flex();
        device.seed(1);
        let [queries, keys, values] = [7, 5, 5].map(|count| random([1, 2, 4, count], &device));
        let all = scaled_dot_product_attention(queries.clone(), keys.clone(), values.clone(), 0.5);
        let some = scaled_dot_product_attention(queries.narrow(3, 2, 3), keys, values, 0.5);
        assert!(largest(all.narrow(3, 2, 3) - some) < 1e-6);
    }

    /// Of one weight of each part against central differences.
    #[test]
    fn gradients_agree_with_central_differences() {
        let device = Device::flex().autodiff();
        device.seed(3);
        let config = AttentionConfig { channels: 8, heads: 2, bias: QkvBias::All };
        let layer = config.init(&device);
        let turned = rotary([2, 2], 1, 4, &device);
        let tokens = random([2, 8, 1, 5], &device).require_grad();
        let factors = random([2, 8, 1, 5], &device);
        let loss = |layer: &MultiHeadSelfAttention, tokens: Tensor<4>| {
            (layer.forward(tokens, Some(&turned)) * factors.clone()).sum()
        };
        let gradients = loss(&layer, tokens.clone()).backward();
        let step = 1e-2f32;
        let value = |tensor: Tensor<1>| tensor.into_scalar::<f32>();
        let check = |what: &str, ours: f32, more: Tensor<1>, less: Tensor<1>| {
            let expected = (value(more) - value(less)) / (2.0 * step);
            let close = (ours - expected).abs() <= 2e-2 * expected.abs().max(0.1);
            assert!(close, "{what}: {ours}, by differences {expected}");
        };
        let moved = |tensor: &Tensor<4>, at: usize, by: f32| {
            let shape = tensor.dims();
            let mut values = tensor.to_data().try_to_vec::<f32>().unwrap();
            values[at] += by;
            Tensor::<4>::from_data(TensorData::new(values, shape), &device)
        };
        let flat = |tensor: Tensor<4>| tensor.into_data().try_into_vec::<f32>().unwrap();
        let of_tokens = flat(tokens.grad(&gradients).unwrap());
        for at in [0, 17, 44, 79] {
            let [more, less] = [step, -step].map(|by| loss(&layer, moved(&tokens, at, by)));
            check(&format!("token {at}"), of_tokens[at], more, less);
        }
        let of_qkv = flat(layer.qkv.weight.val().grad(&gradients).unwrap());
        for at in [3, 70, 130, 190] {
            let [more, less] = [step, -step].map(|by| {
                let mut other = layer.clone();
                let weight = moved(&layer.qkv.weight.val(), at, by);
                other.qkv.weight = Param::from_tensor(weight);
                loss(&other, tokens.clone())
            });
            check(&format!("weight {at}"), of_qkv[at], more, less);
        }
    }
}
