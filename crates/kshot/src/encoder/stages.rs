//! The parameters of an encoder by depth: what can be frozen, or learn more slowly, from the picture on.
//!
//! Parts are the encoder's fields and the elements of its lists, in their order, which is that of its forward pass (of
//! networks with branches, by how many maps they feed);
//! fields before the first list (an embedding of patches and positions) are one part, and one behind the last (a
//! normalisation) belongs to the last element. Of an encoder whose maps are not all of one stride, neighbouring parts
//! that feed the same maps are one stage, so that a stage is what one map needs beyond the finer ones. Where that
//! tells fewer stages than there are maps (networks whose maps all come out of their last layer), each part is one.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use burn::module::{Flag, Module, ModuleVisitor, Param, ParamId};
use burn::prelude::*;

use super::{Encode, Encoder};
use crate::nn::weights::deep_copy;

/// Side of the picture by which it is seen which maps a part feeds.
const SIDE: usize = 32;

/// What of a stage learns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StageParameters {
    /// The parameters that take gradients.
    pub parameters: Vec<ParamId>,
    /// What lets its batch normalisation (and dropout) train.
    pub flags: Vec<ParamId>,
}

/// The stages of an encoder, the picture's first, as far as they are not frozen already.
pub fn stages(encoder: &Encoder) -> Vec<StageParameters> {
    let parts = parts(encoder);
    let strides = encoder.strides();
    let maps = strides.len();
    if strides.iter().all(|stride| *stride == strides[0]) {
        return parts;
    }
    let fed = fed(encoder, &parts);
    // Branches of several resolutions lie side by side: what feeds more maps is nearer to the picture.
    let mut order: Vec<usize> = (0..parts.len()).collect();
    order.sort_by_key(|&part| Reverse(fed[part].iter().filter(|feeds| **feeds).count()));
    let parts: Vec<StageParameters> = order.iter().map(|&part| parts[part].clone()).collect();
    let mut merged: Vec<(StageParameters, &Vec<bool>)> = Vec::new();
    for (part, fed) in parts.iter().zip(order.iter().map(|&part| &fed[part])) {
        match merged.last_mut() {
            Some((stage, before)) if *before == fed => {
                stage.parameters.extend(&part.parameters);
                stage.flags.extend(&part.flags);
            }
            _ => merged.push((part.clone(), fed)),
        }
    }
    if merged.len() < maps { parts } else { merged.into_iter().map(|(stage, _)| stage).collect() }
}

/// A parameter or flag with its path.
struct Found {
    path: Vec<String>,
    id: ParamId,
    flag: bool,
    /// Whether it learns.
    active: bool,
}

#[derive(Default)]
struct Finder {
    path: Vec<String>,
    found: Vec<Found>,
}

impl ModuleVisitor for Finder {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
        let (path, id, active) = (self.path.clone(), parameter.id, parameter.is_require_grad());
        self.found.push(Found { path, id, flag: false, active });
    }

    fn visit_flag(&mut self, flag: &Param<Flag>) {
        let (path, id, active) = (self.path.clone(), flag.id, flag.is_enabled());
        self.found.push(Found { path, id, flag: true, active });
    }
}

/// The parts in their order.
fn parts(encoder: &Encoder) -> Vec<StageParameters> {
    let mut finder = Finder::default();
    encoder.visit(&mut finder);
    let found = finder.found;
    let shared = shared(&found);
    let mut parts: Vec<(Option<&[String]>, StageParameters)> = Vec::new();
    for one in &found {
        let of = element(&one.path[shared..]);
        let same = parts.last().is_some_and(|(before, _)| *before == of);
        // Fields behind a list belong to its last element.
        if !same && (of.is_some() || parts.is_empty()) {
            parts.push((of, StageParameters::default()));
        }
        let Some((_, part)) = parts.last_mut().filter(|_| one.active) else { continue };
        if one.flag { part.flags.push(one.id) } else { part.parameters.push(one.id) }
    }
    parts.into_iter().map(|(_, part)| part).collect()
}

/// How many steps all paths have in common: the family's name, and a field around everything.
fn shared(found: &[Found]) -> usize {
    let Some(first) = found.first() else { return 0 };
    let all = |at: usize| found.iter().all(|one| one.path.get(at) == first.path.get(at));
    (0..first.path.len()).take_while(|at| all(*at)).count()
}

/// The element of a list (or a field that is numbered) that a path begins with.
fn element(path: &[String]) -> Option<&[String]> {
    let number = |step: &String| step.bytes().all(|byte| byte.is_ascii_digit());
    let numbered = |step: &String| step.ends_with(|last: char| last.is_ascii_digit());
    match path {
        [first, second, ..] if number(second) && !number(first) => Some(&path[..2]),
        [first, ..] if numbered(first) => Some(&path[..1]),
        _ => None,
    }
}

/// Which maps each part feeds, as a map's gradient tells.
fn fed(encoder: &Encoder, parts: &[StageParameters]) -> Vec<Vec<bool>> {
    let copy = deep_copy(encoder).freeze_norm().set_require_grad(true);
    let device = copy.devices().into_iter().next().unwrap_or_default();
    let mut fed = vec![Vec::new(); parts.len()];
    for map in 0..copy.strides().len() {
        let picture = Tensor::<4>::zeros([1, copy.in_channels(), SIDE, SIDE], &device);
        let mut touched = Touched {
            gradients: copy.forward(picture).maps[map].clone().sum().backward(),
            ids: BTreeSet::new(),
        };
        copy.visit(&mut touched);
        for (part, fed) in parts.iter().zip(&mut fed) {
            fed.push(part.parameters.iter().any(|id| touched.ids.contains(&id.val())));
        }
    }
    fed
}

struct Touched {
    gradients: burn::tensor::Gradients,
    ids: BTreeSet<u64>,
}

impl ModuleVisitor for Touched {
    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
        if parameter.is_require_grad() && parameter.base().grad(&self.gradients).is_some() {
            self.ids.insert(parameter.id.val());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoder::EncoderConfig;

    #[test]
    fn every_encoder_has_stages_that_hold_all_its_parameters_once() {
        let device = Device::flex().autodiff();
        for config in EncoderConfig::all() {
            if !config.name().ends_with("-tiny") {
                continue;
            }
            let encoder = config.init(&device);
            let stages = stages(&encoder);
            assert!(stages.len() >= 2, "{config}: {} stages", stages.len());
            let mut finder = Finder::default();
            encoder.visit(&mut finder);
            let count = |of: fn(&StageParameters) -> &Vec<ParamId>| {
                let ids: Vec<u64> = stages.iter().flat_map(of).map(|id| id.val()).collect();
                assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "{config}");
                ids.len()
            };
            let learn = |flag: bool| {
                finder.found.iter().filter(|one| one.active && one.flag == flag).count()
            };
            assert_eq!(count(|stage| &stage.parameters), learn(false), "{config}");
            assert_eq!(count(|stage| &stage.flags), learn(true), "{config}");
            // What is deeper feeds no more maps.
            let fed = fed(&encoder, &stages);
            let counts: Vec<usize> =
                fed.iter().map(|fed| fed.iter().filter(|fed| **fed).count()).collect();
            assert!(counts.windows(2).all(|pair| pair[0] >= pair[1]), "{config}: {counts:?}");
        }
    }

    #[test]
    fn the_stages_of_networks_with_maps_of_several_strides_are_those_of_the_maps() {
        let device = Device::flex().autodiff();
        for name in ["resnet-tiny", "vgg-tiny", "efficientnet-lite-tiny"] {
            let encoder = name.parse::<EncoderConfig>().unwrap().init(&device);
            assert_eq!(stages(&encoder).len(), encoder.strides().len(), "{name}");
            assert!(
                stages(&encoder.freeze_norm().no_grad())
                    .iter()
                    .all(|stage| { stage.parameters.is_empty() && stage.flags.is_empty() })
            );
        }
    }
}
