//! `labels.csv` of `kshot classify`: a picture a line.

use std::path::Path;

use kshot_data::atomic;
use kshot_data::csv_text;

use crate::classify::folder::ClassifiedPicture;
use crate::classify::judge::Truth;
use crate::classify::sort::NONE;
use crate::error::Result;

/// The first columns of the table; `class_2,probability_2` and so on follow, and `truth` where it is
/// known of any picture.
pub const COLUMNS: [&str; 6] =
    ["file", "class", "probability", "accepted", "familiarity", "nearest"];

/// Text that a spreadsheet takes for text.
fn field(text: &str) -> String {
    csv_text::field(text).into_owned()
}

/// The head of a table.
fn head(first: &[&str], top_k: usize, with_truth: bool) -> Vec<String> {
    let ranks =
        (2..=top_k).flat_map(|rank| [format!("class_{rank}"), format!("probability_{rank}")]);
    let truth = with_truth.then(|| "truth".to_owned());
    first.iter().map(|&name| name.to_owned()).chain(ranks).chain(truth).collect()
}

/// Writes the table. `class` is the likeliest class whether it was accepted or not, `probability` that
/// of it should the picture show one of the classes (0 to 1), `accepted` is `true`, or `false` for none
/// of these, `familiarity` is what that was decided by, and `nearest` is the labelled picture of the
/// class that is most like it. The next likeliest classes up to `top_k` follow. A name that a spreadsheet would take for a
/// formula has an apostrophe before it (see [`csv_text`]).
///
/// # Errors
/// If the file cannot be written.
pub fn write(
    path: &Path,
    labelled: &[ClassifiedPicture],
    classes: &[String],
    examples: &[String],
    top_k: usize,
) -> Result<()> {
    let top_k = top_k.clamp(1, classes.len().max(1));
    let with_truth = labelled.iter().any(|one| one.truth.is_some());
    atomic::write_with(path, |writer| {
        let mut table = csv::Writer::from_writer(writer);
        table.write_record(head(&COLUMNS, top_k, with_truth))?;
        for one in labelled {
            let found = &one.found;
            let mut row = vec![
                field(&one.item.shown),
                field(&classes[found.class()]),
                format!("{:.6}", found.probability()),
                found.accepted.to_string(),
                format!("{:.6}", found.familiarity),
                examples.get(found.nearest.0).map(|file| field(file)).unwrap_or_default(),
            ];
            for rank in 1..top_k {
                let (class, probability) = found.ranking[rank];
                row.extend([field(&classes[class]), format!("{probability:.6}")]);
            }
            if with_truth {
                row.push(match one.truth {
                    Some(Truth::Class(class)) => field(&classes[class]),
                    Some(Truth::None) => NONE.to_owned(),
                    None => String::new(),
                });
            }
            table.write_record(&row)?;
        }
        Ok(table.flush()?)
    })
}

/// Writes the table of pictures labelled by a trained method: `file,class,probability`, the next
/// likeliest classes up to `top_k`, and `truth` where it is known of any picture.
///
/// # Errors
/// If the file cannot be written.
pub fn write_rankings(
    path: &Path,
    labelled: &[super::episode_html::ClassifiedQuery],
    classes: &[String],
    top_k: usize,
) -> Result<()> {
    let top_k = top_k.clamp(1, classes.len().max(1));
    let known = labelled.iter().any(|one| one.truth.is_some());
    atomic::write_with(path, |writer| {
        let mut table = csv::Writer::from_writer(writer);
        table.write_record(head(&COLUMNS[..3], top_k, known))?;
        for one in labelled {
            let mut row = vec![field(&one.shown)];
            for (class, probability) in &one.ranking[..top_k] {
                row.extend([field(&classes[*class]), format!("{probability:.6}")]);
            }
            if known {
                row.push(one.truth.map_or_else(String::new, |truth| field(&classes[truth])));
            }
            table.write_record(&row)?;
        }
        table.flush()?;
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classify::Recognition;
    use kshot_data::query::Item;

    #[test]
    fn a_line_a_picture() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("labels.csv");
        let item = Item { file: "q/a,b.png".into(), shown: "a,b.png".into(), name: "a,b".into() };
        let found = Recognition {
            ranking: vec![(1, 0.75), (0, 0.25)],
            familiarity: 1.5,
            accepted: false,
            nearest: (0, 0.75),
        };
        let mut one = ClassifiedPicture { item, found, truth: None };
        let classes = ["kiwi".to_owned(), "plum".to_owned()];
        let write = |one: &ClassifiedPicture| {
            super::write(&path, std::slice::from_ref(one), &classes, &["p/1.png".into()], 5)
                .unwrap();
            std::fs::read_to_string(&path).unwrap()
        };
        assert_eq!(
            write(&one),
            "file,class,probability,accepted,familiarity,nearest,class_2,probability_2\n\
             \"a,b.png\",plum,0.750000,false,1.500000,p/1.png,kiwi,0.250000\n"
        );
        one.truth = Some(Truth::None);
        assert!(write(&one).ends_with("kiwi,0.250000,none-of-these\n"));
    }

    #[test]
    fn no_name_becomes_a_formula() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("labels.csv");
        let classes = ["=HYPERLINK(\"x\")".to_owned(), "+plum".to_owned()];
        let item = |name: &str| Item { file: name.into(), shown: name.into(), name: name.into() };
        let found = Recognition {
            ranking: vec![(0, 0.75), (1, 0.25)],
            familiarity: -0.5,
            accepted: true,
            nearest: (0, 0.75),
        };
        let one = ClassifiedPicture { item: item("@1.png"), found, truth: Some(Truth::Class(1)) };
        super::write(&path, std::slice::from_ref(&one), &classes, &["-p/1.png".into()], 2).unwrap();
        let query = super::super::episode_html::ClassifiedQuery {
            file: "@1.png".into(),
            shown: "@1.png".into(),
            ranking: vec![(0, 0.75), (1, 0.25)],
            truth: Some(1),
        };
        let other = folder.path().join("rankings.csv");
        super::write_rankings(&other, &[query], &classes, 2).unwrap();
        for path in [path, other] {
            let mut reader = csv::Reader::from_path(path).unwrap();
            let row = reader.records().next().unwrap().unwrap();
            for field in &row {
                let number = field.parse::<f64>().is_ok();
                assert!(number || !field.starts_with(['=', '+', '-', '@']), "{field}");
            }
            assert_eq!((&row[0], &row[1]), ("'@1.png", "'=HYPERLINK(\"x\")"));
            assert_eq!(&row[row.len() - 1], "'+plum");
        }
    }
}
