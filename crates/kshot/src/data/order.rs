//! The order in which pictures are shown: all of them once, in an order of its own for each pass.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// Passes whose order is kept: batches that are made at once lie in two, where one pass ends and the next begins.
const KEPT: usize = 2;

/// An endless list of a data set's pictures, pass after pass, from a seed alone. The order of a pass is shuffled once, when
/// its first picture is asked for, and not again for each of its pictures.
pub struct Order {
    pictures: usize,
    seed: u64,
    passes: Mutex<VecDeque<(u64, Arc<[u32]>)>>,
}

impl Order {
    /// Of so many pictures.
    pub fn new(pictures: usize, seed: u64) -> Self {
        Self { pictures, seed, passes: Mutex::default() }
    }

    /// The picture at place `place` of the list: the same whenever and by whichever thread it is asked for.
    ///
    /// # Panics
    /// If there are no pictures.
    pub fn picture(&self, place: u64) -> usize {
        let count = self.pictures as u64;
        self.pass(place / count)[(place % count) as usize] as usize
    }

    fn pass(&self, number: u64) -> Arc<[u32]> {
        let mut passes = self.passes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, order)) = passes.iter().find(|(of, _)| *of == number) {
            return Arc::clone(order);
        }
        let mut order: Vec<u32> = (0..self.pictures as u32).collect();
        let seed = self.seed.rotate_left(32) ^ number;
        order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        let order: Arc<[u32]> = order.into();
        passes.push_back((number, Arc::clone(&order)));
        if passes.len() > KEPT {
            passes.pop_front();
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_picture_comes_once_a_pass_and_passes_differ() {
        let order = Order::new(50, 7);
        let pass = |number: u64| -> Vec<usize> {
            (number * 50..(number + 1) * 50).map(|place| order.picture(place)).collect()
        };
        let (first, second) = (pass(0), pass(1));
        assert_ne!(first, second);
        for mut of in [first.clone(), second] {
            of.sort_unstable();
            assert!(of.into_iter().eq(0..50));
        }
        // Asked for out of order, after others pushed it out, and by another list of the same seed.
        pass(2);
        pass(3);
        let again = Order::new(50, 7);
        let backwards: Vec<usize> = (0..50).rev().map(|place| again.picture(place)).collect();
        assert_eq!(pass(0), first);
        assert!(backwards.into_iter().rev().eq(first.iter().copied()));
        assert_ne!(
            Order::new(50, 8).picture(0) * 50 + Order::new(50, 8).picture(1),
            first[0] * 50 + first[1]
        );
    }
}
