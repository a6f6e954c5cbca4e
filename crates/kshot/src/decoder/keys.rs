//! Names of decoders' tensors in files of whole segmenters: torchvision's and segmentation_models_pytorch's.

use crate::encoder::keys::{Renamed, norm_field};

/// Layers of a published decoder: the foreign name of each, and ours. Where ours ends in `norm` the fields are batch
/// normalisation's.
pub(super) type Layers = Vec<(String, String)>;

/// A convolution (or another layer whose fields are `weight` and `bias`).
pub(super) fn conv(layers: &mut Layers, foreign: &str, ours: &str) {
    layers.push((foreign.to_owned(), ours.to_owned()));
}

/// A convolution and the normalisation after it, as a `ConvNormAct` of ours.
pub(super) fn conv_norm(layers: &mut Layers, foreign: [&str; 2], ours: &str) {
    conv(layers, foreign[0], &format!("{ours}.conv"));
    conv(layers, foreign[1], &format!("{ours}.norm"));
}

/// Our name of a tensor.
pub(super) fn rename(foreign: &str, layers: &Layers) -> Renamed {
    if foreign.ends_with("num_batches_tracked") {
        return Renamed::Spare;
    }
    let Some((place, field)) = foreign.rsplit_once('.') else { return Renamed::Unknown };
    let Some((_, ours)) = layers.iter().find(|(layer, _)| layer == place) else {
        return Renamed::Unknown;
    };
    let field = match field {
        field if ours.ends_with(".norm") => norm_field(field),
        "weight" | "bias" => Some(field),
        _ => None,
    };
    field.map_or(Renamed::Unknown, |field| Renamed::Ours(format!("{ours}.{field}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_renamed_with_their_fields() {
        let mut layers = Layers::new();
        conv_norm(&mut layers, ["classifier.0", "classifier.1"], "hidden");
        conv(&mut layers, "classifier.4", "classify");
        let ours = |name: &str| Renamed::Ours(name.to_owned());
        for (foreign, expected) in [
            ("classifier.0.weight", ours("hidden.conv.weight")),
            ("classifier.1.running_var", ours("hidden.norm.variance")),
            ("classifier.4.bias", ours("classify.bias")),
            ("classifier.1.num_batches_tracked", Renamed::Spare),
            ("classifier.4.running_var", Renamed::Unknown),
            ("classifier.2.weight", Renamed::Unknown),
            ("weight", Renamed::Unknown),
        ] {
            assert_eq!(rename(foreign, &layers), expected, "{foreign}");
        }
    }
}
