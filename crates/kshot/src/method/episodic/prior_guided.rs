//! `prior-guided`: a decoder that sees the query beside what the labelled pictures say (prototype and highest cosines,
//! the prior of PFENet, Tian et al., TPAMI 2020, arXiv 2008.01449), beside a learnt prior of objectness: where anyone
//! would label something, whatever it is; and beside the classes of training that it recognises and that are not asked
//! for (BAM, Lang et al., CVPR 2022, arXiv 2203.07615).
//!
//! Objectness is a small decoder of its own on the query's maps, trained in the same steps to tell labelled pixels from
//! background, whatever their class; base classes are a linear layer beside it, trained on the main data set's classes.
//! Deviations: PFENet has the highest cosine of the deepest stage alone; BAM's base learner is a whole network, trained
//! beforehand. Not transductive.

use burn::module::Module;
use burn::prelude::*;
use burn::tensor::activation::{sigmoid, softmax};

use super::dense_correlation::{FACTS, LabelledCells, on_grid};
use super::maps::{EpisodeMaps, LabelledMaps, Maps, cell_shares};
use super::parts::{Embedding, PixelScores, against_background, means};
use super::{EpisodeInput, EpisodicConfig, EpisodicHead};
use crate::loss::cross_entropy::pixel_cross_entropy;
use crate::nn::{Conv, ConvConfig};

/// What the decoder sees.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PriorGuidedConfig {
    /// Side of the square that pictures are resized to, in pixels.
    #[schemars(range(min = 32, max = 2048))]
    pub size: usize,
    /// How many of the encoder's deepest stages are used.
    #[schemars(range(min = 1, max = 16))]
    pub stages: usize,
    /// Cells a side of the grid on which pictures are compared.
    #[schemars(range(min = 2, max = 128))]
    pub grid: usize,
    /// Channels of the decoder.
    #[schemars(range(min = 1, max = 4096))]
    pub width: usize,
    /// Share of the decoder's hidden maps that training drops.
    #[schemars(range(min = 0.0, max = 0.95))]
    pub dropout: f64,
    /// What the loss of the prior of objectness counts; 0 leaves the prior out.
    #[schemars(range(min = 0.0, max = 1000.0))]
    pub objectness: f64,
    /// What the loss of the base classes counts; 0 leaves them out.
    #[schemars(range(min = 0.0, max = 1000.0))]
    pub base_classes: f64,
}

impl Default for PriorGuidedConfig {
    fn default() -> Self {
        Self {
            size: 416,
            stages: 3,
            grid: 26,
            width: 48,
            dropout: 0.1,
            objectness: 0.5,
            base_classes: 0.5,
        }
    }
}

impl EpisodicConfig for PriorGuidedConfig {
    type Head = PriorGuided;
    const NAME: &'static str = "prior-guided";
    const SUMMARY: &'static str = "a decoder with learnt priors: what anyone would label, and which known classes are not asked for";
    const SOURCE: &'static str = "https://arxiv.org/abs/2203.07615";

    fn input(&self) -> EpisodeInput {
        EpisodeInput { size: self.size, stages: self.stages }
    }

    fn init(&self, channels: &[usize], classes: usize, device: &Device) -> PriorGuided {
        let (width, dropout) = (self.width, self.dropout);
        let priors = usize::from(self.objectness > 0.0) + usize::from(self.base_classes > 0.0);
        let seen = 2 * width + FACTS * channels.len() + priors;
        let objectness = (self.objectness > 0.0).then(|| Objectness {
            embedding: Embedding::new(channels, width, device),
            scores: PixelScores::new(width, width, 1, dropout, device),
        });
        let base = (self.base_classes > 0.0 && classes > 0).then(|| BaseClasses {
            embedding: Embedding::new(channels, width, device),
            classify: ConvConfig::new([width, classes + 1], 1).init(true, device),
        });
        let seen = if base.is_none() && self.base_classes > 0.0 { seen - 1 } else { seen };
        PriorGuided {
            embedding: Embedding::new(channels, width, device),
            objectness,
            base,
            decoder: PixelScores::new(seen, width, 1, dropout, device),
            config: self.clone(),
        }
    }
}

/// Where anyone would label something.
#[derive(Module, Debug)]
struct Objectness {
    embedding: Embedding,
    scores: PixelScores,
}

/// The classes of training.
#[derive(Module, Debug)]
struct BaseClasses {
    embedding: Embedding,
    classify: Conv,
}

/// The decoder and its priors.
#[derive(Module, Debug)]
pub struct PriorGuided {
    embedding: Embedding,
    objectness: Option<Objectness>,
    base: Option<BaseClasses>,
    decoder: PixelScores,
    #[module(skip)]
    config: PriorGuidedConfig,
}

/// What is asked for of one class.
#[derive(Debug, Clone)]
pub struct GuidedTask {
    cells: LabelledCells,
    /// `[1, width]`
    prototype: Tensor<2>,
    /// Its number among the classes of training, where it is one.
    known: Option<usize>,
}

impl Objectness {
    /// `[batch, 1, rows, columns]` of maps.
    fn logits(&self, maps: &Maps) -> Tensor<4> {
        self.scores.forward(self.embedding.forward(maps))
    }
}

impl BaseClasses {
    /// `[batch, classes + 1, rows, columns]` of maps.
    fn logits(&self, maps: &Maps) -> Tensor<4> {
        self.classify.forward(self.embedding.forward(maps))
    }

    /// The probability of a class of training that is not asked for.
    fn others(probabilities: &Tensor<4>, known: Option<usize>) -> Tensor<4> {
        let [_, planes, ..] = probabilities.dims();
        let all = probabilities.clone().narrow(1, 1, planes - 1).sum_dim(1);
        match known {
            Some(class) if class < planes => all - probabilities.clone().narrow(1, class, 1),
            _ => all,
        }
    }
}

impl EpisodicHead for PriorGuided {
    type Task = Vec<GuidedTask>;

    fn task(&self, support: &LabelledMaps) -> Vec<GuidedTask> {
        let of_way = |way: usize| {
            let (maps, masks) = support.way(way);
            let embedding = self.embedding.forward(&maps);
            let [.., rows, columns] = embedding.dims();
            let shares = cell_shares(&masks, [rows, columns]).narrow(1, 1, 1);
            GuidedTask {
                cells: LabelledCells::of(support, way, self.config.grid),
                prototype: means(&embedding, &shares),
                known: support.known.get(way).copied(),
            }
        };
        (0..support.ways()).map(of_way).collect()
    }

    fn logits(&self, task: &Vec<GuidedTask>, query: &Maps, size: [usize; 2]) -> Tensor<4> {
        let seen = on_grid(query, self.config.grid);
        let own = self.embedding.forward(query);
        let [batch, width, rows, columns] = own.dims();
        // Priors are taken as they are: their own losses train them.
        let objectness = self.objectness.as_ref().map(|of| sigmoid(of.logits(query)).detach());
        let base = self.base.as_ref().map(|of| softmax(of.logits(query), 1).detach());
        let of_way = |task: &GuidedTask| {
            let facts = seen.0.iter().enumerate();
            let facts = facts.map(|(stage, map)| task.cells.facts(stage, map.clone())).collect();
            let facts = kshot_kernels::bilinear(Tensor::cat(facts, 1), [rows, columns], false);
            let prototype = task.prototype.clone().reshape([1, width, 1, 1]);
            let prototype = prototype.expand([batch, width, rows, columns]);
            let base = base.as_ref().map(|of| BaseClasses::others(of, task.known));
            let priors = [objectness.clone(), base].into_iter().flatten();
            let inputs = [own.clone(), prototype, facts].into_iter().chain(priors);
            self.decoder.forward(Tensor::cat(inputs.collect(), 1))
        };
        against_background(task.iter().map(of_way).collect(), size)
    }

    fn more_loss(&self, episode: &EpisodeMaps, _logits: &Tensor<4>) -> Option<Tensor<1>> {
        let unit = &episode.query;
        let [_, height, width] = episode.all.dims();
        let objectness = self.objectness.as_ref().map(|of| {
            let any = episode.all.clone();
            let is_any = any.clone().greater_elem(0).int() * any.clone().lower_elem(254).int();
            let any = any.mask_fill(is_any.equal_elem(1), 1);
            let logits = against_background(vec![of.logits(unit)], [height, width]);
            pixel_cross_entropy(&logits, &any) * self.config.objectness
        });
        // Classes of another data set have other numbers.
        let base = self.base.as_ref().filter(|_| !episode.support.known.is_empty()).map(|of| {
            let logits = kshot_kernels::bilinear(of.logits(unit), [height, width], false);
            pixel_cross_entropy(&logits, &episode.all) * self.config.base_classes
        });
        [objectness, base].into_iter().flatten().reduce(|sum, loss| sum + loss)
    }
}
