//! Names of tensors in published files, and ours.

pub mod ddrnet;
pub mod efficientnet_lite;
pub mod hrnet;
pub mod inception_v3;
pub mod mobilenet;
pub mod plain_unet;
pub mod resnet;
pub mod vgg;
pub mod vit;

/// What becomes of a tensor of a published file.
#[derive(Debug, Clone, PartialEq)]
pub enum Renamed {
    /// It is this tensor of ours, if the network has it.
    Ours(String),
    /// It is this tensor of ours once so much is added to each of its numbers: variances of a network of a larger
    /// epsilon.
    Raised(String, f64),
    /// It is known and may stay unused: a classifier's head, a counter.
    Spare,
    /// It does not belong to this network.
    Unknown,
}

/// Ours for batch normalisation's `weight`, `bias`, `running_mean`, `running_var`.
pub(crate) fn norm_field(foreign: &str) -> Option<&'static str> {
    Some(match foreign {
        "weight" => "gamma",
        "bias" => "beta",
        "running_mean" => "mean",
        "running_var" => "variance",
        _ => return None,
    })
}
