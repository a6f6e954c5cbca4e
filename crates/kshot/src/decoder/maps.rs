//! Which of an encoder's maps a decoder uses.

use crate::error::{Error, Result};

/// The last map of each stride, finest first.
pub(super) fn last_of_each(strides: &[usize]) -> Vec<usize> {
    (0..strides.len()).filter(|index| strides.get(index + 1) != strides.get(*index)).collect()
}

/// The last map of that stride.
pub(super) fn of_stride(strides: &[usize], stride: usize) -> Option<usize> {
    strides.iter().rposition(|other| *other == stride)
}

/// The last map.
///
/// # Errors
/// If there is none.
pub(super) fn coarsest(name: &str, strides: &[usize]) -> Result<usize> {
    let refuse =
        || Error::config(format!("{name} for an encoder without maps; it needs at least one"));
    strides.len().checked_sub(1).ok_or_else(refuse)
}

/// A dilation that was chosen for maps of stride `chosen_at`, on maps of another stride, so that it spans as many
/// pixels of the picture; at least 1.
pub(super) fn dilation(rate: usize, chosen_at: usize, stride: usize) -> usize {
    ((rate * chosen_at + stride / 2) / stride.max(1)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dilations_span_the_same_pixels() {
        let at = |stride| [6, 12, 18].map(|rate| dilation(rate, 16, stride));
        assert_eq!(at(16), [6, 12, 18]);
        assert_eq!(at(8), [12, 24, 36]);
        assert_eq!(at(32), [3, 6, 9]);
        assert_eq!(dilation(1, 16, 64), 1);
    }

    #[test]
    fn maps_of_one_stride_are_told_apart() {
        let strides = [2, 4, 8, 8, 8];
        assert_eq!(last_of_each(&strides), [0, 1, 4]);
        assert_eq!((of_stride(&strides, 8), of_stride(&strides, 16)), (Some(4), None));
        assert!(coarsest("fcn", &[]).unwrap_err().to_string().contains("maps"));
    }
}
