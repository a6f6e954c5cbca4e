//! What a picture costs, step by step: `cargo bench --workspace --bench segment`.
//! `benches/segment.py` beside it measures the same work in PyTorch.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot start should stop")]

use divan::Bencher;
use image::{Rgb, RgbImage};
use kshot::device::Device;
use kshot::features::extract::Extractor;
use kshot::method::few_shot::{Effort, HeadConfig};
use kshot::postprocess::refine::Refinement;
use kshot::predict::Predictor;
use kshot::predict::fit::{FitOptions, fit};
use kshot_data::mask::Mask;
use kshot_data::support::{LabelKind, LabelledPicture, Support};

/// As the command has it: fresh pages cost more than most layers.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    kshot_kernels::keep_pages();
    divan::main();
}

/// CamVid's size.
const SIZE: [u32; 2] = [480, 360];
/// CamVid's classes.
const CLASSES: u32 = 11;

fn picture() -> RgbImage {
    RgbImage::from_fn(SIZE[0], SIZE[1], |x, y| {
        let wave = |a: u32, b: u32| ((x * a + y * b) % 251) as u8;
        Rgb([wave(3, 1), wave(1, 5), wave(x / 40, y / 30)])
    })
}

fn extractor() -> Extractor {
    let config = "efficientnet-lite0".parse().unwrap();
    Extractor::from_weights(&config, None, &Device::flex()).unwrap().0
}

/// Vertical stripes of all classes.
fn predictor(refinement: Refinement) -> Predictor {
    let image = picture();
    let pixels = (0..SIZE[0] * SIZE[1]).map(|i| (i % SIZE[0] * CLASSES / SIZE[0] + 1) as u8);
    let mask = Mask::from_pixels(SIZE[0] as usize, SIZE[1] as usize, pixels.collect()).unwrap();
    let (path, labels) = ("a.png".into(), "a.png".into());
    let picture =
        LabelledPicture { path, labels, image, mask, kind: LabelKind::Mask, objects: None };
    let classes = (1..=CLASSES).map(|class| format!("class {class}")).collect();
    let support = Support { classes, pictures: vec![picture], warnings: Vec::new() };
    let methods = "probe".parse::<HeadConfig>().unwrap().candidates(Effort::Normal);
    let options =
        FitOptions { methods, refinement, effort: Effort::Normal, scale: Some(1.0), seed: 0 };
    fit(extractor(), &support, options).unwrap()
}

#[divan::bench]
fn encoder(bencher: Bencher) {
    let (extractor, picture) = (extractor(), picture());
    bencher.bench_local(|| {
        let working = extractor.prepare(&picture, 1.0).unwrap();
        extractor.features(&working, working.tiles[0])
    });
}

#[divan::bench]
fn label_without_refinement(bencher: Bencher) {
    let (predictor, picture) = (predictor(Refinement::None), picture());
    bencher.bench_local(|| predictor.label(&picture).unwrap());
}

#[divan::bench]
fn label(bencher: Bencher) {
    let (predictor, picture) =
        (predictor(Refinement::Guided { radius: 2, epsilon: 1e-3 }), picture());
    bencher.bench_local(|| predictor.label(&picture).unwrap());
}

#[divan::bench]
fn predict(bencher: Bencher) {
    let (predictor, picture) =
        (predictor(Refinement::Guided { radius: 2, epsilon: 1e-3 }), picture());
    bencher.bench_local(|| predictor.predict(&picture).unwrap());
}
