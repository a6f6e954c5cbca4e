//! A trained few-shot method on a person's folder: the labelled pictures are the support of one episode,
//! the pictures to label its queries. Nothing is fitted beside what the method itself does with a
//! support, so that its inner loop, its posterior or its relation module work as they were trained.

use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::prelude::*;
use burn::tensor::TensorData;
use burn::tensor::activation::softmax;
use kshot_data::class_folder::ClassFolder;
use rayon::prelude::*;

use crate::contract::episodic::FewShot;
use crate::data::batch::{Batch, Episode, EpisodeId};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::method::learner::Learner;
use crate::nn::NoBf16;
use crate::recipe::{OneOrMore, Protocol, Recipe};
use crate::train::input::InputSpec;
use crate::train::load;
use crate::train::session::{learner, learning};

/// Queries of one episode at most.
const TOGETHER: usize = 128;

/// A meta-trained method with the support of a folder's classes, ready to label queries.
pub struct TrainedMethod {
    recipe: Recipe,
    input: InputSpec,
    learner: Learner,
    device: Device,
    classes: Vec<String>,
    /// `[classes * shots, channels, height, width]`, class by class.
    support: Tensor<4>,
    shots: usize,
}

/// Class and probability (0 to 1), likeliest first.
pub type Ranking = Vec<(usize, f32)>;

impl TrainedMethod {
    /// From the folder that `kshot train` left, and labelled pictures: as many of each class as the
    /// smallest one has, since an episode's classes have equally many.
    ///
    /// # Errors
    /// If the folder holds no training of recognition, a labelled picture cannot be read, or the
    /// method was trained for another number of classes (as those with an inner loop are).
    pub fn new(run: &Path, folder: &ClassFolder, device: &Device) -> Result<Self> {
        let mut recipe = load::recipe_of(run)?;
        learning(&recipe)?;
        let ways = folder.classes.len();
        if ways < 2 {
            return Err(Error::data(format!("{ways} class; sorting needs at least 2")));
        }
        let shots = folder.counts().into_iter().min().unwrap_or(0);
        if shots == 0 {
            return Err(Error::data("a class has no picture; give it one, or remove it"));
        }
        let refused =
            |refused: NoBf16| Error::config(refused.to_string()).at_key("model.precision");
        recipe.model.precision.check().map_err(refused)?;
        let episodes = recipe.train.as_ref().and_then(|train| train.episodes.as_ref());
        let trained = episodes.map_or(ways, |episodes| episodes.ways);
        if let Protocol::FewShotRecognition { ways: asked, .. } = &mut recipe.protocol {
            *asked = OneOrMore::One(ways);
        }
        let input = InputSpec::of(&recipe, device)?;
        let empty = learner(&recipe, input.shape(), classes_of(run), device)?;
        let learner = load::learner(empty, run).map_err(|error| {
            if trained == ways {
                return error;
            }
            Error::config(format!(
                "{} was trained for {trained} classes and the labelled pictures are of {ways}; give \
                 {trained} classes, or train one whose classes may vary, such as \
                 prototypical-networks ({error})",
                recipe.method.name()
            ))
        })?;
        let mut taken = vec![0; ways];
        let files: Vec<PathBuf> = folder
            .pictures
            .iter()
            .filter(|picture| {
                taken[picture.class] += 1;
                taken[picture.class] <= shots
            })
            .map(|picture| picture.path.clone())
            .collect();
        let images =
            files.par_iter().map(|file| values(&input, file)).collect::<Result<Vec<_>>>()?;
        let support = stacked(&input, &images, device);
        let (learner, device) = (learner.valid(), device.clone());
        let classes = folder.classes.clone();
        Ok(Self { recipe, input, learner, device, classes, support, shots })
    }

    /// The method's name.
    pub fn method(&self) -> &'static str {
        self.recipe.method.name()
    }

    /// The classes' names.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// Labelled pictures a class that are used.
    pub fn shots(&self) -> usize {
        self.shots
    }

    /// Whether a picture's label depends on the pictures labelled with it.
    pub fn is_transductive(&self) -> bool {
        self.learner.is_transductive()
    }

    /// What each picture seems to show, in the order of the files; one that cannot be read has its error.
    /// `go_on` is told how many are done, and says whether to go on: fewer are given back where it says no.
    pub fn label(
        &self,
        files: &[PathBuf],
        mut go_on: impl FnMut(usize) -> bool,
    ) -> Vec<Result<Ranking>> {
        let mut found = Vec::with_capacity(files.len());
        // Parts of one size: in a transductive method none is judged in less company than others.
        let parts = files.len().div_ceil(TOGETHER).max(1);
        for files in files.chunks(files.len().div_ceil(parts).max(1)) {
            let read: Vec<Result<Vec<f32>>> =
                files.par_iter().map(|file| values(&self.input, file)).collect();
            let good: Vec<&Vec<f32>> = read.iter().filter_map(|one| one.as_ref().ok()).collect();
            // The statistics of a single vector are the vector itself: nothing would be left of it.
            if good.len() == 1 && self.is_transductive() && self.input.shape()[1..] == [1, 1] {
                let alone = "a transductive method on vectors needs two pictures or more to label; \
                             add one, or train with method.batch_norm = \"support\"";
                found.extend(read.into_iter().map(|one| one.and(Err(Error::config(alone)))));
                if !go_on(found.len()) {
                    break;
                }
                continue;
            }
            let mut rankings =
                if good.is_empty() { Vec::new() } else { self.rank(&good) }.into_iter();
            found.extend(read.into_iter().map(|one| {
                one.and_then(|_| rankings.next().ok_or_else(|| Error::data("no label was made")))
            }));
            if !go_on(found.len()) {
                break;
            }
        }
        found
    }

    fn rank(&self, pictures: &[&Vec<f32>]) -> Vec<Ranking> {
        let ways = self.classes.len();
        let places =
            (0..ways as i64).flat_map(|way| std::iter::repeat_n(way, self.shots)).collect();
        let labels = |values: Vec<i64>| {
            let length = values.len();
            Tensor::<1, Int>::from_data(TensorData::new(values, [length]), &self.device)
        };
        let episode = Episode {
            support: Batch { images: self.support.clone(), labels: labels(places), seed: 0 },
            // Nobody looks at a query's labels when it is predicted.
            query: Batch {
                images: stacked(&self.input, pictures, &self.device),
                labels: labels(vec![0; pictures.len()]),
                seed: 0,
            },
            ways,
            classes: (0..ways).collect(),
            id: EpisodeId { seed: 0, index: 0 },
        };
        let precision = self.recipe.model.precision;
        let scores = precision.run(|| self.learner.predict(&episode));
        let values: Vec<f32> = softmax(scores, 1).into_data().iter::<f32>().collect();
        let ranking = |row: &[f32]| {
            let mut ranking: Ranking = row.iter().copied().enumerate().collect();
            ranking.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            ranking
        };
        values.chunks_exact(ways).map(ranking).collect()
    }
}

/// How many classes a training was shown, for methods whose size depends on it.
fn classes_of(run: &Path) -> usize {
    let text = std::fs::read_to_string(run.join("classes.json")).unwrap_or_default();
    let names: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    names["train"].as_array().map_or(0, Vec::len)
}

/// A picture as the network takes it.
fn values(input: &InputSpec, file: &Path) -> Result<Vec<f32>> {
    let pixels = input.read(vec![file.to_owned()])?;
    let mut values = vec![0.0; pixels.each()];
    pixels.write(0, 0, None, &mut values)?;
    Ok(values)
}

fn stacked<V: std::borrow::Borrow<Vec<f32>>>(
    input: &InputSpec,
    pictures: &[V],
    device: &Device,
) -> Tensor<4> {
    let [channels, height, width] = input.shape();
    let values: Vec<f32> = pictures.iter().flat_map(|one| one.borrow()).copied().collect();
    let shape = [pictures.len(), channels, height, width];
    Tensor::from_data(TensorData::new(values, shape), device)
}
