//! How large pictures are shown, by how thick the labelled objects are.

use kshot_data::mask::{Mask, UNLABELLED};
use kshot_data::support::Support;

/// Scales that are taken: smallest and largest.
const SCALES: [f32; 2] = [1.0 / 16.0, 2.0];
/// Working pixels that a typical labelled object should be thick at least on the coarse grid: one cell of
/// the stages at stride 16, below which these no longer tell it from its surroundings.
const COARSE_THICKNESS: f32 = 16.0;
/// The same on a grid of single pixels.
const PIXEL_THICKNESS: f32 = 4.0;
/// Largest scale on a grid of single pixels: below, objects of a pixel or two are shown as they are.
const PIXEL_SCALE: f32 = 2.0;
/// Working pixels along the longer side that are enough for objects of that thickness.
const LONG_SIDE: f32 = 512.0;
/// With strokes, working pixels along the longer side at most: how large objects are is not known, so pictures are
/// shrunk only where they are very large.
const STROKE_LONG_SIDE: f32 = 2048.0;

/// What decides the scales.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ObjectSizes {
    /// Thickness of the typical labelled object, in pixels; `None` where only strokes are given.
    thickness: Option<f32>,
    /// The longer side of the typical labelled picture, in pixels.
    longer: f32,
}

impl ObjectSizes {
    /// Of the labelled pictures. Strokes are no objects: they do not tell how thick these are.
    pub fn of(support: &Support) -> Self {
        let mut pieces: Vec<(f32, f32)> = Vec::new();
        let mut longer: Vec<usize> = Vec::with_capacity(support.pictures.len());
        for picture in &support.pictures {
            longer.push(picture.mask.width.max(picture.mask.height));
            if !picture.mask.pixels.contains(&UNLABELLED) {
                pieces.extend(thicknesses(&picture.mask));
            }
        }
        // Weighted by area: specks of a noisy mask do not decide.
        pieces.sort_by(|a, b| a.0.total_cmp(&b.0));
        let total: f32 = pieces.iter().map(|(_, area)| area).sum();
        let mut sum = 0.0;
        let typical = pieces.iter().find(|(_, area)| {
            sum += area;
            sum >= total / 2.0
        });
        longer.sort_unstable();
        let longer = longer.get(longer.len() / 2).map_or(1.0, |side| *side as f32);
        Self { thickness: typical.map(|(thickness, _)| *thickness), longer }
    }

    /// On the coarse grid of the encoder's stages.
    pub fn coarse(self) -> f32 {
        self.scale(COARSE_THICKNESS, SCALES[1])
    }

    /// On a grid of single pixels.
    pub fn pixels(self) -> f32 {
        self.scale(PIXEL_THICKNESS, PIXEL_SCALE)
    }

    /// For classical filters: the pictures' own, unless these are very large.
    pub fn filters(self) -> f32 {
        (STROKE_LONG_SIDE / self.longer).clamp(SCALES[0], 1.0)
    }

    fn scale(self, wanted: f32, most: f32) -> f32 {
        let Some(thickness) = self.thickness else {
            return self.filters();
        };
        let by_object = wanted / thickness;
        by_object.max((LONG_SIDE / self.longer).min(1.0)).clamp(SCALES[0], most)
    }
}

/// Thickness and area of each connected piece.
fn thicknesses(mask: &Mask) -> Vec<(f32, f32)> {
    let pieces = kshot_data::components::measured(mask);
    pieces.iter().map(|piece| (piece.thickness(), piece.area as f32)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_square_is_as_thick_as_its_side_and_a_line_as_its_width() {
        let mut mask = Mask::filled(400, 60, 0);
        let mut fill = |rows: std::ops::Range<usize>, columns: std::ops::Range<usize>| {
            rows.for_each(|y| mask.pixels[y * 400 + columns.start..y * 400 + columns.end].fill(1));
        };
        fill(2..32, 5..35);
        fill(40..44, 3..398);
        let found = thicknesses(&mask);
        assert!((found[0].0 - 30.0).abs() < 1e-3, "{found:?}");
        assert!((found[1].0 - 4.0).abs() < 0.8, "{found:?}");
    }

    #[test]
    fn thin_things_are_shown_larger_and_strokes_at_their_own_size() {
        let of = |thickness| ObjectSizes { thickness, longer: 1024.0 };
        assert_eq!(of(Some(100.0)).coarse(), 0.5);
        assert_eq!(of(Some(16.0)).coarse(), 1.0);
        assert_eq!(of(Some(3.0)).coarse(), 2.0);
        assert_eq!(of(Some(4.0)).pixels(), 1.0);
        assert_eq!(of(None).coarse(), 1.0);
        assert_eq!(of(None).filters(), 1.0);
    }
}
