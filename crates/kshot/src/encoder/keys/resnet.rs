//! ResNet: names of torchvision, which timm shares.

use crate::encoder::keys::{Renamed, norm_field};

/// Our name of a foreign tensor.
pub fn rename(foreign: &str) -> Renamed {
    if foreign.ends_with("num_batches_tracked") || foreign.starts_with("fc.") {
        return Renamed::Spare;
    }
    match ours(foreign) {
        Some(name) => Renamed::Ours(name),
        None => Renamed::Unknown,
    }
}

fn ours(foreign: &str) -> Option<String> {
    let (layer, field) = foreign.rsplit_once('.')?;
    let conv = |place: &str| (field == "weight").then(|| format!("{place}.conv.weight"));
    let norm = |place: &str| norm_field(field).map(|field| format!("{place}.norm.{field}"));
    match layer {
        "conv1" => return conv("stem"),
        "bn1" => return norm("stem"),
        _ => {}
    }
    let (stage, rest) = layer.strip_prefix("layer")?.split_once('.')?;
    let stage = stage.parse::<usize>().ok()?.checked_sub(1)?;
    let (index, layer) = rest.split_once('.')?;
    let index: usize = index.parse().ok()?;
    block(&format!("stages.{stage}.blocks.{index}"), layer, field)
}

/// Our name of a tensor of the block at `place`.
pub(super) fn block(place: &str, layer: &str, field: &str) -> Option<String> {
    let conv = |place: String| (field == "weight").then(|| format!("{place}.conv.weight"));
    let norm = |place: String| norm_field(field).map(|field| format!("{place}.norm.{field}"));
    match layer {
        "downsample.0" => return conv(format!("{place}.shortcut")),
        "downsample.1" => return norm(format!("{place}.shortcut")),
        _ => {}
    }
    let numbered = |prefix: &str| {
        let number: usize = layer.strip_prefix(prefix)?.parse().ok()?;
        Some(format!("{place}.layers.{}", number.checked_sub(1)?))
    };
    match (numbered("conv"), numbered("bn")) {
        (Some(place), _) => conv(place),
        (_, Some(place)) => norm(place),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_mapped() {
        let ours = |name: &str| Renamed::Ours(name.to_owned());
        for (foreign, expected) in [
            ("conv1.weight", ours("stem.conv.weight")),
            ("bn1.bias", ours("stem.norm.beta")),
            ("layer1.0.conv3.weight", ours("stages.0.blocks.0.layers.2.conv.weight")),
            ("layer4.2.bn2.running_var", ours("stages.3.blocks.2.layers.1.norm.variance")),
            ("layer2.0.downsample.0.weight", ours("stages.1.blocks.0.shortcut.conv.weight")),
            ("layer2.0.downsample.1.weight", ours("stages.1.blocks.0.shortcut.norm.gamma")),
            ("layer2.0.bn1.num_batches_tracked", Renamed::Spare),
            ("fc.weight", Renamed::Spare),
            ("layer0.0.conv1.weight", Renamed::Unknown),
            ("layer1.0.conv0.weight", Renamed::Unknown),
            ("layer1.0.conv1.bias", Renamed::Unknown),
            ("features.0.weight", Renamed::Unknown),
        ] {
            assert_eq!(rename(foreign), expected, "{foreign}");
        }
    }
}
