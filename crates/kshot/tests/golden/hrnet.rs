//! HRNet and DDRNet against timm, mmsegmentation and PyTorch: `golden/make_hrnet.py` made the numbers.

use std::collections::BTreeMap;
use std::path::PathBuf;

use burn::module::Module;
use burn::prelude::*;
use kshot::decoder::{Dappm, DdrNetHeadConfig, Decode, DecodeConfig, HrNetHeadConfig};
use kshot::encoder::keys::{self, Renamed};
use kshot::encoder::{Encode, EncoderConfig, Features};
use kshot::weights::apply::{into_embedding, into_encoder, into_module};
use kshot::weights::state::StateDict;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::support;
use super::support::{computed, numbers, tensor_distance};

const TOLERANCE: f64 = 1e-4;

fn expected() -> Value {
    support::expected("hrnet.json")
}

fn read<T: DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).unwrap()
}

fn input(name: &str, shape: [usize; 4], device: &Device) -> Tensor<4> {
    let pixels: Vec<f32> = numbers(name, shape.iter().product()).collect();
    Tensor::from_data(TensorData::new(pixels, shape), device)
}

fn distance(ours: &Tensor<4>, expected: &Value) -> f64 {
    tensor_distance(ours.clone(), expected)
}

fn close(ours: &Tensor<4>, expected: &Value, what: &str) {
    let distance = distance(ours, expected);
    println!("{what}: {distance:.1e}");
    assert!(distance < TOLERANCE, "{what}: {distance:.1e}");
}

fn all_close(features: &Features, expected: &Value, what: &str) {
    let expected = expected.as_array().unwrap();
    assert_eq!(features.maps.len(), expected.len());
    for (index, (map, expected)) in features.maps.iter().zip(expected).enumerate() {
        close(map, expected, &format!("{what}, map {index}"));
    }
}

/// Names and shapes of a published network's tensors; a name that ends in a star is of a normalisation, with
/// four alike.
fn published(row: &Value, names: &Value) -> Vec<(String, Vec<usize>)> {
    let (names, shapes) = (read::<Vec<String>>(names), read::<Vec<Vec<usize>>>(&row["shapes"]));
    assert_eq!(names.len(), shapes.len());
    let each = names.into_iter().zip(shapes).flat_map(|(name, shape)| {
        let fields = ["weight", "bias", "running_mean", "running_var"];
        match name.strip_suffix('*') {
            Some(place) => fields.map(|field| (format!("{place}{field}"), shape.clone())).to_vec(),
            None => vec![(name, shape)],
        }
    });
    each.collect()
}

/// A file of computed tensors; those that nobody reads are empty.
fn state(
    tensors: impl IntoIterator<Item = (String, Vec<usize>)>,
    is_read: impl Fn(&str) -> bool,
) -> StateDict {
    let computed = tensors.into_iter().map(|(name, shape)| {
        let data = if is_read(&name) {
            computed(&name, &shape)
        } else {
            TensorData::new(vec![0.0_f32], [1])
        };
        (name, data)
    });
    StateDict::new(PathBuf::from("computed"), computed.collect())
}

/// The branches and what leads from them to the classifier, folded and not.
#[test]
fn hrnet_like_timm() {
    let (device, expected) = (Device::flex(), expected());
    let rows = expected["hrnet"].as_array().unwrap();
    for row in rows {
        let config: EncoderConfig = read(&row["encoder"]);
        assert_eq!(config.describe().parameters, read::<usize>(&row["parameters"]), "{config}");
        let embedding = row.get("embedding");
        let state = state(published(row, &rows[0]["names"]), |name| match config.rename(name) {
            Renamed::Ours(ours) if ours.starts_with("head.") => {
                embedding.is_some() && ours.starts_with("head.expand.")
            }
            _ => true,
        });
        let images = input("input", read(&expected["input"]), &device);
        let encoder = into_encoder(&config, &state, &device).unwrap();
        all_close(&encoder.forward(images.clone()), &row["maps"], &config.to_string());
        let folded = encoder.optimize();
        all_close(&folded.forward(images.clone()), &row["maps"], &format!("{config}, folded"));
        if let Some(expected) = embedding {
            let encoder = into_embedding(&config, &state, &device).unwrap();
            close(&encoder.embedding(images.clone()), expected, &format!("{config}, embedding"));
            let folded = encoder.optimize();
            close(&folded.embedding(images), expected, &format!("{config}, folded embedding"));
        }
    }
}

/// Encoder, decoder and auxiliary head, whose tensors have the names of the authors' files.
#[test]
fn ddrnet_like_mmsegmentation() {
    let (device, expected) = (Device::flex(), expected());
    let rows = expected["ddrnet"].as_array().unwrap();
    for row in rows {
        let tensors = published(row, &rows[0]["names"]);
        let config: EncoderConfig = read(&row["encoder"]);
        assert_eq!(config.describe().parameters, read::<usize>(&row["parameters"]), "{config}");
        let is_behind = |name: &str| config.rename(name) == Renamed::Spare;
        let file = state(tensors.clone(), |name| !is_behind(name));
        let encoder = into_encoder(&config, &file, &device).unwrap();
        let tensors: Vec<_> = tensors.into_iter().filter(|(name, _)| is_behind(name)).collect();
        let behind = state(tensors.clone(), |_| true);
        let decoder = |settings: DdrNetHeadConfig| {
            let network =
                settings.init(&config.channels(), &config.strides(), 19, &device).unwrap();
            let rename = |name: &str| keys::ddrnet::rename_decoder(name, settings.auxiliary > 0.0);
            into_module(network, "ddrnet's decoder", &behind, rename).unwrap()
        };
        let whole = decoder(DdrNetHeadConfig::default());
        let statistics = tensors.iter().filter(|(name, _)| name.contains(".running_"));
        let statistics: usize = statistics.map(|(_, shape)| shape[0]).sum();
        let parameters: usize = read(&row["decoder_parameters"]);
        assert_eq!(whole.num_params() - statistics, parameters, "{config}, decoder");

        let [batch, channels, height, width] = read(&expected["input"]);
        let images = input("input", [batch, channels, height, width], &device);
        let (size, fine) = ([height, width], [height / 8, width / 8]);
        let features = encoder.forward(images.clone());
        all_close(&features, &row["maps"], &config.to_string());
        let outcome = whole.train_forward(&features, fine);
        close(&outcome.logits, &row["logits"], &format!("{config}, logits"));
        let [auxiliary] = outcome.auxiliary.as_slice() else { panic!("one auxiliary head") };
        close(&auxiliary.logits, &row["auxiliary"], &format!("{config}, auxiliary"));
        close(&whole.forward(&features, size), &row["resized"], &format!("{config}, resized"));
        let bare = decoder(DdrNetHeadConfig { auxiliary: 0.0, ..Default::default() });
        close(&bare.forward(&features, fine), &row["logits"], &format!("{config}, one head"));

        let features = encoder.optimize().forward(images);
        all_close(&features, &row["maps"], &format!("{config}, folded"));
        let whole = DdrNetHeadConfig::optimize(whole);
        close(&whole.forward(&features, size), &row["resized"], &format!("{config}, optimized"));
    }
}

/// Evaluated, optimised and trained, with the gradients of the maps.
fn evaluated_and_trained<M: Module>(
    network: M,
    optimize: impl Fn(M) -> M,
    maps: Vec<Tensor<4>>,
    run: impl Fn(&M, &[Tensor<4>]) -> Tensor<4>,
    expected: &Value,
    what: &str,
) {
    let plain: Vec<_> = maps.iter().map(|map| map.clone().inner()).collect();
    let valid = network.clone().valid();
    close(&run(&valid, &plain), &expected["evaluated"], &format!("{what}, evaluated"));
    close(&run(&optimize(valid), &plain), &expected["evaluated"], &format!("{what}, optimized"));
    let maps: Vec<_> = maps.into_iter().map(Tensor::require_grad).collect();
    let result = run(&network.train(), &maps);
    close(&result.clone().inner(), &expected["trained"], &format!("{what}, trained"));
    let count = result.shape().num_elements() as i64;
    let factors = Tensor::arange(0..count, &result.device()).float().sin().reshape(result.shape());
    let gradients = (result * factors).sum().backward();
    for (index, map) in maps.iter().enumerate() {
        let gradient = map.grad(&gradients).unwrap();
        close(&gradient, &expected["gradients"][index], &format!("{what}, gradient {index}"));
    }
}

#[test]
fn dappm_like_mmsegmentation() {
    let device = Device::flex().autodiff();
    for row in expected()["dappm"].as_array().unwrap() {
        let [height, width] = read(&row["size"]);
        let shapes: BTreeMap<String, Vec<usize>> = read(&row["shapes"]);
        let rename = |name: &str| match keys::ddrnet::rename_decoder(&format!("spp.{name}"), true) {
            Renamed::Ours(ours) => Renamed::Ours(ours.trim_start_matches("pyramid.").to_owned()),
            other => other,
        };
        let network = Dappm::new([6, 5], 4, &device);
        let network = into_module(network, "DAPPM", &state(shapes, |_| true), rename).unwrap();
        let map = input("map", [2, 6, height, width], &device);
        evaluated_and_trained(
            network,
            Dappm::optimize,
            vec![map],
            |network, maps| network.forward(maps[0].clone()),
            row,
            &format!("DAPPM of {height}x{width}"),
        );
    }
}

/// The convolution of concatenated maps is split among them.
#[test]
fn hrnet_head_like_pytorch() {
    let device = Device::flex().autodiff();
    let row = &expected()["hrnet_head"];
    let sizes: Vec<[usize; 3]> = read(&row["maps"]);
    let mut state = state(read::<BTreeMap<String, Vec<usize>>>(&row["shapes"]), |_| true);
    let kernels = Tensor::<4>::from_data(state.tensors.remove("conv.weight").unwrap(), &device);
    let (mut start, mut maps) = (0, Vec::new());
    for (index, [channels, height, width]) in sizes.into_iter().enumerate() {
        let part = kernels.clone().narrow(1, start, channels).into_data();
        state.tensors.insert(format!("layers.{index}.weight"), part);
        maps.push(input(&format!("map{index}"), [2, channels, height, width], &device));
        start += channels;
    }
    let config = HrNetHeadConfig { width: Some(7) };
    let network = config.init(&[3, 4, 5, 6], &[4, 8, 16, 32], 3, &device).unwrap();
    let rename = |name: &str| {
        let ours = name.replace("norm.weight", "norm.gamma").replace("norm.bias", "norm.beta");
        Renamed::Ours(ours.replace("running_mean", "mean").replace("running_var", "variance"))
    };
    let network = into_module(network, "HRNet's head", &state, rename).unwrap();
    evaluated_and_trained(
        network,
        HrNetHeadConfig::optimize,
        maps,
        |network, maps| network.forward(&Features { maps: maps.to_vec() }, [33, 26]),
        row,
        "HRNet's head",
    );
}
