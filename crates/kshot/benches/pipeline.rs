//! From files to batches: `RAYON_NUM_THREADS=2 cargo bench -p kshot --bench pipeline`.
//!
//! `pipeline.py` beside this does the same work with torchvision's transforms and a `DataLoader` of two workers, and prints
//! the same names. A batch is 8 of CamVid's training frames (480x360): flipped, scaled by 0.75 to 1.5, cut to 256x256,
//! their colours changed, normalised. `files` reads and decodes 8 frames and their masks; `decoded` is a batch from
//! files, as in a training's first epoch; `kept` is one from frames that are decoded, as in later ones. Both come from a
//! training's loader, which makes them ahead on two threads: what is measured is the time from one batch to the next (divan's
//! `mean`; a single one may have waited already).
//! The frames are looked for in `$KSHOT_DATA/camvid` and `../shared/data/camvid`.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot start should stop")]

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::data::dataloader::DataLoader;
use burn::tensor::Device;
use divan::Bencher;
use kshot::data::batch::Batch;
use kshot::data::batches::{Pictures, TrainingBatches};
use kshot::data::camvid::CamvidConfig;
use kshot::data::source::ItemSource;
use kshot::data::transforms::Transform;
use kshot::data::{Dataset, DatasetLayout};
use kshot::encoder::Normalization;
use kshot::train::loader::ItemLoader;
use rayon::prelude::*;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Frames of a batch.
const BATCH: usize = 8;
const TRANSFORMS: &str = r#"[
    {"name": "flip"},
    {"name": "scale", "range": [0.75, 1.5]},
    {"name": "crop", "size": 256},
    {"name": "colour"}
]"#;

fn main() {
    kshot_kernels::keep_pages();
    if frames().is_none() {
        println!("skipped: CamVid is neither in $KSHOT_DATA nor in ../shared/data");
        return;
    }
    divan::main();
}

/// The training frames, where they are.
fn frames() -> Option<Arc<dyn Dataset>> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let given = std::env::var_os("KSHOT_DATA").map(PathBuf::from);
    let mut roots = given.into_iter().chain([beside]).map(|root| root.join("camvid"));
    let root = roots.find(|root| root.is_dir())?;
    CamvidConfig { root }.open("train").ok()
}

fn batches() -> TrainingBatches {
    let pictures = Pictures::new(frames().unwrap(), None, Normalization::IMAGENET);
    let transforms: Vec<Transform> = serde_json::from_str(TRANSFORMS).unwrap();
    TrainingBatches::new(Arc::new(pictures), transforms, BATCH, 1)
}

fn checked(batch: Batch<3>) -> Batch<3> {
    assert_eq!(batch.images.dims(), [BATCH, 3, 256, 256]);
    batch
}

#[divan::bench(sample_count = 30, sample_size = 1)]
fn files(bencher: Bencher) {
    let set = frames().unwrap();
    let next = Cell::new(0);
    bencher.bench_local(|| {
        let first = next.replace((next.get() + BATCH) % (set.len() - BATCH));
        let read = |index| (set.image(index).unwrap(), set.mask(index).unwrap());
        (first..first + BATCH).into_par_iter().map(read).collect::<Vec<_>>()
    });
}

/// Batches of a training's loader, one after the other, from after the first few on.
fn next_batches(bencher: Bencher, before: u64) {
    let source: Arc<dyn ItemSource<Batch<3>>> = Arc::new(batches());
    let loader = ItemLoader::training(source, 1 << 20, 0, &Device::flex()).unwrap();
    let loader = loader.with_threads(2).unwrap();
    let mut items = loader.iter();
    let mut next = move || checked(items.next().unwrap().unwrap());
    (0..before).for_each(|_| drop(next()));
    bencher.bench_local(next);
}

/// No frame comes twice in these 36 batches.
#[divan::bench(sample_count = 30, sample_size = 1)]
fn decoded(bencher: Bencher) {
    next_batches(bencher, 6);
}

/// Every frame is decoded before.
#[divan::bench(sample_count = 60, sample_size = 1)]
fn kept(bencher: Bencher) {
    next_batches(bencher, frames().unwrap().len().div_ceil(BATCH) as u64 + 4);
}
