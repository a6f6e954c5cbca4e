//! Label files of tools, told apart by what is in them: a line of a table for each format.
//!
//! Where files lie and which picture they are for is [`LabelFolder`](crate::label_folder::LabelFolder)'s business.

use std::path::Path;

use roxmltree::Document;
use serde_json::Value;

use crate::annotation::Object;
use crate::error::Result;
use crate::finding::{Findings, Severity};
use crate::labels::collect::nothing_left;
use crate::labels::passed_over::{NO_CLASS, PassedOver};
use crate::labels::{
    Outlines, coco, createml, cvat_xml, darwin, datumaro, geojson, label_studio, labelme, names,
    shares, supervisely, via, voc_xml,
};
use crate::names::counted;

/// What a file says.
#[derive(Debug, Default, PartialEq)]
pub struct LabelFile {
    /// The tool's own list of classes in its order, where the file has one.
    pub classes: Vec<String>,
    /// Pictures with their objects. One that does not say its picture's name is for the picture of the file's own name.
    pub pictures: Vec<Outlines>,
}

impl LabelFile {
    /// Of a single picture.
    pub fn one(outlines: Outlines) -> Self {
        Self { classes: Vec::new(), pictures: vec![outlines] }
    }

    /// Settles what is the same for all formats: coordinates that are shares, and names that are fit for a line of text.
    pub fn settle(&mut self, path: &Path, findings: &mut Findings) {
        shares::settle(path, &mut self.pictures, findings);
        let mut tidied = 0;
        self.classes = names::tidied_list(path, std::mem::take(&mut self.classes), findings);
        let mut passed = PassedOver::default();
        for picture in &mut self.pictures {
            tidy_classes(picture, &mut tidied, &mut passed);
        }
        passed.tell(path, findings);
        if tidied > 0 {
            let objects = counted(tidied, "object", "objects");
            let what = format!(
                "the class names of {objects} hold line breaks or control characters, which become blanks"
            );
            findings.add(Severity::Warning, path, what, "mend the names in the labelling tool");
        }
    }
}

/// Makes the class names of a picture's objects fit for a line of text; objects without one are passed over.
fn tidy_classes(picture: &mut Outlines, tidied: &mut usize, passed: &mut PassedOver) {
    let mut unnamed = PassedOver::default();
    let mut too_long = None;
    let mut number = 0;
    let tidy = |object: &mut Object| {
        number += 1;
        let name = names::tidied(&object.class).into_owned();
        if name != object.class {
            *tidied += 1;
            object.class = name;
        }
        if object.class.len() > names::MOST_BYTES {
            too_long.get_or_insert((number, std::mem::take(&mut object.class)));
        }
        let named = !object.class.trim().is_empty();
        if !named {
            unnamed.add(&NO_CLASS, format!("object {number}"));
        }
        named
    };
    picture.objects.retain_mut(tidy);
    if let Some((number, name)) = too_long {
        let what = names::too_long(&name);
        picture.damaged.get_or_insert(format!("object {number} has {what}"));
        return;
    }
    if picture.objects.is_empty() && !unnamed.is_empty() {
        picture.damaged.get_or_insert_with(|| nothing_left(&unnamed));
    }
    passed.append(unnamed);
}

/// A format of label files.
pub struct FileFormat<Is, Read> {
    /// Its name, for people.
    pub name: &'static str,
    /// Whether a file is for the picture of its own name, whatever picture it says.
    pub by_file_name: bool,
    /// Whether a file is of this format.
    pub is: Is,
    /// Reads one; single objects that are wrong go to the findings.
    pub read: Read,
}

type JsonFormat =
    FileFormat<fn(&Value) -> bool, fn(&Path, &Value, &mut Findings) -> Result<LabelFile>>;
type XmlFormat = FileFormat<
    fn(&Document<'_>) -> bool,
    fn(&Path, &Document<'_>, &mut Findings) -> Result<LabelFile>,
>;

/// Formats of JSON, in the order in which they label a picture that several have.
pub const JSON: &[JsonFormat] = &[
    FileFormat { name: "LabelMe", by_file_name: true, is: labelme::is, read: labelme::read },
    FileFormat { name: "COCO", by_file_name: false, is: coco::is, read: coco::read },
    FileFormat {
        name: "Label Studio",
        by_file_name: false,
        is: label_studio::is,
        read: label_studio::read,
    },
    FileFormat { name: "VIA", by_file_name: false, is: via::is, read: via::read },
    FileFormat {
        name: "Supervisely",
        by_file_name: false,
        is: supervisely::is,
        read: supervisely::read,
    },
    FileFormat { name: "Darwin", by_file_name: false, is: darwin::is, read: darwin::read },
    FileFormat { name: "Datumaro", by_file_name: false, is: datumaro::is, read: datumaro::read },
    FileFormat { name: "GeoJSON", by_file_name: true, is: geojson::is, read: geojson::read },
    FileFormat { name: "CreateML", by_file_name: false, is: createml::is, read: createml::read },
];

/// The same of XML.
pub const XML: &[XmlFormat] = &[
    FileFormat { name: "Pascal VOC", by_file_name: true, is: voc_xml::is, read: voc_xml::read },
    FileFormat { name: "CVAT", by_file_name: false, is: cvat_xml::is, read: cvat_xml::read },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::annotation::ObjectShape;

    #[test]
    fn names_are_tidied_or_refused() {
        let path = Path::new("a.json");
        let picture = |class: &str| {
            let objects = vec![Object::new(class, ObjectShape::Box([0.0, 0.0, 2.0, 2.0]))];
            Outlines { objects, ..Outlines::new(path) }
        };
        let long = "x".repeat(1001);
        let pictures = vec![picture("a\nb"), picture(" "), picture(&long), picture(&long[1..])];
        let classes = vec!["a\nb".to_owned(), long.clone()];
        let mut file = LabelFile { classes, pictures };
        let mut findings = Findings::default();
        file.settle(path, &mut findings);
        assert_eq!(file.classes, ["a b"]);
        assert_eq!(file.pictures[0].objects[0].class, "a b");
        let damaged = |at: usize| file.pictures[at].damaged.clone().unwrap_or_default();
        assert!(damaged(1).contains("1 object without a class (object 1)"), "{}", damaged(1));
        assert!(damaged(2).contains("a name of 1001 bytes") && damaged(2).len() < 200);
        assert_eq!((damaged(0), damaged(3)), (String::new(), String::new()));
        let told = |word: &str| findings.0.iter().any(|of| of.what.contains(word));
        assert!(told("class names of 1 object hold line breaks") && told("1 item passed over"));
        assert!(told("1001 bytes") && findings.0.iter().all(|of| of.what.len() < 300));
    }
}
