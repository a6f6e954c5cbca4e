//! From files to batches: `RAYON_NUM_THREADS=2 cargo bench -p kshot --bench pipeline`.
//!
//! `pipeline.py` beside this does the same work with torchvision's transforms and a `DataLoader` of two workers, and prints
//! the same names. A batch is 8 of CamVid's training frames (480x360): flipped, scaled by 0.75 to 1.5, cut to 256x256,
//! their colours changed, normalised. `files` reads and decodes 8 frames and their masks; `decoded` makes a batch from
//! files, as in a training's first epoch; `kept` makes one from frames that are decoded, as in later ones.
//! The frames are looked for in `$KSHOT_DATA/camvid` and `../shared/data/camvid`.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot start should stop")]

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::Device;
use divan::Bencher;
use kshot::data::batch::Batch;
use kshot::data::batches::{Pictures, TrainingBatches};
use kshot::data::camvid::CamvidConfig;
use kshot::data::source::ItemSource;
use kshot::data::transforms::Transform;
use kshot::data::{Dataset, DatasetLayout};
use kshot::encoder::Normalization;
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

#[divan::bench(sample_count = 30, sample_size = 1)]
fn decoded(bencher: Bencher) {
    let next = Cell::new(0);
    bencher.with_inputs(batches).bench_local_values(|batches| {
        let index = next.replace(next.get() + 1);
        checked(batches.item(index, &Device::flex()).unwrap())
    });
}

#[divan::bench(sample_count = 30, sample_size = 1)]
fn kept(bencher: Bencher) {
    let batches = batches();
    let rounds = frames().unwrap().len().div_ceil(BATCH) as u64;
    // Every frame is decoded once before.
    (0..=rounds).for_each(|index| drop(batches.item(index, &Device::flex()).unwrap()));
    let next = Cell::new(rounds);
    bencher.bench_local(|| {
        let index = next.replace(next.get() + 1);
        checked(batches.item(index, &Device::flex()).unwrap())
    });
}
