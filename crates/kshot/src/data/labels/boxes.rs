//! Boxes: `boxes.csv` with a line a box.

use std::collections::BTreeMap;
use std::path::Path;

use crate::data::mask::{BACKGROUND, Mask};
use crate::error::{Error, Result};

/// One box, in pixels; `xmax` and `ymax` are outside.
#[derive(Debug, Clone, PartialEq, serde::Deserialize)]
pub struct LabelledBox {
    /// The picture's file name.
    pub image: String,
    /// Left.
    pub xmin: f64,
    /// Top.
    pub ymin: f64,
    /// Right.
    pub xmax: f64,
    /// Bottom.
    pub ymax: f64,
    /// The class's name.
    pub class: String,
}

/// The boxes of a CSV file with the columns `image,xmin,ymin,xmax,ymax,class`, by picture.
///
/// # Errors
/// If the file cannot be read, a column is missing, a number is none, or a box is empty.
pub fn read_csv(path: &Path) -> Result<BTreeMap<String, Vec<LabelledBox>>> {
    let wrong = |error: csv::Error| {
        let line = error.position().map_or(1, |position| position.line() as usize);
        Error::data(format!(
            "{error}; the columns are image,xmin,ymin,xmax,ymax,class, with a header line"
        ))
        .at_line(path, line)
    };
    let mut reader =
        csv::ReaderBuilder::new().trim(csv::Trim::All).from_path(path).map_err(wrong)?;
    let mut boxes: BTreeMap<String, Vec<LabelledBox>> = BTreeMap::new();
    for (index, row) in reader.deserialize::<LabelledBox>().enumerate() {
        let row = row.map_err(wrong)?;
        if row.xmax <= row.xmin || row.ymax <= row.ymin {
            return Err(Error::data(format!(
                "an empty box: x {} to {}, y {} to {}; xmax and ymax must be the larger ones",
                row.xmin, row.xmax, row.ymin, row.ymax
            ))
            .at_line(path, index + 2));
        }
        boxes.entry(row.image.clone()).or_default().push(row);
    }
    Ok(boxes)
}

/// Paints boxes: inside is the class, outside is background. The smaller box wins where two overlap.
///
/// # Errors
/// If a class is not among `classes`.
pub fn paint(
    boxes: &[LabelledBox],
    classes: &[String],
    width: usize,
    height: usize,
    path: &Path,
) -> Result<Mask> {
    let mut mask = Mask::filled(width, height, BACKGROUND);
    let mut order: Vec<&LabelledBox> = boxes.iter().collect();
    let area = |row: &LabelledBox| (row.xmax - row.xmin) * (row.ymax - row.ymin);
    order.sort_by(|a, b| area(b).total_cmp(&area(a)));
    for row in order {
        let Some(class) = classes.iter().position(|class| *class == row.class) else {
            return Err(Error::data(format!(
                "the class `{}` is not among the classes ({}); add it to classes.txt or mend the name",
                row.class,
                classes.join(", ")
            ))
            .in_file(path));
        };
        let clip = |value: f64, size: usize| (value.round().max(0.0) as usize).min(size);
        let columns = clip(row.xmin, width)..clip(row.xmax, width);
        for y in clip(row.ymin, height)..clip(row.ymax, height) {
            mask.pixels[y * width..][columns.clone()].fill(class as u8 + 1);
        }
    }
    Ok(mask)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smaller_boxes_win_and_borders_clip() {
        let row = |xmin, xmax, class: &str| LabelledBox {
            image: "a".into(),
            xmin,
            ymin: 0.0,
            xmax,
            ymax: 1.0,
            class: class.into(),
        };
        let classes = ["big".to_owned(), "small".to_owned()];
        let boxes = [row(2.0, 3.0, "small"), row(1.0, 99.0, "big")];
        let mask = paint(&boxes, &classes, 5, 1, Path::new("boxes.csv")).unwrap();
        assert_eq!(mask.pixels, [0, 1, 2, 1, 1]);
    }

    #[test]
    fn a_bad_line_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("boxes.csv");
        std::fs::write(&path, "image,xmin,ymin,xmax,ymax,class\na.png,5,5,2,9,x\n").unwrap();
        let error = read_csv(&path).unwrap_err().to_string();
        assert!(error.contains("boxes.csv:2") && error.contains("empty box"), "{error}");
    }
}
