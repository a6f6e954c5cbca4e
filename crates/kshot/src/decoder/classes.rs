//! Which of a decoder's parameters belong to single classes, so that another training can take the others, and those
//! of the classes that it knows too.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::prelude::*;
use burn::tensor::TensorData;

use super::{Decoder, DecoderConfig};
use crate::error::Result;
use crate::nn::weights::plain;

/// What a parameter has to do with the classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OfClasses {
    /// Along this axis lies a share for each class.
    Each(usize),
    /// Its size depends on how many there are in another way.
    Mixed,
}

/// The parameters of a decoder for `count` classes on such maps (channels and strides) that belong to classes, by
/// their paths.
///
/// # Errors
/// If the configuration fits no such maps.
pub fn of_classes(
    config: &DecoderConfig,
    (channels, strides): (&[usize], &[usize]),
    count: usize,
) -> Result<BTreeMap<String, OfClasses>> {
    let device = Device::flex();
    let shapes = |classes: usize| -> Result<BTreeMap<String, Vec<usize>>> {
        let mut shapes = Shapes::default();
        config.init(channels, strides, classes, &device)?.visit(&mut shapes);
        Ok(shapes.found)
    };
    let (now, more) = (shapes(count)?, shapes(count + 1)?);
    let of = |(path, shape): (String, Vec<usize>)| {
        let other = more.get(&path).filter(|other| **other != shape)?;
        let axes: Vec<usize> =
            (0..shape.len()).filter(|&axis| shape[axis] != other[axis]).collect();
        let of = match axes[..] {
            [axis] if shape[axis] == count && other[axis] == count + 1 => OfClasses::Each(axis),
            _ => OfClasses::Mixed,
        };
        Some((path, of))
    };
    Ok(now.into_iter().filter_map(of).collect())
}

/// A decoder with the parameters of another of the same configuration and the same maps, as far as they do not belong
/// to classes; `rows` says for each class (0 is background) which of the other's it is. Classes that are none of the
/// other's keep what they have.
///
/// # Errors
/// If the configuration fits no such maps.
pub fn taken_over(
    decoder: Decoder,
    config: &DecoderConfig,
    maps: (&[usize], &[usize]),
    other: &Decoder,
    rows: &[Option<usize>],
) -> Result<Decoder> {
    let of_classes = of_classes(config, maps, rows.len())?;
    let mut values = Values::default();
    other.visit(&mut values);
    let mut taking = Taking { path: Vec::new(), values: values.found, of_classes, rows };
    Ok(decoder.map(&mut taking))
}

#[derive(Default)]
struct Shapes {
    path: Vec<String>,
    found: BTreeMap<String, Vec<usize>>,
}

impl ModuleVisitor for Shapes {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
        self.found.insert(self.path.join("."), parameter.lazy_shape().as_slice().to_vec());
    }
}

#[derive(Default)]
struct Values {
    path: Vec<String>,
    found: BTreeMap<String, TensorData>,
}

impl ModuleVisitor for Values {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
        self.found.insert(self.path.join("."), plain(parameter.val()).into_data());
    }
}

struct Taking<'a> {
    path: Vec<String>,
    values: BTreeMap<String, TensorData>,
    of_classes: BTreeMap<String, OfClasses>,
    rows: &'a [Option<usize>],
}

impl ModuleMapper for Taking<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let path = self.path.join(".");
        let Some(data) = self.values.remove(&path) else { return parameter };
        let of_classes = self.of_classes.get(&path).copied();
        if of_classes == Some(OfClasses::Mixed) {
            return parameter;
        }
        let rows = self.rows;
        parameter.map(|value| {
            let tracked = value.is_autodiff();
            let value = plain(value);
            let other = Tensor::<D>::from_data(data, &value.device());
            let taken = match of_classes {
                Some(OfClasses::Each(axis)) => {
                    let row = |(class, from): (usize, &Option<usize>)| match from {
                        Some(from) => other.clone().narrow(axis, *from, 1),
                        None => value.clone().narrow(axis, class, 1),
                    };
                    Tensor::cat(rows.iter().enumerate().map(row).collect(), axis)
                }
                _ => other,
            };
            if tracked { Tensor::from_inner(taken).require_grad() } else { taken }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decoder::{Decode, LinearConfig, UNetConfig};
    use crate::encoder::Features;
    use burn::tensor::Distribution;

    #[test]
    fn logits_of_known_classes_are_the_other_decoders() {
        let device = Device::flex();
        device.seed(4);
        let (channels, strides) = ([3, 5], [2, 4]);
        let maps = [[1, 3, 6, 5], [1, 5, 3, 3]];
        let maps = maps.map(|shape| Tensor::random(shape, Distribution::Default, &device));
        let features = Features { maps: maps.to_vec() };
        for config in [
            DecoderConfig::UNet(UNetConfig { width: 8, ..UNetConfig::default() }),
            DecoderConfig::Linear(LinearConfig::default()),
        ] {
            let of = |classes| config.init(&channels, &strides, classes, &device).unwrap();
            let (new, other) = (of(4), of(3));
            let rows = [Some(0), Some(2), None, Some(1)];
            let taken = taken_over(new, &config, (&channels, &strides), &other, &rows).unwrap();
            let logits = |decoder: &Decoder| decoder.forward(&features, [12, 10]);
            let (found, expected) = (logits(&taken), logits(&other));
            for (class, from) in rows.iter().enumerate() {
                let Some(from) = from else { continue };
                let ours = found.clone().narrow(1, class, 1);
                let difference = (ours - expected.clone().narrow(1, *from, 1)).abs().max();
                assert!(difference.into_scalar::<f32>() < 1e-5, "{} {class}", config.name());
            }
        }
    }
}
