//! A picture's size, to hold labels against; labels of the picture as it is stored are turned as EXIF says it is shown.
//!
//! Only where the size tells, with orientations that swap width and height. A mask of a picture that is mirrored or upside
//! down has the same size either way: nobody can say of which it is, and that is told.

use std::path::Path;

use crate::annotation::{Corner, Object, ObjectShape};
use crate::error::{Error, Result};
use crate::finding::{Findings, Severity};
use crate::labels::index;
use crate::labels::instances::{self, Numbers};
use crate::labels::runs;
use crate::mask::Mask;

/// A picture's size as it is shown.
pub(super) struct PictureSize<'a> {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) picture: &'a Path,
}

/// How the stored picture is turned to be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Turn {
    /// EXIF's, 5 to 8.
    orientation: u8,
    /// The stored width and height.
    stored: [usize; 2],
}

impl Turn {
    /// Where a place of the stored picture is shown.
    fn corner(self, [x, y]: Corner) -> Corner {
        let [width, height] = self.stored.map(|side| side as f64);
        match self.orientation {
            5 => [y, x],
            6 => [height - y, x],
            7 => [height - y, width - x],
            _ => [y, width - x],
        }
    }

    /// The pixels as they are shown, row by row.
    fn pixels<T: Copy>(self, pixels: &[T]) -> Vec<T> {
        let [width, height] = self.stored;
        let mut shown = pixels.to_vec();
        for (index, pixel) in pixels.iter().enumerate() {
            let (x, y) = (index % width, index / width);
            let [u, v] = self.corner([x as f64 + 0.5, y as f64 + 0.5]);
            // The shown picture is as wide as the stored one is high.
            shown[v as usize * height + u as usize] = *pixel;
        }
        shown
    }

    fn shape(self, shape: &ObjectShape) -> ObjectShape {
        match shape {
            ObjectShape::Polygons(rings) => {
                let ring = |ring: &Vec<Corner>| ring.iter().map(|at| self.corner(*at)).collect();
                ObjectShape::Polygons(rings.iter().map(ring).collect())
            }
            ObjectShape::Circle(centre, radius) => {
                ObjectShape::Circle(self.corner(*centre), *radius)
            }
            ObjectShape::Box([left, top, right, bottom]) => {
                let [[a, b], [c, d]] = [[*left, *top], [*right, *bottom]].map(|at| self.corner(at));
                ObjectShape::Box(crate::labels::boxes::sorted([a, b, c, d]))
            }
            ObjectShape::Runs(counts) => {
                let [width, height] = self.stored;
                let mut mask = Mask::filled(width, height, 0);
                runs::paint(&mut mask, counts, 1);
                let shown =
                    Mask { width: height, height: width, pixels: self.pixels(&mask.pixels) };
                ObjectShape::Runs(runs::encode(&shown, |value| value == 1))
            }
        }
    }
}

impl PictureSize<'_> {
    /// Tells of a picture that is shown turned or mirrored at the same size: a mask of the stored pixels would not fit it.
    pub(super) fn turned(&self, labels: &Path, findings: &mut Findings) {
        let Some(orientation) = crate::image::orientation(self.picture) else { return };
        let swaps = orientation > 4;
        if orientation != 1 && (!swaps || self.width == self.height) {
            let what = format!(
                "its picture has EXIF orientation {orientation}: the mask must be of the picture as it is shown, not as \
                 it is stored"
            );
            let todo = "look at the overlay; if the mask is turned or mirrored, save picture and mask without the EXIF tag";
            findings.add(Severity::Warning, labels, what, todo);
        }
    }

    /// How labels of this size are turned to fit; `None` where they fit.
    fn turn(&self, width: usize, height: usize, what: &str) -> Result<Option<Turn>> {
        if (width, height) == (self.width, self.height) {
            return Ok(None);
        }
        let swapped = (height, width) == (self.width, self.height);
        let orientation = swapped.then(|| crate::image::orientation(self.picture)).flatten();
        match orientation.filter(|of| (5..=8).contains(of)) {
            Some(orientation) => Ok(Some(Turn { orientation, stored: [width, height] })),
            None => Err(self.differs(width, height, what)),
        }
    }

    fn differs(&self, width: usize, height: usize, what: &str) -> Error {
        let turned = if (height, width) == (self.width, self.height) {
            " (turned: the tool did not obey the picture's EXIF orientation?)"
        } else {
            ""
        };
        let again = if what.contains(" says ") { "the labels" } else { what };
        Error::data(format!(
            "{what} is {width} x {height} but its picture {} is {} x {}{turned}; export \
             {again} at the picture's size",
            self.picture.display(),
            self.width,
            self.height
        ))
    }

    /// Pixels of labels of this size as they fit the picture.
    ///
    /// # Errors
    /// If they cannot.
    pub(super) fn fit<T: Copy>(
        &self,
        (width, height): (&mut usize, &mut usize),
        pixels: &mut Vec<T>,
        what: &str,
        labels: &Path,
        findings: &mut Findings,
    ) -> Result<()> {
        if let Some(turn) = self.turn(*width, *height, what)? {
            *pixels = turn.pixels(pixels);
            std::mem::swap(width, height);
            tell(turn, labels, findings);
        }
        Ok(())
    }

    /// The same of a mask.
    ///
    /// # Errors
    /// If it cannot.
    pub(super) fn fit_mask(
        &self,
        mask: &mut Mask,
        what: &str,
        labels: &Path,
        findings: &mut Findings,
    ) -> Result<()> {
        let size = (&mut mask.width, &mut mask.height);
        self.fit(size, &mut mask.pixels, what, labels, findings)
    }

    /// Objects of labels of this size as they fit the picture.
    ///
    /// # Errors
    /// If they cannot.
    pub(super) fn fit_objects(
        &self,
        (width, height): (usize, usize),
        objects: &mut [Object],
        what: &str,
        labels: &Path,
        findings: &mut Findings,
    ) -> Result<()> {
        if let Some(turn) = self.turn(width, height, what)? {
            objects.iter_mut().for_each(|object| object.shape = turn.shape(&object.shape));
            tell(turn, labels, findings);
        }
        Ok(())
    }

    /// Whether labels of this size must be turned.
    pub(super) fn is_turned(&self, (width, height): (usize, usize), what: &str) -> Result<bool> {
        Ok(self.turn(width, height, what)?.is_some())
    }

    /// Refuses a file of values whose header says another size, before it is read.
    ///
    /// # Errors
    /// If it does.
    pub(super) fn fits(&self, path: &Path, what: &str) -> Result<()> {
        let Some((width, height)) = index::size(path) else { return Ok(()) };
        self.turn(width, height, what).map(drop).map_err(|error| error.in_file(path))
    }

    /// Object numbers of this size.
    ///
    /// # Errors
    /// If they cannot be read or are of another size.
    pub(super) fn numbers(&self, path: &Path, findings: &mut Findings) -> Result<Numbers> {
        self.fits(path, "the picture of object numbers")?;
        let mut numbers = instances::read(path)?;
        let size = (&mut numbers.width, &mut numbers.height);
        let what = "the picture of object numbers";
        let fitted = self.fit(size, &mut numbers.values, what, path, findings);
        fitted.map_err(|error| error.in_file(path))?;
        Ok(numbers)
    }
}

fn tell(turn: Turn, labels: &Path, findings: &mut Findings) {
    let what = format!(
        "the labels are of the picture as it is stored: they are turned by its EXIF orientation {} to be of the picture \
         as it is shown",
        turn.orientation
    );
    findings.add(Severity::Warning, labels, what, "look at the overlay");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_turn_as_the_picture_does() {
        use image::metadata::Orientation;
        let pixels = [1, 2, 3, 4, 5, 6];
        let stored = image::GrayImage::from_raw(3, 2, pixels.to_vec()).unwrap();
        for orientation in 5..=8 {
            let mut shown = image::DynamicImage::ImageLuma8(stored.clone());
            shown.apply_orientation(Orientation::from_exif(orientation).unwrap());
            let turn = Turn { orientation, stored: [3, 2] };
            assert_eq!(turn.pixels(&pixels), shown.to_luma8().into_raw(), "{orientation}");
            // Each pixel as a box, a circle, an outline and runs, painted where the picture has it.
            for (index, value) in pixels.into_iter().enumerate() {
                let (x, y) = ((index % 3) as f64, (index / 3) as f64);
                let sides = [x, y, x + 1.0, y + 1.0];
                let mut single = Mask::filled(3, 2, 0);
                single.pixels[index] = 1;
                for shape in [
                    ObjectShape::Box(sides),
                    ObjectShape::Circle([x + 0.5, y + 0.5], 0.4),
                    ObjectShape::Polygons(vec![crate::annotation::rectangle(sides)]),
                    ObjectShape::Runs(runs::encode(&single, |value| value == 1)),
                ] {
                    let mut mask = Mask::filled(2, 3, 0);
                    turn.shape(&shape).paint(&mut mask, 1);
                    let expected = shown.to_luma8().into_raw();
                    let expected: Vec<u8> =
                        expected.iter().map(|of| u8::from(*of == value)).collect();
                    assert_eq!(mask.pixels, expected, "{orientation} {shape:?}");
                }
            }
        }
    }
}
