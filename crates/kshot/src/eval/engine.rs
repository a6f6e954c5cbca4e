//! How the methods run on an episode: cosine methods on features kept from episode to episode, all
//! others fitted anew, as `kshot segment` does.

use std::sync::Arc;

use image::RgbImage;
use kshot_data::image::resize;
use kshot_data::mask::Mask;
use kshot_data::support::{LabelKind, LabelledPicture, Support};

use crate::data::episode::{Episode, relabel, support_labels};
use crate::data::pixel_tasks::{labels, normalised};
use crate::data::set::SegmentationSet;
use crate::device::Device;
use crate::encoder::Normalization;
use crate::error::{Error, Result};
use crate::features::cache::Cache;
use crate::features::extract::Extractor;
use crate::features::score_map::ScoreMap;
use crate::method::few_shot::panet::{Maps, Panet, PanetConfig, planes_of, prototypes};
use crate::method::few_shot::self_support::{Bank, Example, SelfSupport};
use crate::method::few_shot::{AUTO, by_name, methods};
use crate::names;
use crate::nn::cpu_values;
use crate::postprocess::refine::{Labelling, Refinement, label};
use crate::predict::{Options, Predictor};
use crate::recipe::segmentation::MethodChoice;
use crate::train::pixel_experiment::PANET;

/// Bytes of pictures and features that are kept between episodes.
const KEPT: usize = 3 << 30;

/// A picture of the data set, prepared.
pub(super) struct Prepared {
    pub(super) image: RgbImage,
    pub(super) mask: Mask,
    /// What the method keeps of a picture.
    kept: Kept,
}

enum Kept {
    Bank(Box<Bank>),
    Maps(Maps),
    Nothing,
}

impl Prepared {
    fn bank(&self) -> Result<&Bank> {
        match &self.kept {
            Kept::Bank(bank) => Ok(bank),
            // `Engine::prepare` makes one for every picture of a cosine method.
            _ => Err(Error::data("a picture was prepared without features")),
        }
    }

    fn maps(&self) -> Result<&Maps> {
        match &self.kept {
            Kept::Maps(maps) => Ok(maps),
            // `Engine::prepare` makes them for every picture of `panet`.
            _ => Err(Error::data("a picture was prepared without maps")),
        }
    }
}

enum Kind {
    /// PANet's prototypes, with self-support or without.
    Cosine(SelfSupport, Extractor),
    /// A head is fitted to each episode: the method's name.
    Fitted(String, Extractor),
    /// An encoder that may have been taught.
    Panet(Box<Taught>),
}

/// PANet with what it needs to see a picture.
pub(super) struct Taught {
    pub(super) panet: Panet,
    pub(super) normalization: Normalization,
    pub(super) device: Device,
}

/// Runs episodes of one data set with one method.
pub(super) struct Engine<'a> {
    kind: Kind,
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
    let mut names = vec!["self-support", PANET];
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
            "self-support" => Kind::Cosine(method.self_support.clone(), extractor),
            "prototype" => {
                let plain = SelfSupport { adapt: false, ..method.self_support.clone() };
                Kind::Cosine(plain, extractor)
            }
            name if name != PANET && names().contains(&name) => {
                Kind::Fitted(name.to_owned(), extractor)
            }
            other => {
                let message = names::unknown("few-shot method", other, &names());
                return Err(Error::config(message).at_key("method.name"));
            }
        };
        Ok(Self::of(kind, method, set))
    }

    /// With PANet.
    pub(super) fn taught(taught: Taught, method: &MethodChoice, set: &'a SegmentationSet) -> Self {
        Self::of(Kind::Panet(Box::new(taught)), method, set)
    }

    fn of(kind: Kind, method: &MethodChoice, set: &'a SegmentationSet) -> Self {
        let (refinement, scale) = (method.refinement, method.scale);
        Self { kind, refinement, scale, set, prepared: Cache::new(KEPT) }
    }

    /// How many classes the data set has.
    pub(super) fn classes(&self) -> usize {
        self.set.classes.len()
    }

    pub(super) fn prepare(&self, index: usize) -> Result<Arc<Prepared>> {
        self.prepared.get(index, || {
            let image = self.set.image(index)?;
            let mask = self.set.mask(index)?;
            let (kept, bytes) = match &self.kind {
                Kind::Cosine(method, extractor) => {
                    let bank = method.prepare(extractor, &image)?;
                    let bytes = bank.bytes();
                    (Kept::Bank(Box::new(bank)), bytes)
                }
                Kind::Panet(taught) => {
                    let maps = taught.maps(&image)?;
                    let bytes = maps.bytes();
                    (Kept::Maps(maps), bytes)
                }
                Kind::Fitted(..) => (Kept::Nothing, 0),
            };
            let bytes = image.len() + mask.pixels.len() + bytes;
            Ok((Prepared { image, mask, kept }, bytes))
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
            Kind::Cosine(method, _) => self.compare(method, &support, &query, episode)?,
            Kind::Panet(taught) => {
                let map = taught.scores(&support, &query, episode.classes.len())?;
                label(&map, &query.image, self.refinement)?
            }
            Kind::Fitted(name, extractor) => {
                self.fit((name, extractor), support, &query, episode, seed)?
            }
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
        (name, extractor): (&str, &Extractor),
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
        Predictor::fit(extractor.clone(), &support, options)?.label(&query.image)
    }
}

impl Taught {
    fn maps(&self, image: &RgbImage) -> Result<Maps> {
        let size = self.panet.config().size as u32;
        let square = resize(image, size, size)?;
        Ok(self.panet.maps(normalised(&[&square], &self.normalization, &self.device)))
    }

    /// Probabilities of background and every class on a grid of four pixels of the square.
    fn scores(
        &self,
        support: &[(Arc<Prepared>, Mask)],
        query: &Prepared,
        ways: usize,
    ) -> Result<ScoreMap> {
        let PanetConfig { size, scale, .. } = *self.panet.config();
        let maps: Vec<Maps> =
            support.iter().map(|(prepared, _)| prepared.maps().cloned()).collect::<Result<_>>()?;
        let masks: Vec<Mask> = support.iter().map(|(_, mask)| mask.resized(size, size)).collect();
        let masks = planes_of(&labels(&masks, size, &self.device), ways + 1);
        let made = prototypes(&Maps::cat(&maps), &masks, ways);
        let side = size.div_ceil(GRAIN);
        let logits = query.maps()?.logits(&made, [side; 2], scale);
        let picture = [query.mask.height, query.mask.width];
        let mut map = ScoreMap {
            planes: ways + 1,
            height: side,
            width: side,
            data: cpu_values(logits),
            scale: picture.map(|length| side as f32 / length as f32),
        };
        map.softmax(1.0);
        Ok(map)
    }
}

/// Working pixels a cell of the grid that scores are taken to.
const GRAIN: usize = 4;

/// The way that a support picture of an episode was drawn for.
pub(super) fn way(episode: &Episode, place: usize) -> usize {
    place / (episode.support.len() / episode.classes.len())
}
