//! EfficientNet-Lite: names of `efficientnet-lite-pytorch` (as EfficientNet-PyTorch) and of timm.

use crate::encoder::keys::Renamed;
use crate::encoder::keys::mobilenet::{self, Kind, placed, timm_head};

/// Our name of a foreign tensor of a network with that many blocks in each stage: timm counts
/// blocks stage by stage.
pub fn rename(foreign: &str, repeats: &[usize]) -> Renamed {
    if foreign.ends_with("num_batches_tracked") {
        return Renamed::Spare;
    }
    match original(foreign).or_else(|| timm(foreign, repeats)) {
        Some(name) => Renamed::Ours(name),
        None => Renamed::Unknown,
    }
}

fn original(foreign: &str) -> Option<String> {
    let (layer, field) = foreign.rsplit_once('.')?;
    match layer {
        "_conv_stem" => placed("stem", Kind::Conv, field),
        "_bn0" => placed("stem", Kind::Norm, field),
        "_conv_head" => placed("head.expand", Kind::Conv, field),
        "_bn1" => placed("head.expand", Kind::Norm, field),
        "_fc" => Some(format!("head.classify.{field}")),
        _ => {
            let (index, layer) = layer.strip_prefix("_blocks.")?.split_once('.')?;
            let index: usize = index.parse().ok()?;
            let (part, kind) = match layer {
                "_expand_conv" => ("expand", Kind::Conv),
                "_bn0" => ("expand", Kind::Norm),
                "_depthwise_conv" => ("depthwise", Kind::Conv),
                "_bn1" => ("depthwise", Kind::Norm),
                "_project_conv" => ("project", Kind::Conv),
                "_bn2" => ("project", Kind::Norm),
                _ => return None,
            };
            placed(&format!("blocks.{index}.{part}"), kind, field)
        }
    }
}

fn timm(foreign: &str, repeats: &[usize]) -> Option<String> {
    let (layer, field) = foreign.rsplit_once('.')?;
    if layer == "classifier" {
        return Some(format!("head.classify.{field}"));
    }
    match timm_head(layer) {
        Some(kind) => placed("head.expand", kind, field),
        None => mobilenet::timm(foreign, repeats, 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn re(foreign: &str) -> Renamed {
        rename(foreign, &[1, 2, 2, 3, 3, 4, 1])
    }

    #[test]
    fn names_are_mapped() {
        let ours = |name: &str| Renamed::Ours(name.to_owned());
        assert_eq!(re("_conv_stem.weight"), ours("stem.conv.weight"));
        assert_eq!(re("_blocks.3._bn1.running_var"), ours("blocks.3.depthwise.norm.variance"));
        assert_eq!(re("_fc.bias"), ours("head.classify.bias"));
        assert_eq!(re("_bn0.num_batches_tracked"), Renamed::Spare);
        assert_eq!(re("layer1.0.conv1.weight"), Renamed::Unknown);
        assert_eq!(re("bn1.bias"), ours("stem.norm.beta"));
        assert_eq!(re("blocks.0.0.conv_pw.weight"), ours("blocks.0.project.conv.weight"));
        assert_eq!(re("blocks.2.1.conv_pw.weight"), ours("blocks.4.expand.conv.weight"));
        assert_eq!(re("blocks.6.0.bn3.weight"), ours("blocks.15.project.norm.gamma"));
        assert_eq!(re("blocks.6.1.bn3.weight"), Renamed::Unknown);
        assert_eq!(re("classifier.bias"), ours("head.classify.bias"));
    }
}
