//! The precision that a recipe and the caller ask for.

use std::path::Path;

use burn::tensor::FloatDType;

use crate::device::{self, Device};
use crate::error::{Error, Result};
use crate::nn::Precision;
use crate::recipe::Recipe;

/// Refuses what the processor or the device cannot.
///
/// # Errors
/// If it is half precision, and the processor or the device of that name has no such products.
pub fn check(precision: Precision, device: &str) -> Result<()> {
    let wrong = |text: String| Err(Error::config(text).at_key("model.precision"));
    let half = match precision {
        Precision::F16 => FloatDType::F16,
        Precision::Bf16 => FloatDType::BF16,
        Precision::F32 | Precision::Precise => return Ok(()),
    };
    for device in device::parse_all(device)? {
        let cpu = device == Device::flex();
        match (cpu, precision.check()) {
            (true, _) if precision == Precision::F16 => {
                return wrong("f16 is for GPUs; processors have f32, precise and bf16".to_owned());
            }
            (true, Err(refused)) => return wrong(refused.to_string()),
            (false, _) if !device.supports_dtype(half) => {
                return wrong(format!(
                    "this device cannot compute in {}; leave it out, or take {}",
                    precision.name(),
                    if precision == Precision::F16 { "bf16" } else { "f16" }
                ));
            }
            _ => {}
        }
    }
    Ok(())
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
