//! What training is on a GPU, counted on Burn's recorder, which computes nothing: how many operations are launched, how
//! many of them differ (each is compiled and tuned for), and that no result is waited for. Kernels of the CPU take no part,
//! as on a GPU. Burn 0.22.1 records no gradients, so what is recorded is the way to the loss, what is counted for metrics,
//! and what is done to gradients; normalisation goes by running statistics.
#![allow(clippy::unwrap_used)] // helpers of tests

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};

use burn::backend::ir::OperationIr;
use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::prelude::*;
use kshot::contract::{FewShot, Objective};
use kshot::data::batch::{Batch, Episode, EpisodeId};
use kshot::decoder::{DecoderConfig, Segmenter};
use kshot::encoder::EncoderConfig;
use kshot::encoder::conv4::Conv4Config;
use kshot::loss::LossConfig;
use kshot::method::episodic::panet::PanetConfig;
use kshot::method::episodic::{Episodic, EpisodicSegmenter, Seen, SegmentationEpisode};
use kshot::method::few_shot::prototypical_networks::PrototypicalNetworksConfig;
use kshot::method::learner::{LearnerConfig, LearnerSetting};
use kshot::method::network::NetworkConfig;
use kshot::method::supervised::Supervised;
use kshot::metric::MetricState;
use kshot::metric::unread::counted as counted_pixels;
use kshot::nn::weights::deep_copy;
use kshot::recipe::Training;
use kshot::train::layers::Layers;
use kshot::train::step::StepPlan;

/// Operations of a recording.
#[derive(Debug, PartialEq, Eq)]
struct Counts {
    launched: usize,
    /// By kind and shapes.
    distinct: BTreeSet<String>,
}

/// The kind of an operation and the shapes of its tensors.
fn kind(operation: &OperationIr) -> String {
    let text = format!("{operation:?}");
    let name = text.split('{').next().unwrap_or_default().trim_end().to_owned();
    let shapes: Vec<String> =
        operation.nodes().iter().map(|tensor| format!("{:?}", tensor.shape)).collect();
    format!("{name} {}", shapes.join(" "))
}

fn counted(run: impl FnOnce(&Device)) -> Counts {
    let device = Device::capture();
    let captured = device.capture_scope(|scope| {
        run(&device);
        scope.complete([], [])
    });
    let operations: Vec<String> = captured
        .unwrap()
        .graph
        .operations
        .iter()
        .filter(|operation| !matches!(operation, OperationIr::Init(_) | OperationIr::Drop(_)))
        .map(kind)
        .collect();
    Counts { launched: operations.len(), distinct: operations.into_iter().collect() }
}

/// Networks start from the device's random numbers, which are everybody's: one test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Pictures that come from elsewhere.
fn images(shape: [usize; 4], device: &Device) -> Tensor<4> {
    Tensor::<4>::ones(shape, &Device::flex()).to_device(device)
}

/// Labels that are computed, so that who reads them is noticed.
fn labels<const R: usize>(shape: [usize; R], device: &Device) -> Tensor<R, Int> {
    Tensor::<R, Int>::zeros(shape, &Device::flex()).to_device(device).add_scalar(1)
}

fn batch<const R: usize>(
    images: Tensor<4>,
    of: impl FnOnce(usize, &Device) -> Tensor<R, Int>,
) -> Batch<R> {
    let labels = of(images.dims()[0], &images.device());
    Batch { images, labels, seed: 3 }
}

/// A network of random weights. Runs take `valid()` copies: clones share running statistics, which would move along.
fn supervised(encoder: &str) -> Supervised {
    let device = Device::flex();
    device.seed(1);
    let config: EncoderConfig = encoder.parse().unwrap();
    let segmenter =
        Segmenter::new(config.init(&device), &DecoderConfig::default(), 4, &device).unwrap();
    let loss = LossConfig::default();
    deep_copy(&Supervised::new(segmenter, loss, true, config.normalization())).valid()
}

/// Holds counts to bounds, and the same again for another item.
fn held(name: &str, run: impl Fn(&Device), [launched, distinct]: [usize; 2]) {
    let counts = counted(&run);
    assert_eq!(counts, counted(&run), "{name}: every item is the same");
    println!("{name}: {} launched, {} distinct", counts.launched, counts.distinct.len());
    assert!(counts.launched <= launched, "{name}: {} operations", counts.launched);
    assert!(counts.distinct.len() <= distinct, "{name}: {} distinct", counts.distinct.len());
}

#[test]
fn the_loss_of_a_segmentation_step_and_its_counts_wait_for_nothing() {
    let _alone = alone();
    let network = supervised("resnet-tiny");
    let run = |device: &Device| {
        let network = network.valid().to_device(device);
        let images = images([2, 3, 64, 64], device);
        let labels = labels([2, 64, 64], device);
        let logits = network.segmenter.train_forward(images).logits;
        let loss = LossConfig::default().forward(logits.clone(), labels.clone());
        let state = MetricState::default()
            .with_unread_mean("loss", loss, 1.0)
            .with_unread_confusion(counted_pixels(logits, labels), true);
        assert!(state.is_unread());
    };
    held("segmentation", run, MOST_SEGMENTATION);
}

#[test]
fn a_validation_item_waits_for_nothing_and_is_one_of_few_sizes() {
    let _alone = alone();
    let network = supervised("resnet-tiny");
    let convolutions = |[height, width]: [usize; 2]| -> BTreeSet<String> {
        let counts = counted(|device| {
            let images = images([1, 3, height, width], device);
            let item = batch(images, |count, device| labels([count, height, width], device));
            let state = network.valid().to_device(device).evaluate(item);
            assert!(state.is_unread());
        });
        counts.distinct.into_iter().filter(|kind| kind.contains("Conv2d")).collect()
    };
    // Pictures of other sizes are shown as one of few.
    let once = convolutions([50, 60]);
    assert!(once.len() > 4, "{once:?}");
    assert_eq!(once, convolutions([61, 49]));
    assert_ne!(once, convolutions([61, 65]));
}

fn episode(
    of: impl Fn(usize) -> Batch<1>,
    ways: usize,
    [shots, queries]: [usize; 2],
) -> Episode<1> {
    let id = EpisodeId { seed: 1, index: 0 };
    let (support, query) = (of(ways * shots), of(queries));
    Episode { support, query, ways, classes: (1..=ways).collect(), id }
}

#[test]
fn the_loss_of_prototypical_networks_waits_for_nothing() {
    let _alone = alone();
    let device = Device::flex();
    device.seed(1);
    let network = NetworkConfig::Conv4(Conv4Config::default()).init(1, &device).unwrap();
    let (channels, size, ways, classes) = (1, [28, 28], 5, 20);
    let setting = LearnerSetting { network, channels, size, ways, classes, device };
    let learner = PrototypicalNetworksConfig::default().init(setting).unwrap();
    let learner = deep_copy(&learner).valid();
    let run = |device: &Device| {
        let of = |count: usize| {
            batch(images([count, 1, 28, 28], device), |count, device| labels([count], device))
        };
        drop(learner.valid().to_device(device).loss(&episode(of, 5, [1, 15])));
    };
    held("prototypical", run, MOST_PROTOTYPICAL);
}

#[test]
fn the_loss_of_panet_and_its_alignment_wait_for_nothing() {
    let _alone = alone();
    let device = Device::flex();
    device.seed(1);
    let config: EncoderConfig = "resnet-tiny".parse().unwrap();
    let method = Episodic::Panet(PanetConfig::default());
    let panet = EpisodicSegmenter::new(config.init(&device), &method, LossConfig::default(), 5);
    let panet = deep_copy(&panet).valid();
    let run = |device: &Device| {
        let side = || (Seen::Images(images([1, 3, 65, 65], device)), labels([1, 65, 65], device));
        let (id, classes) = (EpisodeId { seed: 1, index: 0 }, vec![1]);
        let (support, query, all) = (side(), side(), labels([1, 65, 65], device));
        let episode = SegmentationEpisode { support, query, all, classes, is_main: true, id };
        drop(panet.valid().to_device(device).loss_of(episode));
    };
    held("panet", run, MOST_PANET);
}

#[test]
fn gradients_are_clipped_without_waiting_for_their_length() {
    let _alone = alone();
    let network = supervised("resnet-tiny");
    let training: Training = toml::from_str(
        "seed = 1\nsteps = 4\nvalidate_every = 4\noptimizer = \"adamw\"\nlearning_rate = 0.01\n\
         clip = { norm = 0.5 }\n",
    )
    .unwrap();
    let plan = StepPlan::of(&training, Layers::default());
    let run = |device: &Device| {
        let network = network.valid().to_device(device);
        let mut all = Computed(GradientsParams::new());
        network.visit(&mut all);
        let clipped = plan.prepared(&network, all.0);
        assert!(clipped.len() > 10);
    };
    held("clip", run, MOST_CLIP);
}

/// A gradient that is computed for each parameter.
struct Computed(GradientsParams);

impl ModuleVisitor for Computed {
    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
        self.0.register(parameter.id, parameter.val() * 2.0);
    }
}

#[test]
fn the_recorder_notices_who_waits() {
    let reads = |device: &Device| {
        let sum = images([1, 3, 8, 8], device).sum();
        let _: f32 = sum.into_scalar();
    };
    assert!(catch_unwind(AssertUnwindSafe(|| counted(reads))).is_err());
}

/// Operations and distinct ones at most: a twentieth more than there are.
const MOST_SEGMENTATION: [usize; 2] = [260, 135];
const MOST_PROTOTYPICAL: [usize; 2] = [142, 76];
const MOST_PANET: [usize; 2] = [520, 182];
const MOST_CLIP: [usize; 2] = [640, 132];
