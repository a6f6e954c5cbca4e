//! An encoder and a head as they are trained on episodes.

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::prelude::*;
use kshot_data::mask::{BACKGROUND, Mask, VOID};

use super::{
    AnyHead, AnyTask, EpisodeInput, EpisodeMaps, EpisodicHead, HeadStep, LabelledMaps, Maps, Seen,
};
use super::{Episodic, SegmentationEpisode};
use crate::contract::episodic::{scalar, share_right};
use crate::contract::{Objective, StepResult};
use crate::device;
use crate::encoder::{Encode, Encoder};
use crate::loss::LossConfig;
use crate::metric::confusion::Confusion;
use crate::metric::state::MetricState;
use crate::nn::on_cpu;

/// An encoder, and a head that labels pictures by its maps from a few labelled ones.
#[derive(Module, Debug)]
pub struct EpisodicSegmenter {
    encoder: Encoder,
    head: AnyHead,
    #[module(skip)]
    input: EpisodeInput,
    #[module(skip)]
    loss: LossConfig,
    /// Classes of the data set, by which validation counts.
    #[module(skip)]
    classes: usize,
}

impl EpisodicSegmenter {
    /// Around an encoder, for episodes of a data set of so many classes; what learns of the head is random.
    pub fn new(encoder: Encoder, method: &Episodic, loss: LossConfig, classes: usize) -> Self {
        let input = method.input();
        let channels = encoder.channels();
        let deepest = channels.len().saturating_sub(input.stages);
        let device = encoder.devices().into_iter().next().unwrap_or_default();
        let head = method.init(&channels[deepest..], classes, &device);
        Self { encoder, head, input, loss, classes }
    }

    /// What pictures become.
    pub fn input(&self) -> EpisodeInput {
        self.input
    }

    /// What it was made around.
    pub fn into_encoder(self) -> Encoder {
        self.encoder
    }

    /// The encoder.
    pub fn encoder(&self) -> &Encoder {
        &self.encoder
    }

    /// The same for inference, faster.
    #[must_use]
    pub fn optimize(self) -> Self {
        Self { encoder: self.encoder.optimize(), ..self }
    }

    /// Whether a query is fitted at test time.
    pub fn is_transductive(&self) -> bool {
        self.head.is_transductive()
    }

    /// The maps of pictures `[batch, 3, height, width]`, normalised: each of unit length over its channels.
    pub fn maps(&self, images: Tensor<4>) -> Maps {
        Maps::deepest(self.encoder.forward(images).maps, self.input.stages)
    }

    /// What labelled pictures say.
    pub fn task(&self, support: &LabelledMaps) -> AnyTask {
        self.head.task(support)
    }

    /// Logits `[batch, ways + 1, size[0], size[1]]` of pictures by their maps.
    pub fn logits(&self, task: &AnyTask, query: &Maps, size: [usize; 2]) -> Tensor<4> {
        self.head.logits(task, query, size)
    }

    fn seen(&self, seen: Seen) -> Maps {
        match seen {
            Seen::Images(images) => self.maps(images),
            Seen::Maps(maps) => maps,
        }
    }

    /// An episode by its maps.
    fn opened(&self, episode: SegmentationEpisode) -> EpisodeMaps {
        let ways = episode.classes.len();
        let (support, labels) = episode.support;
        let support = LabelledMaps::of_episode(self.seen(support), labels, ways);
        let known = if episode.is_main { episode.classes } else { Vec::new() };
        let support = LabelledMaps { known, ..support };
        let (query, labels) = episode.query;
        EpisodeMaps { support, query: self.seen(query), labels, all: episode.all }
    }

    /// The training loss of an episode, `[1]`, and the query's logits.
    pub fn loss_of(&self, episode: SegmentationEpisode) -> (Tensor<1>, Tensor<4>) {
        self.loss_of_maps(&self.opened(episode))
    }

    fn loss_of_maps(&self, episode: &EpisodeMaps) -> (Tensor<1>, Tensor<4>) {
        let [_, height, width] = episode.labels.dims();
        let task = self.head.task(&episode.support);
        let logits = self.head.train_logits(&task, &episode.query, [height, width]);
        let loss = self.loss.forward(logits.clone(), episode.labels.clone());
        let loss = match self.head.more_loss(episode, &logits) {
            Some(more) => loss + more,
            None => loss,
        };
        (loss, logits)
    }
}

impl Objective for EpisodicSegmenter {
    type Item = Vec<SegmentationEpisode>;

    fn encoder(&self) -> Option<&Encoder> {
        Some(&self.encoder)
    }

    fn step(&self, episodes: Vec<SegmentationEpisode>) -> StepResult {
        let count = episodes.len() as f64;
        if let Some(first) = episodes.first() {
            // Noise that a head draws is the same whether training was interrupted or not.
            let id = first.id;
            device::seed(&first.all.device(), id.seed.rotate_left(32) ^ id.index);
        }
        let episodes: Vec<EpisodeMaps> = episodes.into_iter().map(|of| self.opened(of)).collect();
        if let Some(HeadStep { loss, gradients }) = self.head.step(&episodes) {
            let metrics = MetricState::default().with_mean("loss", loss, count);
            return StepResult { loss, gradients, metrics };
        }
        let (mut losses, mut shares) = (Vec::new(), Vec::new());
        for episode in &episodes {
            let (loss, logits) = self.loss_of_maps(episode);
            shares.push(share_right(&logits.inner(), &episode.labels));
            losses.push(loss);
        }
        let total = Tensor::cat(losses, 0).mean();
        let loss = total.clone().inner();
        let share = Tensor::cat(shares, 0).mean();
        let gradients = GradientsParams::from_grads(total.backward(), self);
        if on_cpu(&loss) {
            let (loss, share) = (f64::from(scalar(&loss)), f64::from(scalar(&share)));
            let metrics = MetricState::default()
                .with_mean("loss", loss, count)
                .with_mean("accuracy", share, count);
            return StepResult { loss, gradients, metrics };
        }
        let metrics = MetricState::default()
            .with_unread_mean("loss", loss, count)
            .with_unread_mean("accuracy", share, count);
        StepResult { loss: f64::NAN, gradients, metrics }
    }

    /// Counts pixels by the classes of the data set, so that the mean IoU is over all of them.
    fn evaluate(&self, episodes: Vec<SegmentationEpisode>) -> MetricState {
        let mut state = MetricState::default();
        for episode in episodes {
            let classes = episode.classes.clone();
            let EpisodeMaps { support, query, labels, .. } = self.opened(episode);
            let [queries, height, width] = labels.dims();
            let logits = self.head.logits(&self.head.task(&support), &query, [height, width]);
            let loss = scalar(&self.loss.forward(logits.clone(), labels.clone()));
            let of_class = |way: i64| of_class(&classes, way);
            let found = logits.argmax(1).into_data();
            let mask = |pixels: Vec<u8>| Mask { width, height: queries * height, pixels };
            let found = mask(found.iter::<i64>().map(of_class).collect());
            let truth = mask(labels.into_data().iter::<i64>().map(of_class).collect());
            let mut confusion = Confusion::new(self.classes + 1);
            // Sizes are equal and classes below the bound.
            let _ = confusion.add(&truth, &found);
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
fn of_class(classes: &[usize], way: i64) -> u8 {
    match way {
        0 => BACKGROUND,
        255 => VOID,
        way => classes[way as usize - 1] as u8,
    }
}
