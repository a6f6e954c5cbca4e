//! Our networks and layers against outside implementations: `golden/make_encoders.py` and
//! `golden/make_batch_norm.py` made the numbers.

use std::path::PathBuf;

use super::support::{computed, distance, distances, expected, golden, numbers, picture, same};
use burn::module::{Module, Param};
use burn::optim::{GradientsParams, SgdConfig};
use burn::prelude::*;
use kshot::encoder::efficientnet_lite::EfficientNetLiteConfig;
use kshot::encoder::{Encode, EncoderConfig, Family};
use kshot::nn::{Activation, ConvConfig, ConvNormAct};
use kshot::weights;
#[cfg(feature = "embedded-weights")]
use kshot::weights::built_in::BuiltIn;
use kshot::weights::state::StateDict;

/// Every stage and the logits on five real pictures: to 1e-4 against the reference with the very
/// same (partly 16-bit) weights, and to 1e-3 against its 32-bit original, the price of the small
/// file; folded and not.
#[cfg(feature = "embedded-weights")]
#[test]
fn efficientnet_lite_with_its_built_in_weights() {
    let names: Vec<&str> = BuiltIn::all().iter().map(|built_in| built_in.encoder).collect();
    assert_eq!(names, [weights::DEFAULT, "efficientnet-lite2"]);
    BuiltIn::all().iter().for_each(like_its_published_weights);
}

#[cfg(feature = "embedded-weights")]
fn like_its_published_weights(built_in: &BuiltIn) {
    let device = Device::flex();
    let expected = expected(&format!("{}.json", built_in.encoder));
    let mut presets = EfficientNetLiteConfig::PRESETS.iter();
    let config = presets.find(|preset| preset.name == built_in.encoder).unwrap().config;
    let network = config.init_classifier(1000, &device);
    let (what, state) = (built_in.encoder, built_in.state().unwrap());
    let plain =
        weights::apply::into_module(network, what, &state, |name| config.rename(name)).unwrap();
    let folded = EfficientNetLiteConfig::optimize(plain.clone());
    let encoder = built_in.load(&device).unwrap();
    for (name, expected) in expected.as_object().unwrap() {
        let image = picture(name, config.normalization(), &device);
        for (kind, network) in [("plain", &plain), ("folded", &folded)] {
            let features = network.forward(image.clone());
            let logits = network.classify(image.clone()).unwrap();
            let values = logits.to_data().try_to_vec::<f32>().unwrap();
            for (against, tolerance) in [("half_", 1e-4), ("", 1e-3)] {
                let stages = distances(&features, &expected[format!("{against}stages")]);
                let logits = distance(&values, &[1, 1000], &expected[format!("{against}logits")]);
                println!("{what} {name} {kind} {against}: {stages:?} {logits:.1e}");
                let close = stages.iter().all(|d| *d < tolerance) && logits < tolerance;
                assert!(close, "{name} {kind} {against}: {stages:?} {logits:.1e}");
            }
            let mut order: Vec<usize> = (0..1000).collect();
            order.sort_by(|a, b| values[*b].total_cmp(&values[*a]));
            let top: Vec<usize> = serde_json::from_value(expected["top5"].clone()).unwrap();
            assert_eq!(order[..5], top, "{name} {kind}: the five best classes");
        }
        let features = encoder.forward(image);
        assert!(distances(&features, &expected["half_stages"]).iter().all(|d| *d < 1e-4));
    }
}

/// Every stage of ResNets, VGGs and EfficientNet-Lites with computed weights under their published
/// names, dilated ones and ones of other numbers of input channels too, against torchvision and timm;
/// folded and not, to 1e-4.
#[test]
fn every_network_like_torchvision_or_timm() {
    let device = Device::flex();
    let expected = expected("torchvision.json");
    let size: [usize; 4] = serde_json::from_value(expected["input"].clone()).unwrap();
    let mut far = Vec::new();
    for network in expected["networks"].as_array().unwrap() {
        let published = &expected["tensors"][network["published"].as_str().unwrap()];
        let tensors = published.as_object().unwrap().iter().map(|(name, shape)| {
            let shape: Vec<usize> = serde_json::from_value(shape.clone()).unwrap();
            // A classifier's head, which encoders skip, is left empty.
            let head = name.starts_with("fc.") || name.starts_with("classifier.");
            let head = head.then(|| TensorData::new(vec![0.0_f32], [1]));
            (name.clone(), head.unwrap_or_else(|| computed(name, &shape)))
        });
        let path = PathBuf::from(network["published"].as_str().unwrap());
        let state = StateDict::new(path, tensors.collect());
        let config: EncoderConfig = serde_json::from_value(network["encoder"].clone()).unwrap();
        let encoder = weights::apply::into_encoder(&config, &state, &device).unwrap();
        drop(state);
        let size = [size[0], config.in_channels(), size[2], size[3]];
        let pixels: Vec<f32> = numbers("input", size.iter().product()).collect();
        let image = Tensor::<4>::from_data(TensorData::new(pixels, size), &device);
        let plain = distances(&encoder.forward(image.clone()), &network["stages"]);
        let folded = distances(&encoder.optimize().forward(image), &network["stages"]);
        println!("{config}: plain {plain:?}, folded {folded:?}");
        let close = plain.iter().chain(&folded).all(|distance| *distance < 1e-4);
        if !close {
            far.push(format!("{config}: plain {plain:?}, folded {folded:?}"));
        }
    }
    assert!(far.is_empty(), "{far:#?}");
}

/// Convolution, batch normalisation and ReLU through ten steps of SGD: result and gradients of the
/// first, parameters and running statistics after the last, and what is then evaluated, folded and
/// not; all to 1e-5 of the largest value.
#[test]
fn batch_norm_trains_like_pytorch() {
    let mut state = StateDict::read(&golden().join("batch_norm.safetensors")).unwrap();
    let device = Device::flex().autodiff();
    let (kernels, channels, results) = ([5, 3, 3, 3], [5], [3, 5, 5, 4]);
    let mut taken = |name: &str, shape: &[usize]| -> Vec<f32> {
        state.take(name, shape).unwrap().try_to_vec().unwrap()
    };
    let tensor = |values: Vec<f32>| Tensor::<1>::from_data(values.as_slice(), &device);

    let config = ConvConfig::new([3, 5], 3).with_stride(2);
    let mut layer = ConvNormAct::new(&config, 1e-3, Activation::Relu, &device);
    let weight = tensor(taken("weight", &kernels)).reshape(kernels);
    layer.conv.weight = Param::initialized(layer.conv.weight.id, weight.require_grad());
    let [gamma, beta] = ["gamma", "beta"].map(|name| tensor(taken(name, &channels)).require_grad());
    layer.norm.as_mut().unwrap().set(gamma, beta);
    let images = tensor(taken("images", &[10, 3, 3, 9, 7])).reshape([10, 3, 3, 9, 7]);

    let mut optimizer = SgdConfig::new().init();
    for step in 0..10 {
        let batch = images.clone().narrow(0, step, 1).reshape([3, 3, 9, 7]).inner();
        let batch = Tensor::<4>::from_inner(batch).require_grad();
        let output = layer.forward(batch.clone());
        let factors = Tensor::arange(0..3 * 5 * 5 * 4, &device).float().sin().reshape(results);
        let gradients = (output.clone() * factors).sum().backward();
        if step == 0 {
            same(output.inner(), &taken("first_output", &results), "the first result");
            let batch = batch.grad(&gradients).unwrap();
            same(batch, &taken("images_gradient", &[3, 3, 9, 7]), "the images' gradient");
            let weight = layer.conv.weight.val().grad(&gradients).unwrap();
            same(weight, &taken("weight_gradient", &kernels), "the kernels' gradient");
            let norm = layer.norm.as_ref().unwrap();
            for (name, param) in [("gamma", &norm.gamma), ("beta", &norm.beta)] {
                let gradient = param.val().grad(&gradients).unwrap();
                same(gradient, &taken(&format!("{name}_gradient"), &channels), name);
            }
        }
        let gradients = GradientsParams::from_grads(gradients, &layer);
        layer = optimizer.step(0.01, layer, gradients);
    }
    same(layer.conv.weight.val().inner(), &taken("trained_weight", &kernels), "trained kernels");
    let norm = layer.norm.as_ref().unwrap();
    let running = norm.running();
    for (name, ours) in [
        ("trained_gamma", norm.gamma.val().inner()),
        ("trained_beta", norm.beta.val().inner()),
        ("running_mean", running.mean),
        ("running_var", running.variance),
    ] {
        same(ours, &taken(name, &channels), name);
    }
    let expected = taken("evaluated", &results);
    let last = images.narrow(0, 9, 1).reshape([3, 3, 9, 7]).inner();
    let layer = layer.valid();
    same(layer.forward(last.clone()), &expected, "evaluated");
    same(layer.fold().forward(last), &expected, "folded");
}
