//! Few-shot segmentation on frozen features: heads fitted to K labelled pictures in seconds.

pub mod baseline;
pub mod distance;
pub mod forest;
pub mod generative;
pub mod matching_networks;
pub mod panet;
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
use crate::features::tile::Tile;

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
pub trait Head: Send + Sync {
    /// Logits of background and every class on the tile's grid, `[planes, grid height, grid width]`.
    fn scores(&self, tile: &TileFeatures) -> Vec<f32>;
}

/// A way to fit a head.
pub trait Method: Send + Sync {
    /// Its name in Rust, on the command line and in recipes.
    fn name(&self) -> &'static str;
    /// One line for lists and help.
    fn about(&self) -> &'static str;
    /// A quicker version, nearly as good, for judging on held-out pictures, which takes several fits.
    fn for_judging(&self) -> Option<Box<dyn Method>> {
        None
    }
    /// A version that suits strokes, which show few pixels and none of their shares.
    fn for_strokes(&self) -> Option<Box<dyn Method>> {
        None
    }
    /// Fits a head to labelled pictures of `planes - 1` classes.
    ///
    /// # Errors
    /// If no cell of the support holds a label.
    fn fit(&self, shots: &[&Shot], planes: usize, seed: u64) -> Result<Box<dyn Head>>;
}

/// Every method, in the order of lists and help: adding one is its file and a line here.
pub fn methods() -> Vec<Box<dyn Method>> {
    vec![
        Box::new(prototype::Prototype::default()),
        Box::new(probe::Probe::default()),
        Box::new(forest::Forest::default()),
    ]
}

/// The methods that `name` stands for: one, or all to choose among for `auto`.
///
/// # Errors
/// If there is no such method; the nearest name is suggested.
pub fn by_name(name: &str) -> Result<Vec<Box<dyn Method>>> {
    let mut all = methods();
    if name == AUTO {
        return Ok(all);
    }
    if let Some(index) = all.iter().position(|method| method.name() == name) {
        return Ok(vec![all.swap_remove(index)]);
    }
    let valid: Vec<&str> =
        std::iter::once(AUTO).chain(all.iter().map(|method| method.name())).collect();
    Err(Error::config(crate::names::unknown("method", name, &valid)))
}

/// The name that lets the support decide.
pub const AUTO: &str = "auto";
