//! A folder of pictures: what is in it, what its pictures seem to show, and what they are known to show.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use kshot_data::class_folder;
use kshot_data::journal::Journal;
use kshot_data::query::Item;
use rayon::prelude::*;

use crate::classify::judge::{JudgedLabel, Truth};
use crate::classify::vectors::VectorRecord;
use crate::classify::{Recogniser, Recognition};
use crate::error::{Error, Result};

/// How many odd names a message shows.
const SHOWN: usize = 10;

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

/// Folder names under which pictures of none of the classes may lie in a query of class folders.
pub const NONE_NAMES: [&str; 6] =
    ["none-of-these", "none_of_these", "none of these", "none", "unknown", "others"];

/// What pictures really show, from where it is known: a list (`--truth`, or the query's own column of
/// classes), or folders named like the classes. Names of a list that are no class mean none of these;
/// they are given back as words for a warning.
///
/// # Errors
/// If the list cannot be read.
pub fn truths(
    items: &[Item],
    listed: &[Option<String>],
    list: Option<&Path>,
    query: &Path,
    classes: &[String],
) -> Result<(Vec<Option<Truth>>, Option<String>)> {
    let of: HashMap<&str, usize> =
        classes.iter().enumerate().map(|(index, name)| (&**name, index)).collect();
    let mut unknown: BTreeMap<String, usize> = BTreeMap::new();
    let mut named = |name: &str| match of.get(name) {
        Some(&class) => Truth::Class(class),
        None => {
            if !NONE_NAMES.contains(&&*name.to_lowercase()) {
                *unknown.entry(name.to_owned()).or_default() += 1;
            }
            Truth::None
        }
    };
    let truths: Vec<Option<Truth>> = if let Some(list) = list {
        let mut known: HashMap<PathBuf, Option<String>> = HashMap::new();
        for line in class_folder::list(list)? {
            // Paths may count from the list's folder or from the query's.
            for path in [line.path.clone(), query.join(&line.written)] {
                if let Ok(path) = path.canonicalize() {
                    known.insert(path, line.class.clone());
                }
            }
        }
        let truth = |item: &Item| {
            let class = known.get(&item.file.canonicalize().ok()?)?;
            // A picture that is listed without a class shows none.
            Some(class.as_deref().map_or(Truth::None, &mut named))
        };
        items.iter().map(truth).collect()
    } else if listed.iter().any(Option::is_some) {
        listed.iter().map(|class| class.as_deref().map(&mut named)).collect()
    } else {
        let folder = |item: &Item| item.shown.split_once('/').map(|(folder, _)| folder.to_owned());
        let like_classes = items.iter().filter_map(folder).any(|folder| of.contains_key(&*folder));
        let truth = |item: &Item| {
            let folder = folder(item)?;
            let none = NONE_NAMES.contains(&&*folder.to_lowercase());
            match of.get(&*folder) {
                Some(&class) => Some(Truth::Class(class)),
                None => none.then_some(Truth::None),
            }
        };
        if like_classes { items.iter().map(truth).collect() } else { vec![None; items.len()] }
    };
    let warning = (!unknown.is_empty()).then(|| {
        let names: Vec<&str> = unknown.keys().take(SHOWN).map(|name| &**name).collect();
        let pictures: usize = unknown.values().sum();
        format!(
            "{pictures} pictures are said to show what is no class here ({}{}); they count as none of \
             these",
            names.join(", "),
            if unknown.len() > SHOWN { ", ..." } else { "" }
        )
    });
    Ok((truths, warning))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(shown: &str) -> Item {
        Item { file: PathBuf::from(shown), shown: shown.into(), name: shown.into() }
    }

    #[test]
    fn folders_named_like_classes_tell_the_truth() {
        let items = ["kiwi/1.png", "Unknown/2.png", "misc/3.png", "4.png"].map(item);
        let classes = ["apple".to_owned(), "kiwi".to_owned()];
        let none = vec![None; 4];
        let (truths, warning) = truths(&items, &none, None, Path::new("q"), &classes).unwrap();
        assert_eq!(truths, [Some(Truth::Class(1)), Some(Truth::None), None, None]);
        assert!(warning.is_none());
        let unnamed = ["misc/3.png", "none/4.png"].map(item);
        let (truths, _) =
            super::truths(&unnamed, &none[..2], None, Path::new("q"), &classes).unwrap();
        assert_eq!(truths, [None, None], "no folder is named like a class");
    }

    #[test]
    fn a_list_tells_the_truth_and_what_is_no_class() {
        let folder = tempfile::tempdir().unwrap();
        let query = folder.path().join("query");
        std::fs::create_dir(&query).unwrap();
        for name in ["1.png", "2.png", "3.png"] {
            std::fs::write(query.join(name), b"x").unwrap();
        }
        let list = folder.path().join("truth.csv");
        std::fs::write(&list, "path,class\n1.png,kiwi\nquery/2.png,plum\n").unwrap();
        let items =
            ["1.png", "2.png", "3.png"].map(|name| Item { file: query.join(name), ..item(name) });
        let (truths, warning) =
            truths(&items, &[None, None, None], Some(&list), &query, &["kiwi".to_owned()]).unwrap();
        assert_eq!(truths, [Some(Truth::Class(0)), Some(Truth::None), None]);
        assert!(warning.unwrap().contains("plum"));
    }
}
