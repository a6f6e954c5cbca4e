//! What the loop does around a step of the optimiser: gradients over several batches, clipping, the moving average of
//! the weights; held against the same steps by hand, and against a training that was stopped.

use std::path::Path;
use std::sync::Arc;

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::prelude::*;
use burn::tensor::TensorData;
use burn::tensor::ops::AvgPoolOptions;
use kshot::contract::{ItemSource, Objective, StepResult};
use kshot::metric::MetricState;
use kshot::nn::weights::deep_copy;
use kshot::nn::{Activation, ConvConfig, ConvNormAct, Precision};
use kshot::recipe::Training;
use kshot::train::curve::EarlyEnd;
use kshot::train::layers::LayerPlan;
use kshot::train::load;
use kshot::train::run::{self, TrainRunOptions, Trained};
use kshot::train::session::Session;

use super::support::{alone, numbers, points, quiet};

/// A convolution with batch normalisation that learns to blur.
#[derive(Module, Debug)]
struct Blur {
    layer: ConvNormAct,
}

impl Blur {
    fn new() -> Self {
        let device = Device::flex().autodiff();
        device.seed(7);
        let config = ConvConfig::new([1, 1], 3);
        let layer = ConvNormAct::new(&config, 1e-5, Activation::Identity, &device);
        // Parameters are made when they are first asked for: now, by the seed.
        Self { layer: deep_copy(&layer) }
    }

    fn loss(&self, picture: Tensor<4>) -> Tensor<1> {
        let options = AvgPoolOptions::new([3, 3]).with_stride([1, 1]).with_padding([1, 1]);
        let blurred = burn::tensor::module::avg_pool2d(picture.clone(), options);
        (self.layer.forward(picture) - blurred).square().mean()
    }

    fn numbers(&self) -> Vec<f32> {
        // A copy has the last statistics.
        numbers(&deep_copy(self)).into_values().flatten().collect()
    }
}

impl Objective for Blur {
    type Item = Tensor<4>;

    fn step(&self, item: Tensor<4>) -> StepResult {
        let loss = self.loss(item);
        let value = loss.clone().into_scalar::<f32>().into();
        let gradients = GradientsParams::from_grads(loss.backward(), self);
        let metrics = MetricState::default().with_mean("loss", value, 1.0);
        StepResult { loss: value, gradients, metrics }
    }

    fn evaluate(&self, item: Tensor<4>) -> MetricState {
        let value = self.loss(item).into_scalar::<f32>().into();
        MetricState::default().with_mean("loss", value, 1.0)
    }

    fn monitor(&self) -> &'static str {
        "loss"
    }
}

struct Pictures;

impl ItemSource<Tensor<4>> for Pictures {
    fn item(&self, index: u64, device: &Device) -> kshot::Result<Tensor<4>> {
        let mut random = kshot::data::source::generator(1, index, 0);
        let values: Vec<f32> = (0..128).map(|_| rand::Rng::random(&mut random)).collect();
        Ok(Tensor::from_data(TensorData::new(values, [2, 1, 8, 8]), device))
    }
}

fn train(out: &Path, keys: &str, at_most: Option<usize>) -> Trained {
    train_by(out, keys, quiet(at_most))
}

fn train_by(out: &Path, keys: &str, options: TrainRunOptions) -> Trained {
    let training: Training = toml::from_str(&format!("seed = 1\n{keys}")).unwrap();
    let session = Session {
        title: "a blur".to_owned(),
        about: "random pictures".to_owned(),
        recipe: keys.to_owned(),
        training,
        objective: Blur::new(),
        precision: Precision::F32,
        layers: LayerPlan::default(),
        changes: None,
        source: Arc::new(Pictures),
        validation: Arc::new(Pictures),
        validation_items: 2,
        notes: Vec::new(),
        device: Device::flex(),
    };
    run::train(session, out, options).unwrap()
}

fn kept(out: &Path) -> Blur {
    load::from_run(Blur::new(), out).unwrap()
}

const KEYS: &str = "steps = 8\nvalidate_every = 2\noptimizer = \"adam\"\nlearning_rate = 0.05\n";

#[test]
fn steps_are_those_taken_by_hand() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let keys = "steps = 6\nvalidate_every = 6\noptimizer = \"sgd\"\nlearning_rate = 0.1\n\
                accumulate = 3\nclip = { norm = 0.25 }\nema = 0.3\n";
    train(folder.path(), keys, None);

    let device = Device::flex().autodiff();
    let network = Blur::new();
    let ids = {
        struct Ids(Vec<burn::module::ParamId>);
        impl burn::module::ModuleVisitor for Ids {
            fn visit_float<const D: usize>(&mut self, parameter: &burn::module::Param<Tensor<D>>) {
                self.0.push(parameter.id);
            }
        }
        let mut ids = Ids(Vec::new());
        network.visit(&mut ids);
        ids.0
    };
    let mut network = network;
    let mut average = network.numbers();
    let mut clipped = 0;
    for step in 0..6 {
        let mut sums = [vec![0.0; 9], vec![0.0], vec![0.0]];
        for batch in 0..3 {
            let item = Pictures.item(3 * step + batch, &device).unwrap();
            let gradients = network.step(item).gradients;
            let kernel =
                gradients.get::<4>(ids[0]).unwrap().into_data().try_to_vec::<f32>().unwrap();
            let [gamma, beta] = [1, 2].map(|at: usize| {
                gradients.get::<1>(ids[at]).unwrap().into_data().try_to_vec::<f32>().unwrap()
            });
            for (sum, of) in sums.iter_mut().zip([kernel, gamma, beta]) {
                sum.iter_mut().zip(of).for_each(|(sum, of)| *sum += of / 3.0);
            }
        }
        let length = sums.iter().flatten().map(|number| number * number).sum::<f32>().sqrt();
        let share = (0.25 / length).min(1.0);
        clipped += usize::from(share < 1.0);
        let step_of = |values: &[f32]| -> Vec<f32> {
            values.iter().map(|value| value * share * 0.1).collect()
        };
        let kernel = TensorData::new(step_of(&sums[0]), [1, 1, 3, 3]);
        let kernel = Tensor::<4>::from_data(kernel, &Device::flex());
        network.layer.conv.weight = network
            .layer
            .conv
            .weight
            .clone()
            .map(|weight| Tensor::from_inner(weight.inner() - kernel).require_grad());
        if let Some(norm) = network.layer.norm.as_mut() {
            let moved = |of: &burn::module::Param<Tensor<1>>, by: &[f32]| {
                let by = Tensor::<1>::from_data(TensorData::new(step_of(by), [1]), &Device::flex());
                Tensor::from_inner(of.val().inner() - by).require_grad()
            };
            let (gamma, beta) = (moved(&norm.gamma, &sums[1]), moved(&norm.beta, &sums[2]));
            norm.set(gamma, beta);
        }
        let decay = 0.3_f32.min((1.0 + step as f32) / (10.0 + step as f32));
        for (average, now) in average.iter_mut().zip(network.numbers()) {
            *average = decay * *average + (1.0 - decay) * now;
        }
    }
    assert!(clipped > 0, "no gradient was long enough to be clipped");
    let found = kept(folder.path()).numbers();
    assert_eq!(found.len(), 9 + 4);
    for (found, by_hand) in found.iter().zip(&average) {
        assert!((found - by_hand).abs() < 1e-5, "{found:?} by the loop, {by_hand:?} by hand");
    }
    let distance = |other: &[f32]| -> f32 {
        found.iter().zip(other).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    };
    assert!(distance(&network.numbers()) > 1e-4, "the average is the network itself");
}

#[test]
fn a_stopped_training_goes_on_to_the_very_numbers() {
    let _alone = alone();
    for more in ["ema = 0.9", "accumulate = 3", "clip = { norm = 0.1 }", "clip = { value = 0.05 }"]
    {
        let keys = format!("{KEYS}{more}\n");
        let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let [whole, parts] = [0, 1].map(|at: usize| folders[at].path());
        train(whole, &keys, None);
        assert!(train(parts, &keys, Some(1)).interrupted);
        train(parts, &keys, Some(2));
        // The weights of an unfinished run are the averaged ones that its validation judged.
        let before = points(parts);
        let mut sums = MetricState::default();
        for index in 0..2 {
            let item = Pictures.item(index, &Device::flex()).unwrap();
            sums.merge(&kept(parts).valid().evaluate(item));
        }
        assert_eq!(sums.value("loss"), before.last().unwrap().validation.get("loss").copied());
        train(parts, &keys, None);
        assert_eq!(points(parts), points(whole), "{more}");
        assert_eq!(kept(parts).numbers(), kept(whole).numbers(), "{more}");
        let plain = tempfile::tempdir().unwrap();
        train(plain.path(), KEYS, None);
        assert_ne!(kept(plain.path()).numbers(), kept(whole).numbers(), "{more} does nothing");
    }
}

#[test]
fn there_are_as_many_steps_as_asked_for_however_often_they_are_validated() {
    let _alone = alone();
    let steps = |every: usize, at_most: Option<usize>| {
        let folder = tempfile::tempdir().unwrap();
        let keys = KEYS.replace("validate_every = 2", &format!("validate_every = {every}"));
        if at_most.is_some() {
            train(folder.path(), &keys, at_most);
        }
        train(folder.path(), &keys, None);
        let points = points(folder.path());
        let last = points.last().unwrap().validation["loss"];
        (points.iter().map(|point| point.step).collect::<Vec<_>>(), last)
    };
    let (at, last) = steps(2, None);
    assert_eq!(at, [2, 4, 6, 8]);
    for (every, at_most, expected) in
        [(3, None, vec![3, 6, 8]), (3, Some(2), vec![3, 6, 8]), (100, None, vec![8])]
    {
        assert_eq!(steps(every, at_most), (expected, last), "every {every}");
    }
}

#[test]
fn validations_that_get_no_better_end_a_training() {
    let _alone = alone();
    // Nothing good is learnt at this rate.
    let keys = |patience| format!("{KEYS}patience = {patience}\n").replace("0.05", "5.0");
    let patient = tempfile::tempdir().unwrap();
    assert_eq!(train(patient.path(), &keys(4), None).early_end, None);
    let values: Vec<f64> = points(patient.path()).iter().map(|of| of.validation["loss"]).collect();
    let stale = (1..values.len()).find(|&at| values[at] >= values[at - 1]).unwrap() + 1;
    assert!(stale < values.len(), "there is no end before the last validation: {values:?}");
    let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let [whole, parts] = [0, 1].map(|at: usize| folders[at].path());
    train(parts, &keys(1), Some(1));
    for run in [whole, parts] {
        for _ in 0..2 {
            let trained = train(run, &keys(1), None);
            assert_eq!((trained.early_end, trained.interrupted), (Some(EarlyEnd::Patience), false));
            assert_eq!((trained.last.number, trained.best.number), (stale, stale - 1));
        }
    }
    assert_eq!(kept(whole).numbers(), kept(parts).numbers());
}

#[test]
fn a_training_ends_where_the_next_validation_would_be_too_late() {
    let _alone = alone();
    let within = |seconds| {
        let folder = tempfile::tempdir().unwrap();
        let options = TrainRunOptions { seconds: Some(seconds), ..quiet(None) };
        let trained = train_by(folder.path(), KEYS, options);
        assert!(!trained.interrupted);
        // The best parameters are kept.
        kept(folder.path());
        (trained.last.number, trained.early_end)
    };
    assert_eq!(within(1e-9), (1, Some(EarlyEnd::Time)));
    assert_eq!(within(1e9), (4, None));
}
