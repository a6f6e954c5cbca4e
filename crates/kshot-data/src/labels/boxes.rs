//! Boxes: `boxes.csv` with a line a box.

use std::collections::BTreeMap;
use std::path::Path;

use crate::annotation::{Object, ObjectShape};
use crate::error::{Error, Result};
use crate::finding::Findings;
use crate::labels::passed_over::PassedOver;
use crate::text_file::{delimiter_of, text_of};

/// The columns, each with the names that tools give it.
const COLUMNS: [(&str, &[&str]); 6] = [
    ("image", &["image", "filename", "file_name", "file", "path", "image_path", "img", "name"]),
    ("xmin", &["xmin", "x_min", "x1", "left", "x0"]),
    ("ymin", &["ymin", "y_min", "y1", "top", "y0"]),
    ("xmax", &["xmax", "x_max", "x2", "right"]),
    ("ymax", &["ymax", "y_max", "y2", "bottom"]),
    ("class", &["class", "label", "class_name", "category", "name", "species"]),
];

/// The boxes of a CSV file with the columns `image,xmin,ymin,xmax,ymax,class` (in any order, under the names that tools
/// give them, with commas, semicolons, tabs or bars between; further columns are passed over; `difficult`, 0 or 1, is
/// kept), by picture. Pixels count from 0; the larger sides are outside. Boxes without an inside go to the findings.
///
/// # Errors
/// If the file cannot be read, a column is missing, or a number is none.
pub fn read_csv(path: &Path, findings: &mut Findings) -> Result<BTreeMap<String, Vec<Object>>> {
    let text = text_of(path)?;
    let head = text.lines().next().unwrap_or_default();
    let delimiter = delimiter_of(head);
    let wrong = |line: usize, what: String| Error::data(what).at_line(path, line);
    let damaged = |error: csv::Error| {
        let line = error.position().map_or(1, |position| position.line() as usize);
        wrong(line, format!("not a line of columns: {error}"))
    };
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .delimiter(delimiter)
        .from_reader(text.as_bytes());
    let head: Vec<String> =
        reader.headers().map_err(damaged)?.iter().map(str::to_lowercase).collect();
    let mut at = [0; 6];
    let mut taken = Vec::new();
    for (column, (name, names)) in at.iter_mut().zip(COLUMNS) {
        let place = |of: &&str| head.iter().position(|known| known == of);
        let free = names.iter().filter_map(place).find(|place| !taken.contains(place));
        *column = free.ok_or_else(|| {
            let what = format!(
                "there is no column `{name}` among {}; the columns are image,xmin,ymin,xmax,ymax,class, with a header \
                 line and a comma, semicolon, tab or bar between them",
                head.join(", ")
            );
            wrong(1, what)
        })?;
        taken.push(*column);
    }
    let hard = head.iter().position(|name| name == "difficult");
    let mut boxes: BTreeMap<String, Vec<Object>> = BTreeMap::new();
    let mut passed = PassedOver::default();
    for row in reader.records() {
        let row = row.map_err(damaged)?;
        let line = row.position().map_or(1, |position| position.line() as usize);
        let value = |column: usize| row.get(column).unwrap_or_default();
        let mut sides = [0.0; 4];
        for (side, column) in sides.iter_mut().zip(&at[1..5]) {
            let text = value(*column);
            // Where semicolons stand between columns, commas are in numbers.
            let number = text.replace(',', ".").parse::<f64>().ok();
            *side = number.filter(|number| number.is_finite()).ok_or_else(|| {
                wrong(
                    line,
                    format!("`{}` is `{text}`; it must be a number of pixels", head[*column]),
                )
            })?;
        }
        let sides = sorted(sides);
        if check(sides).is_err() {
            passed.add("empty boxes", format!("line {line}"));
            continue;
        }
        let mut object = Object::new(value(at[5]), ObjectShape::Box(sides));
        object.difficult = hard.is_some_and(|column| matches!(value(column), "1" | "true"));
        boxes.entry(value(at[0]).replace('\\', "/")).or_default().push(object);
    }
    passed.tell(path, findings);
    Ok(boxes)
}

/// Left, top, right, bottom of a box whose corners are in any order.
pub fn sorted([ax, ay, bx, by]: [f64; 4]) -> [f64; 4] {
    [ax.min(bx), ay.min(by), ax.max(bx), ay.max(by)]
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

    fn read_text(text: &str) -> (Result<BTreeMap<String, Vec<Object>>>, Findings) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("boxes.csv");
        std::fs::write(&path, text).unwrap();
        let mut findings = Findings::default();
        (read_csv(&path, &mut findings), findings)
    }

    #[test]
    fn a_bad_line_is_named() {
        let error = |text| read_text(text).0.unwrap_err().to_string();
        let line = error("image,xmin,ymin,xmax,ymax,class\na.png,5,x,2,9,x\n");
        assert!(line.contains("boxes.csv:2") && line.contains("`ymin` is `x`"), "{line}");
        let column = error("image;xmin;ymin;xmax;class\n");
        assert!(column.contains("no column `ymax` among image, xmin"), "{column}");
    }

    #[test]
    fn every_delimiter_and_header_is_read() {
        for text in [
            "image,xmin,ymin,xmax,ymax,class\nsub/a.png,1,2,3.5,4,cell\n",
            "image;xmin;ymin;xmax;ymax;class\r\nsub\\a.png;1;2;3,5;4;cell\r\n",
            "Filename\tx1\ty1\tx2\ty2\tlabel\nsub/a.png\t3.5\t4\t1\t2\tcell\n",
            "\u{feff}name|class|left|top|right|bottom\nsub/a.png|cell|1|2|3.5|4\n",
        ] {
            let (boxes, findings) = read_text(text);
            let object = Object::new("cell", ObjectShape::Box([1.0, 2.0, 3.5, 4.0]));
            assert_eq!(boxes.unwrap()["sub/a.png"], [object], "{text}");
            assert_eq!(findings.0, []);
        }
        let (boxes, findings) = read_text("image,xmin,ymin,xmax,ymax,class\na.png,1,2,1,4,cell\n");
        assert!(boxes.unwrap().is_empty() && findings.0[0].what.contains("1 empty boxes (line 2)"));
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
        let back = read_csv(&path, &mut Findings::default()).unwrap();
        assert_eq!(back["x.png"], [hard]);
        assert_eq!(back["sub/y.png"], [plain]);
    }
}
