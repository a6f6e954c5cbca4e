//! Inception-v3: names of torchvision, which timm shares.

use crate::encoder::inception_v3::{Branch, Kind};
use crate::encoder::keys::{Renamed, norm_field};

/// torchvision's names of the stem's layers.
const STEM: [&str; 5] =
    ["Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "Conv2d_3b_1x1", "Conv2d_4a_3x3"];

/// Our name of a foreign tensor of a network with these blocks.
pub(crate) fn rename(foreign: &str, blocks: &[Kind]) -> Renamed {
    let head = foreign.starts_with("fc.") || foreign.starts_with("AuxLogits.");
    if head || foreign.ends_with("num_batches_tracked") {
        return Renamed::Spare;
    }
    ours(foreign, blocks).map_or(Renamed::Unknown, Renamed::Ours)
}

fn ours(foreign: &str, blocks: &[Kind]) -> Option<String> {
    let (layer, field) = foreign.rsplit_once('.')?;
    let (layer, part) = layer.rsplit_once('.')?;
    let place = match STEM.iter().position(|name| *name == layer) {
        Some(index) => format!("stem.{index}"),
        None => {
            let (block, layer) = layer.strip_prefix("Mixed_")?.split_once('.')?;
            let index = block_names(blocks).position(|name| name == block)?;
            format!("blocks.{index}.{}", within(layer, &blocks[index].branches())?)
        }
    };
    match (part, field) {
        ("conv", "weight") => Some(format!("{place}.conv.weight")),
        ("bn", _) => norm_field(field).map(|field| format!("{place}.norm.{field}")),
        _ => None,
    }
}

/// `5b`, `5c` ... `6a` ...: a number for each resolution, from 5 and b on (what comes before is the stem).
fn block_names(blocks: &[Kind]) -> impl Iterator<Item = String> {
    let (mut number, mut letter) = (5u8, b'a');
    blocks.iter().map(move |kind| {
        if kind.reduces() {
            (number, letter) = (number + 1, b'a');
        } else {
            letter += 1;
        }
        format!("{number}{}", char::from(letter))
    })
}

/// The place of a layer in a block with these branches: `branch7x7_2` is the second layer of that branch, and
/// `branch3x3_2a` one of two that see the same.
fn within(layer: &str, branches: &[Branch]) -> Option<String> {
    let (name, number) = match layer.rsplit_once('_') {
        Some((name, number)) if name != "branch" => (name, number),
        _ => (layer, ""),
    };
    let index = branches.iter().position(|branch| branch.name == name)?;
    let Branch { layers, ends, .. } = &branches[index];
    let place = |list: &str, layer: usize| format!("branches.{index}.{list}.{layer}");
    // A branch of one layer has no numbers.
    if number.is_empty() {
        return (layers.len() + ends.len() == 1).then(|| place("layers", 0));
    }
    if let Some(end) = number.strip_suffix(['a', 'b']) {
        let last = end.parse() == Ok(layers.len() + 1) && !ends.is_empty();
        return last.then(|| place("ends", usize::from(number.ends_with('b'))));
    }
    let number = number.parse::<usize>().ok()?.checked_sub(1)?;
    (layers.len() + ends.len() > 1 && number < layers.len()).then(|| place("layers", number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoder::inception_v3::InceptionV3Config;

    #[test]
    fn names_are_mapped() {
        let blocks = InceptionV3Config::FULL.blocks();
        let ours = |name: &str| Renamed::Ours(name.to_owned());
        for (foreign, expected) in [
            ("Conv2d_1a_3x3.conv.weight", ours("stem.0.conv.weight")),
            ("Conv2d_4a_3x3.bn.running_var", ours("stem.4.norm.variance")),
            ("Mixed_5b.branch1x1.conv.weight", ours("blocks.0.branches.0.layers.0.conv.weight")),
            ("Mixed_5b.branch5x5_2.bn.bias", ours("blocks.0.branches.1.layers.1.norm.beta")),
            ("Mixed_5d.branch_pool.bn.weight", ours("blocks.2.branches.3.layers.0.norm.gamma")),
            ("Mixed_6a.branch3x3.conv.weight", ours("blocks.3.branches.0.layers.0.conv.weight")),
            (
                "Mixed_6e.branch7x7dbl_5.conv.weight",
                ours("blocks.7.branches.2.layers.4.conv.weight"),
            ),
            (
                "Mixed_7a.branch7x7x3_4.conv.weight",
                ours("blocks.8.branches.1.layers.3.conv.weight"),
            ),
            ("Mixed_7c.branch3x3_2b.conv.weight", ours("blocks.10.branches.1.ends.1.conv.weight")),
            ("Mixed_7c.branch3x3dbl_3a.bn.weight", ours("blocks.10.branches.2.ends.0.norm.gamma")),
            ("AuxLogits.conv0.conv.weight", Renamed::Spare),
            ("fc.bias", Renamed::Spare),
            ("Mixed_5b.branch1x1.bn.num_batches_tracked", Renamed::Spare),
            ("Mixed_5e.branch1x1.conv.weight", Renamed::Unknown),
            ("Mixed_5b.branch1x1_1.conv.weight", Renamed::Unknown),
            ("Mixed_5b.branch5x5.conv.weight", Renamed::Unknown),
            ("Mixed_5b.branch5x5_3.conv.weight", Renamed::Unknown),
            ("Mixed_7c.branch3x3_2.conv.weight", Renamed::Unknown),
            ("Mixed_7c.branch3x3_1a.conv.weight", Renamed::Unknown),
            ("conv1.weight", Renamed::Unknown),
        ] {
            assert_eq!(rename(foreign, &blocks), expected, "{foreign}");
        }
    }
}
