//! Trainings on several devices: each takes a share of every batch, and a step is that of one device which takes the
//! shares one after another.

use burn::prelude::*;
use kshot::recipe::Recipe;
use kshot::train::curve;
use kshot::train::load;
use kshot::train::run::train_on;
use kshot::train::session::{self, AnySession};

use super::support::{
    ALL, Numbers, Place, SCRATCH, SUPERVISED, alone, is_statistic, numbers, quiet, tiny,
};

fn place() -> Place {
    Place::with_squares(4, [32, 32], &[[220, 40, 30]], &["square"])
}

impl Place {
    fn shared(&self, train: &str) -> Recipe {
        let data = format!("{ALL}\ntransforms = [{{ name = \"flip\" }}]");
        let train = format!("seed = 1\noptimizer = \"sgd\"\nlearning_rate = 0.05\n{train}");
        tiny(&self.written("data"), [&data, SCRATCH, SUPERVISED, &train], &[]).unwrap()
    }

    /// Trains on the CPU, which stands for so many devices.
    fn train_on_devices(
        &self,
        out: &str,
        recipe: &Recipe,
        devices: usize,
        at_most: Option<usize>,
    ) -> kshot::Result<()> {
        let AnySession::Supervised(session) = AnySession::new(recipe, &Device::flex())? else {
            panic!("a supervised recipe")
        };
        let others = vec![Device::flex(); devices - 1];
        train_on(*session, &others, &self.at(out), quiet(at_most)).map(drop)
    }

    /// Parameters, without running averages, of the run's last weights.
    fn parameters(&self, out: &str, recipe: &Recipe) -> Numbers {
        let network = session::supervised(recipe, 1, true, &Device::flex()).unwrap();
        let all = numbers(&load::from_run(network, &self.at(out)).unwrap()).into_iter();
        all.filter(|(name, _)| !is_statistic(name)).collect()
    }
}

/// The largest distance of two lists of parameters.
fn apart(a: &Numbers, b: &Numbers) -> f32 {
    assert!(a.keys().eq(b.keys()) && a.len() > 20);
    let pairs = a.values().flatten().zip(b.values().flatten());
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn shares_on_two_devices_are_those_of_one_device_in_turn() {
    let _alone = alone();
    let place = place();
    for more in ["", "clip = { norm = 0.5 }", "ema = 0.5"] {
        let name = |of: &str| format!("{of}{}", more.len());
        let (two, one, none) = (name("two"), name("one"), name("none"));
        let of =
            |keys: &str| place.shared(&format!("steps = 5\nvalidate_every = 5\n{keys}\n{more}"));
        let [shared, in_turn, start] =
            [of("batch = 4"), of("batch = 2\naccumulate = 2"), of("batch = 2")];
        place.train_on_devices(&two, &shared, 2, None).unwrap();
        place.train_on_devices(&one, &in_turn, 1, None).unwrap();
        place.train_on_devices(&none, &start, 1, None).unwrap();
        let [two, one, none] = [(two, &shared), (one, &in_turn), (none, &start)]
            .map(|(out, of)| place.parameters(&out, of));
        let distance = apart(&two, &one);
        assert!(distance < 2e-5, "{more}: {distance}");
        assert!(apart(&two, &none) > 1e-3, "{more}: half the pictures would do");
    }
}

#[test]
fn a_training_on_two_devices_goes_on_where_it_was_stopped() {
    let _alone = alone();
    let place = place();
    let recipe = place.shared("steps = 6\nvalidate_every = 2\nbatch = 2");
    place.train_on_devices("whole", &recipe, 2, None).unwrap();
    place.train_on_devices("parts", &recipe, 2, Some(1)).unwrap();
    place.train_on_devices("parts", &recipe, 2, Some(2)).unwrap();
    let [parts, whole] =
        ["parts", "whole"].map(|out| curve::read(&place.at(out).join("metrics.jsonl")).unwrap());
    assert_eq!((parts.len(), whole.len()), (3, 3));
    for (parts, whole) in parts.iter().zip(&whole) {
        for (name, value) in &whole.validation {
            let other = parts.validation[name];
            assert!((value - other).abs() < 1e-4, "{name}: {value} and {other}");
        }
    }
}

#[test]
fn a_batch_that_cannot_be_shared_is_refused() {
    let _alone = alone();
    let place = place();
    let recipe = place.shared("steps = 2\nvalidate_every = 2\nbatch = 3");
    let error = place.train_on_devices("out", &recipe, 2, None).unwrap_err().to_string();
    for part in ["train.batch", "a batch of 3", "2 equal shares", "2 or 4"] {
        assert!(error.contains(part), "{part}: {error}");
    }
}
