//! `panet`: an encoder meta-trained from episodes to make prototypes that segment, after PANet (Wang et al.,
//! ICCV 2019, arXiv 1908.06391).
//!
//! Late fusion: feature maps are brought to the masks' size, averaged under them, and a pixel's logit
//! is the cosine to each class's average times 20. The loss is the cross entropy of the query and,
//! with `align`, of the support segmented back by prototypes of what was predicted in the query.
//! Deviations: the maps are the deepest `stages` of any encoder, each of unit length at every pixel
//! before it is averaged, and the predicted query mask is used at the masks' size, not at the maps'. The
//! encoder's batch normalisation keeps its statistics: an episode holds too few pictures for its own.
//! Not transductive: the loss and the logits of a query depend on that query and the support alone
//! (alignment pools the predicted masks of an episode's queries, in training only).

use burn::module::Module;
use burn::prelude::*;

use super::maps::{EpisodeMaps, LabelledMaps, Maps, SPECK, TINY, planes_of};
use super::{EpisodeInput, EpisodicConfig, EpisodicHead};
use crate::error::{Error, Result};
use crate::loss::cross_entropy::pixel_cross_entropy;
use crate::nn::on_cpu;

/// How it compares and by what it is trained.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PanetConfig {
    /// Side of the square that pictures are resized to, in pixels.
    #[schemars(range(min = 32, max = 2048))]
    pub size: usize,
    /// How many of the encoder's deepest stages are used.
    #[schemars(range(min = 1, max = 16))]
    pub stages: usize,
    /// The logit of a cosine of 1.
    #[schemars(extend("exclusiveMinimum" = 0.0), range(max = 1000.0))]
    pub scale: f32,
    /// Weight of the prototype alignment loss; 0 leaves it out.
    #[schemars(range(min = 0.0, max = 1000.0))]
    pub align: f32,
}

impl Default for PanetConfig {
    fn default() -> Self {
        Self { size: 416, stages: 3, scale: 20.0, align: 1.0 }
    }
}

impl EpisodicConfig for PanetConfig {
    type Head = PanetHead;
    const NAME: &'static str = "panet";
    const SUMMARY: &'static str =
        "prototypes by masked average pooling, cosines; what learns is the encoder";
    const SOURCE: &'static str = "https://arxiv.org/abs/1908.06391";
    const LEARNS_ENCODER: bool = true;

    fn input(&self) -> EpisodeInput {
        EpisodeInput { size: self.size, stages: self.stages }
    }

    fn check(&self) -> Result<()> {
        if self.scale > 0.0 && self.align >= 0.0 && (self.scale + self.align).is_finite() {
            return Ok(());
        }
        let given = format!("scale {} and align {}", self.scale, self.align);
        Err(Error::config(format!("{given}; scale is above 0, align 0 or more"))
            .at_key("method.scale"))
    }

    fn init(&self, _: &[usize], _: usize, _: &Device) -> PanetHead {
        PanetHead { scale: self.scale, align: self.align }
    }
}

/// Nothing that learns: prototypes and cosines.
#[derive(Module, Debug)]
pub struct PanetHead {
    #[module(skip)]
    scale: f32,
    #[module(skip)]
    align: f32,
}

impl EpisodicHead for PanetHead {
    /// `[planes, channels]`
    type Task = Tensor<2>;

    fn task(&self, support: &LabelledMaps) -> Tensor<2> {
        class_prototypes(&support.maps, &support.planes())
    }

    fn logits(&self, prototypes: &Tensor<2>, query: &Maps, size: [usize; 2]) -> Tensor<4> {
        cosine_logits(query, prototypes, size, self.scale)
    }

    fn more_loss(&self, episode: &EpisodeMaps, logits: &Tensor<4>) -> Option<Tensor<1>> {
        if self.align == 0.0 {
            return None;
        }
        let EpisodeMaps { support, query, .. } = episode;
        let support = (&support.maps, &support.labels, support.ways());
        Some(alignment(support, query, logits, self.scale) * self.align)
    }
}

/// Logits `[batch, planes, height, width]` of maps of unit length by prototypes `[planes, channels]`.
pub fn cosine_logits(
    maps: &Maps,
    prototypes: &Tensor<2>,
    [height, width]: [usize; 2],
    scale: f32,
) -> Tensor<4> {
    let logits = cosines(maps, prototypes, scale)
        .into_iter()
        .map(|logits| kshot_kernels::bilinear(logits, [height, width], false));
    logits.reduce(|sum, logits| sum + logits).unwrap_or_else(|| panic!("at least one stage"))
}

/// The share of each stage in the logits, at its own size.
pub(super) fn cosines(maps: &Maps, prototypes: &Tensor<2>, scale: f32) -> Vec<Tensor<4>> {
    let [planes, _] = prototypes.dims();
    let length = (prototypes.clone().square().sum_dim(1) + TINY).sqrt();
    // A pixel of unit length in every stage has length sqrt(stages).
    let unit = prototypes.clone() / length * (scale / (maps.0.len() as f32).sqrt());
    let mut start = 0;
    maps.0
        .iter()
        .map(|map| {
            let [batch, channels, rows, columns] = map.dims();
            let weight = unit.clone().narrow(1, start, channels).unsqueeze::<3>();
            start += channels;
            let cells = map.clone().reshape([batch, channels, rows * columns]);
            weight.matmul(cells).reshape([batch, planes, rows, columns])
        })
        .collect()
}

/// Prototypes `[planes, channels]`, background first: the mean, over the pictures that hold a plane, of each
/// picture's masked average; 0 for a plane that none holds. `masks` are `[batch, planes, height, width]` of 0 and 1.
pub fn class_prototypes(maps: &Maps, masks: &Tensor<4>) -> Tensor<2> {
    let averages = maps.averages(masks);
    let [pictures, planes, channels] = averages.dims();
    let area = masks.clone().sum_dim(3).sum_dim(2).reshape([pictures, planes, 1]);
    let holds = area.greater_elem(0.0).float();
    let sums = (averages * holds.clone()).sum_dim(0).reshape([planes, channels]);
    sums / holds.sum_dim(0).reshape([planes, 1]).clamp_min(1.0)
}

/// Prototype alignment regularisation, `[1]`: the support (maps of unit length, labels, ways; class by class, as many
/// pictures of each) segmented by prototypes of the predicted query.
pub fn alignment(
    (support, labels, ways): (&Maps, &Tensor<3, Int>, usize),
    query: &Maps,
    logits: &Tensor<4>,
    scale: f32,
) -> Tensor<1> {
    let [pictures, height, width] = labels.dims();
    let shots = pictures / ways;
    let [queries, planes, ..] = logits.dims();
    let found = logits.clone().detach().argmax(1).reshape([queries, height, width]);
    let masks = planes_of(&found, planes);
    // Pooled over the queries: sums by area, not each query's average.
    let area = masks.clone().sum_dim(3).sum_dim(2).reshape([queries, planes, 1]);
    let sums = (query.averages(&masks) * (area.clone() + SPECK)).sum_dim(0);
    let areas = area.sum_dim(0);
    let [_, _, channels] = sums.dims();
    let prototypes = (sums / (areas.clone() + SPECK)).reshape([planes, channels]);
    // A class that was predicted nowhere has no prototype. Where the areas cannot be read at no cost, its loss is
    // computed and counts nothing.
    let known = on_cpu(&areas).then(|| areas.to_data().iter::<f32>().collect::<Vec<f32>>());
    let there = areas.reshape([planes]).greater_elem(0.0).float();
    let mut total = Tensor::zeros([1], &labels.device());
    for way in 0..ways {
        if known.as_ref().is_some_and(|areas| areas[way + 1] == 0.0) {
            continue;
        }
        let counts = there.clone().narrow(0, way + 1, 1);
        let two = Tensor::cat(
            vec![prototypes.clone().narrow(0, 0, 1), prototypes.clone().narrow(0, way + 1, 1)],
            0,
        );
        for shot in way * shots..(way + 1) * shots {
            let own = labels.clone().narrow(0, shot, 1);
            let is_own = own.clone().equal_elem(way as i64 + 1);
            let own = own.mask_fill(is_own, 1);
            let logits = cosine_logits(&support.picture(shot), &two, [height, width], scale);
            let loss = pixel_cross_entropy(&logits, &own);
            let loss = if known.is_some() { loss } else { loss * counts.clone() };
            total = total + loss / pictures as f32;
        }
    }
    total
}
