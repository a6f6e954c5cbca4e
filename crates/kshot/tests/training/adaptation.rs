//! Adaptation to a domain: distances of features against PyTorch (`golden/make_alignment.py`), and trainings with
//! unlabelled pictures beside the labelled ones or with labelled ones weighted by their worth.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::prelude::*;
use burn::tensor::TensorData;
use image::{GrayImage, Luma, Rgb, RgbImage};
use kshot::contract::Objective;
use kshot::method::adapt::alignment::standardised;
use kshot::method::adapt::coral::coral;
use kshot::method::adapt::logistic::Logistic;
use kshot::method::adapt::mmd::{mmd, mmd_at};
use kshot::postprocess::refine::Refinement;
use kshot::predict::trained::predictor;
use kshot::recipe::Recipe;
use kshot::train::curve::{self, CurvePoint};
use kshot::train::run::train;
use kshot::train::session::{self, AnySession, Session};
use serde_json::Value;

use super::support::{Place, SCRATCH, alone, numbers, points, quiet, tiny};

type Distance = fn(Tensor<2>, Tensor<2>) -> Tensor<1>;

fn golden() -> Value {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/alignment.json");
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

fn rows(value: &Value) -> Vec<Vec<f32>> {
    serde_json::from_value(value.clone()).unwrap()
}

fn tensor(rows: &[Vec<f32>], device: &Device) -> Tensor<2> {
    let shape = [rows.len(), rows[0].len()];
    Tensor::from_data(TensorData::new(rows.concat(), shape), device)
}

const DISTANCES: [(&str, Distance); 4] = [
    ("coral", coral),
    ("mmd", mmd),
    ("standardised coral", |s, t| {
        let (s, t) = standardised(s, t);
        coral(s, t)
    }),
    ("standardised mmd", |s, t| {
        let (s, t) = standardised(s, t);
        mmd(s, t)
    }),
];

#[test]
fn distances_and_their_gradients_are_those_of_pytorch() {
    let golden = golden();
    let device = Device::flex().autodiff();
    for (name, distance) in DISTANCES {
        let case = &golden["distances"][name];
        let [source, target] =
            ["source", "target"].map(|of| tensor(&rows(&golden[of]), &device).require_grad());
        let value = distance(source.clone(), target.clone());
        let found = f64::from(value.clone().into_scalar::<f32>());
        let expected = case["value"].as_f64().unwrap();
        assert!((found / expected - 1.0).abs() < 1e-5, "{name}: {found} instead of {expected}");
        let gradients = value.backward();
        for (of, tensor) in [("source", &source), ("target", &target)] {
            let found =
                tensor.grad(&gradients).unwrap().into_data().iter::<f32>().collect::<Vec<_>>();
            let expected = rows(&case[of]).concat();
            let most = expected.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
            for (found, expected) in found.iter().zip(&expected) {
                assert!(
                    (found - expected).abs() < 2e-5 * most.max(0.01),
                    "{name} {of}: {found} {expected}"
                );
            }
        }
    }
}

#[test]
fn gradients_are_those_of_central_differences() {
    let golden = golden();
    let plain = Device::flex();
    let device = plain.clone().autodiff();
    let mean = |device: &Device| Tensor::<1>::from_data([7.0_f32], device);
    type Of<'a> = Box<dyn Fn(Tensor<2>, Tensor<2>) -> Tensor<1> + 'a>;
    let all: [(&str, Of); 3] = [
        ("coral", Box::new(coral)),
        ("mmd", Box::new(|s, t| mmd_at(s.clone(), t, mean(&s.device())))),
        ("standardised coral", Box::new(DISTANCES[2].1)),
    ];
    let [source, target] = ["source", "target"].map(|of| rows(&golden[of]));
    for (name, distance) in all {
        let leaf = tensor(&source, &device).require_grad();
        let gradients = distance(leaf.clone(), tensor(&target, &device)).backward();
        let found: Vec<f32> = leaf.grad(&gradients).unwrap().into_data().iter::<f32>().collect();
        let most = found.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
        let step = 5e-3;
        for (at, found) in found.iter().enumerate() {
            let moved = |by: f32| -> f32 {
                let mut rows = source.clone();
                rows[at / 3][at % 3] += by;
                distance(tensor(&rows, &plain), tensor(&target, &plain)).into_scalar()
            };
            let expected = (moved(step) - moved(-step)) / (2.0 * step);
            assert!((found - expected).abs() < 0.01 * most, "{name} {at}: {found} {expected}");
        }
    }
}

#[test]
fn the_domain_classifier_is_scikit_learns() {
    let golden = golden();
    let [source, target] = ["source", "target"].map(|of| rows(&golden[of]));
    let all: Vec<&[f32]> = source.iter().chain(&target).map(Vec::as_slice).collect();
    let is_target: Vec<bool> = (0..all.len()).map(|at| at >= source.len()).collect();
    for case in golden["logistic"].as_array().unwrap() {
        let fit = Logistic::fit(&all, &is_target, case["penalty"].as_f64().unwrap()).unwrap();
        let (weights, bias) = fit.parameters();
        let expected: Vec<f64> = serde_json::from_value(case["weights"].clone()).unwrap();
        for (found, expected) in weights.iter().zip(&expected) {
            assert!((found - expected).abs() < 1e-5, "{weights:?} instead of {expected:?}");
        }
        assert!((bias - case["bias"].as_f64().unwrap()).abs() < 1e-5, "{bias}");
    }
}

/// Pictures of squares: by day on a light ground, by dusk on a dark one and with less colour. Of the pictures by day
/// the later ones look more and more like dusk.
struct Domains(Place);

impl Domains {
    fn new() -> Self {
        let place = Self(Place::empty());
        for of in ["data/images", "data/masks", "photos"] {
            std::fs::create_dir_all(place.at(of)).unwrap();
        }
        for number in 0..12_u32 {
            place.draw(&format!("day_{number:02}"), number, 1.0 - 0.05 * number as f32);
        }
        for number in 0..8_u32 {
            place.draw(&format!("dusk_{number:02}"), number, 0.35);
        }
        std::fs::write(place.at("data/classes.txt"), "red\ngreen\n").unwrap();
        place
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.at(name)
    }

    fn draw(&self, name: &str, number: u32, light: f32) {
        let class = 1 + number % 2;
        let inside = |x: u32, y: u32| {
            (4 + number % 5..20 + number % 5).contains(&x) && (6..22 - number % 4).contains(&y)
        };
        let colour = if class == 1 { [220.0, 40.0, 30.0] } else { [30.0, 200.0, 60.0] };
        RgbImage::from_fn(32, 32, |x, y| {
            let ground = [120.0 + x as f32, 150.0, 160.0 - y as f32];
            let seen = if inside(x, y) { colour } else { ground };
            // A texture that is not the same in any two pictures.
            let grain = ((x * 7 + y * 13 + number * 5) % 17) as f32 - 8.0;
            Rgb(seen.map(|value| (light * value + grain).clamp(0.0, 255.0) as u8))
        })
        .save(self.at(&format!("data/images/{name}.png")))
        .unwrap();
        self.mask(name, |x, y| if inside(x, y) { class as u8 } else { 0 });
    }

    fn mask(&self, name: &str, class: impl Fn(u32, u32) -> u8) {
        GrayImage::from_fn(32, 32, |x, y| Luma([class(x, y)]))
            .save(self.at(&format!("data/masks/{name}.png")))
            .unwrap();
    }

    fn recipe(&self, changes: &[&str]) -> kshot::Result<Recipe> {
        let data = r#"
            train = { list = "*", exclude = ["dusk_*"] }
            validation = { list = "*", include = ["day_00", "day_01"] }
            test = { list = "*", include = ["dusk_06", "dusk_07"] }
            unlabelled = { part = { list = "*", include = ["dusk_*"], exclude = ["dusk_06", "dusk_07"] } }
        "#;
        let method = r#"name = "feature-alignment""#;
        let train = r#"
            steps = 6
            batch = 3
            validate_every = 2
            seed = 1
            optimizer = { name = "adamw", weight_decay = 0.1 }
            learning_rate = 1e-2
        "#;
        tiny(&self.0.written("data"), [data, SCRATCH, method, train], changes)
    }

    /// The curve of a training, without its times.
    fn run(&self, out: &str, recipe: &Recipe, at_most: Option<usize>) -> Vec<CurvePoint> {
        match AnySession::new(recipe, &Device::flex()).unwrap() {
            AnySession::Supervised(session) => self.train(*session, out, at_most),
            AnySession::FeatureAlignment(session) => self.train(*session, out, at_most),
            _ => panic!("a recipe of pixels"),
        }
    }

    fn train<O: Objective>(
        &self,
        session: Session<O>,
        out: &str,
        at_most: Option<usize>,
    ) -> Vec<CurvePoint> {
        train(session, &self.at(out), quiet(at_most)).unwrap();
        points(&self.at(out))
    }

    /// A column of a run's table of weights, by picture.
    fn weights(&self, out: &str, column: &str) -> BTreeMap<String, f64> {
        let mut reader = csv::Reader::from_path(self.at(out).join("instance_weights.csv")).unwrap();
        let place = reader.headers().unwrap().iter().position(|name| name == column).unwrap();
        let rows = reader.records().map(|row| {
            let row = row.unwrap();
            let name = Path::new(&row[0]).file_stem().unwrap().to_string_lossy().into_owned();
            (name, row[place].parse().unwrap())
        });
        rows.collect()
    }
}

const RATIO: &str = "data.instance_weights={ name = \"density-ratio\" }";
const BOOST: [&str; 5] = [
    "method={ name = \"supervised\" }",
    "data.instance_weights={ name = \"tradaboost\", target = { list = \"*\", include = [\"dusk_00\", \"dusk_01\"] } }",
    "data.instance_weights.rounds=2",
    "train.steps=8",
    "data.longest_side=32",
];

/// A recipe with TrAdaBoost, which needs no unlabelled pictures.
fn boosted(place: &Domains) -> Recipe {
    let recipe = place.recipe(&[]).unwrap();
    let text = recipe.to_toml().unwrap();
    let mut table: toml::Table = text.parse().unwrap();
    table["data"].as_table_mut().unwrap().remove("unlabelled");
    Recipe::parse(&table.to_string(), Path::new("r.toml"), &BOOST.map(str::to_owned)).unwrap()
}

#[test]
fn a_stopped_training_goes_on_to_the_very_numbers() {
    let _alone = alone();
    let place = Domains::new();
    let mmd = ["method.distance=\"mmd\"", "method.maps=2", "method.warmup=3", "train.accumulate=2"];
    let cases = [
        ("coral", place.recipe(&[]).unwrap()),
        ("mmd", place.recipe(&mmd).unwrap()),
        ("ratio", place.recipe(&[RATIO, "method={ name = \"supervised\" }"]).unwrap()),
        ("boost", boosted(&place)),
    ];
    for (name, recipe) in cases {
        let [whole, parts] = ["whole", "parts"].map(|of| format!("{name}-{of}"));
        let expected = place.run(&whole, &recipe, None);
        for at_most in [Some(1), Some(2), None] {
            place.run(&parts, &recipe, at_most);
        }
        let points = curve::read(&place.at(&parts).join("metrics.jsonl")).unwrap();
        for (found, expected) in points.iter().zip(&expected) {
            assert_eq!(found.train, expected.train, "{name}");
            assert_eq!(found.validation, expected.validation, "{name}");
        }
        assert_eq!(points.len(), expected.len());
        let kept = |of: &str| {
            let run = place.at(of);
            numbers(&session::trained(&recipe, &run, (2, true), &Device::flex()).unwrap())
        };
        assert!(kept(&whole) == kept(&parts), "{name}: other parameters");
        let table = |of: &str| std::fs::read(place.at(of).join("instance_weights.csv")).ok();
        assert_eq!(table(&whole), table(&parts), "{name}");
        assert_eq!(table(&whole).is_some(), name == "ratio" || name == "boost", "{name}");
    }
}

#[test]
fn labels_of_the_target_do_not_matter() {
    let _alone = alone();
    let place = Domains::new();
    let recipe = place.recipe(&[RATIO]).unwrap();
    let before = place.run("before", &recipe, None);
    for number in 0..6 {
        place.mask(&format!("dusk_{number:02}"), |x, _| (x % 3) as u8);
    }
    assert_eq!(place.run("after", &recipe, None), before);
    // The pictures do.
    for number in 0..6 {
        place.draw(&format!("dusk_{number:02}"), number, 0.8);
    }
    assert_ne!(place.run("other", &recipe, None), before);
    // A folder without any label is as good.
    let place = Domains::new();
    for number in 0..6 {
        let name = format!("dusk_{number:02}.png");
        std::fs::rename(place.at("data/images").join(&name), place.at("photos").join(&name))
            .unwrap();
        std::fs::remove_file(place.at("data/masks").join(&name)).unwrap();
    }
    let photos = place.at("photos").display().to_string().replace('\\', "/");
    let change = format!("data.unlabelled={{ folder = \"{photos}\" }}");
    let recipe = place.recipe(&[RATIO, &change]).unwrap();
    assert_eq!(place.run("folder", &recipe, None), before);
}

#[test]
fn pictures_like_the_targets_are_drawn_more_often() {
    let _alone = alone();
    let place = Domains::new();
    let changes = ["method={ name = \"supervised\" }", RATIO, "data.instance_weights.clip=4.0"];
    let recipe = place.recipe(&changes).unwrap();
    let AnySession::Supervised(session) = AnySession::new(&recipe, &Device::flex()).unwrap() else {
        panic!("a supervised recipe")
    };
    assert!(session.about.contains("effective pictures of 12"), "{}", session.about);
    place.run("run", &recipe, Some(1));
    let weights = place.weights("run", "weight");
    assert_eq!(weights.len(), 12, "of the source's pictures alone: {weights:?}");
    let mean = |from: usize, to: usize| {
        (from..to).map(|at| weights[&format!("day_{at:02}")]).sum::<f64>() / (to - from) as f64
    };
    assert!((mean(0, 12) - 1.0).abs() < 1e-9);
    assert!(mean(9, 12) > 1.5 * mean(0, 3), "{weights:?}");
    assert!(weights.values().all(|weight| (0.24..4.1).contains(weight)), "{weights:?}");
}

#[test]
fn boosting_follows_the_errors_and_its_rounds_are_kept() {
    let _alone = alone();
    let place = Domains::new();
    let recipe = boosted(&place);
    let points = place.run("run", &recipe, None);
    assert_eq!(points.len(), 4);
    let [first, second, third, now] =
        ["after_0", "after_1", "after_2", "weight"].map(|column| place.weights("run", column));
    assert_eq!(third, now);
    assert_eq!(first.len(), 14, "those of the target are trained on, too");
    let share = |of: &BTreeMap<String, f64>| {
        let dusk = of.iter().filter(|(name, _)| name.starts_with("dusk"));
        dusk.map(|(_, weight)| weight).sum::<f64>() / of.values().sum::<f64>()
    };
    assert!((share(&first) - 0.25).abs() < 1e-9 && share(&second) > share(&first));
    for weights in [&first, &second, &third] {
        assert!((weights.values().sum::<f64>() / 14.0 - 1.0).abs() < 1e-9, "{weights:?}");
    }
    // A round that was lost between table and checkpoint is made again; an earlier one cannot be.
    let recipe = Recipe::parse(
        &recipe.to_toml().unwrap(),
        Path::new("r.toml"),
        &["train.seed=2".to_owned()],
    )
    .unwrap();
    place.run("again", &recipe, Some(2));
    let file = place.at("again/instance_weights.csv");
    let text = std::fs::read_to_string(&file).unwrap();
    let cut = |columns: usize| -> String {
        let line = |line: &str| line.split(',').take(columns).collect::<Vec<_>>().join(",") + "\n";
        text.lines().map(line).collect()
    };
    std::fs::write(&file, cut(5)).unwrap();
    place.run("again", &recipe, Some(1));
    let made = std::fs::read_to_string(&file).unwrap();
    assert_eq!(made, text, "the same round");
    std::fs::write(&file, cut(4)).unwrap();
    let AnySession::Supervised(session) = AnySession::new(&recipe, &Device::flex()).unwrap() else {
        panic!("a supervised recipe")
    };
    let error = train(*session, &place.at("again"), quiet(None)).unwrap_err().to_string();
    assert!(error.contains("instance_weights.csv") && error.contains("--force"), "{error}");
}

#[test]
fn alignment_brings_features_together() {
    let _alone = alone();
    let place = Domains::new();
    for distance in ["coral", "mmd"] {
        let of = |weight: &str| {
            let weight = format!(
                "method={{ name = \"feature-alignment\", distance = \"{distance}\", weight = {weight} }}"
            );
            let changes = [weight.as_str(), "train.steps=60", "train.validate_every=20"];
            let recipe = place.recipe(&changes).unwrap();
            let points = place.run(&format!("{distance}-{}", weight.len()), &recipe, None);
            let last = points.last().unwrap();
            (last.train["feature_distance"], last.validation["loss"])
        };
        let ((apart, plain), (aligned, loss)) = (of("0.0"), of("10.00"));
        assert!(aligned < 0.6 * apart, "{distance}: {aligned} instead of {apart}");
        assert!(loss < 1.0 && plain < 1.0, "{distance}: it still learns: {loss}, {plain} without");
    }
}

#[test]
fn an_aligned_run_is_used_like_any_other() {
    let _alone = alone();
    let place = Domains::new();
    let recipe = place.recipe(&["data.test={ list = \"*\", include = [\"dusk_*\"] }"]).unwrap();
    let AnySession::FeatureAlignment(session) = AnySession::new(&recipe, &Device::flex()).unwrap()
    else {
        panic!("a recipe of feature-alignment")
    };
    assert!(session.about.contains("6 of which are measured"), "{}", session.about);
    place.run("run", &recipe, None);
    let split = std::fs::read_to_string(place.at("run/split.json")).unwrap();
    let split: Value = serde_json::from_str(&split).unwrap();
    let count = |of: &str| split[of].as_array().unwrap().len();
    assert_eq!([count("train"), count("validation"), count("unlabelled")], [12, 2, 6]);
    let predictor = predictor(&place.at("run"), None, Refinement::None, &Device::flex()).unwrap();
    let picture = kshot_data::image::read(place.at("data/images/dusk_00.png")).unwrap();
    assert_eq!(predictor.predict(&picture).unwrap().labelling.mask.width, 32);
    let weights = format!("model.weights=\"{}\"", place.0.written("run"));
    let next = place.recipe(&[&weights, RATIO, "method={ name = \"supervised\" }"]).unwrap();
    let AnySession::Supervised(session) = AnySession::new(&next, &Device::flex()).unwrap() else {
        panic!("a supervised recipe")
    };
    assert!(session.about.contains("encoder, decoder and all classes"), "{}", session.about);
}

#[test]
fn what_does_not_go_together_is_refused_in_words() {
    let _alone = alone();
    let place = Domains::new();
    let refused = |changes: &[&str]| match place.recipe(changes) {
        Err(error) => error.to_string(),
        Ok(recipe) => match AnySession::new(&recipe, &Device::flex()) {
            Err(error) => error.to_string(),
            Ok(_) => panic!("{changes:?} is taken"),
        },
    };
    for (changes, says) in [
        (&["method={ name = \"supervised\" }"][..], &["data.unlabelled", "feature-alignment"][..]),
        (&["data.train=\"*\""], &["data.unlabelled", "6 of these", "dusk_00"]),
        (&["data.unlabelled={ folder = \"nowhere\" }"], &["nowhere"]),
        (&["data.unlabelled={ part = { list = \"*\", include = [\"dawn_*\"] } }"], &["dawn_*"]),
        (
            &["data.unlabelled={ part = \"*\", folder = \"x\" }"],
            &["data.unlabelled", "exactly one"],
        ),
        (&["data.train={ include = [\"a\"] }"], &["data.train", "list"]),
        (&["data.instance_weights={ name = \"density\" }"], &["instance_weight", "density-ratio"]),
        (
            &["data.instance_weights={ name = \"tradaboost\", target = \"*\" }"],
            &["data.instance_weights.target", "is in data.train, too"],
        ),
        (&["train.steps=2", BOOST[1]], &["data.instance_weights.rounds", "validate_every"]),
        (&["method.distance=\"coal\""], &["method.distance", "coral"]),
    ] {
        let error = refused(changes);
        for part in says {
            assert!(error.contains(part), "{changes:?}: `{part}` is not in: {error}");
        }
    }
    let text = place.recipe(&[]).unwrap().to_toml().unwrap();
    let mut table: toml::Table = text.parse().unwrap();
    table["data"].as_table_mut().unwrap().remove("unlabelled");
    let error =
        Recipe::parse(&table.to_string(), Path::new("r.toml"), &[]).unwrap_err().to_string();
    assert!(error.contains("data.unlabelled") && error.contains("folder"), "{error}");
}
