//! Attention layers, vision transformers and the mask transformer against PyTorch and timm: `golden/make_vit.py` made the
//! numbers.

use std::path::PathBuf;

use burn::prelude::*;
use kshot::decoder::{Decode, DecodeConfig, MaskTransformerConfig};
use kshot::encoder::keys::{self, Renamed};
use kshot::encoder::vit::VitConfig;
use kshot::encoder::{Encode, EncoderConfig, Features};
use kshot::nn::attention::{AttentionConfig, QkvBias, scaled_dot_product_attention};
use kshot::nn::non_local::{NonLocalConfig, Pairwise};
use kshot::nn::norm::freeze_norm;
use kshot::nn::positions::{Interpolation, sinusoidal_2d};
use kshot::weights::apply::{into_encoder, into_module};
use kshot::weights::state::StateDict;
use serde_json::Value;

use super::support;
use super::support::tensor_distance as distance;

const CLOSE: f64 = 1e-4;

fn expected() -> Value {
    support::expected("vit.json")
}

fn numbers(name: &str, count: usize) -> Vec<f32> {
    support::numbers(name, count).collect()
}

/// `computed` of `golden/make_vit.py`.
fn computed(name: &str, shape: &[usize]) -> TensorData {
    let count: usize = shape.iter().product();
    let (shift, scale) = match (shape.len(), name.rsplit('.').next().unwrap()) {
        (3, _) => (0.0, 0.5),
        (2.., _) => (0.0, (3.0 / (count / shape[0]) as f64).sqrt() as f32),
        (_, "gamma" | "gamma_1" | "gamma_2") => (0.5, 0.3),
        (_, "running_var") => (1.0, 0.5),
        (_, "weight") => (1.0, 0.2),
        _ => (0.0, 0.1),
    };
    let values: Vec<f32> = numbers(name, count).into_iter().map(|u| shift + scale * u).collect();
    TensorData::new(values, shape.to_vec())
}

fn state(what: &str, tensors: &Value) -> StateDict {
    let tensors = tensors.as_object().unwrap().iter().map(|(name, shape)| {
        let shape: Vec<usize> = serde_json::from_value(shape.clone()).unwrap();
        (name.clone(), computed(name, &shape))
    });
    StateDict::new(PathBuf::from(what), tensors.collect())
}

/// The same of names and shapes that the test knows.
fn known(tensors: &[(&str, &[usize])]) -> StateDict {
    let tensors = tensors.iter().map(|(name, shape)| ((*name).to_owned(), computed(name, shape)));
    StateDict::new(PathBuf::from("computed"), tensors.collect())
}

fn tensor<const D: usize>(name: &str, shape: [usize; D], scale: f32) -> Tensor<D> {
    let values = numbers(name, shape.iter().product());
    let values: Vec<f32> = values.into_iter().map(|value| scale * value).collect();
    Tensor::from_data(TensorData::new(values, shape), &Device::flex())
}

fn close<const D: usize>(ours: Tensor<D>, expected: &Value, what: &str) {
    let distance = distance(ours, expected);
    println!("{what}: {distance:.1e}");
    assert!(distance < CLOSE, "{what}: {distance}");
}

#[test]
fn attention_like_pytorch() {
    let expected = &expected()["attention"];
    // Ours has the channels before the tokens.
    let [queries, keys, values] =
        [("queries", [2, 3, 5, 4]), ("keys", [2, 3, 7, 4]), ("values", [2, 3, 7, 6])]
            .map(|(name, shape)| tensor(name, shape, 1.0).swap_dims(2, 3));
    let result = scaled_dot_product_attention(queries, keys, values, 0.5).swap_dims(2, 3);
    close(result, &expected["plain"], "scaled dot-product attention");

    let state = known(&[
        ("in_proj_weight", &[36, 12]),
        ("in_proj_bias", &[36]),
        ("out_proj.weight", &[12, 12]),
        ("out_proj.bias", &[12]),
    ]);
    let config = AttentionConfig { channels: 12, heads: 3, bias: QkvBias::All };
    let layer = into_module(config.init(&Device::flex()), "attention", &state, |name| {
        Renamed::Ours(name.replace("in_proj_", "qkv.").replace("out_proj", "project"))
    });
    let layer = layer.unwrap();
    let tokens = tensor("tokens", [2, 9, 12], 1.0).swap_dims(1, 2).reshape([2, 12, 1, 9]);
    for (what, layer) in [("multi-head", layer.clone()), ("multi-head, folded", layer.fold())] {
        let result = layer.forward(tokens.clone(), None).reshape([2, 12, 9]).swap_dims(1, 2);
        close(result, &expected["several"], what);
    }
}

#[test]
fn sinusoidal_positions_like_timm() {
    for row in expected()["positions"].as_array().unwrap() {
        let grid: [usize; 2] = serde_json::from_value(row["grid"].clone()).unwrap();
        let channels = row["channels"].as_u64().unwrap() as usize;
        let ours = sinusoidal_2d(grid, channels, &Device::flex());
        close(ours, &row["result"], &format!("{grid:?}"));
    }
}

#[test]
fn non_local_like_the_paper() {
    let mut tensors: Vec<(String, Vec<usize>)> = Vec::new();
    for name in ["theta", "phi", "g"] {
        tensors.push((format!("{name}.weight"), vec![4, 8, 1, 1]));
        tensors.push((format!("{name}.bias"), vec![4]));
    }
    tensors.push(("w.weight".to_owned(), vec![8, 4, 1, 1]));
    for name in ["w.bias", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var"] {
        tensors.push((name.to_owned(), vec![8]));
    }
    let tensors: Vec<(&str, &[usize])> =
        tensors.iter().map(|(name, shape)| (name.as_str(), shape.as_slice())).collect();
    let state = known(&tensors);
    let rename = |name: &str| {
        let ours = name.replace("bn.weight", "bn.gamma").replace("bn.bias", "bn.beta");
        let ours = ours.replace("running_mean", "mean").replace("running_var", "variance");
        let ours = ours.replace("bn.", "result.norm.");
        Renamed::Ours(if ours.starts_with("w.") {
            format!("result.conv{}", &ours[1..])
        } else {
            ours
        })
    };
    for row in expected()["non_local"].as_array().unwrap() {
        let [softmax, subsample] = ["softmax", "pool"].map(|key| row[key].as_bool().unwrap());
        let pairwise = if softmax { Pairwise::EmbeddedGaussian } else { Pairwise::DotProduct };
        let config = NonLocalConfig { channels: 8, pairwise, subsample };
        let block = into_module(config.init(&Device::flex()), "non-local", &state, rename).unwrap();
        let map = tensor("map", [2, 8, 7, 6], 3.0);
        let trained = freeze_norm(block.clone()).forward(map.clone());
        close(trained, &row["result"], &format!("{config:?}"));
        close(block.fold().forward(map), &row["result"], &format!("{config:?}, folded"));
    }
}

/// A vision transformer with computed weights under the names of timm's.
#[allow(clippy::large_enum_variant)] // there are two at a time
enum Network {
    Preset(kshot::encoder::Encoder),
    Own(kshot::encoder::vit::VisionTransformer),
}

impl Network {
    fn new(encoder: &Value, state: &StateDict) -> Self {
        let device = Device::flex();
        let name = encoder["name"].as_str().unwrap();
        if name == "dinov2-test-tiny-offset" {
            let config = VitConfig {
                patch: 14,
                width: 16,
                depth: 2,
                heads: 2,
                layer_scale: 1e-5,
                grid: 4,
                interpolation: Interpolation::Offset,
                ..VitConfig::TINY
            };
            let rename = |name: &str| keys::vit::rename(name, config.bias);
            return Self::Own(into_module(config.init(&device), name, state, rename).unwrap());
        }
        let config: EncoderConfig = serde_json::from_value(encoder.clone()).unwrap();
        Self::Preset(into_encoder(&config, state, &device).unwrap())
    }

    fn results(&self, images: Tensor<4>) -> (Features, Tensor<4>) {
        match self {
            Self::Preset(network) => (network.forward(images.clone()), network.embedding(images)),
            Self::Own(network) => (network.forward(images.clone()), network.embedding(images)),
        }
    }

    fn optimized(self) -> Self {
        match self {
            Self::Preset(network) => Self::Preset(network.optimize()),
            Self::Own(network) => Self::Own(network.fold()),
        }
    }
}

/// Maps and embeddings at the native grid and at others, folded and not.
#[test]
fn vision_transformers_like_timm() {
    let all = expected();
    let mut far = Vec::new();
    let mut worst = 0.0f64;
    let mut previous = None;
    for row in all["networks"].as_array().unwrap() {
        let (encoder, size) = (&row["encoder"], &row["size"]);
        let [height, width]: [usize; 2] = serde_json::from_value(size.clone()).unwrap();
        let images = tensor("input", [2, 3, height, width], 1.0);
        // Neighbouring rows share a network.
        let networks = match previous.take() {
            Some((of, networks)) if of == *encoder => networks,
            _ => {
                let name = row["tensors"].as_str().unwrap();
                let state = state(name, &all["tensors"][name]);
                [Network::new(encoder, &state), Network::new(encoder, &state).optimized()]
            }
        };
        for (kind, network) in ["plain", "folded"].into_iter().zip(&networks) {
            let (features, embedding) = network.results(images.clone());
            let wanted = row["maps"].as_array().unwrap();
            assert_eq!(features.maps.len(), wanted.len());
            let maps = features.maps.into_iter().zip(wanted);
            let mut distances: Vec<f64> = maps.map(|(map, wanted)| distance(map, wanted)).collect();
            let embedding = kshot::nn::global_average(embedding);
            let [batch, channels, ..] = embedding.dims();
            distances.push(distance(embedding.reshape([batch, channels]), &row["embedding"]));
            println!("{encoder} {size} {kind}: {distances:?}");
            if !distances.iter().all(|distance| *distance < CLOSE) {
                far.push(format!("{encoder} {size} {kind}: {distances:?}"));
            }
            worst = distances.into_iter().fold(worst, f64::max);
        }
        previous = Some((encoder.clone(), networks));
    }
    println!("largest distance: {worst:.1e}");
    assert!(far.is_empty(), "{far:#?}");
}

/// Every tensor of the published networks is known and has its place.
#[test]
fn published_files_fit_whole() {
    let all = expected();
    for (name, tensors) in all["tensors"].as_object().unwrap() {
        let Ok(config) = name.parse::<EncoderConfig>() else { continue };
        if !name.contains("base") {
            continue; // the others are filled by the test above
        }
        let tensors = tensors.as_object().unwrap().iter().map(|(name, shape)| {
            let shape: Vec<usize> = serde_json::from_value(shape.clone()).unwrap();
            let count = shape.iter().product();
            (name.clone(), TensorData::new(vec![0.5_f32; count], shape))
        });
        let state = StateDict::new(PathBuf::from(name), tensors.collect());
        into_encoder(&config, &state, &Device::flex()).unwrap();
    }
}

#[test]
fn mask_transformer_like_segmenter() {
    let expected = &expected()["mask_transformer"];
    let mut state = state("mask transformer", &expected["tensors"]);
    // Matrices from the right there.
    for name in ["proj_patch", "proj_classes"] {
        let data = state.tensors.remove(name).unwrap();
        let turned = Tensor::<2>::from_data(data, &Device::flex()).transpose().into_data();
        state.tensors.insert(format!("{name}.weight"), turned);
    }
    let rename = |name: &str| match name.split_once('.') {
        Some(("proj_dec", field)) => Renamed::Ours(format!("input.{field}")),
        Some(("proj_patch", field)) => Renamed::Ours(format!("project_patches.{field}")),
        Some(("proj_classes", field)) => Renamed::Ours(format!("project_classes.{field}")),
        Some(("decoder_norm", "weight")) => Renamed::Ours("norm.gamma".to_owned()),
        Some(("decoder_norm", _)) => Renamed::Ours("norm.beta".to_owned()),
        Some(("mask_norm", "weight")) => Renamed::Ours("mask_norm.gamma".to_owned()),
        Some(("mask_norm", _)) => Renamed::Ours("mask_norm.beta".to_owned()),
        None => Renamed::Ours("classes".to_owned()),
        _ => keys::vit::rename(name, QkvBias::All),
    };
    let config = MaskTransformerConfig { depth: 2, width: Some(128) };
    let network = config.init(&[12], &[16], 5, &Device::flex()).unwrap();
    let network = into_module(network, "mask transformer", &state, rename).unwrap();
    let features = Features { maps: vec![tensor("map", [2, 12, 4, 3], 2.0)] };
    let plain = network.forward(&features, [37, 29]);
    close(plain, &expected["result"], "mask transformer");
    let folded = MaskTransformerConfig::optimize(network).forward(&features, [37, 29]);
    close(folded, &expected["result"], "mask transformer, folded");
}
