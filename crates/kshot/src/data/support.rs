//! The labelled pictures a user gives: the support set.

use std::path::PathBuf;

use image::RgbImage;

use super::mask::Mask;

/// How a picture was labelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LabelKind {
    /// Every pixel is labelled (index, palette or binary mask).
    Mask,
    /// Outlines: polygons or run-length masks of a labelling tool.
    Polygons,
    /// A few strokes; the rest is unlabelled.
    Scribble,
    /// Boxes; what is inside is the class and more, what is outside is background.
    Boxes,
}

/// One labelled picture.
#[derive(Debug, Clone)]
pub struct LabelledPicture {
    /// The picture's file.
    pub path: PathBuf,
    /// The picture, upright.
    pub image: RgbImage,
    /// Its labels, of the same size.
    pub mask: Mask,
    /// How it was labelled.
    pub kind: LabelKind,
}

/// K labelled pictures of C classes.
#[derive(Debug, Clone, Default)]
pub struct Support {
    /// The classes' names without background: class `i + 1` of the masks is `classes[i]`.
    pub classes: Vec<String>,
    /// The labelled pictures.
    pub pictures: Vec<LabelledPicture>,
}
