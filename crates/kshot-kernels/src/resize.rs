//! Bilinear resizing of planes, or by the nearest pixel, and its gradient.

use rayon::prelude::*;

use crate::geometry::Refused;
use crate::scratch::{Scratch, fresh};
use crate::simd::{Kernel, Simd, dispatch};

/// From which size to which, and where pixels lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resize {
    from: [usize; 2],
    to: [usize; 2],
    meeting: Meeting,
}

/// What lies at the same place before and after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meeting {
    /// The pictures' edges.
    Edges,
    /// The corners' centres.
    Corners,
    /// The pictures' edges, and each pixel is one from before.
    Nearest,
}

impl Resize {
    /// Rows and columns before and after. With `align_corners` the corners' centres meet, else the
    /// pictures' edges do, as PyTorch counts.
    ///
    /// # Errors
    /// If a side is zero.
    pub fn new(from: [usize; 2], to: [usize; 2], align_corners: bool) -> Result<Self, Refused> {
        Self::of(from, to, if align_corners { Meeting::Corners } else { Meeting::Edges })
    }

    /// The same by the nearest pixel, as PyTorch's `nearest` counts.
    ///
    /// # Errors
    /// If a side is zero.
    pub fn nearest(from: [usize; 2], to: [usize; 2]) -> Result<Self, Refused> {
        Self::of(from, to, Meeting::Nearest)
    }

    fn of(from: [usize; 2], to: [usize; 2], meeting: Meeting) -> Result<Self, Refused> {
        if from.contains(&0) || to.contains(&0) {
            return Err(Refused::new(format!("a side is zero: from {from:?} to {to:?}")));
        }
        Ok(Self { from, to, meeting })
    }

    /// Rows and columns before.
    pub fn from(&self) -> [usize; 2] {
        self.from
    }

    /// Rows and columns after.
    pub fn to(&self) -> [usize; 2] {
        self.to
    }

    /// For each place along an axis afterwards, the two places before and the share of the second.
    fn taps(&self, axis: usize) -> Vec<Tap> {
        let (from, to) = (self.from[axis], self.to[axis]);
        let place = |index: usize| match self.meeting {
            Meeting::Corners => {
                let steps = to.saturating_sub(1).max(1) as f64;
                index as f64 * (from - 1) as f64 / steps
            }
            Meeting::Edges => ((index as f64 + 0.5) * from as f64 / to as f64 - 0.5).max(0.0),
            Meeting::Nearest => (index * from / to) as f64,
        };
        (0..to)
            .map(|index| {
                let place = place(index).min((from - 1) as f64);
                let low = place as usize;
                Tap { low, high: (low + 1).min(from - 1), share: (place - low as f64) as f32 }
            })
            .collect()
    }

    /// The same as a matrix: each place afterwards as a sum of places before, `[to, from]` of an axis.
    pub(crate) fn matrix(&self, axis: usize) -> Vec<f32> {
        let from = self.from[axis];
        let mut matrix = vec![0.0; self.to[axis] * from];
        for (row, tap) in matrix.chunks_exact_mut(from).zip(self.taps(axis)) {
            row[tap.low] += 1.0 - tap.share;
            row[tap.high] += tap.share;
        }
        matrix
    }
}

#[derive(Clone, Copy)]
struct Tap {
    low: usize,
    high: usize,
    share: f32,
}

/// Planes at another size.
///
/// # Shapes
/// `[planes, from.rows, from.columns]` to `[planes, to.rows, to.columns]`
///
/// # Panics
/// If `images` is not a whole number of planes.
pub fn resize(resize: &Resize, images: &[f32]) -> Vec<f32> {
    let [before, after] = [resize.from, resize.to].map(|[rows, columns]| rows * columns);
    assert!(images.len().is_multiple_of(before), "images of another size");
    let [down, across] = [resize.taps(0), resize.taps(1)];
    fresh(images.len() / before * after, |result| {
        result.par_chunks_exact_mut(after).zip(images.par_chunks_exact(before)).for_each(
            |(result, image)| {
                let width = resize.from[1];
                dispatch(Up { image, width, down: &down, across: &across, result });
            },
        );
    })
}

/// The gradient of [`resize`] with respect to the planes before.
///
/// # Panics
/// If `gradient` is not a whole number of planes.
pub fn resize_gradient(resize: &Resize, gradient: &[f32]) -> Vec<f32> {
    let [before, after] = [resize.from, resize.to].map(|[rows, columns]| rows * columns);
    assert!(gradient.len().is_multiple_of(after), "a gradient of another size");
    let [down, across] = [resize.taps(0), resize.taps(1)];
    fresh(gradient.len() / after * before, |result| {
        result.par_chunks_exact_mut(before).zip(gradient.par_chunks_exact(after)).for_each(
            |(result, gradient)| {
                let size = resize.from;
                dispatch(Down { gradient, size, down: &down, across: &across, result });
            },
        );
    })
}

struct Up<'a> {
    image: &'a [f32],
    width: usize,
    down: &'a [Tap],
    across: &'a [Tap],
    result: &'a mut [f32],
}

/// Row `number` of an image at the new width.
#[inline(always)]
fn widen(image: &[f32], width: usize, number: usize, across: &[Tap], to: &mut [f32]) {
    let row = &image[number * width..][..width];
    for (to, tap) in to.iter_mut().zip(across) {
        let (low, high) = (row[tap.low], row[tap.high]);
        *to = low + tap.share * (high - low);
    }
}

impl Kernel for Up<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Self { image, width, down, across, result } = self;
        let columns = across.len();
        let mut scratch = Scratch::take(2 * columns);
        let (mut top, mut bottom) = scratch.split_at_mut(columns);
        // Which rows the two buffers hold; taps go down the image, so that each is widened once.
        let mut held = [usize::MAX; 2];
        for (tap, result) in down.iter().zip(result.chunks_exact_mut(columns)) {
            if held[0] != tap.low {
                if held[1] == tap.low {
                    std::mem::swap(&mut top, &mut bottom);
                    held = [held[1], held[0]];
                } else {
                    widen(image, width, tap.low, across, top);
                    held[0] = tap.low;
                }
            }
            if held[1] != tap.high {
                widen(image, width, tap.high, across, bottom);
                held[1] = tap.high;
            }
            for (result, (top, bottom)) in result.iter_mut().zip(top.iter().zip(bottom.iter())) {
                *result = top + tap.share * (bottom - top);
            }
        }
    }
}

struct Down<'a> {
    gradient: &'a [f32],
    size: [usize; 2],
    down: &'a [Tap],
    across: &'a [Tap],
    result: &'a mut [f32],
}

impl Kernel for Down<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Self { gradient, size: [rows, width], down, across, result } = self;
        let columns = across.len();
        // The gradient of the widened rows.
        let mut wide = Scratch::zeros(rows * columns);
        for (tap, gradient) in down.iter().zip(gradient.chunks_exact(columns)) {
            let mut add = |row: usize, factor: f32| {
                let row = &mut wide[row * columns..][..columns];
                for (sum, value) in row.iter_mut().zip(gradient) {
                    *sum += factor * value;
                }
            };
            add(tap.low, 1.0 - tap.share);
            add(tap.high, tap.share);
        }
        result.fill(0.0);
        for (row, wide) in result.chunks_exact_mut(width).zip(wide.chunks_exact(columns)) {
            for (value, tap) in wide.iter().zip(across) {
                row[tap.low] += (1.0 - tap.share) * value;
                row[tap.high] += tap.share * value;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn side() -> impl Strategy<Value = usize> {
        1usize..40
    }

    #[test]
    fn the_nearest_pixel_is_repeated_and_gathers_its_gradients() {
        let doubled = Resize::nearest([2, 2], [3, 4]).unwrap();
        let result = resize(&doubled, &[1.0, 2.0, 3.0, 4.0]);
        assert_eq!(result, [1.0, 1.0, 2.0, 2.0, 1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 4.0, 4.0]);
        let gradient: Vec<f32> = (1..=12).map(|value| value as f32).collect();
        assert_eq!(resize_gradient(&doubled, &gradient), [14.0, 22.0, 19.0, 23.0]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn it_is_its_definition_and_the_gradient_its_transpose(
            from in [side(), side()],
            to in [side(), side()],
            align in any::<bool>(),
        ) {
            let resize_by = Resize::new(from, to, align).unwrap();
            let values = |count: usize, seed: usize| -> Vec<f32> {
                (0..count).map(|i| ((i * 37 + seed) % 101) as f32 / 50.0 - 1.0).collect()
            };
            let images = values(3 * from[0] * from[1], 1);
            let gradient = values(3 * to[0] * to[1], 2);
            let result = resize(&resize_by, &images);
            let place = |index: usize, axis: usize| -> f64 {
                let (from, to) = (from[axis] as f64, to[axis] as f64);
                let place = if align {
                    if to > 1.0 { index as f64 * (from - 1.0) / (to - 1.0) } else { 0.0 }
                } else {
                    (index as f64 + 0.5) * from / to - 0.5
                };
                place.clamp(0.0, from - 1.0)
            };
            for (index, value) in result.iter().enumerate() {
                let (plane, y, x) =
                    (index / (to[0] * to[1]), index / to[1] % to[0], index % to[1]);
                let (y, x) = (place(y, 0), place(x, 1));
                let mut expected = 0.0;
                for (row, weight) in [(y.floor(), 1.0 - y.fract()), (y.ceil(), y.fract())] {
                    for (column, share) in [(x.floor(), 1.0 - x.fract()), (x.ceil(), x.fract())] {
                        let at = (plane * from[0] + row as usize) * from[1] + column as usize;
                        expected += weight * share * f64::from(images[at]);
                    }
                }
                prop_assert!((f64::from(*value) - expected).abs() < 1e-5);
            }
            let dot = |a: &[f32], b: &[f32]| -> f64 {
                a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
            };
            let back = resize_gradient(&resize_by, &gradient);
            let (one, other) = (dot(&result, &gradient), dot(&images, &back));
            prop_assert!((one - other).abs() < 1e-3 * one.abs().max(1.0), "{one} is not {other}");
        }
    }
}
