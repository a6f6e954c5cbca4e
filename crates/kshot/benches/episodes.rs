//! How long an Omniglot episode takes to draw: `cargo bench --workspace --bench episodes`.
//! `benches/episodes.py` beside it draws the same as torchmeta does.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot start should stop")]

use std::path::PathBuf;
use std::sync::Arc;

use divan::Bencher;
use kshot::contract::ItemSource;
use kshot::data::classes::omniglot::{self, OmniglotSplit};
use kshot::data::classes::pixels::Scaling;
use kshot::data::classes::tasks::{EpisodeShape, Tasks};
use kshot::device::Device;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    kshot_kernels::keep_pages();
    divan::main();
}

/// Omniglot's folder: of `$KSHOT_DATA`, else beside the repository.
fn root() -> PathBuf {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    std::env::var_os("KSHOT_DATA").map_or_else(beside, PathBuf::from).join("omniglot")
}

/// 5 queries a class, as the script draws.
#[divan::bench(args = [5, 20, 60], sample_count = 30, sample_size = 20)]
fn one_shot(bencher: Bencher, ways: usize) {
    let root = root();
    if !root.exists() {
        println!("skipped: {} is absent", root.display());
        return;
    }
    let split = OmniglotSplit::Alphabets(vec!["Tagalog".to_owned()]);
    let splits = omniglot::read(&root, 28, &split, true, Scaling::INK).unwrap();
    let shape = EpisodeShape { ways, shots: 1, queries: 5 };
    let tasks = Tasks::new(Arc::new(splits.train), shape, 1).unwrap();
    let device = Device::flex();
    let mut index = 0;
    bencher.bench_local(|| {
        index += 1;
        tasks.item(index, &device).unwrap()
    });
}
