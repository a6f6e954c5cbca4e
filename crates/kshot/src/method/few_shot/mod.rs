//! Few-shot segmentation on frozen features: heads fitted to K labelled pictures in seconds.

pub mod baseline;
pub mod distance;
pub mod filter_forest;
pub mod fine_probe;
pub mod forest;
pub mod generative;
pub mod matching_networks;
pub mod pixel_decoder;
pub mod probe;
pub mod prototype;
pub mod prototypical_networks;
pub mod relation_networks;
pub mod ridge_head;
pub mod samples;
pub mod self_support;
mod similarity;

use kshot_data::mask::{MAX_CLASSES, Mask};

use crate::error::{Error, Result};
use crate::features::extract::{TileFeatures, Working};
use crate::features::look::Look;
use crate::features::tile::Tile;
use crate::names::{self, Row};

/// The label of each cell of a tile's grid, and how far it may be trusted.
#[derive(Debug, Clone)]
pub struct CellLabels {
    /// The most frequent class among the cell's labelled pixels; `None` where no pixel is labelled.
    pub labels: Vec<Option<u8>>,
    /// That class's share of the cell's pixels, 0 to 1.
    pub shares: Vec<f32>,
}

impl CellLabels {
    /// Reads the labels of a tile's cells off the picture's mask.
    pub fn new(mask: &Mask, working: &Working, tile: Tile) -> Self {
        let size = working.size();
        let side = working.cell;
        let spans = |start: usize, length: usize, axis: usize, pixels: usize| -> Vec<_> {
            let ratio = pixels as f32 / size[axis] as f32;
            (0..length / side)
                .map(|cell| {
                    let low = ((start + cell * side) as f32 * ratio).round() as usize;
                    let high = ((start + (cell + 1) * side) as f32 * ratio).round() as usize;
                    // A cell smaller than a pixel takes the pixel under it; one beyond the picture is empty.
                    low.min(pixels)..high.max(low + 1).min(pixels)
                })
                .collect()
        };
        let rows = spans(tile.top, tile.height, 0, mask.height);
        let columns = spans(tile.left, tile.width, 1, mask.width);
        let mut labels = Vec::with_capacity(rows.len() * columns.len());
        let mut shares = Vec::with_capacity(rows.len() * columns.len());
        let mut counts = [0u32; MAX_CLASSES as usize + 1];
        for row in &rows {
            for column in &columns {
                let mut touched = false;
                for y in row.clone() {
                    for &pixel in &mask.pixels[y * mask.width..][column.clone()] {
                        if pixel <= MAX_CLASSES {
                            counts[pixel as usize] += 1;
                            touched = true;
                        }
                    }
                }
                if !touched {
                    labels.push(None);
                    shares.push(0.0);
                    continue;
                }
                // On a tie the later class wins, so that a foreground class beats background.
                let best = (0..counts.len()).max_by_key(|&class| counts[class]).unwrap_or(0);
                labels.push(Some(best as u8));
                shares.push(counts[best] as f32 / (row.len() * column.len()) as f32);
                counts.fill(0);
            }
        }
        Self { labels, shares }
    }
}

/// One labelled picture as the methods see it.
#[derive(Debug, Clone)]
pub struct Shot {
    /// Features of its tiles.
    pub tiles: Vec<TileFeatures>,
    /// Labels of the same tiles.
    pub labels: Vec<CellLabels>,
    /// The cells that were drawn from it last; clones share them.
    drawn: samples::Drawn,
}

impl Shot {
    /// A labelled picture of one or more tiles.
    pub fn new(tiles: Vec<TileFeatures>, labels: Vec<CellLabels>) -> Self {
        Self { tiles, labels, drawn: samples::Drawn::default() }
    }
}

/// A method fitted to a support set.
pub trait SegmentationHead: Send + Sync {
    /// Logits of background and every class on the tile's grid, `[planes, grid height, grid width]`.
    fn scores(&self, tile: &TileFeatures) -> Vec<f32>;
}

/// A way to fit a head.
pub trait SegmentationMethod: Send + Sync {
    /// Its name in Rust, on the command line and in recipes.
    fn name(&self) -> &'static str;
    /// The same, owned.
    fn boxed(&self) -> Box<dyn SegmentationMethod>;
    /// What of a picture it sees, where all pixels are labelled.
    fn look(&self) -> Look {
        Look::COARSE
    }
    /// A quicker version, nearly as good, for judging on held-out pictures, which takes several fits.
    fn for_judging(&self) -> Option<Box<dyn SegmentationMethod>> {
        None
    }
    /// Ways to hold labels out that it is judged by, at most.
    fn most_folds(&self) -> usize {
        usize::MAX
    }
    /// Whether it is tried at several scales.
    fn likes_scales(&self) -> bool {
        false
    }
    /// A version that is trained for longer.
    fn for_best(&self) -> Option<Box<dyn SegmentationMethod>> {
        None
    }
    /// Whether it is for pictures of which each pixel is labelled.
    fn needs_masks(&self) -> bool {
        false
    }
    /// A version that suits strokes, which show few pixels and none of their shares.
    fn for_strokes(&self) -> Option<Box<dyn SegmentationMethod>> {
        None
    }
    /// Fits a head to labelled pictures of `planes - 1` classes.
    ///
    /// # Errors
    /// If no cell of the support holds a label.
    fn fit(&self, shots: &[&Shot], planes: usize, seed: u64) -> Result<Box<dyn SegmentationHead>>;
}

/// A method that labels pixels, fitted to K labelled pictures.
pub enum PixelMethod {
    /// Fits a head to their features.
    Head(Box<dyn SegmentationMethod>),
    /// Compares with them; no fitting.
    SelfSupport(self_support::SelfSupport),
}

impl PixelMethod {
    /// Its name in Rust, on the command line and in recipes.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Head(method) => method.name(),
            Self::SelfSupport(_) => self_support::NAME,
        }
    }
}

/// How much is tried before pictures are labelled.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Effort {
    /// Heads on the encoder's features; one method a picture.
    Fast,
    /// All methods, joined where that helps on held-out labels.
    #[default]
    Normal,
    /// The same with longer training, more folds and more scales.
    Best,
}

impl Effort {
    /// All of them, least first.
    pub const ALL: [Self; 3] = [Self::Fast, Self::Normal, Self::Best];

    /// Its name on the command line and in recipes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Normal => "normal",
            Self::Best => "best",
        }
    }
}

impl std::str::FromStr for Effort {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|effort| effort.name() == name).ok_or_else(|| {
            Error::config(names::unknown("effort", name, &Self::ALL.map(Self::name)))
        })
    }
}

/// Makes the table of methods that label pixels and are fitted at once.
macro_rules! heads {
    ($($variant:ident($config:path, $efforts:expr, $about:expr);)+) => {
        /// Which of these methods, with its own keys, as recipes write it.
        #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        #[serde(tag = "name", rename_all = "kebab-case")]
        pub enum HeadConfig {
            /// Tries them on held-out labels and joins those that help.
            Auto(Auto),
            $(#[doc = concat!("[`", stringify!($config), "`]")] $variant($config),)+
        }

        impl HeadConfig {
            /// Each with its default keys, the choice among them first.
            pub fn all() -> Vec<Self> {
                vec![Self::Auto(Auto {}), $(Self::$variant(<$config>::default()),)+]
            }

            /// Its name in Rust, on the command line and in recipes.
            pub fn name(&self) -> &'static str {
                match self {
                    Self::Auto(_) => AUTO,
                    $(Self::$variant(config) => config.fitting().name(),)+
                }
            }

            /// One line for lists and help.
            pub fn about(&self) -> &'static str {
                match self {
                    Self::Auto(_) => "tries all of the below on held-out labels and joins those that help",
                    $(Self::$variant(_) => $about,)+
                }
            }

            /// The methods to choose among: one, or for `auto` all that an effort allows.
            pub fn candidates(&self, effort: Effort) -> Vec<PixelMethod> {
                match self {
                    Self::Auto(_) => {
                        let all = [$(($efforts.contains(&effort), <$config>::default().fitting()),)+];
                        all.into_iter().filter(|(tried, _)| *tried).map(|(_, method)| method).collect()
                    }
                    $(Self::$variant(config) => vec![config.fitting()],)+
                }
            }
        }
    };
}

/// `auto` has no keys.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(deny_unknown_fields)]
pub struct Auto {}

/// What a row of the table provides.
trait Fitting {
    /// The method itself.
    fn fitting(&self) -> PixelMethod;
}

impl<M: SegmentationMethod + Clone + 'static> Fitting for M {
    fn fitting(&self) -> PixelMethod {
        PixelMethod::Head(Box::new(self.clone()))
    }
}

// The first is what `auto` starts from.
/// Slower than the probe, and seldom better on the same features.
const BEST: [Effort; 1] = [Effort::Best];
/// Too slow for a quick choice.
const NOT_QUICK: [Effort; 2] = [Effort::Normal, Effort::Best];

// The table: one line per method, with the efforts at which `auto` tries it.
heads! {
    Probe(probe::ProbeConfig, Effort::ALL, "a small network head trained on the support in seconds");
    Prototype(prototype::PrototypeConfig, Effort::ALL, "masked average pooling and cosine similarity, as PANet");
    Forest(forest::ForestConfig, BEST, "a random forest on the support's features");
    FineProbe(fine_probe::FineProbeConfig, NOT_QUICK, "the probe at single pixels, with classical filters beside the encoder's stages");
    FilterForest(filter_forest::FilterForestConfig, NOT_QUICK, "a random forest on classical filters of the pixels, without the encoder");
    PixelDecoder(pixel_decoder::PixelDecoderConfig, NOT_QUICK, "a small convolutional decoder trained at the pictures' own resolution");
    SelfSupport(self_support::SelfSupport, Effort::ALL, "prototypes that follow each query pixel, of the support and the query; no training");
}

impl HeadConfig {
    /// All of them as rows.
    pub fn rows() -> Vec<Row> {
        let row = |config: Self| Row {
            name: config.name().to_owned(),
            summary: config.about().to_owned(),
            source: None,
        };
        Self::all().into_iter().map(row).collect()
    }
}

impl std::str::FromStr for HeadConfig {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let all = Self::all();
        let valid: Vec<&str> = all.iter().map(Self::name).collect();
        match all.iter().find(|config| config.name() == name) {
            Some(config) => Ok(config.clone()),
            None => Err(Error::config(names::unknown("method", name, &valid))),
        }
    }
}

/// The name that lets the support decide.
pub const AUTO: &str = "auto";
