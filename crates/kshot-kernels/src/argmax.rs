//! The channel of the highest value of each pixel. Pixels are lanes, so that nothing is transposed and every
//! value is read once.

use rayon::prelude::*;

use crate::scratch::Scratch;
use crate::simd::{Kernel, Simd, dispatch};
use crate::softmax::Channels;

/// Pixels of a task: long runs of each plane, whose best values stay in the nearest cache.
const BLOCK: usize = 1024;

/// The number of the channel that has the highest value, by pixel: the first of equal ones, and the first that
/// is no number where there is one.
///
/// # Shapes
/// `[batch, channels, area]` to `[batch, area]`
///
/// # Panics
/// If `values` is no whole number of pictures, or there are more than 256 channels.
pub fn argmax(shape: &Channels, values: &[f32]) -> Vec<u8> {
    let Channels { channels, area } = *shape;
    let each = channels * area;
    assert!(each > 0 && values.len().is_multiple_of(each), "{} floats of {shape:?}", values.len());
    assert!(channels <= 256, "a byte does not hold the numbers of {channels} channels");
    let mut result = vec![0u8; values.len() / channels];
    let pictures = result.par_chunks_exact_mut(area).zip(values.par_chunks_exact(each));
    pictures.for_each(|(found, values)| {
        found.par_chunks_mut(BLOCK).enumerate().for_each(|(block, found)| {
            dispatch(Highest { area, first: block * BLOCK, values, found });
        });
    });
    result
}

struct Highest<'a> {
    area: usize,
    /// The first pixel.
    first: usize,
    /// All planes of the picture.
    values: &'a [f32],
    found: &'a mut [u8],
}

impl Kernel for Highest<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Self { area, first, values, found } = self;
        let count = found.len();
        let mut scratch = Scratch::take(2 * BLOCK);
        let (best, place) = scratch.split_at_mut(BLOCK);
        let (best, place) = (&mut best[..count], &mut place[..count]);
        let mut planes = values.chunks_exact(area).map(|plane| &plane[first..][..count]);
        if let Some(plane) = planes.next() {
            best.copy_from_slice(plane);
        }
        place.fill(0.0);
        for (channel, plane) in (1u16..).zip(planes) {
            let channel = f32::from(channel);
            for ((best, place), value) in best.iter_mut().zip(place.iter_mut()).zip(plane) {
                // Nothing is better than what is no number; without branches, so that pixels stay lanes.
                let better = ((*value > *best) | value.is_nan()) & !best.is_nan();
                *place = if better { channel } else { *place };
                *best = if better { *value } else { *best };
            }
        }
        for (found, place) in found.iter_mut().zip(place.iter()) {
            *found = *place as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_the_highest_and_of_what_is_no_number() {
        let shape = Channels { channels: 3, area: 5 };
        let nan = f32::NAN;
        #[rustfmt::skip]
        let values = [
            1.0, 2.0, nan, 0.0, f32::NEG_INFINITY,
            1.0, 3.0, 9.0, nan, f32::NEG_INFINITY,
            0.5, 4.0, nan, nan, -3e38,
        ];
        assert_eq!(argmax(&shape, &values), [0, 2, 0, 1, 2]);
    }

    #[test]
    fn pictures_of_more_than_a_block() {
        let shape = Channels { channels: 7, area: 2 * BLOCK + 9 };
        let count = 2 * 7 * shape.area;
        let values: Vec<f32> = (0..count).map(|at| ((at * 7919) % 1009) as f32 - 500.0).collect();
        let found = argmax(&shape, &values);
        for (at, &found) in found.iter().enumerate() {
            let (picture, pixel) = (at / shape.area, at % shape.area);
            let of = |channel: usize| values[(picture * 7 + channel) * shape.area + pixel];
            let best =
                (1..7).fold(0, |best, channel| if of(channel) > of(best) { channel } else { best });
            assert_eq!(usize::from(found), best, "pixel {at}");
        }
    }
}
