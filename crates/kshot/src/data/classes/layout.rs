//! What a layout of pictures sorted by class provides to the table of data sets.

use std::path::{Path, PathBuf};

use super::pixels::{Pixels, Scaling};
use super::split::Splits;
use crate::error::Result;
use crate::names::Row;

/// Makes pictures, or vectors, of files.
pub type ReadPixels<'a> = dyn Fn(Vec<PathBuf>) -> Result<Pixels> + 'a;

/// How files become what a network takes.
pub enum ClassInput<'a> {
    /// Pictures, at the layout's own size and channels, scaled so.
    Pictures(Scaling),
    /// What this reads of the files.
    Vectors(&'a ReadPixels<'a>),
}

/// A layout of pictures sorted by class.
pub trait ClassLayout {
    /// Channels of the pictures: 1 is gray, 3 is RGB.
    fn channels(&self) -> usize;

    /// Height and width that pictures are brought to.
    fn size(&self) -> [usize; 2];

    /// How bytes become numbers; `of_network` is what a network's weights expect, if they do.
    fn scaling(&self, of_network: Option<Scaling>) -> Scaling;

    /// The classes in three parts.
    ///
    /// # Errors
    /// If a file is missing or a picture cannot be read.
    fn splits(&self, input: ClassInput<'_>) -> Result<Splits>;

    /// The folder it is in.
    fn root(&self) -> &Path;
}

/// How the table of data sets names such a layout.
pub trait ClassRow {
    /// Its name in recipes.
    const NAME: &'static str;
    /// One line for lists.
    const SUMMARY: &'static str;
    /// Where it comes from; empty for our own.
    const SOURCE: &'static str;

    /// The row of the table.
    fn row() -> Row {
        let source = (!Self::SOURCE.is_empty()).then(|| Self::SOURCE.to_owned());
        Row { name: Self::NAME.to_owned(), summary: Self::SUMMARY.to_owned(), source }
    }
}
