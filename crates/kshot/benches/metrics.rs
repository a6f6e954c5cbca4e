//! Counting pixels for metrics: `RAYON_NUM_THREADS=2 cargo bench --workspace --bench metrics`.
//!
//! `metrics.py` beside this does the same work in torchmetrics and prints the same names. A batch is 8 pictures of
//! 512 x 512 pixels: objects of 32 x 32 with a rim of void, predictions that lie a pixel or two off and are wrong in
//! a tenth of squares of 8 x 8. `labels` counts masks into a confusion matrix and reads the mean IoU off it; `logits` finds the
//! highest logits first, as validations do; `boundaries` is the F-score of boundaries.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot start should stop")]

use divan::Bencher;
use kshot::metric::boundary::boundary_f;
use kshot::metric::confusion::Confusion;
use kshot_data::mask::Mask;
use kshot_kernels::Channels;
use kshot_kernels::slices::argmax;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    kshot_kernels::keep_pages();
    divan::main();
}

const PICTURES: usize = 8;
const SIDE: usize = 512;
const AREA: usize = SIDE * SIDE;
const CLASSES: [usize; 2] = [21, 150];

/// Whole numbers that look drawn; `metrics.py` has the same.
fn drawn(number: usize) -> usize {
    (number.wrapping_mul(2_654_435_761) & 0xffff_ffff) >> 8
}

/// Truth and prediction.
fn labels(classes: usize) -> (Vec<u8>, Vec<u8>) {
    let place = |pixel: usize| (pixel / AREA, pixel % AREA / SIDE, pixel % SIDE);
    let object = |picture: usize, y: usize, x: usize| drawn((picture * 17 + y / 32) * 17 + x / 32);
    let truth = |pixel: usize| {
        let (picture, y, x) = place(pixel);
        if y % 32 == 0 || x % 32 == 0 { 255 } else { object(picture, y, x) % classes }
    };
    let predicted = |pixel: usize| {
        let (picture, y, x) = place(pixel);
        let wrong = drawn((picture * 64 + y / 8) * 64 + x / 8).is_multiple_of(10);
        (object(picture, y + 1, x + 2) + usize::from(wrong)) % classes
    };
    let all = 0..PICTURES * AREA;
    (all.clone().map(|at| truth(at) as u8).collect(), all.map(|at| predicted(at) as u8).collect())
}

/// Logits that are highest at the predicted label.
fn logits(classes: usize, predicted: &[u8]) -> Vec<f32> {
    let mut logits = vec![0.0; PICTURES * classes * AREA];
    for (place, plane) in logits.chunks_exact_mut(AREA).enumerate() {
        let (picture, class) = (place / classes, place % classes);
        let found = &predicted[picture * AREA..][..AREA];
        for (at, (logit, found)) in plane.iter_mut().zip(found).enumerate() {
            let own = if usize::from(*found) == class { 2.0 } else { 0.0 };
            *logit = own + drawn(place * AREA + at) as f32 / (1u32 << 24) as f32;
        }
    }
    logits
}

fn mean_iou(classes: usize, truth: &[u8], predicted: &[u8]) -> f64 {
    let mut confusion = Confusion::new(classes);
    confusion.add_pixels(truth, predicted).unwrap();
    confusion.mean_iou(confusion.averaged())
}

#[divan::bench(name = "labels", args = CLASSES, sample_count = 15, sample_size = 1)]
fn of_labels(bencher: Bencher, classes: usize) {
    let (truth, predicted) = labels(classes);
    bencher.bench_local(|| mean_iou(classes, &truth, &predicted));
}

#[divan::bench(name = "logits", args = CLASSES, sample_count = 7, sample_size = 1)]
fn of_logits(bencher: Bencher, classes: usize) {
    let (truth, predicted) = labels(classes);
    let logits = logits(classes, &predicted);
    let shape = Channels { channels: classes, area: AREA };
    assert_eq!(argmax(&shape, &logits), predicted);
    bencher.bench_local(|| mean_iou(classes, &truth, &argmax(&shape, &logits)));
}

#[divan::bench(args = CLASSES, sample_count = 7, sample_size = 1)]
fn boundaries(bencher: Bencher, classes: usize) {
    let (truth, predicted) = labels(classes);
    let masks = |pixels: &[u8]| -> Vec<Mask> {
        let pictures = pixels.chunks_exact(AREA);
        pictures.map(|of| Mask::from_pixels(SIDE, SIDE, of.to_vec()).unwrap()).collect()
    };
    let (truth, predicted) = (masks(&truth), masks(&predicted));
    bencher.bench_local(|| -> f64 {
        let pairs = truth.iter().zip(&predicted);
        pairs.map(|(truth, predicted)| boundary_f(truth, predicted, 1).unwrap().unwrap()).sum()
    });
}
