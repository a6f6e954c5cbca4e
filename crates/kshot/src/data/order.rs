//! The order in which pictures are shown: all of them once, in an order of its own for each pass; with weights as often
//! as these say.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::data::picture_weights::{PictureWeights, round};

/// Passes whose order is kept: batches that are made at once lie in two, where one pass ends and the next begins.
const KEPT: usize = 2;

/// An endless list of a data set's pictures, pass after pass, from a seed alone. The order of a pass is shuffled once, when
/// its first picture is asked for, and not again for each of its pictures.
pub struct Order {
    pictures: usize,
    seed: u64,
    weights: Option<PictureWeights>,
    passes: Mutex<VecDeque<Pass>>,
}

/// A pass whose order is kept.
struct Pass {
    number: u64,
    /// The weights that it was drawn by.
    weights: Option<Arc<Vec<f64>>>,
    order: Arc<[u32]>,
}

impl Order {
    /// Of so many pictures.
    pub fn new(pictures: usize, seed: u64) -> Self {
        Self { pictures, seed, weights: None, passes: Mutex::default() }
    }

    /// The same with pictures drawn by their weights, as they are whenever a picture is asked for.
    #[must_use]
    pub fn with_weights(self, weights: Option<PictureWeights>) -> Self {
        Self { weights, ..self }
    }

    /// The weights that pictures are drawn by, where they are.
    pub fn weights(&self) -> Option<&PictureWeights> {
        self.weights.as_ref()
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
        let weights = self.weights.as_ref().map(PictureWeights::now);
        let same = |pass: &&Pass| {
            let drawn_by = match (&pass.weights, &weights) {
                (Some(then), Some(now)) => Arc::ptr_eq(then, now),
                (then, now) => then.is_none() && now.is_none(),
            };
            pass.number == number && drawn_by
        };
        let mut passes = self.passes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pass) = passes.iter().find(same) {
            return Arc::clone(&pass.order);
        }
        let mut random = ChaCha8Rng::seed_from_u64(self.seed.rotate_left(32) ^ number);
        let order: Arc<[u32]> = match &weights {
            Some(weights) => round(weights, &mut random).into(),
            None => {
                let mut order: Vec<u32> = (0..self.pictures as u32).collect();
                order.shuffle(&mut random);
                order.into()
            }
        };
        passes.push_back(Pass { number, weights, order: Arc::clone(&order) });
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

    #[test]
    fn weights_count_from_when_they_are_set() {
        let weights = PictureWeights::new(vec![1.0; 4]);
        let order = Order::new(4, 3).with_weights(Some(weights.clone()));
        let pass = || {
            let mut all: Vec<usize> = (0..4).map(|place| order.picture(place)).collect();
            all.sort_unstable();
            all
        };
        assert_eq!(pass(), [0, 1, 2, 3]);
        weights.set(vec![0.0, 0.0, 1.0, 0.0]);
        assert_eq!(pass(), [2; 4]);
    }
}
