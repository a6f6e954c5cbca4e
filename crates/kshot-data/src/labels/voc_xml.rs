//! Pascal VOC's XML, a file a picture: boxes in pixels counted from 1, all four sides inside.

use std::path::Path;

use roxmltree::{Document, Node};

use crate::annotation::{Object, ObjectShape};
use crate::error::{Error, Result};
use crate::finding::Findings;
use crate::labels::boxes::Swapped;
use crate::labels::collect::{FileItems, PictureItems};
use crate::labels::files::LabelFile;
use crate::labels::passed_over::NO_PLACE;
use crate::labels::shapes::filled_box;
use crate::labels::{Outlines, shares, tidy};

/// Whether an XML file is VOC's.
pub fn is(document: &Document<'_>) -> bool {
    document.root_element().has_tag_name("annotation")
}

/// Reads the boxes of an XML file.
///
/// # Errors
/// If an object has no name, or a side of its box is missing or no number.
pub fn read(path: &Path, document: &Document<'_>, findings: &mut Findings) -> Result<LabelFile> {
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
    let (mut all, mut items) = (FileItems::default(), PictureItems::default());
    let mut swapped = Swapped::default();
    let mut read: Vec<(Object, [f64; 4], String)> = Vec::new();
    for object in root.children().filter(|node| node.has_tag_name("object")) {
        let name = child(object, "name")
            .filter(|name| !name.is_empty())
            .ok_or_else(|| at(object, "an object without a name".to_owned()))?;
        let line = document.text_pos_at(object.range().start).row;
        let item = format!("`{name}` of line {line}");
        let Some(sides) = object.children().find(|node| node.has_tag_name("bndbox")) else {
            items.pass_over(&NO_PLACE, item);
            continue;
        };
        let mut raw = [0.0; 4];
        for (side, name) in raw.iter_mut().zip(["xmin", "ymin", "xmax", "ymax"]) {
            *side = number(sides, name)?;
        }
        let sides = swapped.put_right(raw, &item);
        let difficult = child(object, "difficult").is_some_and(|text| text == "1");
        read.push((
            Object { difficult, ..Object::new(name, ObjectShape::Box(sides)) },
            sides,
            item,
        ));
    }
    let relative = shares::are_all(read.iter().flat_map(|(_, sides, _)| sides).copied());
    for (number, (object, [left, top, right, bottom], item)) in (1..).zip(read) {
        if !relative && shares::are_all([left, top, right, bottom].into_iter()) {
            items.damage(shares::mixed(number, &object.class));
        }
        // The first pixel is number 1 and the last is inside: left and top move by one.
        let moved = |side: f64| if relative { side } else { tidy(side - 1.0) };
        let shape = filled_box([moved(left), moved(top), right, bottom]);
        items.take(shape.map(|shape| Object { shape, ..object }), || item);
    }
    swapped.tell(path, findings);
    let outlines = items.finish(path, &mut all);
    all.tell(path, "", findings);
    let size = root.children().find(|node| node.has_tag_name("size"));
    let side = |name: &str| size.and_then(|size| child(size, name)?.parse::<usize>().ok());
    // Some tools write 0 x 0 where they did not look.
    let size = side("width").zip(side("height")).filter(|&(width, height)| width > 0 && height > 0);
    let picture = child(root, "filename").map(str::to_owned);
    Ok(LabelFile::one(Outlines { picture, size, ..outlines }))
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
            ("<annotation>\n<object><name> </name></object></annotation>", 2, "without a name"),
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
    fn corners_as_they_were_dragged_are_put_right_and_strays_are_passed_over() {
        let object = |sides: [u8; 4]| {
            let [a, b, c, d] = sides;
            format!(
                "<object><name>x</name><bndbox><xmin>{a}</xmin><ymin>{b}</ymin><xmax>{c}</xmax><ymax>{d}</ymax>\
                 </bndbox></object>"
            )
        };
        let text = format!(
            "<annotation>{}{}<object><name>y</name></object></annotation>",
            object([9, 7, 3, 4]),
            object([5, 5, 4, 4])
        );
        let document = Document::parse(&text).unwrap();
        let mut findings = Findings::default();
        let file = read(Path::new("x.xml"), &document, &mut findings).unwrap();
        let boxes: Vec<_> = file.pictures[0].objects.iter().map(|of| &of.shape).collect();
        assert_eq!(
            boxes,
            [&ObjectShape::Box([2.0, 3.0, 9.0, 7.0]), &ObjectShape::Box([3.0, 3.0, 5.0, 5.0])]
        );
        let told: Vec<&str> = findings.0.iter().map(|finding| finding.what.as_str()).collect();
        assert_eq!(
            told,
            [
                "2 boxes have swapped corners, which are put right (`x` of line 1, `x` of line 1)",
                "1 item passed over: 1 object without a place (`y` of line 1)"
            ]
        );
    }

    #[test]
    fn other_xml_is_told_apart() {
        let is = |text| super::is(&Document::parse(text).unwrap());
        assert!(is("<annotation/>") && !is("<svg/>") && !is("<annotations/>"));
    }
}
