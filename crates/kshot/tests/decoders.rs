//! Decoders against PyTorch (`golden/make_unet.py` made the numbers).

#![allow(clippy::unwrap_used)]

use std::path::Path;

use burn::module::Module;
use burn::prelude::*;
use burn::tensor::TensorData;
use kshot::decoder::{Decode, DecodeConfig, UNetConfig};
#[cfg(feature = "embedded-weights")]
use kshot::decoder::{DecoderConfig, Segmenter};
use kshot::encoder::Features;
use kshot::encoder::keys::Renamed;
use kshot::weights::apply::into_module;
use kshot::weights::state::StateDict;

const SIZES: [[usize; 3]; 3] = [[3, 11, 9], [4, 6, 5], [5, 3, 3]];

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().unwrap()
}

fn same(ours: Vec<f32>, expected: &[f32], what: &str) {
    let scale = expected.iter().fold(0.0f32, |most, value| most.max(value.abs()));
    let pairs = ours.iter().zip(expected);
    let apart = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(ours.len() == expected.len() && apart < 1e-4 * scale, "{what}: {apart} of {scale}");
}

#[test]
fn unet_agrees_with_pytorch() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/unet.safetensors");
    let mut state = StateDict::read(&path).unwrap();
    let device = Device::flex().autodiff();
    let mut taken = |name: &str, shape: &[usize]| -> Vec<f32> {
        state.take(name, shape).unwrap().try_to_vec().unwrap()
    };
    let [evaluated, trained] = ["evaluated", "trained"].map(|name| taken(name, &[2, 3, 21, 18]));
    let up_gradient = taken("up_gradient", &[5, 8, 2, 2]);
    let (mut maps, mut gradients) = (Vec::new(), Vec::new());
    for (index, [channels, height, width]) in SIZES.into_iter().enumerate() {
        let shape = [2, channels, height, width];
        let data = TensorData::new(taken(&format!("map{index}"), &shape), shape);
        maps.push(Tensor::<4>::from_data(data, &device).require_grad());
        gradients.push(taken(&format!("map{index}_gradient"), &shape));
    }
    // PyTorch keeps a transposed convolution's weight and bias together.
    let rename = |name: &str| {
        let ours = name.trim_start_matches("weights.");
        let ours = ours.replace("norm.weight", "norm.gamma").replace("norm.bias", "norm.beta");
        let ours = ours.replace("running_mean", "mean").replace("running_var", "variance");
        Renamed::Ours(ours.replace("up.weight", "up").replace("up.bias", "bias"))
    };
    let network = UNetConfig { width: 4, ..UNetConfig::default() }
        .init(&[3, 4, 5], &[2, 4, 8], 3, &device)
        .unwrap();
    let network = into_module(network, "U-Net", &state, rename).unwrap();

    let features = Features { maps: maps.clone() };
    let plain = Features { maps: maps.iter().cloned().map(Tensor::inner).collect() };
    let valid = network.clone().valid();
    same(values(valid.forward(&plain, [21, 18])), &evaluated, "evaluated");
    same(values(UNetConfig::optimize(valid).forward(&plain, [21, 18])), &evaluated, "optimised");

    let network = network.train();
    let result = network.forward(&features, [21, 18]);
    same(values(result.clone().inner()), &trained, "trained");
    let count = result.shape().num_elements() as i64;
    let factors = Tensor::arange(0..count, &device).float().sin().reshape(result.shape());
    let grads = (result * factors).sum().backward();
    for (index, (map, expected)) in maps.iter().zip(&gradients).enumerate() {
        same(values(map.grad(&grads).unwrap()), expected, &format!("map {index}'s gradient"));
    }
    let up = network.transposed()[1].grad(&grads).unwrap();
    same(values(up), &up_gradient, "the transposed convolution's gradient");
}

#[test]
fn unet_wants_maps_that_halve() {
    let error = UNetConfig { width: 4, ..UNetConfig::default() }
        .init(&[8, 8], &[4, 16], 5, &Device::flex())
        .unwrap_err()
        .to_string();
    assert!(error.contains("[4, 16]"), "{error}");
}

/// The embedded encoder's maps have strides 2 to 32, several of them twice.
#[cfg(feature = "embedded-weights")]
#[test]
fn unet_goes_on_the_embedded_encoder() {
    let device = Device::flex();
    let encoder = kshot::weights::built_in::BuiltIn::find(kshot::weights::DEFAULT)
        .unwrap()
        .load(&device)
        .unwrap();
    let config = DecoderConfig::UNet(UNetConfig { width: 4, ..UNetConfig::default() });
    let network = Segmenter::new(encoder, &config, 21, &device).unwrap().optimize();
    for [height, width] in [[65, 33], [1, 7]] {
        let logits = network.forward(Tensor::zeros([1, 3, height, width], &device));
        assert_eq!(logits.dims(), [1, 21, height, width]);
    }
}
