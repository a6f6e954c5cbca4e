//! How the methods run on an episode: cosine methods on features kept from episode to episode, all
//! others fitted anew, as `kshot segment` does.

use std::sync::Arc;

use image::RgbImage;

use super::cache::Cache;
use crate::data::episode::{Episode, relabel, support_labels};
use crate::data::mask::Mask;
use crate::data::set::SegmentationSet;
use crate::data::support::{LabelKind, LabelledPicture, Support};
use crate::error::{Error, Result};
use crate::method::features::Extractor;
use crate::method::few_shot::self_support::{Bank, Example, SelfSupport};
use crate::method::few_shot::{AUTO, by_name, methods};
use crate::method::refine::{Labelling, Refinement, label};
use crate::predict::{Options, Predictor};
use crate::registry;
use crate::train::recipe::MethodChoice;

/// Bytes of pictures and features that are kept between episodes.
const KEPT: usize = 3 << 30;

/// A picture of the data set, prepared.
pub(super) struct Prepared {
    pub(super) image: RgbImage,
    pub(super) mask: Mask,
    /// For cosine methods only.
    bank: Option<Bank>,
}

impl Prepared {
    fn bank(&self) -> Result<&Bank> {
        // `Engine::prepare` makes one for every picture of a cosine method.
        self.bank.as_ref().ok_or_else(|| Error::data("a picture was prepared without features"))
    }
}

enum Kind {
    /// PANet's prototypes, with self-support or without.
    Cosine(SelfSupport),
    /// A head is fitted to each episode: the method's name.
    Fitted(String),
}

/// Runs episodes of one data set with one method.
pub(super) struct Engine<'a> {
    kind: Kind,
    extractor: Extractor,
    refinement: Refinement,
    scale: Option<f32>,
    set: &'a SegmentationSet,
    prepared: Cache<Prepared>,
}

/// What an episode gave.
pub(super) struct Played {
    /// The query's labels, as the episode numbers them.
    pub(super) truth: Mask,
    /// What was predicted.
    pub(super) predicted: Labelling,
}

/// The methods that run on episodes.
pub fn names() -> Vec<&'static str> {
    let mut names = vec!["self-support"];
    names.extend(methods().iter().map(|method| method.name()));
    names.push(AUTO);
    names
}

impl<'a> Engine<'a> {
    pub(super) fn new(
        method: &MethodChoice,
        extractor: Extractor,
        set: &'a SegmentationSet,
    ) -> Result<Self> {
        let kind = match method.name.as_str() {
            "self-support" => Kind::Cosine(method.self_support.clone()),
            "prototype" => {
                Kind::Cosine(SelfSupport { adapt: false, ..method.self_support.clone() })
            }
            name if names().contains(&name) => Kind::Fitted(name.to_owned()),
            other => {
                let message = registry::unknown("few-shot method", other, &names());
                return Err(Error::config(message).at_key("method.name"));
            }
        };
        let prepared = Cache::new(KEPT);
        let (refinement, scale) = (method.refinement, method.scale);
        Ok(Self { kind, extractor, refinement, scale, set, prepared })
    }

    /// How many classes the data set has.
    pub(super) fn classes(&self) -> usize {
        self.set.classes.len()
    }

    pub(super) fn prepare(&self, index: usize) -> Result<Arc<Prepared>> {
        self.prepared.get(index, || {
            let image = self.set.image(index)?;
            let mask = self.set.mask(index)?;
            let bank = match &self.kind {
                Kind::Cosine(method) => Some(method.prepare(&self.extractor, &image)?),
                Kind::Fitted(_) => None,
            };
            let bytes = image.len() + mask.pixels.len() + bank.as_ref().map_or(0, Bank::bytes);
            Ok((Prepared { image, mask, bank }, bytes))
        })
    }

    /// Plays an episode; `seed` is for methods that draw.
    pub(super) fn play(&self, episode: &Episode, seed: u64) -> Result<Played> {
        let support = (0..episode.support.len())
            .map(|place| {
                let prepared = self.prepare(episode.support[place])?;
                let labels = support_labels(&prepared.mask, &episode.classes, way(episode, place));
                Ok((prepared, labels))
            })
            .collect::<Result<Vec<_>>>()?;
        let query = self.prepare(episode.query)?;
        let truth = relabel(&query.mask, &episode.classes);
        let predicted = match &self.kind {
            Kind::Cosine(method) => self.compare(method, &support, &query, episode)?,
            Kind::Fitted(name) => self.fit(name, support, &query, episode, seed)?,
        };
        Ok(Played { truth, predicted })
    }

    fn compare(
        &self,
        method: &SelfSupport,
        support: &[(Arc<Prepared>, Mask)],
        query: &Prepared,
        episode: &Episode,
    ) -> Result<Labelling> {
        let planes = episode.classes.len() + 1;
        let examples = support
            .iter()
            .map(|(prepared, labels)| {
                Ok(Example { bank: prepared.bank()?, shares: method.shares(labels, planes) })
            })
            .collect::<Result<Vec<_>>>()?;
        let size = [query.mask.height, query.mask.width];
        let mut map = method.scores(&examples, query.bank()?, size);
        map.softmax(1.0);
        label(&map, &query.image, self.refinement)
    }

    fn fit(
        &self,
        name: &str,
        support: Vec<(Arc<Prepared>, Mask)>,
        query: &Prepared,
        episode: &Episode,
        seed: u64,
    ) -> Result<Labelling> {
        let classes = episode
            .classes
            .iter()
            .map(|&class| self.set.classes[usize::from(class) - 1].clone())
            .collect();
        let pictures = support
            .into_iter()
            .zip(&episode.support)
            .map(|((prepared, mask), &index)| {
                let (path, labels) = self.set.files(index);
                LabelledPicture {
                    path: path.to_owned(),
                    labels: labels.to_owned(),
                    image: prepared.image.clone(),
                    mask,
                    kind: LabelKind::Mask,
                }
            })
            .collect();
        let support = Support { classes, pictures, warnings: Vec::new() };
        let options = Options {
            methods: by_name(name)?,
            refinement: self.refinement,
            scale: self.scale,
            seed,
        };
        // An episode's query holds one of its classes: "none of these" is not an answer.
        Predictor::fit(self.extractor.clone(), &support, options)?.label(&query.image)
    }
}

/// The way that a support picture of an episode was drawn for.
pub(super) fn way(episode: &Episode, place: usize) -> usize {
    place / (episode.support.len() / episode.classes.len())
}
