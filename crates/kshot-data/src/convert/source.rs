//! What is converted: labels of a folder, or the masks of a result.

use std::path::Path;

use crate::convert::ConvertOptions;
use crate::error::{Error, Result};
use crate::label_folder::LabelFolder;
use crate::result_folder::{self, ResultFolder};

/// What is converted.
pub(super) struct Source {
    pub(super) folder: LabelFolder,
    /// By picture, whether it is chosen.
    chosen: Vec<bool>,
    /// By picture, whether its labels are predictions; empty for labels that people made.
    pub(super) predicted: Vec<bool>,
}

impl Source {
    pub(super) fn open(from: &Path, options: &ConvertOptions) -> Result<Self> {
        let is_result = result_folder::is_result(from);
        options.check(is_result, from)?;
        let (folder, predicted, next) = if is_result {
            let result = ResultFolder::open(from, options.images.as_deref())?;
            let next = options.next.map(|most| result.next(most));
            (result.folder, result.predicted, next)
        } else {
            (LabelFolder::open_reading(from, options.masks)?, Vec::new(), None)
        };
        let mut chosen = match next {
            Some(next) if next.is_empty() => {
                return Err(Error::config(
                    "--next: run.toml names no picture to label next (of one or two pictures, or where all are labelled); \
                     leave it out",
                )
                .in_file(from));
            }
            Some(next) => (0..folder.pictures.len()).map(|index| next.contains(&index)).collect(),
            None => vec![true; folder.pictures.len()],
        };
        if !options.only.is_empty() {
            let named = result_folder::chosen(&folder, &options.only)?;
            chosen.iter_mut().zip(named).for_each(|(chosen, named)| *chosen &= named);
        }
        Ok(Self { folder, chosen, predicted })
    }

    /// The places of the pictures to convert.
    pub(super) fn labelled(&self) -> Vec<usize> {
        let pictures = &self.folder.pictures;
        (0..pictures.len()).filter(|&at| self.chosen[at] && pictures[at].labels.is_some()).collect()
    }
}
