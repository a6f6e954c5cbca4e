//! `[predict]`: how scores become pixels, and how a trained network sees a picture.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::method::few_shot::Effort;
use crate::postprocess::refine::Refinement;

/// How scores become pixels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Predict {
    /// How coarse probabilities become pixels.
    pub refinement: Refinement,
    /// How much is tried before pictures are labelled.
    pub effort: Effort,
    /// Working pixels per picture pixel of methods fitted to features; by the labelled objects' thickness if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.05, max = 4.0))]
    pub scale: Option<f32>,
    /// Side in pixels of the tiles that a trained network sees of pictures that are larger; rounded up to a multiple of
    /// 32.
    #[schemars(range(min = 64, max = 8192))]
    pub tile: usize,
    /// Share of a tile's side that the next tile covers too, at least; tiles count less towards their edges (by a Gaussian
    /// of an eighth of the side).
    #[schemars(range(min = 0.0, max = 0.9))]
    pub overlap: f32,
    /// Mirror images that a trained network sees besides (test-time augmentation): the mean of the probabilities counts.
    pub flip: TestFlip,
    /// Sizes at which a trained network sees a picture, as factors of its working size: the mean of the probabilities
    /// counts.
    #[schemars(length(min = 1, max = 16), inner(range(min = 0.1, max = 4.0)))]
    pub scales: Vec<f32>,
}

/// Mirror images that are seen besides a picture.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum TestFlip {
    /// None.
    #[default]
    None,
    /// With left and right exchanged.
    Horizontal,
    /// With left and right, top and bottom, and both exchanged: for pictures without an upside.
    Both,
}

impl TestFlip {
    /// Whether left and right, and top and bottom, are exchanged in each view; the picture itself comes first.
    pub fn views(self) -> &'static [[bool; 2]] {
        const ALL: [[bool; 2]; 4] = [[false, false], [true, false], [false, true], [true, true]];
        match self {
            Self::None => &ALL[..1],
            Self::Horizontal => &ALL[..2],
            Self::Both => &ALL,
        }
    }
}

impl Default for Predict {
    fn default() -> Self {
        Self {
            refinement: Refinement::None,
            effort: Effort::default(),
            scale: None,
            tile: 768,
            overlap: 0.25,
            flip: TestFlip::None,
            scales: vec![1.0],
        }
    }
}

impl Predict {
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// A key for trained networks alone that says something else than by default.
    pub(super) fn of_networks(&self) -> Option<&'static str> {
        let plain = Self::default();
        [
            ("tile", self.tile != plain.tile),
            ("overlap", self.overlap != plain.overlap),
            ("flip", self.flip != plain.flip),
            ("scales", self.scales != plain.scales),
        ]
        .into_iter()
        .find_map(|(key, differs)| differs.then_some(key))
    }
}
