//! Links to pictures in class folders, and the list of those that were made here.
//!
//! A run removes what an earlier one linked and does not belong there any more: of a picture whose class is another now, of
//! one that is gone from the query, of a class that is gone. It removes nothing else: only links that are in the list and
//! still lead to where they led, and folders in the list that are empty. The list (in `.kshot/` of the labels' folder,
//! `link,picture`; a folder has no picture) is written before links are made.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use kshot_data::atomic::write_error;
use kshot_data::names::{counted, listed};
use kshot_data::path_pairs::{self, Pair};

use crate::classify::sort::{Sorted, Wanted};
use crate::error::{Error, Result};

/// The columns of the list.
const COLUMNS: [&str; 2] = ["link", "picture"];
/// How many names a message shows.
const SHOWN: usize = 3;

/// What is listed: links with what they lead to; folders, which lead nowhere.
type Listed = BTreeMap<PathBuf, PathBuf>;

/// Links pictures to their places below `target`, and removes what was linked there before and does not belong any more.
pub(super) fn place(
    target: &Path,
    wanted: &Wanted<'_>,
    list: &Path,
    sorted: &mut Sorted,
) -> Result<()> {
    fs::create_dir_all(target).map_err(|error| write_error(target, error))?;
    let found = |error| Error::io("find the folder", target, error);
    let target = target.canonicalize().map_err(found)?;
    let mut all = Listed::new();
    if list.exists() {
        all.extend(path_pairs::read(list, COLUMNS)?);
    }
    let wanted: BTreeMap<PathBuf, _> =
        wanted.iter().map(|(below, one)| (target.join(below), *one)).collect();
    remove_outdated(&target, &mut all, |path| wanted.contains_key(path), sorted);
    let mut ready = Vec::new();
    for (link, one) in wanted {
        let picture = one.item.file.canonicalize();
        let picture = picture.map_err(|error| Error::io("find the picture", &one.item.file, error));
        match picture.and_then(|picture| Ok((may_be_made(&link, &picture, &mut all)?, picture))) {
            Ok((true, picture)) => ready.push((one, link, picture)),
            Ok((false, _)) => sorted.placed.push((one.item.file.clone(), link)),
            Err(error) => sorted.fail(one, error),
        }
    }
    for (_, link, picture) in &ready {
        all.extend(missing_folders(&target, link).into_iter().map(|made| (made, PathBuf::new())));
        all.insert(link.clone(), picture.clone());
    }
    let noted = |all: &Listed| {
        let pairs: Vec<Pair> = all.iter().map(|(a, b)| (a.clone(), b.clone())).collect();
        path_pairs::write(list, COLUMNS, &pairs)
    };
    noted(&all)?;
    for (one, link, picture) in ready {
        let folder = link.parent().unwrap_or(&target);
        let made = fs::create_dir_all(folder).and_then(|()| make(&picture, &link));
        match made {
            Ok(()) => sorted.placed.push((one.item.file.clone(), link)),
            Err(error) => {
                sorted.fail(one, Error::io("link the picture here", &link, error));
                all.remove(&link);
            }
        }
    }
    remove_empty(&target, &mut all);
    noted(&all)
}

/// Removes the links below `target` that are in the list and not wanted; they leave the list. What became of a link is left
/// alone.
fn remove_outdated(
    target: &Path,
    all: &mut Listed,
    is_wanted: impl Fn(&Path) -> bool,
    sorted: &mut Sorted,
) {
    let (mut changed, mut stuck) = (Vec::new(), Vec::new());
    all.retain(|link, picture| {
        let is_link = !picture.as_os_str().is_empty();
        if !is_link || is_wanted(link) {
            return true;
        }
        if fs::symlink_metadata(link).is_err() {
            return false;
        }
        if !link.starts_with(target) {
            return true;
        }
        let name = link.strip_prefix(target).unwrap_or(link).display().to_string();
        if !is_ours(link, picture) {
            changed.push(name);
            return false;
        }
        let removed = fs::remove_file(link);
        if let Err(error) = &removed {
            stuck.push(format!("{name} ({error})"));
        }
        removed.is_err()
    });
    if !changed.is_empty() {
        sorted.notes.push(format!(
            "{} no longer what was linked there, and left as it is: {}",
            counted(changed.len(), "file is", "files are"),
            listed(&changed, SHOWN)
        ));
    }
    if !stuck.is_empty() {
        sorted.notes.push(format!(
            "{} cannot be removed: {}",
            counted(stuck.len(), "outdated link", "outdated links"),
            listed(&stuck, SHOWN)
        ));
    }
}

/// Whether a link to `picture` is still to be made here; not where it is there already.
fn may_be_made(link: &Path, picture: &Path, all: &mut Listed) -> Result<bool> {
    if fs::symlink_metadata(link).is_err() {
        return Ok(true);
    }
    if is_ours(link, picture) {
        return Ok(false);
    }
    let ours = all.get(link).is_some_and(|known| is_ours(link, known));
    // Whatever it is now: if it is not ours, it is not ours to remember.
    all.remove(link);
    if ours {
        // To another picture of that name.
        fs::remove_file(link).map_err(|error| Error::io("replace the link", link, error))?;
        return Ok(true);
    }
    Err(Error::data(
        "something else of that name is there already, which was not linked here; move it away to \
         link this picture",
    )
    .in_file(link))
}

/// Folders between `target` and a link that are not there, and so will be made.
fn missing_folders(target: &Path, link: &Path) -> Vec<PathBuf> {
    let folders = link.ancestors().skip(1).take_while(|folder| *folder != target);
    folders.filter(|folder| fs::symlink_metadata(folder).is_err()).map(Path::to_owned).collect()
}

/// Removes folders of the list in which nothing is left, the deepest first.
fn remove_empty(target: &Path, all: &mut Listed) {
    let folders: BTreeSet<PathBuf> = all
        .iter()
        .filter(|(path, leads)| leads.as_os_str().is_empty() && path.starts_with(target))
        .map(|(path, _)| path.clone())
        .collect();
    for folder in folders.iter().rev() {
        let gone = match fs::remove_dir(folder) {
            Ok(()) => true,
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        };
        if gone {
            all.remove(folder);
        }
    }
}

#[cfg(unix)]
fn make(picture: &Path, link: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(picture, link)
}

#[cfg(not(unix))]
fn make(picture: &Path, link: &Path) -> io::Result<()> {
    fs::hard_link(picture, link)
}

/// Whether what is here is a link to that picture.
#[cfg(unix)]
fn is_ours(link: &Path, picture: &Path) -> bool {
    fs::read_link(link).is_ok_and(|leads| leads == picture)
}

/// A hard link cannot be told from a copy; what may be the last of a picture is no link.
#[cfg(not(unix))]
fn is_ours(link: &Path, picture: &Path) -> bool {
    let size = |path: &Path| fs::metadata(path).map(|about| about.len()).ok();
    let bytes = |path: &Path| fs::read(path).ok();
    size(picture).is_some() && size(link) == size(picture) && bytes(link) == bytes(picture)
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;
    use crate::classify::folder::ClassifiedPicture;
    use crate::classify::sort::tests::{labelled, place_of};
    use crate::classify::sort::{SortMode, sort};

    struct Folder {
        folder: tempfile::TempDir,
        files: Vec<PathBuf>,
    }

    const NAMES: [&str; 3] = ["a.png", "sub/b.png", "c.png"];

    impl Folder {
        fn new() -> Self {
            let (folder, files) = place_of(&NAMES);
            Self { folder, files }
        }

        fn at(&self, name: &str) -> PathBuf {
            self.folder.path().join("out").join(name)
        }

        /// Links the first pictures to these of `classes`; how many are there, how many failed, and the notes.
        fn link(&self, found: &[usize], classes: &[&str]) -> (usize, usize, Vec<String>) {
            let all: Vec<ClassifiedPicture> = found
                .iter()
                .enumerate()
                .map(|(index, class)| labelled(&self.files[index], NAMES[index], *class, true))
                .collect();
            let classes: Vec<String> = classes.iter().map(|name| (*name).to_owned()).collect();
            let list = self.folder.path().join(".kshot/linked.csv");
            let sorted = sort(&self.at(""), SortMode::Link, &all, &classes, &list).unwrap();
            (sorted.placed.len(), sorted.failed.len(), sorted.notes)
        }

        /// What is in the folder of links.
        fn found(&self) -> Vec<String> {
            let root = self.at("");
            let entries = walkdir::WalkDir::new(&root).sort_by_file_name().into_iter().skip(1);
            entries
                .map(|entry| {
                    kshot_data::query::slashed(entry.unwrap().path().strip_prefix(&root).unwrap())
                })
                .collect()
        }
    }

    #[test]
    fn links_follow_a_changed_label() {
        let folder = Folder::new();
        for _ in 0..2 {
            assert_eq!(folder.link(&[0], &["kiwi", "plum"]), (1, 0, vec![]));
            assert_eq!(folder.found(), ["kiwi", "kiwi/a.png"]);
        }
        folder.link(&[1], &["kiwi", "plum"]);
        assert_eq!(folder.found(), ["plum", "plum/a.png"]);
        assert_eq!(fs::read_to_string(folder.at("plum/a.png")).unwrap(), "a.png");
    }

    #[test]
    fn what_is_gone_from_the_query_or_the_classes_is_unlinked() {
        let folder = Folder::new();
        folder.link(&[0, 1, 2], &["kiwi", "plum", "fig"]);
        assert_eq!(folder.found().len(), 7);
        fs::remove_file(&folder.files[2]).unwrap();
        folder.link(&[0, 1], &["kiwi", "pear"]);
        let found = ["kiwi", "kiwi/a.png", "pear", "pear/sub", "pear/sub/b.png"];
        assert_eq!(folder.found(), found);
        folder.link(&[], &["kiwi"]);
        assert_eq!(folder.found(), [""; 0]);
    }

    #[test]
    fn nothing_of_others_is_removed() {
        let folder = Folder::new();
        fs::create_dir_all(folder.at("plum")).unwrap();
        fs::create_dir_all(folder.at("mine")).unwrap();
        // A link of the user's own, just like ours, and one to another picture.
        std::os::unix::fs::symlink(
            folder.files[0].canonicalize().unwrap(),
            folder.at("plum/a.png"),
        )
        .unwrap();
        std::os::unix::fs::symlink("/nowhere", folder.at("mine/x.png")).unwrap();
        assert_eq!(folder.link(&[1, 0, 0], &["kiwi", "plum"]), (3, 0, vec![]));
        // A file of their own in the place of ours, and a note beside it.
        fs::remove_file(folder.at("kiwi/c.png")).unwrap();
        fs::write(folder.at("kiwi/c.png"), "mine").unwrap();
        fs::write(folder.at("kiwi/note.txt"), "mine").unwrap();
        let (placed, failed, notes) = folder.link(&[0, 1, 1], &["kiwi", "plum"]);
        assert_eq!((placed, failed), (3, 0));
        assert!(notes[0].starts_with("1 file is no longer what was linked there"), "{notes:?}");
        for name in ["plum/a.png", "mine/x.png", "kiwi/c.png", "kiwi/note.txt"] {
            assert!(fs::symlink_metadata(folder.at(name)).is_ok(), "{name}");
        }
        assert_eq!(fs::read_to_string(folder.at("kiwi/c.png")).unwrap(), "mine");
        let (placed, failed, _) = folder.link(&[0, 0, 0], &["kiwi", "plum"]);
        assert_eq!((placed, failed), (2, 1), "its own file is in the way of c.png");
        folder.link(&[], &["kiwi", "plum"]);
        let found =
            ["kiwi", "kiwi/c.png", "kiwi/note.txt", "mine", "mine/x.png", "plum", "plum/a.png"];
        assert_eq!(folder.found(), found);
    }

    #[test]
    fn a_list_from_before_a_kill_is_enough() {
        let folder = Folder::new();
        folder.link(&[0, 1], &["kiwi", "plum"]);
        // Noted, and killed before the link was made; and a link made by the user where one was noted.
        fs::remove_file(folder.at("kiwi/a.png")).unwrap();
        fs::remove_file(folder.at("plum/sub/b.png")).unwrap();
        std::os::unix::fs::symlink("/elsewhere", folder.at("plum/sub/b.png")).unwrap();
        let (placed, failed, notes) = folder.link(&[1, 0], &["kiwi", "plum"]);
        assert_eq!((placed, failed, notes.len()), (2, 0, 1));
        assert_eq!(fs::read_link(folder.at("plum/sub/b.png")).unwrap(), Path::new("/elsewhere"));
    }
}
