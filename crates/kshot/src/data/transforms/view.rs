//! Which part of a picture a changed one shows, and how it lies: moves, mirror images, turns and sizes are composed into one
//! map of points, and the picture is sampled once, whatever the number of changes (`sample.rs`).

/// An affine map of points `[x, y]`: `linear * point + shift`. Points are measured in pixels from the upper left corner,
/// y downwards; the first pixel's centre is at `[0.5, 0.5]`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Map {
    linear: [[f64; 2]; 2],
    shift: [f64; 2],
}

/// Parts of numbers that rounding leaves where there is nothing, as in the cosine of a right angle.
const NOTHING: f64 = 1e-12;

impl Map {
    /// Every point to itself.
    pub const IDENTITY: Self = Self { linear: [[1.0, 0.0], [0.0, 1.0]], shift: [0.0; 2] };

    /// By so many pixels.
    pub fn shift(shift: [f64; 2]) -> Self {
        Self { shift, ..Self::IDENTITY }
    }

    /// Each coordinate by a factor of its own.
    pub fn scale([x, y]: [f64; 2]) -> Self {
        Self { linear: [[x, 0.0], [0.0, y]], ..Self::IDENTITY }
    }

    /// Of a picture of that many columns or rows along an axis (0 across, 1 down), mirrored along it.
    pub fn mirror(axis: usize, side: usize) -> Self {
        let mut map = Self::IDENTITY;
        (map.linear[axis][axis], map.shift[axis]) = (-1.0, side as f64);
        map
    }

    /// Takes the middle of a picture of a size to a centre; there the picture is turned counter-clockwise by degrees and
    /// `factor` times as large as what it shows.
    pub fn turn(size: [usize; 2], centre: [f64; 2], degrees: f64, factor: f64) -> Self {
        let (sin, cos) = degrees.to_radians().sin_cos();
        let [sin, cos] =
            [sin, cos].map(|part| if part.abs() < NOTHING { 0.0 } else { part / factor });
        let linear = Self { linear: [[cos, -sin], [sin, cos]], shift: [0.0; 2] };
        let middle = linear.at(size.map(|side| side as f64 / 2.0));
        Self { shift: [centre[0] - middle[0], centre[1] - middle[1]], ..linear }
    }

    /// Where a point goes.
    pub fn at(&self, [x, y]: [f64; 2]) -> [f64; 2] {
        [0, 1].map(|axis| {
            let [across, down] = self.linear[axis];
            x * across + y * down + self.shift[axis]
        })
    }

    /// Where a point comes from; maps here can be turned round.
    pub fn back(&self, point: [f64; 2]) -> [f64; 2] {
        let [[a, b], [c, d]] = self.linear;
        let [x, y] = [point[0] - self.shift[0], point[1] - self.shift[1]];
        let area = a * d - b * c;
        [(d * x - b * y) / area, (a * y - c * x) / area]
    }

    /// This map of what `first` gives.
    #[must_use]
    pub fn after(&self, first: &Self) -> Self {
        let [left, right] = [0, 1].map(|of| {
            let column = [first.linear[0][of], first.linear[1][of]];
            self.linear.map(|row| row[0] * column[0] + row[1] * column[1])
        });
        Self { linear: [[left[0], right[0]], [left[1], right[1]]], shift: self.at(first.shift) }
    }

    /// Whether columns stay columns and rows rows.
    pub fn is_upright(&self) -> bool {
        self.linear[0][1] == 0.0 && self.linear[1][0] == 0.0
    }

    /// The step along an axis of the target as one pixel to the right is taken, and one down.
    pub fn steps(&self, axis: usize) -> [f64; 2] {
        self.linear[axis]
    }
}

/// A picture that what is seen passes on its way to the source: beyond it, its border is repeated and labels are void.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Frame {
    pub(super) size: [usize; 2],
    /// From it to the frame before; the first one is the source.
    pub(super) down: Map,
}

/// A picture that is to be sampled from another.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct View {
    /// Width and height.
    pub(super) size: [usize; 2],
    /// From it to the last frame.
    pub(super) map: Map,
    /// From the source on; never empty.
    pub(super) frames: Vec<Frame>,
}

/// Less than a pixel's share that could be seen.
const SLIVER: f64 = 1e-6;

impl View {
    /// All of a picture as it is.
    pub(super) fn whole(size: [usize; 2]) -> Self {
        let source = Frame { size, down: Map::IDENTITY };
        Self { size, map: Map::IDENTITY, frames: vec![source] }
    }

    /// Whether it shows all of the source as it is.
    pub(super) fn is_whole(&self) -> bool {
        let [source] = &self.frames[..] else { return false };
        self.size == source.size && self.map == Map::IDENTITY
    }

    /// Another picture of this one, by the map from its points to this one's.
    pub(super) fn moved(&mut self, size: [usize; 2], map: Map) {
        if !within(&map, size, self.size) && !self.shows_all() {
            self.frames.push(Frame { size: self.size, down: self.map });
            self.map = Map::IDENTITY;
        }
        (self.size, self.map) = (size, self.map.after(&map));
    }

    /// Whether this picture's border is the last frame's: what is beyond the one is beyond the other.
    fn shows_all(&self) -> bool {
        let Some(Frame { size, .. }) = self.frames.last() else { return false };
        let corners = [self.map.at([0.0; 2]), self.map.at(self.size.map(|side| side as f64))];
        self.map.is_upright()
            && [0, 1].into_iter().all(|axis| {
                let [a, b] = corners.map(|corner| corner[axis]);
                a.min(b).abs() < SLIVER && (a.max(b) - size[axis] as f64).abs() < SLIVER
            })
    }

    /// Whether columns stay columns and rows rows, all the way.
    pub(super) fn is_upright(&self) -> bool {
        self.map.is_upright() && self.frames.iter().all(|frame| frame.down.is_upright())
    }

    /// The maps from this picture's points to each frame's, as long as none was beyond a later one; the source's first.
    pub(super) fn maps(&self) -> Vec<Map> {
        let mut maps = vec![self.map];
        for frame in self.frames[1..].iter().rev() {
            maps.push(frame.down.after(&maps[maps.len() - 1]));
        }
        maps.reverse();
        maps
    }

    /// Where a point of this picture lies in the source, kept between the centres of the pixels along its border, and
    /// whether it lay within all frames across and down.
    pub(super) fn place(&self, point: [f64; 2]) -> ([f64; 2], [bool; 2]) {
        let (mut place, mut inside) = (self.map.at(point), [true; 2]);
        for (number, frame) in self.frames.iter().enumerate().rev() {
            for ((at, inside), side) in place.iter_mut().zip(&mut inside).zip(frame.size) {
                let side = side as f64;
                *inside &= (-SLIVER..side - SLIVER).contains(at);
                *at = at.clamp(0.5, side - 0.5);
            }
            if number > 0 {
                place = frame.down.at(place);
            }
        }
        (place, inside)
    }
}

/// Whether a map takes all of a picture's pixels into another picture.
fn within(map: &Map, size: [usize; 2], into: [usize; 2]) -> bool {
    let [right, bottom] = size.map(|side| side as f64 - 0.5);
    [[0.5, 0.5], [right, 0.5], [0.5, bottom], [right, bottom]].into_iter().all(|corner| {
        let inside = |(at, side): (f64, usize)| (-SLIVER..side as f64 - SLIVER).contains(&at);
        map.at(corner).into_iter().zip(into).all(inside)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: [f64; 2], b: [f64; 2]) -> bool {
        a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-9)
    }

    #[test]
    fn maps_follow_each_other_and_are_turned_round() {
        let first = Map::turn([10, 6], [4.0, 9.0], 30.0, 1.5);
        let second = Map::mirror(0, 20).after(&Map::scale([2.0, 0.25]));
        let third = second.after(&first);
        for point in [[0.0, 0.0], [3.5, -2.0], [10.0, 6.0]] {
            assert!(close(third.at(point), second.at(first.at(point))));
            assert!(close(third.back(third.at(point)), point));
        }
        assert!(close(first.at([5.0, 3.0]), [4.0, 9.0]));
        // Counter-clockwise: what is right of the middle lies above the centre in the source turned clockwise.
        let quarter = Map::turn([4, 4], [2.0, 2.0], 90.0, 1.0);
        assert_eq!(quarter.at([2.0, 1.0]), [3.0, 2.0]);
    }

    #[test]
    fn only_what_cuts_adds_a_frame() {
        let mut view = View::whole([40, 30]);
        view.moved([40, 30], Map::mirror(0, 40));
        view.moved([80, 60], Map::scale([0.5, 0.5]));
        view.moved([100, 70], Map::shift([-3.0, 4.0]));
        assert_eq!(view.frames.len(), 1);
        // A part, and what lies around it then.
        let mut view = View::whole([40, 30]);
        view.moved([10, 10], Map::shift([5.0, 5.0]));
        assert_eq!(view.frames.len(), 1);
        view.moved([10, 10], Map::shift([-2.0, 0.0]));
        assert_eq!(view.frames.len(), 2);
        assert_eq!(view.place([1.5, 1.5]), ([5.5, 6.5], [false, true]));
        assert_eq!(view.place([2.5, 1.5]), ([5.5, 6.5], [true; 2]));
        assert_eq!(view.place([9.5, 1.5]), ([12.5, 6.5], [true; 2]));
    }

    #[test]
    fn what_is_undone_is_the_whole_again() {
        let mut view = View::whole([5, 4]);
        for _ in 0..2 {
            view.moved([5, 4], Map::mirror(0, 5));
            view.moved([5, 4], Map::mirror(1, 4));
        }
        assert!(view.is_whole());
    }
}
