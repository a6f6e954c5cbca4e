//! A picture with its mask while transforms change it: what moves pixels is noted and done once, what changes levels is done
//! in place.

use std::borrow::Cow;

use image::RgbImage;
use kshot_data::mask::Mask;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::sample;
use super::view::{Map, View};
use crate::error::{Error, Result};

/// A picture and its mask, if it has one; of the same size. What is borrowed is copied where it changes.
#[derive(Debug, Clone, PartialEq)]
pub struct Pair<'a> {
    image: Cow<'a, RgbImage>,
    mask: Option<Cow<'a, Mask>>,
    focus: Option<[f64; 2]>,
    /// What is to be sampled from these.
    view: View,
}

impl<'a> Pair<'a> {
    /// A picture and a label for every pixel; `None` where the label is the whole picture's.
    ///
    /// # Errors
    /// If the two are not of one size or have no pixels.
    pub fn new(image: Cow<'a, RgbImage>, mask: Option<Cow<'a, Mask>>) -> Result<Self> {
        let size = [image.width() as usize, image.height() as usize];
        if let Some(mask) = &mask
            && [mask.width, mask.height] != size
        {
            return Err(Error::data(format!(
                "the mask is {} x {} but the picture {} x {}",
                mask.width, mask.height, size[0], size[1]
            )));
        }
        if size.contains(&0) {
            return Err(Error::data("a picture without pixels cannot be changed"));
        }
        Ok(Self { image, mask, focus: None, view: View::whole(size) })
    }

    /// The same with a point, `[x, y]` from the upper left corner in pixels, around which a part is cut out.
    #[must_use]
    pub fn with_focus(self, focus: Option<[f64; 2]>) -> Self {
        Self { focus, ..self }
    }

    /// Width and height in pixels.
    pub fn size(&self) -> [usize; 2] {
        self.view.size
    }

    /// Where the point is now around which a part is cut out.
    pub fn focus(&self) -> Option<[f64; 2]> {
        self.focus
    }

    /// The picture and the mask.
    ///
    /// # Errors
    /// If the picture cannot be resized.
    pub fn into_parts(mut self) -> Result<(Cow<'a, RgbImage>, Option<Cow<'a, Mask>>)> {
        self.sample()?;
        Ok((self.image, self.mask))
    }

    /// Makes it a picture of another size whose points are this one's by a map; beyond, the border is repeated and labels
    /// are void. Nothing is sampled yet: maps that follow each other become one.
    pub fn moved(&mut self, size: [usize; 2], map: Map) {
        if size == self.size() && map == Map::IDENTITY {
            return;
        }
        self.focus = self.focus.map(|point| map.back(point));
        self.view.moved(size, map);
    }

    /// The picture as it is by now.
    ///
    /// # Errors
    /// If it cannot be resized.
    pub fn image(&mut self) -> Result<&RgbImage> {
        self.sample()?;
        Ok(&self.image)
    }

    /// The picture, to be changed in place.
    ///
    /// # Errors
    /// If it cannot be resized.
    pub fn image_mut(&mut self) -> Result<&mut RgbImage> {
        self.sample()?;
        Ok(self.image.to_mut())
    }

    /// The picture and, where it is asked for, the mask, to be changed in place.
    ///
    /// # Errors
    /// If the picture cannot be resized.
    pub fn both_mut(&mut self, mask: bool) -> Result<(&mut RgbImage, Option<&mut Mask>)> {
        self.sample()?;
        Ok((self.image.to_mut(), self.mask.as_mut().filter(|_| mask).map(Cow::to_mut)))
    }

    /// Another picture of the same size.
    ///
    /// # Errors
    /// If the picture cannot be resized.
    pub fn replace(&mut self, with: impl FnOnce(&RgbImage) -> Result<RgbImage>) -> Result<()> {
        self.sample()?;
        self.image = Cow::Owned(with(&self.image)?);
        Ok(())
    }

    fn sample(&mut self) -> Result<()> {
        if !self.view.is_whole() {
            self.image = Cow::Owned(sample::image(&self.image, &self.view)?);
            self.mask = self.mask.take().map(|of| Cow::Owned(sample::mask(&of, &self.view)));
        }
        self.view = View::whole(self.view.size);
        Ok(())
    }

    /// Where a part of a size is cut out: around the focus as far as the picture reaches, else anywhere; a larger part
    /// anywhere around the picture.
    pub(super) fn place(&self, size: [f64; 2], random: &mut ChaCha8Rng) -> [f64; 2] {
        std::array::from_fn(|axis| {
            let room = self.size()[axis] as f64 - size[axis];
            let (least, most) = (room.min(0.0), room.max(0.0));
            match self.focus {
                Some(focus) => (focus[axis] - size[axis] / 2.0).clamp(least, most),
                None => random.random_range(least..=most),
            }
        })
    }

    /// The part of a size whose upper left pixel is at `[left, top]`.
    pub(super) fn window(&mut self, size: [usize; 2], place: [i64; 2]) {
        self.moved(size, Map::shift(place.map(|at| at as f64)));
    }
}
