//! How good labels of whole pictures are: rejection, and intervals of shares.

pub use crate::metric::calibration::{BINS, Bin, bins, ece, grouped_ece};

/// Area under the ROC curve: how often an in-distribution score is above an
/// out-of-distribution one, ties counted half. `None` where either list is empty.
pub fn auroc(in_distribution: &[f32], out_of_distribution: &[f32]) -> Option<f64> {
    if in_distribution.is_empty() || out_of_distribution.is_empty() {
        return None;
    }
    let mut all: Vec<(f32, bool)> = in_distribution.iter().map(|&score| (score, true)).collect();
    all.extend(out_of_distribution.iter().map(|&score| (score, false)));
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut below, mut wins) = (0.0, 0.0);
    for tied in all.chunk_by(|a, b| a.0 == b.0) {
        let inside = tied.iter().filter(|(_, inside)| *inside).count() as f64;
        let outside = tied.len() as f64 - inside;
        wins += inside * (below + outside / 2.0);
        below += outside;
    }
    Some(wins / (in_distribution.len() as f64 * out_of_distribution.len() as f64))
}

/// Wilson's 95 % interval of a share: lower and upper end, 0 to 1. Unlike the normal one it stays
/// within 0 and 1 and is of use for few trials.
pub fn wilson(successes: usize, trials: usize) -> [f64; 2] {
    if trials == 0 {
        return [0.0, 1.0];
    }
    const Z: f64 = 1.959_964;
    let (n, share) = (trials as f64, successes as f64 / trials as f64);
    let centre = share + Z * Z / (2.0 * n);
    let half = Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + Z * Z / n;
    let low = if successes == 0 { 0.0 } else { (centre - half) / scale };
    let high = if successes == trials { 1.0 } else { (centre + half) / scale };
    [low, high]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn area_counts_pairs() {
        // Pairs: 3 > 2, 3 > 1, 1 < 2, 1 = 1: (1 + 1 + 0 + 0.5) / 4.
        assert_eq!(auroc(&[3.0, 1.0], &[2.0, 1.0]), Some(0.625));
        assert_eq!(auroc(&[3.0], &[]), None);
    }

    #[test]
    fn wilsons_interval() {
        // 8 of 10, as in any table of it: 0.4902 to 0.9433.
        let [low, high] = wilson(8, 10);
        assert!((low - 0.4902).abs() < 1e-4 && (high - 0.9433).abs() < 1e-4, "{low} {high}");
        assert_eq!(wilson(0, 0), [0.0, 1.0]);
        assert_eq!(wilson(5, 5)[1], 1.0);
    }
}
