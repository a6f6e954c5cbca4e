//! The memory that a convolution takes besides its operands and its result.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use kshot_kernels::slices::{forward, input_gradient, weight_gradient};
use kshot_kernels::{Activation, Geometry};

/// Counts what is allocated at a time, and the most there has been.
struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the system's allocator does the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST.fetch_max(now, Ordering::Relaxed);
        // SAFETY: by the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: by the caller's promise.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes taken at most while it runs.
fn most<T>(run: impl FnOnce() -> T) -> usize {
    let before = NOW.load(Ordering::Relaxed);
    MOST.store(before, Ordering::Relaxed);
    drop(run());
    MOST.load(Ordering::Relaxed) - before
}

/// As the crate's documentation says.
#[test]
fn scratch_is_bounded() {
    let threads = 2;
    for (images, weight, stride, dilation, groups) in [
        ([1, 64, 224, 224], [64, 64, 3, 3], 1, 1, 1),
        ([2, 512, 53, 53], [256, 512, 3, 3], 1, 1, 1),
        ([4, 64, 112, 112], [96, 64, 3, 3], 2, 1, 1),
        ([8, 3, 224, 224], [64, 3, 7, 7], 2, 1, 1),
        ([8, 96, 56, 56], [24, 96, 1, 1], 1, 1, 1),
        ([4, 96, 112, 112], [96, 1, 5, 5], 1, 1, 96),
        ([1, 1, 130, 130], [512, 1, 5, 5], 1, 1, 1),
        ([1, 3, 16, 40_000], [16, 3, 7, 7], 1, 1, 1),
        ([1, 8, 256, 256], [8, 8, 3, 3], 1, 64, 1),
        ([1, 3, 9, 9], [4, 3, 3, 3], 1 << 20, 1, 1),
    ] {
        let pad = weight[2] / 2 * dilation;
        let geometry =
            Geometry::new(images, weight, [stride; 2], [(pad, pad); 2], [dilation; 2], groups)
                .unwrap();
        let images = vec![0.5f32; geometry.images_len()];
        let weight = vec![0.5f32; geometry.weight_len()];
        let gradient = vec![0.5f32; geometry.result_len()];
        let bound = (24 << 20) + threads * (6 << 20) + 5 * 4 * weight.len();
        let run = |what: &str, result: usize, work: &(dyn Fn() -> Vec<f32> + Sync)| {
            // New threads: none has kept anything yet.
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let used = most(|| pool.install(work)).saturating_sub(4 * result);
            assert!(used < bound, "{what} took {used} bytes of {bound} for {geometry:?}");
        };
        run("forward", geometry.result_len(), &|| {
            forward(&geometry, &images, &weight, None, Activation::Identity)
        });
        run("input gradient", geometry.images_len(), &|| {
            input_gradient(&geometry, &gradient, &weight)
        });
        run("weight gradient", geometry.weight_len(), &|| {
            weight_gradient(&geometry, &images, &gradient)
        });
    }
}
