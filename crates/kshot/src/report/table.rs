//! `labels.csv`: how much of every class every picture holds, and how many.

use std::path::PathBuf;

use kshot_data::journal::Journal;
use kshot_data::pixel_size::PixelSize;
use kshot_data::{atomic, csv_text};

use crate::error::Result;

/// The column of counts.
const OBJECTS: &str = "objects";

/// The column of pixels, before that of physical areas.
pub(super) const AREA: &str = "area_px";

/// The columns of `labels.csv`, in order; an area in square units of the pixel's size follows `area_px` where that is
/// known, and `objects` is the last where these are told apart.
pub const COLUMNS: [&str; 9] = [
    "file",
    "class",
    AREA,
    "fraction",
    "confidence",
    "estimated_iou",
    "picture_confidence",
    "expected_accuracy",
    "flags",
];

/// Writes `OUT/labels.csv` from the journal: one row per picture and class, of classes without a pixel too, pictures in
/// the order of their names. `fraction`, `confidence` (the mean of the class's pixels; empty where it has none),
/// `estimated_iou` (empty for a class that is not there, and was not expected to be), `picture_confidence` and
/// `expected_accuracy` are 0..1; `flags` are joined by `;`; with `objects` a last column tells how many of the class
/// there are. Names that a spreadsheet would take for a formula have an apostrophe before them. With `pixel_size` a column such as `area_um2` follows `area_px`.
///
/// # Errors
/// If the journal cannot be read or the file not written.
pub fn write(
    journal: &Journal,
    classes: &[String],
    objects: bool,
    pixel_size: Option<&PixelSize>,
) -> Result<PathBuf> {
    let path = journal.out().join("labels.csv");
    atomic::write_with(&path, |writer| {
        let mut table = csv::Writer::from_writer(writer);
        table.write_record(columns(&COLUMNS, pixel_size, objects.then_some(OBJECTS)))?;
        for record in journal.records() {
            let record = record?;
            let picture = format!("{:.4}", record.confidence);
            let accuracy = format!("{:.4}", record.expected_accuracy);
            let flags = record.flags.join(";");
            for (place, name) in classes.iter().enumerate() {
                let found = record.classes.iter().find(|of| usize::from(of.class) == place + 1);
                let pixels = found.map_or(0, |of| of.area);
                let area = pixels.to_string();
                let physical = pixel_size.map(|size| physical(size, pixels));
                let fraction = format!("{:.6}", found.map_or(0.0, |of| of.fraction));
                let confidence = found.map(|of| format!("{:.4}", of.confidence));
                let estimate = record.estimates.get(place).copied().flatten();
                let estimate = estimate.map(|iou| format!("{iou:.4}"));
                let told = record.objects.as_ref();
                let count = told.map_or(0, |objects| objects.of_class(place as u8 + 1)).to_string();
                let (path, name) = (csv_text::field(&record.path), csv_text::field(name));
                let row = [&*path, &*name, &area].into_iter().chain(physical.as_deref());
                let rest = [
                    &*fraction,
                    &confidence.unwrap_or_default(),
                    &estimate.unwrap_or_default(),
                    &picture,
                    &accuracy,
                    &flags,
                ];
                table.write_record(row.chain(rest).chain(objects.then_some(&*count)))?;
            }
        }
        Ok(table.flush()?)
    })?;
    Ok(path)
}

/// The columns with that of physical areas, and a last one.
pub(super) fn columns(
    fixed: &[&str],
    pixel_size: Option<&PixelSize>,
    last: Option<&str>,
) -> Vec<String> {
    let mut all: Vec<String> = fixed.iter().map(|&name| name.to_owned()).collect();
    if let (Some(size), Some(at)) = (pixel_size, fixed.iter().position(|&name| name == AREA)) {
        all.insert(at + 1, size.column());
    }
    all.extend(last.map(str::to_owned));
    all
}

/// An area in square units, with six digits that count.
pub(super) fn physical(size: &PixelSize, pixels: u64) -> String {
    let area = size.area(pixels);
    if area == 0.0 {
        return "0".to_owned();
    }
    let digits = (5 - area.abs().log10().floor() as i32).clamp(0, 12) as usize;
    format!("{area:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::record;
    use kshot_data::journal::PictureRecord;

    #[test]
    fn every_picture_has_a_row_of_every_class() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(folder.path()).unwrap();
        let estimates = vec![Some(0.625), None];
        journal.append(&PictureRecord { estimates, ..record("a,b") }).unwrap();
        let flags = vec!["none-of-these".to_string(), "uncertain".to_string()];
        journal.append(&PictureRecord { classes: vec![], flags, ..record("c") }).unwrap();
        let classes = ["cell".to_owned(), "debris".to_owned()];
        let read = |size: Option<&PixelSize>| {
            std::fs::read_to_string(write(&journal, &classes, false, size).unwrap()).unwrap()
        };
        let size = "0.5um".parse().unwrap();
        let sized = read(Some(&size));
        assert!(sized.starts_with("file,class,area_px,area_um2,fraction"), "{sized}");
        assert!(sized.contains("\"a,b.png\",cell,8,2.00000,0.250000"), "{sized}");
        assert!(sized.contains("\"a,b.png\",debris,0,0,0.000000"), "{sized}");
        let formula =
            std::fs::read_to_string(write(&journal, &["=1+1".to_owned()], false, None).unwrap());
        assert!(formula.unwrap().contains("c.png,'=1+1,0"));
        let text = read(None);
        assert_eq!(
            text,
            "file,class,area_px,fraction,confidence,estimated_iou,picture_confidence,expected_accuracy,flags\n\
             \"a,b.png\",cell,8,0.250000,0.7500,0.6250,0.5000,0.9000,uncertain\n\
             \"a,b.png\",debris,0,0.000000,,,0.5000,0.9000,uncertain\n\
             c.png,cell,0,0.000000,,0.6250,0.5000,0.9000,none-of-these;uncertain\n\
             c.png,debris,0,0.000000,,,0.5000,0.9000,none-of-these;uncertain\n"
        );
    }
}
