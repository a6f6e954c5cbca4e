//! Shapes that several tools have: turned boxes, ellipses, and why an item is none; and what painting them costs.

use crate::annotation::{Corner, Object, ObjectShape, circle, rectangle};
use crate::error::{Error, Result};
use crate::image::ReadLimits;
use crate::labels::passed_over::{EMPTY_BOX, EMPTY_ELLIPSE, Reason};
use crate::labels::{boxes, polygon, runs, settled};
use crate::names::counted;

/// Pixels that the objects of one picture may paint, one over the other: hundreds of large pictures' worth, some seconds.
const MOST_PAINTED: u64 = 1 << 34;
/// What a crossing of an outline's edge with a row of pixels costs, and a run of pixels, in pixels painted.
const CROSSING: u64 = 16;

/// What painting a shape costs in a picture of this size, in pixels.
fn cost(shape: &ObjectShape, (width, height): (usize, usize)) -> u64 {
    let area = |sides: Option<[f64; 4]>| {
        let along = |from: f64, to: f64, end: usize| {
            let end = end as f64;
            (to.clamp(0.0, end).ceil() - from.clamp(0.0, end).floor()).max(0.0) as u64
        };
        sides.map_or(0, |[left, top, right, bottom]| {
            along(left, right, width) * along(top, bottom, height)
        })
    };
    let of_lines = match shape {
        ObjectShape::Polygons(rings) => {
            rings.iter().map(|ring| polygon::crossings(ring, height)).sum()
        }
        ObjectShape::Runs(counts) => return runs::area(counts) + CROSSING * counts.len() as u64,
        ObjectShape::Circle(..) | ObjectShape::Box(_) => 2 * height as u64,
    };
    area(shape.bounds(height)).saturating_add(CROSSING.saturating_mul(of_lines))
}

/// Refuses objects that would take minutes to paint: very many that cover very much of a picture.
///
/// # Errors
/// If they do, with what to do.
pub fn affordable(objects: &[Object], width: usize, height: usize) -> Result<()> {
    let costs = objects.iter().map(|object| cost(&object.shape, (width, height)));
    let all = costs.fold(0u64, u64::saturating_add);
    if all <= MOST_PAINTED {
        return Ok(());
    }
    let corners: usize = objects
        .iter()
        .map(|object| match &object.shape {
            ObjectShape::Polygons(rings) => rings.iter().map(Vec::len).sum(),
            _ => 0,
        })
        .sum();
    Err(Error::data(format!(
        "{} of {} paint {} million pixels of its picture of {width} x {height}, above the limit of {} million; leave out \
         doubled outlines and needless corners, or cut the picture into parts",
        counted(objects.len(), "object", "objects"),
        counted(corners, "corner", "corners"),
        all / 1_000_000,
        MOST_PAINTED / 1_000_000
    )))
}

/// Why an item is no shape.
#[derive(Debug, PartialEq)]
pub enum NoShape {
    /// It has no inside or is of a kind that is not read.
    Passed(&'static Reason),
    /// It is damaged: what is wrong.
    Damaged(String),
}

impl From<String> for NoShape {
    fn from(what: String) -> Self {
        Self::Damaged(what)
    }
}

impl From<&str> for NoShape {
    fn from(what: &str) -> Self {
        Self::Damaged(what.to_owned())
    }
}

impl From<&'static Reason> for NoShape {
    fn from(reason: &'static Reason) -> Self {
        Self::Passed(reason)
    }
}

/// Coordinates from here on are damaged: no picture has so many pixels a side.
pub const FAR: f64 = 1e9;

/// A box that has an inside.
///
/// # Errors
/// If it has none.
pub fn filled_box(sides: [f64; 4]) -> Result<ObjectShape, NoShape> {
    boxes::check(sides).map(|()| ObjectShape::Box(sides)).map_err(|_| NoShape::Passed(&EMPTY_BOX))
}

/// A box, or its corners where it is turned about a pivot.
pub fn turned_box(
    sides: [f64; 4],
    degrees: f64,
    pivot: impl Fn([f64; 4]) -> Corner,
) -> Result<ObjectShape, NoShape> {
    let upright = filled_box(sides)?;
    if degrees == 0.0 {
        return Ok(upright);
    }
    Ok(ObjectShape::Polygons(vec![turned(&rectangle(sides), pivot(sides), degrees.to_radians())]))
}

/// An ellipse of two radii, turned about its centre; a circle where they are equal.
pub fn ellipse(
    centre: Corner,
    [across, down]: [f64; 2],
    degrees: f64,
) -> Result<ObjectShape, NoShape> {
    if across <= 0.0 || down <= 0.0 {
        return Err(NoShape::Passed(&EMPTY_ELLIPSE));
    }
    if (across - down).abs() < 1e-6 {
        return Ok(ObjectShape::Circle(centre, across));
    }
    Ok(ObjectShape::Polygons(vec![ellipse_corners(centre, [across, down], degrees.to_radians())]))
}

/// Corners of an ellipse with radii above 0, the first of which is turned by an angle in radians from right to down.
pub fn ellipse_corners(centre: Corner, [across, down]: [f64; 2], angle: f64) -> Vec<Corner> {
    let longest = across.max(down);
    let flat =
        |[x, y]: Corner| [centre[0] + x * (across / longest), centre[1] + y * (down / longest)];
    let corners: Vec<Corner> = circle([0.0, 0.0], longest).into_iter().map(flat).collect();
    turned(&corners, centre, angle)
}

/// Corners turned about a pivot, clockwise, by an angle in radians.
fn turned(corners: &[Corner], [x, y]: Corner, angle: f64) -> Vec<Corner> {
    let (sin, cos) = angle.sin_cos();
    let turn = |&[u, v]: &Corner| {
        let (u, v) = (u - x, v - y);
        [settled(x + u * cos - v * sin), settled(y + u * sin + v * cos)]
    };
    corners.iter().map(turn).collect()
}

/// A picture's size where pixels are given one by one.
///
/// # Errors
/// In words, if it is not known or above the limit for pictures.
pub fn pixel_size(size: Option<(usize, usize)>) -> Result<(usize, usize), String> {
    let (width, height) = size.ok_or("its picture's width and height are missing")?;
    let most = ReadLimits::default().pixels;
    match (width as u64).checked_mul(height as u64) {
        Some(pixels) if pixels <= most => Ok((width, height)),
        _ => Err(format!(
            "its picture is {width} x {height}, above the limit of {} million pixels",
            most / 1_000_000
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_take_minutes_is_refused() {
        let whole = |size: f64| ObjectShape::Box([0.0, 0.0, size, size]);
        let zigzag = |corners: usize, down: f64| {
            ObjectShape::Polygons(vec![
                (0..corners).map(|at| [1.0, if at % 2 == 0 { 0.0 } else { down }]).collect(),
            ])
        };
        let runs = ObjectShape::Runs(vec![0, 100_000_000]);
        for (shape, count, size, refused) in [
            (whole(10_000.0), 100, 10_000, false),
            (whole(10_000.0), 200, 10_000, true),
            (whole(1e300), 200, 10_000, true),
            (whole(10_000.0), 1000, 100, false),
            (zigzag(20_000, 65_535.0), 1, 65_535, true),
            (zigzag(20_000, 1.0), 1, 65_535, false),
            (ObjectShape::Circle([50.0, 50.0], f64::INFINITY), 1000, 100, false),
            (runs, 200, 10_000, true),
        ] {
            let objects = vec![Object::new("a", shape); count];
            let answer = affordable(&objects, size, size);
            assert_eq!(answer.is_err(), refused, "{count} of {:?}", objects[0]);
            if let Err(error) = answer {
                assert!(error.to_string().contains("above the limit"), "{error}");
            }
        }
    }
}
