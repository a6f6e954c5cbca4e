//! What every row of the encoder and the decoder table must fulfil; `seeds.rs` belongs to it.

#![allow(clippy::unwrap_used)] // helpers of tests

use std::collections::{BTreeMap, BTreeSet};

use burn::module::{Module, ModuleVisitor, Param};
use burn::prelude::*;
use burn::tensor::{Distribution, Gradients};
use kshot::decoder::{DecoderConfig, Segmenter};
use kshot::encoder::{Encode, EncoderConfig};
use kshot::method::few_shot::{Effort, HeadConfig};
use serde::{Deserialize, Serialize};

/// Sizes that are multiples of every stride, odd ones, and ones smaller than the strides.
const SIZES: [[usize; 2]; 4] = [[64, 64], [65, 97], [33, 50], [71, 1]];

/// Each family's smallest preset.
fn tiny() -> Vec<EncoderConfig> {
    EncoderConfig::all().into_iter().filter(|config| config.name().ends_with("-tiny")).collect()
}

/// Settings that families have of their own.
const OWN_SETTINGS: [&str; 7] = [
    "{ name = \"vit-test-tiny\", positions = \"sinusoidal-1d\" }",
    "{ name = \"vit-test-tiny\", positions = \"sinusoidal-2d\", registers = 3 }",
    "{ name = \"vit-test-tiny\", positions = \"rotary\", layer_scale = 0.1 }",
    "{ name = \"vit-test-tiny\", in_channels = 2, pool = \"mean\", positions = \"none\" }",
    "{ name = \"dinov2-test-tiny\", class_position = true }",
    "{ name = \"dinov3-test-tiny\", pool = \"mean\" }",
    "{ name = \"dinov3-test-tiny\", qkv_bias = true }",
];

/// These, dilated, for other numbers of channels, and with their own settings too.
fn with_options() -> Vec<EncoderConfig> {
    let mut all = Vec::new();
    for config in tiny() {
        all.push(config);
        for output_stride in config.describe().output_strides {
            all.push(config.with_output_stride(output_stride).unwrap());
        }
        for in_channels in [1, 5] {
            all.push(config.with_in_channels(in_channels).unwrap());
        }
    }
    all.extend(OWN_SETTINGS.map(|text| text.parse::<EncoderConfig>().unwrap()));
    all.dedup();
    all
}

/// Every decoder on every one of the encoders that it fits.
fn pairs(encoders: Vec<EncoderConfig>) -> Vec<(EncoderConfig, DecoderConfig)> {
    let decoders = DecoderConfig::all();
    let on = |encoder| decoders.iter().map(move |decoder| (encoder, decoder.clone()));
    encoders.into_iter().flat_map(on).filter(|pair| misfit(pair).is_none()).collect()
}

/// Every decoder on every family that it fits.
fn segmenters() -> Vec<(EncoderConfig, DecoderConfig)> {
    pairs(tiny())
}

/// Why a decoder does not fit an encoder.
fn misfit((encoder, decoder): &(EncoderConfig, DecoderConfig)) -> Option<String> {
    let made = decoder.init(&encoder.channels(), &encoder.strides(), 3, &Device::flex());
    made.err().map(|error| error.to_string())
}

fn segmenter((encoder, decoder): &(EncoderConfig, DecoderConfig), device: &Device) -> Segmenter {
    Segmenter::new(encoder.init(device), decoder, 3, device).unwrap()
}

fn values<const D: usize>(tensor: &Tensor<D>) -> Vec<f32> {
    tensor.to_data().try_to_vec::<f32>().unwrap()
}

fn largest<const D: usize>(tensor: Tensor<D>) -> f32 {
    values(&tensor.abs().max())[0]
}

fn random(shape: [usize; 4], device: &Device) -> Tensor<4> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), device)
}

/// Weighted at random: the plain sum of a normalised map depends on its shift only.
fn weighted_sum(map: Tensor<4>) -> Tensor<1> {
    let weights = random(map.dims(), &map.device());
    (map * weights).sum()
}

/// Whether a path is that of a running statistic, which nobody trains.
fn is_statistic(path: &[String]) -> bool {
    path.last().is_some_and(|name| name == "mean" || name == "variance")
}

/// Whether a network has batch normalisation.
fn has_statistics<M: Module>(module: &M) -> bool {
    #[derive(Default)]
    struct Find(bool, Vec<String>);
    impl ModuleVisitor for Find {
        fn enter_module(&mut self, name: &str, _container: &str) {
            self.1.push(name.to_owned());
        }
        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.1.pop();
        }
        fn visit_float<const D: usize>(&mut self, _: &Param<Tensor<D>>) {
            self.0 |= is_statistic(&self.1);
        }
    }
    let mut find = Find::default();
    module.visit(&mut find);
    find.0
}

/// The parameters whose gradient is missing, zero or not finite.
fn without_gradient<M: Module>(module: &M, gradients: &Gradients) -> Vec<String> {
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
            if is_statistic(&self.path) {
                return;
            }
            let size = param.val().grad(self.gradients).map(largest);
            if !size.is_some_and(|size| size.is_finite() && size > 0.0) {
                self.faults.push(format!("{}: {size:?}", self.path.join(".")));
            }
        }
    }
    let mut check = Check { gradients, faults: Vec::new(), path: Vec::new() };
    module.visit(&mut check);
    check.faults
}

#[test]
fn every_encoder_is_described() {
    let mut families = BTreeMap::<&str, bool>::new();
    let mut names = BTreeSet::new();
    for config in EncoderConfig::all() {
        let about = config.describe();
        assert!(names.insert(about.name), "{} is there twice", about.name);
        assert!(about.url.starts_with("https://"), "{}: no link", about.name);
        assert!(!about.note.is_empty() && about.year > 2010, "{}", about.name);
        assert_eq!(about.channels.len(), about.strides.len(), "{}", about.name);
        assert!(about.output_strides.contains(&config.output_stride()), "{}", about.name);
        *families.entry(about.family).or_default() |= about.name.ends_with("-tiny");
    }
    for (family, has_tiny) in families {
        assert!(has_tiny, "{family} has no tiny preset");
    }
}

#[test]
fn every_decoder_is_described() {
    let (rows, all) = (DecoderConfig::rows(), DecoderConfig::all());
    assert_eq!(rows.len(), all.len());
    let mut names = BTreeSet::new();
    for (row, config) in rows.iter().zip(&all) {
        assert_eq!(row.name, config.name());
        assert!(names.insert(config.name()), "{} is there twice", config.name());
        assert!(!row.summary.is_empty(), "{}", row.name);
        assert!(row.source.as_ref().unwrap().starts_with("https://"), "{}: no link", row.name);
    }
}

#[test]
fn every_encoder_builds_with_the_stated_number_of_parameters() {
    /// Burn counts running statistics among the parameters.
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
            if !is_statistic(&self.1) {
                self.0 += param.lazy_shape().num_elements();
            }
        }
    }
    let mut wrong = Vec::new();
    for config in EncoderConfig::all() {
        let encoder = config.init(&Device::flex());
        assert_eq!(encoder.in_channels(), config.in_channels(), "{config}");
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
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Recipe<T> {
        part: T,
    }
    fn back<T: Serialize + for<'de> Deserialize<'de>>(part: T) -> (String, T) {
        let text = toml::to_string(&Recipe { part }).unwrap();
        let back = toml::from_str::<Recipe<T>>(&text).unwrap();
        (text, back.part)
    }
    for config in EncoderConfig::all() {
        assert_eq!(config.name().parse::<EncoderConfig>().unwrap(), config);
        let (text, again) = back(config);
        assert_eq!(text, format!("part = \"{config}\"\n"));
        assert_eq!(again, config);
    }
    for config in with_options() {
        assert_eq!(config.to_string().parse::<EncoderConfig>().unwrap(), config);
        assert_eq!(back(config).1, config);
    }
    for config in DecoderConfig::all() {
        assert_eq!(config.name().parse::<DecoderConfig>().unwrap(), config);
        let (text, again) = back(config.clone());
        assert_eq!(text, format!("part = \"{}\"\n", config.name()));
        assert_eq!(again, config);
    }
    let wide = "part = { name = \"unet\", width = 48 }";
    let wide = toml::from_str::<Recipe<DecoderConfig>>(wide).unwrap().part;
    assert_ne!(wide, DecoderConfig::default());
    assert_eq!(back(wide.clone()).1, wide);
    let error = toml::from_str::<Recipe<EncoderConfig>>("part = \"net\"").unwrap_err().to_string();
    assert!(error.contains("unknown encoder `net`"), "{error}");
}

#[test]
fn maps_are_as_documented_on_odd_sizes() {
    let device = Device::flex();
    for config in with_options() {
        let encoder = config.init(&device);
        for [height, width] in SIZES {
            let images = Tensor::zeros([2, config.in_channels(), height, width], &device);
            let features = encoder.forward(images);
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
fn logits_are_as_large_as_the_pictures() {
    let device = Device::flex();
    for pair in pairs(with_options()) {
        let network = segmenter(&pair, &device);
        let (config, name) = (pair.0, pair.1.name());
        for [height, width] in SIZES {
            let images = Tensor::zeros([2, config.in_channels(), height, width], &device);
            let logits = network.forward(images);
            assert_eq!(logits.dims(), [2, 3, height, width], "{name} on {config}");
        }
    }
    let error = Segmenter::new(tiny()[0].init(&device), &DecoderConfig::default(), 0, &device);
    assert!(error.unwrap_err().to_string().contains("0 classes"));
}

/// A pair that does not fit is refused with the strides or the maps at fault; every encoder and every decoder has a
/// partner.
#[test]
fn what_does_not_fit_is_refused_with_the_reason() {
    let (mut encoders, mut decoders) =
        (BTreeMap::<&str, bool>::new(), BTreeMap::<&str, bool>::new());
    for encoder in tiny() {
        for decoder in DecoderConfig::all() {
            let misfit = misfit(&(encoder, decoder.clone()));
            if let Some(reason) = &misfit {
                let told = reason.contains("stride") || reason.contains("maps");
                assert!(told, "{} on {encoder}: {reason}", decoder.name());
            }
            *encoders.entry(encoder.name()).or_default() |= misfit.is_none();
            *decoders.entry(decoder.name()).or_default() |= misfit.is_none();
        }
    }
    for (name, fits) in encoders.into_iter().chain(decoders) {
        assert!(fits, "{name} has no partner");
    }
}

/// What is at fault with every one of some random networks: in a single one a few ReLUs may pass nothing by chance.
fn at_fault_always(draw: impl Fn() -> Vec<String>) -> Vec<String> {
    let name = |fault: &String| fault.split(':').next().unwrap_or_default().to_owned();
    let mut faults = draw();
    for _ in 0..4 {
        if faults.is_empty() {
            break;
        }
        let again: BTreeSet<String> = draw().iter().map(name).collect();
        faults.retain(|fault| again.contains(&name(fault)));
    }
    faults
}

#[test]
fn every_parameter_gets_a_finite_gradient_that_is_not_zero() {
    let device = Device::flex().autodiff();
    device.seed(5);
    for config in with_options() {
        for frozen in [false, true] {
            let faults = at_fault_always(|| {
                let encoder = config.init(&device);
                let encoder = if frozen { encoder.freeze_norm() } else { encoder };
                let maps = encoder.forward(random([2, config.in_channels(), 64, 64], &device)).maps;
                let loss = maps.into_iter().map(weighted_sum).reduce(|a, b| a + b).unwrap();
                without_gradient(&encoder, &loss.backward())
            });
            assert!(faults.is_empty(), "{config}, frozen {frozen}: {faults:#?}");
        }
    }
    for config in segmenters() {
        let faults = at_fault_always(|| {
            let network = segmenter(&config, &device);
            let outcome = network.train_forward(random([2, 3, 65, 50], &device));
            let auxiliary = outcome.auxiliary.into_iter().map(|head| {
                assert!(head.weight > 0.0 && head.logits.dims()[..2] == [2, 3]);
                weighted_sum(head.logits)
            });
            let loss = auxiliary.fold(weighted_sum(outcome.logits), |sum, one| sum + one);
            without_gradient(&network.decoder, &loss.backward())
        });
        assert!(faults.is_empty(), "{} on {}: {faults:#?}", config.1.name(), config.0);
    }
}

#[test]
fn saved_and_loaded_is_identical() {
    let device = Device::flex();
    let folder = tempfile::tempdir().unwrap();
    let image = Tensor::<4>::random([1, 3, 40, 40], Distribution::Default, &device);
    for config in tiny() {
        // Trained a little, so that running statistics differ from their start.
        let first = config.init(&device.clone().autodiff());
        first.forward(random([2, 3, 40, 40], &device.clone().autodiff()));
        let first = first.valid();
        let expected = first.forward(image.clone()).maps;
        let path = folder.path().join(config.name());
        first.clone().save_file(&path).unwrap();
        let loaded = config.init(&device).try_load_file(&path).unwrap();
        for (a, b) in expected.iter().zip(&loaded.forward(image.clone()).maps) {
            assert!(values(a) == values(b), "{config}");
        }
    }
    for config in segmenters() {
        let path = folder.path().join(format!("{}-{}", config.0, config.1.name()));
        let first = segmenter(&config, &device.clone().autodiff());
        first.forward(random([2, 3, 40, 40], &device.clone().autodiff()));
        let first = first.valid();
        first.clone().save_file(&path).unwrap();
        let loaded = segmenter(&config, &device).try_load_file(&path).unwrap();
        let [a, b] = [&first, &loaded].map(|network| values(&network.forward(image.clone())));
        assert!(a == b, "{} on {}", config.1.name(), config.0);
    }
}

#[test]
fn optimizing_keeps_the_function() {
    let device = Device::flex();
    let image = Tensor::<4>::random([1, 3, 50, 40], Distribution::Default, &device);
    let close = |a: Tensor<4>, b: Tensor<4>, what: &str| {
        let scale = largest(a.clone()).max(1e-3);
        let difference = largest(a - b);
        assert!(difference <= 1e-4 * scale, "{what}: {difference} of {scale}");
    };
    for config in tiny() {
        let encoder = config.init(&device);
        let expected = encoder.forward(image.clone()).maps;
        let maps = encoder.optimize().optimize().forward(image.clone()).maps;
        for (a, b) in expected.into_iter().zip(maps) {
            close(a, b, config.name());
        }
    }
    for config in segmenters() {
        let network = segmenter(&config, &device);
        let expected = network.forward(image.clone());
        let logits = network.optimize().optimize().forward(image.clone());
        close(expected, logits, &format!("{} on {}", config.1.name(), config.0));
    }
}

#[test]
fn frozen_statistics_stay_and_others_move() {
    let device = Device::flex().autodiff();
    for config in tiny() {
        for frozen in [false, true] {
            let encoder = config.init(&device);
            let encoder = if frozen { encoder.freeze_norm() } else { encoder };
            let images = random([2, 3, 32, 32], &device);
            let before = encoder.valid().forward(images.clone().inner()).last();
            let trained = encoder.forward(images.clone()).last().inner();
            let after = encoder.valid().forward(images.inner()).last();
            let moved = largest(after.clone() - before) > 0.0;
            assert_eq!(moved, has_statistics(&encoder) && !frozen, "{config}, frozen {frozen}");
            if frozen {
                let apart = largest(trained - after.clone());
                assert!(apart <= 1e-4 * largest(after), "{config}: {apart}");
            }
        }
    }
}

#[test]
fn every_head_is_named_and_its_settings_go_through_toml() {
    for row in HeadConfig::rows() {
        let head: HeadConfig = row.name.parse().unwrap();
        assert_eq!(head.name(), row.name);
        let again: HeadConfig = toml::from_str(&toml::to_string(&head).unwrap()).unwrap();
        assert_eq!(again, head, "{}", row.name);
        assert!(!head.candidates(Effort::Best).is_empty(), "{}", row.name);
    }
}
