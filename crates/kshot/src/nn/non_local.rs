//! The non-local block: each place of a map adds what it sees in all others.
//!
//! - Paper: Wang, Girshick, Gupta and He, *Non-local Neural Networks*, 2017, <https://arxiv.org/abs/1711.07971>
//! - As there: half the channels inside, a softmax of products (embedded Gaussian) or their mean (dot product), and a
//!   last normalisation that starts at zero, so that the block starts as the identity
//! - Keys and values may be pooled 2x2 first (the paper's subsampling), where the map has at least two rows and columns

use burn::module::Module;
use burn::prelude::*;
use burn::tensor::ops::MaxPoolOptions;

use crate::nn::attention::scaled_dot_product_attention;
use crate::nn::{Activation, Conv, ConvConfig, ConvNormAct};

/// How two places are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pairwise {
    /// By the softmax of the products.
    EmbeddedGaussian,
    /// By the products, divided by the number of places.
    DotProduct,
}

/// What a [`NonLocalBlock`] is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NonLocalConfig {
    /// Channels of the map.
    pub channels: usize,
    /// How two places are compared.
    pub pairwise: Pairwise,
    /// Whether keys and values are pooled.
    pub subsample: bool,
}

impl NonLocalConfig {
    /// The block with random weights; it starts as the identity.
    pub fn init(&self, device: &Device) -> NonLocalBlock {
        let inside = (self.channels / 2).max(1);
        let layer = || ConvConfig::new([self.channels, inside], 1).init(true, device);
        let config = ConvConfig::new([inside, self.channels], 1);
        let mut result = ConvNormAct::biased(&config, Some(1e-5), Activation::Identity, device);
        if let Some(norm) = &mut result.norm {
            let (gamma, beta) = (norm.gamma.val().zeros_like(), norm.beta.val());
            norm.set(gamma, beta);
        }
        NonLocalBlock {
            theta: layer(),
            phi: layer(),
            g: layer(),
            result,
            pairwise: self.pairwise,
            subsample: self.subsample,
        }
    }
}

/// The block; its layers have the paper's names.
#[derive(Module, Debug)]
pub struct NonLocalBlock {
    /// To queries.
    pub theta: Conv,
    /// To keys.
    pub phi: Conv,
    /// To values.
    pub g: Conv,
    /// Back to the map's channels, and normalised.
    pub result: ConvNormAct,
    #[module(skip)]
    pairwise: Pairwise,
    #[module(skip)]
    subsample: bool,
}

impl NonLocalBlock {
    /// The map plus what each place sees.
    ///
    /// # Shapes
    /// `[batch, channels, height, width]` to the same
    pub fn forward(&self, map: Tensor<4>) -> Tensor<4> {
        let [batch, _, height, width] = map.dims();
        let lines = |map: Tensor<4>| {
            let [_, inside, height, width] = map.dims();
            map.reshape([batch, 1, inside, height * width])
        };
        let pooled = |map: Tensor<4>| match self.subsample && height > 1 && width > 1 {
            true => kshot_kernels::max_pool2d(map, MaxPoolOptions::new([2, 2]).with_stride([2, 2])),
            false => map,
        };
        let queries = lines(self.theta.forward(map.clone()));
        let keys = lines(pooled(self.phi.forward(map.clone())));
        let values = lines(pooled(self.g.forward(map.clone())));
        let seen = match self.pairwise {
            Pairwise::EmbeddedGaussian => scaled_dot_product_attention(queries, keys, values, 1.0),
            Pairwise::DotProduct => {
                let [.., count] = keys.dims();
                // Of values and keys first: the same sums, without a score for each pair.
                values.matmul(keys.swap_dims(2, 3)).matmul(queries) / count as f64
            }
        };
        let [_, _, inside, _] = seen.dims();
        map + self.result.forward(seen.reshape([batch, inside, height, width]))
    }

    /// The same function, faster, for inference only.
    #[must_use]
    pub fn fold(self) -> Self {
        Self {
            theta: self.theta.compile(),
            phi: self.phi.compile(),
            g: self.g.compile(),
            result: self.result.fold(),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Distribution;

    fn random(shape: [usize; 4], device: &Device) -> Tensor<4> {
        Tensor::random(shape, Distribution::Normal(0.0, 1.0), device)
    }

    fn both() -> impl Iterator<Item = NonLocalConfig> {
        [Pairwise::EmbeddedGaussian, Pairwise::DotProduct].into_iter().flat_map(|pairwise| {
            [false, true].map(|subsample| NonLocalConfig { channels: 6, pairwise, subsample })
        })
    }

    #[test]
    fn it_starts_as_the_identity_whatever_the_size() {
        let device = Device::flex();
        device.seed(5);
        for config in both() {
            for size in [[5, 4], [1, 3], [1, 1]] {
                let map = random([2, 6, size[0], size[1]], &device);
                let result = config.init(&device).forward(map.clone());
                let apart = (result - map).abs().max().into_scalar::<f32>();
                assert!(apart == 0.0, "{config:?} {size:?}: {apart}");
            }
        }
    }

    #[test]
    fn gradients_agree_with_central_differences() {
        let device = Device::flex().autodiff();
        device.seed(8);
        for config in both() {
            let mut block = config.init(&device);
            if let Some(norm) = &mut block.result.norm {
                norm.set(norm.gamma.val().ones_like(), norm.beta.val());
            }
            let block = crate::nn::norm::freeze_norm(block);
            let map = random([2, 6, 4, 4], &device).require_grad();
            let factors = random([2, 6, 4, 4], &device);
            let loss = |map: Tensor<4>| (block.forward(map) * factors.clone()).sum();
            let gradients = loss(map.clone()).backward();
            let ours = map.grad(&gradients).unwrap();
            let ours = ours.into_data().try_into_vec::<f32>().unwrap();
            let values = map.to_data().try_to_vec::<f32>().unwrap();
            let step = 1e-2;
            for at in [0, 33, 100, 191] {
                let [more, less] = [step, -step].map(|by| {
                    let mut values = values.clone();
                    values[at] += by;
                    let data = TensorData::new(values, [2, 6, 4, 4]);
                    loss(Tensor::from_data(data, &device)).into_scalar::<f32>()
                });
                let expected = (more - less) / (2.0 * step);
                let close = (ours[at] - expected).abs() <= 2e-2 * expected.abs().max(0.2);
                assert!(close, "{config:?} {at}: {} by differences {expected}", ours[at]);
            }
        }
    }
}
