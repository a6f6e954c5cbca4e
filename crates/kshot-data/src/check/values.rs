//! What is odd with the labels of one picture.

use std::path::Path;

use crate::annotation::{Annotation, ObjectShape};
use crate::finding::{Findings, Severity};
use crate::labels::names::reserved;
use crate::mask::{BACKGROUND, Mask, UNLABELLED, VOID};

/// Looks at a mask's values as they are in its file, of `classes` classes.
pub fn numbers(file: &Path, values: &Mask, classes: usize, ours: bool, findings: &mut Findings) {
    let counts = values.counts();
    let high = counts[usize::from(VOID)];
    let any = counts[1..usize::from(UNLABELLED)].iter().any(|&count| count > 0);
    if high > 0 && !any && !ours && classes > 1 {
        findings.add(
            Severity::Warning,
            file,
            format!(
                "only 0 and 255: is 255 the object or void? With {classes} classes it is void and \
                 does not count, so that nothing is labelled but background"
            ),
            "give the objects the numbers of their classes; if 255 is meant to be void, keep it",
        );
    } else if high > 0 && (any || ours) {
        void(file, values, "255 beside class numbers", findings);
    }
    blank(file, values, findings);
}

/// Looks at a coloured mask, after its colours became values.
pub fn colours(file: &Path, mask: &Mask, findings: &mut Findings) {
    if mask.counts()[usize::from(VOID)] > 0 {
        void(file, mask, "the colour of void", findings);
    }
    blank(file, mask, findings);
}

fn void(file: &Path, mask: &Mask, who: &str, findings: &mut Findings) {
    let share = mask.counts()[usize::from(VOID)] as f64 / mask.pixels.len().max(1) as f64;
    let what = format!(
        "{who} ({:.1} % of the pixels) is void: neither learnt from nor counted",
        100.0 * share
    );
    findings.add(Severity::Note, file, what, "");
}

fn blank(file: &Path, mask: &Mask, findings: &mut Findings) {
    if mask.counts()[usize::from(BACKGROUND)] == mask.pixels.len() {
        findings.add(
            Severity::Warning,
            file,
            "all background: no pixel of any class",
            "keep it only if the picture really shows none of the classes",
        );
    }
}

/// Looks at a scribble; one without a stroke is an error.
pub fn scribble(file: &Path, mask: &Mask, findings: &mut Findings) {
    let counts = mask.counts();
    if counts[usize::from(UNLABELLED)] == mask.pixels.len() {
        findings.add(
            Severity::Error,
            file,
            "every pixel is unlabelled (255)",
            "label at least one stroke of a class and one of background (0)",
        );
    } else if counts[usize::from(BACKGROUND)] == 0 {
        findings.add(
            Severity::Warning,
            file,
            "no stroke of background",
            "draw a stroke of 0 where none of the classes is",
        );
    }
}

/// Looks at objects and the mask they were painted to.
pub fn objects(
    file: &Path,
    picture: &Path,
    annotation: &Annotation,
    mask: &Mask,
    findings: &mut Findings,
) {
    let name = picture.file_name().unwrap_or_default().to_string_lossy();
    let objects = annotation.objects();
    if objects.iter().all(|object| reserved(&object.class) == Some(BACKGROUND)) {
        findings.add(
            Severity::Warning,
            file,
            format!("no outline in {name}: the picture counts as background all over"),
            "keep it only if the picture really shows none of the classes",
        );
        return;
    }
    let (width, height) = (annotation.width as f64, annotation.height as f64);
    for (index, object) in objects.iter().enumerate() {
        // A mask of a class that is empty is a mask all the same.
        let empty = matches!(object.shape, ObjectShape::Runs(_));
        let bounds = object.shape.bounds(annotation.height);
        let who = format!("object {} (`{}`) of {name}", index + 1, object.class);
        let Some([left, top, right, bottom]) = bounds else {
            if !empty {
                findings.add(Severity::Warning, file, format!("{who} is empty"), "take it away");
            }
            continue;
        };
        let inside = left < width && top < height && right > 0.0 && bottom > 0.0;
        // A pixel of play: tools round and count from 0 or 1.
        let far = left < -1.0 || top < -1.0 || right > width + 1.0 || bottom > height + 1.0;
        if !inside {
            findings.add(
                Severity::Warning,
                file,
                format!("{who} lies outside the picture"),
                "was the picture cut or scaled after it was labelled?",
            );
        } else if far {
            findings.add(
                Severity::Note,
                file,
                format!("{who} reaches beyond the picture: what is outside is cut"),
                "",
            );
        }
    }
    if mask.counts()[usize::from(BACKGROUND)] == 0
        && matches!(annotation.kind, crate::finding::LabelKind::Boxes)
    {
        findings.add(
            Severity::Warning,
            file,
            format!("the boxes cover all of {name}: no pixel is background"),
            "give tighter boxes, or outlines",
        );
    }
}
