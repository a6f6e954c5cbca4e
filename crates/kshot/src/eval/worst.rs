//! The worst episodes or pictures of an evaluation, to look at.

use image::{Rgb, RgbImage};
use kshot_data::mask::{BACKGROUND, MAX_CLASSES, Mask};
use kshot_data::overlay::{self, OverlayStyle};
use kshot_data::palette::Palette;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Episodes or pictures shown.
pub(crate) const WORST: usize = 10;
/// Longest side of a panel in pixels.
pub(crate) const PANEL: u32 = 480;
/// Pixels between the panels of a strip.
const GAP: u32 = 6;

/// A picture of an episode, shrunk for show.
#[derive(Debug, Clone, PartialEq)]
pub struct Panel {
    /// `support`, `query`, `truth`, `prediction` or `errors`.
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

    /// Where the prediction is wrong, over the picture in gray: [`MISSED`], [`EXTRA`] and [`MISTAKEN`] pixels. What the
    /// truth leaves open is right.
    ///
    /// # Errors
    /// If the sizes differ or the picture is empty.
    pub fn errors(picture: &RgbImage, truth: &Mask, predicted: &Mask) -> Result<Self> {
        let sizes = [truth, predicted].map(|mask| (mask.width, mask.height));
        let size = (picture.width() as usize, picture.height() as usize);
        if sizes != [size; 2] {
            return Err(Error::data(format!(
                "a map of errors needs a picture and masks of the same size, not {size:?} and {sizes:?}"
            )));
        }
        let mut drawn = picture.clone();
        let masks = truth.pixels.iter().zip(&predicted.pixels);
        for (pixel, (&truth, &predicted)) in drawn.pixels_mut().zip(masks) {
            let error = match (truth, predicted) {
                (truth, _) if truth > MAX_CLASSES => None,
                (truth, predicted) if truth == predicted => None,
                (_, BACKGROUND) => Some(MISSED),
                (BACKGROUND, _) => Some(EXTRA),
                _ => Some(MISTAKEN),
            };
            pixel.0 = error.unwrap_or_else(|| {
                // Rec. 601's luma in 256ths, at two thirds of its range so that errors stand out.
                let [red, green, blue] = pixel.0.map(u32::from);
                [((77 * red + 150 * green + 29 * blue) / 384) as u8 + 85; 3]
            });
        }
        Ok(Self { caption: "errors", picture: overlay::shrink(&drawn, PANEL)? })
    }

    /// What is shown of a segmented picture.
    pub(super) fn all(picture: &RgbImage, truth: &Mask, predicted: &Mask) -> Result<Vec<Self>> {
        Ok(vec![
            Self::new("query", picture, None)?,
            Self::new("truth", picture, Some(truth))?,
            Self::new("prediction", picture, Some(predicted))?,
            Self::errors(picture, truth, predicted)?,
        ])
    }
}

/// The colour of a class's pixels that are predicted as background (Okabe and Ito's, told apart with colour-blind eyes).
pub const MISSED: [u8; 3] = [213, 94, 0];
/// The colour of background that is predicted as a class.
pub const EXTRA: [u8; 3] = [0, 114, 178];
/// The colour of a class's pixels that are predicted as another's.
pub const MISTAKEN: [u8; 3] = [204, 121, 167];

/// The worst pictures so far, worst first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct WorstPictures(Vec<WorstPicture>);

/// One of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct WorstPicture {
    /// Its place in the data set.
    pub(super) index: usize,
    /// Mean IoU of its classes, 0 to 1.
    pub(super) iou: f64,
    /// What is shown of it; not noted with a finished part, since it can be made again.
    #[serde(skip)]
    pub(super) panels: Vec<Panel>,
}

impl WorstPictures {
    /// Adds a picture if it is one of the [`WORST`]; only then it is drawn. Of equals the first comes first.
    ///
    /// # Errors
    /// If it cannot be drawn.
    pub(super) fn add(
        &mut self,
        index: usize,
        iou: f64,
        draw: impl FnOnce() -> Result<Vec<Panel>>,
    ) -> Result<()> {
        let place = self.0.partition_point(|of| of.iou <= iou);
        if place < WORST {
            self.0.insert(place, WorstPicture { index, iou, panels: draw()? });
            self.0.truncate(WORST);
        }
        Ok(())
    }

    pub(super) fn all(&self) -> &[WorstPicture] {
        &self.0
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
    fn errors_are_coloured_by_kind_and_void_is_none() {
        let picture = RgbImage::from_pixel(5, 1, Rgb([255; 3]));
        let mask = |pixels: [u8; 5]| Mask::from_pixels(5, 1, pixels.to_vec()).unwrap();
        let (truth, predicted) = (mask([0, 1, 0, 2, 255]), mask([0, 0, 1, 1, 1]));
        let drawn = Panel::errors(&picture, &truth, &predicted).unwrap().picture;
        let found: Vec<[u8; 3]> = drawn.pixels().map(|pixel| pixel.0).collect();
        assert_eq!(found[1..4], [MISSED, EXTRA, MISTAKEN]);
        assert!(found[0] == found[4] && found[0][0] > 250, "{found:?}");
        assert!(Panel::errors(&picture, &Mask::filled(4, 1, 0), &predicted).is_err());
    }

    #[test]
    fn the_worst_are_kept_in_order_and_only_these_are_drawn() {
        let mut worst = WorstPictures::default();
        let drawn = std::cell::Cell::new(0);
        for index in 0..3 * WORST {
            // Rising, but for the last, which is the worst.
            let iou = if index == 3 * WORST - 1 { 0.0 } else { (index / 2) as f64 };
            let draw = || {
                drawn.set(drawn.get() + 1);
                Ok(Vec::new())
            };
            worst.add(index, iou, draw).unwrap();
        }
        let found: Vec<usize> = worst.all().iter().map(|of| of.index).collect();
        assert_eq!(found, [0, 1, 29, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(drawn.get(), WORST + 1);
    }

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
