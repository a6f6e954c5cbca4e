//! Losses: how far logits are from labels, as one number that training lowers.
//!
//! # Contract
//! [`Criterion::forward`] takes logits `[batch, classes, height, width]` (scores before the softmax; a
//! label of a whole picture is `height = width = 1`) and targets `[batch, height, width]`, class
//! numbers from 0. Pixels whose target is no class's number do not count, neither in the value nor in
//! the gradient: [`IGNORE_INDEX`] (void), and 254 (unlabelled) alike. The result is `[1]`, on the
//! device of the logits; on an autodiff device it can be differentiated. Where no pixel counts, the
//! loss and its gradient are 0, not NaN, so that a batch of void crops does no harm.
//!
//! # Adding one
//! One file with a configuration that implements [`Criterion`], and one line in the table at the end
//! of this file. Recipes, `kshot list` and the registry-wide tests read the table.

use burn::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::names::Row;

pub mod boundary;
pub mod cross_entropy;
pub mod dice;
pub mod focal;
pub mod jaccard;
pub mod lovasz;
pub mod ohem;
mod overlap;
pub mod tversky;
pub mod weights;

pub use overlap::Per;
use weights::{Balance, ClassWeights};

/// The target of pixels that do not count, as in VOC and in PyTorch's `ignore_index`.
pub const IGNORE_INDEX: u8 = kshot_data::mask::VOID;

/// The recipe key that errors name.
const KEY: &str = "loss.terms";

/// What a loss provides to the table.
pub trait Criterion: Default {
    /// The name in recipes.
    const NAME: &'static str;
    /// One line on what it is.
    const SUMMARY: &'static str;
    /// The address of the paper or of the definition.
    const SOURCE: &'static str;

    /// Checks the settings for a number of classes.
    ///
    /// # Errors
    /// If one is out of range; the key `loss.terms` is named.
    fn check(&self, classes: usize) -> Result<()>;

    /// The weights of classes among its settings, if it has some: what [`LossConfig::resolved`] makes
    /// numbers of.
    fn class_weights(&mut self) -> Option<&mut ClassWeights> {
        None
    }

    /// The loss.
    ///
    /// # Shapes
    /// - `logits`: `[batch, classes, height, width]`
    /// - `targets`: `[batch, height, width]`, class numbers; others do not count
    /// - result: `[1]`
    fn forward(&self, logits: Tensor<4>, targets: Tensor<3, Int>) -> Tensor<1>;
}

/// Makes the enum of all losses from the table at the end of this file.
macro_rules! losses {
    ($($variant:ident($config:path) = $name:literal;)+) => {
        /// Any of the built-in losses, by its name in recipes.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(tag = "name")]
        pub enum Loss {
            $(
                #[doc = concat!("[`", stringify!($config), "`]")]
                #[serde(rename = $name)]
                $variant($config),
            )+
        }

        impl Loss {
            /// Every loss with its defaults, in the order of the table.
            pub fn all() -> Vec<Self> {
                vec![$(Self::$variant(<$config>::default()),)+]
            }

            /// The name in recipes.
            pub fn name(&self) -> &'static str {
                match self { $(Self::$variant(_) => <$config>::NAME,)+ }
            }

            /// Checks the settings for a number of classes.
            ///
            /// # Errors
            /// If one is out of range; the key `loss.terms` is named.
            pub fn check(&self, classes: usize) -> Result<()> {
                match self { $(Self::$variant(config) => config.check(classes),)+ }
            }

            /// The weights of classes among its settings, if it has some.
            pub fn class_weights(&mut self) -> Option<&mut ClassWeights> {
                match self { $(Self::$variant(config) => config.class_weights(),)+ }
            }

            /// The loss; see the module's contract.
            ///
            /// # Shapes
            /// - `logits`: `[batch, classes, height, width]`
            /// - `targets`: `[batch, height, width]`, class numbers; others do not count
            /// - result: `[1]`
            pub fn forward(&self, logits: Tensor<4>, targets: Tensor<3, Int>) -> Tensor<1> {
                match self { $(Self::$variant(config) => config.forward(logits, targets),)+ }
            }
        }

        /// The table, for people.
        pub fn rows() -> Vec<Row> {
            vec![$(Row {
                name: <$config>::NAME.to_owned(),
                summary: <$config>::SUMMARY.to_owned(),
                source: Some(<$config>::SOURCE.to_owned()),
            },)+]
        }
    };
}

/// A loss and its share in the sum.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Term {
    /// Which, with its own keys.
    #[serde(flatten)]
    pub loss: Loss,
    /// By what it is multiplied, 0 or more.
    #[serde(default = "one")]
    #[schemars(range(min = 0.0, max = 1e6))]
    pub weight: f64,
}

fn one() -> f64 {
    1.0
}

/// The `[loss]` of a recipe: a weighted sum of losses; cross entropy alone by default.
///
/// ```
/// let text = r#"terms = [{ name = "cross-entropy" }, { name = "dice", weight = 0.5 }]"#;
/// let loss: kshot::loss::LossConfig = toml::from_str(text).unwrap();
/// assert_eq!(loss.terms[1].weight, 0.5);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LossConfig {
    /// What is added up.
    #[schemars(length(min = 1, max = 100))]
    pub terms: Vec<Term>,
}

/// What a rule for class weights gave.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ResolvedWeights {
    /// The loss whose weights they are.
    pub loss: &'static str,
    /// The rule.
    pub rule: Balance,
    /// By class, background first; 0 for classes without a pixel.
    pub weights: Vec<f64>,
}

impl Default for LossConfig {
    fn default() -> Self {
        let loss = Loss::CrossEntropy(cross_entropy::CrossEntropy::default());
        Self { terms: vec![Term { loss, weight: 1.0 }] }
    }
}

impl LossConfig {
    /// Checks the settings for a number of classes.
    ///
    /// # Errors
    /// If there is no term, or a setting is out of range; the key `loss.terms` is named.
    pub fn check(&self, classes: usize) -> Result<()> {
        if classes < 2 {
            let message = format!("{classes} classes; a loss tells at least 2 apart");
            return Err(Error::config(message).at_key(KEY));
        }
        for Term { loss, weight } in &self.terms {
            if !(weight.is_finite() && *weight >= 0.0) {
                let message =
                    format!("`{}` has weight {weight}; valid are 0 and more", loss.name());
                return Err(Error::config(message).at_key(KEY));
            }
            loss.check(classes)?;
        }
        if !self.terms.iter().any(|term| term.weight > 0.0) {
            let message = "no term with a weight above 0; leave `terms` out for cross entropy";
            return Err(Error::config(message).at_key(KEY));
        }
        Ok(())
    }

    /// Whether class weights are left to a rule that needs the training pictures.
    pub fn needs_frequencies(&self) -> bool {
        !self.clone().rules().is_empty()
    }

    /// The terms whose class weights are a rule: name of the loss, and its weights.
    fn rules(&mut self) -> Vec<(&'static str, Balance, &mut ClassWeights)> {
        let mut rules = Vec::new();
        for term in &mut self.terms {
            let name = term.loss.name();
            if let Some(weights) = term.loss.class_weights()
                && let ClassWeights::By(rule) = *weights
            {
                rules.push((name, rule, weights));
            }
        }
        rules
    }

    /// The same with numbers in place of rules, by how many pixels of each training picture hold each mask
    /// value; and what the rules gave, in the order of the terms.
    ///
    /// # Errors
    /// If no pixel is of any of the classes, the first of which is 0.
    pub fn resolved(
        &self,
        counts: &[[usize; 256]],
        classes: usize,
    ) -> Result<(Self, Vec<ResolvedWeights>)> {
        let mut loss = self.clone();
        let mut told = Vec::new();
        for (name, rule, weights) in loss.rules() {
            let numbers = rule.weights(counts, classes)?;
            *weights = ClassWeights::Each(numbers.clone());
            told.push(ResolvedWeights { loss: name, rule, weights: numbers });
        }
        Ok((loss, told))
    }

    /// The weighted sum; terms of weight 0 are not computed.
    ///
    /// # Shapes
    /// - `logits`: `[batch, classes, height, width]`
    /// - `targets`: `[batch, height, width]`, class numbers; others do not count
    /// - result: `[1]`
    pub fn forward(&self, logits: Tensor<4>, targets: Tensor<3, Int>) -> Tensor<1> {
        let counted = self.terms.iter().filter(|term| term.weight != 0.0);
        let values = counted.map(|Term { loss, weight }| {
            let value = loss.forward(logits.clone(), targets.clone());
            // The plain case adds no operation.
            if *weight == 1.0 { value } else { value * *weight }
        });
        let sum = values.reduce(|sum, value| sum + value);
        sum.unwrap_or_else(|| Tensor::zeros([1], &logits.device()))
    }
}

// The table: one line per loss.
losses! {
    CrossEntropy(cross_entropy::CrossEntropy) = "cross-entropy";
    Dice(dice::Dice) = "dice";
    Jaccard(jaccard::Jaccard) = "jaccard";
    Tversky(tversky::Tversky) = "tversky";
    Focal(focal::Focal) = "focal";
    Lovasz(lovasz::Lovasz) = "lovasz";
    Ohem(ohem::Ohem) = "ohem";
    Boundary(boundary::Boundary) = "boundary";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_agree_with_the_table() {
        for loss in Loss::all() {
            let text = toml::to_string(&loss).unwrap();
            assert!(text.contains(&format!("name = \"{}\"", loss.name())), "{text}");
        }
    }

    #[test]
    fn the_default_is_cross_entropy_and_wrong_terms_are_refused_by_key() {
        let loss: LossConfig = toml::from_str("").unwrap();
        assert_eq!(loss, LossConfig::default());
        loss.check(5).unwrap();
        for (text, says) in [
            ("terms = []", "no term"),
            ("terms = [{ name = \"dice\", weight = -1.0 }]", "weight -1"),
            ("terms = [{ name = \"cross-entropy\", weights = [1.0, 2.0] }]", "2 weights"),
            ("terms = [{ name = \"cross-entropy\", label_smoothing = 1.0 }]", "label_smoothing"),
            ("terms = [{ name = \"dice\", smooth = -1.0 }]", "smooth"),
            ("terms = [{ name = \"jaccard\", smooth = -1.0 }]", "smooth"),
            ("terms = [{ name = \"tversky\", alpha = 0.0, beta = 0.0 }]", "not both 0"),
            ("terms = [{ name = \"tversky\", gamma = 0.5 }]", "gamma"),
            ("terms = [{ name = \"focal\", gamma = -1.0 }]", "gamma"),
            ("terms = [{ name = \"focal\", weights = [1.0] }]", "1 weights"),
            ("terms = [{ name = \"ohem\", threshold = 0.0 }]", "threshold"),
            ("terms = [{ name = \"ohem\", least = 1.5 }]", "least"),
        ] {
            let error = toml::from_str::<LossConfig>(text).unwrap().check(3).unwrap_err();
            let error = error.to_string();
            assert!(error.contains("loss.terms") && error.contains(says), "{error}");
        }
        for text in [
            "terms = [{ name = \"dice\", wheight = 1.0 }]",
            "terms = [{ name = \"dise\" }]",
            "terms = [{ name = \"cross-entropy\", weights = \"median\" }]",
        ] {
            assert!(toml::from_str::<LossConfig>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn rules_for_class_weights_become_numbers() {
        let text = "terms = [{ name = \"dice\" }, { name = \"ohem\", weights = \"inverse\" }, \
                    { name = \"focal\", weights = [1, 2] }, { name = \"cross-entropy\", weights = \"median-frequency\" }]";
        let config: LossConfig = toml::from_str(text).unwrap();
        config.check(2).unwrap();
        assert!(config.needs_frequencies() && !LossConfig::default().needs_frequencies());
        let mut counts = [[0; 256]; 1];
        (counts[0][0], counts[0][1], counts[0][254]) = (3, 1, 9);
        let (resolved, told) = config.resolved(&counts, 2).unwrap();
        assert!(!resolved.needs_frequencies());
        resolved.check(2).unwrap();
        let names: Vec<_> = told.iter().map(|of| (of.loss, of.rule.name())).collect();
        assert_eq!(names, [("ohem", "inverse"), ("cross-entropy", "median-frequency")]);
        assert_eq!(told[0].weights, [4.0 / 6.0, 2.0]);
        assert_eq!(told[1].weights, [0.5 / 0.75, 2.0]);
        assert_eq!(resolved.terms[2], config.terms[2]);
        // The same once more: they depend on the counts alone.
        assert_eq!(config.resolved(&counts, 2).unwrap().0, resolved);
    }
}
