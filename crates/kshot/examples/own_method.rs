//! A method of one's own, trained by the library's loop: a convolution that learns to find an edge. Whatever
//! implements `Objective` has checkpoints, exact resume, a curve and the choice of the best validation.
//! `cargo run --release --example own_method [OUT]`.

use std::path::Path;
use std::sync::Arc;

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::optim::GradientsParams;
use burn::prelude::*;
use burn::tensor::TensorData;
use burn::train::Interrupter;
use kshot::contract::{ItemSource, Objective, StepResult};
use kshot::metric::MetricState;
use kshot::nn::Precision;
use kshot::recipe::Training;
use kshot::train::layers::LayerPlan;
use kshot::train::run::{TrainRunOptions, TrainView, train};
use kshot::train::session::Session;
use rand::Rng;

/// A picture and what is to be found in it, `[1, 1, 16, 16]` each.
type Item = (Tensor<4>, Tensor<4>);

/// What is optimised.
#[derive(Module, Debug)]
struct EdgeFinder {
    filter: Conv2d,
}

impl EdgeFinder {
    fn loss(&self, (picture, edges): Item) -> Tensor<1> {
        (self.filter.forward(picture) - edges).square().mean()
    }
}

impl Objective for EdgeFinder {
    type Item = Item;

    fn step(&self, item: Item) -> StepResult {
        let loss = self.loss(item);
        let value = loss.clone().into_scalar::<f32>().into();
        let gradients = GradientsParams::from_grads(loss.backward(), self);
        StepResult {
            loss: value,
            gradients,
            metrics: MetricState::default().with_mean("loss", value, 1.0),
        }
    }

    fn evaluate(&self, item: Item) -> MetricState {
        let value = self.loss(item).into_scalar::<f32>().into();
        MetricState::default().with_mean("loss", value, 1.0)
    }

    fn monitor(&self) -> &'static str {
        "loss"
    }
}

/// Random pictures: an item is a function of its index alone, so that a stopped training goes on exactly.
struct Pictures;

impl ItemSource<Item> for Pictures {
    fn item(&self, index: u64, device: &Device) -> kshot::Result<Item> {
        let mut random = kshot::data::source::generator(1, index, 0);
        let values: Vec<f32> = (0..256).map(|_| random.random()).collect();
        let picture = Tensor::<4>::from_data(TensorData::new(values, [1, 1, 16, 16]), device);
        let edges = picture.clone().narrow(3, 1, 15) - picture.clone().narrow(3, 0, 15);
        Ok((picture, edges))
    }
}

fn main() -> kshot::Result<()> {
    let out = std::env::args().nth(1).unwrap_or_else(|| "out/own_method".to_owned());
    let device = Device::flex();
    device.seed(1);
    let filter = Conv2dConfig::new([1, 1], [1, 2]).init(&device.clone().autodiff());
    let training: Training = toml::from_str(
        r#"
        steps = 200
        validate_every = 50
        seed = 1
        optimizer = "adam"
        learning_rate = 0.05
        "#,
    )
    .map_err(|error| kshot::Error::config(error.to_string()))?;
    let session = Session {
        title: "an edge finder".to_owned(),
        about: "random pictures".to_owned(),
        recipe: "learning_rate = 0.05".to_owned(),
        training,
        objective: EdgeFinder { filter },
        precision: Precision::F32,
        layers: LayerPlan::default(),
        changes: None,
        source: Arc::new(Pictures),
        validation: Arc::new(Pictures),
        validation_items: 5,
        notes: Vec::new(),
        device,
    };
    let view = TrainView::Points(Box::new(|point, validations| {
        println!("validation {} of {validations}: {:?}", point.number, point.validation);
    }));
    let options = TrainRunOptions {
        force: true,
        view,
        at_most: None,
        seconds: None,
        interrupter: Interrupter::new(),
    };
    let trained = train(session, Path::new(&out), options)?;
    println!("best loss {:.5} at step {}", trained.best.monitored("loss"), trained.best.step);
    Ok(())
}
