//! A folder of pictures: what is in it, what its pictures seem to show, and what they are known to show.

use std::path::Path;

use kshot_data::class_folder;
use kshot_data::journal::Journal;
use kshot_data::query::Item;
use rayon::prelude::*;

use crate::classify::judge::{JudgedLabel, Truth};
use crate::classify::vectors::VectorRecord;
use crate::classify::{Recogniser, Recognition};
use crate::error::{Error, Result};

pub use crate::classify::truths::{NONE_NAMES, truths};

/// The pictures to label, and for each what the query itself says it shows (a list's column of classes).
///
/// `query` is a folder, a picture, or a list of pictures (`.csv` or `.txt`, see [`class_folder::list`]).
///
/// # Errors
/// If there is no picture.
pub fn items(query: &Path) -> Result<(Vec<Item>, Vec<Option<String>>)> {
    let is_list = query.is_file()
        && query
            .extension()
            .is_some_and(|end| ["csv", "txt"].iter().any(|e| end.eq_ignore_ascii_case(e)));
    if !is_list {
        let items = kshot_data::query::items(query)?;
        let none = vec![None; items.len()];
        return Ok((items, none));
    }
    let mut items = Vec::new();
    let mut classes = Vec::new();
    let mut met = std::collections::HashSet::new();
    for listed in class_folder::list(query)? {
        if !met.insert(listed.written.clone()) {
            continue;
        }
        let shown = listed.written.replace('\\', "/");
        items.push(Item { file: listed.path, name: shown.clone(), shown });
        classes.push(listed.class);
    }
    if items.is_empty() {
        return Err(Error::data("the list names no picture; a line is a path").in_file(query));
    }
    Ok((items, classes))
}

/// A labelled picture of the query.
#[derive(Debug, Clone)]
pub struct ClassifiedPicture {
    /// The picture.
    pub item: Item,
    /// What it seems to show.
    pub found: Recognition,
    /// What it really shows, where that is known.
    pub truth: Option<Truth>,
}

impl ClassifiedPicture {
    /// The label beside the truth, with the first `top_k` classes listed.
    pub fn judged(&self, top_k: usize) -> Option<JudgedLabel> {
        let truth = self.truth?;
        let listed =
            |class| self.found.ranking.iter().take(top_k).any(|(other, _)| *other == class);
        Some(JudgedLabel {
            truth,
            class: self.found.class(),
            probability: self.found.probability(),
            listed: matches!(truth, Truth::Class(class) if listed(class)),
            familiarity: self.found.familiarity,
            accepted: self.found.accepted,
        })
    }
}

/// What the noted pictures among `items` seem to show, in their order, with the `top_k` likeliest
/// classes of each.
///
/// # Errors
/// If the journal cannot be read.
pub fn label(
    recogniser: &Recogniser,
    items: &[Item],
    journal: &Journal<VectorRecord>,
    run: &str,
    top_k: usize,
) -> Result<Vec<ClassifiedPicture>> {
    let mut all = Vec::with_capacity(items.len());
    // By hundreds: few vectors are in memory at a time, and all cores have work.
    for part in items.chunks(256) {
        let mut vectors = Vec::with_capacity(part.len());
        for item in part {
            let known = journal.finished().get(&item.name).is_some_and(|noted| noted.run == run);
            // A picture whose vector is not noted has failed, which was told.
            let Some(record) = known.then(|| journal.read(&item.name)).transpose()? else {
                continue;
            };
            let vector = record.vector().filter(|v| v.len() == recogniser.examples().dimensions());
            let vector = vector.ok_or_else(|| {
                Error::data(format!(
                    "the record of `{}` cannot be understood; run again with --force",
                    item.shown
                ))
                .in_file(journal.out())
            })?;
            vectors.push((item.clone(), vector));
        }
        all.par_extend(vectors.into_par_iter().map(|(item, vector)| {
            let mut found = recogniser.recognise(&vector);
            found.ranking.truncate(top_k.max(1));
            found.ranking.shrink_to_fit();
            ClassifiedPicture { item, found, truth: None }
        }));
    }
    Ok(all)
}
