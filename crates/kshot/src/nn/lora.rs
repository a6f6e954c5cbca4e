//! Low-rank adapters (Hu et al., *LoRA*, 2021, arXiv 2106.09685): a kernel stays as it is, and what is learnt is the
//! product of two thin matrices that is added to it.
//!
//! The paper adapts linear layers of transformers. Here it is any kernel, as a matrix of outputs by inputs
//! (`[channels_out, channels_in / groups * kernel * kernel]`), as in the authors' `loralib`: at first the factor on the
//! side of the outputs is 0, so that the function is that of the kernel alone, and the other one is uniform within
//! `1 / sqrt(inputs)`. The sum is made before each use, which costs little beside a convolution, and
//! `Module::materialize` makes it for good.

use burn::module::{Module, Param, Reparameterization, Reparameterizer};
use burn::prelude::*;
use burn::tensor::Distribution;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Low-rank adapters of a network.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LoraConfig {
    /// Columns of one factor and rows of the other; fewer where a kernel has fewer.
    #[schemars(range(min = 1, max = 1024))]
    pub rank: usize,
    /// What is added to a kernel is the product times `alpha / rank`.
    #[schemars(extend("exclusiveMinimum" = 0.0), range(max = 10_000.0))]
    pub alpha: f64,
    /// Which kernels have adapters.
    pub on: LoraPart,
}

impl Default for LoraConfig {
    fn default() -> Self {
        Self { rank: 8, alpha: 16.0, on: LoraPart::Encoder }
    }
}

/// Which kernels have adapters; the encoder is frozen besides.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LoraPart {
    /// Those of the encoder; the decoder learns whole.
    #[default]
    Encoder,
    /// Those of the encoder's attention, as in the paper; the decoder learns whole.
    Attention,
    /// Those of encoder and decoder, of which only the last layer learns whole: for a training that starts from a run.
    All,
}

/// The two factors of what is added to a kernel.
#[derive(Module, Debug)]
pub struct LowRank {
    /// `[rows, rank]`
    left: Param<Tensor<2>>,
    /// `[rank, columns]`
    right: Param<Tensor<2>>,
    scale: f64,
}

impl Reparameterization for LowRank {
    const NAME: &'static str = "lora";

    fn apply<const D: usize>(&self, base: Tensor<D>) -> Tensor<D> {
        let added = self.left.val().matmul(self.right.val()) * self.scale;
        let shape = base.dims();
        base + added.reshape(shape)
    }
}

/// Freezes every parameter of a module and gives adapters to the kernels among them.
struct Adapter<'a, F> {
    config: LoraConfig,
    /// Whether the kernel at a path has one.
    has: F,
    /// Whether the parameter at a path learns whole.
    learns: &'a dyn Fn(&str) -> bool,
    /// How many were given.
    given: &'a mut usize,
}

impl<F: Fn(&str) -> bool> Reparameterizer for Adapter<'_, F> {
    type Reparam = LowRank;

    fn reparameterize<const D: usize>(
        &mut self,
        path: &str,
        parameter: Param<Tensor<D>>,
    ) -> (Param<Tensor<D>>, Option<LowRank>) {
        if (self.learns)(path) {
            return (parameter, None);
        }
        let base = parameter.base();
        let dims = base.dims();
        let parameter = parameter.set_require_grad(false);
        let linear = D == 2 && path.ends_with("weight");
        if !(linear || D == 4) || !(self.has)(path) {
            return (parameter, None);
        }
        let (rows, columns) = (dims[0], dims[1..].iter().product::<usize>());
        if rows < 2 || columns < 2 {
            return (parameter, None);
        }
        let rank = self.config.rank.min(rows).min(columns);
        let device = base.device();
        // A linear layer has its inputs first, a convolution its outputs.
        let inputs = if linear { rows } else { columns };
        let bound = 1.0 / (inputs as f64).sqrt();
        let random = |shape: [usize; 2]| {
            Tensor::<2>::random(shape, Distribution::Uniform(-bound, bound), &device)
        };
        let zero = |shape: [usize; 2]| Tensor::<2>::zeros(shape, &device);
        let (left, right) = if linear {
            (random([rows, rank]), zero([rank, columns]))
        } else {
            (zero([rows, rank]), random([rank, columns]))
        };
        *self.given += 1;
        let (left, right) = (Param::from_tensor(left), Param::from_tensor(right));
        let scale = self.config.alpha / self.config.rank as f64;
        (parameter, Some(LowRank { left, right, scale }))
    }
}

/// The module with every parameter frozen, but those whose path `learns` says, and with adapters on the kernels whose
/// path `has` says; and how many these are. Statistics of batch normalisation are left as they are.
#[must_use]
pub fn adapted<M: Module>(
    module: M,
    config: LoraConfig,
    has: impl Fn(&str) -> bool,
    learns: &dyn Fn(&str) -> bool,
) -> (M, usize) {
    let mut given = 0;
    let module =
        module.apply_reparameterization(Adapter { config, has, learns, given: &mut given });
    (module, given)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::{Activation, ConvConfig, ConvNormAct};
    use burn::nn::{Linear, LinearConfig};
    use burn::optim::{GradientsParams, SgdConfig};

    #[derive(Module, Debug)]
    struct Network {
        layers: Vec<ConvNormAct>,
        head: Linear,
    }

    impl Network {
        fn new(device: &Device) -> Self {
            let layer = |config: ConvConfig| {
                ConvNormAct::biased(&config, Some(1e-5), Activation::Relu, device)
            };
            let layers = vec![
                layer(ConvConfig::new([3, 8], 3).with_stride(2)),
                layer(ConvConfig::new([8, 8], 5).depthwise()),
                layer(ConvConfig::new([8, 6], 1)),
            ];
            Self { layers, head: LinearConfig::new(6, 4).init(device) }
        }

        fn forward(&self, images: Tensor<4>) -> Tensor<2> {
            let maps = self.layers.iter().fold(images, |maps, layer| layer.forward(maps));
            self.head.forward(maps.mean_dim(3).mean_dim(2).flatten::<2>(1, 3))
        }
    }

    fn apart(a: Tensor<2>, b: Tensor<2>) -> f32 {
        (a - b).abs().max().into_scalar()
    }

    #[test]
    fn adapters_begin_as_nothing_learn_alone_and_are_merged() {
        let device = Device::flex().autodiff();
        device.seed(6);
        let network = crate::nn::norm::freeze_norm(Network::new(&device));
        let images = Tensor::<4>::random([2, 3, 9, 7], Distribution::Default, &device);
        let expected = network.forward(images.clone()).inner();
        let plain = network.num_params();
        let config = LoraConfig { rank: 2, alpha: 4.0, on: LoraPart::Encoder };
        let (mut network, given) = adapted(network, config, |_| true, &|_| false);
        assert_eq!(given, 4);
        // Rows and columns of each matrix, twice.
        let thin = 2 * ((8 + 27) + (8 + 25) + (6 + 8) + (6 + 4));
        assert_eq!(network.num_params(), plain + thin);
        assert_eq!(apart(network.forward(images.clone()).inner(), expected.clone()), 0.0);

        let before = network.layers[0].conv.weight.base().into_data();
        let mut optimizer = SgdConfig::new().init();
        for _ in 0..3 {
            let loss = network.forward(images.clone()).square().sum();
            let gradients = GradientsParams::from_grads(loss.backward(), &network);
            assert_eq!(gradients.len(), 2 * given);
            network = optimizer.step(0.05, network, gradients);
        }
        assert_eq!(network.layers[0].conv.weight.base().into_data(), before);
        let found = network.valid().forward(images.clone().inner());
        assert!(apart(found.clone(), expected) > 1e-3, "the adapters learnt nothing");

        let merged = network.valid().materialize();
        assert_eq!(merged.num_params(), plain);
        assert!(apart(merged.forward(images.clone().inner()), found.clone()) < 1e-5);
        let layers = merged.layers.into_iter().map(ConvNormAct::fold).collect();
        let folded = Network { layers, ..merged };
        assert!(apart(folded.forward(images.inner()), found) < 1e-5);
    }

    #[test]
    fn what_learns_whole_has_no_adapter() {
        let device = Device::flex().autodiff();
        let network = Network::new(&device);
        let config = LoraConfig { rank: 1000, ..LoraConfig::default() };
        let (network, given) =
            adapted(network, config, |path| path.contains("layers.0"), &|path| {
                path.starts_with("head")
            });
        assert_eq!(given, 1);
        assert!(network.head.weight.is_require_grad());
        assert!(!network.layers[1].conv.weight.is_require_grad());
        // The rank is that of the matrix at most.
        assert_eq!(network.num_params(), Network::new(&device).num_params() + 8 * (8 + 27));
    }

    #[test]
    fn a_linear_layer_is_adapted_as_by_the_authors() {
        // loralib (golden/make_vit.py), whose matrices are `[outputs, inputs]`.
        let golden: serde_json::Value =
            serde_json::from_str(include_str!("../../../../golden/vit.json")).unwrap();
        let device = Device::flex();
        let matrix = |name: &str| {
            let rows: Vec<Vec<f32>> = serde_json::from_value(golden["lora"][name].clone()).unwrap();
            let shape = [rows.len(), rows[0].len()];
            Tensor::<2>::from_data(TensorData::new(rows.concat(), shape), &device)
        };
        let bias: Vec<f32> = serde_json::from_value(golden["lora"]["bias"].clone()).unwrap();
        let bias = Tensor::<1>::from_data(TensorData::from(bias.as_slice()), &device);
        let (alpha, rank) = (&golden["lora"]["alpha"], &golden["lora"]["rank"]);
        let adapter = LowRank {
            left: Param::from_tensor(matrix("lora_A").transpose()),
            right: Param::from_tensor(matrix("lora_B").transpose()),
            scale: alpha.as_f64().unwrap() / rank.as_f64().unwrap(),
        };
        let kernel = adapter.apply(matrix("weight").transpose());
        let found = matrix("tokens").matmul(kernel) + bias.unsqueeze();
        assert!(apart(found, matrix("result")) < 1e-6);
    }
}
