//! DDRNet: names of the authors' code, <https://github.com/ydhongHIT/DDRNet>.

use crate::encoder::keys::resnet::block;
use crate::encoder::keys::{Renamed, norm_field};

/// What the authors' networks have behind the encoder: of segmentation, then of ImageNet's classes; and
/// the weights of the classes that their training keeps beside the network.
const BEHIND: [&str; 7] =
    ["spp.", "seghead_extra.", "final_layer.", "down5.", "last_layer.", "linear.", "loss."];

/// Our name of a foreign tensor of the encoder.
pub fn rename(foreign: &str) -> Renamed {
    let foreign = within(foreign);
    if foreign.ends_with("num_batches_tracked")
        || BEHIND.iter().any(|part| foreign.starts_with(part))
    {
        return Renamed::Spare;
    }
    renamed(encoder(foreign))
}

/// Our name of a foreign tensor of the decoder, which has an auxiliary head or not; the encoder's are
/// unknown here.
pub fn rename_decoder(foreign: &str, auxiliary: bool) -> Renamed {
    let foreign = within(foreign);
    let left_out = !auxiliary && foreign.starts_with("seghead_extra.");
    if left_out || foreign.ends_with("num_batches_tracked") || foreign.starts_with("loss.") {
        return Renamed::Spare;
    }
    renamed(decoder(foreign))
}

/// Without the name of what held the network while it trained; files that hold a loss's tensors besides
/// keep it.
fn within(foreign: &str) -> &str {
    let inner = foreign.strip_prefix("module.").unwrap_or(foreign);
    inner.strip_prefix("model.").unwrap_or(inner)
}

fn renamed(ours: Option<String>) -> Renamed {
    match ours {
        Some(name) => Renamed::Ours(name),
        None => Renamed::Unknown,
    }
}

fn encoder(foreign: &str) -> Option<String> {
    let (layer, field) = foreign.rsplit_once('.')?;
    let (group, rest) = layer.split_once('.')?;
    // Convolutions, normalisations and activations are counted in one.
    let numbered = |place: String| match (rest.parse::<usize>().ok()? % 3, field) {
        (0, "weight") => Some(format!("{place}.conv.weight")),
        (1, _) => norm_field(field).map(|field| format!("{place}.norm.{field}")),
        _ => None,
    };
    let layer_of = |most: usize| {
        let index = rest.parse::<usize>().ok()? / 3;
        (index < most).then_some(index)
    };
    match group {
        "conv1" => {
            let place = format!("stem.{}", layer_of(2)?);
            if field == "bias" && matches!(rest, "0" | "3") {
                return Some(format!("{place}.conv.bias"));
            }
            numbered(place)
        }
        "compression3" => numbered(format!("compress.{}", layer_of(1)?)),
        "compression4" => numbered(format!("compress.{}", 1 + layer_of(1)?)),
        "down3" => numbered(format!("down.0.{}", layer_of(1)?)),
        "down4" => numbered(format!("down.1.{}", layer_of(2)?)),
        _ => {
            let stage = match group {
                "layer1" => "shared.0",
                "layer2" => "shared.1",
                "layer3" => "low.0",
                "layer4" => "low.1",
                "layer5" => "low.2",
                "layer3_" => "high.0",
                "layer4_" => "high.1",
                "layer5_" => "high.2",
                _ => return None,
            };
            let (index, layer) = rest.split_once('.')?;
            block(&format!("{stage}.blocks.{}", index.parse::<usize>().ok()?), layer, field)
        }
    }
}

fn decoder(foreign: &str) -> Option<String> {
    let (layer, field) = foreign.rsplit_once('.')?;
    let (group, rest) = layer.split_once('.')?;
    let norm = |place: String| norm_field(field).map(|field| format!("{place}.norm.{field}"));
    let conv = |place: String| (field == "weight").then(|| format!("{place}.conv.weight"));
    let first = |place: &str| norm(format!("{place}.first"));
    let head = match group {
        "spp" => {
            let (part, index) = rest.split_once('.')?;
            let number = |prefix: &str| part.strip_prefix(prefix)?.parse::<usize>().ok();
            // Pooled scales begin with the pool.
            let (place, pool) = match (number("scale"), number("process")) {
                (Some(scale @ 0..=4), _) => (format!("scales.{scale}"), usize::from(scale > 0)),
                (_, Some(process @ 1..=4)) => (format!("processes.{}", process - 1), 0),
                _ if matches!(part, "compression" | "shortcut") => (part.to_owned(), 0),
                _ => return None,
            };
            let place = format!("pyramid.{place}");
            return match index.parse::<usize>().ok()?.checked_sub(pool)? {
                0 => first(&place),
                2 => conv(place),
                _ => None,
            };
        }
        "final_layer" => "head",
        "seghead_extra" => "auxiliary",
        _ => return None,
    };
    match rest {
        "bn1" => first(head),
        "conv1" => conv(format!("{head}.hidden")),
        "bn2" => norm(format!("{head}.hidden")),
        "conv2" if matches!(field, "weight" | "bias") => Some(format!("{head}.classify.{field}")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours(name: &str) -> Renamed {
        Renamed::Ours(name.to_owned())
    }

    #[test]
    fn names_of_the_encoder_are_mapped() {
        for (foreign, expected) in [
            ("conv1.0.weight", ours("stem.0.conv.weight")),
            ("conv1.3.bias", ours("stem.1.conv.bias")),
            ("model.conv1.4.bias", ours("stem.1.norm.beta")),
            ("conv1.6.weight", Renamed::Unknown),
            ("conv1.2.weight", Renamed::Unknown),
            ("layer2.0.downsample.0.weight", ours("shared.1.blocks.0.shortcut.conv.weight")),
            ("layer5.0.conv3.weight", ours("low.2.blocks.0.layers.2.conv.weight")),
            ("layer3_.1.bn2.running_var", ours("high.0.blocks.1.layers.1.norm.variance")),
            ("compression4.1.weight", ours("compress.1.norm.gamma")),
            ("compression4.0.bias", Renamed::Unknown),
            ("down3.0.weight", ours("down.0.0.conv.weight")),
            ("down3.3.weight", Renamed::Unknown),
            ("down4.4.running_mean", ours("down.1.1.norm.mean")),
            ("spp.scale0.0.weight", Renamed::Spare),
            ("last_layer.0.weight", Renamed::Spare),
            ("loss.criterion.weight", Renamed::Spare),
            ("layer6.0.conv1.weight", Renamed::Unknown),
            ("conv1.weight", Renamed::Unknown),
        ] {
            assert_eq!(rename(foreign), expected, "{foreign}");
        }
    }

    #[test]
    fn names_of_the_decoder_are_mapped() {
        for (foreign, expected) in [
            ("spp.scale0.0.weight", ours("pyramid.scales.0.first.norm.gamma")),
            ("spp.scale0.2.weight", ours("pyramid.scales.0.conv.weight")),
            ("spp.scale4.1.running_mean", ours("pyramid.scales.4.first.norm.mean")),
            ("spp.scale4.3.weight", ours("pyramid.scales.4.conv.weight")),
            ("spp.scale4.0.weight", Renamed::Unknown),
            ("spp.scale5.3.weight", Renamed::Unknown),
            ("model.spp.process4.2.weight", ours("pyramid.processes.3.conv.weight")),
            ("spp.process0.2.weight", Renamed::Unknown),
            ("spp.compression.0.bias", ours("pyramid.compression.first.norm.beta")),
            ("spp.shortcut.2.weight", ours("pyramid.shortcut.conv.weight")),
            ("final_layer.bn1.weight", ours("head.first.norm.gamma")),
            ("final_layer.conv1.weight", ours("head.hidden.conv.weight")),
            ("final_layer.bn2.running_var", ours("head.hidden.norm.variance")),
            ("seghead_extra.conv2.bias", ours("auxiliary.classify.bias")),
            ("layer5.0.conv3.weight", Renamed::Unknown),
        ] {
            assert_eq!(rename_decoder(foreign, true), expected, "{foreign}");
        }
        assert_eq!(rename_decoder("seghead_extra.conv2.bias", false), Renamed::Spare);
    }
}
