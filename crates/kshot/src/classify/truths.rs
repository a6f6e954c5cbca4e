//! What pictures are known to show: from a list, or from the folders they are in.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use kshot_data::class_folder;
use kshot_data::names::{counted, listed};
use kshot_data::near_names::near;
use kshot_data::query::Item;

use crate::classify::judge::Truth;
use crate::error::Result;

/// How many odd names a message shows.
const SHOWN: usize = 10;

/// Folder names under which pictures of none of the classes may lie in a query of class folders.
pub const NONE_NAMES: [&str; 6] =
    ["none-of-these", "none_of_these", "none of these", "none", "unknown", "others"];

fn is_none(name: &str) -> bool {
    NONE_NAMES.contains(&&*name.trim().to_lowercase())
}

/// The classes, and the names met that are none of them.
struct Names<'a> {
    classes: &'a [String],
    of: HashMap<&'a str, usize>,
    /// With the number of pictures.
    unknown: BTreeMap<String, usize>,
}

impl<'a> Names<'a> {
    fn new(classes: &'a [String]) -> Self {
        let of = classes.iter().enumerate().map(|(index, name)| (&**name, index)).collect();
        Self { classes, of, unknown: BTreeMap::new() }
    }

    /// What a name says; `None` where it is no class, which is noted.
    fn truth(&mut self, name: &str) -> Option<Truth> {
        match self.of.get(name) {
            Some(&class) => Some(Truth::Class(class)),
            None if is_none(name) => Some(Truth::None),
            None => {
                *self.unknown.entry(name.to_owned()).or_default() += 1;
                None
            }
        }
    }

    /// The unknown names that are nearly a class's, and the others, in words; `but` says what becomes of their pictures.
    fn warnings(&self, but: [&str; 2]) -> Vec<String> {
        let classes: Vec<&str> = self.classes.iter().map(|name| &**name).collect();
        let (mut slips, mut others) = (Vec::new(), Vec::new());
        let (mut slipped, mut other) = (0, 0);
        for (name, &count) in &self.unknown {
            let pictures = counted(count, "picture", "pictures");
            if let Some(class) = near(name, &classes) {
                slips.push(format!("`{name}` ({pictures}; did you mean `{class}`?)"));
                slipped += count;
            } else {
                others.push(format!("{name} ({count})"));
                other += count;
            }
        }
        let but = |count: usize| if count == 1 { but[0] } else { but[1] };
        let mut all = Vec::new();
        if !slips.is_empty() {
            let what = if slips.len() == 1 { "a name is" } else { "names are" };
            let shown = listed(&slips, SHOWN);
            let but = but(slipped);
            all.push(format!("{what} nearly that of a class, but of none here: {shown}; {but}"));
        }
        if !others.is_empty() {
            all.push(format!(
                "{} said to show what is no class here: {}; {}",
                counted(other, "picture is", "pictures are"),
                listed(&others, SHOWN),
                but(other)
            ));
        }
        all
    }
}

/// What pictures really show, from where it is known: a list (`--truth`, or the query's own column of
/// classes), or folders named like the classes, below `train/`, `test/` and the like or not. Names of a list that are no
/// class mean none of these, folders that are named otherwise say nothing; both are given back as words for warnings, with
/// the class that was probably meant.
///
/// # Errors
/// If the list cannot be read.
pub fn truths(
    items: &[Item],
    listed: &[Option<String>],
    list: Option<&Path>,
    query: &Path,
    classes: &[String],
) -> Result<(Vec<Option<Truth>>, Vec<String>)> {
    let mut names = Names::new(classes);
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
            let class = known.get(&item.file.canonicalize().ok()?)?.as_deref();
            // A picture that is listed without a class shows none.
            Some(class.and_then(|class| names.truth(class)).unwrap_or(Truth::None))
        };
        items.iter().map(truth).collect()
    } else if listed.iter().any(Option::is_some) {
        let mut truth = |class: &str| names.truth(class).unwrap_or(Truth::None);
        listed.iter().map(|class| class.as_deref().map(&mut truth)).collect()
    } else {
        return Ok(by_folder(items, names));
    };
    let but = ["it counts as none of these", "they count as none of these"];
    Ok((truths, names.warnings(but)))
}

fn by_folder(items: &[Item], mut names: Names<'_>) -> (Vec<Option<Truth>>, Vec<String>) {
    let folder = |item: &Item, names: &Names<'_>| {
        let mut parts = item.shown.rsplit_once('/')?.0.split('/');
        let first = parts.next()?;
        let part = class_folder::is_part(first) && !names.of.contains_key(first);
        Some(if part { parts.next().unwrap_or(first) } else { first }.to_owned())
    };
    let folders: Vec<Option<String>> = items.iter().map(|item| folder(item, &names)).collect();
    let truths: Vec<Option<Truth>> =
        folders.iter().map(|folder| names.truth(folder.as_deref()?)).collect();
    let but = ["it is not judged", "they are not judged"];
    if truths.iter().any(|truth| matches!(truth, Some(Truth::Class(_)))) {
        return (truths, names.warnings(but));
    }
    // Folders of a query may be called anything, as long as none is called nearly like a class.
    let classes: Vec<&str> = names.classes.iter().map(|name| &**name).collect();
    names.unknown.retain(|name, _| near(name, &classes).is_some());
    (vec![None; items.len()], names.warnings(but))
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
        let (truths, warnings) = truths(&items, &none, None, Path::new("q"), &classes).unwrap();
        assert_eq!(truths, [Some(Truth::Class(1)), Some(Truth::None), None, None]);
        assert_eq!(
            warnings,
            ["1 picture is said to show what is no class here: misc (1); it is not judged"]
        );
        let unnamed = ["misc/3.png", "none/4.png"].map(item);
        let (truths, warnings) =
            super::truths(&unnamed, &none[..2], None, Path::new("q"), &classes).unwrap();
        assert_eq!(truths, [None, None], "no folder is named like a class");
        assert_eq!(warnings, [""; 0]);
        let parts = ["test/kiwi/1.png", "val/apple/sub/2.png", "train/3.png"].map(item);
        let (truths, _) =
            super::truths(&parts, &none[..3], None, Path::new("q"), &classes).unwrap();
        assert_eq!(truths, [Some(Truth::Class(1)), Some(Truth::Class(0)), None]);
    }

    #[test]
    fn names_that_are_nearly_a_class_are_told_with_it() {
        let classes = ["banana".to_owned(), "kiwi".to_owned()];
        let said = |shown: &[&str]| {
            let items: Vec<Item> = shown.iter().map(|name| item(name)).collect();
            let none = vec![None; items.len()];
            super::truths(&items, &none, None, Path::new("q"), &classes).unwrap()
        };
        let (truths, warnings) =
            said(&["kiwi/1.png", "Bananna/2.png", "Bananna/3.png", "kiwis/4.png", "car/5.png"]);
        assert_eq!(truths, [Some(Truth::Class(1)), None, None, None, None]);
        assert_eq!(
            warnings,
            [
                "names are nearly that of a class, but of none here: `Bananna` (2 pictures; did you mean \
                 `banana`?), `kiwis` (1 picture; did you mean `kiwi`?); they are not judged",
                "1 picture is said to show what is no class here: car (1); it is not judged"
            ]
        );
        let (truths, warnings) = said(&["KIWI/1.png", "shop/2.png"]);
        assert_eq!(truths, [None, None]);
        assert!(
            warnings[0].contains("did you mean `kiwi`?") && warnings.len() == 1,
            "{warnings:?}"
        );
        let items = ["1.png", "2.png", "3.png"].map(item);
        let listed = ["banana ", "zebra", "kiwi"].map(|name| Some(name.to_owned()));
        let (truths, warnings) =
            super::truths(&items, &listed, None, Path::new("q"), &classes).unwrap();
        assert_eq!(truths, [Some(Truth::None), Some(Truth::None), Some(Truth::Class(1))]);
        assert!(
            warnings[0].contains("`banana ` (1 picture; did you mean `banana`?)"),
            "{warnings:?}"
        );
        assert!(warnings[1].contains("zebra (1); it counts as none of these"), "{warnings:?}");
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
        let (truths, warnings) =
            truths(&items, &[None, None, None], Some(&list), &query, &["kiwi".to_owned()]).unwrap();
        assert_eq!(truths, [Some(Truth::Class(0)), Some(Truth::None), None]);
        assert!(warnings[0].contains("plum"));
    }
}
