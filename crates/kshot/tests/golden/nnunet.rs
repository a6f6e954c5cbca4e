//! nnU-Net's plain U-Net against the authors' package (`golden/make_nnunet.py` made the numbers).

use std::path::PathBuf;

use burn::module::Module;
use burn::prelude::*;
use burn::tensor::TensorData;
use kshot::decoder::{Decode, DecodeConfig, Decoder, PlainUNetDecoderConfig, Segmenter};
use kshot::encoder::keys::{Renamed, plain_unet};
use kshot::encoder::{Encode, EncoderConfig};
use kshot::weights::apply::{into_encoder, into_module};
use kshot::weights::state::StateDict;
use serde_json::Value;

use super::support;
use super::support::{computed, numbers, tensor_distance as distance};

fn expected() -> Value {
    support::expected("nnunet.json")
}

fn filled(shape: [usize; 4], name: &str, device: &Device) -> Tensor<4> {
    let values: Vec<f32> = numbers(name, shape.iter().product()).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// Names and shapes of the authors' tensors.
fn shapes(of: &Value) -> Vec<(String, Vec<usize>)> {
    let all = of.as_object().unwrap().iter();
    all.map(|(name, shape)| (name.clone(), serde_json::from_value(shape.clone()).unwrap()))
        .collect()
}

fn network(expected: &Value, device: &Device) -> Segmenter {
    let tensors = shapes(&expected["tensors"]).into_iter().map(|(name, shape)| {
        let values = computed(&name, &shape);
        (name, values)
    });
    let state = StateDict::new(PathBuf::from("nnunet"), tensors.collect());
    let config: EncoderConfig = "plain-unet-tiny".parse().unwrap();
    let encoder = into_encoder(&config, &state, device).unwrap();
    let classes = expected["classes"].as_u64().unwrap() as usize;
    let decoder = PlainUNetDecoderConfig::default()
        .init(&config.channels(), &config.strides(), classes, device)
        .unwrap();
    let levels = decoder.levels();
    let decoder =
        into_module(decoder, "decoder", &state, |name| plain_unet::decoder(name, levels)).unwrap();
    Segmenter { encoder, decoder: Decoder::PlainUNet(decoder) }
}

/// Maps, logits of all levels and gradients to 1e-4; optimised and not.
#[test]
fn the_plain_unet_is_the_authors() {
    let expected = expected();
    let shape: [usize; 4] = serde_json::from_value(expected["input"].clone()).unwrap();
    let device = Device::flex();
    let plain = network(&expected, &device);
    let image = filled(shape, "input", &device);
    let mut worst = 0.0f64;
    let mut hold = |what: String, ours: Tensor<4>, expected: &Value| {
        let apart = distance(ours, expected);
        println!("{what}: {apart:.1e}");
        worst = worst.max(apart);
    };
    let maps = plain.encoder.forward(image.clone()).maps;
    for (index, map) in maps.into_iter().enumerate() {
        hold(format!("map {index}"), map, &expected["maps"][index]);
    }
    hold("logits".to_owned(), plain.forward(image.clone()), &expected["logits"][0]);
    let optimised = plain.optimize().forward(image);
    hold("optimised".to_owned(), optimised, &expected["logits"][0]);

    let device = device.autodiff();
    let network = network(&expected, &device);
    let image = filled(shape, "input", &device).require_grad();
    let told = network.train_forward(image.clone());
    assert_eq!(told.auxiliary.len(), expected["logits"].as_array().unwrap().len() - 2);
    let auxiliary = told.auxiliary.into_iter().map(|head| head.logits);
    let mut loss = Tensor::<1>::zeros([1], &device);
    for (level, logits) in std::iter::once(told.logits).chain(auxiliary).enumerate() {
        let what = format!("logits of level {level} in training");
        hold(what, logits.clone().inner(), &expected["logits"][level]);
        let factors = filled(logits.dims(), &format!("factors{level}"), &device);
        loss = loss + (logits * factors).sum();
    }
    let gradients = loss.backward();
    let Decoder::PlainUNet(decoder) = &network.decoder else { unreachable!() };
    let of = |name: &str| &expected["gradients"][name];
    hold("gradient of the picture".to_owned(), image.grad(&gradients).unwrap(), of("input"));
    let coarsest = decoder.transposed().pop().unwrap().grad(&gradients).unwrap();
    let name = "decoder.transpconvs.0.weight";
    hold(format!("gradient of {name}"), coarsest, of(name));
    let name = "encoder.stages.1.0.convs.0.conv.weight";
    let kernels = Kernels::of(&network, &gradients);
    hold(format!("gradient of {name}"), kernels, of(name));
    assert!(worst < 1e-4, "{worst}");
}

/// The gradient of the second stage's first kernels.
struct Kernels<'a> {
    path: Vec<String>,
    gradients: &'a burn::tensor::Gradients,
    found: Option<Tensor<4>>,
}

impl<'a> Kernels<'a> {
    fn of(network: &Segmenter, gradients: &'a burn::tensor::Gradients) -> Tensor<4> {
        let mut kernels = Self { path: Vec::new(), gradients, found: None };
        network.encoder.visit(&mut kernels);
        kernels.found.unwrap()
    }
}

impl burn::module::ModuleVisitor for Kernels<'_> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }
    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }
    fn visit_float<const D: usize>(&mut self, param: &burn::module::Param<Tensor<D>>) {
        if self.path.join(".").ends_with("stages.1.layers.0.conv.weight") {
            let gradient = param.val().grad(self.gradients).unwrap();
            let shape: [usize; 4] = gradient.dims()[..].try_into().unwrap();
            self.found = Some(gradient.reshape(shape));
        }
    }
}

/// Every tensor of the authors' network for patches of 256 pixels is known; ours has as many numbers but for biases that
/// normalisation takes away and the head that counts nothing.
#[test]
fn every_tensor_of_the_authors_has_its_place() {
    let expected = expected();
    let device = Device::flex();
    let config: EncoderConfig = "plain-unet".parse().unwrap();
    let classes = expected["classes"].as_u64().unwrap() as usize;
    let decoder = PlainUNetDecoderConfig::default()
        .init(&config.channels(), &config.strides(), classes, &device)
        .unwrap();
    let (mut ours, mut spare, mut of_encoder) = (0, 0, 0);
    for (name, shape) in shapes(&expected["plain-unet"]) {
        let count: usize = shape.iter().product();
        match (config.rename(&name), plain_unet::decoder(&name, decoder.levels())) {
            (Renamed::Ours(_), Renamed::Spare) => {
                ours += count;
                of_encoder += count;
            }
            (Renamed::Spare, Renamed::Ours(_)) => ours += count,
            (Renamed::Spare, Renamed::Spare) => {
                let taken_away = name.contains(".convs.") && name.ends_with(".conv.bias");
                assert!(taken_away || name.starts_with("decoder.seg_layers.0."), "{name}");
                spare += count;
            }
            other => panic!("{name}: {other:?}"),
        }
    }
    assert_eq!(of_encoder, config.describe().parameters);
    let network = Segmenter { encoder: config.init(&device), decoder: Decoder::PlainUNet(decoder) };
    assert_eq!(network.num_params(), ours);
    assert_eq!(ours + spare, expected["plain-unet parameters"].as_u64().unwrap() as usize);
    let Decoder::PlainUNet(decoder) = &network.decoder else { unreachable!() };
    // Six levels, five of which count.
    assert!((decoder.main_weight() - 16.0 / 31.0).abs() < 1e-12);
}
