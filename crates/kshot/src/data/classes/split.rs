//! Classes for training, for choosing and for the final figure.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::data::classes::{ClassSet, ImageClass};
use crate::error::{Error, Result};

/// Which classes.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum ClassPart {
    /// Those that a network is trained on.
    Train,
    /// The validation set: those that settings and checkpoints are chosen by.
    #[default]
    Validation,
    /// Those that are left for the final figure.
    Test,
}

impl ClassPart {
    /// The name in recipes and folders.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
        }
    }
}

/// A data set's classes in three parts without overlap; a part may be empty.
#[derive(Debug, Clone)]
pub struct Splits {
    /// For training.
    pub train: ClassSet,
    /// For choosing.
    pub validation: ClassSet,
    /// For the final figure.
    pub test: ClassSet,
}

impl Splits {
    /// One part.
    ///
    /// # Errors
    /// If it has no class.
    pub fn part(&self, part: ClassPart) -> Result<&ClassSet> {
        let set = match part {
            ClassPart::Train => &self.train,
            ClassPart::Validation => &self.validation,
            ClassPart::Test => &self.test,
        };
        if set.classes.is_empty() {
            let others: Vec<String> = [ClassPart::Train, ClassPart::Validation, ClassPart::Test]
                .into_iter()
                .zip([&self.train, &self.validation, &self.test])
                .filter(|(_, set)| !set.classes.is_empty())
                .map(|(part, set)| format!("{} ({} classes)", part.name(), set.classes.len()))
                .collect();
            return Err(Error::data(format!(
                "the data has no {} classes; there are {}",
                part.name(),
                others.join(", ")
            )));
        }
        Ok(set)
    }

    /// The names of the classes by part, to write down.
    pub fn names(&self) -> serde_json::Value {
        let names = |set: &ClassSet| -> Vec<String> {
            set.classes.iter().map(|class| class.name.clone()).collect()
        };
        serde_json::json!({
            "train": names(&self.train),
            "validation": names(&self.validation),
            "test": names(&self.test),
        })
    }
}

/// Cuts classes at random: `shares` are those of validation and test, 0 to 1.
pub fn at_random(set: &ClassSet, shares: [f64; 2], seed: u64) -> Splits {
    let mut classes = set.classes.clone();
    classes.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    let count = |share: f64| (share * classes.len() as f64).round() as usize;
    let [validation, test] = shares.map(count);
    let test: Vec<ImageClass> = classes.drain(..test.min(classes.len())).collect();
    let validation: Vec<ImageClass> = classes.drain(..validation.min(classes.len())).collect();
    let sorted = |mut classes: Vec<ImageClass>| {
        classes.sort_by(|left, right| left.name.cmp(&right.name));
        set.with(classes)
    };
    Splits { train: sorted(classes), validation: sorted(validation), test: sorted(test) }
}
