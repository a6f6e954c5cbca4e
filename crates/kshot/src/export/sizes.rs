//! Sizes that follow from the pictures': found by comparing recordings, written as operations on shapes.

use std::collections::BTreeMap;

use burn::backend::capture::TensorId;

/// A size in terms of others.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Size {
    /// Always the same.
    Fixed(i64),
    /// The length of a tensor's axis.
    Axis(TensorId, usize),
    /// The product of two.
    Product(Box<Size>, Box<Size>),
    /// The first without the second.
    Difference(Box<Size>, Box<Size>),
    /// The quotient, rounded down.
    Quotient(Box<Size>, i64),
}

/// Factors and divisors that are tried.
const FACTORS: std::ops::Range<i64> = 2..65;

/// The lengths of axes met so far: as they are in each recording, and whose they are.
#[derive(Debug, Default)]
pub struct KnownSizes {
    /// The first axis of each distinct row of lengths.
    axes: BTreeMap<Vec<i64>, (TensorId, usize)>,
    /// The rows in the order in which they were met.
    order: Vec<Vec<i64>>,
}

impl KnownSizes {
    /// Notes the axes of a tensor, `lengths[recording][axis]`.
    pub fn note(&mut self, tensor: TensorId, lengths: &[Vec<usize>]) {
        for axis in 0..lengths.first().map_or(0, Vec::len) {
            let row: Vec<i64> = lengths.iter().map(|of| of[axis] as i64).collect();
            if !same(&row) && !self.axes.contains_key(&row) {
                self.order.push(row.clone());
                self.axes.insert(row, (tensor, axis));
            }
        }
    }

    /// What a number that is so much in each recording follows from, if that can be told.
    pub fn explain(&self, row: &[i64]) -> Option<Size> {
        if same(row) {
            return row.first().copied().map(Size::Fixed);
        }
        if let Some(axis) = self.axis(row) {
            return Some(axis);
        }
        let scaled = FACTORS.into_iter().find_map(|factor| {
            let divided: Option<Vec<i64>> =
                row.iter().map(|&of| (of % factor == 0).then_some(of / factor)).collect();
            if let Some(axis) = divided.and_then(|row| self.axis(&row)) {
                return Some(Size::Product(Box::new(axis), Box::new(Size::Fixed(factor))));
            }
            let whole = self.order.iter().find(|known| {
                known.iter().zip(row).all(|(known, of)| known.div_euclid(factor) == *of)
            })?;
            Some(Size::Quotient(Box::new(self.axis(whole)?), factor))
        });
        scaled.or_else(|| self.product(row)).or_else(|| self.difference(row))
    }

    fn axis(&self, row: &[i64]) -> Option<Size> {
        self.axes.get(row).map(|&(tensor, axis)| Size::Axis(tensor, axis))
    }

    fn product(&self, row: &[i64]) -> Option<Size> {
        self.order.iter().find_map(|known| {
            let divides = |(of, known): (&i64, &i64)| (of % known == 0).then(|| of / known);
            let rest: Vec<i64> = row.iter().zip(known).map(divides).collect::<Option<_>>()?;
            Some(Size::Product(Box::new(self.axis(known)?), Box::new(self.axis(&rest)?)))
        })
    }

    /// A known size, or a multiple of one, without another or without a fixed number.
    fn difference(&self, row: &[i64]) -> Option<Size> {
        (1..FACTORS.end).find_map(|factor| {
            self.order.iter().find_map(|known| {
                let rest: Vec<i64> =
                    known.iter().zip(row).map(|(known, of)| known * factor - of).collect();
                let less = if same(&rest) { Size::Fixed(rest[0]) } else { self.axis(&rest)? };
                let more = match factor {
                    1 => self.axis(known)?,
                    _ => Size::Product(Box::new(self.axis(known)?), Box::new(Size::Fixed(factor))),
                };
                Some(Size::Difference(Box::new(more), Box::new(less)))
            })
        })
    }
}

/// Whether all numbers are one.
fn same(row: &[i64]) -> bool {
    row.windows(2).all(|pair| pair[0] == pair[1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_explained_by_the_simplest_relation() {
        let mut known = KnownSizes::default();
        let pictures: Vec<Vec<usize>> =
            [[2, 3, 75, 107], [3, 3, 140, 83], [5, 3, 203, 301]].map(Vec::from).to_vec();
        let id = TensorId::new(7);
        known.note(id, &pictures);
        let axis = |axis| Size::Axis(id, axis);
        let fixed = |value| Box::new(Size::Fixed(value));
        let of = |row: [i64; 3]| known.explain(&row);
        assert_eq!(of([4, 4, 4]), Some(Size::Fixed(4)));
        assert_eq!(of([75, 140, 203]), Some(axis(2)));
        assert_eq!(of([150, 280, 406]), Some(Size::Product(Box::new(axis(2)), fixed(2))));
        assert_eq!(of([37, 70, 101]), Some(Size::Quotient(Box::new(axis(2)), 2)));
        let both = Size::Product(Box::new(axis(2)), Box::new(axis(3)));
        assert_eq!(of([75 * 107, 140 * 83, 203 * 301]), Some(both));
        assert_eq!(of([74, 139, 202]), Some(Size::Difference(Box::new(axis(2)), fixed(1))));
        assert_eq!(of([1, 7, 3]), None);
    }
}
