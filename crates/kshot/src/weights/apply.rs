//! Puts the tensors of a file into a network, whole or not at all.
//!
//! # Other numbers of input channels
//! Published encoders see three channels. For another number the kernels of the first convolution are
//! adapted as timm does: for one channel they are summed over red, green and blue, so that a grey
//! picture gives what it gave as RGB (where the three were normalised alike); for `n` they are repeated
//! in order, `n` in all, and scaled by `3 / n`, which keeps the size of the sums.
//!
//! # Networks that differ in a detail
//! Of some encoders files exist of networks that differ a little: in a layer ([`Family::matching`](
//! crate::encoder::Family::matching)) or in the epsilon of normalisations ([`Renamed::Raised`]). The names of the
//! tensors tell.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, Param};
use burn::prelude::*;
use burn::tensor::{DType, TensorData};

use crate::encoder::keys::Renamed;
use crate::encoder::{Encoder, EncoderConfig};
use crate::error::{Error, Result};
use crate::weights::prefix::Prefix;
use crate::weights::state::{StateDict, broken, not_finite};

/// At most that many names are shown in a message.
const SHOWN: usize = 10;

/// The encoder with the tensors of a file: of this encoder, or of a whole segmenter around it, whose other parts are
/// left out (see [`into_segmenter`](crate::weights::segmenter::into_segmenter)).
///
/// # Errors
/// When a tensor is missing, does not belong to the network, has another shape, or holds numbers that
/// are not finite.
pub fn into_encoder(config: &EncoderConfig, state: &StateDict, device: &Device) -> Result<Encoder> {
    let config = &matching(config, state);
    let prefix = Prefix::of(config, state);
    let mut filler = Filler::new(state, |name| prefix.rename(config, name));
    filler.adapt(config.first_kernels(), config.in_channels());
    let encoder = config.init(device).map_network(&mut filler);
    // A classifier's head of the file is of no use to an encoder.
    filler.given.retain(|ours, _| !ours.starts_with("head."));
    filler.finish(config.name(), state)?;
    Ok(encoder)
}

/// Whether every tensor of a file has a place in that encoder, by names alone.
pub fn knows_names(config: &EncoderConfig, state: &StateDict) -> bool {
    let prefix = Prefix::of(config, state);
    !state.tensors.keys().any(|name| prefix.rename(config, name) == Renamed::Unknown)
}

/// As [`into_encoder`], with the layer between the last stage and the classifier where the family has
/// one and the file holds it.
///
/// # Errors
/// As [`into_encoder`].
pub fn into_embedding(
    config: &EncoderConfig,
    state: &StateDict,
    device: &Device,
) -> Result<Encoder> {
    let holds_head = |name: &String| match config.rename(name) {
        Renamed::Ours(ours) | Renamed::Raised(ours, _) => ours.starts_with("head.expand."),
        _ => false,
    };
    if !state.tensors.keys().any(holds_head) {
        return into_encoder(config, state, device);
    }
    let config = matching(config, state);
    let mut filler = Filler::new(state, |name| config.rename(name));
    filler.adapt(config.first_kernels(), config.in_channels());
    let encoder = config.init_embedding(device).map_network(&mut filler);
    filler.given.retain(|ours, _| !ours.starts_with("head.classify."));
    filler.finish(config.name(), state)?;
    Ok(encoder)
}

/// The configuration as the file's tensors want it.
fn matching(config: &EncoderConfig, state: &StateDict) -> EncoderConfig {
    config.matching(state.tensors.keys().map(String::as_str))
}

/// Fills any network by a renaming of the file's tensors.
///
/// # Errors
/// When a tensor is missing, does not belong to the network, has another shape, or holds numbers that
/// are not finite.
pub fn into_module<M: Module>(
    module: M,
    what: &str,
    state: &StateDict,
    rename: impl Fn(&str) -> Renamed,
) -> Result<M> {
    let mut filler = Filler::new(state, rename);
    let module = module.map(&mut filler);
    filler.finish(what, state)?;
    Ok(module)
}

/// Visits the network's tensors by path and fills them.
pub(super) struct Filler {
    path: Vec<String>,
    /// By our name: the file's name and the data. What is left at the end was not used.
    given: BTreeMap<String, (String, TensorData)>,
    unknown: Vec<String>,
    missing: Vec<String>,
    /// Their names with the shape in the file and in the network.
    misshapen: Vec<(String, Vec<usize>, Vec<usize>)>,
    /// The first tensor that holds numbers that are not finite, and how many.
    broken: Option<(String, usize)>,
}

impl Filler {
    pub(super) fn new(state: &StateDict, rename: impl Fn(&str) -> Renamed) -> Self {
        let mut given = BTreeMap::new();
        let mut unknown = Vec::new();
        for (name, data) in &state.tensors {
            match rename(name) {
                Renamed::Ours(ours) => {
                    given.insert(ours, (name.clone(), data.clone()));
                }
                Renamed::Raised(ours, by) => {
                    let numbers: Vec<f32> = data.iter::<f32>().map(|x| x + by as f32).collect();
                    let raised = TensorData::new(numbers, data.shape().clone());
                    given.insert(ours, (name.clone(), raised));
                }
                Renamed::Spare => {}
                Renamed::Unknown => unknown.push(name.clone()),
            }
        }
        let (missing, misshapen) = (Vec::new(), Vec::new());
        Self { path: Vec::new(), given, unknown, missing, misshapen, broken: None }
    }

    /// Adapts kernels for three channels to `channels`.
    fn adapt(&mut self, ours: &str, channels: usize) {
        if let Some((_, data)) = self.given.get_mut(ours)
            && let [outputs, 3, height, width] = *data.shape().to_vec()
            && channels != 3
        {
            let kernels: Vec<f32> = data.iter::<f32>().collect();
            let area = height * width;
            let scale = 3.0 / channels as f32;
            let mut adapted = Vec::with_capacity(outputs * channels * area);
            for kernel in kernels.chunks_exact(3 * area) {
                if channels == 1 {
                    let (red, rest) = kernel.split_at(area);
                    let (green, blue) = rest.split_at(area);
                    let sums = red.iter().zip(green).zip(blue).map(|((r, g), b)| r + g + b);
                    adapted.extend(sums);
                } else {
                    adapted.extend(kernel.iter().cycle().take(channels * area).map(|v| v * scale));
                }
            }
            *data = TensorData::new(adapted, [outputs, channels, height, width]);
        }
    }

    /// What is wrong, as the end of a sentence that begins with "it"; nothing where all has its place.
    pub(super) fn faults(&mut self) -> Option<String> {
        let left = std::mem::take(&mut self.given).into_values();
        self.unknown.extend(left.map(|(name, _)| name));
        self.unknown.sort();
        let shapes = self.misshapen.iter();
        let misshapen: Vec<String> = shapes
            .map(|(name, given, wanted)| format!("{name} ({given:?}, wanted {wanted:?})"))
            .collect();
        let mut faults = Vec::new();
        for (names, fault) in [
            (&self.missing, "lacks"),
            (&self.unknown, "has, unused,"),
            (&misshapen, "has of another shape"),
        ] {
            if !names.is_empty() {
                faults.push(format!("{fault} {}", listed(names)));
            }
        }
        if let Some((name, count)) = &self.broken {
            faults.push(format!("holds {count} numbers that are not finite in `{name}`"));
        }
        (!faults.is_empty()).then(|| faults.join("; it "))
    }

    /// How many classes the file's network tells apart, where that is all in which it differs from one of `classes`.
    pub(super) fn other_classes(&self, classes: usize) -> Option<usize> {
        let (_, first, _) = self.misshapen.first()?;
        let theirs = *first.first()?;
        let differs = |(_, given, wanted): &(String, Vec<usize>, Vec<usize>)| {
            given.first() == Some(&theirs)
                && wanted.first() == Some(&classes)
                && given.get(1..) == wanted.get(1..)
        };
        (theirs != classes && self.missing.is_empty() && self.misshapen.iter().all(differs))
            .then_some(theirs)
    }

    fn finish(mut self, what: &str, state: &StateDict) -> Result<()> {
        let broke = self.broken.take();
        match (self.faults(), broke) {
            (None, None) => Ok(()),
            (None, Some((name, count))) => Err(broken(&name, count).in_file(&state.path)),
            (Some(faults), _) => Err(Error::weights(format!(
                "the file does not fit {what}: it {faults}. Give the file of this very network, or name another encoder"
            ))
            .in_file(&state.path)),
        }
    }
}

/// The first names and how many there are.
fn listed(names: &[String]) -> String {
    let shown: Vec<String> = names.iter().take(SHOWN).map(|name| format!("`{name}`")).collect();
    let more = names.len().saturating_sub(SHOWN);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    let plural = if names.len() == 1 { "" } else { "s" };
    format!("{} tensor{plural}: {}{rest}", names.len(), shown.join(", "))
}

impl ModuleMapper for Filler {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let path = self.path.join(".");
        let Some((name, data)) = self.given.remove(&path) else {
            self.missing.push(path);
            return param;
        };
        let wanted = param.lazy_shape();
        // A linear layer's [out, in] is a convolution's [out, in, 1, 1].
        let trimmed = |shape: &[usize]| {
            let ones = shape.iter().rev().take_while(|size| **size == 1).count();
            shape[..shape.len() - ones].to_vec()
        };
        if trimmed(data.shape()) != trimmed(&wanted) {
            self.misshapen.push((name, data.shape().to_vec(), wanted.to_vec()));
            return param;
        }
        let device = param.lazy_device();
        let data = data.convert_dtype(DType::F32);
        let count = not_finite(&data);
        if count > 0 {
            self.broken.get_or_insert((name, count));
        }
        let data = TensorData::from_bytes(data.into_parts().0, wanted, DType::F32);
        let tensor = Tensor::from_data(data, &device);
        let id = param.id;
        param.transform_for_load(tensor, id)
    }
}

#[cfg(all(test, feature = "embedded-weights"))]
mod tests {
    use super::*;
    use crate::encoder::Encode;

    /// EfficientNet-Lite's normalisation is the same for red, green and blue.
    #[test]
    fn a_grey_picture_gives_what_it_gives_as_rgb() {
        let device = Device::flex();
        let state = crate::weights::built_in::BuiltIn::find(crate::weights::DEFAULT)
            .unwrap()
            .state()
            .unwrap();
        let config: EncoderConfig = crate::weights::DEFAULT.parse().unwrap();
        let [rgb, grey, seven] = [3, 1, 7].map(|channels| {
            let config = config.with_in_channels(channels).unwrap();
            into_encoder(&config, &state, &device).unwrap()
        });
        let picture =
            Tensor::<4>::random([1, 1, 40, 33], burn::tensor::Distribution::Default, &device);
        let repeated = |channels| picture.clone().repeat_dim(1, channels);
        let expected = rgb.forward(repeated(3)).last();
        let apart = (grey.forward(repeated(1)).last() - expected.clone()).abs().max();
        let size = expected.clone().abs().max().into_scalar::<f32>();
        let apart = apart.into_scalar::<f32>();
        assert!(apart < 1e-4 * size, "{apart} of {size}");
        assert_eq!(seven.forward(repeated(7)).last().dims(), expected.dims());
    }
}
