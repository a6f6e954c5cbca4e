//! EfficientNet-Lite: names of `efficientnet-lite-pytorch` (as EfficientNet-PyTorch).

use super::{Renamed, norm_field};

/// Our name of a foreign tensor.
pub fn rename(foreign: &str) -> Renamed {
    if foreign.ends_with("num_batches_tracked") {
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
        "_conv_stem" => conv("stem"),
        "_bn0" => norm("stem"),
        "_conv_head" => conv("head.expand"),
        "_bn1" => norm("head.expand"),
        "_fc" => Some(format!("head.classify.{field}")),
        _ => {
            let (index, layer) = layer.strip_prefix("_blocks.")?.split_once('.')?;
            let index: usize = index.parse().ok()?;
            match layer {
                "_expand_conv" => conv(&format!("blocks.{index}.expand")),
                "_bn0" => norm(&format!("blocks.{index}.expand")),
                "_depthwise_conv" => conv(&format!("blocks.{index}.depthwise")),
                "_bn1" => norm(&format!("blocks.{index}.depthwise")),
                "_project_conv" => conv(&format!("blocks.{index}.project")),
                "_bn2" => norm(&format!("blocks.{index}.project")),
                _ => None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_mapped() {
        let ours = |name: &str| Renamed::Ours(name.to_owned());
        assert_eq!(rename("_conv_stem.weight"), ours("stem.conv.weight"));
        assert_eq!(
            rename("_blocks.3._bn1.running_var"),
            ours("blocks.3.depthwise.norm.running_var")
        );
        assert_eq!(rename("_fc.bias"), ours("head.classify.bias"));
        assert_eq!(rename("_bn0.num_batches_tracked"), Renamed::Spare);
        assert_eq!(rename("layer1.0.conv1.weight"), Renamed::Unknown);
    }
}
