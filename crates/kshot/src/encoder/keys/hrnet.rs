//! HRNet: names of the authors, which timm shares.

use crate::encoder::keys::resnet::block;
use crate::encoder::keys::{Renamed, norm_field};

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
    let parts: Vec<&str> = layer.split('.').collect();
    let number = |text: &str| text.parse::<usize>().ok();
    // A convolution, its normalisation and an activation are numbered 0, 1 and 2.
    let numbered = |place: String, index: &str| match (index, field) {
        ("0", "weight") => Some(format!("{place}.conv.weight")),
        ("1", _) => norm_field(field).map(|field| format!("{place}.norm.{field}")),
        _ => None,
    };
    let biased = |place: String, index: &str| match (index, field) {
        ("0", "bias") => Some(format!("{place}.conv.bias")),
        _ => numbered(place, index),
    };
    let stage = |name: &str, prefix: &str, first: usize| {
        let stage = number(name.strip_prefix(prefix)?)?.checked_sub(first)?;
        (stage < 3).then_some(stage)
    };
    match *parts.as_slice() {
        ["conv1"] => numbered("stem.0".to_owned(), "0"),
        ["bn1"] => numbered("stem.0".to_owned(), "1"),
        ["conv2"] => numbered("stem.1".to_owned(), "0"),
        ["bn2"] => numbered("stem.1".to_owned(), "1"),
        ["layer1", index, ref rest @ ..] => {
            block(&format!("first.blocks.{}", number(index)?), &rest.join("."), field)
        }
        ["transition1", "0", index] => numbered("stages.0.narrow".to_owned(), index),
        [transition, branch, "0", index] if transition.starts_with("transition") => {
            let stage = stage(transition, "transition", 1)?;
            let new = number(branch)? == stage + 1;
            new.then(|| numbered(format!("stages.{stage}.coarser"), index))?
        }
        [name, module, "branches", branch, index, ref rest @ ..] => {
            let (stage, module) = (stage(name, "stage", 2)?, number(module)?);
            let (branch, index) = (number(branch)?, number(index)?);
            let place = format!("stages.{stage}.modules.{module}.branches.{branch}.blocks.{index}");
            block(&place, &rest.join("."), field)
        }
        [name, module, "fuse_layers", to, from, ref rest @ ..] => {
            let (stage, module) = (stage(name, "stage", 2)?, number(module)?);
            let (to, from) = (number(to)?, number(from)?);
            let path = format!("stages.{stage}.modules.{module}.fusions.{to}.paths.{from}");
            match *rest {
                [index] if from > to => numbered(format!("{path}.0"), index),
                [step, index] if from < to => numbered(format!("{path}.{}", number(step)?), index),
                _ => None,
            }
        }
        ["incre_modules", branch, "0", ref rest @ ..] => {
            block(&format!("head.expand.widen.{}", number(branch)?), &rest.join("."), field)
        }
        ["downsamp_modules", branch, index] => {
            biased(format!("head.expand.down.{}", number(branch)?), index)
        }
        ["final_layer", index] => biased("head.expand.last".to_owned(), index),
        ["classifier"] => Some(format!("head.classify.{field}")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_mapped() {
        let ours = |name: &str| Renamed::Ours(name.to_owned());
        let second = "stages.2.modules.1";
        for (foreign, expected) in [
            ("conv1.weight", ours("stem.0.conv.weight")),
            ("bn2.running_mean", ours("stem.1.norm.mean")),
            ("layer1.0.downsample.1.bias", ours("first.blocks.0.shortcut.norm.beta")),
            ("layer1.3.conv3.weight", ours("first.blocks.3.layers.2.conv.weight")),
            ("transition1.0.0.weight", ours("stages.0.narrow.conv.weight")),
            ("transition1.1.0.1.weight", ours("stages.0.coarser.norm.gamma")),
            ("transition3.3.0.0.weight", ours("stages.2.coarser.conv.weight")),
            ("transition3.2.0.0.weight", Renamed::Unknown),
            (
                "stage4.1.branches.3.2.bn1.weight",
                ours(&format!("{second}.branches.3.blocks.2.layers.0.norm.gamma")),
            ),
            (
                "stage4.1.fuse_layers.0.3.1.bias",
                ours(&format!("{second}.fusions.0.paths.3.0.norm.beta")),
            ),
            (
                "stage4.1.fuse_layers.3.1.1.0.weight",
                ours(&format!("{second}.fusions.3.paths.1.1.conv.weight")),
            ),
            ("stage4.1.fuse_layers.3.1.0.weight", Renamed::Unknown),
            ("stage5.0.branches.0.0.conv1.weight", Renamed::Unknown),
            ("incre_modules.2.0.conv1.weight", ours("head.expand.widen.2.layers.0.conv.weight")),
            ("downsamp_modules.0.0.bias", ours("head.expand.down.0.conv.bias")),
            ("final_layer.1.running_var", ours("head.expand.last.norm.variance")),
            ("classifier.weight", ours("head.classify.weight")),
            ("last_layer.0.weight", Renamed::Unknown),
            ("bn1.num_batches_tracked", Renamed::Spare),
            ("conv1.bias", Renamed::Unknown),
        ] {
            assert_eq!(rename(foreign), expected, "{foreign}");
        }
    }
}
