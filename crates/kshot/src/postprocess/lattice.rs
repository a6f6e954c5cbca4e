//! Gaussian filtering by position and colour at once, on the permutohedral lattice.
//!
//! Adams, Baek and Davis, *Fast High-Dimensional Filtering Using the Permutohedral Lattice* (Computer
//! Graphics Forum 29, 2010). Each point's value is spread to the corners of the simplex its feature
//! lies in, blurred along the lattice's axes and gathered again: linear in the number of points,
//! where the sum over all pairs is quadratic. The kernel is a good approximation of the Gaussian of
//! standard deviation 1, not the Gaussian itself.

use std::collections::HashMap;

use rayon::prelude::*;

/// The most dimensions a feature may have: two of position and three of colour.
pub const DIMENSIONS: usize = 5;

type LatticeKey = [i16; DIMENSIONS];

/// A set of points, ready to filter any values at these points.
pub struct Lattice {
    /// Corners of a point's simplex: one more than a feature has dimensions.
    corners: usize,
    /// Number of the lattice's vertices near any point.
    vertices: usize,
    /// `[points, corners]`: a vertex and the point's barycentric weight there.
    simplices: Vec<(u32, f32)>,
    /// `[corners, vertices]`: the vertices before and behind along each axis; `vertices` if none.
    neighbours: Vec<[u32; 2]>,
}

impl Lattice {
    /// From `points` features given one after another, in units of the kernel's standard deviation.
    ///
    /// Features beyond ±4000 standard deviations are held there.
    pub fn new<const D: usize>(features: &[[f32; D]]) -> Self {
        const { assert!(D >= 1 && D <= DIMENSIONS, "1 to 5 dimensions") };
        let corners = D + 1;
        let mut found: HashMap<LatticeKey, u32> = HashMap::new();
        let mut keys: Vec<LatticeKey> = Vec::new();
        let mut simplices = Vec::with_capacity(features.len() * corners);
        let simplex: Vec<_> = features.par_iter().map(simplex).collect();
        for (corner_keys, weights) in &simplex {
            for corner in 0..corners {
                let key = corner_keys[corner];
                let vertex = *found.entry(key).or_insert_with(|| {
                    keys.push(key);
                    (keys.len() - 1) as u32
                });
                simplices.push((vertex, weights[corner]));
            }
        }
        let none = keys.len() as u32;
        let neighbours = (0..corners)
            .into_par_iter()
            .flat_map_iter(|axis| {
                let found = &found;
                keys.iter().map(move |key| {
                    [-1i16, 1].map(|sign| {
                        let mut other = *key;
                        other[..D].iter_mut().for_each(|value| *value -= sign);
                        if axis < D {
                            other[axis] = key[axis] + sign * D as i16;
                        }
                        found.get(&other).copied().unwrap_or(none)
                    })
                })
            })
            .collect();
        Self { corners, vertices: keys.len(), simplices, neighbours }
    }

    /// The kernel applied to one value a point; not normalised.
    pub fn filter(&self, values: &[f32]) -> Vec<f32> {
        // The place behind the last vertex stays 0: it is every missing neighbour.
        let mut at = vec![0.0f32; self.vertices + 1];
        for (value, simplex) in values.iter().zip(self.simplices.chunks_exact(self.corners)) {
            for (vertex, weight) in simplex {
                at[*vertex as usize] += weight * value;
            }
        }
        let mut blurred = vec![0.0f32; self.vertices + 1];
        for neighbours in self.neighbours.chunks_exact(self.vertices.max(1)) {
            for (vertex, [before, behind]) in neighbours.iter().enumerate() {
                blurred[vertex] = at[vertex] + 0.5 * (at[*before as usize] + at[*behind as usize]);
            }
            std::mem::swap(&mut at, &mut blurred);
        }
        let scale = 1.0 / (1.0 + 0.5f32.powi(self.corners as i32 - 1));
        let gathered = self.simplices.chunks_exact(self.corners);
        gathered
            .map(|simplex| {
                scale * simplex.iter().map(|(at_, w)| at[*at_ as usize] * w).sum::<f32>()
            })
            .collect()
    }
}

/// The keys and the barycentric weights of the corners of the simplex a feature lies in.
fn simplex<const D: usize>(
    feature: &[f32; D],
) -> ([LatticeKey; DIMENSIONS + 1], [f32; DIMENSIONS + 1]) {
    let corners = D + 1;
    // Onto the plane whose coordinates sum to 0, scaled so that blurring gives standard deviation 1.
    let std = corners as f32 * (2.0f32 / 3.0).sqrt();
    let mut elevated = [0.0f32; DIMENSIONS + 1];
    let mut sum = 0.0;
    for axis in (0..D).rev() {
        let scale = std / (((axis + 1) * (axis + 2)) as f32).sqrt();
        let value = feature[axis].clamp(-4e3, 4e3) * scale;
        elevated[axis + 1] = sum - (axis + 1) as f32 * value;
        sum += value;
    }
    elevated[0] = sum;
    // The nearest vertex of remainder 0, and how the differences to it are ordered.
    let mut nearest = [0i32; DIMENSIONS + 1];
    let mut excess = 0i32;
    for axis in 0..corners {
        let rounded = (elevated[axis] / corners as f32).round() as i32;
        nearest[axis] = rounded * corners as i32;
        excess += rounded;
    }
    let mut rank = [0i32; DIMENSIONS + 1];
    for first in 0..corners {
        for second in first + 1..corners {
            let lower = elevated[first] - (nearest[first] as f32)
                < elevated[second] - nearest[second] as f32;
            rank[if lower { first } else { second }] += 1;
        }
    }
    // Back onto the plane, where rounding has left it.
    let count = corners as i32;
    for axis in 0..corners {
        rank[axis] += excess;
        if rank[axis] < 0 {
            rank[axis] += count;
            nearest[axis] += count;
        } else if rank[axis] >= count {
            rank[axis] -= count;
            nearest[axis] -= count;
        }
    }
    let mut weights = [0.0f32; DIMENSIONS + 2];
    for axis in 0..corners {
        let value = (elevated[axis] - nearest[axis] as f32) / corners as f32;
        let place = (D as i32 - rank[axis]) as usize;
        weights[place] += value;
        weights[place + 1] -= value;
    }
    weights[0] += 1.0 + weights[corners];
    let keys = std::array::from_fn(|remainder| {
        let mut key = [0i16; DIMENSIONS];
        for axis in 0..D {
            let over = rank[axis] > D as i32 - remainder as i32;
            let step = remainder as i32 - if over { count } else { 0 };
            key[axis] = (nearest[axis] + step) as i16;
        }
        key
    });
    (keys, std::array::from_fn(|corner| weights[corner]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_filtered_field_is_near_the_exact_gaussian_mean() {
        let points: Vec<[f32; 3]> = (0..900)
            .map(|i| {
                let (x, y) = ((i % 30) as f32, (i / 30) as f32);
                [x / 4.0, y / 4.0, if x < 13.0 { 0.0 } else { 5.0 }]
            })
            .collect();
        let values: Vec<f32> = (0..900).map(|i| f32::from(u8::from(i % 30 < 16))).collect();
        let lattice = Lattice::new(&points);
        let norm = lattice.filter(&vec![1.0; 900]);
        let ours: Vec<f32> =
            lattice.filter(&values).iter().zip(&norm).map(|(a, b)| a / b).collect();
        let mut worst = 0.0f32;
        for (at, point) in points.iter().enumerate() {
            let (mut sum, mut weight) = (0.0, 0.0);
            for (other, value) in points.iter().zip(&values) {
                let distance: f32 = point.iter().zip(other).map(|(a, b)| (a - b) * (a - b)).sum();
                let kernel = (-0.5 * distance).exp();
                sum += kernel * value;
                weight += kernel;
            }
            worst = worst.max((ours[at] - sum / weight).abs());
        }
        assert!(worst < 0.08, "{worst}");
    }

    proptest! {
        #[test]
        fn barycentric_weights_are_a_mixture(feature in prop::array::uniform5(-300.0f32..300.0)) {
            let (_, weights) = simplex(&feature);
            let sum: f32 = weights.iter().sum();
            prop_assert!((sum - 1.0).abs() < 1e-3, "{weights:?}");
            prop_assert!(weights.iter().all(|weight| *weight > -1e-3), "{weights:?}");
        }
    }
}
