//! What tests against golden files share: the files, pictures, distances, and the numbers by formula of
//! `golden/make_encoders.py`.

use std::path::{Path, PathBuf};

use burn::prelude::*;
use kshot::encoder::{Features, Normalization};
use serde_json::Value;

/// The folder of golden files.
pub fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden")
}

/// The content of a JSON file.
pub fn expected(file: &str) -> Value {
    serde_json::from_slice(&std::fs::read(golden().join(file)).unwrap()).unwrap()
}

/// The picture as `[1, 3, height, width]`, normalised.
pub fn picture(name: &str, normalization: Normalization, device: &Device) -> Tensor<4> {
    let path = golden().join("pictures").join(format!("{name}.png"));
    let pixels = kshot_data::image::read(path).unwrap();
    let (width, height) = (pixels.width() as usize, pixels.height() as usize);
    let values: Vec<f32> = pixels.into_raw().into_iter().map(f32::from).collect();
    let image = Tensor::<4>::from_data(TensorData::new(values, [1, height, width, 3]), device);
    let channel = |values: [f32; 3]| Tensor::<1>::from_data(values, device).reshape([1, 3, 1, 1]);
    (image.permute([0, 3, 1, 2]) - channel(normalization.mean)) / channel(normalization.std)
}

/// Relative distance (norm of the difference by norm) of our samples from the expected ones, or of
/// mean and standard deviation if these are farther off.
pub fn distance(ours: &[f32], shape: &[usize], expected: &Value) -> f64 {
    let number = |key: &str| expected[key].as_f64().unwrap();
    let wanted: Vec<usize> = serde_json::from_value(expected["shape"].clone()).unwrap();
    assert_eq!(shape, wanted, "shapes differ");
    let count = ours.len() as f64;
    let mean = ours.iter().map(|v| f64::from(*v)).sum::<f64>() / count;
    let variance = ours.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / count;
    let scale = number("std").max(1e-6);
    let mut worst = ((mean - number("mean")) / scale).abs();
    worst = worst.max(((variance.sqrt() - number("std")) / scale).abs());
    let samples: Vec<f64> = serde_json::from_value(expected["values"].clone()).unwrap();
    let (mut difference, mut norm) = (0.0, 0.0);
    for (ours, expected) in ours.iter().step_by(number("stride") as usize).zip(samples) {
        difference += (f64::from(*ours) - expected).powi(2);
        norm += expected.powi(2);
    }
    worst.max((difference / norm).sqrt())
}

/// [`distance`] of a tensor.
pub fn tensor_distance<const D: usize>(ours: Tensor<D>, expected: &Value) -> f64 {
    let shape = ours.dims();
    distance(&ours.into_data().try_into_vec::<f32>().unwrap(), &shape, expected)
}

/// Of each map.
pub fn distances(features: &Features, expected: &Value) -> Vec<f64> {
    let expected = expected.as_array().unwrap();
    assert_eq!(features.maps.len(), expected.len());
    let pairs = features.maps.iter().zip(expected);
    pairs
        .map(|(map, expected)| {
            let ours = map.to_data().try_to_vec::<f32>().unwrap();
            distance(&ours, &map.dims(), expected)
        })
        .collect()
}

/// `numbers` of `golden/make_encoders.py`: from -1 to 1, of the name and the index only.
pub fn numbers(name: &str, count: usize) -> impl Iterator<Item = f32> {
    let seed = name
        .bytes()
        .fold(2_166_136_261_u32, |seed, byte| (seed ^ u32::from(byte)).wrapping_mul(16_777_619));
    (0..count as u32).map(move |index| {
        let mut x = index.wrapping_mul(2_654_435_761).wrapping_add(seed);
        for _ in 0..2 {
            x = (x ^ (x >> 16)).wrapping_mul(0x045D_9F3B);
        }
        x ^= x >> 16;
        (f64::from(x) / f64::from(1_u32 << 31) - 1.0) as f32
    })
}

/// `computed` of `golden/make_encoders.py`: kernels as He et al. start them, all else such that nothing
/// is 0 or 1.
pub fn computed(name: &str, shape: &[usize]) -> TensorData {
    let count: usize = shape.iter().product();
    let (shift, scale) = match (shape.len(), name.rsplit('.').next()) {
        (2.., _) => (0.0, (6.0 / (count / shape[0]) as f64).sqrt() as f32),
        (_, Some("running_var")) => (1.0, 0.5),
        (_, Some("weight")) => (1.0, 0.2),
        _ => (0.0, 0.1),
    };
    let values: Vec<f32> = numbers(name, count).map(|u| shift + scale * u).collect();
    TensorData::new(values, shape.to_vec())
}

/// To 1e-5 of the largest value.
pub fn same<const D: usize>(ours: Tensor<D>, expected: &[f32], what: &str) {
    let ours = ours.into_data().try_into_vec::<f32>().unwrap();
    let scale = expected.iter().fold(0.0f32, |most, value| most.max(value.abs()));
    let pairs = ours.iter().zip(expected);
    let apart = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    println!("{what}: {:.1e}", apart / scale);
    assert!(ours.len() == expected.len() && apart < 1e-5 * scale, "{what}: {apart} of {scale}");
}
