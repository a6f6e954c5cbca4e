//! Shapes that several tools have: turned boxes, ellipses, and why an item is none.

use crate::annotation::{Corner, ObjectShape, circle, rectangle};
use crate::image::ReadLimits;
use crate::labels::passed_over::{EMPTY_BOX, EMPTY_ELLIPSE, Reason};
use crate::labels::{boxes, settled};

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
