//! Pictures that are moved into class folders, the list of them (`moved.csv`: `from,to`), and the way back.
//!
//! Lines are on the disk before their pictures move, a few hundred at a time, and every batch is appended: a kill or a power
//! cut at any time leaves a list by which all can be put back. A line whose picture is still where it came from was not
//! carried out. The paths are absolute and as they are (see [`kshot_data::path_pairs`]).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use kshot_data::path_pairs::{self, Pair, PathPairs};
use kshot_data::query::FailedPicture;

use crate::classify::sort::{Sorted, Wanted};
use crate::error::{Error, Result};

/// The columns of the list.
const COLUMNS: [&str; 2] = ["from", "to"];
/// Pictures that are noted together.
const BATCH: usize = 256;

/// Moves pictures to their places below `target`; a file that is there is not overwritten.
pub(super) fn place(
    target: &Path,
    wanted: Wanted<'_>,
    list: &Path,
    sorted: &mut Sorted,
) -> Result<()> {
    let mut ready = Vec::new();
    for (below, one) in wanted {
        let to = target.join(below);
        if is_there(&to) {
            let taken = "a file of that name is there already; nothing is overwritten, so this \
                         picture was not moved";
            sorted.fail(one, Error::data(taken).in_file(&to));
        } else {
            ready.push((one, absolute(&one.item.file)?, absolute(&to)?));
        }
    }
    if ready.is_empty() {
        return Ok(());
    }
    let mut moves = PathPairs::append_to(list, COLUMNS)?;
    for batch in ready.chunks(BATCH) {
        let pairs: Vec<Pair> =
            batch.iter().map(|(_, from, to)| (from.clone(), to.clone())).collect();
        moves.add(&pairs)?;
        for (one, from, to) in batch {
            match carry(from, to) {
                Ok(()) => sorted.placed.push((one.item.file.clone(), to.clone())),
                Err(error) => sorted.fail(one, error),
            }
        }
    }
    Ok(())
}

/// The pictures that a list says were moved, as far as they are where they were moved to: from where to where.
///
/// # Errors
/// If it cannot be read, or is no such list.
pub fn moved(list: &Path) -> Result<Vec<Pair>> {
    let pairs = path_pairs::read(list, COLUMNS)?;
    Ok(pairs.into_iter().filter(|(from, to)| is_there(to) && !is_there(from)).collect())
}

/// What came of putting pictures back.
#[derive(Debug, Default)]
pub struct PutBack {
    /// Pictures that are back.
    pub pictures: usize,
    /// Lines that had nothing to put back: their pictures are where they came from.
    pub before: usize,
    /// Pictures that could not be put back, with the reason; their lines stay in the list.
    pub failed: Vec<FailedPicture>,
}

/// Puts the pictures of a list back to where they came from, the last moved first; nothing is overwritten. What is done
/// leaves the list, and with the last line the list goes. Relative paths, as earlier versions wrote them, count from the
/// first of `folders` in which the picture is.
///
/// # Errors
/// If the list cannot be read or written, or is no list of moved pictures.
pub fn undo(list: &Path, folders: &[PathBuf]) -> Result<PutBack> {
    let mut left = Vec::new();
    let mut back = PutBack::default();
    for pair in path_pairs::read(list, COLUMNS)?.into_iter().rev() {
        let (from, to) = resolved(&pair, folders);
        let error = match (is_there(&from), is_there(&to)) {
            (true, false) => {
                back.before += 1;
                continue;
            }
            (false, false) => Error::data(
                "gone: it is not where it was moved to, and not where it came from",
            )
            .in_file(&to),
            (true, true) => Error::data(
                "another file is where it came from; nothing is overwritten, so this picture stays. \
                 Move that file away and undo again",
            )
            .in_file(&from),
            (false, true) => match carry(&to, &from) {
                Ok(()) => {
                    back.pictures += 1;
                    continue;
                }
                Err(error) => error,
            },
        };
        back.failed
            .push(FailedPicture { name: to.display().to_string(), error: error.to_string() });
        left.push(pair);
    }
    left.reverse();
    back.failed.reverse();
    if left.is_empty() {
        fs::remove_file(list).map_err(|error| Error::io("remove the list", list, error))?;
    } else {
        path_pairs::write(list, COLUMNS, &left)?;
    }
    Ok(back)
}

fn resolved((from, to): &Pair, folders: &[PathBuf]) -> Pair {
    let home = folders.iter().find(|folder| is_there(&folder.join(to))).or(folders.first());
    match home {
        Some(folder) => (folder.join(from), folder.join(to)),
        None => (from.clone(), to.clone()),
    }
}

fn is_there(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|error| Error::io("find the picture", path, error))
}

/// Moves a file; across file systems it is copied, with its time, and then removed.
fn carry(from: &Path, to: &Path) -> Result<()> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).map_err(|error| Error::io("make the folder", folder, error))?;
    }
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            let read = |error| Error::io("read the picture", from, error);
            let whole = fs::read(from).map_err(read)?;
            let time = fs::metadata(from).and_then(|about| about.modified()).map_err(read)?;
            kshot_data::atomic::write(to, &whole)?;
            let file = fs::File::options().write(true).open(to);
            // Some file systems keep no times.
            let _ = file.and_then(|file| file.set_modified(time).and_then(|()| file.sync_all()));
            fs::remove_file(from).map_err(|error| Error::io("remove the picture", from, error))
        }
        moved => moved.map_err(|error| Error::io("move the picture here", to, error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classify::sort::tests::{labelled, place_of};
    use crate::classify::sort::{SortMode, sort};

    const NAMES: [&str; 4] = ["=1.png", "sub/b.png", "c, \"d\".png", "e\nf.png"];

    fn classes() -> [String; 2] {
        ["kiwi".to_owned(), "plum".to_owned()]
    }

    fn all_are(files: &[PathBuf]) -> bool {
        files.iter().all(|file| {
            let text = fs::read_to_string(file).unwrap_or_default();
            !text.is_empty() && file.ends_with(text)
        })
    }

    #[test]
    fn two_batches_are_put_back() {
        let (folder, files) = place_of(&NAMES);
        let (target, list) = (folder.path().join("out"), folder.path().join("moved.csv"));
        for (index, part) in files.chunks(2).enumerate() {
            let pictures: Vec<_> = part
                .iter()
                .zip(&NAMES[2 * index..])
                .map(|(file, name)| labelled(file, name, index, true))
                .collect();
            let sorted = sort(&target, SortMode::Move, &pictures, &classes(), &list).unwrap();
            assert_eq!((sorted.placed.len(), sorted.failed.len()), (2, 0));
            assert_eq!(moved(&list).unwrap().len(), 2 * (index + 1));
        }
        assert!(target.join("plum/e\nf.png").is_file());
        let back = undo(&list, &[]).unwrap();
        assert_eq!((back.pictures, back.before, back.failed.len()), (4, 0, 0));
        assert!(all_are(&files) && !list.exists());
    }

    /// A kill leaves any beginning of the list's lines, and any of the noted pictures moved.
    #[test]
    fn a_kill_at_any_point_leaves_a_way_back() {
        for (noted, carried) in [(0, 0), (1, 0), (4, 0), (4, 1), (4, 3), (4, 4)] {
            let (folder, files) = place_of(&NAMES);
            let list = folder.path().join("moved.csv");
            let to = |index: usize| folder.path().join("out/kiwi").join(NAMES[index]);
            let pairs: Vec<Pair> = (0..noted).map(|i| (files[i].clone(), to(i))).collect();
            PathPairs::append_to(&list, COLUMNS).unwrap().add(&pairs).unwrap();
            // And the half of a line.
            let mut bytes = fs::read(&list).unwrap();
            bytes.extend(b"/query/\"ha\nlf");
            fs::write(&list, bytes).unwrap();
            (0..carried).for_each(|index| carry(&files[index], &to(index)).unwrap());
            // The next batch goes on.
            let rest: Vec<_> = (carried..files.len())
                .map(|index| labelled(&files[index], NAMES[index], 1, true))
                .collect();
            let target = folder.path().join("out");
            let sorted = sort(&target, SortMode::Move, &rest, &classes(), &list).unwrap();
            assert_eq!(sorted.failed.len(), 0);
            let back = undo(&list, &[]).unwrap();
            assert_eq!((back.pictures, back.failed.len()), (4, 0), "{noted} {carried}");
            assert!(all_are(&files), "{noted} {carried}");
        }
    }

    #[test]
    fn what_is_gone_or_taken_is_told_and_stays_listed() {
        let (folder, files) = place_of(&NAMES);
        let (target, list) = (folder.path().join("out"), folder.path().join("moved.csv"));
        let pictures: Vec<_> =
            files.iter().zip(NAMES).map(|(file, name)| labelled(file, name, 0, true)).collect();
        sort(&target, SortMode::Move, &pictures, &classes(), &list).unwrap();
        fs::remove_file(target.join("kiwi").join(NAMES[0])).unwrap();
        fs::write(&files[2], "mine").unwrap();
        let back = undo(&list, &[]).unwrap();
        assert_eq!((back.pictures, back.before, back.failed.len()), (2, 0, 2));
        let says = |part: &str| back.failed.iter().any(|failed| failed.error.contains(part));
        assert!(says("gone") && says("nothing is overwritten"), "{:?}", back.failed);
        assert_eq!(fs::read_to_string(&files[2]).unwrap(), "mine");
        fs::remove_file(&files[2]).unwrap();
        let back = undo(&list, &[]).unwrap();
        assert_eq!((back.pictures, back.failed.len()), (1, 1));
        assert!(all_are(&files[1..]) && list.exists());
    }

    #[test]
    fn relative_lists_of_before_and_other_files() {
        let (folder, _) = place_of(&["a.png"]);
        let list = folder.path().join("moved.csv");
        fs::create_dir_all(folder.path().join("out/kiwi")).unwrap();
        fs::rename(folder.path().join("query/a.png"), folder.path().join("out/kiwi/a.png"))
            .unwrap();
        fs::write(&list, "from,to\nquery/a.png,out/kiwi/a.png\n").unwrap();
        let back = undo(&list, &[PathBuf::from("elsewhere"), folder.path().to_owned()]).unwrap();
        assert_eq!((back.pictures, back.failed.len()), (1, 0));
        assert!(folder.path().join("query/a.png").is_file());
        fs::write(&list, "file,class\na,b\n").unwrap();
        let error = undo(&list, &[]).unwrap_err().to_string();
        assert!(error.contains("its lines are from,to"), "{error}");
    }
}
