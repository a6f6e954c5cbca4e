//! The keys of recipes, as rows for lists: read off the types that read recipes, so that neither can say what the
//! other does not.

mod valid;

use std::sync::LazyLock;

use serde::Serialize;
use serde_json::Value;

use super::Recipe;
use crate::schema::{Form, Node, Table};
pub(super) use valid::{number, one_of, said};

/// A key of recipes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Key {
    /// Where it stands, such as `train.optimizer.beta1`; `[]` is each table of a list.
    pub key: String,
    /// The names that have it, such as `adam`, where it is not of all.
    pub of: Vec<String>,
    /// What it is for.
    pub about: String,
    /// What is taken where it is not written.
    pub default: Option<Value>,
    /// Whether it must be written wherever its table is.
    pub required: bool,
    /// What may be written.
    pub valid: String,
    /// What may be written and what each means, where that is told.
    #[serde(skip)]
    pub choices: Vec<(String, String)>,
}

/// What a recipe may hold.
pub(super) fn tree() -> &'static Node {
    static TREE: LazyLock<Node> = LazyLock::new(Node::of::<Recipe>);
    &TREE
}

/// All keys, in the order of the sections.
pub fn all() -> &'static [Key] {
    static ALL: LazyLock<Vec<Key>> = LazyLock::new(|| {
        let mut all = Vec::new();
        tree().tables().for_each(|table| inside(table, "", &[], true, &mut all));
        sorted(all)
    });
    &ALL
}

/// The keys that begin with a path (`train.optimizer`), or that a word is of or in (`panet`, `beta1`).
pub fn find(word: &str) -> Vec<&'static Key> {
    let word = word.trim().trim_matches(['[', ']']);
    let below = |key: &Key| {
        key.key == word
            || key.key.strip_prefix(word).is_some_and(|rest| rest.starts_with(['.', '[']))
    };
    let path: Vec<&Key> = all().iter().filter(|key| below(key)).collect();
    if !path.is_empty() {
        return path;
    }
    let has = |key: &&Key| {
        let parts = || key.key.split('.').map(|part| part.trim_end_matches("[]"));
        key.of.iter().any(|of| of == word) || parts().any(|part| part == word)
    };
    all().iter().filter(has).collect()
}

/// Everything that [`find`] finds keys by.
pub fn words() -> Vec<&'static str> {
    let parts = |key: &'static Key| key.key.split('.').map(|part| part.trim_end_matches("[]"));
    let mut words: Vec<&str> = all().iter().flat_map(parts).collect();
    words.extend(all().iter().flat_map(|key| key.of.iter().map(String::as_str)));
    words.sort_unstable();
    words.dedup();
    words
}

/// In each section its name, then the keys of some names, then those of all: what all data sets have stands behind
/// what one has.
fn sorted(mut all: Vec<Key>) -> Vec<Key> {
    let parts = |key: &Key| {
        let mut parts = key.key.split('.').map(|part| part.trim_end_matches("[]").to_owned());
        (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
    };
    let mut sections: Vec<String> = all.iter().map(|key| parts(key).0).collect();
    sections.dedup();
    let some: Vec<_> = all
        .iter()
        .filter(|key| key.key.matches('.').count() == 1 && !key.of.is_empty())
        .map(parts)
        .collect();
    let named: Vec<_> = tree()
        .tables()
        .flat_map(|table| &table.keys)
        .flat_map(|(section, node, _)| {
            let tag = node.tables().find_map(|table| table.tag.as_ref());
            tag.map(|(tag, _)| (section.clone(), tag.clone()))
        })
        .collect();
    all.sort_by_key(|key| {
        let here = parts(key);
        let place = sections.iter().position(|section| *section == here.0);
        let rank = match () {
            () if here.1.is_empty() => 0,
            () if named.contains(&here) => 1,
            () if some.contains(&here) => 2,
            () => 3,
        };
        (place, rank)
    });
    all
}

/// The keys of a table; `whole` unless it is one of several that are told by their only key.
fn inside(table: &Table, path: &str, of: &[String], whole: bool, rows: &mut Vec<Key>) {
    let of = match &table.tag {
        Some((_, name)) => vec![name.clone()],
        None => of.to_vec(),
    };
    for (key, node, required) in &table.keys {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        add(rows, row(&path, node, &of, *required && whole));
        below(node, &path, &of, rows);
    }
}

/// The keys under a place: of each table that may stand there, and of each table of a list.
fn below(node: &Node, path: &str, of: &[String], rows: &mut Vec<Key>) {
    let tags: Vec<&(String, String)> =
        node.tables().filter_map(|table| table.tag.as_ref()).collect();
    let names: Vec<&str> = tags.iter().map(|(_, name)| name.as_str()).collect();
    if let Some((key, _)) = tags.first() {
        let tag = Key {
            key: format!("{path}.{key}"),
            of: of.to_vec(),
            about: node.about.clone(),
            default: None,
            required: true,
            valid: valid::one_of(&names),
            choices: Vec::new(),
        };
        add(rows, tag);
    }
    let start = rows.len();
    for form in &node.forms {
        match form {
            Form::Table(table) => {
                inside(table, path, of, node.forms.len() == 1 || table.tag.is_some(), rows)
            }
            Form::List { item, .. } => {
                let mut item = (**item).clone();
                if item.about.is_empty() {
                    item.about.clone_from(&node.about);
                }
                below(&item, &format!("{path}[]"), of, rows);
            }
            _ => {}
        }
    }
    // What all names have needs none.
    for row in &mut rows[start..] {
        if names.len() > 1 && names.iter().all(|name| row.of.iter().any(|of| of == name)) {
            row.of.clear();
        }
    }
}

fn row(path: &str, node: &Node, of: &[String], required: bool) -> Key {
    let choices = node.forms.iter().find_map(|form| match form {
        Form::Text { choices, .. } if choices.iter().all(|(_, about)| !about.is_empty()) => {
            Some(choices.clone())
        }
        _ => None,
    });
    Key {
        key: path.to_owned(),
        of: of.to_vec(),
        about: node.about.clone(),
        default: node.default.clone(),
        required,
        valid: said(node),
        choices: choices.unwrap_or_default(),
    }
}

/// Adds a row, or its names to a row that says the same.
fn add(rows: &mut Vec<Key>, row: Key) {
    let same = |other: &&mut Key| Key { of: row.of.clone(), ..(**other).clone() } == row;
    match rows.iter_mut().find(same) {
        Some(other) => {
            let new = row.of.into_iter().filter(|of| !other.of.contains(of)).collect::<Vec<_>>();
            other.of.extend(new);
        }
        None => rows.push(row),
    }
}
