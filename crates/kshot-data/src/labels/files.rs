//! Label files of tools, told apart by what is in them: a line of a table for each format.
//!
//! Where files lie and which picture they are for is [`LabelFolder`](crate::label_folder::LabelFolder)'s business.

use std::path::Path;

use roxmltree::Document;
use serde_json::Value;

use crate::error::Result;
use crate::finding::Findings;
use crate::labels::{
    Outlines, coco, createml, cvat_xml, darwin, datumaro, geojson, label_studio, labelme,
    supervisely, via, voc_xml,
};

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
