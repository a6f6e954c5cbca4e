//! Pictures into class folders and back, and what is said of a query that was emptied by it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use kshot_data::lock::Lock;
use kshot_data::names::counted;
use kshot_data::query::{FailedPicture, Item};

use crate::classify::folder::{self, ClassifiedPicture};
use crate::classify::moved::{self, PutBack};
use crate::classify::sort::{self, SortMode};
use crate::error::{Error, Result};
use crate::job::classify::{ClassifyOptions, LabelsPath};
use crate::job::event::Event;
use crate::job::watch::Watch;
use crate::report::run::RunFile;

/// The list of moved pictures, beside the labels.
pub(in crate::job) const MOVED: &str = "moved.csv";
/// The list of links, in `.kshot/`.
const LINKED: &str = "linked.csv";

/// The pictures to label, as [`folder::items`]; where there are none because an earlier run moved them, it says so.
pub(super) fn items(query: &Path, place: &LabelsPath) -> Result<(Vec<Item>, Vec<Option<String>>)> {
    let found = folder::items(query);
    let none = match &found {
        Ok((items, _)) => items.iter().all(|item| !item.file.exists()),
        Err(_) => query.exists(),
    };
    match none.then(|| moved_from(query, &place.beside(MOVED))).flatten() {
        Some(error) => Err(error),
        None => found,
    }
}

/// Says that pictures were moved from a folder, or from a list's places, where a list of moves is there.
fn moved_from(query: &Path, list: &Path) -> Option<Error> {
    let pairs = moved::moved(list).ok()?;
    let query_folder = std::path::absolute(query).ok()?;
    let from_here = |from: &Path| query.is_file() || from.starts_with(&query_folder);
    let moved: Vec<_> = pairs.iter().filter(|(from, _)| from_here(from)).collect();
    let (_, to) = moved.last()?;
    let first = to.display();
    let error = Error::data(format!(
        "no picture here any more: {} moved from here by an earlier run, the last to {first}; `kshot classify \
         --undo {}` puts them back",
        counted(moved.len(), "was", "were"),
        list.display(),
    ));
    Some(error.in_file(query))
}

/// Puts pictures into class folders, where that is asked for; moved ones are then where they were moved to. Those that could
/// not be placed are given back.
pub(super) fn sorted(
    options: &ClassifyOptions,
    labelled: &mut [ClassifiedPicture],
    classes: &[String],
    place: &LabelsPath,
    watch: &Watch<'_>,
) -> Result<Vec<FailedPicture>> {
    let Some((how, target)) = &options.sort else { return Ok(Vec::new()) };
    let (word, list) = match how {
        SortMode::Move => ("moved", place.beside(MOVED)),
        SortMode::Link => ("linked", place.hidden(LINKED)),
    };
    let sorted = sort::sort(target, *how, labelled, classes, &list)?;
    sorted.notes.iter().for_each(|words| watch.warn(words));
    let pictures = sorted.placed.len();
    let mut undo = None;
    if *how == SortMode::Move {
        undo = Some(&*list).filter(|_| pictures > 0);
        let to: HashMap<PathBuf, PathBuf> = sorted.placed.into_iter().collect();
        for one in labelled {
            if let Some(to) = to.get(&one.item.file) {
                one.item.file.clone_from(to);
            }
        }
    }
    watch.tell(&Event::Sorted { how: word, pictures, folder: target, undo });
    Ok(sorted.failed)
}

/// Puts back what `kshot classify --move` moved: `list` is its `moved.csv`, or the folder that holds it.
///
/// # Errors
/// If there is no such list, it cannot be read or written, or another process writes into its folder. A picture that cannot
/// be put back is no error: it is in the outcome.
pub fn undo(list: &Path, watch: &Watch<'_>) -> Result<PutBack> {
    let list = if list.is_dir() { list.join(MOVED) } else { list.to_owned() };
    if !list.exists() {
        return Err(Error::data(
            "there is no such list of moved pictures; give the moved.csv beside the labels, which goes \
             when all is put back",
        )
        .in_file(list));
    }
    let folder = match list.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let _lock = folder.join(".kshot").is_dir().then(|| Lock::of_folder(folder)).transpose()?;
    // Relative paths, as earlier versions wrote them, count from where the command ran.
    let mut folders = vec![std::env::current_dir().unwrap_or_default()];
    let name = list.file_name().unwrap_or_default().to_string_lossy();
    let run = folder.join(name.replace(MOVED, "run.toml"));
    folders.extend(RunFile::read(&run).ok().map(|run| PathBuf::from(run.working_directory)));
    let back = moved::undo(&list, &folders)?;
    let left = back.failed.len();
    watch.tell(&Event::PutBack { pictures: back.pictures, before: back.before, left, list: &list });
    Ok(back)
}
