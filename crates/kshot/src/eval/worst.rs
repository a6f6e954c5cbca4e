//! The worst episodes or pictures of an evaluation, to look at.

use image::{Rgb, RgbImage};
use kshot_data::mask::Mask;
use kshot_data::overlay::{self, OverlayStyle};
use kshot_data::palette::Palette;

use crate::error::Result;

/// Episodes or pictures shown.
pub(crate) const WORST: usize = 10;
/// Longest side of a panel in pixels.
pub(crate) const PANEL: u32 = 320;
/// Pixels between the panels of a strip.
const GAP: u32 = 6;

/// A picture of an episode, shrunk for show.
#[derive(Debug, Clone, PartialEq)]
pub struct Panel {
    /// `support`, `query`, `truth` or `prediction`.
    pub caption: &'static str,
    /// The picture with its labels drawn over it.
    pub picture: RgbImage,
}

impl Panel {
    /// The picture, with a mask of its size drawn over it.
    ///
    /// # Errors
    /// If the sizes differ or the picture is empty.
    pub fn new(caption: &'static str, picture: &RgbImage, mask: Option<&Mask>) -> Result<Self> {
        let picture = match mask {
            None => overlay::shrink(picture, PANEL)?,
            Some(mask) => {
                let style = OverlayStyle { opacity: 0.5, ..OverlayStyle::default() };
                let drawn = overlay::draw(picture, mask, None, &Palette::distinct(), &style)?;
                overlay::shrink(&drawn, PANEL)?
            }
        };
        Ok(Self { caption, picture })
    }
}

/// An episode to look at.
#[derive(Debug, Clone, PartialEq)]
pub struct Worst {
    /// Which episode it is, and of which classes.
    pub title: String,
    /// Mean IoU of its ways, 0 to 1.
    pub iou: f64,
    /// Its support with labels, query, truth and prediction.
    pub panels: Vec<Panel>,
}

impl Worst {
    /// The panels side by side on white.
    pub fn strip(&self) -> RgbImage {
        let widths: u32 = self.panels.iter().map(|panel| panel.picture.width() + GAP).sum();
        let height = self.panels.iter().map(|panel| panel.picture.height()).max().unwrap_or(1);
        let mut strip =
            RgbImage::from_pixel(widths.saturating_sub(GAP).max(1), height, Rgb([255; 3]));
        let mut left = 0;
        for panel in &self.panels {
            image::imageops::replace(&mut strip, &panel.picture, left, 0);
            left += i64::from(panel.picture.width() + GAP);
        }
        strip
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strip_holds_its_panels_side_by_side() {
        let picture = RgbImage::from_pixel(640, 320, Rgb([10, 20, 30]));
        let mask = Mask::filled(640, 320, 0);
        let panels = vec![
            Panel::new("query", &picture, None).unwrap(),
            Panel::new("truth", &picture, Some(&mask)).unwrap(),
        ];
        let strip = Worst { title: String::new(), iou: 0.0, panels }.strip();
        assert_eq!(strip.dimensions(), (2 * PANEL + GAP, PANEL / 2));
        assert_eq!(strip.get_pixel(PANEL + 1, 0).0, [255; 3]);
    }
}
