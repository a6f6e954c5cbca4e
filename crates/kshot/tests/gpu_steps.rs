//! What a step of training is on a GPU, counted on Burn's recorder, which computes nothing: how many operations are
//! launched, how many of them differ (each is compiled and tuned for), and that no result is waited for. Kernels of the
//! CPU take no part, as on a GPU.
#![allow(clippy::unwrap_used)] // helpers of tests

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};

use burn::backend::ir::OperationIr;
use burn::module::Module;
use burn::prelude::*;
use kshot::contract::Objective;
use kshot::data::batch::{Batch, Episode, EpisodeId};
use kshot::decoder::{DecoderConfig, Segmenter};
use kshot::encoder::EncoderConfig;
use kshot::encoder::conv4::Conv4Config;
use kshot::loss::LossConfig;
use kshot::method::few_shot::panet::{Panet, PanetConfig};
use kshot::method::few_shot::prototypical_networks::PrototypicalNetworksConfig;
use kshot::method::learner::{Learner, LearnerConfig, LearnerSetting};
use kshot::method::network::NetworkConfig;
use kshot::method::supervised::Supervised;
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

/// A whole step with all that surrounds it: gradients clipped, the optimiser's update, the moving average.
fn step<O: Objective>(objective: &O, item: O::Item, device: &Device) {
    let training: Training = toml::from_str(
        "seed = 1\nsteps = 4\nvalidate_every = 4\noptimizer = \"adamw\"\nlearning_rate = 0.01\n\
         clip = { norm = 0.5 }\nema = 0.9\n",
    )
    .unwrap();
    let objective = objective.clone().to_device(device).train();
    let average = objective.clone().valid();
    let plan = StepPlan::of(&training, Layers::default());
    let mut optimizer = training.optimizer.init();
    let result = objective.step(item);
    assert!(result.loss.is_nan() && result.metrics.is_unread(), "the loss was read");
    let gradients = plan.prepared(&objective, result.gradients);
    let objective = optimizer.step(0.01, objective, gradients).after_update();
    drop(plan.averaged(Some(average), &objective, 0));
}

/// Pictures that come from elsewhere, on the autodiff side.
fn images(shape: [usize; 4], device: &Device) -> Tensor<4> {
    Tensor::from_inner(Tensor::<4>::ones(shape, &Device::flex()).to_device(device))
}

/// Labels that are computed, so that who reads them is noticed.
fn labels<const R: usize>(shape: [usize; R], device: &Device) -> Tensor<R, Int> {
    let labels = Tensor::<R, Int>::zeros(shape, &Device::flex()).to_device(device);
    Tensor::from_inner(labels.add_scalar(1))
}

fn batch(device: &Device) -> Batch<3> {
    Batch { images: images([2, 3, 64, 64], device), labels: labels([2, 64, 64], device), seed: 3 }
}

fn supervised(encoder: &str) -> Supervised {
    let device = Device::flex();
    device.seed(1);
    let config: EncoderConfig = encoder.parse().unwrap();
    let segmenter =
        Segmenter::new(config.init(&device), &DecoderConfig::default(), 4, &device).unwrap();
    let loss = LossConfig::default();
    deep_copy(&Supervised::new(segmenter, loss, true, config.normalization()))
}

#[test]
fn a_step_of_segmentation_waits_for_nothing() {
    let _alone = alone();
    let network = supervised("resnet-tiny");
    let once = counted(|device| step(&network, batch(device), device));
    let again = counted(|device| step(&network, batch(device), device));
    assert_eq!(once, again, "every step is the same");
    println!("segmentation: {} launched, {} distinct", once.launched, once.distinct.len());
    assert!(once.launched <= MOST_SEGMENTATION[0], "{} operations", once.launched);
    assert!(once.distinct.len() <= MOST_SEGMENTATION[1], "{} distinct", once.distinct.len());
}

#[test]
fn a_validation_item_waits_for_nothing_and_is_one_of_few_sizes() {
    let _alone = alone();
    let network = supervised("resnet-tiny").valid();
    let convolutions = |[height, width]: [usize; 2]| -> BTreeSet<String> {
        let counts = counted(|device| {
            let images = images([1, 3, height, width], device).inner();
            let labels = labels([1, height, width], device).inner();
            let item = Batch { images, labels, seed: 0 };
            let state = network.clone().to_device(device).evaluate(item);
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

fn episode<const R: usize>(
    of: impl Fn(usize) -> Batch<R>,
    ways: usize,
    [shots, queries]: [usize; 2],
) -> Episode<R> {
    let id = EpisodeId { seed: 1, index: 0 };
    let (support, query) = (of(ways * shots), of(queries));
    Episode { support, query, ways, classes: (1..=ways).collect(), id }
}

#[test]
fn a_step_of_prototypical_networks_waits_for_nothing() {
    let _alone = alone();
    let device = Device::flex().autodiff();
    device.seed(1);
    let network = NetworkConfig::Conv4(Conv4Config::default()).init(1, &device).unwrap();
    let setting = LearnerSetting {
        network,
        channels: 1,
        size: [28, 28],
        ways: 5,
        classes: 20,
        device: device.clone(),
    };
    let learner = PrototypicalNetworksConfig::default().init(setting).unwrap();
    let learner = deep_copy(&Learner::PrototypicalNetworks(learner));
    let item = |device: &Device| {
        let of = |count: usize| Batch {
            images: images([count, 1, 28, 28], device),
            labels: labels([count], device),
            seed: 0,
        };
        vec![episode(of, 5, [1, 15])]
    };
    let once = counted(|device| step(&learner, item(device), device));
    println!("prototypical: {} launched, {} distinct", once.launched, once.distinct.len());
    assert!(once.launched <= MOST_PROTOTYPICAL[0], "{} operations", once.launched);
    assert!(once.distinct.len() <= MOST_PROTOTYPICAL[1], "{} distinct", once.distinct.len());
}

#[test]
fn a_step_of_panet_waits_for_nothing() {
    let _alone = alone();
    let device = Device::flex();
    device.seed(1);
    let config: EncoderConfig = "resnet-tiny".parse().unwrap();
    let panet = deep_copy(&Panet::new(config.init(&device), PanetConfig::default(), 5));
    let item = |device: &Device| {
        let of = |count: usize| Batch {
            images: images([count, 3, 65, 65], device),
            labels: labels([count, 65, 65], device),
            seed: 0,
        };
        vec![episode(of, 1, [1, 1])]
    };
    let once = counted(|device| step(&panet, item(device), device));
    println!("panet: {} launched, {} distinct", once.launched, once.distinct.len());
    assert!(once.launched <= MOST_PANET[0], "{} operations", once.launched);
    assert!(once.distinct.len() <= MOST_PANET[1], "{} distinct", once.distinct.len());
}

#[test]
fn the_recorder_notices_who_waits() {
    let reads = |device: &Device| {
        let sum = images([1, 3, 8, 8], device).inner().sum();
        let _: f32 = sum.into_scalar();
    };
    assert!(catch_unwind(AssertUnwindSafe(|| counted(reads))).is_err());
}

/// Operations and distinct ones at most.
const MOST_SEGMENTATION: [usize; 2] = [9999, 9999];
const MOST_PROTOTYPICAL: [usize; 2] = [9999, 9999];
const MOST_PANET: [usize; 2] = [9999, 9999];
