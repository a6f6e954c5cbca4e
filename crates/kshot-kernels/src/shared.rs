//! A result that tasks fill together, each its own part.

use std::marker::PhantomData;

/// A slice that several threads write at once, at places that do not overlap.
pub(crate) struct Shared<'a> {
    start: *mut f32,
    count: usize,
    borrowed: PhantomData<&'a mut [f32]>,
}

// SAFETY: the only accesses are `part` and `pointer`, whose callers promise that no two parts alive at
// once overlap.
unsafe impl Sync for Shared<'_> {}
// SAFETY: as above; the slice is borrowed for as long as this lives.
unsafe impl Send for Shared<'_> {}

impl<'a> Shared<'a> {
    pub(crate) fn new(whole: &'a mut [f32]) -> Self {
        Self { start: whole.as_mut_ptr(), count: whole.len(), borrowed: PhantomData }
    }

    /// Floats `from..from + count`.
    ///
    /// # Panics
    /// If they are not inside.
    ///
    /// # Safety
    /// No other part that is alive at the same time overlaps this one.
    pub(crate) unsafe fn part(&self, from: usize, count: usize) -> &'a mut [f32] {
        assert!(from <= self.count && count <= self.count - from, "outside of the result");
        // SAFETY: inside by the assertion, unique by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(from), count) }
    }

    /// Where floats `from..from + count` start. Who writes there promises what [`Shared::part`] asks.
    ///
    /// # Panics
    /// If they are not inside.
    pub(crate) fn pointer(&self, from: usize, count: usize) -> *mut f32 {
        assert!(from <= self.count && count <= self.count - from, "outside of the result");
        self.start.wrapping_add(from)
    }
}
