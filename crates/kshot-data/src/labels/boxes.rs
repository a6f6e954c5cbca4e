//! Boxes: `boxes.csv` with a line a box.

use std::collections::BTreeMap;
use std::path::Path;

use crate::annotation::{Object, ObjectShape};
use crate::error::{Error, Result};

/// A line; `xmax` and `ymax` are outside.
#[derive(Debug, serde::Deserialize)]
struct BoxRow {
    image: String,
    xmin: f64,
    ymin: f64,
    xmax: f64,
    ymax: f64,
    class: String,
    #[serde(default)]
    difficult: Option<u8>,
}

/// The boxes of a CSV file with the columns `image,xmin,ymin,xmax,ymax,class` (in any order, further
/// ones are passed over; `difficult`, 0 or 1, is kept), by picture. Pixels count from 0; `xmax` and
/// `ymax` are outside.
///
/// # Errors
/// If the file cannot be read, a column is missing, a number is none, or a box is empty.
pub fn read_csv(path: &Path) -> Result<BTreeMap<String, Vec<Object>>> {
    let wrong = |error: csv::Error| {
        let line = error.position().map_or(1, |position| position.line() as usize);
        Error::data(format!(
            "{error}; the columns are image,xmin,ymin,xmax,ymax,class, with a header line"
        ))
        .at_line(path, line)
    };
    let mut reader =
        csv::ReaderBuilder::new().trim(csv::Trim::All).from_path(path).map_err(wrong)?;
    let mut boxes: BTreeMap<String, Vec<Object>> = BTreeMap::new();
    for (index, row) in reader.deserialize::<BoxRow>().enumerate() {
        let row = row.map_err(wrong)?;
        let sides = [row.xmin, row.ymin, row.xmax, row.ymax];
        check(sides).map_err(|error| error.at_line(path, index + 2))?;
        let mut object = Object::new(row.class, ObjectShape::Box(sides));
        object.difficult = row.difficult.unwrap_or(0) != 0;
        boxes.entry(row.image.replace('\\', "/")).or_default().push(object);
    }
    Ok(boxes)
}

/// Refuses a box without an inside.
///
/// # Errors
/// If left is not below right, top not below bottom, or a side is no number.
pub fn check([left, top, right, bottom]: [f64; 4]) -> Result<()> {
    let sound =
        left < right && top < bottom && [left, top, right, bottom].iter().all(|v| v.is_finite());
    if sound {
        return Ok(());
    }
    Err(Error::data(format!(
        "an empty box: x {left} to {right}, y {top} to {bottom}; xmax and ymax must be the larger ones"
    )))
}

/// The text of `boxes.csv`: all boxes of each picture, by name.
///
/// # Errors
/// Never in practice: the text is made in memory.
pub fn text<'a>(
    rows: impl Iterator<Item = (&'a str, &'a Object, [f64; 4])> + Clone,
) -> Result<Vec<u8>, csv::Error> {
    let difficult = rows.clone().any(|(_, object, _)| object.difficult);
    let mut writer = csv::Writer::from_writer(Vec::new());
    let mut header = vec!["image", "xmin", "ymin", "xmax", "ymax", "class"];
    if difficult {
        header.push("difficult");
    }
    writer.write_record(&header)?;
    for (picture, object, sides) in rows {
        let mut record = vec![picture.to_owned()];
        record.extend(sides.iter().map(f64::to_string));
        record.push(object.class.clone());
        if difficult {
            record.push(u8::from(object.difficult).to_string());
        }
        writer.write_record(&record)?;
    }
    writer.into_inner().map_err(|error| csv::Error::from(error.into_error()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_line_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("boxes.csv");
        std::fs::write(&path, "image,xmin,ymin,xmax,ymax,class\na.png,5,5,2,9,x\n").unwrap();
        let error = read_csv(&path).unwrap_err().to_string();
        assert!(error.contains("boxes.csv:2") && error.contains("empty box"), "{error}");
    }

    #[test]
    fn what_is_written_reads_back() {
        let mut hard = Object::new("a, \"b\"", ObjectShape::Box([0.1, 2.0, 3.5, 4.0]));
        hard.difficult = true;
        let plain = Object::new("c", ObjectShape::Box([1.0, 2.0, 3.0, 1e9]));
        let rows = [("x.png", &hard), ("sub/y.png", &plain)];
        let sides = |object: &Object| object.shape.bounds(0).unwrap();
        let text = text(rows.iter().map(|&(name, object)| (name, object, sides(object)))).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("boxes.csv");
        std::fs::write(&path, text).unwrap();
        let back = read_csv(&path).unwrap();
        assert_eq!(back["x.png"], [hard]);
        assert_eq!(back["sub/y.png"], [plain]);
    }
}
