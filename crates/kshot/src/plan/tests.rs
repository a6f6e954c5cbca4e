//! Which recipe follows from what.

use std::path::Path;

use super::rules::{Choice, SET, Shares, Wishes, choices};
use super::{ClassFindings, DataFindings, PlanOptions};

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
        loss.reason.ends_with("strokes label 2.0 % of the pixels, and all others count nothing")
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
    let steps = |changes: &[&str]| of(&many, "train.steps", changes).unwrap().value.as_integer();
    assert_eq!(steps(&[]), Some(3600));
    assert_eq!(steps(&["train.batch=12"]), Some(1200));
    assert_eq!(steps(&["train.accumulate=3"]), Some(1200));
    // What follows from the steps follows from those that are set.
    let every = of(&many, "train.validate_every", &["train.steps=40"]).unwrap();
    let warmup = of(&many, "train.schedule", &["train.steps=40"]).unwrap();
    assert_eq!((every.value.as_integer(), warmup.value["warmup"].as_integer()), (Some(4), Some(2)));
    let patch = of(&many, "data.transforms", &["data.longest_side=200"]).unwrap();
    assert!(patch.reason.contains("patches of 128"), "{}", patch.reason);
}

#[test]
fn little_memory_means_fewer_patches_at_once_then_smaller_ones() {
    let at = |megabytes: u64, changes: &[&str]| {
        let wishes = wishes(changes).with_memory(Some(megabytes << 20));
        let all = choices(&found(), &wishes);
        let find = |key: &str| all.iter().find(|choice| choice.key == key).cloned();
        let count = |key: &str| find(key).and_then(|choice| choice.value.as_integer());
        let transforms = find("data.transforms").unwrap();
        let steps = count("train.steps").unwrap();
        (count("train.batch").unwrap(), count("train.accumulate"), transforms.reason, steps)
    };
    let (batch, accumulate, why, steps) = at(4000, &[]);
    assert_eq!((batch, accumulate), (4, None));
    assert!(why.starts_with("patches of 256 pixels;"), "{why}");
    let (batch, accumulate, _, as_many) = at(900, &[]);
    assert_eq!((batch, accumulate, as_many), (2, Some(2), steps));
    let (batch, accumulate, why, _) = at(150, &[]);
    assert_eq!((batch, accumulate), (1, Some(4)));
    assert!(why.starts_with("patches of 128 pixels, as 0.2 GB of memory are free"), "{why}");
    // What a person sets stays.
    let (batch, accumulate, ..) = at(150, &["train.batch=8"]);
    assert_eq!((batch, accumulate), (8, None));
    let memory = |megabytes: u64| {
        let wishes = wishes(&[]).with_memory(Some(megabytes << 20));
        let batch = choices(&found(), &wishes).into_iter().find(|of| of.key == "train.batch");
        batch.unwrap().reason
    };
    assert_eq!(
        memory(900),
        "0.9 GB of memory are free, so the 4 patches of a step are held 2 at once"
    );
    assert_eq!(memory(4000), "");
}

#[test]
fn small_pictures_are_seen_nearly_whole_and_thick_objects_by_large_patches() {
    let why = |typical, thickness| {
        let mut found = DataFindings { typical, ..found() };
        found.classes[0].thickness = Some(thickness);
        of(&found, "data.transforms", &[]).unwrap().reason
    };
    assert!(
        why([120, 128], 20.0).starts_with("pictures of 120 x 128 pixels are seen nearly whole")
    );
    assert!(
        why([360, 480], 200.0).starts_with("patches of 352 pixels, as the thickest class is 200")
    );
}
