//! Decoders and whole segmenters against torchvision, segmentation_models_pytorch, and PyTorch written from the papers:
//! `golden/make_decoders.py` made the numbers.

use std::path::PathBuf;

use burn::module::{Module, ModuleVisitor, Param};
use burn::prelude::*;
use burn::tensor::TensorData;
use kshot::decoder::{Decode, Decoder, DecoderConfig};
use kshot::encoder::keys::Renamed;
use kshot::encoder::{EncoderConfig, Features};
use kshot::weights::apply::into_module;
use kshot::weights::segmenter::{DecoderWeights, into_segmenter};
use kshot::weights::state::StateDict;
use serde_json::Value;

use super::support;
use super::support::{computed, expected, tensor_distance as distance};

/// Relative distances that are allowed.
const EVALUATED: f64 = 1e-4;
/// By the batch's statistics, some of which are of a few pixels.
const TRAINED: f64 = 5e-4;

fn numbers(name: &str, count: usize) -> Vec<f32> {
    support::numbers(name, count).collect()
}

/// The names and shapes of a file's tensors, which are computed.
fn tensors(names: &Value, prefix: &str) -> Vec<(String, TensorData)> {
    let of = |(name, shape): (&String, &Value)| {
        let (name, shape): (String, Vec<usize>) =
            (format!("{prefix}{name}"), serde_json::from_value(shape.clone()).unwrap());
        let data = computed(&name, &shape);
        (name, data)
    };
    names.as_object().unwrap().iter().map(of).collect()
}

/// What is trained.
fn parameters<M: Module>(module: &M) -> usize {
    #[derive(Default)]
    struct Count(usize, Vec<String>);
    impl ModuleVisitor for Count {
        fn enter_module(&mut self, name: &str, _container: &str) {
            self.1.push(name.to_owned());
        }
        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.1.pop();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            // Burn counts running statistics among the parameters.
            if self.1.last().is_none_or(|name| name != "mean" && name != "variance") {
                self.0 += param.lazy_shape().num_elements();
            }
        }
    }
    let mut count = Count::default();
    module.visit(&mut count);
    count.0
}

fn published(network: &Value) -> StateDict {
    let prefix = network["prefix"].as_str().unwrap();
    let encoder =
        &expected("torchvision.json")["tensors"][network["encoder"]["name"].as_str().unwrap()];
    let mut all = tensors(encoder, prefix);
    // Segmenters have no classifier of whole pictures.
    all.retain(|(name, _)| !name.contains(".fc."));
    all.extend(tensors(&network["tensors"], ""));
    StateDict::new(PathBuf::from("segmenter.pth"), all.into_iter().collect())
}

/// Whole networks of torchvision and segmentation_models_pytorch under their own names: every tensor has its place,
/// there are as many parameters, and the logits agree, folded and not, and the auxiliary head's.
#[test]
fn segmenters_are_those_of_torchvision_and_segmentation_models_pytorch() {
    let device = Device::flex();
    let mut far = Vec::new();
    for network in expected("decoders.json")["segmenters"].as_array().unwrap() {
        let name = network["name"].as_str().unwrap();
        let config: EncoderConfig = serde_json::from_value(network["encoder"].clone()).unwrap();
        let decoder: DecoderConfig = serde_json::from_value(network["decoder"].clone()).unwrap();
        let state = published(network);
        let (segmenter, weights) = into_segmenter(&config, &decoder, 5, &state, &device).unwrap();
        assert_eq!(weights, DecoderWeights::File { dilated_otherwise: false }, "{name}");
        let counted = parameters(&segmenter);
        assert_eq!(counted as u64, network["parameters"].as_u64().unwrap(), "{name}");
        let shape: [usize; 4] = serde_json::from_value(network["input"].clone()).unwrap();
        let pixels = numbers("input", shape.iter().product());
        let images = Tensor::<4>::from_data(TensorData::new(pixels, shape), &device);
        let outcome = segmenter.train_forward(images.clone());
        let mut distances = vec![distance(outcome.logits, &network["logits"])];
        let auxiliary = network["auxiliary"].as_array().unwrap();
        assert_eq!(outcome.auxiliary.len(), auxiliary.len(), "{name}");
        for (head, expected) in outcome.auxiliary.into_iter().zip(auxiliary) {
            distances.push(distance(head.logits, expected));
        }
        distances.push(distance(segmenter.optimize().forward(images), &network["logits"]));
        println!("{name}: {distances:?}");
        if distances.iter().any(|distance| *distance > EVALUATED) {
            far.push(format!("{name}: {distances:?}"));
        }
    }
    assert!(far.is_empty(), "{far:#?}");
}

/// A decoder for other classes, another decoder's, and an encoder's file: the encoder is filled, and the reason told.
#[test]
fn a_decoder_that_does_not_fit_is_told_and_left_out() {
    let device = Device::flex();
    let all = expected("decoders.json");
    let network = all["segmenters"]
        .as_array()
        .unwrap()
        .iter()
        .find(|network| network["name"] == "smp.PSPNet")
        .unwrap();
    let config: EncoderConfig = serde_json::from_value(network["encoder"].clone()).unwrap();
    let own: DecoderConfig = serde_json::from_value(network["decoder"].clone()).unwrap();
    let whole = published(network);
    let told = |decoder: &DecoderConfig, classes, state: &StateDict| {
        let (_, weights) = into_segmenter(&config, decoder, classes, state, &device).unwrap();
        weights.to_string()
    };
    let random = "the decoder starts from random weights: ";
    let other = told(&own, 7, &whole);
    let reason = "the file's tells 5 classes apart, background included, and this one 7";
    assert_eq!(other, format!("{random}{reason}"));
    let other = told(&"linear".parse().unwrap(), 5, &whole);
    assert!(
        other.starts_with(&format!("{random}the file's does not fit linear: it lacks")),
        "{other}"
    );
    assert!(other.contains("decoder.conv.0.weight"), "{other}");
    let mut encoder = published(network);
    encoder.tensors.retain(|name, _| name.starts_with("encoder."));
    assert_eq!(told(&own, 5, &encoder), format!("{random}the file holds an encoder alone"));
    // What belongs to no part of a segmenter is refused as ever.
    encoder.tensors.insert("optimizer.step".to_owned(), computed("optimizer.step", &[1]));
    let error = into_segmenter(&config, &own, 5, &encoder, &device).unwrap_err().to_string();
    assert!(error.contains("optimizer.step"), "{error}");
    // Another dilation than segmentation_models_pytorch's is told.
    let dilated = config.with_output_stride(16).unwrap();
    let (_, weights) = into_segmenter(&dilated, &own, 5, &whole, &device).unwrap();
    assert!(weights.to_string().contains("first block of a stage"), "{weights}");
}

/// Our names of tensors of the networks that `golden/make_decoders.py` writes itself.
fn ours(row: &str, foreign: &str) -> String {
    let normed = |name: &str| {
        name.replace("norm.weight", "norm.gamma")
            .replace("norm.bias", "norm.beta")
            .replace("running_mean", "mean")
            .replace("running_var", "variance")
    };
    let (place, field) = foreign.rsplit_once('.').unwrap();
    let parts: Vec<&str> = place.split('.').collect();
    let part = |index: &str| if index == "0" { "conv" } else { "norm" };
    match (row, &parts[..]) {
        (_, ["fc6" | "fc7"]) => format!("{place}.conv.{field}"),
        (_, ["skips", index]) => format!("skips.{index}.score.{field}"),
        (_, ["ups", index]) => format!("skips.{index}.up"),
        (_, ["stages", stage, layer, index]) => {
            normed(&format!("stages.{stage}.layers.{layer}.{}.{field}", part(index)))
        }
        ("non-local FCNHead", ["hidden", index]) => {
            normed(&format!("head.hidden.{}.{field}", part(index)))
        }
        ("non-local FCNHead", ["block", "w"]) => format!("head.non_local.result.conv.{field}"),
        ("non-local FCNHead", ["block", "bn"]) => {
            normed(&format!("head.non_local.result.norm.{field}"))
        }
        ("non-local FCNHead", ["block", layer]) => format!("head.non_local.{layer}.{field}"),
        ("non-local FCNHead", _) => format!("head.{foreign}"),
        ("DeepLab v2", ["branches", branch]) => format!("branches.{branch}.classify.{field}"),
        (_, ["branches", branch, rest @ ..]) => {
            let first = row.starts_with("DeepLab v1");
            let start = if first { String::new() } else { format!("branches.{branch}.") };
            let conv = if rest[0] == "hidden" { ".conv" } else { "" };
            format!("{start}{}{conv}.{field}", rest.join("."))
        }
        (_, ["levels", level, index]) => normed(&format!("levels.{level}.{}.{field}", part(index))),
        (_, [layer @ ("join" | "fine"), index]) => {
            normed(&format!("{layer}.{}.{field}", part(index)))
        }
        (_, ["after", layer, index]) => {
            normed(&format!("after.{layer}.layer.{}.{field}", part(index)))
        }
        _ => foreign.to_owned(),
    }
}

/// Every decoder on given maps: logits by running statistics, folded and not, logits by the batch's, and the gradient of
/// the coarsest map.
#[test]
fn decoders_are_those_of_the_originals() {
    let mut far = Vec::new();
    for row in expected("decoders.json")["decoders"].as_array().unwrap() {
        let name = row["name"].as_str().unwrap();
        let config: DecoderConfig = serde_json::from_value(row["decoder"].clone()).unwrap();
        let list = |key: &str| -> Vec<usize> { serde_json::from_value(row[key].clone()).unwrap() };
        let (channels, strides, size) = (list("channels"), list("strides"), list("size"));
        let size = [size[0], size[1]];
        let device = Device::flex().autodiff();
        let state = StateDict::new(
            PathBuf::from("decoder.pth"),
            tensors(&row["tensors"], "").into_iter().collect(),
        );
        let rename =
            |foreign: &str| match (config.rename(foreign), foreign.strip_prefix("pyramid.")) {
                (Renamed::Unknown, Some(rest)) => config.rename(&format!("decoder.aspp.0.{rest}")),
                (Renamed::Unknown, None) => Renamed::Ours(ours(name, foreign)),
                (known, _) => known,
            };
        // A decoder's enum names its variant in paths; the networks' own names do not.
        let network =
            into_decoder(config.init(&channels, &strides, 5, &device).unwrap(), &state, rename);

        let maps: Vec<Tensor<4>> = (0..channels.len())
            .map(|index| {
                let area = size.map(|side| side.div_ceil(strides[index]));
                let shape = [2, channels[index], area[0], area[1]];
                let values = numbers(&format!("map{index}"), shape.iter().product());
                Tensor::from_data(TensorData::new(values, shape), &device).require_grad()
            })
            .collect();
        let plain = Features { maps: maps.iter().cloned().map(Tensor::inner).collect() };
        let valid = network.clone().valid();
        let mut distances = vec![distance(valid.forward(&plain, size), &row["evaluated"])];
        distances.push(distance(valid.optimize().forward(&plain, size), &row["evaluated"]));
        let network = network.train();
        let trained = network.forward(&Features { maps: maps.clone() }, size);
        let factors = numbers("factors", trained.shape().num_elements());
        let factors = Tensor::<4>::from_data(TensorData::new(factors, trained.shape()), &device);
        let gradients = (trained.clone() * factors).sum().backward();
        let gradient = maps.last().unwrap().grad(&gradients).unwrap();
        let learned =
            [distance(trained.inner(), &row["trained"]), distance(gradient, &row["gradient"])];
        println!("{name}: {distances:?}, trained and gradient {learned:?}");
        if distances.iter().any(|of| *of > EVALUATED) || learned.iter().any(|of| *of > TRAINED) {
            far.push(format!("{name} {config:?}: {distances:?} {learned:?}"));
        }
    }
    assert!(far.is_empty(), "{far:#?}");
}

fn into_decoder(decoder: Decoder, state: &StateDict, rename: impl Fn(&str) -> Renamed) -> Decoder {
    /// Fills a variant's network.
    macro_rules! fill {
        ($($variant:ident),+) => {
            match decoder {
                $(Decoder::$variant(network) => Decoder::$variant(
                    into_module(network, "the decoder", state, rename).unwrap(),
                ),)+
                other => panic!("{other:?} has no golden values here"),
            }
        };
    }
    fill!(
        Linear,
        Fcn,
        FcnHead,
        SegNet,
        PspNet,
        DeepLabV1,
        DeepLabV2,
        DeepLabV3,
        DeepLabV3Plus,
        UNetNearest
    )
}
