//! `objects.csv`: numbers of every single object.

use std::path::{Path, PathBuf};

use kshot_data::journal::Journal;
use kshot_data::pixel_size::PixelSize;
use kshot_data::{atomic, csv_text};

use crate::error::{Error, Result};
use crate::report::table::{AREA, columns, physical};

/// The table's name.
pub const FILE: &str = "objects.csv";
/// Its columns, in order; an area in square units of the pixel's size follows `area_px` where that is known.
pub const COLUMNS: [&str; 14] = [
    "file",
    "object",
    "class",
    AREA,
    "centroid_x",
    "centroid_y",
    "left",
    "top",
    "width",
    "height",
    "mean_red",
    "mean_green",
    "mean_blue",
    "confidence",
];

/// Writes `OUT/objects.csv` from the journal and says how many objects there are: a row an object, pictures in the order
/// of their names, objects by their numbers, which are their values in `objects/NAME.png`. Centroids and boxes are in
/// pixels (the first pixel's centre is at 0.5, 0.5), mean colours 0 to 255, `confidence` 0 to 1.
///
/// # Errors
/// If the journal cannot be read or the file not written.
pub fn write(
    journal: &Journal,
    classes: &[String],
    pixel_size: Option<&PixelSize>,
) -> Result<usize> {
    let mut count = 0;
    atomic::write_with(path(journal.out()), |writer| {
        let mut table = csv::Writer::from_writer(writer);
        table.write_record(columns(&COLUMNS, pixel_size, None))?;
        for record in journal.records() {
            let record = record?;
            for object in record.objects.iter().flat_map(|objects| &objects.found) {
                let number = object.class.to_string();
                let name = classes.get(usize::from(object.class) - 1).unwrap_or(&number);
                let text = |of: &str| csv_text::field(of).into_owned();
                let mut row = vec![text(&record.path), object.id.to_string(), text(name)];
                row.push(object.area.to_string());
                row.extend(pixel_size.map(|size| physical(size, object.area)));
                row.extend(object.centroid.map(|side| format!("{side:.2}")));
                row.extend(object.bbox.map(|side| side.to_string()));
                row.extend(object.colour.map(|value| format!("{value:.1}")));
                row.push(format!("{:.4}", object.confidence));
                table.write_record(row)?;
                count += 1;
            }
        }
        Ok(table.flush()?)
    })?;
    Ok(count)
}

/// Takes away the table of an earlier run that told objects apart, whose masks are no longer there.
///
/// # Errors
/// If there is one and it cannot be removed.
pub fn remove(out: &Path) -> Result<()> {
    let path = path(out);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io("remove the table of an earlier run", &path, error))
        }
        _ => Ok(()),
    }
}

fn path(out: &Path) -> PathBuf {
    out.join(FILE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::{object, record};
    use kshot_data::journal::PictureRecord;
    use kshot_data::objects::measure::ObjectsRecord;

    #[test]
    fn every_object_has_a_row() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(folder.path()).unwrap();
        let found = vec![object(1, 1), object(2, 9)];
        let objects = Some(ObjectsRecord { file: "objects/a.png".into(), found });
        journal.append(&PictureRecord { objects, ..record("a,b") }).unwrap();
        journal.append(&record("c")).unwrap();
        assert_eq!(write(&journal, &["cell".into()], None).unwrap(), 2);
        let text = std::fs::read_to_string(folder.path().join(FILE)).unwrap();
        assert_eq!(
            text,
            "file,object,class,area_px,centroid_x,centroid_y,left,top,width,height,mean_red,mean_green,mean_blue,\
             confidence\n\
             \"a,b.png\",1,cell,4,3.00,1.00,2,0,2,2,10.0,20.5,30.0,0.7500\n\
             \"a,b.png\",2,9,4,3.00,1.00,2,0,2,2,10.0,20.5,30.0,0.7500\n"
        );
        remove(folder.path()).unwrap();
        remove(folder.path()).unwrap();
        assert!(!folder.path().join(FILE).exists());
    }
}
