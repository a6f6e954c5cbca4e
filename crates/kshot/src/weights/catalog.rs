//! Published weights that are known to fit, by encoder.

use crate::encoder::EncoderConfig;

/// Where an encoder's published weights are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Published {
    /// The encoder.
    pub encoder: &'static str,
    /// The Hugging Face repository; the file is its `model.safetensors`.
    pub repository: &'static str,
    /// The weights' licence.
    pub licence: &'static str,
    /// What they were trained on.
    pub data: &'static str,
}

const fn row(encoder: &'static str, repository: &'static str, licence: &'static str) -> Published {
    Published { encoder, repository, licence, data: "ImageNet-1k" }
}

/// Of ViTs.
const fn augreg(encoder: &'static str, repository: &'static str) -> Published {
    let data = "ImageNet-21k, then ImageNet-1k";
    Published { data, ..row(encoder, repository, "Apache-2.0") }
}

const fn dinov2(encoder: &'static str, repository: &'static str) -> Published {
    Published { data: "LVD-142M", ..row(encoder, repository, "Apache-2.0") }
}

/// Their licence is Meta's own, which must be accepted first.
const fn dinov3(encoder: &'static str, repository: &'static str) -> Published {
    Published { data: "LVD-1689M", ..row(encoder, repository, "DINOv3 License (gated)") }
}

/// timm's repositories: names of tensors as in torchvision (ResNet, VGG, Inception-v3) or timm (EfficientNet-Lite,
/// MobileNets, HRNet, vision transformers), both of which `keys` knows. An encoder's `normalization` is what these weights
/// were trained with.
const TABLE: &[Published] = &[
    row("efficientnet-lite0", "timm/tf_efficientnet_lite0.in1k", "Apache-2.0"),
    row("efficientnet-lite1", "timm/tf_efficientnet_lite1.in1k", "Apache-2.0"),
    row("efficientnet-lite2", "timm/tf_efficientnet_lite2.in1k", "Apache-2.0"),
    row("mobilenet-v1", "timm/mobilenetv1_100.ra4_e3600_r224_in1k", "Apache-2.0"),
    row("mobilenet-v2", "timm/mobilenetv2_100.ra_in1k", "Apache-2.0"),
    row("mobilenet-v3-small", "timm/mobilenetv3_small_100.lamb_in1k", "Apache-2.0"),
    row("mobilenet-v3-large", "timm/mobilenetv3_large_100.ra_in1k", "Apache-2.0"),
    row("inception-v3", "timm/inception_v3.tv_in1k", "Apache-2.0"),
    row("resnet18", "timm/resnet18.tv_in1k", "BSD-3-Clause"),
    row("resnet34", "timm/resnet34.tv_in1k", "BSD-3-Clause"),
    row("resnet50", "timm/resnet50.tv_in1k", "BSD-3-Clause"),
    row("resnet101", "timm/resnet101.tv_in1k", "BSD-3-Clause"),
    row("vgg16", "timm/vgg16.tv_in1k", "BSD-3-Clause"),
    row("vgg16-bn", "timm/vgg16_bn.tv_in1k", "BSD-3-Clause"),
    row("vgg16-panet", "timm/vgg16.tv_in1k", "BSD-3-Clause"),
    row("hrnet-w18", "timm/hrnet_w18.ms_aug_in1k", "MIT"),
    row("hrnet-w32", "timm/hrnet_w32.ms_in1k", "MIT"),
    augreg("vit-tiny-16", "timm/vit_tiny_patch16_224.augreg_in21k_ft_in1k"),
    augreg("vit-small-16", "timm/vit_small_patch16_224.augreg_in21k_ft_in1k"),
    augreg("vit-base-16", "timm/vit_base_patch16_224.augreg_in21k_ft_in1k"),
    dinov2("dinov2-vit-small-14", "timm/vit_small_patch14_dinov2.lvd142m"),
    dinov2("dinov2-vit-base-14", "timm/vit_base_patch14_dinov2.lvd142m"),
    dinov2("dinov2-vit-small-14-reg4", "timm/vit_small_patch14_reg4_dinov2.lvd142m"),
    dinov2("dinov2-vit-base-14-reg4", "timm/vit_base_patch14_reg4_dinov2.lvd142m"),
    dinov3("dinov3-vit-small-16", "timm/vit_small_patch16_dinov3.lvd1689m"),
    dinov3("dinov3-vit-base-16", "timm/vit_base_patch16_dinov3.lvd1689m"),
];

/// Encoders whose weights nobody publishes in a form that this reads: they are given as a file, or trained from
/// scratch.
#[cfg(test)]
const UNPUBLISHED: &[&str] =
    &["plain-unet", "plain-unet-5", "plain-unet-6", "plain-unet-8", "ddrnet-23-slim", "ddrnet-23"];

/// All rows, in the order of the encoders' table.
pub fn all() -> &'static [Published] {
    TABLE
}

/// The published weights of an encoder, whatever its output stride and input channels.
pub fn of(config: &EncoderConfig) -> Option<&'static Published> {
    TABLE.iter().find(|row| row.encoder == config.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_encoder_but_the_tiny_ones_has_a_row() {
        for config in EncoderConfig::all() {
            let name = config.name();
            let none = name.ends_with("-tiny") || UNPUBLISHED.contains(&name);
            assert_eq!(of(&config).is_none(), none, "{name}");
        }
        for row in all() {
            assert!(row.encoder.parse::<EncoderConfig>().is_ok(), "{}", row.encoder);
        }
    }
}
