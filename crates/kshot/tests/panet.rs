//! PANet's losses against PyTorch (`golden/make_panet.py` made the numbers), and its training.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use burn::prelude::*;
use burn::tensor::TensorData;
use kshot::method::few_shot::panet::{Maps, losses};
use kshot::weights::state::StateDict;

fn distance(ours: Vec<f32>, expected: &[f32]) -> f32 {
    let size = expected.iter().map(|value| value * value).sum::<f32>().sqrt();
    let apart = ours.iter().zip(expected).map(|(a, b)| (a - b) * (a - b)).sum::<f32>().sqrt();
    apart / size
}

#[test]
fn losses_and_gradients_agree_with_pytorch() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/panet.safetensors");
    let mut state = StateDict::read(&path).unwrap();
    let device = Device::flex().autodiff();
    let mut taken = |name: &str, shape: &[usize]| -> Vec<f32> {
        state.take(name, shape).unwrap().try_to_vec().unwrap()
    };
    let maps = |values: Vec<f32>, pictures: usize| {
        let data = TensorData::new(values, [pictures, 6, 5, 7]);
        Tensor::<4>::from_data(data, &device).require_grad()
    };
    let labels = |values: Vec<f32>, pictures: usize| {
        let values: Vec<i64> = values.iter().map(|value| *value as i64).collect();
        Tensor::<3, Int>::from_data(TensorData::new(values, [pictures, 20, 28]), &device)
    };
    let support = maps(taken("support", &[4, 6, 5, 7]), 4);
    let query = maps(taken("query", &[1, 6, 5, 7]), 1);
    let support_labels = labels(taken("support_labels", &[4, 20, 28]), 4);
    let query_labels = labels(taken("query_labels", &[1, 20, 28]), 1);
    let (loss, aligned, logits) = losses(
        (&Maps::new(vec![support.clone()]), &support_labels),
        (&Maps::new(vec![query.clone()]), &query_labels),
        2,
        20.0,
        true,
    );
    let aligned = aligned.unwrap();
    let ours = vec![loss.clone().into_scalar(), aligned.clone().into_scalar()];
    let expected = taken("losses", &[2]);
    assert!(distance(ours.clone(), &expected) < 1e-4, "{ours:?} {expected:?}");
    let values = |tensor: Tensor<4>| tensor.into_data().try_into_vec::<f32>().unwrap();
    let expected = taken("logits", &[1, 3, 20, 28]);
    assert!(distance(values(logits.inner()), &expected) < 1e-4);
    let gradients = (loss + aligned).backward();
    for (name, tensor, pictures) in [("support", &support, 4), ("query", &query, 1)] {
        let expected = taken(&format!("{name}_gradient"), &[pictures, 6, 5, 7]);
        let apart = distance(values(tensor.grad(&gradients).unwrap()), &expected);
        assert!(apart < 1e-3, "{name}: {apart}");
    }
}

/// Ten pictures of each of four classes: squares in the class's colour.
#[cfg(feature = "embedded-weights")]
fn data(root: &Path) {
    use image::{GrayImage, Luma, Rgb, RgbImage};
    for folder in ["images", "masks"] {
        std::fs::create_dir_all(root.join(folder)).unwrap();
    }
    std::fs::write(root.join("classes.txt"), "red\ngreen\nblue\nwhite\n").unwrap();
    let colours = [[210, 40, 40], [40, 190, 60], [40, 60, 210], [230, 230, 230]];
    for number in 0..40u32 {
        let class = (number % 4) as usize;
        let inside =
            |x: u32, y: u32| x.abs_diff(20 + number % 16).max(y.abs_diff(40 - number % 16)) < 14;
        RgbImage::from_fn(64, 64, |x, y| {
            let noise = ((x * 5 + y * 3) % 11) as u8;
            Rgb(if inside(x, y) { colours[class] } else { [100 + noise, 110, 90 + noise] })
        })
        .save(root.join(format!("images/{number}.png")))
        .unwrap();
        GrayImage::from_fn(64, 64, |x, y| Luma([if inside(x, y) { class as u8 + 1 } else { 0 }]))
            .save(root.join(format!("masks/{number}.png")))
            .unwrap();
    }
}

#[cfg(feature = "embedded-weights")]
#[test]
fn training_lowers_the_loss_resumes_exactly_and_is_evaluated() {
    use burn::train::Interrupter;
    use kshot::eval;
    use kshot::recipe::Recipe;
    use kshot::train::curve;
    use kshot::train::run::{TrainRunOptions, TrainView, train};
    use kshot::train::session::AnySession;

    let folder = tempfile::tempdir().unwrap();
    data(&folder.path().join("data"));
    let text = format!(
        r#"
        [protocol]
        name = "few-shot-segmentation"
        ways = 1
        shots = 1
        evaluate = [1]
        folds = 2
        episodes = 6
        runs = 2
        counting = "panet"
        seed = 3
        [data]
        dataset = "folder"
        root = "{}"
        train = "*"
        test = "*"
        transforms = [{{ name = "flip" }}]
        [method]
        name = "panet"
        size = 128
        stages = 5
        [train]
        steps = 12
        validate_every = 4
        seed = 1
        optimizer = {{ name = "sgd", momentum = 0.9, weight_decay = 5e-4 }}
        learning_rate = 2e-3
        schedule = "linear"
        episodes = {{ ways = 1, shots = 1, queries = 1, validation = 6 }}
        "#,
        folder.path().join("data").display().to_string().replace('\\', "/")
    );
    let path = folder.path().join("recipe.toml");
    std::fs::write(&path, text).unwrap();
    let recipe = Recipe::read(&path, &[]).unwrap();
    let device = Device::flex();
    let run = |out: &str, parts: &[Option<usize>]| {
        let out = folder.path().join(out);
        for part in parts {
            let AnySession::Panet(session) = AnySession::new(&recipe, &device).unwrap() else {
                panic!("a recipe of panet")
            };
            assert!(session.about.starts_with("2 classes"), "{}", session.about);
            let view = TrainView::Points(Box::new(|_, _| {}));
            let interrupter = Interrupter::new();
            let options =
                TrainRunOptions { force: false, view, at_most: *part, seconds: None, interrupter };
            train(*session, &out, options).unwrap();
        }
        let mut points = curve::read(&out.join("metrics.jsonl")).unwrap();
        points.iter_mut().for_each(|point| point.seconds = 0.0);
        (points, out)
    };
    let (whole, out) = run("whole", &[None]);
    assert_eq!(whole.len(), 3);
    assert!(whole[2].train["loss"] < whole[0].train["loss"], "{whole:?}");
    assert_eq!(run("parts", &[Some(1), None]).0, whole);

    let iou = |recipe: &Recipe, model: Option<&Path>| {
        let options = eval::EvalRunOptions { model, ..eval::EvalRunOptions::default() };
        eval::run(recipe, &device, &options, &|_| {}).map(|result| result.metrics["mean_iou"].mean)
    };
    let trained = iou(&recipe, Some(&out)).unwrap();
    assert!(trained > 0.3, "{trained}");
    let error = iou(&recipe, None).unwrap_err().to_string();
    assert!(error.contains("kshot train"), "{error}");
    let pretrained = iou(&Recipe { train: None, ..recipe.clone() }, None).unwrap();
    assert!((pretrained - trained).abs() > 1e-6);
}
