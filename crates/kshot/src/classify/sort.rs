//! Pictures into class folders: moved, or linked to where they are.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Component, Path, PathBuf};

use kshot_data::query::FailedPicture;

use crate::classify::folder::ClassifiedPicture;
use crate::classify::{links, moved};
use crate::error::{Error, Result};

/// The folder of pictures that were not accepted.
pub const NONE: &str = "none-of-these";

/// How pictures get into class folders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SortMode {
    /// They are moved; across file systems they are copied and then removed.
    Move,
    /// Symbolic links (hard links on Windows) to where they are. Links of an earlier run that do not belong there any more
    /// are removed.
    Link,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Sorted {
    /// From where to where.
    pub placed: Vec<(PathBuf, PathBuf)>,
    /// What could not be placed; it is where it was.
    pub failed: Vec<FailedPicture>,
    /// What else a person should know, in words.
    pub notes: Vec<String>,
}

/// Checks that a folder may take pictures of these classes from this query.
///
/// # Errors
/// If a class's name cannot be a folder's, or the folder lies in the query folder (whose pictures would
/// be found again by the next run).
pub fn check(target: &Path, query: &Path, classes: &[String]) -> Result<()> {
    for class in classes {
        let parts: Vec<_> = Path::new(class).components().collect();
        let plain = matches!(parts[..], [Component::Normal(name)] if name == &**class);
        if !plain || class.contains(['/', '\\']) {
            return Err(Error::config(format!(
                "the class `{class}` cannot be the name of a folder; rename it to sort pictures into \
                 folders"
            )));
        }
        if class == NONE {
            return Err(Error::config(format!(
                "a class is named {NONE}, which is the folder of pictures that are not accepted; \
                 rename it"
            )));
        }
    }
    // Of what does not exist yet, the part that does.
    let real = |path: &Path| {
        path.ancestors().find_map(|part| {
            let part = if part.as_os_str().is_empty() { Path::new(".") } else { part };
            Some(part.canonicalize().ok()?.join(path.strip_prefix(part).ok().unwrap_or(path)))
        })
    };
    let (inside, outside) = (real(target), real(query));
    if query.is_dir() && matches!((&inside, &outside), (Some(a), Some(b)) if a.starts_with(b)) {
        return Err(Error::config(
            "the folder to sort into lies in the query folder, where the next run would find its \
             pictures again; choose one outside",
        )
        .in_file(target));
    }
    Ok(())
}

/// Puts every picture into its class's folder below `target`, with its subfolders. `list` says from where to where they
/// went, or which links there are (see [`moved`] and [`links`]); it is complete at any time.
///
/// # Errors
/// If the list cannot be read or written. A picture that cannot be placed is told in the result, and the others go on.
pub fn sort(
    target: &Path,
    how: SortMode,
    labelled: &[ClassifiedPicture],
    classes: &[String],
    list: &Path,
) -> Result<Sorted> {
    let mut sorted = Sorted::default();
    let mut wanted: Wanted<'_> = BTreeMap::new();
    for one in labelled {
        let class = if one.found.accepted { &*classes[one.found.class()] } else { NONE };
        match wanted.entry(Path::new(class).join(below(&one.item.shown))) {
            Entry::Vacant(free) => {
                free.insert(one);
            }
            Entry::Occupied(taken) => {
                let other = taken.get().item.file.display();
                let error = "is to be at the same place; give one of them another name";
                sorted.fail(one, format!("{other} {error}"));
            }
        }
    }
    match how {
        SortMode::Move => moved::place(target, wanted, list, &mut sorted)?,
        SortMode::Link => links::place(target, &wanted, list, &mut sorted)?,
    }
    Ok(sorted)
}

/// Pictures by where they are to be below the target.
pub(super) type Wanted<'a> = BTreeMap<PathBuf, &'a ClassifiedPicture>;

impl Sorted {
    pub(super) fn fail(&mut self, one: &ClassifiedPicture, error: impl ToString) {
        let (name, error) = (one.item.shown.clone(), error.to_string());
        self.failed.push(FailedPicture { name, error });
    }
}

/// The part of a path that stays below a folder: nothing of `..` and of roots.
fn below(shown: &str) -> PathBuf {
    Path::new(shown)
        .components()
        .filter_map(|part| match part {
            Component::Normal(name) => Some(name),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::classify::Recognition;
    use kshot_data::query::Item;
    use std::fs;

    pub(in crate::classify) fn labelled(
        file: &Path,
        shown: &str,
        class: usize,
        accepted: bool,
    ) -> ClassifiedPicture {
        let item = Item { file: file.to_owned(), shown: shown.into(), name: shown.into() };
        let ranking = vec![(class, 0.9)];
        let found = Recognition { ranking, familiarity: 1.0, accepted, nearest: (0, 1.0) };
        ClassifiedPicture { item, found, truth: None }
    }

    pub(in crate::classify) fn place_of(names: &[&str]) -> (tempfile::TempDir, Vec<PathBuf>) {
        let folder = tempfile::tempdir().unwrap();
        let files = names
            .iter()
            .map(|name| {
                let file = folder.path().join("query").join(name);
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                fs::write(&file, name).unwrap();
                file
            })
            .collect();
        (folder, files)
    }

    #[test]
    fn moved_with_subfolders_and_never_over_a_file() {
        let (folder, files) = place_of(&["a.png", "sub/b.png", "c.png"]);
        let target = folder.path().join("out");
        let classes = ["kiwi".to_owned(), "plum".to_owned()];
        fs::create_dir_all(target.join("plum")).unwrap();
        fs::write(target.join("plum/c.png"), "mine").unwrap();
        let all = [
            labelled(&files[0], "a.png", 0, true),
            labelled(&files[1], "sub/b.png", 1, false),
            labelled(&files[2], "c.png", 1, true),
        ];
        let list = folder.path().join("moved.csv");
        let sorted = sort(&target, SortMode::Move, &all, &classes, &list).unwrap();
        assert_eq!((sorted.placed.len(), sorted.failed.len()), (2, 1));
        assert!(sorted.failed[0].error.contains("not moved"), "{:?}", sorted.failed);
        assert!(target.join("kiwi/a.png").is_file() && !files[0].exists());
        assert!(target.join("none-of-these/sub/b.png").is_file() && files[2].exists());
        assert_eq!(fs::read_to_string(target.join("plum/c.png")).unwrap(), "mine");
    }

    #[test]
    fn two_pictures_for_one_place_are_told() {
        let (folder, files) = place_of(&["a.png", "sub/a.png"]);
        let all = [labelled(&files[0], "a.png", 0, true), labelled(&files[1], "../a.png", 0, true)];
        let (target, list) = (folder.path().join("out"), folder.path().join("moved.csv"));
        let sorted = sort(&target, SortMode::Move, &all, &["kiwi".to_owned()], &list).unwrap();
        assert_eq!((sorted.placed.len(), sorted.failed.len()), (1, 1));
        assert!(sorted.failed[0].error.contains("at the same place") && files[1].exists());
    }

    #[test]
    fn impossible_folders_are_refused() {
        let (folder, _) = place_of(&["a.png"]);
        let query = folder.path().join("query");
        let says = |target: &Path, class: &str, part: &str| {
            let error = check(target, &query, &[class.to_owned()]).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        };
        let out = folder.path().join("out");
        says(&out, "../up", "cannot be the name");
        says(&out, "a/b", "cannot be the name");
        says(&out, "none-of-these", "rename it");
        says(&query.join("new/deep"), "a", "choose one outside");
        says(&query, "a", "choose one outside");
        check(&out, &query, &["a".to_owned()]).unwrap();
        assert_eq!(below("/etc/../x/a.png"), Path::new("etc/x/a.png"));
    }
}
