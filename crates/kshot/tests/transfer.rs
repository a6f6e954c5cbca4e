//! Trainings of an encoder and a decoder: from another run's weights, with parts that are frozen for a while, with
//! learning rates by depth, with low-rank adapters.
#![allow(clippy::unwrap_used)] // helpers of tests

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::module::{Module, ModuleVisitor, Param};
use burn::prelude::*;
use burn::train::Interrupter;
use image::{GrayImage, Luma, Rgb, RgbImage};
use kshot::method::supervised::Supervised;
use kshot::recipe::Recipe;
use kshot::train::curve::{self, CurvePoint};
use kshot::train::load;
use kshot::train::run::{TrainRunOptions, TrainView, train};
use kshot::train::session::{self, AnySession, Session};
use tempfile::TempDir;

/// Pictures of coloured squares and their masks.
fn data(folder: &Path, classes: &[&str]) {
    std::fs::create_dir_all(folder.join("images")).unwrap();
    std::fs::create_dir_all(folder.join("masks")).unwrap();
    for number in 0..4_u32 {
        let class = 1 + number as usize % classes.len();
        let inside = |x: u32, y: u32| {
            (4 + number..20 + number).contains(&x) && (6..22 - number).contains(&y)
        };
        let colour = if classes[class - 1] == "red" { [220, 40, 30] } else { [30, 200, 60] };
        RgbImage::from_fn(32, 32, |x, y| {
            Rgb(if inside(x, y) { colour } else { [20 + x as u8, 90, 120 - y as u8] })
        })
        .save(folder.join(format!("images/{number}.png")))
        .unwrap();
        GrayImage::from_fn(32, 32, |x, y| Luma([if inside(x, y) { class as u8 } else { 0 }]))
            .save(folder.join(format!("masks/{number}.png")))
            .unwrap();
    }
    std::fs::write(folder.join("classes.txt"), classes.join("\n") + "\n").unwrap();
}

struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap() };
        data(&place.at("data"), &["red", "green"]);
        place
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A recipe with lines of its own in `[model]` and `[train]`.
    fn recipe(&self, data: &str, model: &str, train: &str) -> kshot::Result<Recipe> {
        let weights = if model.contains("weights") { "" } else { "weights = \"none\"" };
        let validate = if train.contains("validate_every") { "" } else { "validate_every = 2" };
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
            [model]
            encoder = "resnet-tiny"
            decoder = {{ name = "unet", width = 8 }}
            {weights}
            {model}
            [method]
            name = "supervised"
            [train]
            steps = 6
            batch = 2
            {validate}
            seed = 1
            optimizer = {{ name = "adamw", weight_decay = 0.1 }}
            learning_rate = 1e-2
            {train}
            "#,
            slashed(&self.at(data)),
        );
        Recipe::parse(&text, Path::new("recipe.toml"), &[])
    }

    fn run(&self, out: &str, recipe: &Recipe, at_most: Option<usize>) -> Vec<CurvePoint> {
        let view = TrainView::Points(Box::new(|_, _| {}));
        let interrupter = Interrupter::new();
        let options = TrainRunOptions { force: false, view, at_most, interrupter };
        train(session_of(recipe).unwrap(), &self.at(out), options).unwrap();
        let mut points = curve::read(&self.at(out).join("metrics.jsonl")).unwrap();
        points.iter_mut().for_each(|point| point.seconds = 0.0);
        points
    }

    /// The weights that a run kept.
    fn kept(&self, out: &str, recipe: &Recipe) -> BTreeMap<String, Vec<f32>> {
        let network = session::supervised(recipe, 2, true, &Device::flex()).unwrap();
        numbers(&load::from_run(network, &self.at(out)).unwrap())
    }
}

fn slashed(path: &Path) -> String {
    path.display().to_string().replace('\\', "/")
}

fn session_of(recipe: &Recipe) -> kshot::Result<Session<Supervised>> {
    let AnySession::Supervised(session) = AnySession::new(recipe, &Device::flex())? else {
        panic!("a supervised recipe")
    };
    Ok(*session)
}

/// All numbers of a network by their paths.
fn numbers(network: &impl Module) -> BTreeMap<String, Vec<f32>> {
    #[derive(Default)]
    struct All {
        path: Vec<String>,
        found: BTreeMap<String, Vec<f32>>,
    }
    impl ModuleVisitor for All {
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
    let mut all = All::default();
    network.visit(&mut all);
    all.found
}

fn of<'a>(
    numbers: &'a BTreeMap<String, Vec<f32>>,
    part: &'a str,
) -> impl Iterator<Item = (&'a String, &'a Vec<f32>)> {
    numbers.iter().filter(move |(path, _)| path.contains(part))
}

/// Whether every number of a part is the same in both.
fn same(a: &BTreeMap<String, Vec<f32>>, b: &BTreeMap<String, Vec<f32>>, part: &str) -> bool {
    assert!(of(a, part).count() > 0, "{part}: {:?}", a.keys());
    of(a, part).eq(of(b, part))
}

#[test]
fn a_training_starts_from_a_runs_weights() {
    let place = Place::new();
    let first = place.recipe("data", "", "").unwrap();
    place.run("first", &first, None);
    let kept = place.kept("first", &first);

    // The same classes: all is taken.
    let weights = format!("weights = \"{}\"", slashed(&place.at("first")));
    let again = place.recipe("data", &weights, "").unwrap();
    let session = session_of(&again).unwrap();
    assert!(session.about.contains("encoder, decoder and all classes"), "{}", session.about);
    assert_eq!(numbers(&session.objective.valid()), kept);

    // Others: the last layer keeps what belongs to names that are the same.
    data(&place.at("other"), &["blue", "red", "gray"]);
    let other = place.recipe("other", &weights, "").unwrap();
    let session = session_of(&other).unwrap();
    assert!(
        session.about.ends_with("encoder and decoder, with the classes red; new: blue, gray"),
        "{}",
        session.about
    );
    let taken = numbers(&session.objective.valid());
    assert!(same(&taken, &kept, "encoder") && same(&taken, &kept, "levels"));
    let (head, bias) = (".head.weight", ".head.bias");
    let rows = |of_run: &BTreeMap<String, Vec<f32>>| -> Vec<Vec<f32>> {
        let (_, weight) = of(of_run, head).next().unwrap();
        let (_, bias) = of(of_run, bias).next().unwrap();
        weight.chunks(8).zip(bias).map(|(row, bias)| [row, &[*bias]].concat()).collect()
    };
    let (new, old) = (rows(&taken), rows(&kept));
    assert_eq!((new.len(), old.len()), (4, 3));
    assert_eq!((&new[0], &new[2]), (&old[0], &old[1]), "background and red");
    assert!(!old.contains(&new[1]) && !old.contains(&new[3]), "blue and gray are new");

    // It is used without the run it began with.
    place.run("second", &other, None);
    std::fs::remove_dir_all(place.at("first")).unwrap();
    let support = kshot::predict::trained::predictor(
        &place.at("second"),
        None,
        kshot::postprocess::refine::Refinement::None,
        &Device::flex(),
    );
    assert!(support.is_ok(), "{:?}", support.err());
}

#[test]
fn runs_that_do_not_fit_are_refused_in_words() {
    let place = Place::new();
    let first = place.recipe("data", "", "").unwrap();
    place.run("first", &first, Some(1));
    let weights = format!("weights = \"{}\"", slashed(&place.at("first")));
    let recipe = place.recipe("data", &weights, "").unwrap();
    let told = |change: &str| {
        let text = recipe.to_toml().unwrap();
        let changed = Recipe::parse(&text, Path::new("r.toml"), &[change.to_owned()]).unwrap();
        session_of(&changed).map(|session| session.about).map_err(|error| error.to_string())
    };
    // The run is not finished: its last checkpoint counts.
    assert!(told("train.seed=2").unwrap().contains("all classes"));
    let linear = told("model.decoder=\"linear\"").unwrap();
    assert!(linear.contains("the decoder is another"), "{linear}");
    let error = told("model.encoder=\"vgg-tiny\"").unwrap_err();
    assert!(error.contains("has the encoder resnet-tiny"), "{error}");
    let empty = place.at("empty");
    std::fs::create_dir_all(&empty).unwrap();
    let error = told(&format!("model.weights=\"{}\"", slashed(&empty))).unwrap_err();
    assert!(error.contains("no recipe.toml"), "{error}");
    let changes = kshot::train::transfer::changes(&place.at("first"), true).unwrap();
    let text = first.to_toml().unwrap();
    let from = Recipe::parse(&text, Path::new("r.toml"), &changes).unwrap();
    assert_eq!(
        (&from.model.encoder, &from.model.decoder),
        (&first.model.encoder, &first.model.decoder)
    );
    assert!(session_of(&from).unwrap().about.contains("all classes"));
}
