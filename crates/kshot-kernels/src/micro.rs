//! The innermost product: a panel of rows of one operand times a tile of columns of the other, held in
//! registers.

#![expect(clippy::needless_range_loop, reason = "an index runs over several arrays")]

use crate::simd::format::Format;
use crate::simd::{Simd, WIDEST};

/// Rows of a panel. With two vectors of columns its sums fill twelve registers of sixteen.
pub(crate) const ROWS: usize = 6;
/// Vectors of columns of a tile that suits every processor.
pub(crate) const VECTORS: usize = 2;
/// Vectors of columns of the widest tile: with [`ROWS`] rows its sums fill 24 registers of 32.
pub(crate) const MOST: usize = 4;

/// Vectors of columns of a whole tile where products are many.
pub(crate) const fn vectors<S: Simd>() -> usize {
    if S::REGISTERS < 32 { VECTORS } else { MOST }
}

/// What happens to a panel's sums.
pub(crate) struct Ends<'a> {
    /// Rows that exist.
    pub(crate) rows: usize,
    /// Whether nothing was summed before.
    pub(crate) first: bool,
    /// For each row.
    pub(crate) bias: Option<&'a [f32]>,
    /// The activation's.
    pub(crate) bounds: Option<(f32, f32)>,
}

/// A panel times a tile of `V` vectors, both of `depth` steps of a format's products, added to `width` columns
/// of the target, whose rows lie `target.1` floats apart, and finished.
///
/// # Safety
/// - `left` points to `depth` times [`ROWS`] floats.
/// - `right(at)` points to the tile's row `at`, `V` vectors of floats, for every `at` below `depth`.
/// - `width`, at most `V` vectors, floats of each row of the target that exists may be read and written.
/// - There are at most [`ROWS`] rows, and a bias for each.
#[inline(always)]
pub(crate) unsafe fn tile_of<S: Simd, F: Format<S>, const V: usize>(
    (simd, format): (S, F),
    left: *const f32,
    right: impl Fn(usize) -> *const f32,
    depth: usize,
    (target, line): (*mut f32, usize),
    width: usize,
    ends: &Ends,
) {
    // SAFETY: by the caller's promise.
    unsafe {
        let sums = multiply::<S, F, V>((simd, format), left, right, depth);
        write(simd, sums, target, line, width, ends);
    }
}

/// # Safety
/// As [`tile_of`]'s of `left` and `right`.
#[inline(always)]
unsafe fn multiply<S: Simd, F: Format<S>, const V: usize>(
    (simd, format): (S, F),
    left: *const f32,
    right: impl Fn(usize) -> *const f32,
    depth: usize,
) -> [[S::Vector; V]; ROWS] {
    const { assert!(V <= MOST, "more sums than registers") }
    let mut sums = [[simd.zero(); V]; ROWS];
    for at in 0..depth {
        let right = right(at);
        let mut values = [simd.zero(); V];
        for vector in 0..V {
            // SAFETY: by the caller's promise.
            values[vector] = unsafe { simd.load(right.add(vector * S::LANES)) };
        }
        for row in 0..ROWS {
            // SAFETY: by the caller's promise.
            let factor = simd.splat(unsafe { *left.add(at * ROWS + row) });
            for vector in 0..V {
                sums[row][vector] = format.add(simd, factor, values[vector], sums[row][vector]);
            }
        }
    }
    sums
}

/// Adds sums to the target, finishes and writes them.
///
/// # Safety
/// As [`tile_of`]'s of `width` and rows.
#[inline(always)]
unsafe fn write<S: Simd, const V: usize>(
    simd: S,
    mut sums: [[S::Vector; V]; ROWS],
    target: *mut f32,
    line: usize,
    width: usize,
    ends: &Ends,
) {
    let mut buffer = [0.0f32; MOST * WIDEST];
    for row in 0..ends.rows {
        let whole = width == V * S::LANES;
        // SAFETY: the row exists; where less than a tile may be touched, the buffer stands in.
        unsafe {
            let target = target.add(row * line);
            let at = if whole { target } else { buffer.as_mut_ptr() };
            if !ends.first {
                if !whole {
                    std::ptr::copy_nonoverlapping(target, at, width);
                }
                for vector in 0..V {
                    let before = simd.load(at.add(vector * S::LANES));
                    sums[row][vector] = simd.add(sums[row][vector], before);
                }
            }
            for vector in 0..V {
                let mut sum = sums[row][vector];
                if let Some(bias) = ends.bias {
                    sum = simd.add(sum, simd.splat(bias[row]));
                }
                if let Some((low, high)) = ends.bounds {
                    sum = simd.clamp(sum, [simd.splat(low), simd.splat(high)]);
                }
                simd.store(at.add(vector * S::LANES), sum);
            }
            if !whole {
                std::ptr::copy_nonoverlapping(at, target, width);
            }
        }
    }
}
