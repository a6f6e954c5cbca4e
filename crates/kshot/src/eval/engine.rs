//! How the methods run on an episode: by the very models that label a folder, on features that are kept from episode
//! to episode where a method compares pictures.

use std::sync::Arc;

use image::RgbImage;
use kshot_data::mask::Mask;
use kshot_data::support::{LabelledPicture, Support};

use crate::data::cache::Cache;
use crate::data::dataset::Dataset;
use crate::data::episode::{DrawnEpisode, relabel, support_labels};
use crate::error::{Error, Result};
use crate::features::extract::Extractor;
use crate::features::intensity::Intensity;
use crate::method::episodic::Maps;
use crate::method::few_shot::HeadConfig;
use crate::method::few_shot::self_support::{Bank, SelfSupport};
use crate::postprocess::refine::Labelling;
use crate::predict::compare::{SelfSupportExamples, SelfSupportModel};
use crate::predict::episodic::EpisodicNetwork;
use crate::predict::fit::{FitOptions, fit};
use crate::predict::{Calibrated, Predictor, SegmentationChoice};
use crate::recipe::{Predict, SupportLabels};

/// Bytes of pictures and features that are kept between episodes.
const KEPT: usize = 3 << 30;

/// A picture of the data set, prepared.
pub(super) struct PreparedPicture {
    pub(super) image: RgbImage,
    pub(super) mask: Mask,
    /// What the method keeps of a picture.
    kept: PictureFeatures,
}

enum PictureFeatures {
    Bank(Arc<Bank>),
    Maps(Maps),
    Nothing,
}

impl PreparedPicture {
    fn bank(&self) -> Result<&Arc<Bank>> {
        match &self.kept {
            PictureFeatures::Bank(bank) => Ok(bank),
            // `Engine::prepare` makes one for every picture of `self-support`.
            _ => Err(Error::data("a picture was prepared without features")),
        }
    }

    fn maps(&self) -> Result<&Maps> {
        match &self.kept {
            PictureFeatures::Maps(maps) => Ok(maps),
            // `Engine::prepare` makes them for every picture of such methods.
            _ => Err(Error::data("a picture was prepared without maps")),
        }
    }
}

/// A method, by what it keeps of a picture.
pub(super) enum EpisodeMethod {
    /// Compares features; they are kept.
    SelfSupport(SelfSupport, Extractor),
    /// Fitted to each episode anew.
    Fitted(HeadConfig, Extractor),
    /// Compares the maps of an encoder, meta-trained or not; they are kept.
    Episodic(Box<EpisodicNetwork>),
}

impl EpisodeMethod {
    /// A method that is fitted to labelled pictures.
    pub(super) fn of(config: &HeadConfig, extractor: Extractor) -> Self {
        match config {
            HeadConfig::SelfSupport(method) => Self::SelfSupport(method.clone(), extractor),
            other => Self::Fitted(other.clone(), extractor),
        }
    }
}

/// Runs episodes of one data set with one method.
pub(super) struct Engine {
    kind: EpisodeMethod,
    predict: Predict,
    set: Arc<dyn Dataset>,
    /// What labelled pictures are labelled with.
    labels: SupportLabels,
    prepared: Cache<PreparedPicture>,
}

/// What an episode gave.
pub(super) struct PlayedEpisode {
    /// The query's labels, as the episode numbers them.
    pub(super) truth: Mask,
    /// What was predicted.
    pub(super) predicted: Labelling,
}

impl Engine {
    pub(super) fn new(
        kind: EpisodeMethod,
        predict: &Predict,
        set: Arc<dyn Dataset>,
        labels: SupportLabels,
    ) -> Self {
        Self { kind, predict: predict.clone(), set, labels, prepared: Cache::new(KEPT) }
    }

    /// The labels of a support picture of an episode, strokes by the seed and the picture.
    pub(super) fn labels(
        &self,
        prepared: &PreparedPicture,
        episode: &DrawnEpisode,
        place: usize,
        seed: u64,
    ) -> Mask {
        let way = place / (episode.support.len() / episode.classes.len());
        let mask = support_labels(&prepared.mask, &episode.classes, way);
        self.labels.of(mask, seed ^ episode.support[place] as u64)
    }

    /// Whether a query is fitted at test time.
    pub(super) fn is_transductive(&self) -> bool {
        matches!(&self.kind, EpisodeMethod::Episodic(network) if network.is_transductive())
    }

    /// How many classes the data set has.
    pub(super) fn classes(&self) -> usize {
        self.set.classes().len()
    }

    pub(super) fn prepare(&self, index: usize) -> Result<Arc<PreparedPicture>> {
        self.prepared.get(index, || {
            let image = self.set.image(index)?;
            let mask = self.set.mask(index)?;
            let (kept, bytes) = match &self.kind {
                EpisodeMethod::SelfSupport(method, extractor) => {
                    let bank = method.prepare(extractor, &image)?;
                    let bytes = bank.bytes();
                    (PictureFeatures::Bank(Arc::new(bank)), bytes)
                }
                EpisodeMethod::Episodic(network) => {
                    let maps = network.maps(&image)?;
                    let bytes = maps.bytes();
                    (PictureFeatures::Maps(maps), bytes)
                }
                EpisodeMethod::Fitted(..) => (PictureFeatures::Nothing, 0),
            };
            let bytes = image.len() + mask.pixels.len() + bytes;
            Ok((PreparedPicture { image, mask, kept }, bytes))
        })
    }

    /// Plays an episode; `seed` is for methods that draw.
    pub(super) fn play(&self, episode: &DrawnEpisode, seed: u64) -> Result<PlayedEpisode> {
        let support = (0..episode.support.len())
            .map(|place| {
                let prepared = self.prepare(episode.support[place])?;
                let labels = self.labels(&prepared, episode, place, seed);
                Ok((prepared, labels))
            })
            .collect::<Result<Vec<_>>>()?;
        let query = self.prepare(episode.query)?;
        let truth = relabel(&query.mask, &episode.classes);
        let planes = episode.classes.len() + 1;
        let size = [query.mask.height, query.mask.width];
        // An episode's query holds one of its classes: "none of these" is not an answer.
        let predicted = match &self.kind {
            EpisodeMethod::SelfSupport(method, extractor) => {
                let pictures = support
                    .into_iter()
                    .map(|(prepared, labels)| Ok((Arc::clone(prepared.bank()?), labels)))
                    .collect::<Result<Vec<_>>>()?;
                let examples = Arc::new(SelfSupportExamples::from_banks(method, pictures, planes));
                let model = SelfSupportModel::new(
                    method.clone(),
                    extractor.clone(),
                    examples,
                    Intensity::AsIs,
                );
                let scores = model.scores_of(query.bank()?, size);
                self.predictor(Box::new(model)).label_scores(scores, &query.image)?
            }
            EpisodeMethod::Episodic(network) => {
                let pictures = support
                    .into_iter()
                    .map(|(prepared, labels)| Ok((prepared.maps()?.clone(), labels)))
                    .collect::<Result<Vec<_>>>()?;
                let model = network.model(&pictures, planes)?;
                let scores = model.scores_of(query.maps()?, size);
                self.predictor(Box::new(model)).label_scores(scores, &query.image)?
            }
            EpisodeMethod::Fitted(config, extractor) => {
                let support = self.support(support, episode);
                let options = FitOptions::of(&self.predict, config, seed);
                fit(extractor.clone(), &support, options)?.label(&query.image)?
            }
        };
        Ok(PlayedEpisode { truth, predicted })
    }

    /// Around a model of one episode.
    fn predictor(&self, model: Box<dyn crate::contract::PixelModel>) -> Predictor {
        let choice = SegmentationChoice::given("", String::new());
        Predictor::new(model, Vec::new(), Calibrated::default(), self.predict.refinement, choice)
    }

    fn support(
        &self,
        support: Vec<(Arc<PreparedPicture>, Mask)>,
        episode: &DrawnEpisode,
    ) -> Support {
        let name = |class: &u8| self.set.classes()[usize::from(*class) - 1].clone();
        let pictures = support
            .into_iter()
            .zip(&episode.support)
            .map(|((prepared, mask), &index)| LabelledPicture {
                path: self.set.file(index).to_owned(),
                labels: self.set.label_files(index).into_iter().next().unwrap_or_default(),
                image: prepared.image.clone(),
                mask,
                kind: self.labels.kind(),
                objects: None,
            })
            .collect();
        let classes = episode.classes.iter().map(name).collect();
        Support { classes, pictures, warnings: Vec::new() }
    }
}
