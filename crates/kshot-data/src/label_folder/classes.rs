//! What the classes of a folder are.

use std::path::PathBuf;

use crate::finding::Severity;
use crate::label_folder::find::shown;
use crate::label_folder::meaning::Numbers;
use crate::label_folder::{LabelFolder, LabelSource, OBJECT};
use crate::labels::index;
use crate::labels::names::{Classes, Gathered};
use crate::mask::{MAX_CLASSES, UNLABELLED};
use crate::names::{classes, counted};

/// Classes that are named.
const LISTED: usize = 30;

/// Settles the classes' names, from everything that gives one.
pub(super) fn name_classes(
    folder: &mut LabelFolder,
    declared: Option<Vec<String>>,
    mut gathered: Gathered,
) {
    let mut largest = 0;
    let mut carried: Vec<(PathBuf, Vec<String>)> = Vec::new();
    for picture in &folder.pictures {
        match &picture.labels {
            Some(LabelSource::Mask(path) | LabelSource::Scribble(path)) => {
                let scribble = matches!(picture.labels, Some(LabelSource::Scribble(_)));
                let coloured = folder.colours.is_some() && !scribble;
                if declared.is_some() || (coloured && gathered.list.is_some()) {
                    folder.numbered |= !coloured;
                    continue;
                }
                folder.numbered = true;
                // What is wrong with it is said when it is read for good.
                if !index::may_be_read(path, &picture.file) {
                    continue;
                }
                let Ok(file) = folder.cache.peek(path) else { continue };
                if let Some(mut values) = file.values.clone() {
                    let meaning = &folder.meaning;
                    if scribble {
                        meaning.of_strokes(&mut values);
                    } else if file.names.is_none() && file.palette.is_none() {
                        meaning.masks.apply(&mut values);
                    }
                    let number = if scribble {
                        let counts = values.counts();
                        (1..UNLABELLED).rev().find(|&value| counts[usize::from(value)] > 0)
                    } else {
                        Some(index::largest_class(&values))
                    };
                    largest = largest.max(number.unwrap_or(0));
                }
                if let Some(names) = file.names.clone().filter(|names| !names.is_empty())
                    && carried.iter().all(|(_, known)| *known != names)
                {
                    carried.push((path.clone(), names));
                }
            }
            Some(LabelSource::ClassMasks(files)) => {
                files.iter().for_each(|(class, _)| gathered.mention(class));
            }
            Some(LabelSource::Outlines(outlines)) => {
                outlines.objects.iter().for_each(|object| gathered.mention(&object.class));
            }
            Some(LabelSource::Instances(_)) if declared.is_none() => gathered.mention(OBJECT),
            Some(LabelSource::Instances(_) | LabelSource::Broken(_)) | None => {}
        }
    }
    let findings = &mut folder.findings;
    if let Some(mut names) = declared {
        if folder.meaning.first_is_background {
            names.remove(0);
        }
        folder.classes = Classes::new(names);
        return;
    }
    match carried.as_slice() {
        [] => {}
        [(path, names)] => gathered.list(path, names.iter().cloned()),
        [(first, _), (other, _), ..] => findings.add(
            Severity::Warning,
            other,
            format!("its class names differ from those in {}, so that none count", shown(first)),
            "write classes.txt with a name a line",
        ),
    }
    folder.list = gathered.list.clone();
    let listed = gathered.list.is_some() || !carried.is_empty();
    let mut names = gathered.into_names();
    if !listed && largest > 0 && names.len() > 1 {
        findings.add(
            Severity::Error,
            &folder.root,
            format!(
                "some labels name their classes ({}), others have numbers up to {largest}: which number is which class \
                 is not said",
                classes(&names, LISTED)
            ),
            "write classes.txt with a name a line, in the order of the numbers",
        );
    }
    if !names.is_empty() && usize::from(largest) > names.len() {
        findings.add(
            Severity::Error,
            &folder.root,
            format!(
                "masks hold class numbers up to {largest}, but the outlines and boxes name {}",
                counted(names.len(), "class", "classes")
            ),
            "write classes.txt with a name a line, in the order of the numbers",
        );
    }
    let labelled = folder.pictures.iter().any(|picture| picture.labels.is_some());
    if names.is_empty()
        && let Numbers::Levels(levels) = &folder.meaning.masks
    {
        names = levels.iter().map(|level| format!("class {level}")).collect();
    }
    if names.is_empty() {
        names = (1..=largest).map(|number| format!("class {number}")).collect();
        if largest > 0 {
            findings.add(
                Severity::Note,
                &folder.root,
                format!("no classes.txt: classes are called {}", classes(&names, LISTED)),
                "write classes.txt with a name a line to have names in tables and the report",
            );
        } else if labelled && findings.errors() == 0 {
            findings.add(
                Severity::Error,
                &folder.root,
                format!("0 classes; there must be 1 to {MAX_CLASSES}"),
                "label something, or name the classes in classes.txt, one a line",
            );
        }
    }
    if names.len() > usize::from(MAX_CLASSES) {
        findings.add(
            Severity::Error,
            folder.list.as_deref().unwrap_or(&folder.root),
            format!("{} classes; there must be 1 to {MAX_CLASSES}", names.len()),
            "list the ones you need in classes.txt, one a line, and leave the others out",
        );
    }
    folder.classes = Classes::new(names);
}
