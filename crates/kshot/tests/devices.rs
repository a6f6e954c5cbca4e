//! Trainings on several devices: each takes a share of every batch, and a step is that of one device which takes the
//! shares one after another.
#![allow(clippy::unwrap_used)] // helpers of tests

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use burn::module::{Module, ModuleVisitor, Param};
use burn::prelude::*;
use burn::train::Interrupter;
use image::{GrayImage, Luma, Rgb, RgbImage};
use kshot::recipe::Recipe;
use kshot::train::curve;
use kshot::train::load;
use kshot::train::run::{TrainRunOptions, TrainView, train_on};
use kshot::train::session::{self, AnySession};
use tempfile::TempDir;

/// Four pictures of coloured squares and their masks.
fn data(folder: &Path) {
    std::fs::create_dir_all(folder.join("images")).unwrap();
    std::fs::create_dir_all(folder.join("masks")).unwrap();
    for number in 0..4_u32 {
        let inside = |x: u32, y: u32| {
            (4 + number..20 + number).contains(&x) && (6..22 - number).contains(&y)
        };
        RgbImage::from_fn(32, 32, |x, y| {
            Rgb(if inside(x, y) { [220, 40, 30] } else { [20 + x as u8, 90, 120 - y as u8] })
        })
        .save(folder.join(format!("images/{number}.png")))
        .unwrap();
        GrayImage::from_fn(32, 32, |x, y| Luma([u8::from(inside(x, y))]))
            .save(folder.join(format!("masks/{number}.png")))
            .unwrap();
    }
    std::fs::write(folder.join("classes.txt"), "square\n").unwrap();
}

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        data(&place.at("data"));
        place
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn recipe(&self, train: &str) -> Recipe {
        let text = format!(
            r#"
            [protocol]
            name = "segmentation"
            [data]
            dataset = "folder"
            root = "{}"
            train = "*"
            validation = "*"
            test = "*"
            transforms = [{{ name = "flip" }}]
            [model]
            encoder = "resnet-tiny"
            decoder = {{ name = "unet", width = 8 }}
            weights = "none"
            [method]
            name = "supervised"
            [train]
            seed = 1
            optimizer = "sgd"
            learning_rate = 0.05
            {train}
            "#,
            self.at("data").display().to_string().replace('\\', "/"),
        );
        Recipe::parse(&text, Path::new("recipe.toml"), &[]).unwrap()
    }

    /// Trains on the CPU, which stands for so many devices.
    fn train(
        &self,
        out: &str,
        recipe: &Recipe,
        devices: usize,
        at_most: Option<usize>,
    ) -> kshot::Result<()> {
        let AnySession::Supervised(session) = AnySession::new(recipe, &Device::flex())? else {
            panic!("a supervised recipe")
        };
        let view = TrainView::Points(Box::new(|_, _| {}));
        let interrupter = Interrupter::new();
        let options = TrainRunOptions { force: false, view, at_most, interrupter };
        let others = vec![Device::flex(); devices - 1];
        train_on(*session, &others, &self.at(out), options).map(drop)
    }

    /// Parameters, without running averages, of the run's last weights.
    fn weights(&self, out: &str, recipe: &Recipe) -> BTreeMap<String, Vec<f32>> {
        let network = session::supervised(recipe, 1, true, &Device::flex()).unwrap();
        let network = load::from_run(network, &self.at(out)).unwrap();
        let mut all = Numbers::default();
        network.visit(&mut all);
        let average = |name: &String| name.ends_with(".mean") || name.ends_with(".variance");
        all.found.into_iter().filter(|(name, _)| !average(name)).collect()
    }
}

/// All numbers of a network by their paths.
#[derive(Default)]
struct Numbers {
    path: Vec<String>,
    found: BTreeMap<String, Vec<f32>>,
}

impl ModuleVisitor for Numbers {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }
    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }
    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
        let values = parameter.val().into_data().iter::<f32>().collect();
        self.found.insert(self.path.join("."), values);
    }
}

/// The largest distance of two lists of parameters.
fn apart(a: &BTreeMap<String, Vec<f32>>, b: &BTreeMap<String, Vec<f32>>) -> f32 {
    assert!(a.keys().eq(b.keys()) && a.len() > 20);
    let pairs = a.values().flatten().zip(b.values().flatten());
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// Networks start from the device's random numbers, which are everybody's: one test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn shares_on_two_devices_are_those_of_one_device_in_turn() {
    let _alone = alone();
    let place = Place::new();
    for more in ["", "clip = { norm = 0.5 }", "ema = 0.5"] {
        let name = |of: &str| format!("{of}{}", more.len());
        let (two, one, none) = (name("two"), name("one"), name("none"));
        let of =
            |keys: &str| place.recipe(&format!("steps = 5\nvalidate_every = 5\n{keys}\n{more}"));
        let [shared, in_turn, start] =
            [of("batch = 4"), of("batch = 2\naccumulate = 2"), of("batch = 2")];
        place.train(&two, &shared, 2, None).unwrap();
        place.train(&one, &in_turn, 1, None).unwrap();
        place.train(&none, &start, 1, None).unwrap();
        let [two, one, none] = [(two, &shared), (one, &in_turn), (none, &start)]
            .map(|(out, of)| place.weights(&out, of));
        let distance = apart(&two, &one);
        assert!(distance < 2e-5, "{more}: {distance}");
        assert!(apart(&two, &none) > 1e-3, "{more}: half the pictures would do");
    }
}

#[test]
fn a_training_on_two_devices_goes_on_where_it_was_stopped() {
    let _alone = alone();
    let place = Place::new();
    let recipe = place.recipe("steps = 6\nvalidate_every = 2\nbatch = 2");
    place.train("whole", &recipe, 2, None).unwrap();
    place.train("parts", &recipe, 2, Some(1)).unwrap();
    place.train("parts", &recipe, 2, Some(2)).unwrap();
    let [parts, whole] =
        ["parts", "whole"].map(|out| curve::read(&place.at(out).join("metrics.jsonl")).unwrap());
    assert_eq!((parts.len(), whole.len()), (3, 3));
    for (parts, whole) in parts.iter().zip(&whole) {
        for (name, value) in &whole.validation {
            let other = parts.validation[name];
            assert!((value - other).abs() < 1e-4, "{name}: {value} and {other}");
        }
    }
}

#[test]
fn a_batch_that_cannot_be_shared_is_refused() {
    let _alone = alone();
    let place = Place::new();
    let recipe = place.recipe("steps = 2\nvalidate_every = 2\nbatch = 3");
    let error = place.train("out", &recipe, 2, None).unwrap_err().to_string();
    for part in ["train.batch", "a batch of 3", "2 equal shares", "2 or 4"] {
        assert!(error.contains(part), "{part}: {error}");
    }
}
