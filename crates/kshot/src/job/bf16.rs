//! What products in half precision ([`Precision::Bf16`], [`Precision::F16`]) cost in accuracy: how many labels of the same
//! pictures stay as they are in 32 bits. What is fitted to labelled pictures is fitted in 32 bits, so that the cost is that of the
//! others alone; episodes are in bf16 as a whole.

use std::fmt;
use std::path::Path;

use serde::Serialize;

use crate::classify::Recogniser;
use crate::features::embed::Embedder;
use crate::job::event::Event;
use crate::job::watch::Watch;
use crate::nn::Precision;
use crate::predict::Predictor;

/// Pictures that are segmented twice.
const SEGMENTED: usize = 3;
/// Pictures that are recognised twice.
const RECOGNISED: usize = 16;

/// What gets labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LabelTarget {
    /// Every pixel.
    Pixels,
    /// Whole pictures.
    Pictures,
}

/// How labels in half precision differ from those in 32 bits.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Bf16Cost {
    /// Which half precision.
    #[serde(skip)]
    pub precision: Precision,
    /// What was labelled.
    pub of: LabelTarget,
    /// Pictures looked at twice.
    pub pictures: usize,
    /// Share of labels that are the same, 0 to 1.
    pub agreement: f64,
    /// Mean distance of the confidences, 0 to 1.
    pub confidence_difference: f64,
}

impl fmt::Display for Bf16Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = match self.of {
            LabelTarget::Pixels => "of the pixels of the first",
            LabelTarget::Pictures => "of the first",
        };
        write!(
            f,
            "{}: {:.2} % {of} {} get the same label as in 32 bits; confidences differ by {:.4} \
             on average",
            self.precision.name(),
            100.0 * self.agreement,
            match self.pictures {
                1 => "picture".to_owned(),
                several => format!("{several} pictures"),
            },
            self.confidence_difference
        )
    }
}

/// Measures and tells the cost, where half precision is chosen and somebody listens.
pub(super) fn told(
    precision: Precision,
    watch: &Watch<'_>,
    measure: impl FnOnce() -> Option<Bf16Cost>,
) -> Option<Bf16Cost> {
    let cost = (precision.is_half() && watch.listens()).then(measure).flatten()?;
    watch.tell(&Event::Bf16 { cost });
    Some(cost)
}

/// Sums of what was compared.
struct Bf16Tally {
    precision: Precision,
    of: LabelTarget,
    pictures: usize,
    labels: usize,
    same: usize,
    apart: f64,
}

impl Bf16Tally {
    fn new(precision: Precision, of: LabelTarget) -> Self {
        Self { precision, of, pictures: 0, labels: 0, same: 0, apart: 0.0 }
    }

    fn add(&mut self, same: bool, confidences: [f64; 2]) {
        self.labels += 1;
        self.same += usize::from(same);
        self.apart += (confidences[0] - confidences[1]).abs();
    }

    /// `None` where no picture could be read.
    fn cost(&self) -> Option<Bf16Cost> {
        let share = |of: f64| of / self.labels as f64;
        (self.labels > 0).then(|| Bf16Cost {
            precision: self.precision,
            of: self.of,
            pictures: self.pictures,
            agreement: share(self.same as f64),
            confidence_difference: share(self.apart),
        })
    }
}

/// What a half precision costs a predictor: the first few of these pictures are labelled in 32 bits and in it. One that
/// cannot be labelled is left to the work itself, which says why; `None` if none can.
pub fn of_segmentation<'a>(
    predictor: &mut Predictor,
    half: Precision,
    files: impl IntoIterator<Item = &'a Path>,
) -> Option<Bf16Cost> {
    let mut tally = Bf16Tally::new(half, LabelTarget::Pixels);
    for file in files.into_iter().take(SEGMENTED) {
        let Ok(picture) = kshot_data::image::read(file) else { continue };
        let [exact, quick] = [Precision::F32, half].map(|precision| {
            predictor.set_precision(precision);
            predictor.predict(&picture)
        });
        let (Ok(exact), Ok(quick)) = (exact, quick) else { continue };
        let (exact, quick) = (exact.labelling, quick.labelling);
        tally.pictures += 1;
        let labels = exact.mask.pixels.iter().zip(&quick.mask.pixels);
        let confidences = exact.confidence.iter().zip(&quick.confidence);
        for ((a, b), (c, d)) in labels.zip(confidences) {
            tally.add(a == b, [c, d].map(|value| f64::from(*value) / 255.0));
        }
    }
    tally.cost()
}

/// What it costs a recogniser; as [`of_segmentation`].
pub fn of_recognition<'a>(
    (embedder, recogniser): (&Embedder, &Recogniser),
    half: Precision,
    files: impl IntoIterator<Item = &'a Path>,
) -> Option<Bf16Cost> {
    let mut tally = Bf16Tally::new(half, LabelTarget::Pictures);
    let embedders =
        [Precision::F32, half].map(|precision| embedder.clone().with_precision(precision));
    for file in files.into_iter().take(RECOGNISED) {
        let Ok(picture) = kshot_data::image::read(file) else { continue };
        let [exact, quick] = embedders.each_ref().map(|embedder| embedder.embed_one(&picture));
        let (Ok(exact), Ok(quick)) = (exact, quick) else { continue };
        let [exact, quick] = [exact, quick].map(|vector| recogniser.recognise(&vector));
        tally.pictures += 1;
        let confidences = [&exact, &quick].map(|found| f64::from(found.probability()));
        tally.add(exact.class() == quick.class(), confidences);
    }
    tally.cost()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cost_is_told_in_words() {
        let mut tally = Bf16Tally::new(Precision::Bf16, LabelTarget::Pixels);
        assert_eq!(tally.cost(), None);
        tally.pictures = 1;
        for same in [true, true, true, false] {
            tally.add(same, [0.5, if same { 0.5 } else { 0.7 }]);
        }
        let words = tally.cost().unwrap().to_string();
        let expected = "bf16: 75.00 % of the pixels of the first picture get the same label as in 32 bits; \
                        confidences differ by 0.0500 on average";
        assert_eq!(words, expected);
    }
}
