//! Calibration: scores divided by a temperature that fits held-out examples
//! (Guo et al., *On Calibration of Modern Neural Networks*, 2017, <https://arxiv.org/abs/1706.04599>).

/// Scores with their right classes.
#[derive(Debug, Clone, Copy)]
pub struct LabelledScores<'a> {
    /// A row an example, a score a class.
    pub scores: &'a [Vec<f32>],
    /// The right class of each.
    pub labels: &'a [usize],
}

/// How many rows have their highest score at the right class (the first of several that are highest).
pub fn right(rows: &LabelledScores<'_>) -> usize {
    let top = |scores: &[f32]| {
        let mut best = 0;
        for (class, score) in scores.iter().enumerate() {
            if *score > scores[best] {
                best = class;
            }
        }
        best
    };
    rows.scores.iter().zip(rows.labels).filter(|(scores, label)| top(scores) == **label).count()
}

/// How many examples' worth the usual temperature counts: with a handful of examples, all right, the
/// best temperature would be zero and every probability 1.
const PRIOR: f64 = 4.0;
/// Spread of the prior, as a factor.
const SPREAD: f64 = 2.0;
/// Temperatures tried, as factors of the usual one.
const FACTORS: [f64; 2] = [1e-2, 1e2];
const STEPS: usize = 60;

/// The temperature under which the right classes are likeliest, drawn towards the `usual` one where
/// examples are few, and the mean negative log-likelihood with it (0 without examples).
pub fn temperature(rows: &LabelledScores<'_>, usual: f32) -> (f32, f64) {
    let usual = f64::from(usual);
    if rows.labels.is_empty() {
        return (usual as f32, 0.0);
    }
    let count = rows.labels.len() as f64;
    let objective = |logarithm: f64| {
        let away = (logarithm / SPREAD.ln()).powi(2) / 2.0;
        loss(rows, usual * logarithm.exp()) + PRIOR * away / count
    };
    // By golden section: the likelihood has one maximum in the inverse temperature.
    let golden = (5f64.sqrt() - 1.0) / 2.0;
    let [mut low, mut high] = FACTORS.map(f64::ln);
    let (mut a, mut b) = (high - golden * (high - low), low + golden * (high - low));
    let (mut at_a, mut at_b) = (objective(a), objective(b));
    for _ in 0..STEPS {
        if at_a < at_b {
            (high, b, at_b) = (b, a, at_a);
            a = high - golden * (high - low);
            at_a = objective(a);
        } else {
            (low, a, at_a) = (a, b, at_b);
            b = low + golden * (high - low);
            at_b = objective(b);
        }
        if high - low < 1e-3 {
            break;
        }
    }
    let found = usual * ((low + high) / 2.0).exp();
    (found as f32, loss(rows, found))
}

/// Mean negative log-likelihood at a temperature.
fn loss(rows: &LabelledScores<'_>, temperature: f64) -> f64 {
    let total: f64 = rows
        .scores
        .iter()
        .zip(rows.labels)
        .map(|(scores, &label)| {
            let highest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let sum: f64 =
                scores.iter().map(|score| (f64::from(score - highest) / temperature).exp()).sum();
            sum.ln() - f64::from(scores[label] - highest) / temperature
        })
        .sum();
    total / rows.labels.len().max(1) as f64
}

/// Scores as probabilities, which sum to 1.
pub fn probabilities(scores: &[f32], temperature: f32) -> Vec<f32> {
    let highest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut all: Vec<f32> = scores.iter().map(|s| ((s - highest) / temperature).exp()).collect();
    let sum: f32 = all.iter().sum();
    all.iter_mut().for_each(|value| *value /= sum);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_temperature_that_made_the_scores_is_found() {
        // Two classes, logits +1 or -1 for the first, right with the probability of a logit of 2.
        let share = 1.0 / (1.0 + (-2.0f64).exp());
        let right = (10_000.0 * share) as usize;
        let scores = vec![vec![1.0f32, -1.0]; 10_000];
        let labels: Vec<usize> = (0..10_000).map(|index| usize::from(index >= right)).collect();
        let (found, _) = temperature(&LabelledScores { scores: &scores, labels: &labels }, 0.3);
        assert!((found - 1.0).abs() < 0.01, "{found}");
    }

    #[test]
    fn a_few_examples_that_are_all_right_do_not_make_certainty() {
        let scores = vec![vec![0.9f32, 0.4]; 4];
        let (found, _) = temperature(&LabelledScores { scores: &scores, labels: &[0; 4] }, 0.1);
        assert!(found > 0.03, "{found}");
        let none = temperature(&LabelledScores { scores: &[], labels: &[] }, 0.1);
        assert_eq!(none, (0.1, 0.0));
    }

    #[test]
    fn probabilities_sum_to_one() {
        let all = probabilities(&[1e4, 0.0, -1e4], 0.5);
        assert_eq!(all, [1.0, 0.0, 0.0]);
        let half = probabilities(&[3.0, 3.0], 0.1);
        assert_eq!(half, [0.5, 0.5]);
    }
}
