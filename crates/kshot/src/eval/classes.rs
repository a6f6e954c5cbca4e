//! What a segmentation came to, class by class, and which classes are taken for which others.

use serde::{Deserialize, Serialize};

use super::Confused;
use super::rows::{Counts, whole};
use crate::metric::confusion::{ClassCounts, Confusion};

/// Confusions that are listed.
const CONFUSED: usize = 20;

/// One class, over all segmented pictures (and seeds).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassFigures {
    /// Its name.
    pub name: String,
    /// Its number in masks; 0 is background.
    pub number: usize,
    /// Pictures whose truth holds it; by several seeds each counts once.
    pub pictures: usize,
    /// Pixels of the truth; by several seeds each counts once.
    pub pixels: u64,
    /// Intersection over union, 0 to 1; as the next three `None` of a class that is neither there nor predicted.
    pub iou: Option<f64>,
    /// Dice coefficient, 0 to 1.
    pub dice: Option<f64>,
    /// Share of what is predicted as it that is of it, 0 to 1.
    pub precision: Option<f64>,
    /// Share of it that is predicted as it, 0 to 1.
    pub recall: Option<f64>,
    /// F-score of its boundaries ([`boundary`](crate::metric::boundary)), 0 to 1, the mean over the pictures where truth
    /// or prediction has one; `None` where none has.
    pub boundary_f: Option<f64>,
}

/// Pixels by actual class (row) and predicted class (column), with the classes' names.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ConfusionTable {
    /// The names of rows and columns.
    pub classes: Vec<String>,
    /// A row for each actual class.
    pub counts: Vec<Vec<u64>>,
}

impl ConfusionTable {
    /// Of the classes that are there or predicted.
    pub(super) fn of(confusion: &Confusion, names: &[String]) -> Self {
        let all = 0..confusion.classes();
        let kept: Vec<usize> = all.filter(|&class| confusion.union(class) > 0).collect();
        let row = |&actual: &usize| -> Vec<u64> {
            kept.iter().map(|&predicted| confusion.count(actual, predicted) as u64).collect()
        };
        Self {
            classes: kept.iter().map(|&class| names[class].clone()).collect(),
            counts: kept.iter().map(row).collect(),
        }
    }

    /// Which classes are taken for which others most often, the most pixels first.
    pub(super) fn confused(&self) -> Vec<Confused> {
        let mut pairs: Vec<Confused> = Vec::new();
        for (actual, row) in self.counts.iter().enumerate() {
            let opportunities = row.iter().sum::<u64>() as usize;
            for (predicted, &count) in row.iter().enumerate() {
                if predicted != actual && count > 0 {
                    pairs.push(Confused {
                        actual: self.classes[actual].clone(),
                        predicted: self.classes[predicted].clone(),
                        count: count as usize,
                        opportunities,
                    });
                }
            }
        }
        pairs.sort_by_key(|pair| (std::cmp::Reverse(pair.count), pair.opportunities));
        pairs.truncate(CONFUSED);
        pairs
    }

    /// As it stands in `result.json`: a line for each row.
    pub(super) fn text(&self) -> serde_json::Result<String> {
        let line = |row: &Vec<u64>| serde_json::to_string(row).map(|row| format!("      {row}"));
        let rows = self.counts.iter().map(line).collect::<serde_json::Result<Vec<_>>>()?;
        let names = serde_json::to_string(&self.classes)?;
        let rows = rows.join(",\n");
        Ok(format!("{{\n    \"classes\": {names},\n    \"counts\": [\n{rows}\n    ]\n  }}"))
    }
}

/// The pixels of a picture's classes: of those that are there or predicted. What is kept of each picture, so that memory
/// does not grow by the square of the classes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct PictureCounts(Vec<(usize, Counts)>);

impl PictureCounts {
    pub(super) fn of(confusion: &Confusion) -> Self {
        let there = (0..confusion.classes()).filter(|class| confusion.union(*class) > 0);
        Self(there.map(|class| (class, whole(&confusion.of_class(class)))).collect())
    }

    /// Class and counts, classes rising.
    pub(super) fn classes(&self) -> &[(usize, Counts)] {
        &self.0
    }

    /// Mean IoU of its classes without background. Where no class is, none found is right.
    pub(super) fn mean_iou(&self) -> f64 {
        let of = self.0.iter().filter(|(class, _)| *class > 0);
        mean_iou(of.map(|(_, counts)| counts)).unwrap_or(1.0)
    }

    /// Adds them to sums by class.
    pub(super) fn add_to(&self, sums: &mut [Counts]) {
        for (class, counts) in &self.0 {
            sums[*class].iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
    }
}

/// The counts as numbers that metrics are read off.
fn of_counts([hits, extra, missed]: Counts) -> ClassCounts {
    ClassCounts {
        true_positives: hits as f64,
        false_positives: extra as f64,
        false_negatives: missed as f64,
    }
}

/// Intersection over union; `None` where there is nothing.
pub(super) fn iou(counts: Counts) -> Option<f64> {
    of_counts(counts).iou()
}

/// The mean over the classes that are there or predicted; `None` where none is.
pub(super) fn mean_iou<'a>(counts: impl Iterator<Item = &'a Counts>) -> Option<f64> {
    let (sum, count) =
        counts.filter_map(|of| iou(*of)).fold((0.0, 0), |(sum, count), iou| (sum + iou, count + 1));
    (count > 0).then(|| sum / f64::from(count))
}

/// Sums of F-scores of boundaries, of a seed's pictures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct BoundarySums {
    /// Sum of the pictures' means over classes, and how many pictures have boundaries.
    pictures: (f64, usize),
    /// By class, the sum of F-scores and in how many pictures the class has a boundary.
    classes: Vec<(f64, usize)>,
}

impl BoundarySums {
    /// Nothing seen yet.
    pub(super) fn new(classes: usize) -> Self {
        Self { pictures: (0.0, 0), classes: vec![(0.0, 0); classes] }
    }

    /// Adds a picture's F-scores by class.
    pub(super) fn add(&mut self, scores: &[(u8, f64)]) {
        if scores.is_empty() {
            return;
        }
        let mean = scores.iter().map(|(_, score)| score).sum::<f64>() / scores.len() as f64;
        self.pictures = (self.pictures.0 + mean, self.pictures.1 + 1);
        for (class, score) in scores {
            let of = &mut self.classes[usize::from(*class)];
            *of = (of.0 + score, of.1 + 1);
        }
    }

    /// The mean over pictures; `None` without a boundary.
    pub(super) fn mean(&self) -> Option<f64> {
        let (sum, count) = self.pictures;
        (count > 0).then(|| sum / count as f64)
    }

    /// Adds those of another seed.
    fn merge(&mut self, other: &Self) {
        self.pictures = (self.pictures.0 + other.pictures.0, self.pictures.1 + other.pictures.1);
        for (of, other) in self.classes.iter_mut().zip(&other.classes) {
            *of = (of.0 + other.0, of.1 + other.1);
        }
    }
}

/// The figures of every class of `names`, by their number in masks; background only where `background` is a class or
/// occurs. `seeds` holds, of each, the pictures and the boundaries.
pub(super) fn figures(
    confusion: &Confusion,
    names: &[String],
    background: bool,
    seeds: &[(&[PictureCounts], &BoundarySums)],
) -> Vec<ClassFigures> {
    let mut boundaries = BoundarySums::new(names.len());
    seeds.iter().for_each(|(_, of)| boundaries.merge(of));
    // Every seed segments the same pictures: the truth is that of the first.
    let mut truth = vec![(0usize, 0u64); names.len()];
    for picture in seeds.first().map_or(&[][..], |(pictures, _)| pictures) {
        for &(class, [hits, _, missed]) in picture.classes() {
            let of = &mut truth[class];
            *of = (of.0 + usize::from(hits + missed > 0), of.1 + hits + missed);
        }
    }
    let first = usize::from(!background && confusion.union(0) == 0);
    (first..names.len())
        .map(|class| {
            let counts = confusion.of_class(class);
            let (sum, count) = boundaries.classes[class];
            ClassFigures {
                name: names[class].clone(),
                number: class,
                pictures: truth[class].0,
                pixels: truth[class].1,
                iou: counts.iou(),
                dice: counts.dice(),
                precision: counts.precision(),
                recall: counts.recall(),
                boundary_f: (count > 0).then(|| sum / count as f64),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use kshot_data::mask::Mask;

    use super::*;

    #[test]
    fn figures_are_those_of_the_pixels_by_hand() {
        let mask = |pixels: [u8; 6]| Mask::from_pixels(6, 1, pixels.to_vec()).unwrap();
        let pairs =
            [([0, 0, 1, 1, 1, 255], [0, 1, 1, 1, 0, 1]), ([0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 2])];
        let mut confusion = Confusion::new(4);
        let mut pictures = Vec::new();
        for (truth, predicted) in pairs {
            let mut one = Confusion::new(4);
            one.add(&mask(truth), &mask(predicted)).unwrap();
            confusion.merge(&one);
            pictures.push(PictureCounts::of(&one));
        }
        assert_eq!(pictures[0].mean_iou(), 0.5);
        assert_eq!(pictures[1].mean_iou(), 0.0);
        assert_eq!(PictureCounts(Vec::new()).mean_iou(), 1.0);
        let mut boundaries = BoundarySums::new(4);
        boundaries.add(&[(1, 0.5)]);
        boundaries.add(&[]);
        boundaries.add(&[(1, 1.0), (2, 0.0)]);
        assert_eq!(boundaries.mean(), Some(0.5));
        let names = ["background", "a", "b", "c"].map(str::to_owned);
        let seed = (&pictures[..], &boundaries);
        let all = figures(&confusion, &names, true, &[seed, seed]);
        let [background, a, b, c] = &all[..] else { panic!("{all:?}") };
        assert_eq!((background.pictures, background.pixels), (2, 8));
        assert_eq!((a.pictures, a.pixels, a.iou), (1, 3, Some(0.5)));
        assert_eq!(
            (a.precision, a.recall, a.boundary_f),
            (Some(2.0 / 3.0), Some(2.0 / 3.0), Some(0.75))
        );
        // Predicted, and nowhere in the truth.
        assert_eq!((b.pictures, b.pixels, b.iou, b.recall), (0, 0, Some(0.0), Some(0.0)));
        assert_eq!((c.iou, c.dice, c.boundary_f), (None, None, None));

        let table = ConfusionTable::of(&confusion, &names);
        assert_eq!(table.classes, ["background", "a", "b"]);
        assert_eq!(table.counts, [[6, 1, 1], [1, 2, 0], [0, 0, 0]]);
        let confused = table.confused();
        assert_eq!(confused.len(), 3);
        let first = &confused[0];
        assert_eq!(
            (&*first.actual, &*first.predicted, first.opportunities),
            ("a", "background", 3)
        );
        let text = table.text().unwrap();
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read["counts"][0][0], 6, "{text}");
    }
}
