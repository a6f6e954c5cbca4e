//! Which pictures of a folder to label next.

use kshot_data::journal::{Journal, LABELLED, PictureRecord};

use crate::error::Result;
use crate::predict::suggest::{QueryPicture, suggest};

/// Pictures suggested at most; never more than half of a folder.
const MOST: usize = 10;

/// A picture that should be labelled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SuggestedPicture {
    /// Its name in the journal.
    pub name: String,
    /// Its file relative to the query folder.
    pub path: String,
}

/// The pictures to label next, the most useful first; none that the user has labelled.
///
/// # Errors
/// If the journal cannot be read.
pub fn suggested(journal: &Journal) -> Result<Vec<SuggestedPicture>> {
    let all = journal.finished().len();
    let (mut open, mut pictures) = (Vec::with_capacity(all), Vec::with_capacity(all));
    for record in journal.records() {
        let PictureRecord { name, path, flags, confidence, distance, position, .. } = record?;
        if flags.iter().any(|flag| flag == LABELLED) {
            continue;
        }
        let (doubt, distance) = (1.0 - confidence, distance.unwrap_or(1.0));
        pictures.push(QueryPicture { doubt, distance, position });
        open.push(SuggestedPicture { name, path });
    }
    let most = if all > 2 { MOST.min(all / 2) } else { 0 };
    Ok(suggest(&pictures, most).into_iter().map(|place| open[place].clone()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::record;

    #[test]
    fn the_doubtful_come_first_and_the_labelled_never() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(folder.path()).unwrap();
        for (name, confidence, flag) in
            [("sure", 0.9, ""), ("doubtful", 0.3, ""), ("own", 0.1, "labelled"), ("fair", 0.6, "")]
        {
            let (flags, position) = (vec![flag.to_owned()], Vec::new());
            journal.append(&PictureRecord { confidence, flags, position, ..record(name) }).unwrap();
        }
        let next = suggested(&journal).unwrap();
        let paths: Vec<&str> = next.iter().map(|of| &*of.path).collect();
        assert_eq!(paths, ["doubtful.png", "fair.png"]);
    }
}
