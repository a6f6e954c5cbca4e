//! `coco.json`: all masks in COCO's form, for CVAT, FiftyOne, Label Studio and training code.

use std::io::{self, Write};
use std::path::PathBuf;

use kshot_data::atomic::{self, Failure};
use kshot_data::journal::{ClassRecord, Journal, PictureRecord};
use kshot_data::objects::measure::ObjectRecord;
use serde::Serialize;

use crate::error::Result;
use crate::report::run;

#[derive(Serialize)]
struct Category<'a> {
    id: usize,
    name: &'a str,
    supercategory: &'a str,
}

#[derive(Serialize)]
struct Image<'a> {
    id: usize,
    file_name: &'a str,
    width: u32,
    height: u32,
}

#[derive(Serialize)]
struct Segmentation<'a> {
    size: [u32; 2],
    counts: &'a str,
}

#[derive(Serialize)]
struct CocoAnnotation<'a> {
    id: usize,
    image_id: usize,
    category_id: u8,
    segmentation: Segmentation<'a>,
    area: u64,
    bbox: [u32; 4],
    iscrowd: u8,
    score: f32,
}

/// Writes `OUT/coco.json` from the journal: images in the order of their names with ids from 1,
/// categories with ids from 1 (the values of the masks), and for every picture and class that it
/// holds one annotation, whose `segmentation` is a compressed run-length mask of the whole class
/// and whose `score` is its mean confidence. Where objects are told apart, there is one annotation an object instead,
/// in the order of their numbers. One picture is in memory at a time.
///
/// # Errors
/// If the journal cannot be read or the file not written.
pub fn write(journal: &Journal, classes: &[String]) -> Result<PathBuf> {
    let path = journal.out().join("coco.json");
    atomic::write_with(&path, |writer| stream(writer, journal, classes))?;
    Ok(path)
}

fn stream(writer: &mut impl Write, journal: &Journal, classes: &[String]) -> Result<(), Failure> {
    let version = env!("CARGO_PKG_VERSION");
    let info = serde_json::json!({
        "description": "Masks by kshot: one annotation per object, or per picture and class",
        "version": version,
        "date_created": run::now(),
    });
    write!(writer, "{{\"info\":{info},\n\"licenses\":[],\n\"categories\":[")?;
    for (index, name) in classes.iter().enumerate() {
        separate(writer, index)?;
        let category = Category { id: index + 1, name, supercategory: "" };
        serde_json::to_writer(&mut *writer, &category)?;
    }
    write!(writer, "],\n\"images\":[")?;
    for (index, record) in journal.records().enumerate() {
        let PictureRecord { path, width, height, .. } = record?;
        separate(writer, index)?;
        let image = Image { id: index + 1, file_name: &path, width, height };
        serde_json::to_writer(&mut *writer, &image)?;
    }
    write!(writer, "],\n\"annotations\":[")?;
    let mut count = 0;
    for (index, record) in journal.records().enumerate() {
        let record = record?;
        let found: Vec<Found<'_>> = match &record.objects {
            Some(objects) => objects.found.iter().map(Found::of_object).collect(),
            None => record.classes.iter().map(Found::of_class).collect(),
        };
        for Found { class, area, bbox, score, rle } in found {
            separate(writer, count)?;
            count += 1;
            let annotation = CocoAnnotation {
                id: count,
                image_id: index + 1,
                category_id: class,
                segmentation: Segmentation { size: [record.height, record.width], counts: rle },
                area,
                bbox,
                iscrowd: 0,
                score,
            };
            serde_json::to_writer(&mut *writer, &annotation)?;
        }
    }
    writer.write_all(b"]}\n")?;
    Ok(())
}

/// What one annotation tells.
struct Found<'a> {
    class: u8,
    area: u64,
    bbox: [u32; 4],
    score: f32,
    rle: &'a str,
}

impl<'a> Found<'a> {
    fn of_class(of: &'a ClassRecord) -> Self {
        let ClassRecord { class, area, bbox, confidence: score, .. } = *of;
        Self { class, area, bbox, score, rle: &of.rle }
    }

    fn of_object(of: &'a ObjectRecord) -> Self {
        let ObjectRecord { class, area, bbox, confidence: score, .. } = *of;
        Self { class, area, bbox, score, rle: &of.rle }
    }
}

fn separate(writer: &mut impl Write, index: usize) -> io::Result<()> {
    writer.write_all(if index == 0 { b"\n" } else { b",\n" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::record;

    #[test]
    fn images_categories_and_annotations_refer_to_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(folder.path()).unwrap();
        journal.append(&record("b")).unwrap();
        journal.append(&PictureRecord { classes: vec![], ..record("a \"<é\\") }).unwrap();
        let path = write(&journal, &["cell".into()]).unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        let coco: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(coco["categories"][0]["id"], 1);
        assert_eq!(coco["images"][0]["file_name"], "a \"<é\\.png");
        assert_eq!(coco["images"][1]["id"], 2);
        assert_eq!(coco["annotations"].as_array().unwrap().len(), 1);
        let annotation = &coco["annotations"][0];
        assert_eq!(annotation["image_id"], 2);
        assert_eq!(annotation["category_id"], 1);
        assert_eq!(annotation["segmentation"]["size"], serde_json::json!([4, 8]));
        assert_eq!(annotation["bbox"], serde_json::json!([2, 0, 2, 4]));
        assert_eq!(annotation["score"], 0.75);
    }

    #[test]
    fn without_pictures_it_is_still_valid() {
        let folder = tempfile::tempdir().unwrap();
        let path = write(&Journal::open(folder.path()).unwrap(), &[]).unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{text}");
    }
}
