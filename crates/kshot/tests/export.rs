//! Networks as ONNX: every pair of an encoder and a decoder. `golden/check_onnx.py` runs what is written here in
//! onnxruntime and compares.

#![allow(clippy::unwrap_used)] // helpers of tests

use std::collections::BTreeSet;
use std::path::PathBuf;

use burn::module::Module;
use burn::prelude::*;
use burn::tensor::Distribution;
use kshot::decoder::{DecoderConfig, Segmenter};
use kshot::encoder::{EncoderConfig, Normalization};
use kshot::export::proto::Model;
use kshot::export::{OnnxOptions, onnx, write_safetensors};
use kshot::weights::segmenter::{DecoderWeights, into_segmenter};
use kshot::weights::state::StateDict;
use prost::Message;

/// Pictures that the networks were not recorded with: batch, height, width.
const SIZES: [[usize; 3]; 3] = [[1, 64, 96], [2, 75, 53], [1, 33, 130]];

fn options(size: Option<[usize; 2]>) -> OnnxOptions {
    OnnxOptions {
        classes: ["background", "cell", "wall"].map(str::to_owned).to_vec(),
        normalization: Normalization::IMAGENET,
        longest_side: Some(768),
        background: true,
        size,
    }
}

/// Every decoder on each family's smallest network that it fits.
fn networks() -> Vec<(String, Segmenter)> {
    let device = Device::flex();
    device.seed(3);
    let mut all = Vec::new();
    for encoder in EncoderConfig::all() {
        for decoder in DecoderConfig::all() {
            let name = format!("{}-{}", encoder.name(), decoder.name());
            if encoder.name().ends_with("-tiny")
                && let Ok(network) = Segmenter::new(encoder.init(&device), &decoder, 3, &device)
            {
                all.push((name, moved(network)));
            }
        }
    }
    all
}

/// After a step of training, so that running statistics are not their start.
fn moved(network: Segmenter) -> Segmenter {
    let network = network.train();
    let device = Device::flex().autodiff();
    network.forward(Tensor::random([2, 3, 40, 40], Distribution::Normal(0.0, 1.0), &device));
    network.valid()
}

/// What is written as tensors is read back as weights: the same function, of every pair.
#[test]
fn tensors_come_back_as_they_were() {
    let device = Device::flex();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("network.safetensors");
    let pictures = Tensor::<4>::random([1, 3, 64, 64], Distribution::Normal(0.0, 1.0), &device);
    let mut pairs = 0;
    for encoder in EncoderConfig::all().into_iter().filter(|of| of.name().ends_with("-tiny")) {
        for decoder in DecoderConfig::all() {
            let Ok(network) = Segmenter::new(encoder.init(&device), &decoder, 3, &device) else {
                continue;
            };
            let network = moved(network);
            write_safetensors(&network, &options(None), &file).unwrap();
            let state = StateDict::read(&file).unwrap();
            let (read, weights) = into_segmenter(&encoder, &decoder, 3, &state, &device).unwrap();
            let pair = format!("{} {}", encoder.name(), decoder.name());
            assert!(matches!(weights, DecoderWeights::File { dilated_otherwise: false }), "{pair}");
            let [before, after] =
                [network, read].map(|of| of.forward(pictures.clone()).into_data());
            assert_eq!(before, after, "{pair}");
            // For other classes the encoder alone is the file's.
            let (_, weights) = into_segmenter(&encoder, &decoder, 5, &state, &device).unwrap();
            assert!(matches!(weights, DecoderWeights::Random(_)), "{pair}");
            pairs += 1;
        }
    }
    assert!(pairs > 40, "{pairs}");
}

/// Every value is computed once, before it is used.
fn assert_sound(name: &str, model: &Model) {
    let graph = model.graph.as_ref().unwrap();
    let given = graph.initializer.iter().filter_map(|constant| constant.name.clone());
    let inputs = graph.input.iter().filter_map(|value| value.name.clone());
    let mut known = BTreeSet::new();
    for value in given.chain(inputs) {
        assert!(known.insert(value.clone()), "{name}: `{value}` is there twice");
    }
    for node in &graph.node {
        for input in node.input.iter().filter(|input| !input.is_empty()) {
            assert!(known.contains(input), "{name}: `{input}` is used before it is there");
        }
        for output in &node.output {
            assert!(known.insert(output.clone()), "{name}: `{output}` is computed twice");
        }
    }
    for output in &graph.output {
        assert!(known.contains(output.name.as_ref().unwrap()), "{name}: {output:?}");
    }
}

/// The shape of a value; an axis that may be any is -1.
fn shape(value: &kshot::export::proto::Value) -> Vec<i64> {
    let tensor = value.kind.as_ref().unwrap().tensor.as_ref().unwrap();
    let axes = &tensor.shape.as_ref().unwrap().dim;
    axes.iter().map(|axis| axis.value.unwrap_or(-1)).collect()
}

/// Pairs that are written for one size alone: vision transformers pad pictures to whole patches and interpolate positions;
/// attention of the many places of a plain U-Net's finest map goes in parts.
fn is_fixed(pair: &str) -> bool {
    ["vit-", "dinov2-", "dinov3-", "plain-unet-tiny-mask"]
        .iter()
        .any(|start| pair.starts_with(start))
}

#[test]
fn every_pair_is_written_for_any_size_or_says_why_not() {
    let left = std::env::var_os("KSHOT_ONNX_OUT").map(PathBuf::from);
    for (name, network) in networks() {
        let (bytes, size) = match onnx(&network, &options(None)) {
            Ok(bytes) => {
                assert!(!is_fixed(&name), "{name} is written for any size; say so in is_fixed");
                (bytes, None)
            }
            Err(error) => {
                let reason = error.to_string();
                assert!(reason.contains("give --size"), "{name}: {reason}");
                assert!(is_fixed(&name), "{name}: {reason}");
                let size = [SIZES[0][1], SIZES[0][2]];
                (onnx(&network, &options(Some(size))).unwrap(), Some(size))
            }
        };
        let model = Model::decode(&bytes[..]).unwrap();
        assert_sound(&name, &model);
        let graph = model.graph.as_ref().unwrap();
        let sides = size.map_or([-1, -1], |size| size.map(|side| side as i64));
        assert_eq!(shape(&graph.input[0]), [vec![-1, 3], sides.to_vec()].concat(), "{name}");
        assert_eq!(shape(&graph.output[0]), [vec![-1, 3], sides.to_vec()].concat(), "{name}");
        assert_eq!(shape(&graph.output[1]), [vec![-1], sides.to_vec()].concat(), "{name}");
        if let Some(folder) = &left {
            leave(folder, &name, &network, &bytes, size.is_some());
        }
    }
}

/// Leaves the model with pictures and logits for `golden/check_onnx.py`.
fn leave(folder: &std::path::Path, name: &str, network: &Segmenter, bytes: &[u8], one: bool) {
    let folder = folder.join(name);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("model.onnx"), bytes).unwrap();
    let device = Device::flex();
    let sizes = if one { &SIZES[..1] } else { &SIZES[..] };
    for (index, &[batch, height, width]) in sizes.iter().enumerate() {
        let distribution = Distribution::Normal(0.0, 1.0);
        let pictures = Tensor::<4>::random([batch, 3, height, width], distribution, &device);
        let logits = network.forward(pictures.clone());
        for (what, tensor) in [("pictures", pictures), ("logits", logits)] {
            let shape: Vec<String> = tensor.dims().iter().map(usize::to_string).collect();
            let values = tensor.into_data().try_into_vec::<f32>().unwrap();
            let bytes: Vec<u8> = values.into_iter().flat_map(f32::to_le_bytes).collect();
            let file = format!("{what}-{index}-{}.f32", shape.join("x"));
            std::fs::write(folder.join(file), bytes).unwrap();
        }
    }
}

#[test]
fn the_metadata_say_what_the_network_expects() {
    let (_, network) = networks().swap_remove(0);
    let model = Model::decode(&onnx(&network, &options(None)).unwrap()[..]).unwrap();
    let of = |key: &str| {
        let line = model.metadata_props.iter().find(|line| line.key.as_deref() == Some(key));
        line.and_then(|line| line.value.clone()).unwrap_or_default()
    };
    assert_eq!(of("kshot.classes"), r#"["background","cell","wall"]"#);
    assert_eq!(of("kshot.longest_side"), "768");
    assert_eq!(of("kshot.channels"), "RGB");
    assert_eq!(of("kshot.size_multiple"), network.multiple().to_string());
    let mean: Vec<f32> = serde_json::from_str(&of("kshot.mean")).unwrap();
    assert_eq!(mean, Normalization::IMAGENET.mean);
    assert_eq!(model.opset_import[0].version, Some(18));
}
