//! EfficientNet-Lite: names of `efficientnet-lite-pytorch` (as EfficientNet-PyTorch) and of timm.

use crate::encoder::keys::{Renamed, norm_field};

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

/// The place of a kernel or a normalisation, and the tensor's field there.
fn placed(place: &str, norm: bool, field: &str) -> Option<String> {
    if norm {
        return norm_field(field).map(|field| format!("{place}.norm.{field}"));
    }
    (field == "weight").then(|| format!("{place}.conv.weight"))
}

fn original(foreign: &str) -> Option<String> {
    let (layer, field) = foreign.rsplit_once('.')?;
    match layer {
        "_conv_stem" => placed("stem", false, field),
        "_bn0" => placed("stem", true, field),
        "_conv_head" => placed("head.expand", false, field),
        "_bn1" => placed("head.expand", true, field),
        "_fc" => Some(format!("head.classify.{field}")),
        _ => {
            let (index, layer) = layer.strip_prefix("_blocks.")?.split_once('.')?;
            let index: usize = index.parse().ok()?;
            let (part, norm) = match layer {
                "_expand_conv" => ("expand", false),
                "_bn0" => ("expand", true),
                "_depthwise_conv" => ("depthwise", false),
                "_bn1" => ("depthwise", true),
                "_project_conv" => ("project", false),
                "_bn2" => ("project", true),
                _ => return None,
            };
            placed(&format!("blocks.{index}.{part}"), norm, field)
        }
    }
}

fn timm(foreign: &str, repeats: &[usize]) -> Option<String> {
    let (layer, field) = foreign.rsplit_once('.')?;
    match layer {
        "conv_stem" => placed("stem", false, field),
        "bn1" => placed("stem", true, field),
        "conv_head" => placed("head.expand", false, field),
        "bn2" => placed("head.expand", true, field),
        "classifier" => Some(format!("head.classify.{field}")),
        _ => {
            let mut parts = layer.strip_prefix("blocks.")?.splitn(3, '.');
            let stage: usize = parts.next()?.parse().ok()?;
            let index: usize = parts.next()?.parse().ok()?;
            if index >= *repeats.get(stage)? {
                return None;
            }
            // The first stage's blocks have nothing to expand, so their parts are numbered otherwise.
            let (part, norm) = match (stage, parts.next()?) {
                (0, "conv_dw") => ("depthwise", false),
                (0, "bn1") => ("depthwise", true),
                (0, "conv_pw") => ("project", false),
                (0, "bn2") => ("project", true),
                (0, _) => return None,
                (_, "conv_pw") => ("expand", false),
                (_, "bn1") => ("expand", true),
                (_, "conv_dw") => ("depthwise", false),
                (_, "bn2") => ("depthwise", true),
                (_, "conv_pwl") => ("project", false),
                (_, "bn3") => ("project", true),
                _ => return None,
            };
            let before: usize = repeats[..stage].iter().sum();
            placed(&format!("blocks.{}.{part}", before + index), norm, field)
        }
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
