//! Pictures into class folders: moved, or linked to where they are.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use kshot_data::query::FailedPicture;

use crate::classify::folder::ClassifiedPicture;
use crate::error::{Error, Result};

/// The folder of pictures that were not accepted.
pub const NONE: &str = "none-of-these";

/// How pictures get into class folders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SortMode {
    /// They are moved; across file systems they are copied and then removed.
    Move,
    /// Symbolic links (hard links on Windows) to where they are. Links of an earlier run that stand in
    /// another class's folder are removed.
    Link,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Sorted {
    /// From where to where.
    pub placed: Vec<(PathBuf, PathBuf)>,
    /// What could not be placed; it is where it was.
    pub failed: Vec<FailedPicture>,
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

/// Puts every picture into its class's folder below `target`, with its subfolders.
///
/// # Errors
/// If links of an earlier run cannot be looked through. A picture that cannot be placed is told in the
/// result, and the others go on.
pub fn sort(
    target: &Path,
    how: SortMode,
    labelled: &[ClassifiedPicture],
    classes: &[String],
) -> Result<Sorted> {
    let mut sorted = Sorted::default();
    let mut wanted = BTreeMap::new();
    for one in labelled {
        let class = if one.found.accepted { &*classes[one.found.class()] } else { NONE };
        wanted.insert(target.join(class).join(below(&one.item.shown)), one);
    }
    if how == SortMode::Link && target.is_dir() {
        remove_outdated(target, &wanted, classes)?;
    }
    for (to, one) in wanted {
        match place(&one.item.file, &to, how) {
            Ok(()) => sorted.placed.push((one.item.file.clone(), to)),
            Err(error) => {
                let error = error.to_string();
                sorted.failed.push(FailedPicture { name: one.item.shown.clone(), error });
            }
        }
    }
    Ok(sorted)
}

/// Writes `from,to` of every moved picture to a csv, to undo it by.
///
/// # Errors
/// If the file cannot be written.
pub fn write_moves(path: &Path, placed: &[(PathBuf, PathBuf)]) -> Result<()> {
    kshot_data::atomic::write_with(path, |writer| {
        let mut table = csv::Writer::from_writer(writer);
        table.write_record(["from", "to"])?;
        for (from, to) in placed {
            table.write_record([from.to_string_lossy(), to.to_string_lossy()].map(String::from))?;
        }
        Ok(table.flush()?)
    })
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

fn place(from: &Path, to: &Path, how: SortMode) -> Result<()> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).map_err(|error| Error::io("make the folder", folder, error))?;
    }
    let taken = fs::symlink_metadata(to).is_ok();
    match how {
        SortMode::Move if taken => Err(Error::data(
            "a file of that name is there already; nothing is overwritten, so this picture was not moved",
        )
        .in_file(to)),
        SortMode::Move => match fs::rename(from, to) {
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
                let whole = fs::read(from).map_err(|e| Error::io("read the picture", from, e))?;
                kshot_data::atomic::write(to, &whole)?;
                fs::remove_file(from).map_err(|error| Error::io("remove the picture", from, error))
            }
            moved => moved.map_err(|error| Error::io("move the picture here", to, error)),
        },
        SortMode::Link => {
            let from = from
                .canonicalize()
                .map_err(|error| Error::io("find the picture", from, error))?;
            if taken {
                let same = fs::read_link(to).is_ok_and(|known| known == from)
                    || cfg!(windows) && to.is_file();
                if same {
                    return Ok(());
                }
                return Err(Error::data(
                    "something else of that name is there already; move it away to link this picture",
                )
                .in_file(to));
            }
            link(&from, to).map_err(|error| Error::io("link the picture here", to, error))
        }
    }
}

#[cfg(unix)]
fn link(from: &Path, to: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(from, to)
}

#[cfg(not(unix))]
fn link(from: &Path, to: &Path) -> io::Result<()> {
    fs::hard_link(from, to)
}

/// Links of an earlier run to pictures that are now to be linked elsewhere.
fn remove_outdated(
    target: &Path,
    wanted: &BTreeMap<PathBuf, &ClassifiedPicture>,
    classes: &[String],
) -> Result<()> {
    let ours: std::collections::HashSet<PathBuf> =
        wanted.values().filter_map(|one| one.item.file.canonicalize().ok()).collect();
    for class in classes.iter().map(String::as_str).chain([NONE]) {
        let folder = target.join(class);
        for entry in walkdir::WalkDir::new(&folder).into_iter().flatten() {
            let path = entry.path();
            let outdated = entry.path_is_symlink()
                && !wanted.contains_key(path)
                && fs::read_link(path).is_ok_and(|known| ours.contains(&known));
            if outdated {
                fs::remove_file(path)
                    .map_err(|error| Error::io("remove the outdated link", path, error))?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classify::Recognition;
    use kshot_data::query::Item;

    fn labelled(file: &Path, shown: &str, class: usize, accepted: bool) -> ClassifiedPicture {
        let item = Item { file: file.to_owned(), shown: shown.into(), name: shown.into() };
        let ranking = vec![(class, 0.9)];
        let found = Recognition { ranking, familiarity: 1.0, accepted, nearest: (0, 1.0) };
        ClassifiedPicture { item, found, truth: None }
    }

    fn place_of(names: &[&str]) -> (tempfile::TempDir, Vec<PathBuf>) {
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
        let sorted = sort(&target, SortMode::Move, &all, &classes).unwrap();
        assert_eq!((sorted.placed.len(), sorted.failed.len()), (2, 1));
        assert!(sorted.failed[0].error.contains("not moved"), "{:?}", sorted.failed);
        assert!(target.join("kiwi/a.png").is_file() && !files[0].exists());
        assert!(target.join("none-of-these/sub/b.png").is_file() && files[2].exists());
        assert_eq!(fs::read_to_string(target.join("plum/c.png")).unwrap(), "mine");
    }

    #[cfg(unix)]
    #[test]
    fn links_follow_a_changed_label() {
        let (folder, files) = place_of(&["a.png"]);
        let target = folder.path().join("out");
        let classes = ["kiwi".to_owned(), "plum".to_owned()];
        for _ in 0..2 {
            let all = [labelled(&files[0], "a.png", 0, true)];
            assert_eq!(sort(&target, SortMode::Link, &all, &classes).unwrap().placed.len(), 1);
        }
        let all = [labelled(&files[0], "a.png", 1, true)];
        sort(&target, SortMode::Link, &all, &classes).unwrap();
        assert!(!target.join("kiwi/a.png").exists() && files[0].exists());
        assert_eq!(fs::read_to_string(target.join("plum/a.png")).unwrap(), "a.png");
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
