//! Folds of a folder trained one by one and joined, with what nnU-Net does on the way: the plain U-Net from scratch, parts
//! around pixels of classes, tiles and mirror images.

#![allow(clippy::unwrap_used)] // helpers of tests

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use burn::prelude::Device;
use image::{GrayImage, Luma, Rgb, RgbImage};
use kshot::job::{SegmentOptions, TrainOptions, Watch, segment, train};
use kshot::postprocess::refine::Refinement;
use kshot::predict::trained::{ensemble, predictor};
use kshot::recipe::Recipe;
use kshot::train::load::recipe_of;

/// A bright square somewhere on a dark picture.
fn example(number: u32) -> (RgbImage, GrayImage) {
    let (left, top) = (7 * number % 30, 11 * number % 30);
    let inside = |x: u32, y: u32| (left..left + 14).contains(&x) && (top..top + 14).contains(&y);
    let shade = |x: u32, y: u32| (x * 3 + y * 5 + number) as u8 % 40;
    let picture = RgbImage::from_fn(80, 48, |x, y| {
        Rgb([if inside(x, y) { 200 } else { 40 } + shade(x, y); 3])
    });
    (picture, GrayImage::from_fn(80, 48, |x, y| Luma([u8::from(inside(x, y))])))
}

fn labelled(folder: &Path) {
    for part in ["images", "masks"] {
        fs::create_dir_all(folder.join(part)).unwrap();
    }
    fs::write(folder.join("classes.txt"), "square\n").unwrap();
    for number in 0..6 {
        let (picture, mask) = example(number);
        picture.save(folder.join(format!("images/{number}.png"))).unwrap();
        mask.save(folder.join(format!("masks/{number}.png"))).unwrap();
    }
}

fn recipe(data: &Path, changes: &[&str]) -> kshot::Result<Recipe> {
    let text = format!(
        r#"
        protocol = {{ name = "segmentation" }}
        method = {{ name = "supervised" }}
        [data]
        dataset = "folder"
        root = {root}
        train = "train"
        validation = "validation"
        test = "validation"
        fold = 0
        folds = 3
        transforms = [
          {{ name = "affine", size = 32, rotate = 180.0, rotate_probability = 0.2, scale_probability = 0.2 }},
          {{ name = "flip", vertical = 0.5 }},
          {{ name = "noise", std = [0.0, 5.8], probability = 0.1 }},
          {{ name = "gamma", invert = 0.25, probability = 0.4 }},
        ]
        [model]
        encoder = "plain-unet-tiny"
        decoder = "plain-unet"
        weights = "none"
        [predict]
        tile = 64
        overlap = 0.5
        flip = "both"
        [train]
        steps = 6
        batch = 2
        validate_every = 3
        seed = 1
        learning_rate = 0.01
        balanced = 0.33
        "#,
        root = toml::Value::String(data.display().to_string())
    );
    let changes: Vec<String> = changes.iter().map(|change| (*change).to_owned()).collect();
    Recipe::parse(&text, Path::new("folds.toml"), &changes)
}

fn run(data: &Path, out: &Path, fold: usize) -> PathBuf {
    let recipe = recipe(data, &[&format!("data.fold={fold}")]).unwrap();
    let run = out.join(format!("fold{fold}"));
    train(&TrainOptions::new(recipe, &run), &Watch::new(&|_| {})).unwrap();
    run
}

/// The pictures that validated.
fn validated(run: &Path) -> BTreeSet<String> {
    let split: serde_json::Value =
        serde_json::from_slice(&fs::read(run.join("split.json")).unwrap()).unwrap();
    assert_eq!(split["train"].as_array().unwrap().len(), 4);
    let names = split["validation"].as_array().unwrap().iter();
    names.map(|name| name.as_str().unwrap().to_owned()).collect()
}

#[test]
fn folds_are_trained_one_by_one_and_joined() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    labelled(&data);
    let runs = [0, 1].map(|fold| run(&data, folder.path(), fold));
    assert!(validated(&runs[0]).is_disjoint(&validated(&runs[1])));

    // The mean of the probabilities; of two planes the confidence tells both.
    let device = Device::flex();
    let (picture, _) = example(9);
    let square = |predictor: &kshot::predict::Predictor| -> Vec<f32> {
        let labelling = predictor.label(&picture).unwrap();
        let values = labelling.mask.pixels.iter().zip(&labelling.confidence);
        let of = |(label, sure): (&u8, &u8)| match label {
            1 => f32::from(*sure),
            _ => 255.0 - f32::from(*sure),
        };
        values.map(of).collect()
    };
    let alone = runs
        .each_ref()
        .map(|run| square(&predictor(run, None, Refinement::None, &device).unwrap()));
    let named: Vec<(PathBuf, Recipe)> =
        runs.iter().map(|run| (run.clone(), recipe_of(run).unwrap())).collect();
    let joined = ensemble(&named, Refinement::None, &device).unwrap();
    assert!(joined.choice().reason.contains("2 networks"), "{}", joined.choice().reason);
    let together = square(&joined);
    let differs = alone[0].iter().zip(&alone[1]).any(|(a, b)| (a - b).abs() > 3.0);
    assert!(differs, "the folds learnt the same");
    for ((a, b), mean) in alone[0].iter().zip(&alone[1]).zip(&together) {
        assert!(((a + b) / 2.0 - mean).abs() <= 2.0, "{a} and {b} give {mean}");
    }

    // The same by the job.
    let query = folder.path().join("query");
    fs::create_dir_all(&query).unwrap();
    picture.save(query.join("new.png")).unwrap();
    let out = folder.path().join("out");
    let options = SegmentOptions {
        models: runs.to_vec(),
        ..SegmentOptions::with_model(&runs[0], &query, &out)
    };
    let outcome = segment(&options, &Watch::new(&|_| {})).unwrap();
    assert_eq!(outcome.counts.done, 1);
    assert!(out.join("masks/new.png").is_file());

    // Other classes are refused by name.
    fs::write(runs[1].join("classes.txt"), "circle\n").unwrap();
    let error = ensemble(&named, Refinement::None, &device).err().unwrap().to_string();
    assert!(error.contains("has square") && error.contains("has circle"), "{error}");
}

#[test]
fn what_does_not_go_together_is_told_by_its_key() {
    let folder = tempfile::tempdir().unwrap();
    labelled(folder.path());
    let refused = |changes: &[&str]| recipe(folder.path(), changes).unwrap_err().to_string();
    let error = refused(&["data.transforms=[{ name = \"flip\" }]"]);
    assert!(error.contains("train.balanced") && error.contains("affine"), "{error}");
    let error = refused(&["predict.scales=[]"]);
    assert!(error.contains("predict.scales"), "{error}");
    let error = refused(&["predict.flip=\"left\""]);
    assert!(error.contains("predict.flip") && error.contains("horizontal"), "{error}");
    let fitted =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes/nuclei/six-pictures.toml");
    let error = Recipe::read(&fitted, &["predict.flip=\"both\"".to_owned()]).unwrap_err();
    assert!(error.to_string().contains("predict.flip"), "{error}");
    let open = |changes: &[&str], part: &str| {
        let data = recipe(folder.path(), changes).unwrap().data;
        data.dataset.open(part).map(|set| set.len()).map_err(|error| error.to_string())
    };
    assert_eq!(open(&[], "train"), Ok(4));
    assert_eq!(open(&["data.split={ test = 0.5 }"], "validation"), Ok(1));
    let error = open(&["data.fold=3"], "train").unwrap_err();
    assert!(error.contains("data.fold") && error.contains("0 to 2"), "{error}");
    let error = open(&["data.folds=9"], "train").unwrap_err();
    assert!(error.contains("9 folds"), "{error}");
    fs::write(folder.path().join("validation.txt"), "1\n").unwrap();
    let error = open(&[], "train").unwrap_err();
    assert!(error.contains("data.fold") && error.contains("validation.txt"), "{error}");
}
