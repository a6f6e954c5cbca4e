//! What spoils a training's files, and how it goes on: a tiny objective through the library's own loop.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::module::{Module, Param};
use burn::optim::GradientsParams;
use burn::prelude::*;
use burn::tensor::TensorData;
use kshot::contract::{ItemSource, Objective, StepResult};
use kshot::metric::MetricState;
use kshot::nn::Precision;
use kshot::recipe::Training;
use kshot::train::curve::{self, CurvePoint};
use kshot::train::layers::LayerPlan;
use kshot::train::run::{self, TrainRunOptions, Trained};
use kshot::train::session::Session;
use kshot::train::{checkpoint, load};
use kshot_data::lock::Lock;
use rand::Rng;
use tempfile::TempDir;

use super::support::{points, quiet};

type Item = (Tensor<4>, Tensor<4>);

/// Two numbers, by which neighbouring pixels become an edge.
#[derive(Module, Debug)]
struct EdgeFinder {
    weights: Param<Tensor<1>>,
}

impl EdgeFinder {
    fn new(device: &Device) -> Self {
        Self { weights: Param::from_data([0.5_f32, 0.25], device) }
    }

    fn loss(&self, (picture, edges): Item) -> Tensor<1> {
        let weight =
            |index: usize| self.weights.val().narrow(0, index, 1).reshape([1_usize, 1, 1, 1]);
        let found =
            picture.clone().narrow(3, 1, 3) * weight(0) + picture.narrow(3, 0, 3) * weight(1);
        (found - edges).square().mean()
    }
}

impl Objective for EdgeFinder {
    type Item = Item;

    fn step(&self, item: Item) -> StepResult {
        let loss = self.loss(item);
        let value = loss.clone().into_scalar::<f32>().into();
        let gradients = GradientsParams::from_grads(loss.backward(), self);
        let metrics = MetricState::default().with_mean("loss", value, 1.0);
        StepResult { loss: value, gradients, metrics }
    }

    fn evaluate(&self, item: Item) -> MetricState {
        let value = self.loss(item).into_scalar::<f32>().into();
        MetricState::default().with_mean("loss", value, 1.0)
    }

    fn monitor(&self) -> &'static str {
        "loss"
    }
}

struct Pictures;

impl ItemSource<Item> for Pictures {
    fn item(&self, index: u64, device: &Device) -> kshot::Result<Item> {
        let mut random = kshot::data::source::generator(1, index, 0);
        let values: Vec<f32> = (0..16).map(|_| random.random()).collect();
        let picture = Tensor::<4>::from_data(TensorData::new(values, [1, 1, 4, 4]), device);
        let edges = picture.clone().narrow(3, 1, 3) - picture.clone().narrow(3, 0, 3);
        Ok((picture, edges))
    }
}

/// The folder of a training of four validations.
struct Run {
    folder: TempDir,
}

impl Run {
    /// Up to a validation.
    fn up_to(validation: usize) -> Self {
        let run = Self { folder: tempfile::tempdir().unwrap() };
        run.go_on(Some(validation)).unwrap();
        run
    }

    fn go_on(&self, at_most: Option<usize>) -> kshot::Result<Trained> {
        self.train(at_most, false)
    }

    fn train(&self, at_most: Option<usize>, force: bool) -> kshot::Result<Trained> {
        let device = Device::flex();
        let training: Training = toml::from_str(
            "steps = 8\nvalidate_every = 2\nseed = 1\noptimizer = \"adam\"\nlearning_rate = 0.05",
        )
        .unwrap();
        let session = Session {
            title: "an edge finder".to_owned(),
            about: "random pictures".to_owned(),
            recipe: "learning_rate = 0.05".to_owned(),
            training,
            objective: EdgeFinder::new(&device.clone().autodiff()),
            precision: Precision::F32,
            layers: LayerPlan::default(),
            changes: None,
            source: Arc::new(Pictures),
            validation: Arc::new(Pictures),
            validation_items: 2,
            notes: Vec::new(),
            device,
        };
        run::train(session, self.out(), TrainRunOptions { force, ..quiet(at_most) })
    }

    fn out(&self) -> &Path {
        self.folder.path()
    }

    fn at(&self, name: &str) -> PathBuf {
        self.out().join("checkpoint").join(name)
    }

    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.out().join("checkpoint")).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn flip(&self, name: &str) {
        let mut bytes = fs::read(self.at(name)).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 4;
        fs::write(self.at(name), bytes).unwrap();
    }

    fn cut(&self, name: &str) {
        let bytes = fs::read(self.at(name)).unwrap();
        fs::write(self.at(name), &bytes[..bytes.len() / 2]).unwrap();
    }

    fn points(&self) -> Vec<CurvePoint> {
        points(self.out())
    }

    fn weights(&self) -> Vec<f32> {
        numbers(&load::from_run(EdgeFinder::new(&Device::flex()), self.out()).unwrap())
    }
}

fn numbers(of: &EdgeFinder) -> Vec<f32> {
    of.weights.val().into_data().iter::<f32>().collect()
}

#[test]
fn a_spoilt_checkpoint_is_passed_over_and_the_numbers_are_the_same() {
    let whole = Run::up_to(4);
    assert_eq!(whole.points().len(), 4);
    type Spoil = fn(&Run);
    let spoils: [(Spoil, &[&str]); 7] = [
        (
            |run| run.flip("optim-3.bpk"),
            &[
                "checkpoint 3 is damaged (optim-3.bpk is not what was written): going on from checkpoint 2",
            ],
        ),
        (|run| run.cut("model-3.bpk"), &["checkpoint 3 is damaged (model-3.bpk is not"]),
        (|run| fs::write(run.at("scheduler-3.bpk"), b"").unwrap(), &["(scheduler-3.bpk is empty)"]),
        (|run| fs::write(run.at("sums-3.txt"), b"").unwrap(), &["checkpoint 3 is damaged"]),
        (|run| fs::remove_file(run.at("optim-3.bpk")).unwrap(), &["(optim-3.bpk is missing)"]),
        (
            |run| ["model-3.bpk", "model-2.bpk"].iter().for_each(|name| run.flip(name)),
            &[
                "checkpoint 3 is damaged",
                "checkpoint 2 is damaged (model-2.bpk is not what was written): going on from checkpoint 1",
            ],
        ),
        (
            |run| (1..=3).for_each(|epoch| run.flip(&format!("model-{epoch}.bpk"))),
            &["checkpoint 3 is damaged", "checkpoint 2", "going on from the beginning"],
        ),
    ];
    for (spoil, told) in spoils {
        let run = Run::up_to(3);
        assert!(run::damaged(run.out()).unwrap().is_empty());
        spoil(&run);
        let damaged = run::damaged(run.out()).unwrap();
        assert_eq!(damaged.len(), told.len(), "{damaged:?}");
        for (damaged, told) in damaged.iter().zip(told) {
            assert!(damaged.contains(told), "{damaged}: {told}");
        }
        run.go_on(None).unwrap();
        assert_eq!(run.points(), whole.points(), "{told:?}");
        assert_eq!(run.weights(), whole.weights(), "{told:?}");
        assert!(run::damaged(run.out()).unwrap().is_empty());
    }
}

#[test]
fn the_last_checkpoints_stay_and_older_ones_go() {
    let run = Run::up_to(4);
    let best = run.points().into_iter().reduce(|best, point| {
        if point.monitored("loss") < best.monitored("loss") { point } else { best }
    });
    let best = best.unwrap().number;
    let files = run.files();
    for epoch in [3, 4, best] {
        let parts = ["model", "optim", "scheduler"].map(|part| format!("{part}-{epoch}.bpk"));
        assert!(parts.iter().all(|part| files.contains(part)), "{files:?}");
        assert!(files.contains(&format!("sums-{epoch}.txt")), "{files:?}");
    }
    assert!(best == 1 || !files.contains(&"model-1.bpk".to_owned()), "{files:?}");
    assert!(!run.out().join("train").exists() && !run.out().join("valid").exists());
}

#[test]
fn what_a_killed_training_leaves_is_cleared_away() {
    let run = Run::up_to(2);
    fs::copy(run.at("model-2.bpk"), run.at("model-3.bpk")).unwrap();
    for name in [".kshot-abc.part", "model-3.part.bpk"] {
        fs::write(run.at(name), b"half").unwrap();
    }
    let told = run::damaged(run.out()).unwrap();
    assert_eq!(
        told,
        ["checkpoint 3 was not finished (optim-3.bpk is missing): going on from checkpoint 2"]
    );
    // To use the weights meanwhile is no mistake: that checkpoint never was one.
    assert!(load::weights_of(run.out()).unwrap().ends_with("model-2.bpk"));
    run.go_on(None).unwrap();
    assert!(run.files().iter().all(|name| !name.contains("part")), "{:?}", run.files());
    assert_eq!(run.points(), Run::up_to(4).points());
}

#[test]
fn checkpoints_of_an_earlier_version_count_if_they_can_be_read() {
    let without_sums = || {
        let run = Run::up_to(3);
        for epoch in 1..=3 {
            let _ = fs::remove_file(run.at(&format!("sums-{epoch}.txt")));
        }
        run
    };
    let whole = Run::up_to(4);
    let run = without_sums();
    assert_eq!(checkpoint::newest(&run.out().join("checkpoint")).unwrap().epoch, Some(3));
    run.go_on(None).unwrap();
    assert_eq!(run.points(), whole.points());
    for part in ["model-3.bpk", "optim-3.bpk", "scheduler-3.bpk"] {
        let run = without_sums();
        // All of a schedule's state is at the beginning of its file.
        let bytes = fs::read(run.at(part)).unwrap();
        fs::write(run.at(part), &bytes[..20]).unwrap();
        let told = run::damaged(run.out()).unwrap();
        assert!(told.len() == 1 && told[0].contains(part), "{part}: {told:?}");
        run.go_on(None).unwrap();
        assert_eq!(run.points(), whole.points());
    }
}

#[test]
fn weights_of_a_damaged_run_are_refused_with_a_way_out() {
    let run = Run::up_to(3);
    run.flip("model-3.bpk");
    let error = load::weights_of(run.out()).unwrap_err().to_string();
    assert!(error.contains("checkpoint 3 is damaged") && error.contains("model-2.bpk"), "{error}");
    let before = load::from_run(EdgeFinder::new(&Device::flex()), &run.at("model-2.bpk")).unwrap();
    assert_eq!(numbers(&before), Run::up_to(2).weights());
    let error = load::from_run(EdgeFinder::new(&Device::flex()), &run.at("model-3.bpk"));
    assert!(error.unwrap_err().to_string().contains("is damaged"));

    let run = Run::up_to(4);
    let model = run.out().join("model.bpk");
    let mut bytes = fs::read(&model).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&model, &bytes).unwrap();
    let error = load::from_run(EdgeFinder::new(&Device::flex()), run.out()).unwrap_err();
    assert!(error.to_string().contains("checksum"), "{error}");
}

#[test]
fn a_damaged_best_checkpoint_says_what_to_do() {
    let run = Run::up_to(4);
    // As if the third validation had been the best.
    let mut points = curve::read(&run.out().join("metrics.jsonl")).unwrap();
    points[2].validation.insert("loss".to_owned(), 0.0);
    let lines: Vec<String> =
        points.iter().map(|point| serde_json::to_string(point).unwrap() + "\n").collect();
    fs::write(run.out().join("metrics.jsonl"), lines.concat()).unwrap();
    run.cut("model-3.bpk");
    let error = run.go_on(None).unwrap_err().to_string();
    for part in ["checkpoint 3 is damaged", "the best", "--force", "model-4.bpk"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    run.train(None, true).unwrap();
    assert_eq!(run.points(), Run::up_to(4).points());
}

#[test]
fn a_curve_that_does_not_reach_the_checkpoint_is_refused() {
    let run = Run::up_to(3);
    let text = fs::read_to_string(run.out().join("metrics.jsonl")).unwrap();
    let lines: Vec<&str> = text.lines().take(2).collect();
    fs::write(run.out().join("metrics.jsonl"), lines.join("\n") + "\n").unwrap();
    let error = run.go_on(None).unwrap_err().to_string();
    assert!(error.contains("checkpoint 3") && error.contains("--force"), "{error}");
}

#[test]
fn two_trainings_in_one_folder_exclude_each_other() {
    let run = Run::up_to(1);
    let lock = Lock::of_folder(run.out()).unwrap();
    let error = run.go_on(None).unwrap_err().to_string();
    assert!(error.contains("another kshot"), "{error}");
    let error = run.train(None, true).unwrap_err().to_string();
    assert!(error.contains("another kshot"), "{error}");
    assert!(run.files().contains(&"model-1.bpk".to_owned()));
    drop(lock);
    run.go_on(None).unwrap();
}
