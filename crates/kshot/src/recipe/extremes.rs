//! Every key of recipes: listed, accepted, and refused by name beyond its bounds.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use toml::{Table as Toml, Value};

use super::fit::Step;
use super::*;
use crate::data::transforms::Transform;
use crate::decoder::DecoderConfig;
use crate::encoder::EncoderConfig;
use crate::loss::Loss;
use crate::method::few_shot::HeadConfig;
use crate::method::learner::Learning;
use crate::postprocess::dense_crf::DenseCrf;
use crate::postprocess::refine::Refinement;
use crate::recipe::optimizer::OptimizerConfig;
use crate::recipe::schedule::ScheduleConfig;
use crate::schema::{Bounds, Form, Node};

/// The recipes that ship.
fn shipped() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes");
    let mut all = Vec::new();
    for group in std::fs::read_dir(root).unwrap() {
        let Ok(files) = std::fs::read_dir(group.unwrap().path()) else { continue };
        all.extend(files.map(|file| file.unwrap().path()));
    }
    all.retain(|file| file.extension().is_some_and(|extension| extension == "toml"));
    all.sort();
    assert!(all.len() > 20, "{all:?}");
    all
}

/// The paths of all keys of a value, as the list has them.
fn paths(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Table(table) => {
            for (key, value) in table {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                paths(value, &path, found);
                found.insert(path);
            }
        }
        Value::Array(items) => items.iter().for_each(|of| paths(of, &format!("{path}[]"), found)),
        _ => {}
    }
}

fn listed(value: &Value, path: &str) {
    let mut found = BTreeSet::new();
    paths(value, path, &mut found);
    for path in found {
        assert!(keys::all().iter().any(|key| key.key == path), "{path} is not listed");
    }
}

#[test]
fn every_key_of_every_recipe_and_every_row_is_listed() {
    for file in shipped() {
        listed(&Value::Table(std::fs::read_to_string(file).unwrap().parse().unwrap()), "");
    }
    fn all<T: Serialize>(rows: Vec<T>, path: &str) {
        rows.iter().for_each(|row| listed(&Value::try_from(row).unwrap(), path));
    }
    all(OptimizerConfig::all(), "train.optimizer");
    all(ScheduleConfig::all(), "train.schedule");
    all(DecoderConfig::all(), "model.decoder");
    all(EncoderConfig::all(), "model.encoder");
    all(Learning::all(), "method");
    all(HeadConfig::all(), "method");
    all(vec![Loss::all()], "loss.terms");
    all(vec![Transform::all()], "data.transforms");
    all(vec![Predict::default()], "predict");
    let refinements =
        [Refinement::GUIDED, Refinement::DenseCrf(DenseCrf::default()), Refinement::Auto];
    all(refinements.to_vec(), "predict.refinement");
}

#[test]
fn every_key_has_a_meaning_and_valid_values() {
    fn node(of: &Node, path: &str, required: bool) {
        assert!(!of.forms.is_empty(), "{path} takes nothing");
        for form in &of.forms {
            match form {
                Form::Number(bounds) => {
                    assert!(bounds.least.is_some() || !bounds.among.is_empty(), "{path}: no least");
                    assert!(bounds.whole || bounds.most.is_some(), "{path}: no most");
                }
                Form::List { item, .. } => node(item, &format!("{path}[]"), false),
                Form::Table(table) => {
                    for (key, value, required) in &table.keys {
                        let path = format!("{path}.{key}");
                        assert!(!value.about.trim().is_empty(), "{path} has no meaning");
                        assert!(!value.about.contains("]("), "{path}: {}", value.about);
                        // Of several tables with one key each, the key tells which it is.
                        let whole = of.forms.len() == 1 || table.tag.is_some();
                        node(value, &path, *required && whole);
                    }
                }
                Form::Text { .. } | Form::Flag => {}
            }
        }
        let told = of.example.is_some() || of.tables().next().is_some();
        assert!(!required || told, "{path} must be written and has no example");
    }
    node(keys::tree(), "", false);
    for key in keys::all() {
        assert!(!key.about.is_empty() && !key.valid.is_empty(), "{key:?}");
    }
}

/// Values that may stand at a place: one of each form, and of each table.
fn samples(node: &Node) -> Vec<Value> {
    let known = node.default.as_ref().or(node.example.as_ref());
    let known = known.and_then(|value| Value::try_from(value).ok());
    let mut all = Vec::new();
    for form in &node.forms {
        match form {
            Form::Number(bounds) => match &known {
                Some(value @ (Value::Integer(_) | Value::Float(_))) => all.push(value.clone()),
                _ => {
                    let least = bounds.least.map_or(1.0, |(least, _)| least);
                    let most = bounds.most.map_or(least, |(most, _)| most);
                    let value =
                        if bounds.least.is_some_and(|(_, closed)| closed) { least } else { most };
                    let whole = Value::Integer(value as i64);
                    all.push(if bounds.whole { whole } else { Value::Float(value) });
                }
            },
            Form::Text { choices, .. } if choices.is_empty() => {
                all.push(Value::String("text".to_owned()));
            }
            Form::Text { choices, .. } => {
                all.extend(choices.iter().map(|(choice, _)| Value::String(choice.clone())));
            }
            Form::Flag => all.push(Value::Boolean(true)),
            Form::List { item, least, .. } => {
                let count = (*least).max(1) as usize;
                all.extend(samples(item).into_iter().map(|of| Value::Array(vec![of; count])));
            }
            Form::Table(table) => {
                let mut whole = Toml::new();
                if let Some((key, name)) = &table.tag {
                    whole.insert(key.clone(), Value::String(name.clone()));
                }
                let each: Vec<(&str, Vec<Value>)> =
                    table.keys.iter().map(|(key, node, _)| (key.as_str(), samples(node))).collect();
                for (key, values) in &each {
                    whole.insert((*key).to_owned(), values[0].clone());
                }
                all.push(Value::Table(whole.clone()));
                for (key, values) in &each {
                    for value in &values[1..] {
                        let mut other = whole.clone();
                        other.insert((*key).to_owned(), value.clone());
                        all.push(Value::Table(other));
                    }
                }
            }
        }
    }
    all
}

#[test]
fn every_listed_key_is_read() {
    let all = samples(keys::tree());
    let mut found = BTreeSet::new();
    for value in &all {
        paths(value, "", &mut found);
        let Value::Table(table) = value else { panic!("{value}") };
        let text = value.to_string();
        let read: Result<Recipe> = text::typed(table.clone(), Path::new("r.toml"), &text, &[]);
        read.unwrap_or_else(|error| panic!("{error}\n{text}"));
    }
    for key in keys::all() {
        assert!(found.contains(&key.key), "{} is in no sample", key.key);
    }
}

/// The bounds of every number and list by its key.
fn bounds(node: &Node, path: &str, found: &mut Vec<(String, Bounds)>) {
    for form in &node.forms {
        match form {
            Form::Number(bounds) => found.push((path.to_owned(), bounds.clone())),
            Form::List { item, .. } => bounds(item, &format!("{path}[]"), found),
            Form::Table(table) => {
                for (key, node, _) in &table.keys {
                    let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                    bounds(node, &path, found);
                }
            }
            Form::Text { .. } | Form::Flag => {}
        }
    }
}

/// A number as TOML has it, and its value.
const EXTREMES: [(&str, f64); 14] = [
    ("0", 0.0),
    ("0.0", 0.0),
    ("-1", -1.0),
    ("-0.5", -0.5),
    ("nan", f64::NAN),
    ("inf", f64::INFINITY),
    ("-inf", f64::NEG_INFINITY),
    ("1e300", 1e300),
    ("1e-300", 1e-300),
    ("2147483648", 2147483648.0),
    ("4294967296", 4294967296.0),
    ("9223372036854775807", 9223372036854775807.0),
    ("-9223372036854775808", -9223372036854775808.0),
    ("1.5", 1.5),
];

/// Whether a number is one of those that the list says.
fn documented(bounds: &Bounds, text: &str, value: f64) -> bool {
    let whole = !text.contains(['.', 'e', 'n']);
    let least =
        bounds.least.is_none_or(|(least, closed)| value > least || closed && value == least);
    let most = bounds.most.is_none_or(|(most, closed)| value < most || closed && value == most);
    (!bounds.whole || whole) && least && most
}

#[test]
fn extremes_are_refused_by_key_or_are_within_the_bounds_that_are_listed() {
    let mut all = Vec::new();
    bounds(keys::tree(), "", &mut all);
    let of = |key: &str| {
        all.iter().filter(|(other, _)| other == key).map(|(_, bounds)| bounds).collect::<Vec<_>>()
    };
    let names: BTreeSet<&String> = all.iter().map(|(key, _)| key).collect();
    assert!(names.len() > 90, "{}", names.len());
    shipped().par_iter().for_each(|file| {
        let text = std::fs::read_to_string(file).unwrap();
        let parse = |change: &str| Recipe::parse(&text, file, &[change.to_owned()]);
        for key in &names {
            // A list in a list of tables cannot be changed by itself.
            let Some(path) =
                key.strip_suffix("[]").or_else(|| (!key.contains('[')).then_some(key.as_str()))
            else {
                continue;
            };
            if path.contains('[') {
                continue;
            }
            let list = key.ends_with(']');
            for (extreme, value) in EXTREMES {
                let change = if list {
                    format!("{path}=[{extreme}, {extreme}]")
                } else {
                    format!("{path}={extreme}")
                };
                match parse(&change) {
                    Ok(_) => assert!(
                        of(key).iter().any(|bounds| documented(bounds, extreme, value)),
                        "{}: {change} is read, and outside the bounds of {key}",
                        file.display()
                    ),
                    Err(error) => {
                        let said = error.to_string();
                        // Or the key beside it that must be there too.
                        let beside = path.rsplit_once('.').map_or(path, |(table, _)| table);
                        let lacks = said.contains("missing") && said.contains(beside);
                        assert!(
                            said.contains(path) || lacks,
                            "{}: {change}: {said}",
                            file.display()
                        );
                        // A key of another method: once is enough.
                        if lacks || said.contains("unknown key") {
                            break;
                        }
                    }
                }
            }
            for change in [format!("{path}=[]"), format!("{path}="), format!("{path}={{}}")] {
                let error = parse(&change).map(|_| change.clone()).unwrap_err().to_string();
                assert!(error.contains(path), "{change}: {error}");
            }
            let many = format!("{path}=[{}]", "1, ".repeat(20_000));
            let error = parse(&many).map(|_| path.to_owned()).unwrap_err().to_string();
            assert!(error.contains(path) && error.len() < 2000, "{error}");
        }
    });
}

/// The numbers of a value, each with its place.
fn numbers(value: &Value, path: &mut Vec<Step>, found: &mut Vec<Vec<Step>>) {
    match value {
        Value::Table(table) => {
            for (key, value) in table {
                path.push(Step::Key(key.clone()));
                numbers(value, path, found);
                path.pop();
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                path.push(Step::Index(index));
                numbers(value, path, found);
                path.pop();
            }
        }
        Value::Integer(_) | Value::Float(_) => found.push(path.clone()),
        _ => {}
    }
}

/// The name of the innermost table around a place that has one.
fn name_around(value: &Value, path: &[Step]) -> String {
    let mut name = String::new();
    let mut here = value;
    for step in path {
        for tag in ["name", "dataset"] {
            if let Some(text) = here.get(tag).and_then(Value::as_str) {
                name = text.to_owned();
            }
        }
        here = match step {
            Step::Key(key) => &here[key.as_str()],
            Step::Index(index) => &here[*index],
        };
    }
    name
}

fn at<'a>(value: &'a mut Value, path: &[Step]) -> &'a mut Value {
    path.iter().fold(value, |value, step| match step {
        Step::Key(key) => value.get_mut(key.as_str()).unwrap(),
        Step::Index(index) => value.get_mut(*index).unwrap(),
    })
}

#[test]
fn every_number_of_every_table_is_held_to_its_bounds_and_no_tighter() {
    let mut all = Vec::new();
    bounds(keys::tree(), "", &mut all);
    let mut tried = BTreeSet::new();
    for value in samples(keys::tree()) {
        let mut places = Vec::new();
        numbers(&value, &mut Vec::new(), &mut places);
        for place in places {
            let key = place.iter().fold(String::new(), |text, step| match step {
                Step::Key(key) if text.is_empty() => key.clone(),
                Step::Key(key) => format!("{text}.{key}"),
                Step::Index(_) => format!("{text}[]"),
            });
            // Once for each name that has it.
            if !tried.insert((key.clone(), name_around(&value, &place))) {
                continue;
            }
            let of: Vec<&Bounds> =
                all.iter().filter(|(other, _)| *other == key).map(|(_, bounds)| bounds).collect();
            assert!(!of.is_empty(), "{key}");
            for (text, number) in EXTREMES {
                let mut changed = value.clone();
                let parsed: Toml = format!("x = {text}").parse().unwrap();
                *at(&mut changed, &place) = parsed["x"].clone();
                let Value::Table(recipe) = changed else { unreachable!("a table") };
                let documented = |bounds: &&Bounds| {
                    documented(bounds, text, number)
                        && (bounds.among.is_empty() || bounds.among.contains(&(number as i64)))
                };
                match fit::check(&recipe) {
                    Ok(()) => assert!(of.iter().any(documented), "{key} = {text} is read"),
                    Err(fault) => {
                        assert_eq!(fault.path, place, "{key} = {text}: {}", fault.text);
                        assert!(!of.iter().all(documented), "{key} = {text}: {}", fault.text);
                    }
                }
            }
        }
    }
    for (key, _) in &all {
        assert!(tried.iter().any(|(tried, _)| tried == key), "{key} was not tried");
    }
}

#[test]
fn what_no_machine_should_hold_is_refused_with_the_key_to_lower() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes");
    let refused = |recipe: &str, changes: &[&str]| {
        let changes: Vec<String> = changes.iter().map(|change| (*change).to_owned()).collect();
        Recipe::read(&root.join(recipe), &changes).unwrap_err().to_string()
    };
    for (recipe, changes, says) in [
        ("omniglot/prototypical-networks.toml", &["data.size=1024"][..], "protocol.ways"),
        (
            "omniglot/prototypical-networks.toml",
            &["train.episodes.ways=1000", "train.batch=1000"],
            "GiB",
        ),
        (
            "omniglot/maml-5way-1shot.toml",
            &["protocol.queries=1000", "protocol.ways=1000"],
            "protocol.ways",
        ),
        (
            "omniglot/maml-5way-1shot.toml",
            &["model.encoder={ name = \"conv4\", width = 4096, blocks = 16 }"],
            "model.encoder.width",
        ),
        ("panet/train-voc-1shot.toml", &["train.batch=4096"], "train.episodes.ways"),
        ("camvid/unet.toml", &["train.batch=4096"], "train.batch"),
        (
            "camvid/unet.toml",
            &["data.transforms=[{ name = \"crop\", size = 8192 }]"],
            "train.batch",
        ),
        // Each patch of a picture attends to each.
        (
            "camvid/unet.toml",
            &[
                "model.encoder=vit-small-16",
                "model.decoder=linear",
                "data.transforms=[{ name = \"crop\", size = 1536 }]",
            ],
            "train.batch",
        ),
        (
            "camvid/five-frames.toml",
            &["method={ name = \"pixel-decoder\", crop = 2048, batch = 256 }"],
            "method.crop",
        ),
    ] {
        let said = refused(recipe, changes);
        assert!(said.contains(says) && said.contains("GiB"), "{recipe} {changes:?}: {said}");
    }
}
