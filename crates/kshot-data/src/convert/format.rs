//! The formats that labels can be written in.

use crate::error::{Error, Result};
use crate::names;

/// The formats that can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LabelFormat {
    /// `masks/NAME.png`, index PNG with a palette (scribbles in `scribbles/`).
    Mask,
    /// `masks/CLASS/NAME.png`, one for each class of a picture.
    ClassMasks,
    /// `masks/NAME.png` in colours, `colors.csv`.
    ColorMasks,
    /// `masks/NAME.tif`, class numbers in one band, uncompressed and placed on the map as its picture is.
    TiffMasks,
    /// `images/NAME.json`.
    Labelme,
    /// `annotations.json`.
    Coco,
    /// `labels/NAME.txt` and `data.yaml`.
    YoloSeg,
    /// `Annotations/NAME.xml`: boxes.
    VocXml,
    /// `boxes.csv`.
    BoxesCsv,
}

impl LabelFormat {
    /// All formats, in the order of lists and help.
    pub const ALL: [Self; 9] = [
        Self::Mask,
        Self::ClassMasks,
        Self::ColorMasks,
        Self::TiffMasks,
        Self::Labelme,
        Self::Coco,
        Self::YoloSeg,
        Self::VocXml,
        Self::BoxesCsv,
    ];

    /// Its name in commands.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mask => "mask",
            Self::ClassMasks => "class-masks",
            Self::ColorMasks => "color-masks",
            Self::TiffMasks => "tiff-masks",
            Self::Labelme => "labelme",
            Self::Coco => "coco",
            Self::YoloSeg => "yolo-seg",
            Self::VocXml => "voc-xml",
            Self::BoxesCsv => "boxes-csv",
        }
    }

    /// Whether a label file is for one picture and has its name without the ending.
    pub(super) fn by_stem(self) -> bool {
        !matches!(self, Self::Coco | Self::BoxesCsv)
    }

    /// Whether it holds boxes only.
    pub(super) fn is_boxes(self) -> bool {
        matches!(self, Self::VocXml | Self::BoxesCsv)
    }

    /// Whether it holds a value per pixel.
    pub(super) fn is_dense(self) -> bool {
        matches!(self, Self::Mask | Self::ClassMasks | Self::ColorMasks | Self::TiffMasks)
    }

    /// Whether masks become outlines in it.
    pub fn has_outlines(self) -> bool {
        matches!(self, Self::Labelme | Self::Coco | Self::YoloSeg)
    }
}

impl std::str::FromStr for LabelFormat {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|format| format.name() == name).ok_or_else(|| {
            let valid = Self::ALL.map(Self::name);
            Error::config(names::unknown("label format", name, &valid))
        })
    }
}
