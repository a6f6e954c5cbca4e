//! Decoders against PyTorch (`golden/make_unet.py` made the numbers).

#![allow(clippy::unwrap_used)]

use std::path::Path;

use burn::module::Module;
use burn::prelude::*;
use burn::tensor::TensorData;
use kshot::decoder::UNetConfig;
use kshot::encoder::keys::Renamed;
use kshot::encoder::{Encode, EncoderConfig, Features};
use kshot::weights::apply::into_module;
use kshot::weights::state::State;

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
    let mut state = State::read(&path).unwrap();
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
        Renamed::Ours(ours.replace("up.weight", "up").replace("up.bias", "bias"))
    };
    let config = UNetConfig { width: 4, classes: 3 };
    let network = config.init(&[3, 4, 5], &[2, 4, 8], &device).unwrap();
    let network = into_module(network, "U-Net", &state, rename).unwrap();

    let features = Features { maps: maps.clone() };
    let plain = Features { maps: maps.iter().cloned().map(Tensor::inner).collect() };
    let valid = network.clone().valid();
    same(values(valid.forward(&plain, [21, 18])), &evaluated, "evaluated");
    same(values(valid.optimize().forward(&plain, [21, 18])), &evaluated, "optimised");

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
fn unet_goes_on_every_encoder_whose_maps_halve() {
    let device = Device::flex();
    let config = UNetConfig { width: 4, classes: 5 };
    let encoder: EncoderConfig = "efficientnet-lite-tiny".parse().unwrap();
    let network = config.init(&encoder.channels(), &encoder.strides(), &device).unwrap();
    let encoder = encoder.init(&device);
    for size in [[65, 33], [32, 64], [1, 7]] {
        let features = encoder.forward(Tensor::zeros([1, 3, size[0], size[1]], &device));
        assert_eq!(network.forward(&features, size).dims(), [1, 5, size[0], size[1]]);
    }
    let error = config.init(&[8, 8], &[4, 16], &device).unwrap_err().to_string();
    assert!(error.contains("[4, 16]"), "{error}");
}
