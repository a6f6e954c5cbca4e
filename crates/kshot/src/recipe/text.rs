//! A recipe's text: read, changed, typed, and what is wrong with it told by line and key.

use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::fit::{self, Fault, Step, dotted};
use crate::error::{Error, Place, Result};

/// Bytes of the longest recipe; those of people have a thousand.
const LONGEST: u64 = 1 << 20;
/// Keys in a path at most: `data.transforms[0].size` has three.
const DEEPEST: usize = 16;

/// A recipe's text.
///
/// # Errors
/// If there is no such file, it is none that a recipe can be, or it is no text.
pub(super) fn read(path: &Path) -> Result<String> {
    let failed = |error| Error::io("read the recipe", path, error);
    let about = std::fs::metadata(path).map_err(failed)?;
    if about.is_dir() {
        let inside = path.join("recipe.toml");
        let file = if inside.is_file() { inside } else { path.join("NAME.toml") };
        let text = format!("a folder; give the recipe's file, such as {}", file.display());
        return Err(Error::config(text).in_file(path));
    }
    if about.len() > LONGEST {
        let text = format!(
            "{} bytes; a recipe has at most {LONGEST}, so this is another file",
            about.len()
        );
        return Err(Error::config(text).in_file(path));
    }
    let bytes = std::fs::read(path).map_err(failed)?;
    kshot_data::text_file::decoded(bytes).map_err(|error| error.in_file(path))
}

/// A recipe's text as TOML with the changes made.
///
/// # Errors
/// If it is not TOML, or a change is none.
pub(super) fn table(text: &str, path: &Path, changes: &[String]) -> Result<toml::Table> {
    let text = unmarked(text);
    if text.trim().is_empty() {
        let text = "an empty file; a recipe has the sections [protocol], [data] and [method], see `kshot list keys`";
        return Err(Error::config(text).in_file(path));
    }
    let mut table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        let span = error.span().unwrap_or(0..0);
        let line = line_at(text, span.start);
        let message = match (error.message(), text.get(span)) {
            ("duplicate key", Some(key)) => format!("the key `{}` is given twice", key.trim()),
            (message, _) => format!("not TOML: {message}"),
        };
        Error::config(message).at_line(path, line)
    })?;
    for change in changes {
        set(&mut table, change)?;
    }
    Ok(table)
}

/// Without a byte order mark.
fn unmarked(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// The 1-based line of a byte.
fn line_at(text: &str, byte: usize) -> usize {
    text.as_bytes().iter().take(byte).filter(|byte| **byte == b'\n').count() + 1
}

/// A recipe's TOML, typed.
///
/// # Errors
/// If it has a key or value that is none.
pub(super) fn typed<T: serde::de::DeserializeOwned>(
    table: toml::Table,
    path: &Path,
    text: &str,
    changes: &[String],
) -> Result<T> {
    fit::check(&table).map_err(|fault| told(&fault, path, text, changes))?;
    // What the schema cannot say.
    toml::Value::Table(table).try_into().map_err(|error: toml::de::Error| {
        let whole = error.to_string();
        let of =
            whole.trim_end().rsplit_once("in `").map_or("", |(_, of)| of.trim_end_matches('`'));
        let message = format!("the recipe does not fit: {}", error.message());
        match of {
            "" => Error::config(message).in_file(path),
            key => placed(Error::config(message).at_key(key), path, text, changes),
        }
    })
}

/// A fault with the line or the change it is from.
fn told(fault: &Fault, path: &Path, text: &str, changes: &[String]) -> Error {
    let key = dotted(&fault.path);
    let wrong = Error::config(fault.text.clone()).at_key(key);
    located(wrong, &fault.path, path, text, changes)
}

/// An error of a key with the line of the recipe or the change it is from.
pub(super) fn placed(error: Error, path: &Path, text: &str, changes: &[String]) -> Error {
    let steps = match error.place() {
        Some(Place::Key(key)) => steps_of(key),
        _ => return error,
    };
    located(error, &steps, path, text, changes)
}

fn located(error: Error, steps: &[Step], path: &Path, text: &str, changes: &[String]) -> Error {
    let key = dotted(steps);
    // A change may have begun the table that lacks something.
    let table = key.rsplit_once('.').map_or("", |(table, _)| table);
    let begun = is_new(text, &steps_of(table)).then_some(table).filter(|table| !table.is_empty());
    let under = |change: &&String| {
        let changed = change.split_once('=').map_or("", |(key, _)| key.trim());
        if begun.is_some_and(|table| is_under(changed, table)) {
            return true;
        }
        [key.as_str(), changed].iter().all(|path| !path.is_empty())
            && (is_under(&key, changed) || is_under(changed, &key))
    };
    if let Some(change) = changes.iter().rev().find(under) {
        let text = format!("{} (changed by `{}`)", error.message(), shortened(change));
        return Error::new(error.kind(), text).at_key(key);
    }
    let text_of = format!("key `{key}`: {}", error.message());
    let wrong = Error::new(error.kind(), text_of);
    match line_of(text, steps) {
        Some(line) => wrong.at_line(path, line),
        None => wrong.in_file(path),
    }
}

/// The start of a change that may be long.
fn shortened(change: &str) -> String {
    const LONG: usize = 80;
    match change.char_indices().nth(LONG) {
        Some((end, _)) => format!("{}...", &change[..end]),
        None => change.to_owned(),
    }
}

/// Whether a key is another or in it.
fn is_under(key: &str, other: &str) -> bool {
    key.strip_prefix(other).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// A dotted key as steps.
fn steps_of(key: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    for part in key.split('.') {
        let (name, places) = part.split_once('[').unwrap_or((part, ""));
        steps.push(Step::Key(name.to_owned()));
        let indices =
            places.split('[').filter_map(|place| place.trim_end_matches(']').parse().ok());
        steps.extend(indices.map(Step::Index));
    }
    steps
}

/// The line of a key, or of the innermost table around it that is written; from 1.
pub(super) fn line_of(text: &str, steps: &[Step]) -> Option<usize> {
    written(text, steps).map(|(line, _)| line)
}

/// Whether a place is not in the text.
fn is_new(text: &str, steps: &[Step]) -> bool {
    written(text, steps).is_none_or(|(_, depth)| depth < steps.len())
}

/// The line of the innermost part of a path that is written, and how many steps lead to it.
fn written(text: &str, steps: &[Step]) -> Option<(usize, usize)> {
    let text = unmarked(text);
    let table = DeTable::parse(text).ok()?;
    let mut found = None;
    let mut depth = 0;
    let mut here: Option<&DeValue<'_>> = None;
    for step in steps {
        let value = match (here, step) {
            (None, Step::Key(key)) => entry(table.get_ref(), key),
            (Some(DeValue::Table(table)), Step::Key(key)) => entry(table, key),
            (Some(DeValue::Array(items)), Step::Index(index)) => {
                items.get(*index).map(|item| (item.span().start, item.get_ref()))
            }
            _ => None,
        };
        let Some((start, value)) = value else { break };
        found = Some(start);
        depth += 1;
        here = Some(value);
    }
    found.map(|start| (line_at(text, start), depth))
}

/// Where a table's key begins, and its value.
fn entry<'a>(table: &'a DeTable<'_>, key: &str) -> Option<(usize, &'a DeValue<'a>)> {
    let (name, value) = table.iter().find(|(name, _)| name.get_ref().as_ref() == key)?;
    Some((name.span().start, value.get_ref()))
}

/// Makes one change, `key.path=value`; a value that is not TOML is taken as text.
fn set(table: &mut toml::Table, change: &str) -> Result<()> {
    let shown = shortened(change);
    let wrong = |text: String| Err(Error::config(format!("the change `{shown}`: {text}")));
    let Some((key, text)) = change.split_once('=') else {
        return Err(Error::config(format!(
            "`{shown}` is no change; write key.path=value, such as protocol.runs=1"
        )));
    };
    if change.len() as u64 > LONGEST {
        return wrong(format!("{} bytes; at most {LONGEST}", change.len()));
    }
    let mut parts: Vec<&str> = key.trim().split('.').collect();
    if parts.iter().any(|part| part.trim().is_empty()) {
        return wrong("a key is missing; write key.path=value, such as protocol.runs=1".to_owned());
    }
    if parts.len() > DEEPEST {
        return wrong(format!("a key of {} parts; no recipe has more than {DEEPEST}", parts.len()));
    }
    let value = format!("value = {text}")
        .parse::<toml::Table>()
        .ok()
        .filter(|table| table.len() == 1)
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| toml::Value::String(text.to_owned()));
    let last = parts.pop().unwrap_or_default();
    let mut place = table;
    for part in parts {
        let next = place.entry(part).or_insert_with(|| toml::Value::Table(toml::Table::new()));
        let Some(inside) = next.as_table_mut() else {
            return wrong(format!(
                "`{part}` is a value, not a table; change all of it, such as \
                 train.optimizer={{ name = \"sgd\", momentum = 0.9 }}"
            ));
        };
        place = inside;
    }
    place.insert(last.to_owned(), value);
    Ok(())
}
