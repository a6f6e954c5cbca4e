//! What every row of the encoder table must fulfil.

#![allow(clippy::unwrap_used)] // helpers of tests

use burn::module::{Module, ModuleVisitor, Param};
use burn::prelude::*;
use burn::tensor::{Distribution, Gradients};
use kshot::encoder::{Encode, EncoderConfig};

fn tiny() -> Vec<EncoderConfig> {
    EncoderConfig::all().into_iter().filter(|config| config.name().ends_with("-tiny")).collect()
}

fn values<const D: usize>(tensor: &Tensor<D>) -> Vec<f32> {
    tensor.to_data().try_to_vec::<f32>().unwrap()
}

fn largest<const D: usize>(tensor: Tensor<D>) -> f32 {
    values(&tensor.abs().max())[0]
}

#[test]
fn every_row_is_described() {
    let mut families = std::collections::BTreeMap::<&str, bool>::new();
    let mut names = std::collections::BTreeSet::new();
    for config in EncoderConfig::all() {
        let about = config.describe();
        assert!(names.insert(about.name), "{} is there twice", about.name);
        assert!(about.url.starts_with("https://"), "{}: no link", about.name);
        assert!(!about.note.is_empty() && about.year > 2010, "{}", about.name);
        assert_eq!(about.channels.len(), about.strides.len(), "{}", about.name);
        *families.entry(about.family).or_default() |= about.name.ends_with("-tiny");
    }
    for (family, has_tiny) in families {
        assert!(has_tiny, "{family} has no tiny preset");
    }
}

#[test]
fn every_row_builds_with_the_stated_number_of_parameters() {
    /// Burn counts running statistics among the parameters; nobody trains them.
    #[derive(Default)]
    struct Trainable(usize, Vec<String>);
    impl ModuleVisitor for Trainable {
        fn enter_module(&mut self, name: &str, _container: &str) {
            self.1.push(name.to_owned());
        }
        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.1.pop();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if !self.1.last().is_some_and(|name| name.starts_with("running_")) {
                self.0 += param.lazy_shape().num_elements();
            }
        }
    }
    let mut wrong = Vec::new();
    for config in EncoderConfig::all() {
        let encoder = config.init(&Device::flex());
        assert_eq!(encoder.channels(), config.channels(), "{config}");
        assert_eq!(encoder.strides(), config.strides(), "{config}");
        let mut count = Trainable::default();
        encoder.visit(&mut count);
        if count.0 != config.describe().parameters {
            wrong.push(format!("{config}: {}", count.0));
        }
    }
    assert!(wrong.is_empty(), "parameters: {wrong:#?}");
}

#[test]
fn names_and_recipes_round_trip() {
    #[derive(Debug, serde::Serialize, serde::Deserialize)]
    struct Recipe {
        encoder: EncoderConfig,
    }
    for config in EncoderConfig::all() {
        assert_eq!(config.name().parse::<EncoderConfig>().unwrap(), config);
        let text = toml::to_string(&Recipe { encoder: config }).unwrap();
        assert_eq!(text, format!("encoder = \"{}\"\n", config.name()));
        assert_eq!(toml::from_str::<Recipe>(&text).unwrap().encoder, config);
    }
    let error = toml::from_str::<Recipe>("encoder = \"net\"").unwrap_err().to_string();
    assert!(error.contains("unknown encoder `net`"), "{error}");
}

#[test]
fn shapes_are_as_documented_on_odd_sizes() {
    let device = Device::flex();
    for config in tiny() {
        let encoder = config.init(&device);
        for [height, width] in [[64usize, 64], [65, 97], [33, 50], [71, 1]] {
            let features = encoder.forward(Tensor::zeros([2, 3, height, width], &device));
            assert_eq!(features.maps.len(), config.channels().len());
            for (index, map) in features.maps.iter().enumerate() {
                let stride = config.strides()[index];
                let expected =
                    [2, config.channels()[index], height.div_ceil(stride), width.div_ceil(stride)];
                assert_eq!(map.dims(), expected, "{config}, map {index} of {height}x{width}");
            }
        }
    }
}

#[test]
fn every_parameter_gets_a_finite_gradient_that_is_not_zero() {
    struct Check<'a> {
        gradients: &'a Gradients,
        faults: Vec<String>,
        path: Vec<String>,
    }
    impl ModuleVisitor for Check<'_> {
        fn enter_module(&mut self, name: &str, _container: &str) {
            self.path.push(name.to_owned());
        }
        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.path.pop();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if self.path.last().is_some_and(|name| name.starts_with("running_")) {
                return;
            }
            let size = param.val().grad(self.gradients).map(largest);
            if !size.is_some_and(|size| size.is_finite() && size > 0.0) {
                self.faults.push(format!("{}: {size:?}", self.path.join(".")));
            }
        }
    }
    let device = Device::flex().autodiff();
    device.seed(5);
    for config in tiny() {
        let encoder = config.init(&device);
        let images = Tensor::<4>::random([2, 3, 64, 64], Distribution::Normal(0.0, 1.0), &device);
        let losses = encoder.forward(images).maps.into_iter().map(|map| {
            // Weighted at random: the plain sum of a normalised map depends on its shift only.
            let weights = Tensor::<4>::random(map.dims(), Distribution::Normal(0.0, 1.0), &device);
            (map * weights).sum()
        });
        let gradients = losses.reduce(|a, b| a + b).unwrap().backward();
        let mut check = Check { gradients: &gradients, faults: Vec::new(), path: Vec::new() };
        encoder.visit(&mut check);
        assert!(check.faults.is_empty(), "{config}: {:#?}", check.faults);
    }
}

#[test]
fn saved_and_loaded_is_identical() {
    let device = Device::flex();
    let folder = tempfile::tempdir().unwrap();
    let image = Tensor::<4>::random([1, 3, 40, 40], Distribution::Default, &device);
    for config in tiny() {
        let first = config.init(&device);
        let expected = first.forward(image.clone()).maps;
        let path = folder.path().join(config.name());
        first.save_file(&path).unwrap();
        let loaded = config.init(&device).try_load_file(&path).unwrap();
        for (a, b) in expected.iter().zip(&loaded.forward(image.clone()).maps) {
            assert_eq!(values(a), values(b), "{config}");
        }
    }
}

#[test]
fn optimizing_keeps_the_function() {
    let device = Device::flex();
    let image = Tensor::<4>::random([1, 3, 50, 40], Distribution::Default, &device);
    for config in tiny() {
        let encoder = config.init(&device);
        let expected = encoder.forward(image.clone()).maps;
        let maps = encoder.optimize().optimize().forward(image.clone()).maps;
        for (a, b) in expected.iter().zip(&maps) {
            let scale = largest(a.clone()).max(1e-3);
            let difference = largest(a.clone() - b.clone());
            assert!(difference <= 1e-4 * scale, "{config}: {difference} of {scale}");
        }
    }
}
