//! Layers as users call them, through Burn: `RAYON_NUM_THREADS=2 cargo bench --workspace --bench layers`.
//!
//! `layers.py` beside this does the same work in PyTorch and prints the same names.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot start should stop")]

use burn::nn::{BatchNorm, BatchNormConfig};
use burn::tensor::activation::{log_softmax, relu};
use burn::tensor::ops::{ConvOptions, MaxPoolOptions};
use burn::tensor::{Device, Distribution, Int, Tensor};
use divan::Bencher;
use kshot_kernels::{Activation, Conv2d, batch_norm_layer, conv2d, max_pool2d};

/// As the command has it: fresh pages cost more than most layers.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    #[cfg(feature = "mimalloc")]
    kshot_kernels::keep_pages();
    divan::main();
}

/// Batch, channels in, out, kernel, stride, dilation, groups, side, padding.
const LAYERS: [(&str, [usize; 9]); 19] = [
    ("3x3 1x64x224", [1, 64, 64, 3, 1, 1, 1, 224, 1]),
    ("3x3 1x256x56", [1, 256, 256, 3, 1, 1, 1, 56, 1]),
    ("3x3 1x512x28", [1, 512, 512, 3, 1, 1, 1, 28, 1]),
    ("3x3 dilation 2 1x512x53", [1, 512, 512, 3, 1, 2, 1, 53, 2]),
    ("3x3 25x64x14", [25, 64, 64, 3, 1, 1, 1, 14, 1]),
    ("3x3 100x64x14", [100, 64, 64, 3, 1, 1, 1, 14, 1]),
    ("3x3 100x64x7", [100, 64, 64, 3, 1, 1, 1, 7, 1]),
    ("3x3 100x64x3", [100, 64, 64, 3, 1, 1, 1, 3, 1]),
    ("3x3 100x1->64x28", [100, 1, 64, 3, 1, 1, 1, 28, 1]),
    ("3x3 stride 2 4x64->128x56", [4, 64, 128, 3, 2, 1, 1, 56, 1]),
    ("1x1 4x256->64x56", [4, 256, 64, 1, 1, 1, 1, 56, 0]),
    ("1x1 8x112->672x14", [8, 112, 672, 1, 1, 1, 1, 14, 0]),
    ("1x1 8x384->1536x14", [8, 384, 1536, 1, 1, 1, 1, 14, 0]),
    ("7x7 stride 2 4x3->64x224", [4, 3, 64, 7, 2, 1, 1, 224, 3]),
    ("3x3 stride 2 4x3->32x224", [4, 3, 32, 3, 2, 1, 1, 224, 1]),
    ("depthwise 3x3 1x144x56", [1, 144, 144, 3, 1, 1, 144, 56, 1]),
    ("depthwise 3x3 stride 2 4x96x112", [4, 96, 96, 3, 2, 1, 96, 112, 1]),
    ("depthwise 5x5 4x144x28", [4, 144, 144, 5, 1, 1, 144, 28, 2]),
    ("depthwise 5x5 8x672x14", [8, 672, 672, 5, 1, 1, 672, 14, 2]),
];

/// Images, weight and options of a layer.
fn layer(name: &str, device: &Device) -> (Tensor<4>, Tensor<4>, ConvOptions<2>) {
    let (_, shape) = LAYERS.iter().find(|(row, _)| *row == name).unwrap();
    let [batch, channels_in, channels_out, kernel, stride, dilation, groups, side, pad] = *shape;
    let random = |shape: [usize; 4]| Tensor::random(shape, Distribution::Normal(0.0, 1.0), device);
    (
        random([batch, channels_in, side, side]),
        random([channels_out, channels_in / groups, kernel, kernel]),
        ConvOptions::new([stride; 2], [pad; 2], [dilation; 2], groups),
    )
}

fn names() -> impl Iterator<Item = &'static str> {
    LAYERS.iter().map(|(name, _)| *name)
}

#[divan::bench(args = names())]
fn forward(bencher: Bencher, name: &str) {
    let (images, weight, options) = layer(name, &Device::flex());
    bencher.bench_local(|| conv2d(images.clone(), weight.clone(), None, options.clone()));
}

/// Forward, then the gradients of images (but of stems) and weight.
#[divan::bench(args = names())]
fn forward_and_backward(bencher: Bencher, name: &str) {
    let (images, weight, options) = layer(name, &Device::flex().autodiff());
    let stem = images.dims()[1] <= 3;
    let images = if stem { images } else { images.require_grad() };
    let weight = weight.require_grad();
    bencher
        .bench_local(|| conv2d(images.clone(), weight.clone(), None, options.clone()).backward());
}

/// Four blocks of convolution, batch normalisation, ReLU and pooling, and a linear layer on top: the
/// usual network of few-shot classification.
struct Conv4 {
    blocks: Vec<(Tensor<4>, Tensor<1>, BatchNorm)>,
    head: Tensor<2>,
}

impl Conv4 {
    fn new(device: &Device) -> Self {
        let block = |index: usize| {
            let shape = [64, if index == 0 { 1 } else { 64 }, 3, 3];
            let weight = Tensor::random(shape, Distribution::Normal(0.0, 0.05), device);
            let bias = Tensor::<1>::zeros([64], device).require_grad();
            (weight.require_grad(), bias, BatchNormConfig::new(64).init(device))
        };
        let head = Tensor::random([64, 5], Distribution::Normal(0.0, 0.1), device).require_grad();
        Self { blocks: (0..4).map(block).collect(), head }
    }

    /// The mean cross-entropy of labels that repeat 0..5.
    fn loss(&self, images: Tensor<4>, ours: bool) -> Tensor<1> {
        let [batch, ..] = images.dims();
        let device = images.device();
        let mut images = images;
        for (weight, bias, norm) in &self.blocks {
            let options = ConvOptions::new([1, 1], [1, 1], [1, 1], 1);
            let (weight, bias) = (weight.clone(), Some(bias.clone()));
            let pool = MaxPoolOptions::new([2, 2]);
            images = if ours {
                let images = conv2d(images, weight, bias, options);
                max_pool2d(batch_norm_layer(norm, images, Activation::Relu), pool)
            } else {
                let images = burn::tensor::module::conv2d(images, weight, bias, options);
                burn::tensor::module::max_pool2d(relu(norm.forward(images)), pool)
            };
        }
        let scores = log_softmax(images.reshape([batch, 64]).matmul(self.head.clone()), 1);
        let labels = Tensor::<1, Int>::arange(0..batch as i64, &device).remainder_scalar(5);
        -scores.gather(1, labels.reshape([batch, 1])).mean()
    }
}

#[divan::bench(args = [("ours", 25), ("ours", 100), ("burn", 25), ("burn", 100)])]
fn conv4_step(bencher: Bencher, (whose, batch): (&str, usize)) {
    let device = Device::flex().autodiff();
    let network = Conv4::new(&device);
    let images = Tensor::random([batch, 1, 28, 28], Distribution::Normal(0.0, 1.0), &device);
    bencher.bench_local(|| network.loss(images.clone(), whose == "ours").backward());
}

/// Channels in, out, kernel, stride, groups, height, width: of EfficientNet-Lite0 at 480x360.
const INFERENCE: [[usize; 7]; 12] = [
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

#[divan::bench(args = 0..INFERENCE.len())]
fn inference(bencher: Bencher, index: usize) {
    let [channels_in, channels_out, kernel, stride, groups, height, width] = INFERENCE[index];
    let numbers =
        |count: usize| (0..count).map(|i| (i % 17) as f32 / 17.0 - 0.5).collect::<Vec<_>>();
    let weight = numbers(channels_out * channels_in / groups * kernel * kernel);
    let (channels, steps) = ([channels_in, channels_out], [stride, 1, groups]);
    let conv = Conv2d::new(weight, numbers(channels_out), channels, [kernel; 2], steps).unwrap();
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
