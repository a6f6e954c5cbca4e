//! The rules: from what a folder is like to a recipe.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use toml::Value;

use super::network::{is_pretrained, network};
use super::{DataFindings, PlanOptions};
use crate::data::batches::shrunk;
use crate::error::{Error, Result};
use crate::names::counted;

/// Pictures whose longer side is above it are shrunk, where objects stay thick enough.
const LONGEST: u32 = 1024;
/// Working pixels that the thinnest class's typical piece keeps when pictures are shrunk.
const LEAST_THICKNESS: f32 = 6.0;
/// Side of the patches that are trained on.
const PATCH: u32 = 256;
/// The same where objects are thicker than half a patch.
const LARGE_PATCH: u32 = 384;
/// Pictures a step.
const BATCH: usize = 4;
/// With fewer pictures none is kept from learning.
const VALIDATED: usize = 10;
/// From so many pictures on a part is left for the test.
const TESTED: usize = 50;
/// Share of the pictures for validation, and as many for the test where there is one.
const SHARE: f64 = 0.2;
/// A class with a smaller share of the pixels is rare.
const RARE: f64 = 0.02;
/// The share of patches around a pixel of a class, where one is rare.
const BALANCED: f64 = 0.33;
/// With fewer pictures to learn from, they are changed more, and statistics of a batch say little of others.
pub(super) const FEW: usize = 50;
/// The decoder's learning rate beside an encoder that is fine-tuned, and that of a network that learns from scratch.
const FINE_TUNED: f64 = 3e-3;
const FROM_SCRATCH: f64 = 1e-3;
/// Rounds over the pictures, and the bounds of the steps that make them.
const ROUNDS: usize = 60;
const STEPS: std::ops::RangeInclusive<usize> = 600..=6000;
/// Validations of a training.
pub(crate) const VALIDATIONS: usize = 10;

/// The reason of what a person set.
pub const SET: &str = "set by you";

/// A key of the recipe with its value and why it has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    /// Such as `data.longest_side`.
    pub key: String,
    /// What the recipe says.
    pub value: Value,
    /// Why, in words; empty where it could hardly be otherwise.
    pub reason: String,
}

impl Choice {
    /// A choice for a reason.
    pub fn new(key: &str, value: impl Into<Value>, reason: impl Into<String>) -> Self {
        Self { key: key.to_owned(), value: value.into(), reason: reason.into() }
    }
}

/// What a person asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct Wishes {
    root: PathBuf,
    steps: Option<usize>,
    seed: u64,
    /// Keys that are set, with their values.
    set: Vec<(String, Value)>,
}

impl Wishes {
    /// Of options, for the folder `root`.
    ///
    /// # Errors
    /// If a change is not `key=value`.
    pub fn new(options: &PlanOptions, root: &Path) -> Result<Self> {
        let set = options.changes.iter().map(|change| {
            let (key, value) = change.split_once('=').ok_or_else(|| {
                Error::config(format!("`--set {change}`; write key=value, such as train.steps=100"))
            })?;
            // As `--set` reads it: TOML, or a word.
            let read = toml::from_str::<toml::Table>(&format!("value = {value}"));
            let read = read.ok().and_then(|mut table| table.remove("value"));
            Ok((key.trim().to_owned(), read.unwrap_or_else(|| Value::String(value.to_owned()))))
        });
        let set = set.collect::<Result<_>>()?;
        Ok(Self { root: root.to_owned(), steps: options.steps, seed: options.seed, set })
    }

    /// The steps that are asked for.
    pub(crate) fn steps(&self) -> Option<usize> {
        self.count("train.steps").or(self.steps)
    }

    /// The value of a key that is set.
    pub(super) fn of(&self, key: &str) -> Option<&Value> {
        self.set.iter().rev().find(|(of, _)| of == key).map(|(_, value)| value)
    }

    /// Whether a key, or one inside it, is set.
    pub(super) fn sets(&self, key: &str) -> bool {
        let inside = |of: &str| of.strip_prefix(key).is_some_and(|rest| rest.starts_with('.'));
        self.set.iter().any(|(of, _)| of == key || inside(of))
    }

    /// A whole number that is set.
    pub(crate) fn count(&self, key: &str) -> Option<usize> {
        self.of(key).and_then(Value::as_integer).and_then(|count| usize::try_from(count).ok())
    }

    /// A rule's choice, or what the person set in its place.
    pub(crate) fn over(&self, mut choice: Choice) -> Choice {
        if self.sets(&choice.key) {
            // The value stays for tables of which a part is set; the change is applied to the recipe as everywhere.
            SET.clone_into(&mut choice.reason);
            if let Some(value) = self.of(&choice.key) {
                choice.value = value.clone();
            }
        }
        choice
    }

    /// Whether a list of that name is in the folder.
    fn listed(&self, name: &str) -> bool {
        self.root.join(format!("{name}.txt")).is_file()
    }
}

/// The choices for a folder, in the recipe's order. Keys that a person set are not among them.
pub fn choices(found: &DataFindings, wishes: &Wishes) -> Vec<Choice> {
    let mut all = vec![
        Choice::new("protocol.name", "segmentation", ""),
        Choice::new("data.dataset", "folder", ""),
        Choice::new("data.root", wishes.root.to_string_lossy().into_owned(), ""),
    ];
    all.extend(parts(found, wishes));
    all.extend(working_size(found));
    all.extend(transforms(found, wishes));
    all.extend(network(found, wishes));
    all.push(Choice::new("method.name", "supervised", ""));
    all.extend(loss(found));
    all.extend(training(found, wishes));
    all.into_iter().map(|choice| wishes.over(choice)).collect()
}

/// A table of a recipe from its TOML.
pub(super) fn table(text: &str) -> Value {
    // The texts are this file's own, and the recipe that they become is checked.
    toml::from_str::<toml::Table>(text)
        .ok()
        .and_then(|mut table| table.remove("value"))
        .unwrap_or(Value::Boolean(false))
}

/// How the pictures are shared out.
struct Shares {
    /// All are learnt from, and none is kept apart.
    all: bool,
    tested: bool,
    validation: f64,
    test: f64,
}

impl Shares {
    fn of(found: &DataFindings, wishes: &Wishes) -> Self {
        let listed = |name| wishes.listed(name);
        let free =
            ["data.train", "data.validation", "data.test", "data.split", "data.fold", "data.folds"];
        let all = found.pictures < VALIDATED
            && !["train", "validation", "test"].into_iter().any(listed)
            && free.into_iter().all(|key| !wishes.sets(key));
        let tested = !all && (listed("test") || found.pictures >= TESTED);
        let share = |kept: bool| if kept { SHARE } else { 0.0 };
        Self {
            all,
            tested,
            validation: share(!all && !listed("validation")),
            test: share(tested && !listed("test")),
        }
    }

    /// About how many pictures are learnt from.
    fn learnt(&self, pictures: usize) -> usize {
        let kept = |share: f64| (pictures as f64 * share).round() as usize;
        pictures - kept(self.validation) - kept(self.test)
    }
}

fn parts(found: &DataFindings, wishes: &Wishes) -> Vec<Choice> {
    let shares = Shares::of(found, wishes);
    let pictures = found.pictures;
    if shares.all {
        let few =
            counted(pictures, "labelled picture is too little", "labelled pictures are too few");
        let why = format!(
            "{few} to keep some back: what is measured on what was learnt from does not tell how good it is on other \
             pictures (`kshot eval` on some labelled later does)"
        );
        return vec![
            Choice::new("data.train", "*", why),
            Choice::new("data.validation", "*", ""),
            Choice::new("data.test", "*", ""),
        ];
    }
    let Shares { tested, validation, test, .. } = shares;
    let seed = wishes.seed;
    let split = table(&format!(
        "value = {{ validation = {validation:?}, test = {test:?}, seed = {seed} }}"
    ));
    let why = match (tested, wishes.listed("validation")) {
        (_, true) => "by the lists in the folder".to_owned(),
        (true, _) => format!(
            "of {pictures} labelled pictures a fifth validates, and a fifth is kept to measure the result"
        ),
        (false, _) => format!(
            "of {pictures} labelled pictures a fifth validates; they are too few to keep some for a test, too"
        ),
    };
    vec![
        Choice::new("data.train", "train", ""),
        Choice::new("data.validation", "validation", ""),
        Choice::new("data.test", if tested { "test" } else { "validation" }, ""),
        Choice::new("data.split", split, why),
    ]
}

/// The working size, where it is not the pictures' own.
fn working_size(found: &DataFindings) -> Vec<Choice> {
    if found.longest <= LONGEST {
        return Vec::new();
    }
    let by_objects = found
        .thinnest()
        .map_or(0.0, |(_, thickness)| LEAST_THICKNESS / thickness * found.longest as f32);
    let side = (by_objects.ceil() as u32).clamp(LONGEST, found.longest);
    if side >= found.longest {
        return Vec::new();
    }
    let why = match found.thinnest() {
        Some((class, thickness)) => format!(
            "pictures have up to {} pixels a side; at this size `{class}`, whose pieces are about {thickness:.0} pixels \
             thick, still has {:.0}",
            found.longest,
            thickness * side as f32 / found.longest as f32
        ),
        None => format!("pictures have up to {} pixels a side", found.longest),
    };
    vec![Choice::new("data.longest_side", i64::from(side), why)]
}

/// The longer side that pictures are brought down to, by the rules or by the person.
fn longest(found: &DataFindings, wishes: &Wishes) -> u32 {
    let set = wishes.of("data.longest_side").and_then(Value::as_integer);
    let chosen = working_size(found).pop().and_then(|choice| choice.value.as_integer());
    set.or(chosen).and_then(|side| u32::try_from(side).ok()).unwrap_or(found.longest)
}

fn transforms(found: &DataFindings, wishes: &Wishes) -> Vec<Choice> {
    // Of the typical picture: one panorama, or one small picture, says nothing of the others.
    let [high, wide] = found.typical;
    let (width, height) = shrunk(wide, high, Some(longest(found, wishes)));
    let zoom = width.max(height) as f32 / wide.max(high).max(1) as f32;
    let thick = found.classes.iter().filter_map(|class| class.thickness).fold(0.0, f32::max) * zoom;
    let wanted = if thick > PATCH as f32 / 2.0 { LARGE_PATCH } else { PATCH };
    let patch = (width.min(height) / 32 * 32).clamp(64, wanted);
    let few = found.pictures < FEW;
    let turned = found.upright == Some(false);
    let mut list = Vec::new();
    list.push(
        if turned { "{ name = \"flip\", vertical = 0.5 }" } else { "{ name = \"flip\" }" }
            .to_owned(),
    );
    if turned {
        list.push("{ name = \"rotate\", degrees = [-180.0, 180.0] }".to_owned());
    } else if few {
        list.push("{ name = \"rotate\", degrees = [-15.0, 15.0] }".to_owned());
    }
    let range = if few { "[0.7, 1.4]" } else { "[0.75, 1.5]" };
    list.push(format!("{{ name = \"scale\", range = {range} }}"));
    list.push(format!("{{ name = \"crop\", size = {patch} }}"));
    list.push("{ name = \"colour\" }".to_owned());
    let up = match found.upright {
        Some(true) => {
            "classes keep their place between top and bottom, so pictures are mirrored left to right alone"
        }
        Some(false) => {
            "no class keeps its place between top and bottom, so pictures are turned any way"
        }
        None => {
            "too few pictures tell whether top and bottom differ, so they are mirrored left to right alone"
        }
    };
    let strength = if few { "; few pictures are changed more" } else { "" };
    let why = format!("patches of {patch} pixels; {up}{strength}");
    vec![Choice::new("data.transforms", table(&format!("value = [{}]", list.join(", "))), why)]
}

fn loss(found: &DataFindings) -> Vec<Choice> {
    let rare = found.rarest().filter(|class| class.share < RARE);
    let weight = if rare.is_some() { 1.0 } else { 0.5 };
    let why = match rare {
        Some(class) => format!(
            "`{}` covers {:.2} % of the labelled pixels: Dice counts each class alike, cross entropy each pixel",
            class.name,
            100.0 * class.share
        ),
        None => "cross entropy for each pixel, Dice for each class".to_owned(),
    };
    let why = match found.is_scribbled() {
        true => format!(
            "{why}; strokes label {:.1} % of the pixels, and all others count nothing",
            100.0 * found.labelled
        ),
        false => why,
    };
    let terms = format!(
        "value = [{{ name = \"cross-entropy\" }}, {{ name = \"dice\", weight = {weight:?} }}]"
    );
    vec![Choice::new("loss.terms", table(&terms), why)]
}

fn training(found: &DataFindings, wishes: &Wishes) -> Vec<Choice> {
    let batch = wishes.count("train.batch").unwrap_or(BATCH).max(1);
    let learnt = Shares::of(found, wishes).learnt(found.pictures);
    let by_rounds = (ROUNDS * learnt).div_ceil(batch);
    let (steps, why) = match wishes.steps() {
        Some(steps) => (steps, "as asked for".to_owned()),
        None => {
            let steps = by_rounds.clamp(*STEPS.start(), *STEPS.end());
            (steps, format!("about {} rounds over the pictures", steps * batch / learnt.max(1)))
        }
    };
    let mut all = vec![Choice::new("train.batch", BATCH as i64, "")];
    if let Some(class) = found.rarest().filter(|class| class.share < RARE) {
        let why = format!(
            "a third of the patches is cut around a pixel of a class, so that `{}` ({:.2} % of the pixels) is seen",
            class.name,
            100.0 * class.share
        );
        all.push(Choice::new("train.balanced", BALANCED, why));
    }
    all.extend(schedule(steps, &why));
    let rate = if is_pretrained(wishes) { FINE_TUNED } else { FROM_SCRATCH };
    all.extend([
        Choice::new("train.seed", wishes.seed as i64, ""),
        Choice::new("train.monitor", "mean_iou", ""),
        Choice::new(
            "train.optimizer",
            table("value = { name = \"adamw\", weight_decay = 0.01 }"),
            "",
        ),
        Choice::new("train.learning_rate", rate, ""),
    ]);
    all
}

/// The keys that follow from the number of steps.
pub fn schedule(steps: usize, why: &str) -> Vec<Choice> {
    let every = steps.div_ceil(VALIDATIONS).max(1);
    let warmup = steps / 20;
    let poly = format!("value = {{ name = \"poly\", power = 0.9, warmup = {warmup} }}");
    vec![
        Choice::new("train.steps", steps as i64, why),
        Choice::new("train.validate_every", every as i64, ""),
        Choice::new("train.schedule", table(&poly), ""),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::ClassFindings;
    use super::*;

    fn found() -> DataFindings {
        DataFindings {
            pictures: 20,
            typical: [360, 480],
            shortest: 360,
            longest: 480,
            classes: vec![ClassFindings {
                name: "cell".into(),
                share: 0.3,
                pictures: 20,
                thickness: Some(20.0),
            }],
            labelled: 1.0,
            upright: Some(false),
            gray: false,
        }
    }

    fn wishes(changes: &[&str]) -> Wishes {
        let options = PlanOptions {
            data: "cells".into(),
            steps: None,
            minutes: None,
            seed: 3,
            changes: changes.iter().map(|&change| change.to_owned()).collect(),
        };
        Wishes::new(&options, Path::new("cells")).unwrap()
    }

    fn of(found: &DataFindings, key: &str, changes: &[&str]) -> Option<Choice> {
        choices(found, &wishes(changes)).into_iter().find(|choice| choice.key == key)
    }

    #[test]
    fn large_pictures_are_shrunk_as_far_as_thin_things_allow() {
        let at = |longest, thickness| {
            let mut found = found();
            (found.longest, found.classes[0].thickness) = (longest, Some(thickness));
            of(&found, "data.longest_side", &[]).and_then(|choice| choice.value.as_integer())
        };
        assert_eq!(at(1000, 100.0), None);
        assert_eq!(at(4000, 100.0), Some(1024));
        assert_eq!(at(4000, 12.0), Some(2000));
        assert_eq!(at(4000, 5.0), None);
    }

    #[test]
    fn pictures_are_turned_only_where_no_class_has_its_place() {
        let text = |upright| {
            let found = DataFindings { upright, ..found() };
            of(&found, "data.transforms", &[]).unwrap().value.to_string()
        };
        assert!(text(Some(false)).contains("180"));
        assert!(!text(Some(true)).contains("180") && !text(None).contains("vertical"));
    }

    #[test]
    fn rare_classes_are_told_and_weigh_more() {
        let mut found = found();
        found.classes[0].share = 0.001;
        let loss = of(&found, "loss.terms", &[]).unwrap();
        assert!(loss.reason.contains("`cell` covers 0.10 %"), "{}", loss.reason);
        let strokes = DataFindings { labelled: 0.02, ..found.clone() };
        let loss = of(&strokes, "loss.terms", &[]).unwrap();
        assert!(
            loss.reason
                .ends_with("strokes label 2.0 % of the pixels, and all others count nothing")
        );
        let balanced = |found: &DataFindings| of(found, "train.balanced", &[]).is_some();
        assert!(balanced(&found) && !balanced(&self::found()));
    }

    #[test]
    fn few_pictures_are_all_learnt_from_and_said_to_be() {
        let value = |pictures, key: &str, changes: &[&str]| {
            let found = DataFindings { pictures, ..found() };
            of(&found, key, changes).map(|choice| choice.value)
        };
        let text = |pictures, key: &str, changes: &[&str]| {
            value(pictures, key, changes).and_then(|value| Some(value.as_str()?.to_owned()))
        };
        let [all, train] = ["*", "train"].map(|part| Some(part.to_owned()));
        assert_eq!(text(9, "data.train", &[]), all);
        assert_eq!((text(9, "data.test", &[]), value(9, "data.split", &[])), (all, None));
        assert_eq!(text(9, "data.train", &["data.split.validation=0.4"]), train);
        assert_eq!(text(9, "data.train", &["data.fold=1"]), Some("train".to_owned()));
        assert_eq!(text(10, "data.test", &[]), Some("validation".to_owned()));
        assert_eq!(text(50, "data.test", &[]), Some("test".to_owned()));
        // Steps follow from what is learnt from.
        let found = |pictures| DataFindings { pictures, ..found() };
        assert_eq!((shares(&found(9)), shares(&found(10)), shares(&found(50))), (9, 8, 30));
    }

    #[test]
    fn one_odd_picture_does_not_decide_for_all() {
        let found = DataFindings { shortest: 40, longest: 8000, ..found() };
        let patch = of(&found, "data.transforms", &["data.longest_side=8000"]).unwrap();
        assert!(patch.reason.contains("patches of 256"), "{}", patch.reason);
    }

    #[test]
    fn an_encoder_has_a_decoder_that_fits() {
        let decoder = |encoder: &str| {
            let changes = [format!("model.encoder={encoder}")];
            let choice = of(&found(), "model.decoder", &[changes[0].as_str()]).unwrap();
            choice.value.get("name").unwrap_or(&choice.value).as_str().unwrap().to_owned()
        };
        for (encoder, expected) in [
            ("resnet18", "unet"),
            ("hrnet-w18", "unet"),
            ("vit-small-16", "linear"),
            ("dinov2-vit-small-14", "linear"),
            ("ddrnet-23-slim", "ddrnet"),
            ("plain-unet-6", "plain-unet"),
        ] {
            assert_eq!(decoder(encoder), expected, "{encoder}");
        }
    }

    fn shares(found: &DataFindings) -> usize {
        Shares::of(found, &wishes(&[])).learnt(found.pictures)
    }

    #[test]
    fn published_weights_are_fine_tuned_and_others_learn_from_scratch() {
        let told = |key: &str, changes: &[&str]| {
            of(&found(), key, changes).map(|choice| choice.value.to_string())
        };
        assert_eq!(told("model.freeze", &[]).as_deref(), Some("\"norm\""));
        assert_eq!(told("model.encoder_rate", &[]).as_deref(), Some("0.1"));
        assert_eq!(told("train.learning_rate", &[]).as_deref(), Some("0.003"));
        assert_eq!(told("model.weights", &[]), None);
        for changes in [["model.freeze=encoder"], ["model.lora={ rank = 4 }"]] {
            assert_eq!(told("model.encoder_rate", &changes), None);
        }
        for changes in [["model.weights=none"], ["model.encoder=ddrnet-23-slim"]] {
            assert_eq!(told("model.freeze", &changes), None);
            assert_eq!(told("model.encoder_rate", &changes), None);
            assert_eq!(told("train.learning_rate", &changes).as_deref(), Some("0.001"));
        }
        let scratch = of(&found(), "model.weights", &["model.encoder=ddrnet-23-slim"]).unwrap();
        assert_eq!(scratch.value.as_str(), Some("none"));
        assert!(scratch.reason.contains("ddrnet-23-slim"), "{}", scratch.reason);
        let mut many = found();
        many.pictures = 50;
        assert_eq!(of(&many, "model.freeze", &[]), None);
    }

    #[test]
    fn what_a_person_sets_stays_and_rules_see_it() {
        let batch = of(&found(), "train.batch", &["train.batch=12"]).unwrap();
        assert_eq!((batch.value.as_integer(), batch.reason.as_str()), (Some(12), SET));
        let mut many = found();
        many.pictures = 400;
        let steps =
            |changes: &[&str]| of(&many, "train.steps", changes).unwrap().value.as_integer();
        assert_eq!(steps(&[]), Some(3600));
        assert_eq!(steps(&["train.batch=12"]), Some(1200));
        // What follows from the steps follows from those that are set.
        let every = of(&many, "train.validate_every", &["train.steps=40"]).unwrap();
        let warmup = of(&many, "train.schedule", &["train.steps=40"]).unwrap();
        assert_eq!(
            (every.value.as_integer(), warmup.value["warmup"].as_integer()),
            (Some(4), Some(2))
        );
        let patch = of(&many, "data.transforms", &["data.longest_side=200"]).unwrap();
        assert!(patch.reason.contains("patches of 128"), "{}", patch.reason);
    }
}
