//! Methods that learn from episodes: gradients against PyTorch and finite differences, every method by
//! its name, exact resume.

#![allow(clippy::unwrap_used)] // helpers of tests

use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::prelude::*;
use burn::tensor::{Distribution, TensorData};
use burn::train::Interrupter;
use kshot::contract::episodic::FewShot;
use kshot::data::batch::{Batch, Episode, EpisodeId};
use kshot::encoder::conv4::{Conv4Config, Reduction};
use kshot::features::embed::InputViews;
use kshot::method::few_shot::generative::GenerativeConfig;
use kshot::method::few_shot::prototypical_networks::PrototypicalNetworksConfig;
use kshot::method::few_shot::relation_networks::RelationNetworksConfig;
use kshot::method::learner::{Learner, LearnerConfig, LearnerSetting, Learning};
use kshot::method::meta::maml::MamlConfig;
use kshot::method::network::{EncoderNetwork, NetworkConfig};
use kshot::nn::dual::Dual;
use kshot::nn::norm::BatchNormMode;
use kshot::recipe::Recipe;
use kshot::train::curve;
use kshot::train::run::{TrainRunOptions, TrainView, train};
use kshot::train::session::RecognitionSession;
use kshot::weights::state::StateDict;

/// One test at a time: the device's random numbers are the process's.
fn alone() -> std::sync::MutexGuard<'static, ()> {
    static ONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn setting(network: Conv4Config, size: usize, ways: usize) -> LearnerSetting {
    let device = Device::flex().autodiff();
    LearnerSetting {
        network: NetworkConfig::Conv4(network).init(1, &device).unwrap(),
        channels: 1,
        size: [size; 2],
        ways,
        classes: 8,
        device,
    }
}

/// An episode whose classes are stripes of different widths, with some noise.
fn episode(ways: usize, [shots, queries]: [usize; 2], size: usize) -> Episode<1> {
    let device = Device::flex();
    let batch = |count: usize| {
        let mut values = Vec::new();
        let mut labels = Vec::new();
        for way in 0..ways {
            for _ in 0..count {
                for place in 0..size * size {
                    values
                        .push(f32::from(u8::from(((place % size) / (way + 1)).is_multiple_of(2))));
                }
                labels.push(way as i32);
            }
        }
        let rows = ways * count;
        let images =
            Tensor::<4>::from_data(TensorData::new(values, [rows, 1, size, size]), &device);
        let noise = Tensor::random(images.dims(), Distribution::Normal(0.0, 0.2), &device);
        let labels = Tensor::from_data(TensorData::new(labels, [rows]), &device);
        Batch { images: images + noise, labels, seed: 0 }
    };
    device.seed(4);
    let (support, query) = (batch(shots), batch(queries));
    let id = EpisodeId { seed: 4, index: 0 };
    Episode { support, query, ways, classes: (0..ways).collect(), id }
}

/// Every method on a network that it goes with.
fn learners() -> Vec<(Learning, Learner)> {
    let plain = Conv4Config { width: 6, blocks: 2, ..Conv4Config::default() };
    let relation = Conv4Config { reduction: Reduction::Relation, blocks: 3, ..plain.clone() };
    Learning::all()
        .into_iter()
        .map(|learning| {
            let network = if learning.name() == "relation-networks" {
                relation.clone()
            } else {
                plain.clone()
            };
            Device::flex().seed(1);
            let learner = learning.init(setting(network, 24, 3)).unwrap();
            (learning, learner)
        })
        .collect()
}

#[test]
fn every_method_has_its_name_and_gives_gradients_and_scores() {
    let _alone = alone();
    let device = Device::flex().autodiff();
    for (learning, learner) in learners() {
        let name = learning.name();
        let written = toml::to_string(&learning).unwrap();
        assert!(written.contains(&format!("name = \"{name}\"")), "{name}: {written}");
        let again: Learning = toml::from_str(&written).unwrap();
        assert_eq!(again, learning);
        let episode = episode(3, [2, 3], 24);
        device.seed(2);
        let step =
            FewShot::step(&learner, &[episode.clone().autodiff(), episode.clone().autodiff()]);
        assert!(step.loss.is_finite() && step.loss >= 0.0, "{name}: loss {}", step.loss);
        assert!(!step.gradients.is_empty(), "{name}: no gradient");
        let scores = learner.valid().predict(&episode);
        assert_eq!(scores.dims(), [9, 3], "{name}");
        let sum: f32 = scores.abs().sum().into_scalar();
        assert!(sum.is_finite(), "{name}: scores {sum}");
    }
}

/// Two that were made with one seed answer alike, and one of another seed that is loaded from a file too.
#[test]
fn every_method_is_made_by_its_seed_and_saved_and_loaded() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let device = Device::flex();
    let episode = episode(3, [2, 3], 24);
    let scores = |learner: Learner| {
        // Some draw at random when they answer.
        device.seed(5);
        learner.valid().predict(&episode)
    };
    for learning in Learning::all() {
        let name = learning.name();
        let network = if name == "relation-networks" {
            Conv4Config {
                reduction: Reduction::Relation,
                width: 6,
                blocks: 3,
                ..Default::default()
            }
        } else {
            Conv4Config { width: 6, blocks: 2, ..Default::default() }
        };
        // Parameters are drawn when they are first asked for: writing asks for all.
        let written = |seed: u64, file: &str| {
            device.seed(seed);
            let learner = learning.init(setting(network.clone(), 24, 3)).unwrap();
            learner.clone().save_file(folder.path().join(file)).unwrap();
            learner
        };
        let file = format!("{name}.bpk");
        let expected = scores(written(1, &file));
        let apart = |other: Learner| -> f32 {
            (scores(other) - expected.clone()).abs().max().into_scalar()
        };
        assert!(apart(written(1, "twin.bpk")) < 1e-6, "{name}: one seed");
        let other = written(9, "other.bpk");
        assert!(apart(other.clone()) > 1e-6, "{name}: another seed");
        let loaded = other.try_load_file(folder.path().join(&file)).unwrap();
        assert!(apart(loaded) < 1e-6, "{name}: from its file");
    }
}

#[test]
fn queries_do_not_see_each_other_unless_a_method_says_so() {
    let _alone = alone();
    for (learning, learner) in learners() {
        let learner = learner.valid();
        let episode = episode(3, [2, 3], 24);
        let mut alone = episode.clone();
        alone.query.images = alone.query.images.narrow(0, 0, 1);
        alone.query.labels = alone.query.labels.narrow(0, 0, 1);
        let together = learner.predict(&episode).narrow(0, 0, 1);
        let apart: f32 = (together - learner.predict(&alone)).abs().max().into_scalar();
        let same = apart < 1e-3;
        assert_eq!(same, !learner.is_transductive(), "{}: {apart}", learning.name());
    }
}

#[test]
fn outer_gradients_are_pytorchs() {
    let _alone = alone();
    let state = StateDict::read(&root().join("golden/meta.safetensors")).unwrap();
    let device = Device::flex();
    let tensor = |name: &str| state.tensors[name].clone();
    let network = Conv4Config { width: 4, blocks: 2, reduction: Reduction::Stride, bias: false };
    let config = MamlConfig { steps: 2, rate: 0.2, ..MamlConfig::default() };
    let method = config.init(setting(network, 12, 3)).unwrap();
    let labels = |each: i32| {
        let rows: Vec<i32> = (0..3 * each).map(|row| row / each).collect();
        Tensor::<1, Int>::from_data(TensorData::new(rows, [3 * each as usize]), &device)
    };
    let batch = |name: &str, each| Batch {
        images: Tensor::from_data(tensor(name), &device),
        labels: labels(each),
        seed: 0,
    };
    let episode = Episode {
        support: batch("maml.support", 2),
        query: batch("maml.query", 3),
        ways: 3,
        classes: vec![0, 1, 2],
        id: EpisodeId { seed: 0, index: 0 },
    };
    let flat = |name: String| {
        let data = tensor(&name);
        let count = data.num_elements();
        let values: Vec<f32> = data.iter::<f32>().collect();
        Tensor::<1>::from_data(TensorData::new(values, [count]), &device)
    };
    let start: Vec<Tensor<1>> = (0..8).map(|of| flat(format!("maml.weight.{of}"))).collect();
    for (name, method) in [("second", method.clone()), ("first", method.first_order())] {
        let outer = method.outer(&episode, start.clone());
        let loss: Vec<f64> = tensor("maml.loss").iter::<f64>().collect();
        assert!((outer.loss - loss[0]).abs() < 1e-4, "{} {loss:?}", outer.loss);
        for (index, ours) in outer.weights.into_iter().enumerate() {
            let expected = flat(format!("maml.{name}.{index}"));
            let size: f32 = expected.clone().powi_scalar(2).sum().sqrt().into_scalar();
            let apart: f32 = (ours - expected).powi_scalar(2).sum().sqrt().into_scalar();
            assert!(apart < 1e-3 * size.max(1e-3), "{name} {index}: {apart} of {size}");
        }
    }
}

#[test]
fn second_order_agrees_with_central_differences_and_first_order_does_not() {
    let _alone = alone();
    for reduction in [Reduction::MaxPool, Reduction::Stride] {
        for multi_step_loss in [false, true] {
            Device::flex().seed(6);
            let network = Conv4Config { width: 4, blocks: 2, reduction, bias: true };
            let config = MamlConfig {
                steps: 3,
                rate: 0.3,
                learn_rates: true,
                multi_step_loss,
                ..MamlConfig::default()
            };
            let method = config.init(setting(network, 12, 3)).unwrap();
            let check = method.check_gradient(&episode(3, [2, 2], 12), 6, 1);
            assert!(check.error < 1e-4, "{reduction:?}: {check:?}");
            assert!(check.first_order_error > 1e-2, "{reduction:?}: {check:?}");
        }
    }
}

/// What learns behind a frozen encoder has second derivatives too.
#[test]
fn second_order_agrees_with_central_differences_behind_a_frozen_encoder() {
    let _alone = alone();
    let device = Device::flex().autodiff();
    device.seed(7);
    let choice = EncoderNetwork {
        encoder: "efficientnet-lite0".parse().unwrap(),
        weights: None,
        frozen: true,
        freeze_norm: true,
        views: InputViews::default(),
        bottleneck: 4,
    };
    let network = NetworkConfig::Encoder(choice).init(20, &device).unwrap();
    let setting =
        LearnerSetting { network, channels: 20, size: [1, 1], ways: 3, classes: 8, device };
    let config = MamlConfig { steps: 3, rate: 0.3, ..MamlConfig::default() };
    let method = config.init(setting).unwrap();
    let mut episode = episode(3, [2, 2], 10);
    for batch in [&mut episode.support, &mut episode.query] {
        let [count, ..] = batch.images.dims();
        let rows = batch.images.clone().reshape([count, 100]).narrow(1, 0, 20);
        batch.images = Dual::from(rows).unit().value.reshape([count, 20, 1, 1]);
    }
    let check = method.check_gradient(&episode, 6, 1);
    assert!(check.error < 1e-4, "{check:?}");
}

#[test]
fn published_relation_networks_score_as_in_pytorch() {
    let _alone = alone();
    let data = std::env::var_os("KSHOT_DATA")
        .map_or_else(|| root().join("../shared/data"), PathBuf::from)
        .join("weights/relation_network");
    if !data.is_dir() {
        eprintln!("skipped: no {}", data.display());
        return;
    }
    let state = StateDict::read(&root().join("golden/meta.safetensors")).unwrap();
    let device = Device::flex();
    let network =
        Conv4Config { reduction: Reduction::Relation, bias: true, ..Conv4Config::default() };
    let config = RelationNetworksConfig {
        bias: true,
        batch_norm: BatchNormMode::Query,
        ..RelationNetworksConfig::default()
    };
    let method = config
        .init(setting(network, 28, 5))
        .unwrap()
        .with_published(
            &data.join("omniglot_feature_encoder_5way_1shot.pkl"),
            &data.join("omniglot_relation_network_5way_1shot.pkl"),
        )
        .unwrap()
        .valid();
    let batch = |name: &str, rows: usize| {
        let images = Tensor::<4>::from_data(state.tensors[name].clone(), &device);
        let labels = Tensor::zeros([rows], &device);
        Batch { images: (images - 0.92206) / 0.08426, labels, seed: 0 }
    };
    let episode = Episode {
        support: batch("relation.support", 5),
        query: batch("relation.query", 15),
        ways: 5,
        classes: (0..5).collect(),
        id: EpisodeId { seed: 0, index: 0 },
    };
    // Logits of relations: their logistic function is the relation.
    let ours = burn::tensor::activation::sigmoid(method.predict(&episode));
    let expected = Tensor::<2>::from_data(state.tensors["relation.scores"].clone(), &device);
    let apart: f32 = (ours - expected).abs().max().into_scalar();
    assert!(apart < 1e-4, "{apart}");
}

#[test]
fn a_temperature_divides_scores_and_is_a_number_above_zero() {
    let _alone = alone();
    let network = Conv4Config { width: 4, blocks: 2, ..Conv4Config::default() };
    let scores = |temperature: f64| {
        Device::flex().seed(1);
        let config = PrototypicalNetworksConfig { temperature, ..Default::default() };
        let learner = config.init(setting(network.clone(), 24, 3)).unwrap().valid();
        learner.predict(&episode(3, [2, 3], 24))
    };
    let apart: f32 = (scores(1.0) / 4.0 - scores(4.0)).abs().max().into_scalar();
    assert!(apart < 1e-4, "{apart}");
    for temperature in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e-60, 1e60] {
        let config = PrototypicalNetworksConfig { temperature, ..Default::default() };
        let refused = config.init(setting(network.clone(), 24, 3)).unwrap_err().to_string();
        assert!(refused.contains("temperature"), "{refused}");
    }
}

#[test]
fn relation_networks_train_with_the_loss_of_the_recipe() {
    let _alone = alone();
    let network =
        Conv4Config { reduction: Reduction::Relation, width: 6, blocks: 3, ..Default::default() };
    let loss = |text: &str| {
        Device::flex().seed(1);
        let config: RelationNetworksConfig = toml::from_str(text).unwrap();
        let learner = config.init(setting(network.clone(), 24, 3)).unwrap();
        let (loss, scores) = FewShot::loss(&learner, &episode(3, [2, 3], 24).autodiff());
        (loss.into_scalar::<f32>(), scores.inner())
    };
    let [(squared, scores), (entropy, again)] = ["", "loss = \"cross-entropy\""].map(loss);
    let apart: f32 = (scores.clone() - again).abs().max().into_scalar();
    assert!(apart < 1e-5, "{apart}");
    let wanted: Tensor<2> = episode(3, [2, 3], 24).query.labels.one_hot(3).float();
    let relations = burn::tensor::activation::sigmoid(scores.clone());
    let expected: f32 = (relations - wanted.clone()).square().mean().into_scalar();
    assert!((squared - expected).abs() < 1e-5, "{squared} {expected}");
    let logs = burn::tensor::activation::log_softmax(scores, 1) * wanted;
    let expected: f32 = (logs.sum() / -9.0).into_scalar();
    assert!((entropy - expected).abs() < 1e-5, "{entropy} {expected}");
}

#[test]
fn generated_pictures_have_values_from_0_to_1() {
    let _alone = alone();
    let config = GenerativeConfig { generated: 2, ..GenerativeConfig::default() };
    let network = Conv4Config { width: 4, blocks: 2, ..Conv4Config::default() };
    let method = config.init(setting(network, 12, 3)).unwrap().valid();
    let pictures = method.pictures(&episode(3, [1, 1], 12)).unwrap();
    assert_eq!(pictures.dims(), [6, 1, 12, 12]);
    let (low, high): (f32, f32) =
        (pictures.clone().min().into_scalar(), pictures.max().into_scalar());
    assert!(low >= 0.0 && high <= 1.0);
}

/// Ten classes of drawings: bars at different places and angles.
fn drawings(root: &Path) {
    for class in 0..10u32 {
        let folder = root.join(format!("class{class}"));
        std::fs::create_dir_all(&folder).unwrap();
        for drawing in 0..6u32 {
            let picture = image::GrayImage::from_fn(16, 16, |x, y| {
                let ink = (x + drawing % 2) / (1 + class % 5) % 2 == u32::from(class > 4 && y > 7);
                image::Luma([if ink { 0 } else { 255 - 5 * drawing as u8 }])
            });
            picture.save(folder.join(format!("{drawing}.png"))).unwrap();
        }
    }
}

#[test]
fn a_training_that_was_stopped_gives_the_very_numbers_of_one_that_was_not() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    drawings(&folder.path().join("data"));
    let recipe = folder.path().join("recipe.toml");
    let text = format!(
        r#"
        [protocol]
        name = "few-shot-recognition"
        ways = 2
        shots = 1
        queries = 2
        episodes = 5
        seed = 1
        [data]
        dataset = "class-folders"
        root = "{}"
        size = 16
        gray = true
        support_transforms = [{{ name = "flip" }}, {{ name = "shift", pixels = 1 }}]
        [model]
        encoder = {{ name = "conv4", width = 4 }}
        [method]
        name = "generative"
        [train]
        steps = 12
        validate_every = 3
        seed = 5
        learning_rate = 0.01
        schedule = {{ name = "step", every = 4, gamma = 0.5 }}
        episodes = {{ ways = 3, shots = 1, queries = 2, validation = 4 }}
        "#,
        folder.path().join("data").display().to_string().replace('\\', "/")
    );
    std::fs::write(&recipe, text).unwrap();
    let recipe = Recipe::read(&recipe, &[]).unwrap();
    let run = |out: &str, parts: &[Option<usize>]| {
        let out = folder.path().join(out);
        for part in parts {
            let session =
                RecognitionSession::new(&recipe, &Device::flex()).unwrap().session().unwrap();
            let view = TrainView::Points(Box::new(|_, _| {}));
            let interrupter = Interrupter::new();
            train(
                session,
                &out,
                TrainRunOptions { force: false, view, at_most: *part, seconds: None, interrupter },
            )
            .unwrap();
        }
        let mut points = curve::read(&out.join("metrics.jsonl")).unwrap();
        for point in &mut points {
            point.seconds = 0.0;
        }
        (points, std::fs::read(out.join("model.bpk")).unwrap())
    };
    let (whole, weights) = run("whole", &[None]);
    assert_eq!(whole.len(), 4);
    let (parts, same) = run("parts", &[Some(1), Some(2), None]);
    assert_eq!(whole, parts);
    assert_eq!(weights.len(), same.len());
}
