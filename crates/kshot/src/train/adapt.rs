//! A network as a recipe trains it: what is frozen for good, and what learns by adapters.

use burn::module::{Module, ModuleVisitor, Param};
use burn::prelude::*;

use crate::decoder::{Segmenter, classes};
use crate::encoder::{Encode, Encoder};
use crate::error::{Error, Result};
use crate::nn::lora::{LoraPart, adapted};
use crate::nn::norm::freeze_norm;
use crate::recipe::{Freeze, FrozenPart, Model};

/// The encoder; `usual` is frozen where the recipe says nothing.
///
/// # Errors
/// If it has no kernels for the adapters that are asked for.
pub fn encoder(model: &Model, encoder: Encoder, usual: FrozenPart) -> Result<Encoder> {
    let freeze = model.freeze.unwrap_or(Freeze::Part(match model.lora {
        Some(_) => FrozenPart::Norm,
        None => usual,
    }));
    let encoder = match freeze {
        Freeze::Part(FrozenPart::None) => encoder,
        Freeze::Part(FrozenPart::Norm) => encoder.freeze_norm(),
        Freeze::Part(FrozenPart::Encoder) => encoder.freeze_norm().no_grad(),
        Freeze::Layers(layers) if layers.norm => encoder.freeze_norm(),
        Freeze::Layers(_) => encoder,
    };
    let Some(lora) = model.lora else { return Ok(encoder) };
    let attends = |path: &str| path.split('.').any(|step| step.contains("attention"));
    let has = |path: &str| lora.on != LoraPart::Attention || attends(path);
    match adapted(encoder, lora, has, &|_| false) {
        (_, 0) => {
            let text = "this encoder has no attention; write on = \"encoder\"";
            Err(Error::config(text).at_key("model.lora.on"))
        }
        (encoder, _) => Ok(encoder),
    }
}

/// An encoder and a decoder for so many classes, background included.
///
/// # Errors
/// As [`encoder`].
pub fn segmenter(model: &Model, segmenter: Segmenter, count: usize) -> Result<Segmenter> {
    let Segmenter { encoder: network, decoder } = segmenter;
    let maps = (network.channels(), network.strides());
    let encoder = encoder(model, network, FrozenPart::None)?;
    let decoder = match model.lora {
        Some(lora) if lora.on == LoraPart::All => {
            let maps = (&maps.0[..], &maps.1[..]);
            let last = classes::of_classes(&model.decoder, maps, count)?;
            let learns = |path: &str| last.contains_key(path);
            let kept = model.freeze == Some(Freeze::Part(FrozenPart::None));
            let decoder = if kept { decoder } else { freeze_norm(decoder) };
            adapted(decoder, lora, |_| true, &learns).0
        }
        _ => decoder,
    };
    Ok(Segmenter { encoder, decoder })
}

/// How many parameters learn where adapters do, in words.
pub fn told<M: Module>(model: &Model, module: &M) -> Option<String> {
    struct Learning(usize);
    impl ModuleVisitor for Learning {
        fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
            if parameter.is_require_grad() {
                self.0 += parameter.lazy_shape().num_elements();
            }
        }
    }
    let lora = model.lora?;
    let mut learning = Learning(0);
    module.visit(&mut learning);
    let (rank, all) = (lora.rank, module.num_params());
    Some(format!("adapters of rank {rank}: {} of {all} parameters learn", learning.0))
}
