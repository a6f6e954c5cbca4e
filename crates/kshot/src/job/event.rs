//! What a job tells while it runs.
//!
//! An event is written two ways: as JSON (`serde_json::to_value`), whose names of events and keys are
//! those of `kshot ... --json` and do not change, and as a line for people (`Display`).

use std::path::Path;

use serde::{Serialize, Serializer};

use crate::classify::judge::Judgement;
use crate::classify::{self, Recognition};
use crate::eval::Evaluation;
use crate::job::bf16::Bf16Cost;
use crate::predict;
use crate::predict::progress::FitStep;
use crate::train::curve::CurvePoint;
use crate::train::run::Trained;

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
    /// A training was validated.
    Validation {
        /// Which validation, and what it gave.
        #[serde(flatten)]
        point: &'a CurvePoint,
        /// How many there are in all.
        validations: usize,
    },
    /// The best parameters of a training are being measured, for its page.
    Measuring {
        /// Validation pictures.
        pictures: usize,
    },
    /// What is being done just now, while methods are tried on the labelled pictures.
    AtHand(&'a FitStep),
    /// A method was tried on held-out labels.
    Tried(&'a FitStep),
    /// A method is chosen and fitted to the labelled pictures.
    Fitted(FitEvent<'a>),
    /// What products in bf16 cost.
    Bf16 {
        /// The cost.
        cost: Bf16Cost,
    },
    /// Kernels are being tuned for a GPU, which the first run of a network on it takes minutes for.
    Tuning {
        /// How many were tuned since the program began.
        kernels: usize,
        /// Where the results are kept for the next run.
        #[serde(serialize_with = "as_text")]
        folder: &'a Path,
    },
    /// A picture is finished.
    Picture(PictureEvent<'a>),
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
        /// The list by which they can be put back, of moved ones.
        #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_text_or_none")]
        undo: Option<&'a Path>,
    },
    /// Moved pictures are back where they came from.
    PutBack {
        /// How many.
        pictures: usize,
        /// Those that were there before.
        before: usize,
        /// Those that could not be put back.
        left: usize,
        /// The list of them.
        #[serde(serialize_with = "as_text")]
        list: &'a Path,
    },
    /// A class was added to a model, or pictures to one of its classes.
    Added {
        /// Its name.
        class: &'a str,
        /// The pictures that were added.
        pictures: usize,
        /// Those that it had already, and so were passed over.
        known: usize,
        /// Its pictures now.
        of_class: usize,
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

impl Event<'_> {
    /// Whether it only says what is being done just now: of use on a terminal, not in a log.
    pub fn is_momentary(&self) -> bool {
        matches!(self, Self::Progress { .. } | Self::AtHand(_))
    }
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
    /// [`train`](crate::job::train()).
    Train {
        /// Method and data.
        title: &'a str,
        /// What there is to train and validate on.
        about: &'a str,
        /// Trainable parameters.
        parameters: usize,
        /// Steps in all.
        steps: usize,
        /// The run's folder.
        #[serde(serialize_with = "as_text")]
        out: &'a Path,
    },
}

/// What was chosen on the labelled pictures.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum FitEvent<'a> {
    /// A head that labels pixels.
    Segment {
        /// The choice, with what to expect of it.
        choice: &'a predict::SegmentationChoice,
        /// How objects are told apart, where they are.
        #[serde(skip_serializing_if = "Option::is_none")]
        objects: Option<&'a predict::objects::ObjectChoice>,
        /// Seconds since the job began.
        seconds: f64,
    },
    /// A head that labels whole pictures.
    Classify {
        /// The choice, with what to expect of it.
        choice: &'a classify::ClassificationChoice,
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
pub enum PictureEvent<'a> {
    /// Its mask and overlay are written.
    Segmented {
        /// Its path below the query folder.
        file: &'a str,
        /// Its mask, relative to the output folder.
        mask: &'a str,
        /// Expected share of pixels that are right, 0 to 1.
        confidence: f32,
        /// Its objects, where these are told apart.
        #[serde(skip_serializing_if = "Option::is_none")]
        objects: Option<usize>,
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

impl<'a> PictureEvent<'a> {
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
        /// Objects of all finished pictures, where these are told apart.
        #[serde(skip_serializing_if = "Option::is_none")]
        objects: Option<usize>,
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
    /// [`train`](crate::job::train()).
    Train {
        /// The best and the last validation.
        #[serde(flatten)]
        trained: &'a Trained,
        /// The run's folder.
        #[serde(serialize_with = "as_text")]
        out: &'a Path,
        /// Seconds since the job began.
        seconds: f64,
        /// The page to look at, of supervised segmentation.
        #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_text_or_none")]
        report: Option<&'a Path>,
        /// Seconds of these that the page took.
        #[serde(skip_serializing_if = "Option::is_none")]
        report_seconds: Option<f64>,
    },
    /// [`eval`](crate::job::eval()).
    Eval {
        /// The result.
        #[serde(flatten)]
        result: &'a Evaluation,
        /// The page to look at.
        #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_text_or_none")]
        report: Option<&'a Path>,
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
