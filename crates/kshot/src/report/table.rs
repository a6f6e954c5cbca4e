//! `labels.csv`: how much of every class every picture holds, and how many.

use std::path::PathBuf;

use kshot_data::atomic;
use kshot_data::journal::Journal;

use crate::error::Result;

/// The column of counts.
const OBJECTS: &str = "objects";

/// The columns of `labels.csv`, in order; `objects` follows where these are told apart.
pub const COLUMNS: [&str; 7] =
    ["file", "class", "area_px", "fraction", "confidence", "picture_confidence", "flags"];

/// Writes `OUT/labels.csv` from the journal: one row per picture and class that it holds, pictures
/// in the order of their names. `fraction`, `confidence` and `picture_confidence` are 0..1; `flags`
/// are joined by `;`; with `objects` a last column tells how many of the class there are. A picture that holds none of the classes has one row in which `class` and
/// `confidence` are empty and the area is 0, so that every picture can be found.
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
            let flags = record.flags.join(";");
            if record.classes.is_empty() {
                let row = [&*record.path, "", "0", "0", "", &picture, &flags];
                table.write_record(row.into_iter().chain(objects.then_some("0")))?;
            }
            for class in &record.classes {
                // A class beyond the list can only come from a journal of other labels: its number
                // says more than nothing.
                let number = class.class.to_string();
                let name = classes.get(usize::from(class.class) - 1).unwrap_or(&number);
                let found = record.objects.as_ref();
                let count = found.map_or(0, |objects| objects.of_class(class.class)).to_string();
                let row = [
                    &*record.path,
                    name,
                    &class.area.to_string(),
                    &format!("{:.6}", class.fraction),
                    &format!("{:.4}", class.confidence),
                    &picture,
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
    fn every_picture_has_a_row() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(folder.path()).unwrap();
        journal.append(&record("a,b")).unwrap();
        let flags = vec!["none-of-these".to_string(), "uncertain".to_string()];
        journal.append(&PictureRecord { classes: vec![], flags, ..record("c") }).unwrap();
        let text =
            std::fs::read_to_string(write(&journal, &["cell".into()], false).unwrap()).unwrap();
        assert_eq!(
            text,
            "file,class,area_px,fraction,confidence,picture_confidence,flags\n\
             \"a,b.png\",cell,8,0.250000,0.7500,0.5000,uncertain\n\
             c.png,,0,0,,0.5000,none-of-these;uncertain\n"
        );
    }
}
