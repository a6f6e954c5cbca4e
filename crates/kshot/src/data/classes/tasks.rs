//! Few-shot recognition tasks: each made from (seed, index) alone.

use std::sync::Arc;

use burn::prelude::*;
use burn::tensor::TensorData;
use rand::SeedableRng;
use rand::seq::index;
use rand_chacha::ChaCha8Rng;

use crate::data::batch::{Batch, Episode, EpisodeId};
use crate::data::classes::ClassSet;
use crate::data::source::ItemSource;
use crate::data::transforms::Transform;
use crate::error::{Error, Result};

/// Ways, shots and queries of an episode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpisodeShape {
    /// Classes of an episode.
    pub ways: usize,
    /// Support pictures of each class.
    pub shots: usize,
    /// Query pictures of each class.
    pub queries: usize,
}

/// Which pictures an episode is made of, before any is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draw {
    /// The classes, in the order of their labels.
    pub classes: Vec<usize>,
    /// Class by class, the places in its list of pictures: support, then query.
    pub pictures: Vec<Vec<usize>>,
}

/// The episodes of a class set.
#[derive(Debug, Clone)]
pub struct Tasks {
    set: Arc<ClassSet>,
    shape: EpisodeShape,
    seed: u64,
    /// What is done to support and to query pictures.
    transforms: [Vec<Transform>; 2],
}

impl Tasks {
    /// Prepares the episodes.
    ///
    /// # Errors
    /// If there are too few classes, or a class has too few pictures.
    pub fn new(set: Arc<ClassSet>, shape: EpisodeShape, seed: u64) -> Result<Self> {
        let EpisodeShape { ways, shots, queries } = shape;
        if ways < 2 || shots + queries == 0 {
            return Err(Error::config(format!(
                "{ways}-way {shots}-shot episodes with {queries} queries a class; ways must be at \
                 least 2 and a class needs a picture"
            )));
        }
        if ways > set.classes.len() {
            return Err(Error::config(format!(
                "{ways}-way episodes of {} classes; ask for at most {} ways",
                set.classes.len(),
                set.classes.len()
            )));
        }
        let needed = shots + queries;
        if let Some(small) = set.classes.iter().find(|class| class.images.len() < needed) {
            return Err(Error::data(format!(
                "the class `{}` has {} pictures; {shots} shots and {queries} queries need {needed}: \
                 ask for fewer, add pictures, or remove the class",
                small.name,
                small.images.len()
            )));
        }
        Ok(Self { set, shape, seed, transforms: Default::default() })
    }

    /// The same with pictures that are changed at random: of the `support`, then of the `query`.
    #[must_use]
    pub fn with_transforms(mut self, support: Vec<Transform>, query: Vec<Transform>) -> Self {
        self.transforms = [support, query];
        self
    }

    /// Ways, shots and queries.
    pub fn shape(&self) -> EpisodeShape {
        self.shape
    }

    /// Which pictures episode `index` is made of.
    pub fn draw(&self, index: u64) -> Draw {
        let mut random = self.random(index, 0);
        let EpisodeShape { ways, shots, queries } = self.shape;
        let classes = index::sample(&mut random, self.set.classes.len(), ways).into_vec();
        let pictures = classes
            .iter()
            .map(|&class| {
                let count = self.set.classes[class].images.len();
                index::sample(&mut random, count, shots + queries).into_vec()
            })
            .collect();
        Draw { classes, pictures }
    }

    fn random(&self, index: u64, stream: u64) -> ChaCha8Rng {
        let mut key = [0u8; 32];
        let EpisodeShape { ways, shots, .. } = self.shape;
        let parts = [self.seed, index, stream, (ways as u64) << 32 | shots as u64];
        for (bytes, part) in key.chunks_exact_mut(8).zip(parts) {
            bytes.copy_from_slice(&part.to_le_bytes());
        }
        ChaCha8Rng::from_seed(key)
    }
}

impl ItemSource<Episode<1>> for Tasks {
    fn item(&self, index: u64, device: &Device) -> Result<Episode<1>> {
        let Draw { classes, pictures } = self.draw(index);
        let EpisodeShape { ways, shots, queries } = self.shape;
        let pixels = &self.set.pixels;
        let drawn = classes.iter().zip(&pictures);
        let drawn = drawn.flat_map(|(class, pictures)| {
            pictures.iter().map(|picture| self.set.classes[*class].images[*picture])
        });
        pixels.load(&drawn.collect::<Vec<_>>())?;
        let each = pixels.each();
        let mut random = self.random(index, 1);
        let mut batch = |part: usize| -> Result<Batch<1>> {
            let (skip, count) = [(0, shots), (shots, queries)][part];
            let mut values = vec![0.0; ways * count * each];
            let mut labels = Vec::with_capacity(ways * count);
            let mut targets = values.chunks_exact_mut(each);
            for (way, (class, pictures)) in classes.iter().zip(&pictures).enumerate() {
                let class = &self.set.classes[*class];
                for picture in &pictures[skip..skip + count] {
                    let Some(target) = targets.next() else { break };
                    let transforms = &self.transforms[part][..];
                    let changes = (!transforms.is_empty()).then_some((transforms, &mut random));
                    pixels.write(class.images[*picture], class.turns, changes, target)?;
                    labels.push(way as i32);
                }
            }
            let [height, width] = pixels.size;
            let shape = [ways * count, pixels.channels, height, width];
            Ok(Batch {
                images: Tensor::from_data(TensorData::new(values, shape), device),
                labels: Tensor::from_data(TensorData::new(labels, [ways * count]), device),
                seed: 0,
            })
        };
        let (support, query) = (batch(0)?, batch(1)?);
        let id = EpisodeId { seed: self.seed, index };
        Ok(Episode { support, query, ways, classes, id })
    }
}
