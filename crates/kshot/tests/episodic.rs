//! Few-shot segmentation that is meta-trained: PANet's losses against PyTorch (`golden/make_panet.py` made the numbers),
//! and the training of every method.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use burn::prelude::*;
use burn::tensor::TensorData;
use kshot::loss::cross_entropy::pixel_cross_entropy;
use kshot::method::episodic::panet::{alignment, class_prototypes, cosine_logits};
use kshot::method::episodic::{LabelledMaps, Maps};
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
    let [seen, asked] = [&support, &query].map(|maps| Maps(vec![maps.clone()]).unit());
    let labelled = LabelledMaps::of_episode(seen.clone(), support_labels.clone(), 2);
    let prototypes = class_prototypes(&seen, &labelled.planes());
    let logits = cosine_logits(&asked, &prototypes, [20, 28], 20.0);
    let loss = pixel_cross_entropy(&logits, &query_labels);
    let aligned = alignment((&seen, &support_labels, 2), &asked, &logits, 20.0);
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
mod trained {
    use std::sync::{Mutex, MutexGuard, PoisonError};

    use burn::train::Interrupter;
    use kshot::eval;
    use kshot::method::MethodConfig;
    use kshot::method::episodic::Episodic;
    use kshot::recipe::Recipe;
    use kshot::train::curve::{self, CurvePoint};
    use kshot::train::run::{TrainRunOptions, TrainView, train};
    use kshot::train::session::AnySession;
    use tempfile::TempDir;

    use super::*;

    /// Random numbers of a device are everybody's: one training at a time.
    fn alone() -> MutexGuard<'static, ()> {
        static ALONE: Mutex<()> = Mutex::new(());
        ALONE.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Episodes of the squares: two classes to train on, two that are measured.
    fn recipe(folder: &TempDir, method: &str) -> Recipe {
        let root = folder.path().join("data");
        if !root.exists() {
            data(&root);
        }
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
            {method}
            size = 128
            [train]
            steps = 12
            validate_every = 4
            seed = 1
            optimizer = {{ name = "adam" }}
            learning_rate = 2e-3
            schedule = "linear"
            episodes = {{ ways = 1, shots = 1, queries = 1, validation = 6, views = 2 }}
            "#,
            root.display().to_string().replace('\\', "/")
        );
        let path = folder.path().join("recipe.toml");
        std::fs::write(&path, text).unwrap();
        Recipe::read(&path, &[]).unwrap()
    }

    /// A training in one go or in parts: its curve.
    fn run(recipe: &Recipe, out: &Path, parts: &[Option<usize>]) -> Vec<CurvePoint> {
        for part in parts {
            let AnySession::Episodic(session) = AnySession::new(recipe, &Device::flex()).unwrap()
            else {
                panic!("a recipe of an episodic method")
            };
            assert!(session.about.starts_with("2 classes"), "{}", session.about);
            let view = TrainView::Points(Box::new(|_, _| {}));
            let interrupter = Interrupter::new();
            let options =
                TrainRunOptions { force: false, view, at_most: *part, seconds: None, interrupter };
            train(*session, out, options).unwrap();
        }
        let mut points = curve::read(&out.join("metrics.jsonl")).unwrap();
        points.iter_mut().for_each(|point| point.seconds = 0.0);
        points
    }

    fn iou(recipe: &Recipe, model: Option<&Path>) -> kshot::Result<f64> {
        let options = eval::EvalRunOptions { model, ..eval::EvalRunOptions::default() };
        let result = eval::run(recipe, &Device::flex(), &options, &|_| {})?;
        Ok(result.metrics["mean_iou"].mean)
    }

    #[test]
    fn every_method_learns_and_is_evaluated() {
        let _alone = alone();
        let folder = tempfile::tempdir().unwrap();
        for method in Episodic::all() {
            let name = method.name();
            let recipe = recipe(&folder, &format!("name = \"{name}\""));
            assert!(matches!(recipe.method, MethodConfig::Episodic(_)));
            let out = folder.path().join(name);
            let points = run(&recipe, &out, &[None]);
            assert_eq!(points.len(), 3, "{name}");
            let [first, last] = [&points[0], &points[2]].map(|point| point.train["loss"]);
            assert!(last < first, "{name}: {points:?}");
            let trained = iou(&recipe, Some(&out)).unwrap();
            println!("{name}: loss {first:.3} to {last:.3}, mean IoU {trained:.3}");
            // In twelve steps a learnt comparison gets nowhere; cosines are there from the start.
            let compares = matches!(name, "panet" | "dense-prototypes" | "transductive-refinement");
            assert!(trained > if compares { 0.2 } else { -1.0 }, "{name}: {trained}");
            let seen = std::fs::read_to_string(out.join("classes.json")).unwrap();
            assert!(seen.contains("train_pictures") && seen.contains("0.png"), "{seen}");
        }
    }

    #[test]
    fn an_encoder_that_learns_and_one_that_stays_resume_exactly() {
        let _alone = alone();
        let folder = tempfile::tempdir().unwrap();
        for method in ["name = \"panet\"\nstages = 5", "name = \"dense-correlation\""] {
            let recipe = recipe(&folder, method);
            let name = recipe.method.name();
            let [whole, parts] =
                ["whole", "parts"].map(|out| folder.path().join(format!("{name}-{out}")));
            let expected = run(&recipe, &whole, &[None]);
            assert_eq!(run(&recipe, &parts, &[Some(1), None]), expected, "{name}");
        }
    }

    #[test]
    fn a_run_is_asked_for_where_a_recipe_trains() {
        let _alone = alone();
        let folder = tempfile::tempdir().unwrap();
        let recipe = recipe(&folder, "name = \"panet\"\nstages = 5");
        let error = iou(&recipe, None).unwrap_err().to_string();
        assert!(error.contains("kshot train"), "{error}");
        let pretrained = iou(&Recipe { train: None, ..recipe }, None).unwrap();
        assert!(pretrained > 0.1, "{pretrained}");
    }

    /// Several classes, pictures that hold more than one, unequal numbers: as folders are.
    #[test]
    fn any_number_of_pictures_and_classes_makes_a_task() {
        let _alone = alone();
        use kshot::method::episodic::{AnyTask, EpisodicSegmenter};

        let device = Device::flex();
        device.seed(5);
        let encoder: kshot::encoder::EncoderConfig = "resnet-tiny".parse().unwrap();
        let noise = |count: usize| {
            let distribution = burn::tensor::Distribution::Normal(0.0, 1.0);
            Tensor::<4>::random([count, 3, 64, 64], distribution, &device)
        };
        let (pictures, queries) = (noise(3), noise(2));
        let labels: Vec<i64> =
            (0..3 * 64 * 64).map(|pixel| [0, 1, 2, 255][pixel / 16 % 4]).collect();
        let labels = Tensor::<3, Int>::from_data(TensorData::new(labels, [3, 64, 64]), &device);
        for method in Episodic::all() {
            let loss = kshot::loss::LossConfig::default();
            let network = EpisodicSegmenter::new(encoder.init(&device), &method, loss, 4);
            let (maps, asked) = (network.maps(pictures.clone()), network.maps(queries.clone()));
            let logits = |holders: Vec<Vec<usize>>, query: &Maps| -> Vec<f32> {
                let support = LabelledMaps {
                    maps: maps.clone(),
                    labels: labels.clone(),
                    holders,
                    known: Vec::new(),
                };
                let task: AnyTask = network.task(&support);
                let logits = network.logits(&task, query, [33, 48]);
                let [pictures, planes] = [query.pictures(), support.ways() + 1];
                assert_eq!(logits.dims(), [pictures, planes, 33, 48], "{}", method.name());
                logits.into_data().iter().collect()
            };
            let both = logits(vec![vec![0, 2], vec![1]], &asked);
            assert!(both.iter().all(|logit| logit.is_finite()), "{}", method.name());
            // A query's scores are its own, whatever is asked beside it.
            let alone = logits(vec![vec![0, 2], vec![1]], &asked.picture(1));
            let apart = alone.iter().zip(&both[both.len() / 2..]);
            let apart = apart.map(|(one, two)| (one - two).abs()).fold(0.0, f32::max);
            assert!(apart < 1e-3, "{}: {apart}", method.name());
        }
    }
}
