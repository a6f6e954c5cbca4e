//! Which method to take, and what to expect of it: by what each says of examples it has not seen.

use std::time::Instant;

use crate::classify::LabelledVectors;
use crate::classify::calibrate::{LabelledScores, right, temperature};
use crate::classify::heads::{ClassificationMethod, FittedClassifier};
use crate::error::{Error, Result};
use crate::metric::recognition::wilson;

/// What a method did on examples it had not seen.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Trial {
    /// The method's name.
    pub method: String,
    /// Share of held-out examples whose class was found, 0 to 1; `None` where none could be held out.
    pub accuracy: Option<f64>,
    /// Its 95 % interval (Wilson's).
    pub interval: Option<[f64; 2]>,
    /// Mean negative log-likelihood of the held-out examples' classes, calibrated.
    pub log_loss: Option<f64>,
    /// Held-out examples.
    pub held_out: usize,
    /// Seconds to fit and judge.
    pub seconds: f64,
}

/// What was chosen.
#[derive(Debug)]
pub struct Chosen {
    /// Every method, the one taken first, then the best.
    pub trials: Vec<Trial>,
    /// What the best one's scores are divided by.
    pub temperature: f32,
    /// One sentence for a person.
    pub reason: String,
}

/// The first method in their order that finds the class of as many held-out examples as the best one,
/// within a standard error (Breiman et al., *Classification and Regression Trees*, 1984): smaller
/// differences are chance. The very first where none can be held out.
///
/// # Errors
/// If no method is given, or one cannot be fitted.
pub fn best(
    examples: &LabelledVectors,
    methods: &[Box<dyn ClassificationMethod>],
) -> Result<(FittedClassifier, Chosen)> {
    let measurable = examples.counts().iter().any(|count| *count > 1) && examples.classes.len() > 1;
    let tried = if measurable { methods } else { &methods[..methods.len().min(1)] };
    let mut all = Vec::with_capacity(tried.len());
    for method in tried {
        let started = Instant::now();
        let fitted = method.fit(examples)?;
        let held_out = &fitted.held_out;
        let labels: Vec<usize> =
            held_out.examples.iter().map(|&index| examples.labels[index]).collect();
        let rows = LabelledScores { scores: &held_out.scores, labels: &labels };
        let (temperature, log_loss) = temperature(&rows, method.usual_temperature());
        let right = right(&rows);
        let trial = Trial {
            method: method.name().to_owned(),
            accuracy: measurable.then(|| right as f64 / labels.len() as f64),
            interval: measurable.then(|| wilson(right, labels.len())),
            log_loss: measurable.then_some(log_loss),
            held_out: labels.len(),
            seconds: started.elapsed().as_secs_f64(),
        };
        all.push((fitted, temperature, trial));
    }
    // Of equally accurate ones, that whose probabilities fit best.
    all.sort_by(|(_, _, a), (_, _, b)| {
        let key = |trial: &Trial| (trial.accuracy.unwrap_or(0.0), -trial.log_loss.unwrap_or(0.0));
        let (a, b) = (key(a), key(b));
        b.0.total_cmp(&a.0).then(b.1.total_cmp(&a.1))
    });
    prefer(&mut all, methods);
    let trials: Vec<Trial> = all.iter().map(|(_, _, trial)| trial.clone()).collect();
    let Some((fitted, temperature, _)) = all.into_iter().next() else {
        return Err(Error::config("no method was given to choose from"));
    };
    let reason = reason(&trials, methods.len(), examples.classes.len());
    Ok((fitted, Chosen { trials, temperature, reason }))
}

/// Puts the first method, in their order, that is within a standard error of the best before the others.
fn prefer(all: &mut [(FittedClassifier, f32, Trial)], methods: &[Box<dyn ClassificationMethod>]) {
    let Some(most) = all.first().and_then(|(_, _, trial)| trial.accuracy) else { return };
    let Some(count) = all.first().map(|(_, _, trial)| trial.held_out.max(1) as f64) else { return };
    let enough = most - (most * (1.0 - most) / count).sqrt();
    let good = |name: &str| {
        all.iter().position(|(_, _, trial)| {
            trial.method == name && trial.accuracy.is_some_and(|accuracy| accuracy >= enough)
        })
    };
    if let Some(at) = methods.iter().find_map(|method| good(method.name())) {
        all[..=at].rotate_right(1);
    }
}

fn reason(trials: &[Trial], methods: usize, classes: usize) -> String {
    let best = &trials[0];
    let percent = |trial: &Trial| match trial.accuracy {
        Some(accuracy) => format!("{} {:.1} %", trial.method, 100.0 * accuracy),
        None => trial.method.clone(),
    };
    let (Some(accuracy), Some([low, high])) = (best.accuracy, best.interval) else {
        let taken = match methods {
            1 => "was asked for",
            _ => "is the usual choice",
        };
        let why = match classes {
            1 => "with a single class there is nothing to choose between",
            _ => {
                "with one picture a class there is none to hold out, so methods were not compared and \
                 what to expect is not known: a second picture tells"
            }
        };
        return format!("{} {taken}; {why}", best.method);
    };
    let expected = format!(
        "{:.1} % ({:.1} to {:.1}) of {} held-out pictures right",
        100.0 * accuracy,
        100.0 * low,
        100.0 * high,
        best.held_out
    );
    match &trials[1..] {
        [] => format!("{} was asked for: {expected}", best.method),
        others => format!(
            "{} is as good as any on held-out pictures, within a standard error: {expected} (others: {})",
            best.method,
            others.iter().map(percent).collect::<Vec<_>>().join(", ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classify::heads;
    use crate::classify::tests::clusters;

    #[test]
    fn all_methods_are_compared_and_one_as_good_as_the_best_is_first() {
        let examples = clusters(4, 4, 16, 1.4, 8);
        let (_, chosen) = best(&examples, &heads::methods()).unwrap();
        assert_eq!(chosen.trials.len(), heads::methods().len());
        let rates: Vec<f64> = chosen.trials.iter().map(|t| t.accuracy.unwrap()).collect();
        assert!(rates[1..].is_sorted_by(|a, b| a >= b), "{rates:?}");
        let most = rates.iter().copied().fold(0.0, f64::max);
        assert!(rates[0] >= most - (most * (1.0 - most) / 16.0).sqrt(), "{rates:?}");
        assert!(chosen.trials.iter().all(|trial| trial.held_out == 16));
        assert!(chosen.reason.contains("of 16 held-out pictures"), "{}", chosen.reason);
        let (_, one) = best(&examples, &heads::by_name("simple-shot").unwrap()).unwrap();
        assert!(one.reason.starts_with("simple-shot was asked for: "), "{}", one.reason);
    }

    #[test]
    fn a_misspelt_method_is_answered_with_the_nearest() {
        let error = heads::by_name("prototpye").err().unwrap().to_string();
        assert!(error.contains("`prototype`"), "{error}");
    }
}
