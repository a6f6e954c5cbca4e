//! A recipe's text: read, changed, typed, and what is wrong with it told by line.

use std::path::Path;

use crate::error::{Error, Result};
use crate::names;

/// A recipe's text as TOML with the changes made.
///
/// # Errors
/// If it is not TOML, or a change is none.
pub(super) fn table(text: &str, path: &Path, changes: &[String]) -> Result<toml::Table> {
    let mut table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        let line = error.span().map_or(1, |span| text[..span.start].lines().count().max(1));
        Error::config(format!("not TOML: {}", error.message())).at_line(path, line)
    })?;
    for change in changes {
        set(&mut table, change)?;
    }
    Ok(table)
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
    toml::Value::Table(table).try_into().map_err(|error| unfit(&error, path, text, changes))
}

/// What is wrong with a recipe that is TOML: an unknown key or value with the nearest valid one, and
/// the line or the change it is from.
fn unfit(error: &toml::de::Error, path: &Path, text: &str, changes: &[String]) -> Error {
    // serde names what was given, then what is valid, each in backticks.
    let mut names = error.message().split('`').skip(1).step_by(2);
    let (what, given) = match names.next() {
        Some(given) if error.message().starts_with("unknown field") => ("key", given),
        Some(given) if error.message().starts_with("unknown variant") => ("value", given),
        _ => {
            let message = format!("the recipe does not fit: {}", error.message());
            return Error::config(message).in_file(path);
        }
    };
    let valid: Vec<&str> = names.collect();
    let wrong = Error::config(names::unknown(what, given, &valid));
    // The table it is in is the last line of the whole text.
    let whole = error.to_string();
    let table = whole.trim_end().rsplit_once("in `").map_or("", |(_, of)| of.trim_end_matches('`'));
    let key = if table.is_empty() { given.to_owned() } else { format!("{table}.{given}") };
    let mut changed = changes.iter().filter_map(|change| Some(change.split_once('=')?.0.trim()));
    if let Some(change) = changed.find(|change| [table, &key].contains(change)) {
        return wrong.at_key(change);
    }
    match line_of(text, table, given) {
        Some(line) => wrong.at_line(path, line),
        None => wrong.in_file(path),
    }
}

/// The first line of a table, or of a table it is written in, that has a word; from 1.
pub(super) fn line_of(text: &str, table: &str, word: &str) -> Option<usize> {
    let mut inside = true;
    for (index, line) in text.lines().enumerate() {
        let code = line.split('#').next().unwrap_or_default().trim();
        if let Some(header) = code.strip_prefix('[').and_then(|code| code.strip_suffix(']')) {
            inside = format!("{table}.{word}.").starts_with(&format!("{}.", header.trim()))
                || header.trim() == word;
        }
        let part_of_a_word = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
        if inside && code.split(|c: char| !part_of_a_word(c)).any(|found| found == word) {
            return Some(index + 1);
        }
    }
    None
}

/// Makes one change, `key.path=value`; a value that is not TOML is taken as text.
fn set(table: &mut toml::Table, change: &str) -> Result<()> {
    let Some((key, text)) = change.split_once('=') else {
        return Err(Error::config(format!(
            "`{change}` is no change; write key.path=value, such as protocol.runs=1"
        )));
    };
    let value = format!("value = {text}")
        .parse::<toml::Table>()
        .ok()
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| toml::Value::String(text.to_owned()));
    let mut parts: Vec<&str> = key.trim().split('.').collect();
    let last = parts.pop().unwrap_or_default();
    let mut place = table;
    for part in parts {
        let next = place.entry(part).or_insert_with(|| toml::Value::Table(toml::Table::new()));
        place = next.as_table_mut().ok_or_else(|| {
            Error::config(format!("`{part}` is a value, not a section")).at_key(key)
        })?;
    }
    place.insert(last.to_owned(), value);
    Ok(())
}
