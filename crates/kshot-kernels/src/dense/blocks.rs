//! How the places of a batch are cut into blocks: by the shapes alone.

use super::TASKS;

/// Floats of a block's patches and results: they should stay in a core's second-level cache.
const FLOATS: usize = 80_000;
/// Places of a block: at least and at most.
const PLACES: [usize; 2] = [64, 2048];
/// Pictures smaller than this share blocks.
const SMALL: usize = 256;
/// Places of a block are a multiple of this, whole tiles of products on any processor; the last one of a picture has
/// what is left besides, up to half as many more.
const WHOLE: usize = 64;

/// How the places of a batch are cut into blocks.
#[derive(Clone, Copy)]
pub(super) struct Blocks {
    /// Places of a picture.
    area: usize,
    batch: usize,
    /// Pictures of a block, or zero where a picture has several blocks.
    pictures: usize,
    /// Places of a block inside a picture.
    places: usize,
}

impl Blocks {
    pub(super) fn new(batch: usize, area: usize, lines: usize) -> Self {
        let wanted = (FLOATS / lines).clamp(PLACES[0], PLACES[1]);
        if area < SMALL && area < wanted {
            // Not so many that there are fewer blocks than tasks.
            let pictures = (wanted / area).min(batch.div_ceil(TASKS)).max(1);
            return Self { area, batch, pictures, places: 0 };
        }
        Self::within(batch, area, wanted)
    }

    /// A block a picture, or several of a large one.
    pub(super) fn whole(batch: usize, area: usize) -> Self {
        Self::within(batch, area, PLACES[1])
    }

    /// Blocks of about so many places, each inside a picture.
    fn within(batch: usize, area: usize, wanted: usize) -> Self {
        let places = area.div_ceil(area.div_ceil(wanted)).next_multiple_of(WHOLE).min(area);
        Self { area, batch, pictures: 0, places }
    }

    pub(super) fn count(&self) -> usize {
        match self.pictures {
            0 => self.batch * self.each(),
            pictures => self.batch.div_ceil(pictures),
        }
    }

    /// Blocks of a picture that has several.
    fn each(&self) -> usize {
        (self.area + self.places / 2) / self.places
    }

    /// First and last picture (excluded), first and last place (excluded) in each.
    pub(super) fn block(&self, index: usize) -> Block {
        let (pictures, places) = if self.pictures == 0 {
            let (picture, number) = (index / self.each(), index % self.each());
            let first = number * self.places;
            let is_last = number + 1 == self.each();
            let end = if is_last { self.area } else { first + self.places };
            ([picture, picture + 1], [first, end])
        } else {
            let first = index * self.pictures;
            ([first, self.batch.min(first + self.pictures)], [0, self.area])
        };
        Block { pictures, places, area: self.area }
    }
}

#[derive(Clone, Copy)]
pub(super) struct Block {
    pub(super) pictures: [usize; 2],
    pub(super) places: [usize; 2],
    pub(super) area: usize,
}

impl Block {
    /// Places of one picture.
    pub(super) fn each(&self) -> usize {
        self.places[1] - self.places[0]
    }

    pub(super) fn len(&self) -> usize {
        (self.pictures[1] - self.pictures[0]) * self.each()
    }

    pub(super) fn places(&self) -> std::ops::Range<usize> {
        let first = self.pictures[0] * self.area + self.places[0];
        first..first + self.len()
    }

    pub(super) fn is_one(&self) -> bool {
        self.pictures[1] - self.pictures[0] == 1
    }
}
