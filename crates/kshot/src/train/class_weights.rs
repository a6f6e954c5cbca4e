//! Class weights that a rule of `[loss]` leaves to the training pictures, made numbers.
//!
//! They depend on the pictures of `data.train` alone, so that a training that goes on has the same; the run's folder
//! keeps them in `class_weights.json` beside the recipe, which stays as it was written.

use serde_json::json;

use crate::data::Dataset;
use crate::data::dataset::pixel_counts;
use crate::error::Result;
use crate::loss::{LossConfig, ResolvedWeights};

/// The file of a run that holds the numbers.
pub const FILE: &str = "class_weights.json";

/// A loss whose class weights are numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolved {
    /// The loss.
    pub loss: LossConfig,
    /// What was made, for people; empty where nothing was.
    pub about: String,
    /// Name and text of the file for the run's folder, where something was made.
    pub note: Option<(String, String)>,
}

/// Makes numbers of a loss's rules. Masks are read only if there is a rule.
///
/// # Errors
/// If a mask cannot be read, or no pixel is labelled.
pub fn resolve(loss: &LossConfig, train: &dyn Dataset) -> Result<Resolved> {
    if !loss.needs_frequencies() {
        return Ok(Resolved { loss: loss.clone(), about: String::new(), note: None });
    }
    let names: Vec<&str> =
        std::iter::once("background").chain(train.classes().iter().map(String::as_str)).collect();
    let (loss, told) = loss.resolved(&pixel_counts(train)?, names.len())?;
    let about = told.iter().map(|of| format!("; {}", said(of, &names))).collect();
    let terms: Vec<_> = told
        .iter()
        .map(|of| {
            let classes = names.iter().zip(&of.weights);
            let classes: Vec<_> =
                classes.map(|(name, weight)| json!({ "class": name, "weight": weight })).collect();
            json!({ "loss": of.loss, "rule": of.rule, "weights": classes })
        })
        .collect();
    let text = format!("{:#}\n", json!(terms));
    Ok(Resolved { loss, about, note: Some((FILE.to_owned(), text)) })
}

/// The least and the greatest of the weights of classes that occur.
fn said(of: &ResolvedWeights, names: &[&str]) -> String {
    let mut known: Vec<(f64, &str)> = of
        .weights
        .iter()
        .copied()
        .zip(names.iter().copied())
        .filter(|(weight, _)| *weight > 0.0)
        .collect();
    known.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (loss, rule) = (of.loss, of.rule.name());
    match (known.first(), known.last()) {
        (Some((least, low)), Some((most, high))) => {
            format!("class weights of {loss} by {rule}: {least:.3} ({low}) to {most:.3} ({high})")
        }
        _ => format!("class weights of {loss} by {rule}"),
    }
}
