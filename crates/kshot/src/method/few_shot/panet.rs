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
use burn::tensor::TensorData;
use kshot_data::mask::{BACKGROUND, Mask, VOID};

use crate::contract::episodic::{self, FewShot, scalar};
use crate::contract::{Objective, StepResult};
use crate::data::batch::{Batch, Episode};
use crate::encoder::{Encode, Encoder};
use crate::error::{Error, Result};
use crate::features::score_map::taps;
use crate::loss::cross_entropy::{pixel_cross_entropy, pixel_cross_entropy_rows};
use crate::metric::confusion::Confusion;
use crate::metric::state::MetricState;
use crate::nn::on_cpu;

/// How it compares and by what it is trained.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PanetConfig {
    /// Side of the square that pictures are resized to, in pixels.
    #[schemars(range(min = *SIZES.start(), max = *SIZES.end()))]
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

impl PanetConfig {
    /// Checks the numbers.
    ///
    /// # Errors
    /// If one is out of bounds; the key is named.
    pub fn check(&self) -> Result<()> {
        let wrong =
            |key: &str, text: String| Err(Error::config(text).at_key(format!("method.{key}")));
        if !SIZES.contains(&self.size) {
            let (least, most) = (SIZES.start(), SIZES.end());
            return wrong("size", format!("{} pixels; valid are {least} to {most}", self.size));
        }
        if self.stages == 0 {
            return wrong("stages", "0 stages; at least 1 of the encoder's is used".to_owned());
        }
        if !(self.scale > 0.0 && self.align >= 0.0 && (self.scale + self.align).is_finite()) {
            let given = format!("scale {} and align {}", self.scale, self.align);
            return wrong("scale", format!("{given}; scale is above 0, align 0 or more"));
        }
        Ok(())
    }
}

/// Sides of the square that make sense, in pixels.
const SIZES: std::ops::RangeInclusive<usize> = 32..=2048;

/// Its name in recipes.
pub const NAME: &str = "panet";
/// One line for lists.
pub const SUMMARY: &str =
    "segmentation by prototypes of an encoder that is meta-trained from episodes";
/// The address of the paper.
pub const SOURCE: &str = "https://arxiv.org/abs/1908.06391";

/// Added to areas, so that an empty mask has a prototype of 0.
const SPECK: f32 = 1e-5;
/// Keeps the gradient of a length finite at 0.
const TINY: f32 = 1e-12;

/// An encoder that is meta-trained.
#[derive(Module, Debug)]
pub struct Panet {
    encoder: Encoder,
    #[module(skip)]
    config: PanetConfig,
    /// Classes of the data set, by which validation counts.
    #[module(skip)]
    classes: usize,
}

/// Maps of some pictures, finest first: each `[batch, channels, height, width]`, of unit length over
/// the channels.
#[derive(Debug, Clone)]
pub struct Maps(Vec<Tensor<4>>);

impl Maps {
    /// From an encoder's maps.
    pub fn new(maps: Vec<Tensor<4>>) -> Self {
        let unit = |map: Tensor<4>| {
            let length = (map.clone().square().sum_dim(1) + TINY).sqrt();
            map / length
        };
        Self(maps.into_iter().map(unit).collect())
    }

    /// Those of several pictures together.
    pub fn cat(all: &[Self]) -> Self {
        let stages = all.first().map_or(0, |maps| maps.0.len());
        let stage = |at: usize| Tensor::cat(all.iter().map(|maps| maps.0[at].clone()).collect(), 0);
        Self((0..stages).map(stage).collect())
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.0.iter().map(|map| map.dims().iter().product::<usize>() * 4).sum()
    }

    /// Each picture's masked averages: `[batch, planes, channels]` from masks `[batch, planes, height,
    /// width]` of 0 and 1.
    fn averages(&self, masks: &Tensor<4>) -> Tensor<3> {
        let [batch, planes, height, width] = masks.dims();
        let area = masks.clone().sum_dim(3).sum_dim(2).reshape([batch, planes, 1]) + SPECK;
        let sums = self.0.iter().map(|map| {
            let [_, channels, rows, columns] = map.dims();
            // Bringing maps up and weighing them is weighing them by the masks brought down.
            let down = taps_matrix(height, rows, &masks.device()).transpose().unsqueeze::<4>();
            let across = taps_matrix(width, columns, &masks.device()).unsqueeze::<4>();
            let weights = down.matmul(masks.clone()).matmul(across);
            let weights = weights.reshape([batch, planes, rows * columns]);
            let cells = map.clone().reshape([batch, channels, rows * columns]);
            weights.matmul(cells.swap_dims(1, 2))
        });
        Tensor::cat(sums.collect(), 2) / area
    }

    /// Logits `[batch, planes, height, width]` by prototypes `[planes, channels]`.
    pub fn logits(
        &self,
        prototypes: &Tensor<2>,
        [height, width]: [usize; 2],
        scale: f32,
    ) -> Tensor<4> {
        let logits = self
            .coarse(prototypes, scale)
            .into_iter()
            .map(|logits| kshot_kernels::bilinear(logits, [height, width], false));
        logits.reduce(|sum, logits| sum + logits).unwrap_or_else(|| panic!("at least one stage"))
    }

    /// The share of each stage in the logits, at its own size.
    fn coarse(&self, prototypes: &Tensor<2>, scale: f32) -> Vec<Tensor<4>> {
        let [planes, _] = prototypes.dims();
        let length = (prototypes.clone().square().sum_dim(1) + TINY).sqrt();
        // A pixel of unit length in every stage has length sqrt(stages).
        let unit = prototypes.clone() / length * (scale / (self.0.len() as f32).sqrt());
        let mut start = 0;
        self.0
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

/// The labels as planes of 0 and 1, `[batch, planes, height, width]`; pixels of 255 are in none.
pub fn planes_of(labels: &Tensor<3, Int>, planes: usize) -> Tensor<4> {
    let plane =
        |value: usize| labels.clone().equal_elem(value as i64).float().unsqueeze_dim::<4>(1);
    Tensor::cat((0..planes).map(plane).collect(), 1)
}

/// The losses of an episode from its maps: of the query, and of the support by alignment if asked for.
pub fn losses(
    support: (&Maps, &Tensor<3, Int>),
    query: (&Maps, &Tensor<3, Int>),
    ways: usize,
    scale: f32,
    align: bool,
) -> (Tensor<1>, Option<Tensor<1>>, Tensor<4>) {
    let [_, height, width] = query.1.dims();
    let prototypes = class_prototypes(support.0, &planes_of(support.1, ways + 1));
    let logits = query.0.logits(&prototypes, [height, width], scale);
    let loss = pixel_cross_entropy(&logits, query.1);
    let aligned = align.then(|| alignment(support, query.0, &logits, ways, scale));
    (loss, aligned, logits)
}

/// Prototype alignment regularisation: the support segmented by prototypes of the predicted query.
fn alignment(
    (support, labels): (&Maps, &Tensor<3, Int>),
    query: &Maps,
    logits: &Tensor<4>,
    ways: usize,
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
            let one = Maps(support.0.iter().map(|map| map.clone().narrow(0, shot, 1)).collect());
            let own = labels.clone().narrow(0, shot, 1);
            let is_own = own.clone().equal_elem(way as i64 + 1);
            let own = own.mask_fill(is_own, 1);
            let loss = pixel_cross_entropy(&one.logits(&two, [height, width], scale), &own);
            let loss = if known.is_some() { loss } else { loss * counts.clone() };
            total = total + loss / pictures as f32;
        }
    }
    total
}

impl Panet {
    /// Around an encoder, for episodes of a data set of so many classes.
    pub fn new(encoder: Encoder, config: PanetConfig, classes: usize) -> Self {
        Self { encoder, config, classes }
    }

    /// Its settings.
    pub fn config(&self) -> &PanetConfig {
        &self.config
    }

    /// What it was made around.
    pub fn into_encoder(self) -> Encoder {
        self.encoder
    }

    /// The same for inference, faster.
    #[must_use]
    pub fn optimize(self) -> Self {
        Self { encoder: self.encoder.optimize(), ..self }
    }

    /// The maps of pictures `[batch, 3, height, width]`, normalised.
    pub fn maps(&self, images: Tensor<4>) -> Maps {
        let mut maps = self.encoder.forward(images).maps;
        Maps::new(maps.split_off(maps.len().saturating_sub(self.config.stages)))
    }

    fn of_support(&self, support: &Batch<3>, ways: usize) -> Tensor<2> {
        class_prototypes(&self.maps(support.images.clone()), &planes_of(&support.labels, ways + 1))
    }
}

/// `[batch, planes, height, width]` as a row a pixel.
fn as_rows(logits: Tensor<4>) -> Tensor<2> {
    let [batch, planes, height, width] = logits.dims();
    logits.permute([0, 2, 3, 1]).reshape([batch * height * width, planes])
}

impl FewShot<3> for Panet {
    fn predict(&self, episode: &Episode<3>) -> Tensor<2> {
        let prototypes = self.of_support(&episode.support, episode.ways);
        let [_, height, width] = episode.query.labels.dims();
        let maps = self.maps(episode.query.images.clone());
        as_rows(maps.logits(&prototypes, [height, width], self.config.scale))
    }

    fn loss(&self, episode: &Episode<3>) -> (Tensor<1>, Tensor<2>) {
        let support = self.maps(episode.support.images.clone());
        let query = self.maps(episode.query.images.clone());
        let (loss, aligned, logits) = losses(
            (&support, &episode.support.labels),
            (&query, &episode.query.labels),
            episode.ways,
            self.config.scale,
            self.config.align > 0.0,
        );
        let loss = match aligned {
            Some(aligned) => loss + aligned * self.config.align,
            None => loss,
        };
        (loss, as_rows(logits))
    }
}

impl Objective for Panet {
    type Item = Vec<Episode<3>>;

    fn encoder(&self) -> Option<&Encoder> {
        Some(&self.encoder)
    }

    fn step(&self, episodes: Vec<Episode<3>>) -> StepResult {
        episodic::step(self, &episodes)
    }

    /// Counts pixels by the classes of the data set, so that the mean IoU is over all of them.
    fn evaluate(&self, episodes: Vec<Episode<3>>) -> MetricState {
        let mut state = MetricState::default();
        for episode in &episodes {
            let scores = self.predict(episode);
            let labels = &episode.query.labels;
            let loss = scalar(&pixel_cross_entropy_rows(scores.clone(), labels));
            let [queries, height, width] = labels.dims();
            let found: Vec<u8> = scores
                .argmax(1)
                .into_data()
                .iter::<i64>()
                .map(|way| of_class(episode, way))
                .collect();
            let truth: Vec<u8> =
                labels.to_data().iter::<i64>().map(|way| of_class(episode, way)).collect();
            let mut confusion = Confusion::new(self.classes + 1);
            let mask = |pixels: Vec<u8>| Mask { width, height: queries * height, pixels };
            // Sizes are equal and classes below the bound.
            let _ = confusion.add(&mask(truth), &mask(found));
            state.merge(
                &MetricState::default()
                    .with_mean("loss", f64::from(loss), 1.0)
                    .with_confusion(confusion),
            );
        }
        state
    }

    fn monitor(&self) -> &'static str {
        "mean_iou"
    }
}

/// The class of the data set that an episode's way stands for; background and void stay.
fn of_class(episode: &Episode<3>, way: i64) -> u8 {
    match way {
        0 => BACKGROUND,
        255 => VOID,
        way => episode.classes[way as usize - 1] as u8,
    }
}

/// The matrix `[to, from]` of bilinear resizing along one axis.
fn taps_matrix(to: usize, from: usize, device: &Device) -> Tensor<2> {
    let mut values = vec![0.0f32; to * from];
    for (tap, row) in
        taps(to, from, from as f32 / to as f32).iter().zip(values.chunks_exact_mut(from))
    {
        row[tap.low] += 1.0 - tap.weight;
        row[tap.high] += tap.weight;
    }
    Tensor::from_data(TensorData::new(values, [to, from]), device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_out_of_bounds_are_refused_by_name() {
        assert!(PanetConfig::default().check().is_ok());
        for (config, key) in [
            (PanetConfig { size: 9_999_999, ..PanetConfig::default() }, "size"),
            (PanetConfig { stages: 0, ..PanetConfig::default() }, "stages"),
            (PanetConfig { align: -1.0, ..PanetConfig::default() }, "scale"),
            (PanetConfig { scale: f32::NAN, ..PanetConfig::default() }, "scale"),
        ] {
            let error = config.check().unwrap_err().to_string();
            assert!(error.contains(&format!("method.{key}")), "{error}");
        }
    }

    #[test]
    fn a_prototype_of_a_flat_mask_is_the_map_itself() {
        let device = Device::flex();
        let map = Tensor::<4>::ones([1, 2, 3, 4], &device);
        let masks = Tensor::<4>::ones([1, 1, 9, 7], &device);
        let average = Maps::new(vec![map]).averages(&masks);
        for value in average.into_data().iter::<f32>() {
            assert!((value - 0.5f32.sqrt()).abs() < 1e-5, "{value}");
        }
    }
}
