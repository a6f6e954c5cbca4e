//! A training's folder as a predictor.

use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::prelude::*;
use kshot_data::support::Support;

use super::ensemble::{EnsembleModel, Member, Share};
use super::episodic::EpisodicNetwork;
use super::network::SegmenterModel;
use super::test_time::TestTime;
use super::{Calibrated, Predictor, SegmentationChoice};
use crate::contract::pixel_model::PixelModel;
use crate::data::Dataset;
use crate::decoder::Segmenter;
use crate::error::{Error, Result};
use crate::export::OnnxOptions;
use crate::method::MethodConfig;
use crate::method::supervised::Supervised;
use crate::postprocess::refine::Refinement;
use crate::recipe::Recipe;
use crate::train::{curve, episodes, load, session};

/// What a run's method needs besides its weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Nothing: it knows its classes.
    Nothing,
    /// Labelled pictures of the classes that are asked for.
    Support,
}

/// What the method of a recipe needs to label a folder.
///
/// # Errors
/// If it labels whole pictures, or is not trained.
pub fn needs(recipe: &Recipe) -> Result<Needs> {
    match &recipe.method {
        method if method.is_segmenter() => Ok(Needs::Nothing),
        MethodConfig::Episodic(_) => Ok(Needs::Support),
        MethodConfig::Learner(_) => Err(Error::config(format!(
            "`{}` labels whole pictures: use `kshot classify --run`",
            recipe.method.name()
        ))
        .at_key("method.name")),
        _ => Err(Error::config(format!(
            "`{}` is not trained; leave --model out and give --method and --support",
            recipe.method.name()
        ))
        .at_key("method.name")),
    }
}

impl Predictor {
    /// What `kshot train` left in a folder, on the CPU, with the refinement that its recipe names. [`predictor`] has the
    /// choices.
    ///
    /// ```no_run
    /// use kshot::predict::Predictor;
    ///
    /// let predictor = Predictor::load("runs/mine")?;
    /// let picture = kshot_data::image::read("photo.jpg")?;
    /// let mask = predictor.predict(&picture)?.labelling.mask;
    /// # Ok::<(), kshot::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the recipe or weights are missing or wrong, or its method compares with labelled pictures (PANet and the like).
    pub fn load(run: impl AsRef<Path>) -> Result<Self> {
        let run = run.as_ref();
        predictor(run, None, load::recipe_of(run)?.predict.refinement, &Device::flex())
    }
}

/// The predictor of a run's folder (or its file of weights, beside which its recipe lies); `support` for those that
/// need it.
///
/// # Errors
/// If the recipe or weights are missing or wrong, or labelled pictures are needed and there are none.
pub fn predictor(
    run: &Path,
    support: Option<&Support>,
    refinement: Refinement,
    device: &Device,
) -> Result<Predictor> {
    let recipe = load::recipe_of(run)?;
    match (&recipe.method, support) {
        (method, _) if method.is_segmenter() => supervised(&recipe, run, refinement, device),
        (MethodConfig::Episodic(_), Some(support)) => {
            episodic(&recipe, run, support, refinement, device)
        }
        (MethodConfig::Episodic(method), None) => Err(Error::config(format!(
            "{} compares with labelled pictures of the classes that are asked for; give --support beside --model",
            method.name()
        ))),
        _ => Err(needs(&recipe)
            .err()
            .unwrap_or_else(|| Error::config("not a method that labels pixels"))),
    }
}

/// The network of a supervised run.
///
/// # Errors
/// If its weights are missing or wrong.
pub fn supervised(
    recipe: &Recipe,
    run: &Path,
    refinement: Refinement,
    device: &Device,
) -> Result<Predictor> {
    let (model, classes) = model_of(recipe, run, device)?;
    Ok(around(recipe, Box::new(model), classes, told(recipe, run), refinement))
}

/// The network of a supervised run as a pixel model, and its classes.
fn model_of(recipe: &Recipe, run: &Path, device: &Device) -> Result<(SegmenterModel, Vec<String>)> {
    let classes = load::classes_of(run)?;
    let background = recipe.data.dataset.has_background();
    let network = session::trained(recipe, run, (classes.len(), background), device)?.valid();
    Ok((model(recipe, network, (classes.len(), background), device)?, classes))
}

fn model(
    recipe: &Recipe,
    network: Supervised,
    (classes, background): (usize, bool),
    device: &Device,
) -> Result<SegmenterModel> {
    let mut model = SegmenterModel::new(
        network.segmenter,
        recipe.model.encoder()?.normalization(),
        (classes + 1, background),
        recipe.data.parts.longest_side,
        TestTime::of(&recipe.predict),
        device.clone(),
    );
    model.set_precision(recipe.model.precision);
    Ok(model)
}

/// The network of a supervised run with what a file for other programs says of it; for pictures of one height and width
/// alone, where these are given.
///
/// # Errors
/// If it is a run of another method, or its recipe, classes or weights are missing or wrong.
pub fn network(run: &Path, size: Option<[usize; 2]>) -> Result<(Segmenter, OnnxOptions)> {
    let recipe = load::recipe_of(run)?;
    if !recipe.method.is_segmenter() {
        return Err(Error::config(format!(
            "`{}` is no encoder with a decoder; runs of supervised segmentation can be written",
            recipe.method.name()
        ))
        .at_key("method.name"));
    }
    let names = load::classes_of(run)?;
    let background = recipe.data.dataset.has_background();
    let device = Device::flex();
    let segmenter =
        session::trained(&recipe, run, (names.len(), background), &device)?.valid().segmenter;
    let classes = std::iter::once("background".to_owned()).chain(names).collect();
    let about = OnnxOptions {
        classes,
        normalization: recipe.model.encoder()?.normalization(),
        longest_side: recipe.data.parts.longest_side,
        background,
        size,
    };
    Ok((segmenter, about))
}

fn around(
    recipe: &Recipe,
    model: Box<dyn PixelModel>,
    classes: Vec<String>,
    reason: String,
    refinement: Refinement,
) -> Predictor {
    let choice = SegmentationChoice::given(recipe.method.name(), reason);
    Predictor::new(model, classes, Calibrated::default(), refinement, choice)
}

/// Several supervised runs as one, such as those of the folds of a data set: the mean of their probabilities.
///
/// # Errors
/// If there is none, one is no supervised run or its weights are missing or wrong, or they know other classes.
pub fn ensemble(
    runs: &[(PathBuf, Recipe)],
    refinement: Refinement,
    device: &Device,
) -> Result<Predictor> {
    let Some((first, recipe)) = runs.first() else {
        return Err(Error::config("no run to label pictures with; give --model RUN"));
    };
    let expected = load::classes_of(first)?;
    let background = recipe.data.dataset.has_background();
    for (run, recipe) in runs {
        if !recipe.method.is_segmenter() {
            return Err(Error::config(format!(
                "`{}` was trained in {}; only networks of supervised segmentation are joined: give one --model",
                recipe.method.name(),
                run.display()
            ))
            .at_key("method.name"));
        }
        let classes = load::classes_of(run)?;
        if classes != expected || recipe.data.dataset.has_background() != background {
            let named = |of: &[String], background: bool| {
                let names = of.join(", ");
                if background { names } else { format!("{names} (without background)") }
            };
            return Err(Error::config(format!(
                "the runs know other classes: {} has {}, and {} has {}; give runs of the same classes in the same order",
                first.display(),
                named(&expected, background),
                run.display(),
                named(&classes, recipe.data.dataset.has_background())
            )));
        }
    }
    let mut members = Vec::with_capacity(runs.len());
    for (run, recipe) in runs {
        let (model, _) = model_of(recipe, run, device)?;
        members.push(Member {
            model: Box::new(model),
            share: Share::always(1.0 / runs.len() as f32),
            temperature: 1.0,
            ratios: None,
        });
    }
    let names: Vec<String> = runs.iter().map(|(run, _)| run.display().to_string()).collect();
    let reason = format!(
        "the mean of the probabilities of {} networks, trained in {}",
        runs.len(),
        names.join(", ")
    );
    Ok(around(recipe, Box::new(EnsembleModel::new(members)), expected, reason, refinement))
}

/// The network of a supervised recipe before its training, to see that all is in place.
///
/// # Errors
/// If the encoder has no weights, or encoder and decoder do not go together.
pub fn untrained(
    recipe: &Recipe,
    set: &dyn Dataset,
    refinement: Refinement,
    device: &Device,
) -> Result<Predictor> {
    let (classes, background) = (set.classes().to_vec(), set.has_background());
    let (network, _) = session::started(recipe, &classes, background, device)?;
    let model = model(recipe, network.valid(), (classes.len(), background), device)?;
    Ok(around(recipe, Box::new(model), classes, "untrained".to_owned(), refinement))
}

fn episodic(
    recipe: &Recipe,
    run: &Path,
    support: &Support,
    refinement: Refinement,
    device: &Device,
) -> Result<Predictor> {
    let network = episodic_network(recipe, Some(run), device)?;
    let pictures = support
        .pictures
        .iter()
        .map(|picture| Ok((network.maps(&picture.image)?, picture.mask.clone())))
        .collect::<Result<Vec<_>>>()?;
    let classes = support.classes.clone();
    let model = network.model(&pictures, classes.len() + 1)?;
    let choice = SegmentationChoice::given(recipe.method.name(), told(recipe, run));
    Ok(Predictor::new(Box::new(model), classes, Calibrated::default(), refinement, choice))
}

/// The network of a method that is meta-trained on episodes, with the weights of a run, or with the encoder as it is
/// published.
///
/// # Errors
/// If the recipe is of another method, or weights are missing or wrong.
pub fn episodic_network(
    recipe: &Recipe,
    run: Option<&Path>,
    device: &Device,
) -> Result<EpisodicNetwork> {
    let MethodConfig::Episodic(method) = &recipe.method else {
        let text = "not a recipe of a method that is meta-trained on episodes of masks";
        return Err(Error::config(text).at_key("method.name"));
    };
    let network = match run {
        Some(from) => episodes::trained(recipe, method, from, device)?,
        None => episodes::episodic(recipe, method, 0, device)?,
    };
    let normalization = recipe.model.encoder()?.normalization();
    let network = EpisodicNetwork::new(network.valid(), normalization, device.clone());
    Ok(network.with_precision(recipe.model.precision))
}

/// One sentence on where a run's network comes from.
fn told(recipe: &Recipe, run: &Path) -> String {
    let name = recipe.method.name();
    let measured = curve::read(&run.join("metrics.jsonl")).ok().and_then(|points| {
        let best = points
            .iter()
            .filter_map(|point| point.validation.get("mean_iou").map(|iou| (point.step, *iou)))
            .max_by(|a, b| a.1.total_cmp(&b.1))?;
        Some(format!("; mean IoU on its validation set {:.1} % at step {}", 100.0 * best.1, best.0))
    });
    format!("the {name} network trained in {}{}", run.display(), measured.unwrap_or_default())
}
