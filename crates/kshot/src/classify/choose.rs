//! Which method to take, and what to expect of it: by what each says of examples it has not seen.

use std::time::Instant;

use super::Examples;
use super::calibrate::{Rows, temperature};
use super::heads::{Fitted, Method};
use crate::error::{Error, Result};
use crate::metric::recognition::wilson;

/// What a method did on examples it had not seen.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Trial {
    /// The method's name.
    pub method: String,
    /// The share of vectors' middle part.
    pub middle: f32,
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

impl Trial {
    /// Its name for people.
    pub fn name(&self) -> String {
        let with = if self.middle > 0.0 { " with middle layers" } else { "" };
        format!("{}{with}", self.method)
    }
}

/// Shares of the middle part that are tried. On groceries 0.35 gains a point or two, on ImageNet's own
/// kind of photographs it loses as much.
const MIDDLE: [f32; 2] = [0.0, 0.35];

/// What was chosen.
#[derive(Debug)]
pub struct Chosen {
    /// Every method, best first.
    pub trials: Vec<Trial>,
    /// What the best one's scores are divided by.
    pub temperature: f32,
    /// One sentence for a person.
    pub reason: String,
}

/// The method whose calibrated probabilities fit held-out examples best; the first where none can be
/// held out.
///
/// # Errors
/// If no method is given, or one cannot be fitted.
pub fn best(examples: &Examples, methods: &[Box<dyn Method>]) -> Result<(Fitted, Chosen)> {
    let measurable = examples.counts().iter().any(|count| *count > 1) && examples.classes.len() > 1;
    let tried = if measurable { methods } else { &methods[..methods.len().min(1)] };
    let shares = if measurable && examples.dimensions() > examples.late {
        &MIDDLE[..]
    } else {
        &MIDDLE[..1]
    };
    let mixed: Vec<Examples> = shares.iter().map(|share| examples.mixed(*share)).collect();
    let mut all = Vec::with_capacity(tried.len() * shares.len());
    for (method, (&middle, mixed)) in
        tried.iter().flat_map(|method| shares.iter().zip(&mixed).map(move |pair| (method, pair)))
    {
        let started = Instant::now();
        let fitted = method.fit(mixed)?;
        let held_out = &fitted.held_out;
        let labels: Vec<usize> =
            held_out.examples.iter().map(|&index| examples.labels[index]).collect();
        let rows = Rows { scores: &held_out.scores, labels: &labels };
        let (temperature, log_loss) = temperature(&rows, method.usual_temperature());
        let right = rows.scores.iter().zip(&labels).filter(|(row, label)| top(row) == **label);
        let right = right.count();
        let trial = Trial {
            method: method.name().to_owned(),
            middle,
            accuracy: measurable.then(|| right as f64 / labels.len() as f64),
            interval: measurable.then(|| wilson(right, labels.len())),
            log_loss: measurable.then_some(log_loss),
            held_out: labels.len(),
            seconds: started.elapsed().as_secs_f64(),
        };
        all.push((fitted, temperature, trial));
    }
    let key = |trial: &Trial| trial.log_loss.unwrap_or(0.0);
    all.sort_by(|a, b| key(&a.2).total_cmp(&key(&b.2)));
    let trials: Vec<Trial> = all.iter().map(|(_, _, trial)| trial.clone()).collect();
    let Some((fitted, temperature, _)) = all.into_iter().next() else {
        return Err(Error::config("no method was given to choose from"));
    };
    let reason = reason(&trials, methods.len(), examples.classes.len());
    Ok((fitted, Chosen { trials, temperature, reason }))
}

/// The class with the highest score, the first of several.
pub(crate) fn top(scores: &[f32]) -> usize {
    let mut best = 0;
    for (class, score) in scores.iter().enumerate() {
        if *score > scores[best] {
            best = class;
        }
    }
    best
}

fn reason(trials: &[Trial], methods: usize, classes: usize) -> String {
    let best = &trials[0];
    let percent = |trial: &Trial| match trial.accuracy {
        Some(accuracy) => format!("{} {:.1} %", trial.name(), 100.0 * accuracy),
        None => trial.name(),
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
    // Of each other method, the better of its two forms.
    let mut others: Vec<&Trial> = Vec::new();
    for trial in &trials[1..] {
        if trial.method != best.method && others.iter().all(|other| other.method != trial.method) {
            others.push(trial);
        }
    }
    if methods == 1 {
        return format!("{} was asked for: {expected}", best.name());
    }
    format!(
        "{} fits held-out pictures best: {expected} (others: {})",
        best.name(),
        others.into_iter().map(percent).collect::<Vec<_>>().join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classify::heads;
    use crate::classify::tests::clusters;

    #[test]
    fn all_methods_are_compared_and_the_least_loss_is_first() {
        let examples = clusters(4, 4, 16, 1.4, 8);
        let (_, chosen) = best(&examples, &heads::methods()).unwrap();
        assert_eq!(chosen.trials.len(), heads::methods().len());
        let losses: Vec<f64> = chosen.trials.iter().map(|t| t.log_loss.unwrap()).collect();
        assert!(losses.is_sorted(), "{losses:?}");
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
