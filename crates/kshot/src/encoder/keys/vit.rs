//! Vision transformers: names of timm, and of DINOv2's and DINOv3's authors.

use crate::encoder::keys::Renamed;
use crate::nn::attention::QkvBias;

/// Heads of classifiers, what only training needs, and fixed numbers that are computed here.
const SPARE: [&str; 3] = ["mask_token", "rope_embed.periods", "attn.qkv.bias_mask"];

/// Our name of a foreign tensor of a network with such biases in its attention.
pub fn rename(foreign: &str, bias: QkvBias) -> Renamed {
    if foreign.starts_with("head.") || SPARE.iter().any(|spare| foreign.ends_with(spare)) {
        return Renamed::Spare;
    }
    match ours(foreign, bias) {
        Some(name) => Renamed::Ours(name),
        None => Renamed::Unknown,
    }
}

fn ours(foreign: &str, bias: QkvBias) -> Option<String> {
    let whole = match foreign {
        "cls_token" => "class_token",
        "reg_token" | "register_tokens" | "storage_tokens" => "registers",
        "pos_embed" => "positions",
        _ => "",
    };
    if !whole.is_empty() {
        return Some(whole.to_owned());
    }
    let (layer, field) = foreign.rsplit_once('.')?;
    let linear =
        |place: &str| matches!(field, "weight" | "bias").then(|| format!("{place}.{field}"));
    let norm = |place: &str| match field {
        "weight" => Some(format!("{place}.gamma")),
        "bias" => Some(format!("{place}.beta")),
        _ => None,
    };
    match layer {
        "patch_embed.proj" => return linear("patches"),
        "norm" => return norm("norm"),
        _ => {}
    }
    let (index, part) = foreign.strip_prefix("blocks.")?.split_once('.')?;
    let index: usize = index.parse().ok()?;
    let block = |part: &str| format!("blocks.{index}.{part}");
    match part {
        "ls1.gamma" | "gamma_1" => return Some(block("scale1")),
        "ls2.gamma" | "gamma_2" => return Some(block("scale2")),
        "attn.qkv.bias" if bias == QkvBias::MaskedKeys => {
            return Some(block("attention.masked_bias"));
        }
        _ => {}
    }
    match part.rsplit_once('.')?.0 {
        "norm1" => norm(&block("norm1")),
        "norm2" => norm(&block("norm2")),
        "attn.qkv" => linear(&block("attention.qkv")),
        "attn.proj" => linear(&block("attention.project")),
        "mlp.fc1" => linear(&block("expand")),
        "mlp.fc2" => linear(&block("reduce")),
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
            ("cls_token", ours("class_token")),
            ("pos_embed", ours("positions")),
            ("reg_token", ours("registers")),
            ("register_tokens", ours("registers")),
            ("storage_tokens", ours("registers")),
            ("patch_embed.proj.bias", ours("patches.bias")),
            ("norm.weight", ours("norm.gamma")),
            ("blocks.3.norm2.bias", ours("blocks.3.norm2.beta")),
            ("blocks.10.attn.qkv.weight", ours("blocks.10.attention.qkv.weight")),
            ("blocks.0.attn.proj.bias", ours("blocks.0.attention.project.bias")),
            ("blocks.0.mlp.fc2.weight", ours("blocks.0.reduce.weight")),
            ("blocks.0.ls1.gamma", ours("blocks.0.scale1")),
            ("blocks.0.gamma_2", ours("blocks.0.scale2")),
            ("head.weight", Renamed::Spare),
            ("mask_token", Renamed::Spare),
            ("rope_embed.periods", Renamed::Spare),
            ("blocks.0.attn.qkv.bias_mask", Renamed::Spare),
            ("blocks.x.norm1.weight", Renamed::Unknown),
            ("blocks.0.attn.q_bias", Renamed::Unknown),
            ("blocks.0.mlp.fc1.gamma", Renamed::Unknown),
            ("fc_norm.weight", Renamed::Unknown),
            ("conv1.weight", Renamed::Unknown),
        ] {
            assert_eq!(rename(foreign, QkvBias::All), expected, "{foreign}");
        }
        let bias = "blocks.1.attn.qkv.bias";
        assert_eq!(rename(bias, QkvBias::All), ours("blocks.1.attention.qkv.bias"));
        let masked = ours("blocks.1.attention.masked_bias");
        assert_eq!(rename(bias, QkvBias::MaskedKeys), masked);
    }
}
