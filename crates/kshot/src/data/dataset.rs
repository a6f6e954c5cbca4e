//! Labelled pictures: one way to read them, whatever their layout on disk.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::RgbImage;
use kshot_data::mask::Mask;
use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::names::Row;

/// Labelled pictures. Pictures are read when they are asked for.
pub trait Dataset: Send + Sync {
    /// The classes' names; class `i + 1` of a mask, or class `i` of pictures, is `classes()[i]`.
    fn classes(&self) -> &[String];

    /// Number of pictures.
    fn len(&self) -> usize;

    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A picture's file.
    fn file(&self, index: usize) -> &Path;

    /// The files that its label is made from.
    fn label_files(&self, index: usize) -> Vec<PathBuf>;

    /// A picture.
    ///
    /// # Errors
    /// If it cannot be read.
    fn image(&self, index: usize) -> Result<RgbImage> {
        kshot_data::image::read(self.file(index))
    }

    /// Whether 0 is a class of its own, background. Where it is not, no pixel is background.
    fn has_background(&self) -> bool {
        true
    }

    /// A picture's mask.
    ///
    /// # Errors
    /// If it cannot be read or is wrong.
    fn mask(&self, index: usize) -> Result<Mask>;
}

/// A picture with its mask at the width and height that a function makes of the picture's, and the bytes that they take.
///
/// # Errors
/// If they cannot be read.
pub(super) fn read_at(
    set: &dyn Dataset,
    index: usize,
    size: impl Fn(u32, u32) -> (u32, u32),
) -> Result<((RgbImage, Mask), usize)> {
    let (mut image, mut mask) = (set.image(index)?, set.mask(index)?);
    let (width, height) = size(image.width(), image.height());
    if image.dimensions() != (width, height) {
        image = kshot_data::resize::resize(&image, width, height)?;
    }
    if [mask.width, mask.height] != [width as usize, height as usize] {
        mask = mask.resized(width as usize, height as usize);
    }
    let bytes = image.len() + mask.pixels.len();
    Ok(((image, mask), bytes))
}

/// Some pictures of a data set.
pub struct Subset {
    all: Arc<dyn Dataset>,
    indices: Vec<usize>,
}

impl Subset {
    /// The pictures at these places, in this order.
    pub fn new(all: Arc<dyn Dataset>, indices: Vec<usize>) -> Self {
        Self { all, indices }
    }
}

impl Dataset for Subset {
    fn classes(&self) -> &[String] {
        self.all.classes()
    }

    fn len(&self) -> usize {
        self.indices.len()
    }

    fn file(&self, index: usize) -> &Path {
        self.all.file(self.indices[index])
    }

    fn label_files(&self, index: usize) -> Vec<PathBuf> {
        self.all.label_files(self.indices[index])
    }

    fn image(&self, index: usize) -> Result<RgbImage> {
        self.all.image(self.indices[index])
    }

    fn mask(&self, index: usize) -> Result<Mask> {
        self.all.mask(self.indices[index])
    }

    fn has_background(&self) -> bool {
        self.all.has_background()
    }
}

/// The pictures of one data set, then those of another of the same classes.
pub struct Joined {
    first: Arc<dyn Dataset>,
    second: Arc<dyn Dataset>,
}

impl Joined {
    /// Of both, in this order.
    ///
    /// # Errors
    /// If they have other classes.
    pub fn new(first: Arc<dyn Dataset>, second: Arc<dyn Dataset>) -> Result<Self> {
        if first.classes() != second.classes() {
            return Err(Error::data(format!(
                "pictures of the classes {} cannot be joined with pictures of {}",
                first.classes().join(", "),
                second.classes().join(", ")
            )));
        }
        Ok(Self { first, second })
    }

    fn of(&self, index: usize) -> (&dyn Dataset, usize) {
        match index.checked_sub(self.first.len()) {
            None => (self.first.as_ref(), index),
            Some(index) => (self.second.as_ref(), index),
        }
    }
}

impl Dataset for Joined {
    fn classes(&self) -> &[String] {
        self.first.classes()
    }

    fn len(&self) -> usize {
        self.first.len() + self.second.len()
    }

    fn file(&self, index: usize) -> &Path {
        let (set, index) = self.of(index);
        set.file(index)
    }

    fn label_files(&self, index: usize) -> Vec<PathBuf> {
        let (set, index) = self.of(index);
        set.label_files(index)
    }

    fn image(&self, index: usize) -> Result<RgbImage> {
        let (set, index) = self.of(index);
        set.image(index)
    }

    fn mask(&self, index: usize) -> Result<Mask> {
        let (set, index) = self.of(index);
        set.mask(index)
    }

    fn has_background(&self) -> bool {
        self.first.has_background()
    }
}

/// Per picture, how many pixels each mask value has.
///
/// # Errors
/// If a mask cannot be read.
pub fn pixel_counts(set: &dyn Dataset) -> Result<Vec<[usize; 256]>> {
    (0..set.len()).into_par_iter().map(|index| Ok(set.mask(index)?.counts())).collect()
}

/// What a layout of labelled pictures provides to the table of data sets.
pub trait DatasetLayout {
    /// Its name in recipes.
    const NAME: &'static str;
    /// One line for lists.
    const SUMMARY: &'static str;
    /// Where it comes from; empty for our own.
    const SOURCE: &'static str;

    /// One part of it: a list's name, or `train`, `validation`, `test`.
    ///
    /// # Errors
    /// If a file of the layout is missing or the part is empty.
    fn open(&self, part: &str) -> Result<Arc<dyn Dataset>>;

    /// The folder it is in.
    fn root(&self) -> &Path;

    /// Whether 0 is a class of its own, background.
    fn has_background(&self) -> bool {
        true
    }

    /// The row of the table.
    fn row() -> Row {
        let source = (!Self::SOURCE.is_empty()).then(|| Self::SOURCE.to_owned());
        Row { name: Self::NAME.to_owned(), summary: Self::SUMMARY.to_owned(), source }
    }
}

/// The lines of a list file that are not empty, trimmed.
///
/// # Errors
/// If it cannot be read.
pub(super) fn lines(file: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(file).map_err(|error| {
        Error::io("read the list (is data.root the data set's own folder?)", file, error)
    })?;
    Ok(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect())
}

/// Pictures with a mask file each, as lists name them.
pub(super) struct ListedPairs {
    pub(super) classes: Vec<String>,
    /// Picture and mask.
    pub(super) items: Vec<(PathBuf, PathBuf)>,
    pub(super) has_background: bool,
    /// Reads a mask file.
    pub(super) read: fn(&Path) -> Result<Mask>,
}

impl ListedPairs {
    /// Refuses a part without a picture.
    pub(super) fn filled(self, root: &Path, part: &str) -> Result<Arc<dyn Dataset>> {
        if self.items.is_empty() {
            return Err(Error::data(format!("the list `{part}` names no picture")).in_file(root));
        }
        Ok(Arc::new(self))
    }
}

impl Dataset for ListedPairs {
    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn len(&self) -> usize {
        self.items.len()
    }

    fn file(&self, index: usize) -> &Path {
        &self.items[index].0
    }

    fn label_files(&self, index: usize) -> Vec<PathBuf> {
        vec![self.items[index].1.clone()]
    }

    fn has_background(&self) -> bool {
        self.has_background
    }

    fn mask(&self, index: usize) -> Result<Mask> {
        (self.read)(&self.items[index].1)
    }
}
