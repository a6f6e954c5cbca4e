//! The precision that a recipe and the caller ask for.

use std::path::Path;

use crate::error::{Error, Result};
use crate::job::bf16::check_device;
use crate::nn::Precision;
use crate::recipe::Recipe;

/// Refuses what the processor or the device cannot.
///
/// # Errors
/// If it is bf16, and the processor has no such products or the device of that name is no CPU.
pub fn check(precision: Precision, device: &str) -> Result<()> {
    precision
        .check()
        .map_err(|refused| Error::config(refused.to_string()).at_key("model.precision"))?;
    check_device(precision, device)
}

/// Reads a recipe with changes, and has it take on a precision that the caller asks for.
///
/// # Errors
/// If the recipe is wrong, it asks for another precision, or the processor or device cannot.
pub fn read_recipe(
    path: &Path,
    changes: &[String],
    asked: Option<Precision>,
    device: &str,
) -> Result<Recipe> {
    take(Recipe::read(path, changes)?, asked, device)
}

/// As [`read_recipe`], of a recipe that was read before.
///
/// # Errors
/// As [`read_recipe`].
pub fn take(mut recipe: Recipe, asked: Option<Precision>, device: &str) -> Result<Recipe> {
    let precision = &mut recipe.model.precision;
    match asked {
        Some(asked) if *precision != Precision::F32 && *precision != asked => {
            return Err(Error::config(
                "the recipe and the command line ask for different precisions; choose one",
            )
            .at_key("model.precision"));
        }
        Some(asked) => *precision = asked,
        None => {}
    }
    check(*precision, device)?;
    // What the command line adds is held against the rest.
    recipe.check()?;
    Ok(recipe)
}
