//! VGG: names of torchvision, and of timm, which differ in the classifier's only.

use crate::encoder::keys::{Renamed, norm_field};

/// Heads of torchvision's and of timm's networks.
const HEADS: [&str; 3] = ["classifier.", "pre_logits.", "head."];

/// Our name of a foreign tensor of a network with that many convolutions in each block, followed
/// by batch normalisation or not: foreign names count every layer, activations and pools included.
pub fn rename(foreign: &str, depths: [usize; 5], normalized: bool) -> Renamed {
    let spare = HEADS.iter().any(|head| foreign.starts_with(head));
    if spare || (normalized && foreign.ends_with("num_batches_tracked")) {
        return Renamed::Spare;
    }
    match ours(foreign, depths, normalized) {
        Some(name) => Renamed::Ours(name),
        None => Renamed::Unknown,
    }
}

fn ours(foreign: &str, depths: [usize; 5], normalized: bool) -> Option<String> {
    let (index, field) = foreign.strip_prefix("features.")?.split_once('.')?;
    let index: usize = index.parse().ok()?;
    let step = if normalized { 3 } else { 2 }; // convolution, normalisation, ReLU
    let mut start = 0;
    for (block, depth) in depths.into_iter().enumerate() {
        let end = start + depth * step;
        if index < end {
            let index = index.checked_sub(start)?;
            let place = format!("blocks.{block}.layers.{}", index / step);
            return match index % step {
                0 if matches!(field, "weight" | "bias") => Some(format!("{place}.conv.{field}")),
                1 if normalized => norm_field(field).map(|field| format!("{place}.norm.{field}")),
                _ => None,
            };
        }
        start = end + 1; // the pool
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_mapped() {
        let ours = |name: &str| Renamed::Ours(name.to_owned());
        for (foreign, normalized, expected) in [
            ("features.0.weight", false, ours("blocks.0.layers.0.conv.weight")),
            ("features.10.bias", false, ours("blocks.2.layers.0.conv.bias")),
            ("features.28.bias", false, ours("blocks.4.layers.2.conv.bias")),
            ("features.1.weight", false, Renamed::Unknown),
            ("features.4.weight", false, Renamed::Unknown),
            ("features.30.weight", false, Renamed::Unknown),
            ("features.0.running_mean", false, Renamed::Unknown),
            ("features.1.weight", true, ours("blocks.0.layers.0.norm.gamma")),
            ("features.40.weight", true, ours("blocks.4.layers.2.conv.weight")),
            ("features.41.running_var", true, ours("blocks.4.layers.2.norm.variance")),
            ("features.41.num_batches_tracked", true, Renamed::Spare),
            ("classifier.6.bias", false, Renamed::Spare),
            ("pre_logits.fc1.weight", false, Renamed::Spare),
            ("head.fc.weight", true, Renamed::Spare),
            ("conv1.weight", false, Renamed::Unknown),
        ] {
            assert_eq!(rename(foreign, [2, 2, 3, 3, 3], normalized), expected, "{foreign}");
        }
    }
}
