//! Few-shot segmentation episodes over the folds of a data set.

use kshot_data::mask::{BACKGROUND, MAX_CLASSES, Mask, VOID};
use rand::seq::{IndexedRandom, index};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::error::{Error, Result};

/// One task: `ways` classes, `shots` pictures of each, one query.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct DrawnEpisode {
    /// The classes, as numbers of the data set.
    pub classes: Vec<u8>,
    /// The support pictures, `shots` for the first class, then for the next.
    pub support: Vec<usize>,
    /// The query picture; it holds at least one of the classes.
    pub query: usize,
}

/// Which pictures hold which class: made once, drawn from for every episode.
#[derive(Debug)]
pub struct EpisodeSampler {
    /// Per class of the fold: its number and the pictures that hold it.
    holders: Vec<(u8, Vec<usize>)>,
    ways: usize,
    shots: usize,
    seed: u64,
}

/// How classes are cut into folds.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum ClassFolds {
    /// Neighbours together, as PANet's folds of VOC: 1-5, 6-10, ...
    #[default]
    Contiguous,
    /// Every `folds`-th class, as the folds of COCO-20i (Nguyen and Todorovic, ICCV 2019, arXiv
    /// 1909.13140): 1, 5, 9, ...
    Interleaved,
}

/// The classes of fold `fold` of `folds`; classes that are left over belong to no fold.
pub fn fold_classes(split: ClassFolds, classes: usize, fold: usize, folds: usize) -> Vec<u8> {
    let size = classes / folds;
    let place = |index: usize| match split {
        ClassFolds::Contiguous => fold * size + index,
        ClassFolds::Interleaved => index * folds + fold,
    };
    (0..size).map(|index| place(index) as u8 + 1).collect()
}

impl EpisodeSampler {
    /// Prepares the episodes of some classes. Any pixel of a class makes a picture hold it, as in
    /// PANet's protocol.
    ///
    /// # Errors
    /// If there are fewer classes than ways, or a class is in too few pictures.
    pub fn new(
        counts: &[[usize; 256]],
        classes: &[u8],
        names: &[String],
        (ways, shots): (usize, usize),
        seed: u64,
    ) -> Result<Self> {
        if ways == 0 || shots == 0 || ways > classes.len() {
            return Err(Error::config(format!(
                "{ways}-way {shots}-shot episodes of {} classes; ways must be 1 to {} and shots at \
                 least 1",
                classes.len(),
                classes.len()
            )));
        }
        let holders: Vec<(u8, Vec<usize>)> = classes
            .iter()
            .map(|&class| {
                let holds = |&index: &usize| counts[index][usize::from(class)] > 0;
                (class, (0..counts.len()).filter(holds).collect())
            })
            .collect();
        let needed = ways * shots + 1;
        if let Some((class, pictures)) = holders.iter().find(|(_, p)| p.len() < needed) {
            return Err(Error::config(format!(
                "the class `{}` is in {} pictures; {ways}-way {shots}-shot episodes need {needed}",
                names[usize::from(*class) - 1],
                pictures.len()
            )));
        }
        Ok(Self { holders, ways, shots, seed })
    }

    /// DrawnEpisode `index` of run `run`: the same for any number of workers.
    pub fn get(&self, run: usize, index: usize) -> DrawnEpisode {
        let mut key = [0u8; 32];
        let parts = [self.seed, run as u64, index as u64, u64::from(self.holders[0].0)];
        for (bytes, part) in key.chunks_exact_mut(8).zip(parts) {
            bytes.copy_from_slice(&part.to_le_bytes());
        }
        let mut random = ChaCha8Rng::from_seed(key);
        let chosen = index::sample(&mut random, self.holders.len(), self.ways).into_vec();
        let asked = random.random_range(0..self.ways);
        let mut taken = Vec::with_capacity(self.ways * self.shots + 1);
        let draw = |taken: &mut Vec<usize>, way: usize, random: &mut ChaCha8Rng| {
            let free: Vec<usize> = self.holders[chosen[way]]
                .1
                .iter()
                .copied()
                .filter(|picture| !taken.contains(picture))
                .collect();
            // `new` made sure that each class has more pictures than an episode takes in all.
            if let Some(&picture) = free.choose(random) {
                taken.push(picture);
            }
        };
        for way in 0..self.ways {
            for _ in 0..self.shots {
                draw(&mut taken, way, &mut random);
            }
        }
        draw(&mut taken, asked, &mut random);
        let query = taken.pop().unwrap_or(0);
        let classes = chosen.iter().map(|&way| self.holders[way].0).collect();
        DrawnEpisode { classes, support: taken, query }
    }
}

/// A support picture's labels: the class of its way, and background. Pixels of the episode's other
/// classes count as neither, as in PANet's code.
pub fn support_labels(mask: &Mask, classes: &[u8], way: usize) -> Mask {
    let mut labels = relabel(mask, classes);
    let own = way as u8 + 1;
    for label in &mut labels.pixels {
        if *label != own && *label != BACKGROUND && *label <= MAX_CLASSES {
            *label = VOID;
        }
    }
    labels
}

/// A mask as an episode sees it: its classes become `1..=ways`, other classes background.
pub fn relabel(mask: &Mask, classes: &[u8]) -> Mask {
    let mut table: [u8; 256] = std::array::from_fn(|value| value as u8);
    table[..=usize::from(MAX_CLASSES)].fill(BACKGROUND);
    for (way, &class) in classes.iter().enumerate() {
        table[usize::from(class)] = way as u8 + 1;
    }
    Mask { pixels: mask.pixels.iter().map(|&p| table[usize::from(p)]).collect(), ..*mask }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rayon::prelude::*;

    fn episodes(ways: usize, shots: usize, pictures: usize) -> Result<EpisodeSampler> {
        let counts: Vec<[usize; 256]> = (0..pictures)
            .map(|picture| std::array::from_fn(|class| usize::from(class == picture % 5 + 1)))
            .collect();
        let names: Vec<String> = (1..=5).map(|n| format!("c{n}")).collect();
        EpisodeSampler::new(&counts, &[1, 2, 3, 4, 5], &names, (ways, shots), 7)
    }

    #[test]
    fn support_and_query_never_overlap_and_hold_their_class() {
        let episodes = episodes(2, 3, 60).unwrap();
        for index in 0..500 {
            let episode = episodes.get(0, index);
            assert_eq!(episode.support.len(), 6);
            let mut all = episode.support.clone();
            all.push(episode.query);
            all.sort_unstable();
            all.dedup();
            assert_eq!(all.len(), 7);
            for (place, picture) in episode.support.iter().enumerate() {
                assert_eq!(picture % 5 + 1, usize::from(episode.classes[place / 3]));
            }
            assert!(episode.classes.contains(&(episode.query as u8 % 5 + 1)));
        }
    }

    #[test]
    fn an_episode_depends_on_its_index_alone() {
        let one: Vec<DrawnEpisode> =
            (0..40).map(|i| episodes(1, 1, 60).unwrap().get(3, i)).collect();
        let shared = episodes(1, 1, 60).unwrap();
        let other: Vec<DrawnEpisode> =
            (0..40usize).into_par_iter().map(|i| shared.get(3, i)).collect();
        assert_eq!(one, other);
        assert_ne!(shared.get(3, 0), shared.get(4, 0));
    }

    #[test]
    fn impossible_episodes_are_refused_with_the_class() {
        let error = episodes(1, 12, 60).unwrap_err().to_string();
        assert!(error.contains("`c1` is in 12 pictures") && error.contains("need 13"), "{error}");
    }

    #[test]
    fn folds_are_disjoint_and_complete() {
        let mut all: Vec<u8> =
            (0..4).flat_map(|fold| fold_classes(ClassFolds::Contiguous, 20, fold, 4)).collect();
        assert_eq!(fold_classes(ClassFolds::Contiguous, 20, 1, 4), [6, 7, 8, 9, 10]);
        all.sort_unstable();
        assert_eq!(all, (1..=20).collect::<Vec<u8>>());
    }
}
