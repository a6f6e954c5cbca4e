//! Trainings of an encoder and a decoder: from another run's weights, with parts that are frozen for a while, with
//! learning rates by depth, with low-rank adapters.

use std::path::Path;

use burn::module::{Module, ModuleVisitor, Param};
use burn::prelude::*;
use kshot::method::supervised::Supervised;
use kshot::recipe::Recipe;
use kshot::train::curve::CurvePoint;
use kshot::train::load;
use kshot::train::run::train;
use kshot::train::session::{self, AnySession, Session};

use super::support::{
    ALL, Numbers, Place, SUPERVISED, alone, is_statistic, numbers, points, quiet, slashed, squares,
    tiny,
};

const SIZE: [u32; 2] = [32, 32];
const RED: [u8; 3] = [220, 40, 30];
const GREEN: [u8; 3] = [30, 200, 60];

fn place() -> Place {
    Place::with_squares(4, SIZE, &[RED, GREEN], &["red", "green"])
}

impl Place {
    /// A recipe with lines of its own in `[model]` and `[train]`.
    fn recipe(&self, data: &str, model: &str, train: &str) -> kshot::Result<Recipe> {
        let weights = if model.contains("weights") { "" } else { "weights = \"none\"" };
        let validate = if train.contains("validate_every") { "" } else { "validate_every = 2" };
        let model = format!("{weights}\n{model}");
        let train = format!(
            r#"
            steps = 6
            batch = 2
            {validate}
            seed = 1
            optimizer = {{ name = "adamw", weight_decay = 0.1 }}
            learning_rate = 1e-2
            {train}
            "#
        );
        tiny(&slashed(&self.at(data)), [ALL, &model, SUPERVISED, &train], &[])
    }

    fn run(&self, out: &str, recipe: &Recipe, at_most: Option<usize>) -> Vec<CurvePoint> {
        train(session_of(recipe).unwrap(), &self.at(out), quiet(at_most)).unwrap();
        points(&self.at(out))
    }

    /// The weights that a run kept.
    fn kept(&self, out: &str, recipe: &Recipe) -> Numbers {
        let network = session::supervised(recipe, 2, true, &Device::flex()).unwrap();
        numbers(&load::from_run(network, &self.at(out)).unwrap())
    }
}

fn session_of(recipe: &Recipe) -> kshot::Result<Session<Supervised>> {
    let AnySession::Supervised(session) = AnySession::new(recipe, &Device::flex())? else {
        panic!("a supervised recipe")
    };
    Ok(*session)
}

fn of<'a>(numbers: &'a Numbers, part: &'a str) -> impl Iterator<Item = (&'a String, &'a Vec<f32>)> {
    numbers.iter().filter(move |(path, _)| path.contains(part))
}

/// Whether every number of a part is the same in both.
fn same(a: &Numbers, b: &Numbers, part: &str) -> bool {
    assert!(of(a, part).count() > 0, "{part}: {:?}", a.keys());
    of(a, part).eq(of(b, part))
}

#[test]
fn a_training_starts_from_a_runs_weights() {
    let _alone = alone();
    let place = place();
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
    squares(&place.at("other"), 4, SIZE, &[GREEN, RED, GREEN], &["blue", "red", "gray"]);
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
    let rows = |of_run: &Numbers| -> Vec<Vec<f32>> {
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
    let _alone = alone();
    let place = place();
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

impl Place {
    /// The weights of a checkpoint.
    fn checkpoint(&self, out: &str, number: usize, recipe: &Recipe) -> Numbers {
        let network = session::supervised(recipe, 2, true, &Device::flex()).unwrap();
        let file = self.at(out).join(format!("checkpoint/model-{number}.bpk"));
        numbers(&load::from_run(network, &file).unwrap())
    }
}

/// The weights that a recipe starts with.
fn start(recipe: &Recipe) -> Numbers {
    numbers(&session_of(recipe).unwrap().objective.valid().materialize())
}

fn with(recipe: &Recipe, changes: &[&str]) -> Recipe {
    let changes: Vec<String> = changes.iter().map(|change| (*change).to_owned()).collect();
    Recipe::parse(&recipe.to_toml().unwrap(), Path::new("r.toml"), &changes).unwrap()
}

#[test]
fn an_encoder_is_frozen_for_some_steps() {
    let _alone = alone();
    let place = place();
    let recipe = place.recipe("data", "freeze = { encoder_until = 4 }", "").unwrap();
    let before = start(&recipe);
    place.run("run", &recipe, Some(2));
    let frozen = place.checkpoint("run", 2, &recipe);
    // No gradient, no decay, no statistics.
    assert!(same(&before, &frozen, "encoder"));
    assert!(!same(&before, &frozen, "decoder"));
    let points = place.run("run", &recipe, None);
    let after = place.checkpoint("run", 3, &recipe);
    let still: Vec<_> = of(&after, "encoder").filter(|(path, of)| before[*path] == **of).collect();
    assert!(still.is_empty(), "{still:?}");
    assert_eq!(place.run("whole", &recipe, None), points);
}

#[test]
fn stages_thaw_one_after_the_other_and_the_first_ones_not_at_all() {
    let _alone = alone();
    let place = place();
    let recipe =
        place.recipe("data", "freeze = { stage_every = 2, stages = 3, norm = true }", "").unwrap();
    let before = start(&recipe);
    let parts = ["stem", "stages.0", "stages.1", "stages.2", "stages.3"];
    let moved = |now: &Numbers| -> Vec<&str> {
        parts.into_iter().filter(|part| !same(&before, now, part)).collect()
    };
    for (validation, learnt) in [(1, &parts[4..]), (2, &parts[3..]), (3, &parts[3..])] {
        place.run("run", &recipe, Some(validation));
        let now = place.checkpoint("run", validation, &recipe);
        assert_eq!(moved(&now), learnt, "validation {validation}");
        let statistics = of(&now, "encoder").filter(|(path, _)| is_statistic(path));
        assert!(statistics.into_iter().all(|(path, of)| before[path] == *of));
    }
    let points = place.run("run", &recipe, None);
    assert_eq!(place.run("whole", &recipe, None), points);
}

/// The distance of two networks in a part.
fn apart(a: &Numbers, b: &Numbers, part: &str) -> f64 {
    let squares = of(a, part).filter(|(path, _)| path.ends_with("weight"));
    let squares = squares
        .flat_map(|(path, of)| of.iter().zip(&b[path]).map(|(a, b)| f64::from(a - b).powi(2)));
    squares.sum::<f64>().sqrt()
}

#[test]
fn stages_learn_at_their_rates() {
    let _alone = alone();
    let place = place();
    let plain = place.recipe("data", "", "validate_every = 1").unwrap();
    let plain =
        with(&plain, &["train.steps=1", "train.optimizer=\"sgd\"", "train.learning_rate=0.01"]);
    let slow = with(&plain, &["model.encoder_rate=0.1", "model.layer_decay=0.5"]);
    let before = start(&plain);
    assert_eq!(before, start(&slow));
    place.run("plain", &plain, None);
    place.run("slow", &slow, None);
    let [plain, slow] =
        [("plain", &plain), ("slow", &slow)].map(|(out, recipe)| place.kept(out, recipe));
    assert!(same(&plain, &slow, "decoder"));
    for (part, below) in
        [("stages.3", 1), ("stages.2", 2), ("stages.1", 3), ("stages.0", 4), ("stem", 5)]
    {
        let (whole, share) = (apart(&before, &plain, part), apart(&before, &slow, part));
        let expected = 0.1 * 0.5_f64.powi(below);
        assert!(
            whole > 0.0 && (share / whole / expected - 1.0).abs() < 0.01,
            "{part}: {share} of {whole}"
        );
    }
}

#[test]
fn adapters_learn_in_place_of_kernels_and_become_part_of_them() {
    let _alone = alone();
    let place = place();
    let recipe = place.recipe("data", "lora = { rank = 2, alpha = 8.0 }", "ema = 0.5").unwrap();
    let session = session_of(&recipe).unwrap();
    assert!(session.about.contains("adapters of rank 2"), "{}", session.about);
    let before = start(&recipe);
    place.run("run", &recipe, None);
    // The file fits the network without adapters.
    let plain = place.recipe("data", "", "").unwrap();
    let kept = place.kept("run", &plain);
    assert_eq!(kept, place.kept("run", &recipe));
    for (path, values) in of(&kept, "encoder") {
        let kernel = path.ends_with("conv.weight");
        assert_eq!(before[path] != *values, kernel, "{path}");
    }
    assert!(!same(&before, &kept, "decoder"));

    // From a run the decoder may have them, too: its own kernels stay, the last layer learns whole.
    let model = format!("lora = {{ on = \"all\" }}\nweights = \"{}\"", slashed(&place.at("run")));
    let all = place.recipe("data", &model, "").unwrap();
    let objective = session_of(&all).unwrap().objective;
    struct Learning(Vec<String>, Vec<String>);
    impl ModuleVisitor for Learning {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.0.push(name.to_owned());
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.0.pop();
        }
        fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
            if parameter.is_require_grad() {
                self.1.push(self.0.join("."));
            }
        }
    }
    let mut learning = Learning(Vec::new(), Vec::new());
    objective.visit(&mut learning);
    let last = |path: &String| path.ends_with(".head.weight") || path.ends_with(".head.bias");
    assert_eq!(learning.1.iter().filter(|path| last(path)).count(), 2);
    assert!(learning.1.iter().all(|path| path.contains(".lora.") || last(path)));
    assert!(learning.1.iter().any(|path| path.contains("decoder")));
    place.run("all", &all, None);
    assert_eq!(place.kept("all", &plain).len(), kept.len());
}

#[test]
fn trainings_with_keys_of_layers_go_on_exactly() {
    let _alone = alone();
    let place = place();
    for (number, model) in [
        "encoder_rate = 0.1\nlayer_decay = 0.7",
        "lora = { rank = 2 }\nencoder_rate = 0.5",
        "freeze = { encoder_until = 3, stage_every = 1, stages = 1 }\nlayer_decay = 0.9",
    ]
    .into_iter()
    .enumerate()
    {
        let recipe = place.recipe("data", model, "ema = 0.9\naccumulate = 2").unwrap();
        let [whole, parts] = ["whole", "parts"].map(|name| format!("{name}-{number}"));
        let expected = place.run(&whole, &recipe, None);
        place.run(&parts, &recipe, Some(1));
        assert_eq!(place.run(&parts, &recipe, None), expected, "{model}");
        assert_eq!(place.kept(&parts, &recipe), place.kept(&whole, &recipe), "{model}");
    }
}

#[test]
fn what_cannot_be_is_refused_with_its_key() {
    let _alone = alone();
    let place = place();
    let refused = |model: &str| match place.recipe("data", model, "") {
        Ok(recipe) => {
            let session = session_of(&recipe).map(|session| {
                let plan = session.layers;
                kshot::train::layers::Layers::of(plan, &session.objective).map(drop)
            });
            session.and_then(|of| of).unwrap_err().to_string()
        }
        Err(error) => error.to_string(),
    };
    for (model, says) in [
        ("freeze = {}", "model.freeze"),
        ("freeze = { stages = 6 }", "this encoder has 5 stages"),
        ("freeze = { encoder = 6 }", "model.freeze"),
        ("freeze = \"decoder\"", "model.freeze"),
        ("freeze = { stages = 1 }\nlora = {}", "model.freeze"),
        ("lora = { rank = 0 }", "model.lora.rank"),
        ("lora = { alpha = 0.0 }", "model.lora.alpha"),
        ("lora = { on = \"attention\" }", "no attention"),
        ("lora = { on = \"all\" }", "model.lora.on"),
        ("encoder_rate = 0.0", "model.encoder_rate"),
        ("layer_decay = 1.5", "model.layer_decay"),
    ] {
        let error = refused(model);
        assert!(error.contains(says), "{model}: {error}");
    }
    for train in [
        "ema = 1.0",
        "accumulate = 0",
        "clip = { norm = 0.0 }",
        "clip = { norm = 1.0, value = 1.0 }",
    ] {
        let error = place.recipe("data", "", train).unwrap_err().to_string();
        assert!(error.contains(train.split(' ').next().unwrap()), "{train}: {error}");
    }
}
