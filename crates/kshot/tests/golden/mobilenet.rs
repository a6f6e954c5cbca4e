//! MobileNets and Inception-v3 against torchvision and timm: `golden/make_mobilenet.py` made the numbers.

use std::path::{Path, PathBuf};

use super::support::{computed, distance, distances, expected, numbers, picture};
use burn::prelude::*;
use kshot::encoder::keys::Renamed;
use kshot::encoder::{Encode, Encoder, EncoderConfig};
use kshot::weights;
use kshot::weights::state::StateDict;
use serde_json::Value;

/// Distances of all maps, and of the embedding where there is one expected.
fn all_distances(encoder: &Encoder, image: &Tensor<4>, expected: &Value) -> Vec<f64> {
    let mut far = distances(&encoder.forward(image.clone()), &expected["stages"]);
    if let Some(expected) = expected.get("embedding") {
        let embedding = encoder.embedding(image.clone());
        let shape = embedding.dims();
        far.push(distance(&embedding.into_data().try_into_vec::<f32>().unwrap(), &shape, expected));
    }
    far
}

/// PyTorch's name of a field that Gluon calls otherwise: formulas go by it.
fn gluon_field(name: &str) -> String {
    name.replace("_gamma", ".weight").replace("_beta", ".bias").replace("_running", ".running")
}

/// Every map and embedding with computed weights under their published names (torchvision's, timm's, Gluon's), of
/// dilated networks and ones of other numbers of input channels too; folded and not, to 1e-4.
#[test]
fn every_network_like_torchvision_or_timm() {
    let device = Device::flex();
    let expected = expected("mobilenet.json");
    let size: [usize; 4] = serde_json::from_value(expected["input"].clone()).unwrap();
    let mut far = Vec::new();
    let mut worst = 0.0f64;
    for network in expected["networks"].as_array().unwrap() {
        let published = network["published"].as_str().unwrap();
        let config: EncoderConfig = serde_json::from_value(network["encoder"].clone()).unwrap();
        let tensors = expected["tensors"][published].as_object().unwrap().iter();
        let tensors = tensors.map(|(name, shape)| {
            let shape: Vec<usize> = serde_json::from_value(shape.clone()).unwrap();
            // What encoders skip is left empty.
            let spare = config.rename(name) == Renamed::Spare;
            let spare = spare.then(|| TensorData::new(vec![0.0_f32], [1]));
            let of = if published == "gluon" { gluon_field(name) } else { name.clone() };
            (name.clone(), spare.unwrap_or_else(|| computed(&of, &shape)))
        });
        let state = StateDict::new(PathBuf::from(published), tensors.collect());
        let encoder = weights::apply::into_embedding(&config, &state, &device).unwrap();
        // The same maps without the layer before the classifier.
        let bare = weights::apply::into_encoder(&config, &state, &device).unwrap();
        drop(state);
        let size = [size[0], config.in_channels(), size[2], size[3]];
        let pixels: Vec<f32> = numbers("input", size.iter().product()).collect();
        let image = Tensor::<4>::from_data(TensorData::new(pixels, size), &device);
        let plain = all_distances(&encoder, &image, network);
        let folded = all_distances(&encoder.optimize(), &image, network);
        let bare = distances(&bare.optimize().forward(image), &network["stages"]);
        let what = format!("{config} of {published}: plain {plain:?}, folded {folded:?}");
        println!("{what}");
        let all = plain.iter().chain(&folded).chain(&bare);
        let most = all.fold(0.0f64, |most, distance| most.max(*distance));
        worst = worst.max(most);
        if most.is_nan() || most >= 1e-4 {
            far.push(what);
        }
    }
    println!("largest distance: {worst:.1e}");
    assert!(far.is_empty(), "{far:#?}");
}

/// The ONNX model zoo's MobileNetV2 by its real weights on a picture, where they are at hand.
#[test]
fn mobilenet_v2_with_published_weights() {
    let device = Device::flex();
    let data = std::env::var_os("KSHOT_DATA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
        PathBuf::from,
    );
    let file = data.join("weights/mobilenet_v2/mobilenet_v2_imagenet_features_f32.safetensors");
    if !file.exists() {
        eprintln!("skipped: {} is absent (set KSHOT_DATA)", file.display());
        return;
    }
    let known = kshot::job::weights::info(&file).unwrap();
    assert_eq!(known.fits, ["mobilenet-v2"]);
    let config: EncoderConfig = "mobilenet-v2".parse().unwrap();
    let state = StateDict::read(&file).unwrap();
    let encoder = weights::apply::into_embedding(&config, &state, &device).unwrap();
    let expected = &expected("mobilenet.json")["gluon_weights"];
    let image = picture(expected["picture"].as_str().unwrap(), config.normalization(), &device);
    let plain = all_distances(&encoder, &image, expected);
    let folded = all_distances(&encoder.optimize(), &image, expected);
    println!("plain {plain:?}, folded {folded:?}");
    assert!(plain.iter().chain(&folded).all(|distance| *distance < 1e-4));
}
