//! What a job tells, as lines for people.

use std::fmt;
use std::path::Path;

use crate::job::event::{Done, Event, FitEvent, PictureEvent, Start};
use crate::names::{self, counted};
use crate::predict::progress::FitStep;
use crate::report::curve_html::CURVE_PAGE;
use crate::report::training_html::TRAINING_PAGE;
use crate::train::curve::CurvePoint;
use crate::train::curve::EarlyEnd;
use crate::train::run::Trained;

/// A metric for people: a rate in percent, the loss as it is.
fn shown(name: &str, value: f64) -> String {
    if name == "loss" {
        format!("loss {value:.4}")
    } else {
        format!("{name} {:.2} %", 100.0 * value)
    }
}

fn validated(point: &CurvePoint, validations: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let left =
        point.seconds / point.number as f64 * validations.saturating_sub(point.number) as f64;
    let few = ["loss", "accuracy", "mean_iou", "pixel_accuracy"];
    let of = |metrics: &std::collections::BTreeMap<String, f64>| -> String {
        let some = few.iter().filter_map(|name| Some(shown(name, *metrics.get(*name)?)));
        some.collect::<Vec<_>>().join(", ")
    };
    write!(
        f,
        "validation {}/{validations}, step {}: training {}; validation {}; {:.0} s, about {left:.0} s left",
        point.number,
        point.step,
        of(&point.train),
        of(&point.validation),
        point.seconds,
    )
}

impl fmt::Display for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(start) => start.fmt(f),
            Self::Warning { message } => write!(f, "warning: {message}"),
            Self::Progress { done, total } => write!(f, "{done} of {total}"),
            Self::Validation { point, validations } => validated(point, *validations, f),
            Self::Measuring { pictures } => write!(
                f,
                "measuring the best parameters on {} for {TRAINING_PAGE}",
                counted(*pictures, "validation picture", "validation pictures")
            ),
            Self::AtHand(step) | Self::Tried(step) => tried(step, f),
            Self::Fitted(fitted) => fitted.fmt(f),
            Self::Bf16 { cost } => cost.fmt(f),
            Self::Tuning { kernels, folder } => {
                let kernels = counted(*kernels, "kernel", "kernels");
                let folder = folder.display();
                write!(
                    f,
                    "tuning for this GPU, once: {kernels} so far; the next run takes them from {folder}"
                )
            }
            Self::Picture(picture) => picture.fmt(f),
            Self::Failed { file, error } => write!(f, "failed: {file}: {error}"),
            Self::Judged { judgement } => judgement.fmt(f),
            Self::Sorted { how, pictures, folder, undo } => {
                write!(f, "{pictures} {how} into {}", folder.display())?;
                match undo {
                    Some(list) => {
                        write!(f, "; `kshot classify --undo {}` puts them back", list.display())
                    }
                    None => Ok(()),
                }
            }
            Self::PutBack { pictures, before, left, list } => {
                write!(f, "{} put back", counted(*pictures, "picture", "pictures"))?;
                if *before > 0 {
                    write!(f, ", {before} where it came from before")?;
                }
                match left {
                    0 => Ok(()),
                    left => write!(f, ", {left} not; these stay in {}", list.display()),
                }
            }
            Self::Added { class, pictures, known, of_class, classes } => {
                let classes = counted(*classes, "class", "classes");
                let added = counted(*pictures, "picture", "pictures");
                if pictures == of_class {
                    return write!(f, "{class} added from {added}; {classes}");
                }
                write!(f, "{added} added to {class}, {of_class} now")?;
                if *known > 0 {
                    let was = counted(*known, "was", "were");
                    write!(f, "; {was} there already, and passed over")?;
                }
                write!(f, "; {classes}")
            }
            Self::Dropped { class, classes, .. } => {
                write!(f, "{class} dropped; {}", counted(*classes, "class stays", "classes stay"))
            }
            Self::Done(done) => done.fmt(f),
        }
    }
}

fn tried(step: &FitStep, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match step {
        FitStep::Seeing { pictures } => {
            let pictures = counted(*pictures, "labelled picture", "labelled pictures");
            write!(f, "looking at {pictures}")
        }
        FitStep::Trying { method, candidate, candidates } => {
            write!(f, "trying {method} ({candidate} of {candidates})")
        }
        FitStep::Tried { method, scale, mean_iou, tried, candidates } => write!(
            f,
            "tried {method} at {scale:.2} of the size ({tried} of {candidates}): held-out IoU {:.1} %",
            100.0 * mean_iou
        ),
        FitStep::Fitting { methods: 1 } => f.write_str("fitting the chosen method to all labels"),
        FitStep::Fitting { methods } => {
            write!(f, "fitting the {methods} chosen methods to all labels")
        }
    }
}

impl fmt::Display for Start<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Segment { pictures, skipped, labelled: 0, .. } => {
                let pictures = counted(*pictures, "picture", "pictures");
                write!(f, "{pictures} to segment, {skipped} already finished")
            }
            Self::Segment { pictures, skipped, labelled, classes } => {
                write!(
                    f,
                    "{} of {} ({}); {} to segment, {skipped} already finished",
                    counted(*labelled, "labelled picture", "labelled pictures"),
                    counted(classes.len(), "class", "classes"),
                    names::classes(classes, classes.len()),
                    counted(*pictures, "picture", "pictures")
                )
            }
            Self::Classify { pictures, skipped, .. } => {
                let pictures = counted(*pictures, "picture", "pictures");
                write!(f, "{pictures} to label, {skipped} already looked at")
            }
            Self::Run { pictures, classes, method, shots } => {
                let ways = classes.len();
                let pictures = counted(*pictures, "picture", "pictures");
                write!(f, "{method}: {pictures} to label, {ways}-way {shots}-shot")
            }
            Self::Train { title, about, parameters, steps, out } => write!(
                f,
                "{title}: {parameters} parameters, {about}, {}; in {}",
                counted(*steps, "step", "steps"),
                out.display()
            ),
        }
    }
}

impl fmt::Display for FitEvent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Segment { choice, objects, seconds } => {
                write!(f, "{}", choice.reason)?;
                if let Some(objects) = objects {
                    write!(f, "; {objects}")?;
                }
                write!(f, " ({seconds:.1} s)")
            }
            Self::Classify { choice, seconds, labelled, classes } => write!(
                f,
                "{} of {}; {}; {} ({seconds:.1} s)",
                counted(*labelled, "labelled picture", "labelled pictures"),
                counted(*classes, "class", "classes"),
                choice.reason,
                choice.rejection.how
            ),
        }
    }
}

impl fmt::Display for PictureEvent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Segmented { file, confidence, objects, flags, seconds, .. } => {
                let flags = flags.join(", ");
                write!(f, "{file}: ")?;
                if let Some(objects) = objects {
                    write!(f, "{}, ", counted(*objects, "object", "objects"))?;
                }
                write!(f, "confidence {confidence:.2} {flags} ({seconds:.2} s)")
            }
            Self::Classified { file, class, probability, accepted, .. } => {
                let none = if *accepted { "" } else { " (none of these)" };
                write!(f, "{file}: {class} {probability:.2}{none}")
            }
        }
    }
}

/// Before what a stopped job did, and after it.
const STOPPED: &str = "stopped: ";
const GO_ON: &str = "; the same command goes on from here";

impl fmt::Display for Done<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing { .. } => f.write_str("nothing to do; --force does it again"),
            Self::Segment { done, skipped, failed, objects, seconds, report, cancelled } => {
                f.write_str(if *cancelled { STOPPED } else { "" })?;
                write!(f, "{done} done, {skipped} skipped, {failed} failed in {seconds:.1} s")?;
                if let Some(objects) = objects {
                    write!(f, "; {} in all", counted(*objects, "object", "objects"))?;
                }
                if let Some(report) = report {
                    write!(f, "; look at {}", report.display())?;
                }
                f.write_str(if *cancelled { GO_ON } else { "" })
            }
            Self::Classify { done, skipped, failed, seconds, cancelled: true, .. } => write!(
                f,
                "{STOPPED}{done} looked at, {skipped} before, {failed} failed in {seconds:.1} s{GO_ON}"
            ),
            Self::Classify { failed, accepted, none_of_these, seconds, labels, report, .. } => {
                let labelled = accepted + none_of_these;
                write!(
                    f,
                    "{labelled} labelled, {accepted} accepted, {none_of_these} none of these, \
                     {failed} failed in {seconds:.1} s"
                )?;
                files(f, *labels, *report)
            }
            Self::Run { done, failed, seconds, cancelled: true, .. } => write!(
                f,
                "{STOPPED}{done} looked at, {failed} failed in {seconds:.1} s; nothing is written"
            ),
            Self::Run { done, failed, accuracy, known, seconds, labels, report, .. } => {
                write!(f, "{done} labelled")?;
                if let Some(share) = accuracy {
                    write!(f, ", {:.1} % of {known} known ones right", 100.0 * share)?;
                }
                write!(f, ", {failed} failed in {seconds:.1} s")?;
                files(f, *labels, *report)
            }
            Self::Train { trained, out, seconds, report, report_seconds } => {
                let Trained { monitor, best, last, interrupted, early_end } = trained;
                let value = shown(monitor, best.monitored(monitor));
                f.write_str(if *interrupted { STOPPED } else { "" })?;
                write!(f, "best validation {value} at step {}; {seconds:.0} s", best.step)?;
                match (report, report_seconds) {
                    (Some(report), Some(seconds)) if !*interrupted => {
                        write!(
                            f,
                            " ({seconds:.1} s of it for the report); look at {}",
                            report.display()
                        )?;
                    }
                    (Some(report), _) => write!(f, "; look at {}", report.display())?,
                    (None, _) => write!(f, "; look at {}", out.join(CURVE_PAGE).display())?,
                }
                if *interrupted {
                    return f.write_str(GO_ON);
                }
                match early_end {
                    Some(EarlyEnd::Patience) => {
                        write!(f, "; ended at step {}: validations got no better", last.step)?;
                    }
                    Some(EarlyEnd::Time) => {
                        write!(f, "; ended at step {}: the time was up", last.step)?;
                    }
                    None => {}
                }
                let recipe = out.join("recipe.toml");
                write!(
                    f,
                    "; evaluate with: kshot eval {} --model {}",
                    recipe.display(),
                    out.display()
                )
            }
            Self::Eval { result, report } => {
                result.fmt(f)?;
                match report {
                    Some(report) => write!(f, "\nlook at {}", report.display()),
                    None => Ok(()),
                }
            }
        }
    }
}

fn files(f: &mut fmt::Formatter<'_>, labels: Option<&Path>, report: Option<&Path>) -> fmt::Result {
    match (labels, report) {
        (Some(labels), Some(report)) => {
            write!(f, "; {} and {}", labels.display(), report.display())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_in_their_order_and_what_is_not_there_has_none() {
        let json = |event: Event<'_>| serde_json::to_string(&event).unwrap();
        let classes = ["coin".to_owned()];
        assert_eq!(
            json(Event::Start(Start::Segment {
                pictures: 4,
                skipped: 1,
                labelled: 3,
                classes: &classes
            })),
            r#"{"event":"start","pictures":4,"skipped":1,"labelled":3,"classes":["coin"]}"#
        );
        assert_eq!(
            json(Event::Done(Done::Nothing { done: 0, skipped: 4, failed: 0 })),
            r#"{"event":"done","done":0,"skipped":4,"failed":0}"#
        );
        let done = |report, cancelled| {
            Event::Done(Done::Segment {
                done: 2,
                skipped: 0,
                failed: 1,
                objects: None,
                seconds: 0.5,
                report,
                cancelled,
            })
        };
        assert_eq!(
            json(done(Some(Path::new("out/report.html")), false)),
            r#"{"event":"done","done":2,"skipped":0,"failed":1,"seconds":0.5,"report":"out/report.html"}"#
        );
        assert_eq!(
            json(done(None, true)),
            r#"{"event":"done","done":2,"skipped":0,"failed":1,"seconds":0.5,"cancelled":true}"#
        );
        let words = done(None, true).to_string();
        assert!(words.starts_with("stopped: 2 done, 0 skipped, 1 failed in 0.5 s"), "{words}");
    }
}
