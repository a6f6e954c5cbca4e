//! Heads on frozen vectors: from a few labelled vectors a class to scores of a new one.
//!
//! Adding one is its file and a line in [`methods`].

pub mod centroid;
pub mod probe;
pub mod ridge;

use crate::classify::LabelledVectors;
use crate::error::{Error, Result};

/// A head fitted to labelled vectors.
pub trait ClassificationHead: Send + Sync {
    /// A score a class, in the order of the classes; higher is likelier. Divided by a temperature they
    /// are logits.
    fn scores(&self, vector: &[f32]) -> Vec<f32>;
}

/// A way to fit a head.
pub trait ClassificationMethod: Send + Sync {
    /// Its name in Rust, on the command line and in recipes.
    fn name(&self) -> &'static str;
    /// One line for lists and help.
    fn about(&self) -> &'static str;
    /// The temperature where no example can be held out (one a class), from other data.
    fn usual_temperature(&self) -> f32;
    /// Strengths of its penalty to choose among by held-out examples, strongest last or first; one of any value for a
    /// method that has none.
    fn penalties(&self) -> &'static [f64];
    /// The one to take where no example can be held out, from other data.
    fn usual_penalty(&self) -> f64;
    /// Fits a head for each of some penalties.
    ///
    /// # Errors
    /// If the examples cannot be fitted.
    fn fit(
        &self,
        examples: &LabelledVectors,
        penalties: &[f64],
    ) -> Result<Vec<Box<dyn ClassificationHead>>>;
}

/// The name that lets the examples decide.
pub const AUTO: &str = "auto";

/// Every method, in the order of lists and help; where nothing can be measured, the first is taken.
pub fn methods() -> Vec<Box<dyn ClassificationMethod>> {
    vec![
        Box::new(ridge::Ridge),
        Box::new(probe::LogisticProbe),
        Box::new(centroid::NearestMean::PROTOTYPE),
        Box::new(centroid::NearestMean::SIMPLE_SHOT),
    ]
}

/// The methods that `name` stands for: one, or all to choose among for `auto`.
///
/// # Errors
/// If there is no such method; the nearest name is suggested.
pub fn by_name(name: &str) -> Result<Vec<Box<dyn ClassificationMethod>>> {
    let mut all = methods();
    if name == AUTO {
        return Ok(all);
    }
    if let Some(index) = all.iter().position(|method| method.name() == name) {
        return Ok(vec![all.swap_remove(index)]);
    }
    let valid: Vec<&str> =
        std::iter::once(AUTO).chain(all.iter().map(|method| method.name())).collect();
    Err(Error::config(crate::names::unknown("method", name, &valid)))
}

/// The inner product.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    // Eight sums side by side, which the compiler turns into vector instructions.
    let mut sums = [0.0f32; 8];
    let (a, b) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f32 = a.remainder().iter().zip(b.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a.zip(b) {
        for lane in 0..8 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum::<f32>() + rest
}

/// The mean of the examples, every class counting the same, and the direction of a vector as seen from
/// there (Wang et al., *SimpleShot*, 2019, arXiv 1911.04623): what all pictures have in common says
/// nothing of their classes.
#[derive(Debug, Clone)]
pub(crate) struct Centre(Vec<f32>);

impl Centre {
    pub(crate) fn of(examples: &LabelledVectors) -> Self {
        let weights = examples.weights();
        let mut mean = vec![0.0f32; examples.dimensions()];
        for (vector, weight) in examples.vectors.iter().zip(&weights) {
            for (mean, value) in mean.iter_mut().zip(vector) {
                *mean += weight * value;
            }
        }
        Self(mean)
    }

    pub(crate) fn direction(&self, vector: &[f32]) -> Vec<f32> {
        let mut seen: Vec<f32> = vector.iter().zip(&self.0).map(|(v, mean)| v - mean).collect();
        crate::features::embed::normalise(&mut seen);
        seen
    }
}
