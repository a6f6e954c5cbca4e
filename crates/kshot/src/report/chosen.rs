//! How a run's recipe was chosen: the rules that decided, with their reasons.

use std::path::Path;

use maud::{Markup, html};

use crate::error::{Error, Result};
use crate::names::counted;
use crate::plan::rules::SET;
use crate::plan::{Choice, PLAN, Plan};
use crate::recipe::Recipe;

/// The plan that a run's folder holds; `None` where there is none, or it led to another recipe than `recipe`, the run's.
///
/// # Errors
/// If it is there and cannot be read.
pub fn of_run(run: &Path, recipe: &Recipe) -> Result<Option<Plan>> {
    let file = run.join(PLAN);
    if !file.is_file() {
        return Ok(None);
    }
    let text = std::fs::read_to_string(&file)
        .map_err(|error| Error::io("read the plan of the run", &file, error))?;
    let plan: Plan = serde_json::from_str(&text).map_err(|error| {
        Error::data(format!("not a plan of this version: {error}")).in_file(&file).caused_by(error)
    })?;
    // The command line may ask for another precision.
    let mut planned = plan.recipe.clone();
    planned.model.precision = recipe.model.precision;
    Ok((planned.to_toml()? == recipe.to_toml()?).then_some(plan))
}

/// The section.
pub(super) fn section(plan: &Plan) -> Markup {
    let (told, plain): (Vec<&Choice>, Vec<&Choice>) =
        plan.choices.iter().partition(|choice| !choice.reason.is_empty());
    let of = &plan.findings;
    let [height, width] = of.typical;
    html! {
        section id="chosen" {
            h2 { "How the recipe was chosen" }
            p.lead {
                "From " (counted(of.pictures, "labelled picture", "labelled pictures")) ", typically " (width) " x " (height)
                " pixels" @if of.gray { " without colours" } ", and "
                (counted(of.classes.len(), "class", "classes"))
                @if let Some((name, thickness)) = of.thinnest() {
                    "; the thinnest, " b { (name) } ", is " (format!("{thickness:.0}")) " pixels thick"
                }
                "."
            }
            (table("Rules that decided", &told))
            @if !plain.is_empty() {
                details {
                    summary { "What could hardly be otherwise" }
                    (table("Keys without a rule", &plain))
                }
            }
        }
    }
}

fn table(label: &str, choices: &[&Choice]) -> Markup {
    html! {
        div.panel.scroll tabindex="0" role="region" aria-label=(label) {
            table {
                thead { tr {
                    th scope="col" { "Key" } th scope="col" { "Value" }
                    @if choices.iter().any(|choice| !choice.reason.is_empty()) { th scope="col" { "Because" } }
                } }
                tbody {
                    @for choice in choices {
                        tr {
                            th scope="row" { code { (choice.key) } }
                            td.text { code { (choice.value) } }
                            @if choice.reason == SET { td.text { span.tag { (choice.reason) } } }
                            @else if !choice.reason.is_empty() { td.text { (choice.reason) } }
                        }
                    }
                }
            }
        }
    }
}
