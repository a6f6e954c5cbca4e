//! Networks on a GPU as on the processor: logits and gradients of every decoder. On a machine without a card, Mesa's or
//! SwiftShader's software adapter does (`KSHOT_TEST_DEVICE`, `wgpu:software` by default); where there is none this is
//! skipped. With the feature `wgpu` alone: `bash .ci/devices`.
#![cfg(feature = "wgpu")]
#![allow(clippy::unwrap_used)] // helpers of tests

use std::collections::BTreeMap;

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::prelude::*;
use burn::tensor::TensorData;
use kshot::decoder::{DecoderConfig, Segmenter};
use kshot::encoder::EncoderConfig;
use kshot::nn::weights::deep_copy;

/// Relative distances that are allowed: of logits, and of gradients, which a ReLU at zero to within rounding passes here and
/// stops there (one pixel of the U-Net's last map: 0.03).
const CLOSE: f32 = 1e-3;
const CLOSE_GRADIENT: f32 = 0.06;
/// The logits' name among the gradients.
const LOGITS: &str = "logits";

/// Pairs that have all decoders, and every kind of layer of the encoders.
const ENCODERS: [(&str, &[&str]); 9] = [
    ("resnet-tiny", &["linear", "fcn", "fcn-head", "unet", "unet-nearest", "pspnet", "deeplab-v1"]),
    ("efficientnet-lite-tiny", &["deeplab-v2", "deeplab-v3", "deeplab-v3-plus"]),
    ("vgg-tiny", &["segnet"]),
    ("hrnet-tiny", &["hrnet"]),
    ("inception-v3-tiny", &["linear"]),
    ("mobilenet-v3-tiny", &["linear"]),
    ("ddrnet-tiny", &["ddrnet"]),
    ("plain-unet-tiny", &["plain-unet"]),
    ("vit-test-tiny", &["mask-transformer"]),
];

/// The values of a network's gradients by the parameters' paths.
struct Gradients<'a> {
    of: &'a GradientsParams,
    path: Vec<String>,
    found: BTreeMap<String, Vec<f32>>,
}

impl ModuleVisitor for Gradients<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
        if let Some(gradient) = self.of.get::<D>(parameter.id) {
            let values = gradient.into_data().convert::<f32>().try_into_vec().unwrap();
            self.found.insert(self.path.join("."), values);
        }
    }
}

/// Logits, and the gradients of their mean square.
fn run(network: Segmenter, pixels: &TensorData) -> BTreeMap<String, Vec<f32>> {
    let device = network.devices().remove(0);
    let images = Tensor::<4>::from_data(pixels.clone(), &device);
    let logits = network.train_forward(images).logits;
    let values = logits.clone().inner().into_data().convert::<f32>().try_into_vec().unwrap();
    let of = GradientsParams::from_grads(logits.square().mean().backward(), &network);
    let mut gradients = Gradients { of: &of, path: Vec::new(), found: BTreeMap::new() };
    network.visit(&mut gradients);
    gradients.found.insert(LOGITS.to_owned(), values);
    gradients.found
}

/// A decoder that drops nothing at random.
fn without_dropout(name: &str) -> DecoderConfig {
    let without = serde_json::json!({ "name": name, "dropout": 0.0 });
    serde_json::from_value(without).unwrap_or_else(|_| name.parse().unwrap())
}

/// The norm of the difference over the norm.
fn distance(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let norm = |values: &mut dyn Iterator<Item = f32>| values.map(|of| of * of).sum::<f32>().sqrt();
    let apart = norm(&mut a.iter().zip(b).map(|(a, b)| a - b));
    apart / norm(&mut b.iter().copied()).max(1e-6)
}

#[test]
fn every_decoder_learns_on_a_gpu_as_on_the_processor() {
    let name = std::env::var("KSHOT_TEST_DEVICE").unwrap_or_else(|_| "wgpu:software".to_owned());
    let gpu = match kshot::device::parse_all(&name) {
        Ok(mut devices) => devices.remove(0).autodiff(),
        Err(error) => {
            println!("skipped: {name} is absent: {error}");
            return;
        }
    };
    let flex = Device::flex().autodiff();
    let mut far = Vec::new();
    for (encoder, decoders) in ENCODERS {
        let encoder: EncoderConfig = encoder.parse().unwrap();
        for name in decoders {
            flex.seed(5);
            let decoder = without_dropout(name);
            let network = Segmenter::new(encoder.init(&flex), &decoder, 3, &flex).unwrap();
            // What is made at random is made now, before it is copied.
            let network = deep_copy(&network).train();
            let values: Vec<f32> =
                (0..2 * 3 * 48 * 40).map(|at| (at as f32 * 0.37).sin()).collect();
            let pixels = TensorData::new(values, [2, 3, 48, 40]);
            let expected = run(network.clone(), &pixels);
            let found = run(network.fork(&gpu), &pixels);
            for (path, values) in &expected {
                let apart = distance(&found[path], values);
                let allowed = if path == LOGITS { CLOSE } else { CLOSE_GRADIENT };
                if apart > allowed {
                    far.push(format!("{name}: {apart:.1e} at {path}"));
                }
            }
            println!("{name}: logits {:.1e}", distance(&found[LOGITS], &expected[LOGITS]));
        }
    }
    assert!(far.is_empty(), "{far:#?}");
}
