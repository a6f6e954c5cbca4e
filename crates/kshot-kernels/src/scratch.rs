//! Scratch memory that each thread keeps: fresh pages cost more than most kernels.

use std::cell::RefCell;
use std::mem::take;
use std::ops::{Deref, DerefMut};

/// Buffers that a thread keeps for later calls.
const KEPT: usize = 8;
/// Bytes that a thread keeps at most; larger buffers go back to the allocator.
const KEPT_BYTES: usize = 96 << 20;

/// A line of the cache, so that vectors never straddle two.
#[repr(align(64))]
#[derive(Clone, Copy)]
struct Line(#[expect(dead_code, reason = "read as floats")] [f32; LINE]);

const LINE: usize = 16;

thread_local! {
    static FREE: RefCell<Vec<Vec<Line>>> = const { RefCell::new(Vec::new()) };
}

/// Floats of any values, aligned to the cache's lines; back to the thread's pool when dropped.
pub(crate) struct Scratch {
    lines: Vec<Line>,
    count: usize,
}

impl Scratch {
    /// A buffer of `count` floats left over from earlier work or zero.
    pub(crate) fn take(count: usize) -> Self {
        let needed = count.div_ceil(LINE);
        let kept = FREE.with_borrow_mut(|free| {
            let fitting = (0..free.len())
                .filter(|index| free[*index].len() >= needed)
                .min_by_key(|index| free[*index].len());
            fitting.map(|index| free.swap_remove(index))
        });
        Self { lines: kept.unwrap_or_else(|| vec![Line([0.0; LINE]); needed]), count }
    }

    /// A buffer of `count` zeros.
    pub(crate) fn zeros(count: usize) -> Self {
        let mut scratch = Self::take(count);
        scratch.fill(0.0);
        scratch
    }
}

impl Deref for Scratch {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        // SAFETY: a `Line` is sixteen initialised floats without padding, and there are enough.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.count) }
    }
}

impl DerefMut for Scratch {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as above, and the borrow is unique.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.count) }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let lines = take(&mut self.lines);
        // A thread that is ending has no pool any more: the buffer is freed.
        let _ = FREE.try_with(|free| {
            let mut free = free.borrow_mut();
            free.push(lines);
            let bytes = |free: &Vec<Vec<Line>>| {
                free.iter().map(|lines| lines.len() * size_of::<Line>()).sum::<usize>()
            };
            // The smallest are the cheapest to make again; one that exceeds the bound alone goes.
            while free.len() > KEPT {
                let smallest = (0..free.len()).min_by_key(|index| free[*index].len());
                smallest.map(|index| free.swap_remove(index));
            }
            while bytes(&free) > KEPT_BYTES {
                let largest = (0..free.len()).max_by_key(|index| free[*index].len());
                largest.map(|index| free.swap_remove(index));
            }
        });
    }
}

/// A result of `count` floats, all of which `fill` writes.
pub(crate) fn fresh(count: usize, fill: impl FnOnce(&mut [f32])) -> Vec<f32> {
    let mut values = Vec::<f32>::with_capacity(count);
    let start = values.as_mut_ptr();
    if cfg!(test) {
        // What is left out shows.
        values.spare_capacity_mut().iter_mut().for_each(|value| {
            value.write(f32::NAN);
        });
    }
    // SAFETY: the capacity is there and borrowed uniquely; every pattern of bits is a float, and the
    // kernels write each one without reading it before. Zeroing would cost as much as some of them.
    let whole = unsafe { std::slice::from_raw_parts_mut(start, count) };
    fill(whole);
    // SAFETY: `fill` has written all of them.
    unsafe { values.set_len(count) };
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_come_back_aligned_and_bounded() {
        let first = Scratch::zeros(1000);
        let place = first.as_ptr();
        assert_eq!((first.len(), place.align_offset(64)), (1000, 0));
        drop(first);
        assert_eq!(Scratch::take(990).as_ptr(), place);
        drop((0..20).map(|i| Scratch::take(i * 100)).collect::<Vec<_>>());
        drop(Scratch::take(KEPT_BYTES / 4 + 16));
        FREE.with_borrow(|free| {
            assert!(free.len() <= KEPT);
            assert!(free.iter().map(|lines| lines.len() * 64).sum::<usize>() <= KEPT_BYTES);
        });
        assert!(Scratch::take(0).is_empty());
    }
}
