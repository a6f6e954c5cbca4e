//! The random field against its authors' code: `golden/make_crf.py` made the numbers.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use image::RgbImage;
use kshot::features::score_map::ScoreMap;
use kshot::postprocess::dense_crf::{DenseCrf, infer};
use kshot::weights::state::StateDict;

#[test]
fn mean_field_agrees_with_the_authors_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/crf.safetensors");
    let mut state = StateDict::read(&path).unwrap();
    let (height, width) = (40, 56);
    let mut taken = |name: &str, shape: &[usize]| -> Vec<f32> {
        state.take(name, shape).unwrap().try_to_vec().unwrap()
    };
    let pixels = taken("image", &[height, width, 3]).iter().map(|value| *value as u8).collect();
    let picture = RgbImage::from_raw(width as u32, height as u32, pixels).unwrap();
    let data = taken("probabilities", &[3, height, width]);
    let map = ScoreMap { planes: 3, height, width, data, scale: [1.0; 2] };
    let near = DenseCrf { weight: 0.0, ..DenseCrf::default() };
    let both = DenseCrf { position: 20.0, weight: 4.0, ..DenseCrf::default() };
    for (name, field) in [("near", near), ("both", both)] {
        let expected = taken(name, &[3, height, width]);
        let ours = infer(&map, &picture, &field).unwrap();
        let differences = ours.data.iter().zip(&expected).map(|(a, b)| (a - b).abs());
        let mean = differences.clone().sum::<f32>() / expected.len() as f32;
        let worst = differences.fold(0.0, f32::max);
        // Points on a simplex's face fall to either side by rounding, which mean-field steps amplify.
        assert!(mean < 1e-3 && worst < 0.05, "{name}: mean {mean}, worst {worst}");
    }
}
