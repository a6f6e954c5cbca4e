//! What an evaluation measured episode by episode, or picture by picture: the `rows` of `result.json`.
//!
//! ```json
//! "rows": {
//!   "of": "few-shot-segmentation",
//!   "columns": ["fold", "run", "episode", "classes", "support", "query", "iou", "counts"],
//!   "classes": ["background", "aeroplane", "bicycle"],
//!   "pictures": ["JPEGImages/2007_000032.jpg", "JPEGImages/2007_000123.jpg"],
//!   "values": [
//!     [0, 0, 0, [1], [0], 1, 0.512345, [[150000, 100, 250], [367, 250, 100]]]
//!   ]
//! }
//! ```
//! A row is an array in the order of `columns`. Classes and pictures are places, from 0, in `classes` and `pictures`
//! (files below the data set's folder); of pixels, a class is the mask's number, 0 being background. Counts are pixels:
//! true positives, false positives and false negatives. IoU and accuracy have six digits. By protocol:
//!
//! | `of` | a row is | columns | what it recomputes |
//! |---|---|---|---|
//! | `few-shot-segmentation` | an episode ([`EpisodeRow`]) | fold, run, episode, classes, support, query, iou, counts | `mean_iou`, `binary_iou`: counts are added up by class over a run of a fold |
//! | `few-shot-recognition` | an episode ([`AnswerRow`]) | ways, shots, episode, classes, right, queries, accuracy | `accuracy`: the mean of its ways and shots |
//! | `segmentation` | a picture by one seed ([`PictureRow`]) | seed, picture, mean_iou, classes, iou, counts | all but `ece`: counts are added up by class over a seed |
//! | `presence` | a query ([`QueryRow`]) | run, class, picture, present, empty, presence | all but `ece`: of a run's queries |
//!
//! `ece` is of single pixels or answers, which no row keeps. `kshot compare` pairs the rows of two results
//! ([`compare`](super::compare)).

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use kshot_data::query::slashed;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::data::dataset::Dataset;
use crate::error::{Error, Result};
use crate::metric::confusion::ClassCounts;

/// Pixels of a class: true positives, false positives, false negatives.
pub type Counts = [u64; 3];

/// Pixel counts as whole numbers, which they are.
pub(super) fn whole(counts: &ClassCounts) -> Counts {
    [counts.true_positives, counts.false_positives, counts.false_negatives]
        .map(|count| count as u64)
}

/// Six digits: more than anybody reads, and short in a file.
pub(super) fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

/// The rows of a result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "of", rename_all = "kebab-case")]
pub enum Rows {
    /// Episodes of pixels.
    FewShotSegmentation(RowTable<EpisodeRow>),
    /// Episodes of pictures.
    FewShotRecognition(RowTable<AnswerRow>),
    /// Segmented pictures.
    Segmentation(RowTable<PictureRow>),
    /// Pictures that were asked about.
    Presence(RowTable<QueryRow>),
}

/// Rows of one kind with the names that they refer to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RowTable<R> {
    /// The names of a row's values, in their order.
    pub columns: Vec<String>,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// Names of the pictures that occur: files below the data set's folder.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pictures: Vec<String>,
    /// The rows.
    pub values: Vec<R>,
}

/// A kind of row.
pub trait Row: Serialize {
    /// The names of its values, in their order.
    const COLUMNS: &'static [&'static str];
}

/// Makes a row that is written as an array of its values.
macro_rules! row {
    ($(#[$about:meta])* $name:ident { $($(#[$of:meta])* $field:ident: $kind:ty,)+ }) => {
        $(#[$about])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name { $($(#[$of])* pub $field: $kind,)+ }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
                ($(&self.$field,)+).serialize(serializer)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
                let ($($field,)+): ($($kind,)+) = Deserialize::deserialize(deserializer)?;
                Ok(Self { $($field,)+ })
            }
        }

        impl Row for $name {
            const COLUMNS: &'static [&'static str] = &[$(stringify!($field)),+];
        }
    };
}

row! {
    /// An episode of few-shot segmentation.
    EpisodeRow {
        /// The fold whose classes it asks for.
        fold: usize,
        /// The run.
        run: usize,
        /// Its number in the run, from 0.
        episode: usize,
        /// The classes asked for.
        classes: Vec<usize>,
        /// The labelled pictures: `shots` of the first class, then of the next.
        support: Vec<usize>,
        /// The segmented picture.
        query: usize,
        /// Mean IoU of the classes that the query holds; 1 where all their pixels are void.
        iou: f64,
        /// Of background, then of each class asked for.
        counts: Vec<Counts>,
    }
}

row! {
    /// An episode of few-shot recognition.
    AnswerRow {
        /// How many classes.
        ways: usize,
        /// Labelled pictures of each.
        shots: usize,
        /// Its number, from 0.
        episode: usize,
        /// The classes.
        classes: Vec<usize>,
        /// Queries answered rightly.
        right: usize,
        /// Of how many.
        queries: usize,
        /// The one divided by the other.
        accuracy: f64,
    }
}

row! {
    /// A picture as one seed's labels had it segmented.
    PictureRow {
        /// The seed.
        seed: u64,
        /// The picture.
        picture: usize,
        /// Mean IoU of the classes that are there or predicted, without background; 1 where none is.
        mean_iou: f64,
        /// The classes that are there or predicted, background among them.
        classes: Vec<usize>,
        /// The IoU of each.
        iou: Vec<f64>,
        /// The counts of each.
        counts: Vec<Counts>,
    }
}

row! {
    /// A picture that was asked whether it holds a class.
    QueryRow {
        /// The run.
        run: usize,
        /// The class.
        class: usize,
        /// The picture.
        picture: usize,
        /// Whether it holds the class.
        present: bool,
        /// Whether it was left empty.
        empty: bool,
        /// How sure it seemed that the class is there.
        presence: f32,
    }
}

impl<R: Row> RowTable<R> {
    /// Rows with the names that they refer to.
    pub fn new(classes: Vec<String>, pictures: Vec<String>, values: Vec<R>) -> Self {
        let columns = R::COLUMNS.iter().map(|&name| name.to_owned()).collect();
        Self { columns, classes, pictures, values }
    }

    /// `refers` gives the classes and pictures of a row, unless it is wrong in itself.
    fn check(&self, refers: impl Fn(&R) -> Option<(Vec<usize>, Vec<usize>)>) -> Result<()> {
        let right = |row: &R| {
            refers(row).is_some_and(|(classes, pictures)| {
                classes.iter().all(|&class| class < self.classes.len())
                    && pictures.iter().all(|&picture| picture < self.pictures.len())
            })
        };
        match self.values.iter().position(|row| !right(row)) {
            None => Ok(()),
            Some(place) => Err(Error::data(format!(
                "row {} of {} is damaged: its numbers do not go together",
                place + 1,
                self.values.len()
            ))),
        }
    }

    fn text(&self, of: &str) -> serde_json::Result<String> {
        let line = |row: &R| serde_json::to_string(row).map(|row| format!("      {row}"));
        let values = self.values.iter().map(line).collect::<serde_json::Result<Vec<_>>>()?;
        let names = |names: &[String]| serde_json::to_string(names);
        let mut text =
            format!("{{\n    \"of\": \"{of}\",\n    \"columns\": {},\n", names(&self.columns)?);
        text.push_str(&format!("    \"classes\": {},\n", names(&self.classes)?));
        if !self.pictures.is_empty() {
            text.push_str(&format!("    \"pictures\": {},\n", names(&self.pictures)?));
        }
        text.push_str(&format!("    \"values\": [\n{}\n    ]\n  }}", values.join(",\n")));
        Ok(text)
    }
}

impl Rows {
    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Self::FewShotSegmentation(table) => table.values.len(),
            Self::FewShotRecognition(table) => table.values.len(),
            Self::Segmentation(table) => table.values.len(),
            Self::Presence(table) => table.values.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Refuses rows whose numbers do not go together, as those of a file that was changed.
    ///
    /// # Errors
    /// If one names a class or picture that is not listed, or its counts are not as many as its classes.
    pub fn check(&self) -> Result<()> {
        match self {
            Self::FewShotSegmentation(table) => table.check(|row| {
                let pictures = row.support.iter().chain([&row.query]).copied();
                (row.counts.len() == row.classes.len() + 1)
                    .then(|| (row.classes.clone(), pictures.collect()))
            }),
            Self::FewShotRecognition(table) => table.check(|row| {
                let answered = row.queries > 0 && row.right <= row.queries;
                answered.then(|| (row.classes.clone(), Vec::new()))
            }),
            Self::Segmentation(table) => table.check(|row| {
                (row.counts.len() == row.classes.len())
                    .then(|| (row.classes.clone(), vec![row.picture]))
            }),
            Self::Presence(table) => table.check(|row| Some((vec![row.class], vec![row.picture]))),
        }
    }

    /// As they stand in `result.json`: a line for each row.
    ///
    /// # Errors
    /// If a value cannot be written as JSON.
    pub(super) fn text(&self) -> Result<String> {
        let text = match self {
            Self::FewShotSegmentation(table) => table.text("few-shot-segmentation"),
            Self::FewShotRecognition(table) => table.text("few-shot-recognition"),
            Self::Segmentation(table) => table.text("segmentation"),
            Self::Presence(table) => table.text("presence"),
        };
        text.map_err(|error| {
            Error::config(format!("the rows cannot be written as JSON: {error}")).caused_by(error)
        })
    }
}

/// The names of a data set's classes by their number in masks.
pub(super) fn class_names(set: &dyn Dataset) -> Vec<String> {
    std::iter::once("background".to_owned()).chain(set.classes().iter().cloned()).collect()
}

/// The names of pictures in the order in which they first occur.
pub(super) struct PictureNames<'a> {
    set: &'a dyn Dataset,
    root: PathBuf,
    places: HashMap<usize, usize>,
    names: Vec<String>,
}

impl<'a> PictureNames<'a> {
    /// Of a data set in a folder.
    pub(super) fn new(set: &'a dyn Dataset, root: &Path) -> Self {
        Self { set, root: root.to_owned(), places: HashMap::new(), names: Vec::new() }
    }

    /// The place of a picture's name.
    pub(super) fn place(&mut self, index: usize) -> usize {
        *self.places.entry(index).or_insert_with(|| {
            let file = self.set.file(index);
            let below = file.strip_prefix(&self.root).ok();
            let name = below
                .map(slashed)
                .or_else(|| Some(file.file_name()?.to_string_lossy().into_owned()));
            self.names.push(name.unwrap_or_default());
            self.names.len() - 1
        })
    }

    /// All names.
    pub(super) fn names(self) -> Vec<String> {
        self.names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_short_lines_and_read_back() {
        let row = |episode| EpisodeRow {
            fold: 1,
            run: 0,
            episode,
            classes: vec![2],
            support: vec![0],
            query: 1,
            iou: rounded(1.0 / 3.0),
            counts: vec![[5, 0, 1], [1, 1, 1]],
        };
        let names = |names: [&str; 2]| names.map(str::to_owned).to_vec();
        let table =
            RowTable::new(names(["a", "b"]), names(["x.png", "y \"z\".png"]), vec![row(0), row(1)]);
        let rows = Rows::FewShotSegmentation(table);
        let text = rows.text().unwrap();
        assert!(text.contains("\n      [1,0,0,[2],[0],1,0.333333,[[5,0,1],[1,1,1]]],\n"), "{text}");
        assert_eq!(serde_json::from_str::<Rows>(&text).unwrap(), rows);
        assert_eq!(
            serde_json::to_value(&rows).unwrap(),
            serde_json::from_str::<serde_json::Value>(&text).unwrap()
        );
        assert_eq!((rows.len(), rows.is_empty()), (2, false));
    }

    #[test]
    fn four_settings_of_a_thousand_episodes_stay_below_a_megabyte() {
        let row = |episode: usize| EpisodeRow {
            fold: episode % 4,
            run: 4,
            episode,
            classes: vec![20, 19],
            support: vec![1_400 + episode % 49; 10],
            query: episode % 1449,
            iou: 0.123_456,
            counts: vec![[123_456, 12_345, 12_345]; 3],
        };
        let table = RowTable::new(Vec::new(), Vec::new(), (0..4_000).map(row).collect());
        let bytes = Rows::FewShotSegmentation(table).text().unwrap().len();
        assert!(bytes < 1_000_000, "{bytes} bytes of 2 ways and 5 shots");
    }
}
