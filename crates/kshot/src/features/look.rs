//! What of a picture a head sees, and on how fine a grid.

use crate::features::tile::CELL;

/// Which features, and the grid that scores are made on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Look {
    /// Working pixels per cell of the grid.
    pub cell: usize,
    /// Whether the working pixels themselves come first.
    pub pixels: bool,
    /// Levels of classical filters that come next (see [`filter_bank`](crate::features::filter_bank)): Gaussians of
    /// 1, 2, 4, ... working pixels.
    pub filters: usize,
    /// The coarsest stride of the encoder's stages that follow; 0 for none of them.
    pub stride: usize,
}

impl Look {
    /// All stages of the encoder, on a grid of four working pixels.
    pub const COARSE: Self = Self { cell: CELL, pixels: false, filters: 0, stride: usize::MAX };
    /// For strokes, which are as narrow as a coarse cell: filters, and no stage that sees a whole object from beside
    /// it, where nobody has marked background.
    pub const STROKES: Self = Self { cell: 2, pixels: false, filters: 4, stride: 16 };
    /// Classical filters alone.
    pub const FILTERS: Self = Self { cell: 2, pixels: false, filters: 5, stride: 0 };
    /// Pixels, filters and all stages, on a grid of single pixels.
    pub const PIXELS: Self = Self { cell: 1, pixels: true, filters: 4, stride: usize::MAX };
}
