//! The classes' names and numbers: the one place where a name becomes a mask's value.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::finding::{Findings, Severity};
use crate::mask::{BACKGROUND, MAX_CLASSES, UNLABELLED, VOID};
use crate::names::{SHOWN, counted, shortened};
use crate::text_file::text_of;

/// Names that stand for background where no class is called so.
const BACKGROUND_NAMES: [&str; 4] = ["background", "_background_", "__background__", "bg"];
/// Names that stand for void (`__ignore__` is LabelMe's).
const VOID_NAMES: [&str; 4] = ["void", "__void__", "ignore", "__ignore__"];
/// Names that stand for unlabelled.
const UNLABELLED_NAMES: [&str; 3] = ["unlabelled", "unlabeled", "__unlabelled__"];

/// Most bytes of a class's name.
pub const MOST_BYTES: usize = 1000;

/// A name without line breaks and control characters, which become blanks.
pub fn tidied(name: &str) -> Cow<'_, str> {
    if name.contains(char::is_control) {
        return Cow::Owned(name.replace(char::is_control, " "));
    }
    Cow::Borrowed(name)
}

/// What is wrong with a name above [`MOST_BYTES`].
pub fn too_long(name: &str) -> String {
    let (bytes, shown) = (name.len(), shortened(name, SHOWN));
    format!("a class with a name of {bytes} bytes (`{shown}`); at most {MOST_BYTES}")
}

/// The names of a file's list, tidied; what is odd with them goes to the findings.
pub fn tidied_list(path: &Path, names: Vec<String>, findings: &mut Findings) -> Vec<String> {
    let mut odd = 0;
    let mut kept = Vec::with_capacity(names.len());
    for name in names {
        let name = match tidied(&name) {
            Cow::Borrowed(_) => name,
            Cow::Owned(tidy) => {
                odd += 1;
                tidy
            }
        };
        if name.len() > MOST_BYTES {
            findings.add(Severity::Error, path, too_long(&name), "give it a short name");
        } else {
            kept.push(name);
        }
    }
    if odd > 0 {
        let many = "class names hold line breaks or control characters, which become blanks";
        let one = "class name holds a line break or control characters, which become blanks";
        let what = counted(odd, one, many);
        findings.add(Severity::Warning, path, what, "mend the names in the labelling tool");
    }
    kept
}

/// The value that a reserved name stands for, in any case of letters.
pub fn reserved(name: &str) -> Option<u8> {
    let is = |names: &[&str]| names.iter().any(|known| name.eq_ignore_ascii_case(known));
    if is(&BACKGROUND_NAMES) {
        Some(BACKGROUND)
    } else if is(&VOID_NAMES) {
        Some(VOID)
    } else if is(&UNLABELLED_NAMES) {
        Some(UNLABELLED)
    } else {
        None
    }
}

/// The classes of a folder: class `i + 1` of the masks is name `i`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Classes {
    names: Vec<String>,
    numbers: HashMap<String, u8>,
}

impl Classes {
    /// Classes of these names; at most [`MAX_CLASSES`] of them get a number.
    pub fn new(names: Vec<String>) -> Self {
        let mut numbers = HashMap::new();
        for (name, number) in names.iter().zip(1..=MAX_CLASSES) {
            numbers.entry(name.clone()).or_insert(number);
        }
        Self { names, numbers }
    }

    /// The names, without background.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The value in masks of a name: a class of that name, else what the name is reserved for.
    ///
    /// # Errors
    /// If it is neither.
    pub fn value(&self, name: &str) -> Result<u8> {
        let known = self.numbers.get(name).or_else(|| self.numbers.get(&*tidied(name)));
        known.copied().or_else(|| reserved(name)).ok_or_else(|| {
            let near = crate::names::nearest(&shortened(name, SHOWN), &self.names.iter().map(String::as_str).collect::<Vec<_>>())
                .map_or(String::new(), |near| format!("; did you mean `{near}`?"));
            Error::data(format!(
                "the class `{}` is not among the classes ({}){near} Add it to classes.txt, or mend the name",
                shortened(name, SHOWN),
                crate::names::classes(&self.names, 30)
            ))
        })
    }

    /// The name of a value in masks.
    pub fn name(&self, value: u8) -> &str {
        match value {
            BACKGROUND => "background",
            UNLABELLED => "unlabelled",
            VOID => "void",
            class => self.names.get(usize::from(class) - 1).map_or("?", String::as_str),
        }
    }
}

impl Classes {
    /// The name to write for a value: the class's, or a reserved one that no class is called.
    pub fn word(&self, value: u8) -> String {
        let words: &[&str] = match value {
            BACKGROUND => &BACKGROUND_NAMES,
            UNLABELLED => &UNLABELLED_NAMES,
            VOID => &VOID_NAMES,
            _ => return self.name(value).to_owned(),
        };
        let free = words.iter().find(|word| !self.names.iter().any(|name| name == *word));
        (*free.unwrap_or(&words[0])).to_owned()
    }
}

/// The lines of a text file without blank ones.
///
/// # Errors
/// If it cannot be read as text.
pub fn lines(path: &Path) -> Result<Vec<String>> {
    let text = text_of(path)?;
    Ok(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect())
}

/// The names of `classes.txt`; what is odd with them goes to the findings.
pub fn declared(path: &Path, findings: &mut Findings) -> Option<Vec<String>> {
    let names = match lines(path) {
        Ok(names) => names,
        Err(error) => {
            findings.fails(path, &error);
            return None;
        }
    };
    let names = tidied_list(path, names, findings);
    if names.is_empty() || names.len() > usize::from(MAX_CLASSES) {
        findings.add(
            Severity::Error,
            path,
            format!(
                "names {}; valid are 1 to {MAX_CLASSES}",
                counted(names.len(), "class", "classes")
            ),
            "write a name a line, without background",
        );
    }
    let mut known = BTreeSet::new();
    for name in &names {
        if !known.insert(name) {
            findings.add(
                Severity::Error,
                path,
                format!("the class `{}` stands there twice", shortened(name, SHOWN)),
                "the line's number is the class's number: give each its own name",
            );
        }
    }
    Some(names)
}

/// Names that are most likely one: they differ by case or blanks, or by a letter more or less (`Banana`, `Bananna`).
/// Of more names than a mask can hold, which is an error of its own, none.
pub fn doubled(names: &[String]) -> Vec<(&str, &str)> {
    if names.len() > usize::from(MAX_CLASSES) {
        return Vec::new();
    }
    let plain = |name: &str| -> String {
        name.chars()
            .filter(|letter| letter.is_alphanumeric())
            .flat_map(char::to_lowercase)
            .collect()
    };
    let plain: Vec<String> = names.iter().map(|name| plain(name)).collect();
    let mut pairs = Vec::new();
    for (at, one) in plain.iter().enumerate() {
        for (before, other) in plain[..at].iter().enumerate() {
            if one == other || one_letter_more(one, other) || one_letter_more(other, one) {
                pairs.push((names[before].as_str(), names[at].as_str()));
            }
        }
    }
    pairs
}

/// Whether a long word is another with one letter more; numbers tell words apart.
fn one_letter_more(long: &str, short: &str) -> bool {
    if long.len() < 6 || long.chars().count() != short.chars().count() + 1 {
        return false;
    }
    let same = long.chars().zip(short.chars()).take_while(|(a, b)| a == b).count();
    let mut rest = long.chars().skip(same);
    let letter = rest.next().is_some_and(|letter| letter.is_alphabetic());
    letter && rest.eq(short.chars().skip(same))
}

/// Names that several sources give, in the order in which they are put together.
#[derive(Debug, Default)]
pub struct Gathered {
    /// Names in the order of a tool's own list.
    listed: Vec<String>,
    /// The same, to find them.
    known: HashSet<String>,
    /// The first file that gave a list.
    pub list: Option<PathBuf>,
    /// Names that only objects mention.
    mentioned: BTreeSet<String>,
}

impl Gathered {
    /// Adds a tool's own list; names that stand for background and the like are left out.
    pub fn list(&mut self, path: &Path, names: impl IntoIterator<Item = String>) {
        for name in names {
            let name = tidied(&name).into_owned();
            if reserved(&name).is_none() && self.known.insert(name.clone()) {
                self.listed.push(name);
                self.list.get_or_insert_with(|| path.to_owned());
            }
        }
    }

    /// Adds a name that an object mentions.
    pub fn mention(&mut self, name: &str) {
        let name = tidied(name);
        if reserved(&name).is_none() && !self.mentioned.contains(&*name) {
            self.mentioned.insert(name.into_owned());
        }
    }

    /// Listed names first, then the others in alphabetical order. Of lists that are longer than a mask can hold, only what
    /// objects mention.
    pub fn into_names(self) -> Vec<String> {
        let mut names = self.listed;
        if names.len() > usize::from(MAX_CLASSES) {
            names.retain(|name| self.mentioned.contains(name));
        }
        let rest = self.mentioned.into_iter().filter(|name| !self.known.contains(name));
        names.extend(rest);
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_come_before_reserved_names() {
        let classes = Classes::new(vec!["cat".into(), "void".into()]);
        assert_eq!(classes.value("cat").unwrap(), 1);
        assert_eq!(classes.value("void").unwrap(), 2);
        assert_eq!(classes.value("__ignore__").unwrap(), VOID);
        assert_eq!(classes.value("_background_").unwrap(), BACKGROUND);
        assert!(classes.value("dog").unwrap_err().to_string().contains("cat, void"));
    }

    #[test]
    fn names_that_are_most_likely_one_are_found() {
        let names = [
            "Banana", "shirt", "skirt", "Bananna", "red disc", "Red-Disc", "class 1", "class 11",
            "cat", "cart",
        ];
        let names = names.map(str::to_owned);
        assert_eq!(doubled(&names), [("Banana", "Bananna"), ("red disc", "Red-Disc")]);
    }

    #[test]
    fn lists_keep_their_order_and_mentions_follow() {
        let mut gathered = Gathered::default();
        gathered.mention("zebra");
        gathered.mention("ape");
        gathered.list(Path::new("a"), ["_background_", "dog", "cat"].map(str::to_owned));
        assert_eq!(gathered.into_names(), ["dog", "cat", "ape", "zebra"]);
        let mut long = Gathered::default();
        long.list(Path::new("a"), (0..400).map(|at| format!("thing {at}")));
        long.mention("thing 399");
        long.mention("thing 7");
        assert_eq!(long.into_names(), ["thing 7", "thing 399"]);
    }
}
