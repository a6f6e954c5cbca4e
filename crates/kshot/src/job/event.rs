//! What a job tells while it runs.
//!
//! An event is written two ways: as JSON (`serde_json::to_value`), whose names of events and keys are
//! those of `kshot ... --json` and do not change, and as a line for people (`Display`).

use std::fmt;
use std::path::Path;

use serde::{Serialize, Serializer};

use crate::classify::judge::Judgement;
use crate::classify::{self, Recognition};
use crate::job::bf16::Cost;
use crate::predict;

/// Something that happened in a job.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Event<'a> {
    /// All input is read and found to be in order.
    Start(Start<'a>),
    /// Something is odd, and the job goes on.
    Warning {
        /// What is odd, and what to do about it.
        message: &'a str,
    },
    /// How far the part at hand is; a new part begins with `done` = 0.
    Progress {
        /// Pictures that are finished.
        done: usize,
        /// Pictures of this part.
        total: usize,
    },
    /// A method is chosen and fitted to the labelled pictures.
    Fitted(Fitted<'a>),
    /// What products in bf16 cost.
    Bf16 {
        /// The cost.
        cost: Cost,
    },
    /// A picture is finished.
    Picture(Picture<'a>),
    /// A picture could not be done; the others go on.
    Failed {
        /// Its path below the query folder.
        file: &'a str,
        /// What went wrong, and what to do about it.
        error: &'a str,
    },
    /// Labels were compared with the truth.
    Judged {
        /// How good they are.
        judgement: &'a Judgement,
    },
    /// Pictures are in class folders.
    Sorted {
        /// `moved` or `linked`.
        how: &'static str,
        /// How many.
        pictures: usize,
        /// The folder of class folders.
        #[serde(serialize_with = "as_text")]
        folder: &'a Path,
    },
    /// A class was added to a model.
    Added {
        /// Its name.
        class: &'a str,
        /// Its pictures.
        pictures: usize,
        /// Classes of the model now.
        classes: usize,
    },
    /// A class was dropped from a model.
    Dropped {
        /// Its name.
        class: &'a str,
        /// The pictures it had.
        pictures: usize,
        /// Classes of the model now.
        classes: usize,
    },
    /// The job is over; the last event.
    Done(Done<'a>),
}

/// What a job begins with.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum Start<'a> {
    /// [`segment`](crate::job::segment()).
    Segment {
        /// Pictures of the query.
        pictures: usize,
        /// Those that an earlier run finished.
        skipped: usize,
        /// Labelled pictures.
        labelled: usize,
        /// The classes' names.
        classes: &'a [String],
    },
    /// [`classify`](crate::job::classify()).
    Classify {
        /// Pictures of the query.
        pictures: usize,
        /// Those whose features an earlier run computed.
        skipped: usize,
        /// Labelled pictures.
        labelled: usize,
        /// The classes' names.
        classes: &'a [String],
    },
    /// [`classify_run`](crate::job::classify_run()).
    Run {
        /// Pictures of the query.
        pictures: usize,
        /// The classes' names.
        classes: &'a [String],
        /// The trained method's name.
        method: &'a str,
        /// Labelled pictures a class that are used.
        shots: usize,
    },
}

/// What was chosen on the labelled pictures.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum Fitted<'a> {
    /// A head that labels pixels.
    Segment {
        /// The choice, with what to expect of it.
        choice: &'a predict::Choice,
        /// Seconds since the job began.
        seconds: f64,
    },
    /// A head that labels whole pictures.
    Classify {
        /// The choice, with what to expect of it.
        choice: &'a classify::Choice,
        /// Seconds since the job began.
        seconds: f64,
        /// Labelled pictures.
        #[serde(skip)]
        labelled: usize,
        /// Classes.
        #[serde(skip)]
        classes: usize,
    },
}

/// A finished picture.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum Picture<'a> {
    /// Its mask and overlay are written.
    Segmented {
        /// Its path below the query folder.
        file: &'a str,
        /// Its mask, relative to the output folder.
        mask: &'a str,
        /// Expected share of pixels that are right, 0 to 1.
        confidence: f32,
        /// `none-of-these`, `uncertain`.
        flags: &'a [String],
        /// Seconds spent on it.
        seconds: f64,
    },
    /// Its class is known.
    Classified {
        /// Its path below the query folder.
        file: &'a str,
        /// The likeliest class.
        class: &'a str,
        /// Its probability, 0 to 1, should the picture show one of the classes.
        probability: f32,
        /// Whether it is like the labelled pictures enough to be one of the classes.
        accepted: bool,
        /// Its similarity to the labelled pictures, by which that was decided.
        familiarity: f32,
        /// Seconds spent on it.
        seconds: f64,
    },
}

impl<'a> Picture<'a> {
    pub(super) fn classified(
        file: &'a str,
        class: &'a str,
        found: &Recognition,
        seconds: f64,
    ) -> Self {
        Self::Classified {
            file,
            class,
            probability: found.probability(),
            accepted: found.accepted,
            familiarity: found.familiarity,
            seconds,
        }
    }

    /// Its path below the query folder.
    pub fn file(&self) -> &'a str {
        match self {
            Self::Segmented { file, .. } | Self::Classified { file, .. } => file,
        }
    }
}

/// What came of a job. Where it was stopped, `cancelled` is true (and not written to JSON otherwise), and
/// what was not written for that reason is `None`.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum Done<'a> {
    /// Every picture was finished before.
    Nothing {
        /// None.
        done: usize,
        /// All.
        skipped: usize,
        /// None.
        failed: usize,
    },
    /// [`segment`](crate::job::segment()).
    Segment {
        /// Pictures segmented now.
        done: usize,
        /// Pictures finished before.
        skipped: usize,
        /// Pictures that failed.
        failed: usize,
        /// Seconds since the job began.
        seconds: f64,
        /// The page to look at.
        #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_text_or_none")]
        report: Option<&'a Path>,
        /// Whether it was stopped.
        #[serde(skip_serializing_if = "is_false")]
        cancelled: bool,
    },
    /// [`classify`](crate::job::classify()).
    Classify {
        /// Pictures whose features were computed now.
        done: usize,
        /// Pictures whose features were computed before.
        skipped: usize,
        /// Pictures that failed.
        failed: usize,
        /// Labelled pictures that were accepted.
        accepted: usize,
        /// Labelled pictures that were not.
        none_of_these: usize,
        /// Seconds since the job began.
        seconds: f64,
        /// The table of labels.
        #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_text_or_none")]
        labels: Option<&'a Path>,
        /// The page to look at.
        #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_text_or_none")]
        report: Option<&'a Path>,
        /// Whether it was stopped.
        #[serde(skip_serializing_if = "is_false")]
        cancelled: bool,
    },
    /// [`classify_run`](crate::job::classify_run()).
    Run {
        /// Pictures labelled.
        done: usize,
        /// Pictures that failed.
        failed: usize,
        /// Share of the pictures of known class that are labelled rightly, 0 to 1.
        accuracy: Option<f64>,
        /// Pictures of known class.
        #[serde(skip)]
        known: usize,
        /// Seconds since the job began.
        seconds: f64,
        /// The table of labels.
        #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_text_or_none")]
        labels: Option<&'a Path>,
        /// The page to look at.
        #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_text_or_none")]
        report: Option<&'a Path>,
        /// Whether it was stopped.
        #[serde(skip_serializing_if = "is_false")]
        cancelled: bool,
    },
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's form
fn is_false(value: &bool) -> bool {
    !value
}

/// A path as text, so that a name that is not Unicode does not lose the event.
fn as_text<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.to_string_lossy())
}

fn as_text_or_none<S: Serializer>(path: &Option<&Path>, serializer: S) -> Result<S::Ok, S::Error> {
    path.map(Path::to_string_lossy).serialize(serializer)
}

impl fmt::Display for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(start) => start.fmt(f),
            Self::Warning { message } => write!(f, "warning: {message}"),
            Self::Progress { done, total } => write!(f, "{done} of {total}"),
            Self::Fitted(fitted) => fitted.fmt(f),
            Self::Bf16 { cost } => cost.fmt(f),
            Self::Picture(picture) => picture.fmt(f),
            Self::Failed { file, error } => write!(f, "failed: {file}: {error}"),
            Self::Judged { judgement } => judgement.fmt(f),
            Self::Sorted { how, pictures, folder } => {
                write!(f, "{pictures} {how} into {}", folder.display())
            }
            Self::Added { class, pictures, classes } => {
                write!(f, "{class} added from {pictures} pictures; {classes} classes")
            }
            Self::Dropped { class, classes, .. } => {
                write!(f, "{class} dropped; {classes} classes stay")
            }
            Self::Done(done) => done.fmt(f),
        }
    }
}

impl fmt::Display for Start<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Segment { pictures, skipped, labelled, classes } => {
                let (count, names) = (classes.len(), classes.join(", "));
                let word = if count == 1 { "class" } else { "classes" };
                write!(
                    f,
                    "{labelled} labelled pictures of {count} {word} ({names}); {pictures} pictures \
                     to segment, {skipped} already finished"
                )
            }
            Self::Classify { pictures, skipped, .. } => {
                write!(f, "{pictures} pictures to label, {skipped} already looked at")
            }
            Self::Run { pictures, classes, method, shots } => {
                let ways = classes.len();
                write!(f, "{method}: {pictures} pictures to label, {ways}-way {shots}-shot")
            }
        }
    }
}

impl fmt::Display for Fitted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Segment { choice, seconds } => write!(f, "{} ({seconds:.1} s)", choice.reason),
            Self::Classify { choice, seconds, labelled, classes } => write!(
                f,
                "{labelled} labelled pictures of {classes} classes; {}; {} ({seconds:.1} s)",
                choice.reason, choice.rejection.how
            ),
        }
    }
}

impl fmt::Display for Picture<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Segmented { file, confidence, flags, seconds, .. } => {
                let flags = flags.join(", ");
                write!(f, "{file}: confidence {confidence:.2} {flags} ({seconds:.2} s)")
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
            Self::Segment { done, skipped, failed, seconds, report, cancelled } => {
                f.write_str(if *cancelled { STOPPED } else { "" })?;
                write!(f, "{done} done, {skipped} skipped, {failed} failed in {seconds:.1} s")?;
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
