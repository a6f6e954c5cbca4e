//! Which pictures to label next: those that tell most of the others.
//!
//! A label on a picture helps pictures like it. So one after the other that picture is taken which brings the doubtful
//! ones nearest to a labelled picture: the greedy maximum of a facility location weighted by doubt (Wei et al.,
//! *Submodularity in Data Subset Selection and Active Learning*, ICML 2015). The least certain alone would be outliers,
//! and alike.

/// A picture that could be labelled.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct QueryPicture {
    /// How wrong its mask is likely to be, 0 to 1.
    pub doubt: f32,
    /// How far it is from the nearest labelled picture.
    pub distance: f32,
    /// Where it lies among others, in the same unit; empty where nothing is known of it.
    pub position: Vec<f32>,
}

/// Farther than this is only far: a picture like no other would else count for a hundred.
const FAR: f32 = 3.0;
/// Pictures that are looked at of large folders: the most doubtful ones to take, and others to stand for all.
const CANDIDATES: usize = 500;
const COVERED: usize = 2_000;

/// The places of `most` pictures at most, the one to label first first.
pub fn suggest(pictures: &[QueryPicture], most: usize) -> Vec<usize> {
    let mut doubtful: Vec<usize> = (0..pictures.len()).collect();
    doubtful.sort_by(|&a, &b| pictures[b].doubt.total_cmp(&pictures[a].doubt));
    doubtful.truncate(CANDIDATES);
    let step = pictures.len().div_ceil(COVERED).max(1);
    let covered: Vec<usize> = (0..pictures.len()).step_by(step).collect();
    let mut near: Vec<f32> = covered.iter().map(|&at| pictures[at].distance.min(FAR)).collect();
    let mut suggested = Vec::new();
    while suggested.len() < most {
        let gain = |&candidate: &usize| -> f32 {
            let gains = covered.iter().zip(&near).map(|(&other, near)| {
                let distance = distance(pictures, candidate, other);
                pictures[other].doubt * (near - distance).max(0.0)
            });
            gains.sum()
        };
        let left = doubtful.iter().filter(|place| !suggested.contains(*place));
        // Of equal ones the more doubtful: the first.
        let best = left
            .map(|place| (*place, gain(place)))
            .reduce(|best, next| if next.1 > best.1 { next } else { best });
        let Some((place, _)) = best else { break };
        suggested.push(place);
        for (near, &other) in near.iter_mut().zip(&covered) {
            *near = near.min(distance(pictures, place, other));
        }
    }
    suggested
}

fn distance(pictures: &[QueryPicture], one: usize, other: usize) -> f32 {
    if one == other {
        return 0.0;
    }
    let (one, other) = (&pictures[one].position, &pictures[other].position);
    if one.is_empty() || one.len() != other.len() {
        return FAR;
    }
    one.iter().zip(other).map(|(a, b)| (a - b).powi(2)).sum::<f32>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(doubt: f32, distance: f32, position: &[f32]) -> QueryPicture {
        QueryPicture { doubt, distance, position: position.to_vec() }
    }

    #[test]
    fn a_group_of_doubtful_pictures_comes_before_a_single_one_and_is_taken_once() {
        let pictures = [
            at(0.9, 2.0, &[9.0, 0.0]),
            at(0.6, 2.0, &[0.1, 0.0]),
            at(0.6, 2.0, &[0.0, 0.0]),
            at(0.6, 2.0, &[-0.1, 0.0]),
            at(0.1, 0.1, &[0.0, 5.0]),
        ];
        assert_eq!(suggest(&pictures, 2), [2, 0]);
        assert_eq!(suggest(&pictures, 9).len(), 5);
        assert!(suggest(&[], 3).is_empty());
    }

    #[test]
    fn without_positions_the_most_doubtful_come_first() {
        let pictures = [at(0.2, 1.0, &[]), at(0.8, 1.0, &[]), at(0.5, 1.0, &[])];
        assert_eq!(suggest(&pictures, 3), [1, 2, 0]);
    }
}
