//! MobileNets: names of timm, of torchvision (versions 2 and 3) and of Gluon (version 2).

use crate::encoder::keys::{Renamed, norm_field};

/// Our name of a tensor of a MobileNet with that many blocks in each stage.
pub fn v1(foreign: &str, repeats: &[usize]) -> Renamed {
    if is_spare(foreign, &["classifier."]) {
        return Renamed::Spare;
    }
    let pointwise = |name: String| name.replace(".project.", ".pointwise.");
    told(timm(foreign, repeats, repeats.len()).map(pointwise))
}

/// Our name of a tensor of a MobileNetV2 with that many blocks in each stage.
pub fn v2(foreign: &str, repeats: &[usize]) -> Renamed {
    if is_spare(foreign, &["classifier.", "mobilenetv20_output_"]) {
        return Renamed::Spare;
    }
    let blocks = repeats.iter().sum();
    let head = |foreign: &str| {
        let (layer, field) = foreign.rsplit_once('.')?;
        placed("head.expand", timm_head(layer)?, field)
    };
    let others = || torchvision_v2(foreign, blocks).or_else(|| gluon_v2(foreign, blocks));
    told(timm(foreign, repeats, 1).or_else(|| head(foreign)).or_else(others))
}

/// torchvision's epsilon of MobileNetV3's normalisations without ours.
const EPSILON_GAP: f64 = 1e-3 - 1e-5;

/// Our name of a tensor of a MobileNetV3 whose stages' blocks have squeeze-and-excitation or not.
pub fn v3(foreign: &str, squeezes: &[Vec<bool>]) -> Renamed {
    let hidden = |prefix: &str| {
        let field =
            foreign.strip_prefix(prefix).filter(|field| matches!(*field, "weight" | "bias"))?;
        Some(format!("head.expand.conv.{field}"))
    };
    if let Some(name) = hidden("classifier.0.").or_else(|| hidden("conv_head.")) {
        return Renamed::Ours(name);
    }
    if is_spare(foreign, &["classifier."]) {
        return Renamed::Spare;
    }
    if let Some(name) = torchvision_v3(foreign, &squeezes.concat()) {
        let variance = name.ends_with(".norm.variance");
        return if variance { Renamed::Raised(name, EPSILON_GAP) } else { Renamed::Ours(name) };
    }
    let repeats: Vec<usize> = squeezes.iter().map(Vec::len).collect();
    let last = |foreign: &str| {
        let (layer, field) = foreign.rsplit_once('.')?;
        let layer = layer.strip_prefix(&format!("blocks.{}.0.", repeats.len()))?;
        let kind = match layer {
            "conv" => Kind::Conv,
            "bn1" => Kind::Norm,
            _ => return None,
        };
        placed("last", kind, field)
    };
    told(timm(foreign, &repeats, 1).or_else(|| last(foreign)))
}

fn told(name: Option<String>) -> Renamed {
    name.map_or(Renamed::Unknown, Renamed::Ours)
}

fn is_spare(foreign: &str, heads: &[&str]) -> bool {
    foreign.ends_with("num_batches_tracked") || heads.iter().any(|head| foreign.starts_with(head))
}

/// What a foreign layer is.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Kind {
    /// The convolution of one of our layers of convolution and normalisation.
    Conv,
    /// Its normalisation.
    Norm,
    /// A convolution of its own, with a bias.
    Biased,
}

/// Our name of a field of the layer at `place`.
pub(super) fn placed(place: &str, kind: Kind, field: &str) -> Option<String> {
    match (kind, field) {
        (Kind::Conv, "weight") => Some(format!("{place}.conv.weight")),
        (Kind::Norm, _) => norm_field(field).map(|field| format!("{place}.norm.{field}")),
        (Kind::Biased, "weight" | "bias") => Some(format!("{place}.{field}")),
        _ => None,
    }
}

/// timm's layer before the classifier.
pub(super) fn timm_head(layer: &str) -> Option<Kind> {
    match layer {
        "conv_head" => Some(Kind::Conv),
        "bn2" => Some(Kind::Norm),
        _ => None,
    }
}

/// timm's stem and blocks, which it counts stage by stage; those of the first `separable` stages expand nothing, so
/// that their parts are numbered otherwise.
pub(super) fn timm(foreign: &str, repeats: &[usize], separable: usize) -> Option<String> {
    let (layer, field) = foreign.rsplit_once('.')?;
    match layer {
        "conv_stem" => return placed("stem", Kind::Conv, field),
        "bn1" => return placed("stem", Kind::Norm, field),
        _ => {}
    }
    let mut parts = layer.strip_prefix("blocks.")?.splitn(3, '.');
    let stage: usize = parts.next()?.parse().ok()?;
    let index: usize = parts.next()?.parse().ok()?;
    if index >= *repeats.get(stage)? {
        return None;
    }
    let (part, kind) = match (stage < separable, parts.next()?) {
        (true, "conv_dw") => ("depthwise", Kind::Conv),
        (true, "bn1") => ("depthwise", Kind::Norm),
        (true, "conv_pw") => ("project", Kind::Conv),
        (true, "bn2") => ("project", Kind::Norm),
        (false, "conv_pw") => ("expand", Kind::Conv),
        (false, "bn1") => ("expand", Kind::Norm),
        (false, "conv_dw") => ("depthwise", Kind::Conv),
        (false, "bn2") => ("depthwise", Kind::Norm),
        (false, "conv_pwl") => ("project", Kind::Conv),
        (false, "bn3") => ("project", Kind::Norm),
        (_, "se.conv_reduce") => ("excite.reduce", Kind::Biased),
        (_, "se.conv_expand") => ("excite.expand", Kind::Biased),
        _ => return None,
    };
    let before: usize = repeats[..stage].iter().sum();
    placed(&format!("blocks.{}.{part}", before + index), kind, field)
}

/// `0` is a convolution, `1` its normalisation.
fn pair(number: &str) -> Option<Kind> {
    match number {
        "0" => Some(Kind::Conv),
        "1" => Some(Kind::Norm),
        _ => None,
    }
}

fn torchvision_v2(foreign: &str, blocks: usize) -> Option<String> {
    let (layer, field) = foreign.strip_prefix("features.")?.rsplit_once('.')?;
    let (number, layer) = layer.split_once('.')?;
    let number: usize = number.parse().ok()?;
    if number == 0 {
        return placed("stem", pair(layer)?, field);
    }
    if number == blocks + 1 {
        return placed("head.expand", pair(layer)?, field);
    }
    let block = number - 1;
    let layer = layer.strip_prefix("conv.").filter(|_| block < blocks)?;
    // The first block expands nothing.
    let (part, kind) = match (block == 0, layer) {
        (true, "1") | (false, "2") => ("project", Kind::Conv),
        (true, "2") | (false, "3") => ("project", Kind::Norm),
        (first, _) => match layer.split_once('.')? {
            ("0", kind) if first => ("depthwise", pair(kind)?),
            ("0", kind) => ("expand", pair(kind)?),
            ("1", kind) if !first => ("depthwise", pair(kind)?),
            _ => return None,
        },
    };
    placed(&format!("blocks.{block}.{part}"), kind, field)
}

fn torchvision_v3(foreign: &str, squeezes: &[bool]) -> Option<String> {
    let (layer, field) = foreign.strip_prefix("features.")?.rsplit_once('.')?;
    let (number, layer) = layer.split_once('.')?;
    let number: usize = number.parse().ok()?;
    if number == 0 {
        return placed("stem", pair(layer)?, field);
    }
    if number == squeezes.len() + 1 {
        return placed("last", pair(layer)?, field);
    }
    let block = number - 1;
    let (index, layer) = layer.strip_prefix("block.")?.split_once('.')?;
    // The parts that a block has, in order; the first block expands nothing.
    let all = [
        ("expand", block > 0),
        ("depthwise", true),
        ("excite", *squeezes.get(block)?),
        ("project", true),
    ];
    let mut parts = all.into_iter().filter(|(_, there)| *there);
    let (part, _) = parts.nth(index.parse().ok()?)?;
    let place = format!("blocks.{block}.{part}");
    match (part, layer) {
        ("excite", "fc1") => placed(&format!("{place}.reduce"), Kind::Biased, field),
        ("excite", "fc2") => placed(&format!("{place}.expand"), Kind::Biased, field),
        ("excite", _) => None,
        _ => placed(&place, pair(layer)?, field),
    }
}

/// As in the ONNX model zoo: `mobilenetv20_features_linearbottleneck3_batchnorm0_running_mean`.
fn gluon_v2(foreign: &str, blocks: usize) -> Option<String> {
    let layer = foreign.strip_prefix("mobilenetv20_features_")?;
    let (block, layer) = match layer.strip_prefix("linearbottleneck") {
        Some(rest) => {
            let (block, layer) = rest.split_once('_')?;
            (Some(block.parse::<usize>().ok().filter(|block| *block < blocks)?), layer)
        }
        None => (None, layer),
    };
    let (layer, field) = layer.split_once('_')?;
    let (kind, number) = match layer.strip_prefix("batchnorm") {
        Some(number) => (Kind::Norm, number),
        None => (Kind::Conv, layer.strip_prefix("conv")?),
    };
    let part = match (block, number) {
        (Some(_), "0") => "expand",
        (Some(_), "1") => "depthwise",
        (Some(_), "2") => "project",
        (None, "0") => "stem",
        (None, "1") => "head.expand",
        _ => return None,
    };
    // Its normalisations' fields have our names but for the statistics.
    let field = match (kind, field) {
        (Kind::Norm, "gamma") => "weight",
        (Kind::Norm, "beta") => "bias",
        (Kind::Norm, "weight" | "bias") => return None,
        (_, field) => field,
    };
    let place = block.map_or_else(|| part.to_owned(), |block| format!("blocks.{block}.{part}"));
    placed(&place, kind, field)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours(name: &str) -> Renamed {
        Renamed::Ours(name.to_owned())
    }

    #[test]
    fn names_of_v1_are_mapped() {
        let re = |foreign: &str| v1(foreign, &[1, 2, 2, 6, 2]);
        assert_eq!(re("conv_stem.weight"), ours("stem.conv.weight"));
        assert_eq!(re("blocks.0.0.conv_dw.weight"), ours("blocks.0.depthwise.conv.weight"));
        assert_eq!(re("blocks.3.5.conv_pw.weight"), ours("blocks.10.pointwise.conv.weight"));
        assert_eq!(re("blocks.4.1.bn2.running_var"), ours("blocks.12.pointwise.norm.variance"));
        assert_eq!(re("classifier.bias"), Renamed::Spare);
        for unknown in ["conv_head.weight", "blocks.3.6.conv_pw.weight", "blocks.1.0.bn3.weight"] {
            assert_eq!(re(unknown), Renamed::Unknown, "{unknown}");
        }
    }

    #[test]
    fn names_of_v2_are_mapped() {
        let re = |foreign: &str| v2(foreign, &[1, 2, 3, 4, 3, 3, 1]);
        for (foreign, expected) in [
            ("features.0.0.weight", "stem.conv.weight"),
            ("features.1.conv.0.0.weight", "blocks.0.depthwise.conv.weight"),
            ("features.1.conv.1.weight", "blocks.0.project.conv.weight"),
            ("features.1.conv.2.running_mean", "blocks.0.project.norm.mean"),
            ("features.2.conv.0.1.bias", "blocks.1.expand.norm.beta"),
            ("features.17.conv.1.0.weight", "blocks.16.depthwise.conv.weight"),
            ("features.17.conv.3.weight", "blocks.16.project.norm.gamma"),
            ("features.18.1.weight", "head.expand.norm.gamma"),
            ("blocks.6.0.conv_pwl.weight", "blocks.16.project.conv.weight"),
            ("conv_head.weight", "head.expand.conv.weight"),
            ("bn2.running_var", "head.expand.norm.variance"),
            ("mobilenetv20_features_conv0_weight", "stem.conv.weight"),
            ("mobilenetv20_features_batchnorm1_gamma", "head.expand.norm.gamma"),
            (
                "mobilenetv20_features_linearbottleneck0_batchnorm0_running_var",
                "blocks.0.expand.norm.variance",
            ),
            (
                "mobilenetv20_features_linearbottleneck16_conv2_weight",
                "blocks.16.project.conv.weight",
            ),
        ] {
            assert_eq!(re(foreign), ours(expected), "{foreign}");
        }
        for spare in ["classifier.1.weight", "features.0.1.num_batches_tracked"] {
            assert_eq!(re(spare), Renamed::Spare, "{spare}");
        }
        for unknown in [
            "features.19.0.weight",
            "features.18.conv.0.0.weight",
            "features.1.conv.3.weight",
            "features.2.conv.1.weight",
            "mobilenetv20_features_linearbottleneck17_conv0_weight",
            "mobilenetv20_features_batchnorm0_weight",
            "conv1.weight",
        ] {
            assert_eq!(re(unknown), Renamed::Unknown, "{unknown}");
        }
    }

    #[test]
    fn names_of_v3_are_mapped() {
        // The small one's.
        let squeezes = [vec![true], vec![false; 2], vec![true; 3], vec![true; 2], vec![true; 3]];
        let re = |foreign: &str| v3(foreign, &squeezes);
        for (foreign, expected) in [
            ("features.0.1.weight", "stem.norm.gamma"),
            ("features.1.block.1.fc2.bias", "blocks.0.excite.expand.bias"),
            ("features.1.block.2.0.weight", "blocks.0.project.conv.weight"),
            ("features.2.block.2.0.weight", "blocks.1.project.conv.weight"),
            ("features.4.block.2.fc1.weight", "blocks.3.excite.reduce.weight"),
            ("features.11.block.3.1.bias", "blocks.10.project.norm.beta"),
            ("features.12.0.weight", "last.conv.weight"),
            ("classifier.0.weight", "head.expand.conv.weight"),
            ("blocks.0.0.se.conv_reduce.weight", "blocks.0.excite.reduce.weight"),
            ("blocks.4.2.conv_pwl.weight", "blocks.10.project.conv.weight"),
            ("blocks.5.0.bn1.running_mean", "last.norm.mean"),
            ("conv_head.bias", "head.expand.conv.bias"),
        ] {
            assert_eq!(re(foreign), ours(expected), "{foreign}");
        }
        let raised = |name: &str| Renamed::Raised(name.to_owned(), EPSILON_GAP);
        assert_eq!(re("features.12.1.running_var"), raised("last.norm.variance"));
        assert_eq!(re("bn1.running_var"), ours("stem.norm.variance"));
        for spare in ["classifier.3.weight", "classifier.bias"] {
            assert_eq!(re(spare), Renamed::Spare, "{spare}");
        }
        for unknown in [
            "features.2.block.3.0.weight",
            "features.2.block.2.fc1.weight",
            "features.13.0.weight",
            "blocks.5.1.bn1.weight",
            "bn2.weight",
        ] {
            assert_eq!(re(unknown), Renamed::Unknown, "{unknown}");
        }
    }
}
