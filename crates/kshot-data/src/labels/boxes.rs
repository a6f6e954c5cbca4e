//! Boxes: `boxes.csv` with a line a box.

use std::collections::BTreeMap;
use std::path::Path;

use crate::annotation::Object;
use crate::error::{Error, Result};
use crate::finding::{Findings, Severity};
use crate::labels::collect::{FileItems, PictureItems};
use crate::labels::files::LabelFile;
use crate::labels::shapes::filled_box;
use crate::labels::{Outlines, tidy};
use crate::names::{Examples, counted};
use crate::text_file::{delimiter_of, text_of};

/// Names that tools give the column of pictures.
const IMAGE: [&str; 8] =
    ["image", "filename", "file_name", "file", "path", "image_path", "img", "name"];
/// The same of classes; `name` where the picture's column is called otherwise.
const CLASS: [&str; 6] = ["class", "label", "class_name", "category", "name", "species"];
/// The same of the corners' columns.
const CORNERS: [&[&str]; 4] = [
    &["xmin", "x_min", "x1", "left", "x0"],
    &["ymin", "y_min", "y1", "top", "y0"],
    &["xmax", "x_max", "x2", "right"],
    &["ymax", "y_max", "y2", "bottom"],
];
/// The same of a corner and the size.
const SIZED: [&[&str]; 4] = [
    &["bbox_x", "box_x", "x", "left", "xmin", "x_min", "x1", "x0"],
    &["bbox_y", "box_y", "y", "top", "ymin", "y_min", "y1", "y0"],
    // `width` and `height` may be the picture's.
    &["bbox_width", "box_width", "bbox_w", "box_w", "w", "width"],
    &["bbox_height", "box_height", "bbox_h", "box_h", "h", "height"],
];
/// The same of a centre and the size.
const CENTRED: [&[&str]; 4] = [
    &["cx", "xc", "x_center", "x_centre", "center_x", "centre_x", "xcenter"],
    &["cy", "yc", "y_center", "y_centre", "center_y", "centre_y", "ycenter"],
    SIZED[2],
    SIZED[3],
];
/// The columns as they are best called.
const VALID: &str = "image,xmin,ymin,xmax,ymax,class or image,x,y,width,height,class (x and y of the upper left corner)";

/// How the four numbers of a line are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sides {
    Corners,
    Sized,
    Centred,
}

impl Sides {
    /// Left, top, right, bottom, the corners in the file's order.
    fn corners(self, [a, b, c, d]: [f64; 4]) -> [f64; 4] {
        match self {
            Self::Corners => [a, b, c, d],
            Self::Sized => [a, b, tidy(a + c), tidy(b + d)],
            Self::Centred => [a - c / 2.0, b - d / 2.0, a + c / 2.0, b + d / 2.0].map(tidy),
        }
    }
}

/// Where the columns of a file are.
struct Columns {
    image: usize,
    class: usize,
    sides: [usize; 4],
    meant: Sides,
    difficult: Option<usize>,
}

impl Columns {
    /// By the header, in lower case.
    fn of(head: &[String]) -> Result<Self, String> {
        let place = |name: &&str| head.iter().position(|known| known == name);
        let find = |names: &[&str], taken: &[usize]| {
            names.iter().filter_map(place).find(|place| !taken.contains(place))
        };
        let numbers = head.iter().filter(|name| name.parse::<f64>().is_ok()).count();
        if numbers >= 4 {
            return Err(format!(
                "there is no header line, so that `{}` can be two corners (xmin,ymin,xmax,ymax) or a corner and the size \
                 (x,y,width,height); write the columns in the first line: {VALID}",
                head.join(",")
            ));
        }
        let missing = |name: &str| {
            format!(
                "there is no column `{name}` among {}; the columns are {VALID}, with a header line and a comma, \
                 semicolon, tab or bar between them",
                head.join(", ")
            )
        };
        let image = find(&IMAGE, &[]).ok_or_else(|| missing("image"))?;
        let class = find(&CLASS, &[image]).ok_or_else(|| missing("class"))?;
        let four = |names: [&[&str]; 4]| -> Option<[usize; 4]> {
            let [a, b, c, d] = names.map(|names| find(names, &[image, class]));
            Some([a?, b?, c?, d?])
        };
        let meanings =
            [(CORNERS, Sides::Corners), (CENTRED, Sides::Centred), (SIZED, Sides::Sized)];
        let found = meanings.into_iter().find_map(|(names, meant)| Some((four(names)?, meant)));
        let Some((sides, meant)) = found else {
            let names = ["xmin", "ymin", "xmax", "ymax"].into_iter().zip(CORNERS);
            let mut absent =
                names.filter(|(_, names)| find(names, &[]).is_none()).map(|(name, _)| name);
            return Err(missing(absent.next().unwrap_or("xmin")));
        };
        let difficult = head.iter().position(|name| name == "difficult");
        Ok(Self { image, class, sides, meant, difficult })
    }
}

/// The boxes of a CSV file with the columns `image,xmin,ymin,xmax,ymax,class` (in any order, under the names that tools
/// give them, with commas, semicolons, tabs or bars between; further columns are passed over; `difficult`, 0 or 1, is
/// kept), by picture. Where there is `width` and `height` instead of the larger sides, `x` and `y` are the upper left corner
/// or, by their name, the centre. Pixels count from 0; the larger sides are outside. Boxes without an inside go to the
/// findings, and so do those with swapped corners, which are put right.
///
/// # Errors
/// If the file cannot be read, a column or the header is missing, or a number is none.
pub fn read_csv(path: &Path, findings: &mut Findings) -> Result<LabelFile> {
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
    let columns = Columns::of(&head).map_err(|what| wrong(1, what))?;
    let mut pictures: BTreeMap<String, PictureItems> = BTreeMap::new();
    let mut swapped = Swapped::default();
    for row in reader.records() {
        let row = row.map_err(damaged)?;
        let line = row.position().map_or(1, |position| position.line() as usize);
        let value = |column: usize| row.get(column).unwrap_or_default();
        let mut numbers = [0.0; 4];
        for (number, column) in numbers.iter_mut().zip(columns.sides) {
            let text = value(column);
            // Where semicolons stand between columns, commas are in numbers.
            let read = text.replace(',', ".").parse::<f64>().ok();
            *number = read.filter(|number| number.is_finite()).ok_or_else(|| {
                wrong(
                    line,
                    format!("`{}` is `{text}`; it must be a number of pixels", head[column]),
                )
            })?;
        }
        let item = format!("line {line}");
        let corners = columns.meant.corners(numbers);
        let sides = match columns.meant {
            Sides::Corners => swapped.put_right(corners, &item),
            Sides::Sized | Sides::Centred => corners,
        };
        let difficult = columns.difficult.is_some_and(|at| matches!(value(at), "1" | "true"));
        let object = filled_box(sides)
            .map(|shape| Object { difficult, ..Object::new(value(columns.class), shape) });
        let picture = value(columns.image).replace('\\', "/");
        pictures.entry(picture).or_default().take(object, || item);
    }
    swapped.tell(path, findings);
    let mut all = FileItems::default();
    let named = |(name, items): (String, PictureItems)| Outlines {
        picture: Some(name),
        ..items.finish(path, &mut all)
    };
    let pictures = pictures.into_iter().map(named).collect();
    all.tell(path, "", findings);
    Ok(LabelFile { classes: Vec::new(), pictures })
}

/// Boxes of a file whose corners stood in another order.
#[derive(Debug, Default)]
pub struct Swapped(Examples);

impl Swapped {
    /// Left, top, right, bottom; a box with swapped corners is counted.
    pub fn put_right(&mut self, sides: [f64; 4], item: &str) -> [f64; 4] {
        let right = sorted(sides);
        if right != sides {
            self.0.add(item);
        }
        right
    }

    /// One warning of all, where there is one.
    pub fn tell(self, path: &Path, findings: &mut Findings) {
        if self.0.count() == 0 {
            return;
        }
        let boxes = counted(self.0.count(), "box has", "boxes have");
        let what = format!("{boxes} swapped corners, which are put right ({})", self.0);
        findings.add(Severity::Warning, path, what, "look at an overlay if x and y may be swapped");
    }
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
    use crate::annotation::ObjectShape;

    fn read_text(text: &str) -> (Result<LabelFile>, Findings) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("boxes.csv");
        std::fs::write(&path, text).unwrap();
        let mut findings = Findings::default();
        (read_csv(&path, &mut findings), findings)
    }

    /// The objects of a file's only picture.
    fn only(text: &str) -> (Vec<Object>, Findings) {
        let (file, findings) = read_text(text);
        let [picture] = <[Outlines; 1]>::try_from(file.unwrap().pictures).unwrap();
        assert_eq!(picture.picture.as_deref(), Some("sub/a.png"));
        (picture.objects, findings)
    }

    #[test]
    fn a_bad_line_is_named() {
        let error = |text| read_text(text).0.unwrap_err().to_string();
        let line = error("image,xmin,ymin,xmax,ymax,class\na.png,5,x,2,9,x\n");
        assert!(line.contains("boxes.csv:2") && line.contains("`ymin` is `x`"), "{line}");
        let column = error("image;xmin;ymin;xmax;class\n");
        assert!(column.contains("no column `ymax` among image, xmin"), "{column}");
        let head = error("a.png,1,2,30,40,cell\n");
        assert!(head.contains("no header line") && head.contains("two corners"), "{head}");
        assert!(head.contains("a corner and the size (x,y,width,height)"), "{head}");
    }

    #[test]
    fn every_delimiter_and_header_is_read() {
        for text in [
            "image,xmin,ymin,xmax,ymax,class\nsub/a.png,1,2,3.5,4,cell\n",
            "image;xmin;ymin;xmax;ymax;class\r\nsub\\a.png;1;2;3,5;4;cell\r\n",
            "\u{feff}name|class|left|top|right|bottom\nsub/a.png|cell|1|2|3.5|4\n",
            "\"class\",\"ymax\",\"xmax\",\"ymin\",\"xmin\",\"image\"\n\"cell\",4,3.5,2,1,\"sub/a.png\"\n",
            "filename,x,y,w,h,label\nsub/a.png,1,2,2.5,2,cell\n",
            "label,bbox_x,bbox_y,bbox_width,bbox_height,image,width,height\ncell,1,2,2.5,2,sub/a.png,90,80\n",
            "image,x_center,y_center,width,height,class\nsub/a.png,2.25,3,2.5,2,cell\n",
            "filename,width,height,class,xmin,ymin,xmax,ymax\nsub/a.png,90,80,cell,1,2,3.5,4\n",
        ] {
            let (boxes, findings) = only(text);
            let object = Object::new("cell", ObjectShape::Box([1.0, 2.0, 3.5, 4.0]));
            assert_eq!(boxes, [object], "{text}");
            assert_eq!(findings.0, []);
        }
        let (boxes, findings) =
            only("Filename\tx1\ty1\tx2\ty2\tlabel\nsub/a.png\t3.5\t4\t1\t2\tcell\n");
        assert_eq!(boxes[0].shape, ObjectShape::Box([1.0, 2.0, 3.5, 4.0]));
        assert_eq!(findings.0[0].what, "1 box has swapped corners, which are put right (line 2)");
        let (file, findings) = read_text("image,xmin,ymin,xmax,ymax,class\na.png,1,2,1,4,cell\n");
        let picture = &file.unwrap().pictures[0];
        assert!(picture.objects.is_empty() && picture.damaged.is_some());
        assert!(findings.0[0].what.contains("1 empty box (line 2)"));
    }

    #[test]
    fn what_is_written_reads_back() {
        let mut hard = Object::new("a, \"b\"", ObjectShape::Box([0.1, 2.0, 3.5, 4.0]));
        hard.difficult = true;
        let plain = Object::new("c", ObjectShape::Box([1.0, 2.0, 3.0, 1e9]));
        let rows = [("x.png", &hard), ("sub/y.png", &plain)];
        let sides = |object: &Object| object.shape.bounds(0).unwrap();
        let text = text(rows.iter().map(|&(name, object)| (name, object, sides(object)))).unwrap();
        let (file, _) = read_text(std::str::from_utf8(&text).unwrap());
        let back: Vec<_> = file.unwrap().pictures.into_iter().map(|of| of.objects).collect();
        assert_eq!(back, [[plain], [hard]]);
    }
}
