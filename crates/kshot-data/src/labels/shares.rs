//! Coordinates that are shares of the picture's sides where the format has pixels.
//!
//! Some exporters write 0 to 1. In pixels such an object would lie within the first one: where all coordinates of a file
//! are so, they are read as shares; where only some are, nobody can say what the others mean.

use std::path::Path;

use crate::annotation::{Object, ObjectShape};
use crate::finding::{Findings, Severity};
use crate::labels::Outlines;
use crate::names::{SHOWN, shortened};

/// How far beyond 0 and 1 rounding may put a share.
const PLAY: f64 = 0.01;
/// Pictures with a shorter side than this have objects of a pixel.
const LEAST_SIDE: usize = 4;

/// What coordinates are by their values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Shares,
    Pixels,
    /// 0 and 1 alone: a pixel, or a whole side.
    Either,
}

fn unit(numbers: impl Iterator<Item = f64>) -> Unit {
    let mut unit = Unit::Either;
    for number in numbers {
        if !(-PLAY..=1.0 + PLAY).contains(&number) {
            return Unit::Pixels;
        }
        if number.fract() != 0.0 {
            unit = Unit::Shares;
        }
    }
    unit
}

/// Whether numbers are shares and none of them is in pixels.
pub fn are_all(numbers: impl Iterator<Item = f64>) -> bool {
    unit(numbers) == Unit::Shares
}

/// Why a picture is left out of which an object seems to be in shares, and others of the file are not.
pub fn mixed(number: usize, class: &str) -> String {
    format!(
        "object {number} (`{}`) has coordinates between 0 and 1, as shares of the picture's sides, but others of this \
         file are in pixels; export all of them in pixels",
        shortened(class, SHOWN)
    )
}

/// The unit of an object's coordinates; `None` of run lengths, which count pixels.
fn unit_of(object: &Object) -> Option<Unit> {
    match &object.shape {
        ObjectShape::Polygons(rings) => Some(unit(rings.iter().flatten().flatten().copied())),
        ObjectShape::Box(sides) => Some(unit(sides.iter().copied())),
        ObjectShape::Circle([x, y], radius) => Some(unit([*x, *y, *radius].into_iter())),
        ObjectShape::Runs(_) => None,
    }
}

/// Reads coordinates as shares where all of the file's are such; leaves pictures out where some are.
pub fn settle(path: &Path, pictures: &mut [Outlines], findings: &mut Findings) {
    let fits = |picture: &Outlines| {
        let small = |(width, height): (usize, usize)| width.min(height) < LEAST_SIDE;
        !picture.relative && !picture.size.is_some_and(small)
    };
    let mut looked: Vec<&mut Outlines> = pictures.iter_mut().filter(|of| fits(of)).collect();
    let has = |looked: &[&mut Outlines], wanted: Unit| {
        looked.iter().flat_map(|picture| &picture.objects).any(|of| unit_of(of) == Some(wanted))
    };
    if !has(&looked, Unit::Shares) {
        return;
    }
    if has(&looked, Unit::Pixels) {
        for picture in looked {
            let share = |object: &Object| unit_of(object) == Some(Unit::Shares);
            if let Some(at) = picture.objects.iter().position(share) {
                let what = mixed(at + 1, &picture.objects[at].class);
                picture.damaged.get_or_insert(what);
            }
        }
        return;
    }
    for picture in &mut looked {
        picture.relative = true;
        let round = |object: &Object| matches!(object.shape, ObjectShape::Circle(..));
        if picture.objects.iter().any(round) {
            let what =
                "a circle whose radius is a share of nobody knows which side; export it in pixels";
            picture.damaged.get_or_insert_with(|| what.to_owned());
        }
    }
    findings.add(
        Severity::Warning,
        path,
        "all coordinates lie between 0 and 1: they are read as shares of the picture's width and height",
        "look at an overlay; export in pixels if that is wrong",
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(size: Option<(usize, usize)>, shapes: &[ObjectShape]) -> Outlines {
        let objects = shapes.iter().map(|shape| Object::new("a", shape.clone())).collect();
        Outlines { size, objects, ..Outlines::new(Path::new("a.json")) }
    }

    fn settled(pictures: &mut [Outlines]) -> usize {
        let mut findings = Findings::default();
        settle(Path::new("a.json"), pictures, &mut findings);
        findings.0.len()
    }

    #[test]
    fn a_file_of_shares_is_told_from_one_of_pixels() {
        let share = ObjectShape::Box([0.25, 0.0, 0.5, 1.0]);
        let whole = ObjectShape::Polygons(vec![vec![[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]]]);
        let mut pictures =
            [picture(Some((40, 20)), &[share.clone(), whole.clone()]), picture(None, &[])];
        assert_eq!(settled(&mut pictures), 1);
        assert!(pictures[0].relative && pictures[0].damaged.is_none());
        let expected = ObjectShape::Box([10.0, 0.0, 20.0, 20.0]);
        assert_eq!(pictures[0].objects(40, 20)[0].shape, expected);
        // Of a pixel: whole numbers, or a picture as small as that.
        assert_eq!(settled(&mut [picture(Some((40, 20)), &[whole])]), 0);
        assert_eq!(settled(&mut [picture(Some((3, 2)), std::slice::from_ref(&share))]), 0);
        let pixels = ObjectShape::Box([2.0, 0.5, 30.5, 9.0]);
        let mut mixed =
            [picture(None, std::slice::from_ref(&pixels)), picture(None, &[pixels, share])];
        assert_eq!(settled(&mut mixed), 0);
        assert!(mixed[0].damaged.is_none() && !mixed[1].relative);
        assert!(mixed[1].damaged.as_ref().unwrap().starts_with("object 2 (`a`)"));
        let mut round = [picture(None, &[ObjectShape::Circle([0.5, 0.5], 0.1)])];
        settled(&mut round);
        assert!(round[0].damaged.is_some());
    }
}
