//! `labels.csv`: how much of every class every picture holds, and how many.

use std::path::PathBuf;

use kshot_data::atomic;
use kshot_data::journal::Journal;

use crate::error::Result;

/// The column of counts.
const OBJECTS: &str = "objects";

/// The columns of `labels.csv`, in order; `objects` follows where these are told apart.
pub const COLUMNS: [&str; 9] = [
    "file",
    "class",
    "area_px",
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
/// there are.
///
/// # Errors
/// If the journal cannot be read or the file not written.
pub fn write(journal: &Journal, classes: &[String], objects: bool) -> Result<PathBuf> {
    let path = journal.out().join("labels.csv");
    atomic::write_with(&path, |writer| {
        let mut table = csv::Writer::from_writer(writer);
        let last = objects.then_some(OBJECTS);
        table.write_record(COLUMNS.into_iter().chain(last))?;
        for record in journal.records() {
            let record = record?;
            let picture = format!("{:.4}", record.confidence);
            let accuracy = format!("{:.4}", record.expected_accuracy);
            let flags = record.flags.join(";");
            for (place, name) in classes.iter().enumerate() {
                let found = record.classes.iter().find(|of| usize::from(of.class) == place + 1);
                let area = found.map_or(0, |of| of.area).to_string();
                let fraction = format!("{:.6}", found.map_or(0.0, |of| of.fraction));
                let confidence = found.map(|of| format!("{:.4}", of.confidence));
                let estimate = record.estimates.get(place).copied().flatten();
                let estimate = estimate.map(|iou| format!("{iou:.4}"));
                let told = record.objects.as_ref();
                let count = told.map_or(0, |objects| objects.of_class(place as u8 + 1)).to_string();
                let row = [
                    &*record.path,
                    name,
                    &area,
                    &fraction,
                    &confidence.unwrap_or_default(),
                    &estimate.unwrap_or_default(),
                    &picture,
                    &accuracy,
                    &flags,
                ];
                table.write_record(row.into_iter().chain(objects.then_some(&*count)))?;
            }
        }
        Ok(table.flush()?)
    })?;
    Ok(path)
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
        let text = std::fs::read_to_string(write(&journal, &classes, false).unwrap()).unwrap();
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
