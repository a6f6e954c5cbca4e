//! Which method to take, and what to expect of it: by what each says of examples it has not seen.

use std::time::Instant;

use crate::classify::LabelledVectors;
use crate::classify::calibrate::{LabelledScores, right, temperature};
use crate::classify::heads::{ClassificationHead, ClassificationMethod};
use crate::classify::held_out::{self, ExampleFolds, HeldOutScores};
use crate::classify::out_of_distribution;
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

/// What to expect of new pictures of the classes: the choice is made anew for each fold, by the others.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct ExpectedAccuracy {
    /// Share of held-out examples whose class was found, 0 to 1.
    pub accuracy: f64,
    /// Its 95 % interval over examples (Wilson's).
    pub interval: [f64; 2],
    /// Held-out examples.
    pub held_out: usize,
}

/// What was chosen.
pub struct Chosen {
    /// Fitted to all examples.
    pub head: Box<dyn ClassificationHead>,
    /// What its like says of held-out examples.
    pub held_out: HeldOutScores,
    /// Every method, the one taken first, then the best.
    pub trials: Vec<Trial>,
    /// Similarity of examples of classes that were left out, ascending; none of fewer than three classes.
    pub out_of_distribution: Vec<f32>,
    /// What to expect; `None` where no example could be held out.
    pub expected: Option<ExpectedAccuracy>,
    /// What its scores are divided by.
    pub temperature: f32,
    /// One sentence for a person.
    pub reason: String,
}

/// A method's held-out scores.
struct Judged<'a> {
    method: &'a dyn ClassificationMethod,
    by_penalty: Vec<HeldOutScores>,
    seconds: f64,
}

/// How a method does with its best penalty on some of the held-out examples.
struct Outcome {
    method: usize,
    penalty: usize,
    right: usize,
    held_out: usize,
    loss: f64,
    temperature: f32,
}

impl Outcome {
    fn accuracy(&self) -> f64 {
        self.right as f64 / self.held_out.max(1) as f64
    }
}

impl Judged<'_> {
    /// With the penalty that finds most of the examples for which `counted` holds, and then likeliest.
    fn outcome(
        &self,
        method: usize,
        examples: &LabelledVectors,
        counted: &dyn Fn(usize) -> bool,
    ) -> Outcome {
        let with = |(penalty, held_out): (usize, &HeldOutScores)| {
            let rows = held_out.examples.iter().zip(&held_out.scores);
            let some = rows.filter(|(example, _)| counted(**example));
            let (labels, scores): (Vec<usize>, Vec<Vec<f32>>) =
                some.map(|(&example, row)| (examples.labels[example], row.clone())).unzip();
            let rows = LabelledScores { scores: &scores, labels: &labels };
            let (temperature, loss) = temperature(&rows, self.method.usual_temperature());
            let (right, held_out) = (right(&rows), labels.len());
            Outcome { method, penalty, right, held_out, loss, temperature }
        };
        let better = |best: Outcome, next: Outcome| {
            if (next.right, -next.loss) > (best.right, -best.loss) { next } else { best }
        };
        let all = self.by_penalty.iter().enumerate().map(with).reduce(better);
        all.unwrap_or(Outcome {
            method,
            penalty: 0,
            right: 0,
            held_out: 0,
            loss: 0.0,
            temperature: self.method.usual_temperature(),
        })
    }
}

/// All methods by the examples for which `counted` holds, the one to take first and then the best: the first, in their
/// order, that finds the class of as many as the best one, within a standard error (Breiman et al., *Classification and
/// Regression Trees*, 1984): smaller differences are chance.
fn ranked(
    judged: &[Judged<'_>],
    examples: &LabelledVectors,
    counted: &dyn Fn(usize) -> bool,
) -> Vec<Outcome> {
    let all = judged.iter().enumerate().map(|(at, of)| of.outcome(at, examples, counted));
    let mut all: Vec<Outcome> = all.collect();
    // Of equally accurate ones, that whose probabilities fit best.
    all.sort_by(|a, b| b.right.cmp(&a.right).then(a.loss.total_cmp(&b.loss)));
    let Some(best) = all.first() else { return all };
    let most = best.accuracy();
    let enough = most - (most * (1.0 - most) / best.held_out.max(1) as f64).sqrt();
    let good = all.iter().enumerate().filter(|(_, one)| one.accuracy() >= enough);
    if let Some((at, _)) = good.min_by_key(|(_, one)| one.method) {
        all[..=at].rotate_right(1);
    }
    all
}

/// The method to take; the very first with its usual penalty where no example can be held out.
///
/// # Errors
/// If no method is given, or one cannot be fitted.
pub fn best(
    examples: &LabelledVectors,
    methods: &[Box<dyn ClassificationMethod>],
) -> Result<Chosen> {
    let Some(first) = methods.first() else {
        return Err(Error::config("no method was given to choose from"));
    };
    let folds = ExampleFolds::new(examples);
    if folds.count == 0 || examples.classes.len() == 1 {
        return unmeasured(first.as_ref(), examples, methods.len(), &folds);
    }
    let mut judged = Vec::with_capacity(methods.len());
    for method in methods {
        let started = Instant::now();
        let method = method.as_ref();
        let by_penalty = held_out::scores(method, examples, &folds)?;
        judged.push(Judged { method, by_penalty, seconds: started.elapsed().as_secs_f64() });
    }
    let ranking = ranked(&judged, examples, &|_| true);
    let trial = |of: &Outcome| Trial {
        method: judged[of.method].method.name().to_owned(),
        accuracy: Some(of.accuracy()),
        interval: Some(wilson(of.right, of.held_out)),
        log_loss: Some(of.loss),
        held_out: of.held_out,
        seconds: judged[of.method].seconds,
    };
    let trials: Vec<Trial> = ranking.iter().map(trial).collect();
    let expected = nested(&judged, examples, &folds);
    let taken = &ranking[0];
    let method = judged[taken.method].method;
    let penalty = method.penalties()[taken.penalty];
    Ok(Chosen {
        head: one(method, examples, penalty)?,
        held_out: judged[taken.method].by_penalty[taken.penalty].clone(),
        reason: reason(&trials, &expected),
        trials,
        out_of_distribution: out_of_distribution::similarities(
            method,
            penalty,
            examples,
            taken.temperature,
        )?,
        expected: Some(expected),
        temperature: taken.temperature,
    })
}

/// What the choice by all other folds makes of each.
fn nested(
    judged: &[Judged<'_>],
    examples: &LabelledVectors,
    folds: &ExampleFolds,
) -> ExpectedAccuracy {
    let (mut found, mut held_out) = (0, 0);
    for fold in 0..folds.count {
        let choice = ranked(judged, examples, &|example| folds.of[example] != Some(fold));
        let Outcome { method, penalty, .. } = choice[0];
        let rows = &judged[method].by_penalty[penalty];
        let rows = rows.examples.iter().zip(&rows.scores);
        let here = rows.filter(|(example, _)| folds.of[**example] == Some(fold));
        let (labels, scores): (Vec<usize>, Vec<Vec<f32>>) =
            here.map(|(&example, row)| (examples.labels[example], row.clone())).unzip();
        found += right(&LabelledScores { scores: &scores, labels: &labels });
        held_out += labels.len();
    }
    let accuracy = found as f64 / held_out.max(1) as f64;
    ExpectedAccuracy { accuracy, interval: wilson(found, held_out), held_out }
}

/// The first method, where nothing can be compared: with its usual penalty; what can be held out serves to reject.
fn unmeasured(
    method: &dyn ClassificationMethod,
    examples: &LabelledVectors,
    methods: usize,
    folds: &ExampleFolds,
) -> Result<Chosen> {
    let started = Instant::now();
    let head = one(method, examples, method.usual_penalty())?;
    let by_penalty = held_out::scores(method, examples, folds)?;
    let trial = Trial {
        method: method.name().to_owned(),
        accuracy: None,
        interval: None,
        log_loss: None,
        held_out: by_penalty.first().map_or(0, |of| of.examples.len()),
        seconds: started.elapsed().as_secs_f64(),
    };
    let taken = if methods == 1 { "was asked for" } else { "is the usual choice" };
    let why = match examples.classes.len() {
        1 => "with a single class there is nothing to choose between",
        _ => {
            "with one picture a class there is none to hold out, so methods were not compared and what to expect is not \
             known: a second picture tells"
        }
    };
    Ok(Chosen {
        head,
        held_out: by_penalty.into_iter().next().unwrap_or_default(),
        reason: format!("{} {taken}; {why}", method.name()),
        trials: vec![trial],
        out_of_distribution: out_of_distribution::similarities(
            method,
            method.usual_penalty(),
            examples,
            method.usual_temperature(),
        )?,
        expected: None,
        temperature: method.usual_temperature(),
    })
}

fn one(
    method: &dyn ClassificationMethod,
    examples: &LabelledVectors,
    penalty: f64,
) -> Result<Box<dyn ClassificationHead>> {
    let mut heads = method.fit(examples, &[penalty])?;
    heads.pop().ok_or_else(|| Error::config(format!("{} fitted no head", method.name())))
}

fn reason(trials: &[Trial], expected: &ExpectedAccuracy) -> String {
    let best = &trials[0].method;
    let [low, high] = expected.interval;
    let told = format!(
        "{:.1} % ({:.1} to {:.1}) of {} held-out pictures right",
        100.0 * expected.accuracy,
        100.0 * low,
        100.0 * high,
        expected.held_out
    );
    let percent =
        |trial: &Trial| format!("{} {:.1} %", trial.method, 100.0 * trial.accuracy.unwrap_or(0.0));
    match &trials[1..] {
        [] => format!("{best} was asked for: {told}"),
        _ => format!(
            "{best} is as good as any on held-out pictures, within a standard error: {told} by choices made without \
             them ({})",
            trials.iter().map(percent).collect::<Vec<_>>().join(", ")
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
        let chosen = best(&examples, &heads::methods()).unwrap();
        assert_eq!(chosen.trials.len(), heads::methods().len());
        let rates: Vec<f64> = chosen.trials.iter().map(|t| t.accuracy.unwrap()).collect();
        assert!(rates[1..].is_sorted_by(|a, b| a >= b), "{rates:?}");
        let most = rates.iter().copied().fold(0.0, f64::max);
        assert!(rates[0] >= most - (most * (1.0 - most) / 16.0).sqrt(), "{rates:?}");
        assert!(chosen.trials.iter().all(|trial| trial.held_out == 16));
        assert!(chosen.reason.contains("of 16 held-out pictures"), "{}", chosen.reason);
        let one = best(&examples, &heads::by_name("simple-shot").unwrap()).unwrap();
        assert!(one.reason.starts_with("simple-shot was asked for: "), "{}", one.reason);
    }

    /// Vectors that say nothing of their classes are told from by chance, whatever the head: 50 % of two classes.
    #[test]
    fn random_labels_are_expected_at_chance() {
        for method in heads::methods() {
            let (mut found, mut held_out) = (0.0, 0);
            for seed in 0..30 {
                // Each vector is a cluster of its own.
                let mut examples = clusters(12, 1, 64, 0.0, seed);
                examples.classes = vec!["a".into(), "b".into()];
                examples.labels = (0..12).map(|example| example % 2).collect();
                let chosen = best(&examples, &heads::by_name(method.name()).unwrap()).unwrap();
                let expected = chosen.expected.unwrap();
                found += expected.accuracy * expected.held_out as f64;
                held_out += expected.held_out;
            }
            let accuracy = found / held_out as f64;
            assert!((accuracy - 0.5).abs() < 0.09, "{} expects {accuracy}", method.name());
        }
    }

    /// The same of the choice among all heads, whose best figure is above chance by luck.
    #[test]
    fn the_choice_is_not_judged_by_what_chose_it() {
        let (mut nested, mut highest) = (0.0, 0.0);
        for seed in 0..30 {
            let mut examples = clusters(12, 1, 64, 0.0, seed);
            examples.classes = vec!["a".into(), "b".into()];
            examples.labels = (0..12).map(|example| example % 2).collect();
            let chosen = best(&examples, &heads::methods()).unwrap();
            nested += chosen.expected.unwrap().accuracy / 30.0;
            let of = |trial: &Trial| trial.accuracy.unwrap();
            highest += chosen.trials.iter().map(of).fold(0.0, f64::max) / 30.0;
        }
        assert!((nested - 0.5f64).abs() < 0.09, "{nested}");
        assert!(highest > nested, "{highest} {nested}");
    }

    #[test]
    fn a_misspelt_method_is_answered_with_the_nearest() {
        let error = heads::by_name("prototpye").err().unwrap().to_string();
        assert!(error.contains("`prototype`"), "{error}");
    }
}
