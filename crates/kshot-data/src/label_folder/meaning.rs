//! What the numbers in a folder's masks and strokes mean, where nothing says it.
//!
//! Class numbers are usual. Other tools leave gray levels (0, 100, 200), smoothed edges between black and white, a number
//! for each object, or strokes on 0. All files of a folder are looked at together, and what was decided is a finding.

use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::components;
use crate::error::Error;
use crate::finding::{Findings, Severity};
use crate::label_folder::cache::MaskCache;
use crate::label_folder::{LabelFolder, LabelSource};
use crate::labels::index;
use crate::labels::names::reserved;
use crate::mask::{BACKGROUND, Mask, UNLABELLED, VOID};

/// How numbers in masks are read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MaskReading {
    /// By what all masks hold together.
    #[default]
    Auto,
    /// Each number is its class.
    Classes,
    /// Each number is one object.
    Instances,
    /// Each number that occurs is a class, the smallest the first.
    Levels,
    /// From 128 on it is the class.
    Threshold,
}

impl MaskReading {
    /// All, with what they mean.
    pub const ALL: [(&'static str, Self); 5] = [
        ("auto", Self::Auto),
        ("classes", Self::Classes),
        ("instances", Self::Instances),
        ("levels", Self::Levels),
        ("threshold", Self::Threshold),
    ];
}

impl std::str::FromStr for MaskReading {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        let known = Self::ALL.iter().find(|(known, _)| *known == name);
        known.map(|(_, reading)| *reading).ok_or_else(|| {
            let valid: Vec<&str> = Self::ALL.iter().map(|(name, _)| *name).collect();
            Error::config(format!(
                "`{name}` is no way to read masks; valid are {}",
                valid.join(", ")
            ))
        })
    }
}

/// What was decided.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Meaning {
    /// Of masks' numbers.
    pub(super) masks: Numbers,
    /// Whether 0 is unlabelled in strokes.
    pub(super) zero_is_unlabelled: bool,
    /// Whether number 1 of strokes is background, as the list of classes says.
    pub(super) first_is_background: bool,
}

/// What masks' numbers mean.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Numbers {
    /// Classes.
    #[default]
    Classes,
    /// Classes, in the order of these.
    Levels(Vec<u8>),
    /// One class from 128 on.
    Threshold,
}

impl Numbers {
    /// Whether gray values are cut in two.
    pub(super) fn is_threshold(&self) -> bool {
        *self == Self::Threshold
    }

    /// Values as class numbers.
    pub(super) fn apply(&self, values: &mut Mask) {
        match self {
            Self::Classes => {}
            Self::Levels(levels) => {
                let mut classes: [u8; 256] = std::array::from_fn(|value| value as u8);
                for (class, level) in (1..).zip(levels) {
                    classes[usize::from(*level)] = class;
                }
                values.pixels.iter_mut().for_each(|value| *value = classes[usize::from(*value)]);
            }
            Self::Threshold => {
                values.pixels.iter_mut().for_each(|value| *value = u8::from(*value >= MIDDLE));
            }
        }
    }
}

/// From here on a smoothed edge belongs to the object.
const MIDDLE: u8 = 128;
/// A mask of so many numbers, each in one piece, holds objects.
const OBJECTS: usize = 10;
/// The share of its numbers that must be in one piece.
const IN_ONE_PIECE: f64 = 0.95;
/// Class numbers from here on are gray levels, where few occur.
const LEVELS_FROM: u8 = 31;
/// Smoothed edges have at least so many values between black and white, and at most this share of all pixels.
const EDGE_VALUES: usize = 12;
const EDGE_SHARE: f64 = 0.25;
/// How far from 0 and 255 black and white may be, as JPEG leaves them.
const NEAR: u8 = 12;
/// The share of unlabelled pixels from which on 0 can mean it.
const MOSTLY: f64 = 0.5;
/// Files that are looked at where the classes are listed.
const LISTED: usize = 8;

/// What masks hold.
#[derive(Debug, Clone)]
struct Survey {
    /// Pixels by value, all masks together.
    counts: [u64; 256],
    /// Whether a mask has a number for each object.
    objects: bool,
    file: PathBuf,
}

impl Survey {
    /// Of one gray mask; `None` of palettes, colours and kshot's own, whose numbers are classes.
    fn of(path: &Path, picture: &Path, cache: &MaskCache) -> Option<Self> {
        if !index::may_be_read(path, picture) {
            return None;
        }
        // What is wrong with a file is said when it is read for good.
        let file = cache.peek(path).ok()?;
        if file.names.is_some() || file.palette.is_some() {
            return None;
        }
        let values = file.values.as_ref()?;
        let counts = values.counts().map(|count| count as u64);
        let used = (1..UNLABELLED).filter(|&value| counts[usize::from(value)] > 0).count();
        let objects =
            used >= OBJECTS && counts[usize::from(VOID)] == 0 && in_one_piece(values, used);
        Some(Self { counts, objects, file: path.to_owned() })
    }

    fn and(mut self, other: Self) -> Self {
        self.counts.iter_mut().zip(other.counts).for_each(|(sum, count)| *sum += count);
        if other.objects && !self.objects {
            self = Self { objects: true, file: other.file, ..self };
        }
        self
    }

    /// Values above 0 that occur, in their order.
    fn used(&self) -> Vec<u8> {
        (1..=VOID).filter(|&value| self.counts[usize::from(value)] > 0).collect()
    }

    /// Black and white with values of smoothed or compressed edges between.
    fn is_soft(&self) -> bool {
        let sum = |range: std::ops::RangeInclusive<u8>| -> u64 {
            range.map(|value| self.counts[usize::from(value)]).sum()
        };
        let between = (1..VOID).filter(|&value| self.counts[usize::from(value)] > 0).count();
        let white = sum(VOID - NEAR..=VOID);
        let edges = sum(NEAR + 1..=VOID - NEAR - 1) as f64;
        between >= EDGE_VALUES && white > 0 && edges <= EDGE_SHARE * sum(0..=VOID) as f64
    }

    /// Gray levels that stand for classes, where the numbers are too far apart to be theirs.
    fn levels(&self) -> Option<Vec<u8>> {
        let mut levels = self.used();
        let white = levels.last() == Some(&VOID);
        if white {
            levels.pop();
        }
        let highest = *levels.last()?;
        if highest < LEVELS_FROM || usize::from(highest) < 4 * levels.len() {
            return None;
        }
        // White is one of the levels where it is as far from the last as these are from each other, else void.
        let step = f64::from(highest) / levels.len() as f64;
        if white && (f64::from(VOID - highest) / step - 1.0).abs() < 0.25 {
            levels.push(VOID);
        }
        Some(levels)
    }
}

/// Whether nearly each of `used` numbers is one piece.
fn in_one_piece(values: &Mask, used: usize) -> bool {
    let (_, pieces) = components::pieces(values, |value| value != BACKGROUND && value < UNLABELLED);
    used as f64 >= IN_ONE_PIECE * pieces as f64
}

/// Settles what the numbers of a folder mean, of which `classes` are listed; masks of object numbers become such.
pub(super) fn settle(
    folder: &mut LabelFolder,
    declared: &mut Option<Vec<String>>,
    asked: MaskReading,
) -> Meaning {
    let mut meaning = strokes(folder, declared.as_deref());
    let masks: Vec<usize> = (0..folder.pictures.len())
        .filter(|&at| matches!(folder.pictures[at].labels, Some(LabelSource::Mask(_))))
        .collect();
    let survey = |at: &usize| match &folder.pictures[*at].labels {
        Some(LabelSource::Mask(path)) if folder.colours.is_none() => {
            Survey::of(path, &folder.pictures[*at].file, &folder.cache)
        }
        _ => None,
    };
    let listed = declared.as_ref().map(Vec::len);
    let odd = |survey: &Survey| match listed {
        None => true,
        Some(classes) => {
            survey.is_soft()
                || survey.used().iter().any(|value| *value != VOID && usize::from(*value) > classes)
        }
    };
    let first = masks.iter().take(LISTED).filter_map(survey).any(|survey| odd(&survey));
    let background =
        declared.iter().flatten().next().is_some_and(|name| reserved(name) == Some(BACKGROUND));
    let looked = asked != MaskReading::Auto || first || background;
    let all =
        if looked { masks.par_iter().filter_map(survey).reduce_with(Survey::and) } else { None };
    if let Some(all) = all {
        let reading = if asked == MaskReading::Auto { decide(&all, listed) } else { asked };
        match reading {
            MaskReading::Auto | MaskReading::Classes => {}
            MaskReading::Levels => {
                meaning.masks = Numbers::Levels(all.levels().unwrap_or_else(|| all.used()));
            }
            MaskReading::Threshold => meaning.masks = Numbers::Threshold,
            MaskReading::Instances => {
                for at in masks {
                    let picture = &mut folder.pictures[at];
                    if let Some(LabelSource::Mask(path)) = picture.labels.take() {
                        folder.cache.forget(&path);
                        picture.labels = Some(LabelSource::Instances(path));
                    }
                }
            }
        }
        if asked == MaskReading::Auto {
            tell(&all, reading, &meaning.masks, &mut folder.findings);
        }
        background_first(
            &all,
            declared,
            &mut meaning,
            &mut folder.findings,
            folder.list.as_deref(),
        );
    }
    meaning
}

fn decide(all: &Survey, listed: Option<usize>) -> MaskReading {
    let beyond = |classes: usize| {
        all.used().iter().any(|value| *value != VOID && usize::from(*value) > classes)
    };
    match listed {
        None | Some(1) if all.is_soft() => MaskReading::Threshold,
        None | Some(1) if all.objects => MaskReading::Instances,
        None if all.levels().is_some() => MaskReading::Levels,
        Some(classes) if beyond(classes) && all.levels().is_some_and(|of| of.len() == classes) => {
            MaskReading::Levels
        }
        _ => MaskReading::Classes,
    }
}

fn tell(all: &Survey, reading: MaskReading, numbers: &Numbers, findings: &mut Findings) {
    let what = match (reading, numbers) {
        (MaskReading::Instances, _) => {
            "masks hold many numbers, each in one piece: they are read as object numbers of one class".to_owned()
        }
        (MaskReading::Threshold, _) => {
            "masks are black and white with smoothed edges: from 128 on a pixel is the class".to_owned()
        }
        (MaskReading::Levels, Numbers::Levels(levels)) => {
            let levels: Vec<String> = levels.iter().map(u8::to_string).collect();
            format!("masks hold gray levels: {} are read as the classes, in this order", levels.join(", "))
        }
        _ => return,
    };
    let todo =
        "`--masks classes` reads each number as its class (others: instances, levels, threshold)";
    findings.add(Severity::Warning, &all.file, what, todo);
}

/// Where the list of classes begins with background, the next is number 1 if no mask holds as many numbers as it has lines.
fn background_first(
    all: &Survey,
    declared: &mut Option<Vec<String>>,
    meaning: &mut Meaning,
    findings: &mut Findings,
    list: Option<&Path>,
) {
    let Some(names) = declared.as_mut().filter(|names| names.len() > 1) else { return };
    let largest = all.used().into_iter().rev().find(|value| *value < UNLABELLED).unwrap_or(0);
    if reserved(&names[0]) != Some(BACKGROUND) || usize::from(largest) >= names.len() {
        return;
    }
    let what = format!(
        "the first class is called {}, and no mask holds {}: it is taken for number 0, so that 1 is {}",
        names[0],
        names.len(),
        names[1]
    );
    names.remove(0);
    meaning.first_is_background = false;
    let file = list.map_or_else(|| all.file.clone(), Path::to_owned);
    findings.add(Severity::Warning, &file, what, "remove that line: background needs no name");
}

/// What 0 means in strokes: unlabelled, where it is most of each file and nothing else is marked as such.
fn strokes(folder: &mut LabelFolder, declared: Option<&[String]>) -> Meaning {
    let files: Vec<PathBuf> = folder
        .pictures
        .iter()
        .filter_map(|picture| match &picture.labels {
            Some(LabelSource::Scribble(path)) if index::may_be_read(path, &picture.file) => {
                Some(path.clone())
            }
            _ => None,
        })
        .collect();
    let on_zero = |path: &PathBuf| {
        let Ok(file) = folder.cache.peek(path) else { return false };
        let Some(values) = &file.values else { return false };
        let counts = values.counts();
        let mostly = counts[0] as f64 >= MOSTLY * values.pixels.len() as f64;
        mostly && counts[usize::from(VOID)] == 0 && counts[usize::from(UNLABELLED)] == 0
    };
    if files.is_empty() || !files.par_iter().all(on_zero) {
        return Meaning::default();
    }
    let first = declared.and_then(<[String]>::first);
    let first_is_background = first.is_some_and(|name| reserved(name) == Some(BACKGROUND));
    let background = match (first_is_background, first) {
        (true, Some(name)) => format!(", and 1 as {name}"),
        _ => String::new(),
    };
    folder.findings.add(
        Severity::Warning,
        &files[0],
        format!("strokes lie on 0, and no pixel is 255: 0 is read as unlabelled{background}"),
        "if 0 is background, mark what is not labelled with 255",
    );
    Meaning { zero_is_unlabelled: true, first_is_background, ..Meaning::default() }
}

impl Meaning {
    /// A scribble's values as they are meant.
    pub(super) fn of_strokes(&self, values: &mut Mask) {
        for value in &mut values.pixels {
            *value = match *value {
                0 if self.zero_is_unlabelled => VOID,
                value @ 1..UNLABELLED if self.first_is_background => value - 1,
                value => value,
            };
        }
    }
}
