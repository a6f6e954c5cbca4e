//! Pascal VOC's XML, a file a picture: boxes in pixels counted from 1, all four sides inside.

use std::path::Path;

use roxmltree::{Document, Node};

use crate::annotation::{Object, ObjectShape};
use crate::error::{Error, Result};
use crate::finding::Findings;
use crate::labels::files::LabelFile;
use crate::labels::{Outlines, boxes, tidy};

/// Whether an XML file is VOC's.
pub fn is(document: &Document<'_>) -> bool {
    document.root_element().has_tag_name("annotation")
}

/// Reads the boxes of an XML file.
///
/// # Errors
/// If a box is empty or incomplete.
pub fn read(path: &Path, document: &Document<'_>, _: &mut Findings) -> Result<LabelFile> {
    let root = document.root_element();
    let at = |node: Node, message: String| {
        Error::data(message).at_line(path, document.text_pos_at(node.range().start).row as usize)
    };
    let number = |node: Node, name: &str| -> Result<f64> {
        let text = child(node, name).ok_or_else(|| {
            at(node, format!("`{name}` is missing in `{}`", node.tag_name().name()))
        })?;
        text.parse::<f64>()
            .ok()
            .filter(|value| value.is_finite())
            .ok_or_else(|| at(node, format!("`{name}` is `{text}`; it must be a number of pixels")))
    };
    let mut objects = Vec::new();
    for object in root.children().filter(|node| node.has_tag_name("object")) {
        let name = child(object, "name")
            .filter(|name| !name.is_empty())
            .ok_or_else(|| at(object, "an object without a name".to_owned()))?;
        let sides = object
            .children()
            .find(|node| node.has_tag_name("bndbox"))
            .ok_or_else(|| at(object, format!("the object `{name}` has no `bndbox`")))?;
        // The first pixel is number 1 and the last is inside: left and top move by one.
        let sides = [
            tidy(number(sides, "xmin")? - 1.0),
            tidy(number(sides, "ymin")? - 1.0),
            number(sides, "xmax")?,
            number(sides, "ymax")?,
        ];
        boxes::check(sides).map_err(|error| at(object, error.message().to_owned()))?;
        let mut read = Object::new(name, ObjectShape::Box(sides));
        read.difficult = child(object, "difficult").is_some_and(|text| text == "1");
        objects.push(read);
    }
    let size = root.children().find(|node| node.has_tag_name("size"));
    let side = |name: &str| size.and_then(|size| child(size, name)?.parse::<usize>().ok());
    // Some tools write 0 x 0 where they did not look.
    let size = side("width").zip(side("height")).filter(|&(width, height)| width > 0 && height > 0);
    let picture = child(root, "filename").map(str::to_owned);
    let file = path.to_owned();
    Ok(LabelFile::one(Outlines { file, picture, size, relative: false, objects }))
}

fn child<'a>(node: Node<'a, '_>, name: &str) -> Option<&'a str> {
    node.children()
        .find(|child| child.has_tag_name(name))
        .map(|child| child.text().unwrap_or("").trim())
}

/// The text of an XML file.
pub fn text(picture: &str, width: usize, height: usize, objects: &[(&Object, [f64; 4])]) -> String {
    let mut text = format!(
        "<annotation>\n  <folder>images</folder>\n  <filename>{}</filename>\n  <size>\n    \
         <width>{width}</width>\n    <height>{height}</height>\n    <depth>3</depth>\n  </size>\n  \
         <segmented>0</segmented>\n",
        escape(picture)
    );
    for (object, [left, top, right, bottom]) in objects {
        text.push_str(&format!(
            "  <object>\n    <name>{}</name>\n    <pose>Unspecified</pose>\n    \
             <truncated>0</truncated>\n    <difficult>{}</difficult>\n    <bndbox>\n      \
             <xmin>{}</xmin>\n      <ymin>{}</ymin>\n      <xmax>{right}</xmax>\n      \
             <ymax>{bottom}</ymax>\n    </bndbox>\n  </object>\n",
            escape(&object.class),
            u8::from(object.difficult),
            tidy(left + 1.0),
            tidy(top + 1.0),
        ));
    }
    text.push_str("</annotation>\n");
    text
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<Outlines> {
        let document = Document::parse(text).unwrap();
        let mut findings = Findings::default();
        let file = read(Path::new("x.xml"), &document, &mut findings)?;
        Ok(file.pictures.into_iter().next().unwrap())
    }

    #[test]
    fn what_is_written_reads_back() {
        let mut hard = Object::new("a & <b>", ObjectShape::Box([0.0, 2.1, 3.0, 4.0]));
        hard.difficult = true;
        let plain = Object::new("c", ObjectShape::Box([1.0, 2.0, 3.0, 5.5]));
        let sides = |object: &Object| object.shape.bounds(0).unwrap();
        let text = text("x.png", 8, 9, &[(&hard, sides(&hard)), (&plain, sides(&plain))]);
        assert!(text.contains("<xmin>1</xmin>") && text.contains("<ymin>3.1</ymin>"), "{text}");
        let back = read_text(&text).unwrap();
        assert_eq!(back.objects, [hard, plain]);
        assert_eq!((back.size, back.picture.as_deref()), (Some((8, 9)), Some("x.png")));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (body, line, word) in [
            ("<annotation>\n<object><name>a</name></object></annotation>", 2, "bndbox"),
            (
                "<annotation><object><name>a</name>\n<bndbox><xmin>1</xmin><ymin>x</ymin></bndbox></object></annotation>",
                2,
                "`ymin` is `x`",
            ),
        ] {
            let error = read_text(body).unwrap_err().to_string();
            assert!(error.contains(&format!("x.xml:{line}")) && error.contains(word), "{error}");
        }
    }

    #[test]
    fn other_xml_is_told_apart() {
        let is = |text| super::is(&Document::parse(text).unwrap());
        assert!(is("<annotation/>") && !is("<svg/>") && !is("<annotations/>"));
    }
}
