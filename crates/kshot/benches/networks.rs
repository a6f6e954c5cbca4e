//! Whole networks: `RAYON_NUM_THREADS=2 cargo bench --workspace --bench networks`.
//!
//! `networks.py` beside this does the same work in PyTorch and prints the same names. A training step is
//! the forward pass, the mean square of the result, and the gradients of all parameters; encoders
//! normalise by running statistics (`freeze_norm`), as on batches of a few pictures.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot start should stop")]

use burn::module::Module;
use burn::tensor::{Device, Distribution, Tensor};
use divan::Bencher;
use kshot::decoder::{DecoderConfig, Segmenter};
use kshot::encoder::conv4::Conv4Config;
use kshot::encoder::{Encode, Encoder, EncoderConfig};
use kshot::method::network::{EmbeddingNetwork, NetworkConfig};
use kshot::nn::norm::Pass;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    kshot_kernels::keep_pages();
    divan::main();
}

/// Name, encoder and decoder as recipes write them, pictures, height and width.
const ROWS: [(&str, &str, &str, [usize; 3]); 23] = [
    ("efficientnet-lite0 1x224x224", LITE0, "", [1, 224, 224]),
    ("efficientnet-lite0 8x224x224", LITE0, "", [8, 224, 224]),
    ("efficientnet-lite0 1x360x480", LITE0, "", [1, 360, 480]),
    ("efficientnet-lite0 8x360x480", LITE0, "", [8, 360, 480]),
    ("resnet50 1x224x224", r#""resnet50""#, "", [1, 224, 224]),
    ("resnet50 8x224x224", r#""resnet50""#, "", [8, 224, 224]),
    ("vgg16-panet 1x417x417", r#""vgg16-panet""#, "", [1, 417, 417]),
    ("vgg16-panet 8x417x417", r#""vgg16-panet""#, "", [8, 417, 417]),
    ("mobilenet-v2 1x224x224", r#""mobilenet-v2""#, "", [1, 224, 224]),
    ("mobilenet-v2 8x224x224", r#""mobilenet-v2""#, "", [8, 224, 224]),
    ("hrnet-w18 1x224x224", r#""hrnet-w18""#, "", [1, 224, 224]),
    ("hrnet-w18 8x224x224", r#""hrnet-w18""#, "", [8, 224, 224]),
    ("vit-small-16 1x224x224", r#""vit-small-16""#, "", [1, 224, 224]),
    ("vit-small-16 8x224x224", r#""vit-small-16""#, "", [8, 224, 224]),
    ("unet 1x224x224", LITE0, r#""unet""#, [1, 224, 224]),
    ("unet 8x224x224", LITE0, r#""unet""#, [8, 224, 224]),
    ("deeplab-v3-plus-resnet50 1x224x224", DILATED, DEEPLAB, [1, 224, 224]),
    ("deeplab-v3-plus-resnet50 8x224x224", DILATED, DEEPLAB, [8, 224, 224]),
    ("segnet-vgg16 1x224x224", r#""vgg16-bn""#, r#""segnet""#, [1, 224, 224]),
    ("segnet-vgg16 8x224x224", r#""vgg16-bn""#, r#""segnet""#, [8, 224, 224]),
    ("ddrnet-23-slim 1x360x480", DDRNET, DDRNET_HEAD, [1, 360, 480]),
    ("ddrnet-23-slim 8x360x480", DDRNET, DDRNET_HEAD, [8, 360, 480]),
    ("conv4 25x28x28", "", "", [25, 28, 28]),
];
const LITE0: &str = r#""efficientnet-lite0""#;
const DILATED: &str = r#"{"name": "resnet50", "output_stride": 16}"#;
/// Of segmentation_models_pytorch.
const DEEPLAB: &str = r#"{"name": "deeplab-v3-plus", "layout": "smp", "rates": [12, 24, 36]}"#;
const DDRNET: &str = r#""ddrnet-23-slim""#;
const DDRNET_HEAD: &str = r#"{"name": "ddrnet", "width": 64}"#;
const CLASSES: usize = 21;

fn names() -> impl Iterator<Item = &'static str> {
    ROWS.iter().map(|(name, ..)| *name)
}

#[expect(clippy::large_enum_variant, reason = "there is one at a time")]
enum Model {
    Encoder(Encoder),
    Segmenter(Segmenter),
    Conv4(EmbeddingNetwork),
}

impl Model {
    fn new(encoder: &str, decoder: &str, device: &Device) -> Self {
        if encoder.is_empty() {
            let config = NetworkConfig::Conv4(Conv4Config::default());
            return Self::Conv4(config.init(1, device).unwrap());
        }
        let config: EncoderConfig = serde_json::from_str(encoder).unwrap();
        let network = config.init(device).freeze_norm();
        if decoder.is_empty() {
            return Self::Encoder(network);
        }
        let decoder: DecoderConfig = serde_json::from_str(decoder).unwrap();
        Self::Segmenter(Segmenter::new(network, &decoder, CLASSES, device).unwrap())
    }

    fn optimize(self) -> Self {
        match self {
            Self::Encoder(encoder) => Self::Encoder(encoder.optimize()),
            Self::Segmenter(segmenter) => Self::Segmenter(segmenter.optimize()),
            Self::Conv4(network) => Self::Conv4(network),
        }
    }

    fn train(self) -> Self {
        match self {
            Self::Encoder(encoder) => Self::Encoder(encoder.train()),
            Self::Segmenter(segmenter) => Self::Segmenter(segmenter.train()),
            Self::Conv4(network) => Self::Conv4(network.train()),
        }
    }

    /// The mean square of the result.
    fn run(&self, images: Tensor<4>, training: bool) -> Tensor<1> {
        match self {
            Self::Encoder(encoder) => encoder.forward(images).last().square().mean(),
            Self::Segmenter(segmenter) => segmenter.forward(images).square().mean(),
            Self::Conv4(network) => {
                let mut pass = if training { Pass::training() } else { Pass::running() };
                network.vectors(images, &mut pass).square().mean()
            }
        }
    }
}

fn set_up(name: &str, device: &Device) -> (Model, Tensor<4>) {
    let (_, encoder, decoder, [count, height, width]) =
        *ROWS.iter().find(|(row, ..)| *row == name).unwrap();
    let channels = if encoder.is_empty() { 1 } else { 3 };
    let shape = [count, channels, height, width];
    let images = Tensor::random(shape, Distribution::Normal(0.0, 1.0), device);
    (Model::new(encoder, decoder, device), images)
}

/// As there, the first runs do not count: they touch memory that later ones find again.
fn warm_up<T>(run: &impl Fn() -> T) {
    (0..3).for_each(|_| drop(run()));
}

#[divan::bench(args = names(), sample_count = 7, sample_size = 1)]
fn inference(bencher: Bencher, name: &str) {
    let (model, images) = set_up(name, &Device::flex());
    let model = model.optimize();
    let run = || model.run(images.clone(), false).into_scalar::<f32>();
    warm_up(&run);
    bencher.bench_local(run);
}

#[divan::bench(args = names(), sample_count = 7, sample_size = 1)]
fn training(bencher: Bencher, name: &str) {
    let (model, images) = set_up(name, &Device::flex().autodiff());
    let model = model.train();
    let run = || model.run(images.clone(), true).backward();
    warm_up(&run);
    bencher.bench_local(run);
}
