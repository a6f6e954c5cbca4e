//! Optimisers and schedules against PyTorch (`golden/make_optimizers.py` made the numbers) and against
//! burn's schedulers, and resuming from records.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::Path;

use burn::lr_scheduler::LrSchedulerRecord;
use burn::lr_scheduler::linear::LinearLrSchedulerConfig;
use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::lr_scheduler::step::StepLrSchedulerConfig;
use burn::module::{Module, Param};
use burn::optim::{GradientsParams, OptimizerRecord};
use burn::prelude::*;
use burn::tensor::TensorData;
use kshot::recipe::optimizer::{self, OptimizerConfig};
use kshot::recipe::schedule::{self, Decay, LinearSchedule, ScheduleConfig, StepSchedule};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct Golden {
    start: Vec<f32>,
    gradients: Vec<Vec<f32>>,
    optimizers: BTreeMap<String, Vec<Vec<f32>>>,
    base: f64,
    schedules: BTreeMap<String, Vec<f64>>,
}

fn golden() -> Golden {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/optimizers.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[derive(Default)]
struct Train {
    optimizer: OptimizerConfig,
    schedule: ScheduleConfig,
}

fn optimizer_of(value: &str) -> OptimizerConfig {
    toml::from_str::<Train>(&format!("optimizer = {value}")).unwrap().optimizer
}

fn schedule_of(value: &str) -> ScheduleConfig {
    toml::from_str::<Train>(&format!("schedule = {value}")).unwrap().schedule
}

#[derive(Module, Debug)]
struct Parameters {
    values: Param<Tensor<1>>,
}

fn tensor(values: &[f32]) -> Tensor<1> {
    Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), &Device::flex().autodiff())
}

fn gradients(model: &Parameters, gradient: &[f32]) -> GradientsParams {
    let loss = (model.values.val() * tensor(gradient)).sum();
    GradientsParams::from_grads(loss.backward(), model)
}

fn values(model: &Parameters) -> Vec<f32> {
    model.values.val().inner().into_data().try_into_vec().unwrap()
}

#[test]
fn five_steps_of_every_optimizer_agree_with_pytorch() {
    let golden = golden();
    let mut wrong = Vec::new();
    for (text, expected) in &golden.optimizers {
        let config = optimizer_of(text);
        config.check().unwrap();
        let mut model = Parameters { values: Param::from_tensor(tensor(&golden.start)) };
        let mut optimizer = config.init();
        for (step, (gradient, expected)) in golden.gradients.iter().zip(expected).enumerate() {
            if step == 3 {
                // What a checkpoint keeps is all there is.
                let bytes = optimizer.to_record().into_bytes().unwrap();
                let record = OptimizerRecord::from_bytes(bytes).unwrap();
                optimizer = config.init().load_record(record);
            }
            let found = gradients(&model, gradient);
            model = optimizer.step(0.1, model, found);
            let ours = values(&model);
            let near = ours.iter().zip(expected).all(|(a, b)| (a - b).abs() < 2e-6);
            if !near {
                wrong.push(format!("{text}, step {step}: {ours:?} for {expected:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_schedule_agrees_with_pytorch() {
    let golden = golden();
    let mut wrong = Vec::new();
    for (text, expected) in &golden.schedules {
        let schedule = schedule_of(text);
        for (step, expected) in expected.iter().enumerate() {
            let rate = schedule.rate(golden.base, step, expected_steps(&golden));
            if rate.is_nan() || (rate - expected).abs() > 1e-12 {
                wrong.push(format!("{text}, step {step}: {rate} for {expected}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn expected_steps(golden: &Golden) -> usize {
    golden.schedules.values().next().unwrap().len()
}

fn next(scheduler: &mut ModuleLrScheduler) -> f64 {
    scheduler.step().base()
}

#[test]
fn burns_linear_and_step_schedulers_are_given_to_the_bit() {
    for (base, steps) in [(1e-3, 40_usize), (0.1, 7), (3e-4, 1000)] {
        let linear = ScheduleConfig::from(Decay::Linear(LinearSchedule { minimum: 1e-6 }));
        let mut theirs = LinearLrSchedulerConfig::new(base, base * 1e-6, steps).init().unwrap();
        let mut ours = linear.init(base, steps).unwrap();
        let halve = ScheduleConfig::from(Decay::Step(StepSchedule { every: 3, gamma: 0.5 }));
        let mut their_step = StepLrSchedulerConfig::new(base, 3).with_gamma(0.5).init().unwrap();
        let mut our_step = halve.init(base, steps).unwrap();
        for step in 0..steps + 5 {
            let (a, b) = (next(&mut theirs), next(&mut ours));
            assert_eq!(a.to_bits(), b.to_bits(), "linear, step {step} of {steps}: {a} {b}");
            assert_eq!(next(&mut their_step).to_bits(), next(&mut our_step).to_bits());
        }
    }
}

#[test]
fn a_record_resumes_every_schedule_exactly() {
    for schedule in ScheduleConfig::all() {
        let schedule = ScheduleConfig { warmup: 4, ..schedule };
        let mut whole = schedule.init(0.3, 30).unwrap();
        let expected: Vec<f64> = (0..30).map(|_| next(&mut whole)).collect();
        for stop in [0, 2, 4, 17, 29] {
            let mut first = schedule.init(0.3, 30).unwrap();
            (0..stop).for_each(|_| drop(first.step()));
            let record = LrSchedulerRecord::from_bytes(first.to_record().into_bytes().unwrap());
            let mut second = schedule.init(0.3, 30).unwrap().load_record(record.unwrap());
            let rest: Vec<f64> = (stop..30).map(|_| next(&mut second)).collect();
            assert_eq!(rest, expected[stop..], "{} at {stop}", schedule.name());
        }
        let pure: Vec<f64> = (0..30).map(|step| schedule.rate(0.3, step, 30)).collect();
        assert_eq!(pure, expected);
        assert!(expected.iter().all(|rate| *rate > 0.0 && *rate <= 0.3));
    }
}

#[test]
fn every_optimizer_and_schedule_survives_a_recipe() {
    for (optimizer, row) in OptimizerConfig::all().into_iter().zip(optimizer::rows()) {
        assert_eq!(optimizer.name(), row.name);
        optimizer.check().unwrap();
        assert_eq!(optimizer_of(&format!("'{}'", row.name)), optimizer);
        assert_eq!(optimizer_of(&format!("{{ name = '{}' }}", row.name)), optimizer);
        let train = Train { optimizer, ..Train::default() };
        let text = toml::to_string(&train).unwrap();
        assert_eq!(toml::from_str::<Train>(&text).unwrap(), train, "{text}");
    }
    for (schedule, row) in ScheduleConfig::all().into_iter().zip(schedule::rows()) {
        assert_eq!(schedule.name(), row.name);
        schedule.check(100).unwrap();
        assert_eq!(schedule_of(&format!("'{}'", row.name)), schedule);
        let schedule = ScheduleConfig { warmup: 10, ..schedule };
        assert_eq!(schedule_of(&format!("{{ name = '{}', warmup = 10 }}", row.name)), schedule);
        let train = Train { schedule, ..Train::default() };
        let text = toml::to_string(&train).unwrap();
        assert_eq!(toml::from_str::<Train>(&text).unwrap(), train, "{text}");
    }
}

#[test]
fn wrong_settings_are_refused() {
    for text in [
        "optimizer = 'addam'",
        "optimizer = { name = 'adam', momentum = 0.9 }",
        "optimizer = { momentum = 0.9 }",
        "optimizer = 3",
        "schedule = 'polly'",
        "schedule = { name = 'constant', power = 1.0 }",
        "schedule = { name = 'poly', warm_up = 10 }",
    ] {
        let error = toml::from_str::<Train>(text).unwrap_err().to_string();
        println!("{error}");
    }
    let error = toml::from_str::<Train>("optimizer = 'addam'").unwrap_err();
    assert!(error.message().starts_with("unknown variant `addam`, expected one of `sgd`, `adam`"));
    for (text, says) in [
        ("{ name = 'sgd', momentum = 1.0 }", "momentum 1"),
        ("{ name = 'sgd', nesterov = true }", "nesterov"),
        ("{ name = 'adam', beta2 = -0.1 }", "beta2"),
        ("{ name = 'adam', epsilon = 0.0 }", "epsilon"),
        ("{ name = 'adamw', weight_decay = -1.0 }", "weight_decay"),
    ] {
        let error = optimizer_of(text).check().unwrap_err().to_string();
        assert!(error.contains("train.optimizer") && error.contains(says), "{error}");
    }
    for (text, says) in [
        ("{ name = 'constant', warmup = 101 }", "warmup"),
        ("{ name = 'step', every = 0 }", "every"),
        ("{ name = 'step', gamma = 0.0 }", "gamma"),
        ("{ name = 'poly', power = -1.0 }", "power"),
        ("{ name = 'cosine', minimum = 2.0 }", "minimum"),
        ("{ name = 'linear', minimum = nan }", "minimum"),
    ] {
        let error = schedule_of(text).check(100).unwrap_err().to_string();
        assert!(error.contains("train.schedule") && error.contains(says), "{error}");
        assert!(schedule_of(text).init(0.1, 100).is_err());
    }
}
