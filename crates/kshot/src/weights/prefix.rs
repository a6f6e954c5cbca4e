//! Files of whole segmenters: which tensors are the encoder's, and what they are called without the rest.
//!
//! torchvision keeps the encoder below `backbone.` and the rest in `classifier.` and `aux_classifier.`;
//! segmentation_models_pytorch below `encoder.` (`encoder.model.` for timm's) and in `decoder.` and
//! `segmentation_head.`; `module.` stands before all names where several devices trained. DDRNet's authors keep both
//! parts side by side. Files that kshot wrote (see [`write_safetensors`](crate::export::write_safetensors)) have
//! `encoder.` and `decoder.` before the names that the networks have here.

use crate::decoder::DecoderConfig;
use crate::encoder::EncoderConfig;
use crate::encoder::keys::Renamed;
use crate::weights::state::StateDict;

/// What stands before an encoder's names in files, and what stands there in the encoder's own files.
const PREFIXES: [(&str, &str); 4] =
    [("backbone.", ""), ("backbone.", "features."), ("encoder.", ""), ("encoder.model.", "")];
/// Before all names, where a network was trained on several devices.
const DEVICES: &str = "module.";
/// Where the other parts of a segmenter are.
const OTHERS: [&str; 6] = [
    "classifier.",
    "aux_classifier.",
    "auxlayer.",
    "decoder.",
    "segmentation_head.",
    "classification_head.",
];
/// Where the other parts are in files that have nothing before the encoder's names.
const BESIDE: [&str; 3] = ["spp.", "final_layer.", "seghead_extra."];
/// Before all names of some of these.
const WITHIN: [&str; 3] = ["module.model.", "module.", "model."];

/// How a file names things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Prefix {
    /// `module.`, or nothing.
    devices: &'static str,
    /// Before the encoder's names, and in their place; none in a file of an encoder alone.
    encoder: Option<(&'static str, &'static str)>,
    /// Whether the names behind it are ours.
    own: bool,
}

impl Prefix {
    /// How a file names the tensors of this encoder: as it is published alone, unless that gives no tensor a place
    /// and a prefix does.
    pub(super) fn of(config: &EncoderConfig, state: &StateDict) -> Self {
        let alone = Self { devices: "", encoder: None, own: false };
        if state.own {
            return Self { encoder: Some(("encoder.", "")), own: true, ..alone };
        }
        let encoders = PREFIXES.map(Some);
        let all = ["", DEVICES].into_iter().flat_map(|devices| {
            std::iter::once(None).chain(encoders).map(move |encoder| Self {
                devices,
                encoder,
                own: false,
            })
        });
        let knows = |prefix: &Self| {
            let ours = |name: &String| matches!(prefix.rename(config, name), Renamed::Ours(_));
            state.tensors.keys().any(ours)
        };
        all.into_iter().find(knows).unwrap_or(alone)
    }

    /// Our name of an encoder's tensor; those of other parts may stay unused.
    pub(super) fn rename(&self, config: &EncoderConfig, foreign: &str) -> Renamed {
        let Some(name) = foreign.strip_prefix(self.devices) else { return Renamed::Unknown };
        let Some((prefix, instead)) = self.encoder else { return config.rename(name) };
        match name.strip_prefix(prefix) {
            Some(rest) if self.own => Renamed::Ours(rest.to_owned()),
            Some(rest) => config.rename(&format!("{instead}{rest}")),
            None if is_other(name) => Renamed::Spare,
            None => Renamed::Unknown,
        }
    }

    /// The name of a tensor of another part, without what several devices put before it; none for the encoder's and
    /// for a head that classifies whole pictures.
    pub(super) fn other<'a>(&self, foreign: &'a str) -> Option<&'a str> {
        if self.encoder.is_none() {
            let within = WITHIN.iter().find_map(|within| foreign.strip_prefix(within));
            let name = within.unwrap_or(foreign);
            return BESIDE.iter().any(|part| name.starts_with(part)).then_some(name);
        }
        let name = foreign.strip_prefix(self.devices)?;
        (is_other(name) && !name.starts_with("classification_head.")).then_some(name)
    }

    /// Our name of a decoder's tensor.
    pub(super) fn rename_decoder(&self, config: &DecoderConfig, foreign: &str) -> Renamed {
        let Some(name) = self.other(foreign) else { return Renamed::Spare };
        if !self.own {
            return config.rename(name);
        }
        let ours = name.strip_prefix("decoder.");
        ours.map_or(Renamed::Unknown, |ours| Renamed::Ours(ours.to_owned()))
    }

    /// Whether names are those of segmentation_models_pytorch.
    pub(super) fn is_smp(&self) -> bool {
        !self.own && self.encoder.is_some_and(|(prefix, _)| prefix.starts_with("encoder."))
    }
}

fn is_other(name: &str) -> bool {
    OTHERS.iter().any(|part| name.starts_with(part))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use burn::tensor::TensorData;

    use super::*;

    fn state(names: &[&str]) -> StateDict {
        let tensor = |name: &&str| ((*name).to_owned(), TensorData::from([0.0f32]));
        StateDict::new(PathBuf::from("a.pth"), names.iter().map(tensor).collect())
    }

    #[test]
    fn encoders_are_found_in_whole_segmenters() {
        let config: EncoderConfig = "resnet18".parse().unwrap();
        let stem = Renamed::Ours("stem.conv.weight".to_owned());
        for (names, kernels) in [
            (&["conv1.weight", "fc.bias"][..], "conv1.weight"),
            (&["module.conv1.weight"], "module.conv1.weight"),
            (&["backbone.conv1.weight", "classifier.4.bias"], "backbone.conv1.weight"),
            (&["encoder.conv1.weight", "decoder.x"], "encoder.conv1.weight"),
            (&["encoder.model.conv1.weight"], "encoder.model.conv1.weight"),
            (&["module.encoder.conv1.weight"], "module.encoder.conv1.weight"),
        ] {
            let prefix = Prefix::of(&config, &state(names));
            assert_eq!(prefix.rename(&config, kernels), stem, "{names:?}");
        }
        let file = state(&["module.backbone.conv1.weight", "module.classifier.4.bias"]);
        let prefix = Prefix::of(&config, &file);
        assert_eq!(prefix.other("module.classifier.4.bias"), Some("classifier.4.bias"));
        assert_eq!(prefix.rename(&config, "module.classifier.4.bias"), Renamed::Spare);
        assert_eq!(prefix.rename(&config, "module.optimizer.x"), Renamed::Unknown);
        // An encoder's own classifier is no decoder.
        let alone = Prefix::of(&config, &state(&["conv1.weight", "classifier.4.bias"]));
        assert_eq!(alone.other("classifier.4.bias"), None);
        let config: EncoderConfig = "ddrnet-23-slim".parse().unwrap();
        let beside = Prefix::of(&config, &state(&["model.conv1.0.weight", "model.spp.x"]));
        assert_eq!(beside.other("model.spp.x"), Some("spp.x"));
        assert_eq!(beside.other("model.conv1.0.weight"), None);
    }
}
