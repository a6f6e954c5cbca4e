//! nnU-Net's plain U-Net: names of `PlainConvUNet` of dynamic-network-architectures.
//!
//! That one lists each layer twice (`conv`, `all_modules.0`) and its encoder again inside of the decoder; once is enough.

use crate::encoder::keys::{Renamed, norm_field};

/// Our name of a foreign tensor in the encoder; the decoder's are of no use to it.
pub fn encoder(foreign: &str) -> Renamed {
    if foreign.starts_with("decoder.") {
        return Renamed::Spare;
    }
    match stage(foreign.strip_prefix("encoder.").unwrap_or(foreign)) {
        Some((_, Some(0), Some(layer))) if layer.spare => Renamed::Spare,
        Some((index, Some(0), Some(layer))) => {
            Renamed::Ours(format!("stages.{index}.{}", layer.name))
        }
        _ => Renamed::Unknown,
    }
}

/// Our name of a foreign tensor in a decoder of so many levels, which count from the coarsest there and from the finest
/// here. The coarsest level's logits count nothing there and are not made here.
pub fn decoder(foreign: &str, levels: usize) -> Renamed {
    if foreign.starts_with("encoder.") || foreign.starts_with("decoder.encoder.") {
        return Renamed::Spare;
    }
    let foreign = foreign.strip_prefix("decoder.").unwrap_or(foreign);
    let ours = |index: usize| levels.checked_sub(index + 1);
    let numbered = |prefix: &str| -> Option<(usize, &str)> {
        let (index, field) = foreign.strip_prefix(prefix)?.split_once('.')?;
        Some((ours(index.parse().ok()?)?, field))
    };
    let found = match (numbered("transpconvs."), numbered("seg_layers.")) {
        (Some((level, "weight")), _) => Some(format!("levels.{level}.up")),
        (Some((level, "bias")), _) => Some(format!("levels.{level}.bias")),
        (_, Some((0, field @ ("weight" | "bias")))) => Some(format!("head.{field}")),
        (_, Some((level, "weight" | "bias"))) if level + 1 == levels => return Renamed::Spare,
        (_, Some((level, field @ ("weight" | "bias")))) => {
            Some(format!("auxiliary.{}.{field}", level - 1))
        }
        _ => match stage(foreign) {
            Some((_, None, Some(layer))) if layer.spare => return Renamed::Spare,
            Some((index, None, Some(layer))) => {
                ours(index).map(|level| format!("levels.{level}.{}", layer.name))
            }
            _ => None,
        },
    };
    found.map_or(Renamed::Unknown, Renamed::Ours)
}

/// A tensor of a layer.
struct Layer {
    name: String,
    /// Listed a second time, or a bias that normalisation takes away.
    spare: bool,
}

/// The stage of `stages.2.0.convs.1.conv.weight`, the place in it where there is one, and the layer.
fn stage(foreign: &str) -> Option<(usize, Option<usize>, Option<Layer>)> {
    let (index, rest) = foreign.strip_prefix("stages.")?.split_once('.')?;
    let (place, rest) = match rest.split_once(".convs.") {
        Some((place, rest)) => (Some(place.parse().ok()?), rest),
        None => (None, rest.strip_prefix("convs.")?),
    };
    Some((index.parse().ok()?, place, layer(rest)))
}

fn layer(rest: &str) -> Option<Layer> {
    let (index, field) = rest.split_once('.')?;
    let place = format!("layers.{}", index.parse::<usize>().ok()?);
    let named = |name: String, spare: bool| Some(Layer { name, spare });
    match field.split_once('.')? {
        ("conv", "weight") => named(format!("{place}.conv.weight"), false),
        ("conv", "bias") => named(String::new(), true),
        ("norm", field @ ("weight" | "bias")) => {
            named(format!("{place}.norm.{}", norm_field(field)?), false)
        }
        ("all_modules", _) => named(String::new(), true),
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
            ("encoder.stages.0.0.convs.0.conv.weight", ours("stages.0.layers.0.conv.weight")),
            ("stages.6.0.convs.1.norm.bias", ours("stages.6.layers.1.norm.beta")),
            ("encoder.stages.0.0.convs.0.conv.bias", Renamed::Spare),
            ("encoder.stages.0.0.convs.0.all_modules.1.weight", Renamed::Spare),
            ("decoder.stages.0.convs.0.conv.weight", Renamed::Spare),
            ("encoder.stages.0.convs.0.conv.weight", Renamed::Unknown),
            ("encoder.stages.0.0.convs.0.norm.running_mean", Renamed::Unknown),
            ("conv1.weight", Renamed::Unknown),
        ] {
            assert_eq!(encoder(foreign), expected, "{foreign}");
        }
        for (foreign, expected) in [
            ("decoder.stages.0.convs.1.conv.weight", ours("levels.3.layers.1.conv.weight")),
            ("decoder.stages.3.convs.0.norm.weight", ours("levels.0.layers.0.norm.gamma")),
            ("decoder.transpconvs.1.weight", ours("levels.2.up")),
            ("decoder.transpconvs.3.bias", ours("levels.0.bias")),
            ("decoder.seg_layers.3.weight", ours("head.weight")),
            ("decoder.seg_layers.2.bias", ours("auxiliary.0.bias")),
            ("decoder.seg_layers.0.bias", Renamed::Spare),
            ("decoder.encoder.stages.0.0.convs.0.conv.weight", Renamed::Spare),
            ("encoder.stages.0.0.convs.0.conv.weight", Renamed::Spare),
            ("decoder.stages.4.convs.0.norm.weight", Renamed::Unknown),
            ("decoder.seg_layers.2.gamma", Renamed::Unknown),
        ] {
            assert_eq!(decoder(foreign, 4), expected, "{foreign}");
        }
        assert_eq!(decoder("decoder.seg_layers.0.weight", 1), ours("head.weight"));
    }
}
