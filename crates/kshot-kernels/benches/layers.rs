//! The layers of EfficientNet-Lite0 at 480x360: `cargo bench --workspace --bench layers`.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot start should stop")]

use divan::Bencher;
use kshot_kernels::{Activation, Conv2d};

/// As the command has it: fresh pages cost more than most layers.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    divan::main();
}

/// Channels in, out, kernel, stride, groups, height, width.
const LAYERS: [[usize; 7]; 12] = [
    [3, 32, 3, 2, 1, 384, 480],
    [32, 32, 3, 1, 32, 192, 240],
    [32, 16, 1, 1, 1, 192, 240],
    [16, 96, 1, 1, 1, 192, 240],
    [96, 96, 3, 2, 96, 192, 240],
    [96, 24, 1, 1, 1, 96, 120],
    [24, 144, 1, 1, 1, 96, 120],
    [144, 144, 5, 1, 144, 96, 120],
    [40, 240, 1, 1, 1, 48, 60],
    [672, 672, 5, 1, 672, 24, 30],
    [672, 112, 1, 1, 1, 24, 30],
    [1152, 192, 1, 1, 1, 12, 15],
];

#[divan::bench(args = 0..LAYERS.len())]
fn layer(bencher: Bencher, index: usize) {
    let [channels_in, channels_out, kernel, stride, groups, height, width] = LAYERS[index];
    let numbers =
        |count: usize| (0..count).map(|i| (i % 17) as f32 / 17.0 - 0.5).collect::<Vec<_>>();
    let weight = numbers(channels_out * channels_in / groups * kernel * kernel);
    let shape = [kernel, stride, 1, groups];
    let conv =
        Conv2d::new(weight, numbers(channels_out), [channels_in, channels_out], shape).unwrap();
    let image = numbers(channels_in * height * width);
    let pads = [(kernel / 2, kernel / 2); 2];
    let work =
        conv.size([height, width], pads).iter().product::<usize>() * channels_out * channels_in
            / groups
            * kernel
            * kernel;
    bencher
        .counter(divan::counter::ItemsCount::new(work))
        .bench_local(|| conv.forward(&image, [height, width], pads, Activation::Relu6));
}
