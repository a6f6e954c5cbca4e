//! k-means with k-means++ starts (Lloyd 1982; Arthur and Vassilvitskii 2007), for several
//! prototypes per class.

use rand::Rng;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

/// The centres of at most `k` clusters of `rows` (`[n, width]`), `[clusters, width]`; fewer where
/// there are fewer distinct rows. Same seed, same centres.
pub fn kmeans(rows: &[f32], width: usize, k: usize, iterations: usize, seed: u64) -> Vec<f32> {
    let n = rows.len() / width;
    if n == 0 || k == 0 {
        return Vec::new();
    }
    let row = |index: usize| &rows[index * width..][..width];
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut centres = row(random.random_range(0..n)).to_vec();
    let mut nearest = vec![f32::INFINITY; n];
    while centres.len() / width < k {
        let newest = &centres[centres.len() - width..];
        nearest.par_iter_mut().enumerate().for_each(|(index, nearest)| {
            *nearest = nearest.min(squared_distance(row(index), newest));
        });
        let total: f64 = nearest.iter().map(|&d| f64::from(d)).sum();
        if total <= 1e-12 {
            break;
        }
        let mut target = random.random_range(0.0..total);
        let chosen = nearest
            .iter()
            .position(|&distance| {
                target -= f64::from(distance);
                target < 0.0
            })
            .unwrap_or(n - 1);
        centres.extend_from_slice(row(chosen));
    }
    let clusters = centres.len() / width;
    for _ in 0..iterations {
        let assigned: Vec<usize> = (0..n)
            .into_par_iter()
            .map(|index| {
                (0..clusters)
                    .map(|c| (c, squared_distance(row(index), &centres[c * width..][..width])))
                    .min_by(|a, b| a.1.total_cmp(&b.1))
                    .map_or(0, |(c, _)| c)
            })
            .collect();
        let mut sums = vec![0.0f32; clusters * width];
        let mut counts = vec![0usize; clusters];
        for (index, &cluster) in assigned.iter().enumerate() {
            counts[cluster] += 1;
            for (sum, value) in sums[cluster * width..][..width].iter_mut().zip(row(index)) {
                *sum += value;
            }
        }
        let mut moved = 0.0f32;
        for (cluster, &count) in counts.iter().enumerate() {
            if count == 0 {
                continue;
            }
            for (centre, sum) in centres[cluster * width..][..width]
                .iter_mut()
                .zip(&sums[cluster * width..][..width])
            {
                let mean = sum / count as f32;
                moved += (mean - *centre).powi(2);
                *centre = mean;
            }
        }
        if moved < 1e-8 {
            break;
        }
    }
    centres
}

fn squared_distance(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_two_clear_clusters() {
        let rows: Vec<f32> = (0..20)
            .flat_map(|i| if i % 2 == 0 { [0.0, i as f32 * 0.01] } else { [9.0, 9.0] })
            .collect();
        let mut centres = kmeans(&rows, 2, 2, 10, 7);
        if centres[0] > centres[2] {
            centres.rotate_left(2);
        }
        assert!((centres[0] - 0.0).abs() < 1e-5 && (centres[1] - 0.09).abs() < 1e-5);
        assert!((centres[2] - 9.0).abs() < 1e-5);
    }

    #[test]
    fn equal_rows_make_one_cluster() {
        assert_eq!(kmeans(&[1.0; 12], 3, 4, 5, 0), [1.0; 3]);
    }
}
