//! Names: the rows of tables, and what a misspelt name was meant to be.

use std::borrow::Cow;
use std::path::Path;

/// A row of any of the tables (encoders, methods, losses, ...), for people.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Row {
    /// The name in commands and recipes.
    pub name: String,
    /// One line on what it is.
    pub summary: String,
    /// Where it comes from: an address, or nothing for our own.
    pub source: Option<String>,
}

/// Names one after the other, at most so many: `cat, dog and 7 more`.
pub fn listed<T: AsRef<str>>(names: &[T], most: usize) -> String {
    let shown: Vec<&str> = names.iter().take(most).map(AsRef::as_ref).collect();
    let more = names.len().saturating_sub(most);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", shown.join(", "))
}

/// A number of things, by their name in the singular and plural: `1 picture`, `2 pictures`.
pub fn counted(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// Letters of a class's name that are shown.
pub const SHOWN: usize = 60;

/// A text of at most so many letters; of a longer one the beginning and `...`.
pub fn shortened(text: &str, most: usize) -> Cow<'_, str> {
    match text.char_indices().nth(most) {
        None => Cow::Borrowed(text),
        Some(_) => {
            let end = text.char_indices().nth(most.saturating_sub(3)).map_or(0, |(at, _)| at);
            Cow::Owned(format!("{}...", &text[..end]))
        }
    }
}

/// Names of classes one after the other, at most so many, none longer than [`SHOWN`].
pub fn classes<T: AsRef<str>>(names: &[T], most: usize) -> String {
    let shown: Vec<_> = names.iter().map(|name| shortened(name.as_ref(), SHOWN)).collect();
    listed(&shown, most)
}

/// How many things there are, and the first of them by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Examples {
    count: usize,
    named: Vec<String>,
}

impl Examples {
    /// Things that are named.
    const NAMED: usize = 3;
    /// Letters of a name that are shown.
    const LETTERS: usize = 160;

    /// Adds a thing.
    pub fn add(&mut self, name: impl AsRef<str>) {
        self.count += 1;
        if self.named.len() < Self::NAMED {
            self.named.push(shortened(name.as_ref(), Self::LETTERS).into_owned());
        }
    }

    /// Adds the things of another.
    pub fn append(&mut self, other: Self) {
        self.count += other.count;
        self.named.extend(other.named);
        self.named.truncate(Self::NAMED);
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count
    }
}

/// The first few: `a, b, c and 4 more`.
impl std::fmt::Display for Examples {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.named.join(", "))?;
        match self.count - self.named.len() {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// The message for a name that is not in a table: the nearest valid name, then all of them.
///
/// `what` names the table in the singular, such as `encoder`.
pub fn unknown(what: &str, given: &str, valid: &[&str]) -> String {
    let near = nearest(given, valid).map(|name| format!("; did you mean `{name}`?"));
    format!(
        "unknown {what} `{given}`{} Valid are: {}",
        near.unwrap_or_else(|| ".".to_owned()),
        valid.join(", ")
    )
}

/// The valid name with the fewest edits from the given one, if at most a third of it differs.
pub fn nearest<'a>(given: &str, valid: &[&'a str]) -> Option<&'a str> {
    let given = given.to_lowercase();
    let (edits, name) = valid
        .iter()
        .map(|name| (edits(&given, &name.to_lowercase()), *name))
        .min_by_key(|(edits, _)| *edits)?;
    (edits * 3 <= name.chars().count().max(3)).then_some(name)
}

/// What to do about a path that is not there: the nearest name beside the first part that is missing, or a look at it.
pub fn instead_of(path: &Path) -> String {
    let missing =
        path.ancestors().take_while(|of| !of.as_os_str().is_empty() && !of.exists()).last();
    let near = missing.and_then(|missing| {
        let name = missing.file_name()?.to_str()?;
        let parent = missing.parent()?;
        let beside = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        let names = std::fs::read_dir(beside).ok()?.take(MOST_LISTED);
        let names = names.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let names: Vec<String> = names.filter(|name| !name.starts_with('.')).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        Some(parent.join(nearest(name, &names)?))
    });
    match near {
        Some(near) => format!("did you mean `{}`?", near.display()),
        None => "check the path".to_owned(),
    }
}

/// Entries of a folder that are compared with a name that is not there.
const MOST_LISTED: usize = 10_000;

/// How many characters must be inserted, deleted or replaced to turn one text into the other.
pub(crate) fn edits(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_counted() {
        for (from, to, expected) in
            [("", "abc", 3), ("kitten", "sitting", 3), ("vgg16", "vgg16", 0), ("ab", "ba", 2)]
        {
            assert_eq!(edits(from, to), expected, "{from} -> {to}");
        }
    }

    #[test]
    fn the_name_beside_the_first_missing_part_is_suggested() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("labelled/images")).unwrap();
        for (given, meant) in
            [("labeled", "labelled"), ("labeled/images", "labelled"), ("labelled/imags", "images")]
        {
            let words = instead_of(&folder.path().join(given));
            assert!(words.contains("did you mean") && words.contains(meant), "{given}: {words}");
        }
        assert_eq!(instead_of(&folder.path().join("photographs")), "check the path");
    }

    #[test]
    fn long_names_are_cut() {
        let long = "\u{e4}".repeat(61);
        assert_eq!(shortened(&long[2..], SHOWN), long[2..]);
        assert_eq!(shortened(&long, SHOWN), format!("{}...", "\u{e4}".repeat(57)));
        assert_eq!(classes(&["a", "b", &long], 2), "a, b and 1 more");
    }

    #[test]
    fn only_near_names_are_offered() {
        let valid = ["resnet18", "resnet34", "vgg16"];
        assert_eq!(nearest("Resnet-18", &valid), Some("resnet18"));
        assert_eq!(nearest("vgg", &valid), None);
        assert!(unknown("encoder", "x", &valid).starts_with("unknown encoder `x`. Valid are: res"));
    }
}
