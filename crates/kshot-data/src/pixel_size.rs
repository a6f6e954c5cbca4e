//! How large a pixel is, for areas that are not pixels.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::names;

/// Units of length: as they are written, and as ASCII columns are named.
const UNITS: [(&str, &str); 9] = [
    ("nm", "nm"),
    ("um", "um"),
    ("µm", "um"), // the micro sign
    ("μm", "um"), // the Greek letter
    ("mm", "mm"),
    ("cm", "cm"),
    ("m", "m"),
    ("km", "km"),
    ("in", "in"),
];

/// The side of a square pixel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PixelSize {
    side: f64,
    unit: &'static str,
}

impl PixelSize {
    /// The area of that many pixels, in square units.
    pub fn area(&self, pixels: u64) -> f64 {
        pixels as f64 * self.side * self.side
    }

    /// The column of areas, such as `area_um2`.
    pub fn column(&self) -> String {
        format!("area_{}2", self.unit)
    }
}

impl fmt::Display for PixelSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.side, self.unit)
    }
}

impl From<PixelSize> for String {
    fn from(size: PixelSize) -> Self {
        size.to_string()
    }
}

impl TryFrom<String> for PixelSize {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl FromStr for PixelSize {
    type Err = Error;

    /// A number and a unit, such as `0.325um`.
    ///
    /// # Errors
    /// If one is missing, the unit is none of nm, um, mm, cm, m, km and in, or the number is not above 0 and finite.
    fn from_str(text: &str) -> Result<Self> {
        let at =
            text.find(|c: char| c.is_alphabetic() && c != 'e' && c != 'E').unwrap_or(text.len());
        let (number, unit) = (text[..at].trim(), text[at..].trim());
        let side: f64 = number.parse().ok().filter(|&side| side > 0.0 && side < f64::INFINITY).ok_or_else(|| {
            Error::config(format!(
                "`{text}` is no size of a pixel: give how long its side is, a number above 0 and a unit, such as 0.325um"
            ))
        })?;
        let known: Vec<&str> =
            UNITS.iter().filter(|unit| unit.0.is_ascii()).map(|unit| unit.0).collect();
        if unit.is_empty() {
            return Err(Error::config(format!(
                "`{text}` has no unit; write it behind the number, such as {number}um (valid are {})",
                known.join(", ")
            )));
        }
        match UNITS.iter().find(|(written, _)| *written == unit) {
            Some(&(_, unit)) => Ok(Self { side, unit }),
            None => Err(Error::config(names::unknown("unit", unit, &known))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_and_a_unit() {
        for (text, area, column) in [
            ("0.5um", 2.5, "area_um2"),
            ("0.5 µm", 2.5, "area_um2"),
            ("2e1nm", 4000.0, "area_nm2"),
            ("3m", 90.0, "area_m2"),
        ] {
            let size: PixelSize = text.parse().unwrap();
            assert!((size.area(10) - area).abs() < 1e-9, "{text}");
            assert_eq!(size.column(), column);
            assert_eq!(size.to_string().parse::<PixelSize>().unwrap(), size);
        }
        for (text, said) in [
            ("0.5", "has no unit"),
            ("um", "a number above 0"),
            ("0um", "a number above 0"),
            ("-1mm", "a number above 0"),
            ("infum", "a number above 0"),
            ("1e999mm", "a number above 0"),
            ("1 parsec", "unknown unit"),
        ] {
            let error = text.parse::<PixelSize>().unwrap_err().to_string();
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
