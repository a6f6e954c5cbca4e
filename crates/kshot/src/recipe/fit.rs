//! Holds a recipe's TOML against what its types can read: keys, types and bounds, each told with its place.

use toml::{Table as Toml, Value};

use super::keys::{self, number, said};
use crate::names;
use crate::schema::{Bounds, Form, Node, Table};

/// A step to a place in a recipe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Into a table.
    Key(String),
    /// Into a list.
    Index(usize),
}

/// What is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// From the top.
    pub path: Vec<Step>,
    /// In a sentence.
    pub text: String,
}

/// A path as people write it: `loss.terms[1].weight`.
pub(super) fn dotted(path: &[Step]) -> String {
    path.iter().fold(String::new(), |text, step| match step {
        Step::Key(key) if text.is_empty() => key.clone(),
        Step::Key(key) => format!("{text}.{key}"),
        Step::Index(index) => format!("{text}[{index}]"),
    })
}

/// Finds the first thing that does not fit.
pub(super) fn check(recipe: &Toml) -> Result<(), Fault> {
    let tables: Vec<&Table> = keys::tree().tables().collect();
    tables.iter().try_for_each(|table| in_table(table, recipe, &mut Vec::new(), "section"))
}

fn fault<T>(path: &[Step], text: impl Into<String>) -> Result<T, Fault> {
    Err(Fault { path: path.to_vec(), text: text.into() })
}

fn fits(node: &Node, value: &Value, path: &mut Vec<Step>) -> Result<(), Fault> {
    match value {
        Value::Table(table) if node.tables().next().is_some() => {
            return in_table(chosen(node, table, path)?, table, path, "key");
        }
        Value::Array(items) => {
            if let Some((item, least, most)) = node.forms.iter().find_map(Form::as_list) {
                return in_list(item, items, (least, most), path);
            }
        }
        Value::String(text) => {
            let form = node.forms.iter().find_map(|form| match form {
                Form::Text { choices, least } => Some((choices, *least)),
                _ => None,
            });
            if let Some((choices, least)) = form {
                return in_text(choices, least, text, path);
            }
        }
        Value::Boolean(_) if node.forms.iter().any(|form| matches!(form, Form::Flag)) => {
            return Ok(());
        }
        Value::Integer(_) | Value::Float(_) => {
            let bounds = node.forms.iter().find_map(|form| match form {
                Form::Number(bounds) => Some(bounds),
                _ => None,
            });
            if let Some(bounds) = bounds {
                return in_bounds(bounds, value, node, path);
            }
        }
        _ => {}
    }
    fault(path, format!("{} where it takes {}{}", kind(value), said(node), unquoted(node, value)))
}

/// What a value is.
fn kind(value: &Value) -> String {
    match value {
        Value::String(text) if text.chars().count() <= 40 => format!("the text \"{text}\""),
        Value::String(_) => "a text".to_owned(),
        Value::Integer(value) => format!("the number {value}"),
        Value::Float(value) => format!("the number {}", number(*value)),
        Value::Boolean(value) => format!("{value}"),
        Value::Datetime(value) => format!("the date {value}"),
        Value::Array(_) => "a list".to_owned(),
        Value::Table(_) => "a table".to_owned(),
    }
}

/// What to do with a number in quotes.
fn unquoted(node: &Node, value: &Value) -> &'static str {
    let takes_numbers = node.forms.iter().any(|form| matches!(form, Form::Number(_)));
    match value {
        Value::String(text) if takes_numbers && text.trim().parse::<f64>().is_ok() => {
            "; write it without quotes"
        }
        _ => "",
    }
}

/// Which of the tables that may stand at a place one is.
fn chosen<'a>(node: &'a Node, table: &Toml, path: &[Step]) -> Result<&'a Table, Fault> {
    let all: Vec<&Table> = node.tables().collect();
    let tags: Vec<(&str, &str)> = all
        .iter()
        .filter_map(|table| table.tag.as_ref())
        .map(|(k, n)| (k.as_str(), n.as_str()))
        .collect();
    let Some((tag, first)) = tags.first() else { return by_key(&all, table, path) };
    let valid: Vec<&str> = tags.iter().map(|(_, name)| *name).collect();
    let what = what_of(path);
    let at = |path: &[Step]| [path, &[Step::Key((*tag).to_owned())]].concat();
    match table.get(*tag) {
        None => fault(
            &at(path),
            format!(
                "missing: it says which, such as {tag} = \"{first}\". Valid are: {}",
                valid.join(", ")
            ),
        ),
        Some(Value::String(name)) => match valid.iter().position(|valid| valid == name) {
            Some(place) => Ok(all[place]),
            None => {
                let what = if *tag == "name" { what } else { (*tag).to_owned() };
                fault(&at(path), names::unknown(&what, name, &valid))
            }
        },
        Some(other) => {
            fault(&at(path), format!("{} where it takes {}", kind(other), keys::one_of(&valid)))
        }
    }
}

/// Of tables with one key each, that whose key is given.
fn by_key<'a>(all: &[&'a Table], given: &Toml, path: &[Step]) -> Result<&'a Table, Fault> {
    if let [one] = all {
        return Ok(one);
    }
    let valid: Vec<&str> =
        all.iter().flat_map(|table| table.keys.iter().map(|(key, ..)| key.as_str())).collect();
    let Some(key) = given.keys().next().filter(|_| given.len() == 1) else {
        let text =
            format!("a table of {} keys; exactly one goes here: {}", given.len(), valid.join(", "));
        return fault(path, text);
    };
    match all.iter().find(|table| table.get(key).is_some()) {
        Some(table) => Ok(table),
        None => {
            let text = names::unknown(&what_of(path), key, &valid);
            fault(&[path, &[Step::Key(key.clone())]].concat(), text)
        }
    }
}

/// What a place names: the last key of its path.
fn what_of(path: &[Step]) -> String {
    let key = path.iter().rev().find_map(|step| match step {
        Step::Key(key) => Some(key.trim_end_matches('s').to_owned()),
        Step::Index(_) => None,
    });
    key.unwrap_or_else(|| "name".to_owned())
}

fn in_table(table: &Table, given: &Toml, path: &mut Vec<Step>, what: &str) -> Result<(), Fault> {
    let tag = table.tag.as_ref().map(|(key, _)| key.as_str());
    let valid: Vec<&str> =
        tag.into_iter().chain(table.keys.iter().map(|(key, ..)| key.as_str())).collect();
    for key in given.keys() {
        if !valid.contains(&key.as_str()) {
            let of = table.tag.as_ref().map(|(_, name)| format!(" (the keys of {name})"));
            let text = match valid.as_slice() {
                [] => format!("unknown {what} `{key}`: no keys go here"),
                valid => names::unknown(what, key, valid) + &of.unwrap_or_default(),
            };
            let text =
                text + &elsewhere(&dotted(path), key, table.tag.as_ref().map(|(_, name)| name));
            return fault(&[&path[..], &[Step::Key(key.clone())]].concat(), text);
        }
    }
    for (key, node, required) in &table.keys {
        path.push(Step::Key(key.clone()));
        match given.get(key) {
            Some(value) => fits(node, value, path)?,
            None if *required => return fault(path, missing(&path[..path.len() - 1], key, node)),
            None => {}
        }
        path.pop();
    }
    Ok(())
}

/// What is said of a key that is not there.
fn missing(section: &[Step], key: &str, node: &Node) -> String {
    let example = match &node.example {
        Some(example) => format!("{key} = {example}"),
        None => match node.tables().find_map(|table| table.tag.as_ref()) {
            Some((tag, name)) if section.is_empty() => format!("[{key}] with {tag} = \"{name}\""),
            Some((tag, name)) => format!("{key} = {{ {tag} = \"{name}\" }}"),
            None => format!("{key} = {}", said(node)),
        },
    };
    let about = node.about.trim_end_matches('.');
    match section {
        [] => format!("the section [{key}] is missing ({about}); write {example}"),
        _ => format!("missing in [{}] ({about}); write it, such as {example}", dotted(section)),
    }
}

/// Where a key goes that is not of this table.
fn elsewhere(section: &str, given: &str, name: Option<&String>) -> String {
    let mut beside: Vec<&str> = Vec::new();
    let mut sections: Vec<String> = Vec::new();
    for key in keys::all() {
        let (parent, last) = key.key.rsplit_once('.').unwrap_or(("", &key.key));
        if last != given {
            continue;
        }
        if unindexed(section) == parent.replace("[]", "") {
            beside.extend(
                key.of
                    .iter()
                    .map(String::as_str)
                    .filter(|of| Some(*of) != name.map(String::as_str)),
            );
        } else if parent.is_empty() {
            sections.push(format!("a section of its own, [{given}]"));
        } else if !parent.contains('[') {
            let (first, rest) = parent.split_once('.').unwrap_or((parent, ""));
            sections.push(format!("[{first}] {rest}").trim_end().to_owned());
        }
    }
    sections.dedup();
    match (beside.as_slice(), sections.as_slice()) {
        ([], []) => String::new(),
        ([], sections) => format!(". `{given}` belongs to {}", names::listed(sections, 3)),
        (beside, _) => format!(". `{given}` is a key of {}", names::listed(beside, 4)),
    }
}

/// A path without the places in lists.
fn unindexed(path: &str) -> String {
    path.split('[').enumerate().fold(String::new(), |text, (index, part)| match index {
        0 => part.to_owned(),
        _ => text + part.split_once(']').map_or("", |(_, rest)| rest),
    })
}

fn in_list(
    item: &Node,
    items: &[Value],
    (least, most): (u64, u64),
    path: &mut Vec<Step>,
) -> Result<(), Fault> {
    let count = items.len() as u64;
    if !(least..=most).contains(&count) {
        let given =
            if count == 0 { "an empty list".to_owned() } else { format!("a list of {count}") };
        let valid = if least == most { least.to_string() } else { format!("{least} to {most}") };
        return fault(path, format!("{given}; valid is a list of {valid}, each {}", said(item)));
    }
    for (index, value) in items.iter().enumerate() {
        path.push(Step::Index(index));
        fits(item, value, path)?;
        path.pop();
    }
    Ok(())
}

fn in_text(
    choices: &[(String, String)],
    least: u64,
    text: &str,
    path: &[Step],
) -> Result<(), Fault> {
    if (text.trim().len() as u64) < least {
        return fault(path, "an empty text; write something, or leave the key out");
    }
    if text.contains('\0') {
        return fault(path, "a text with the character 0, which no name has");
    }
    let valid: Vec<&str> = choices.iter().map(|(choice, _)| choice.as_str()).collect();
    if valid.is_empty() || valid.contains(&text) {
        return Ok(());
    }
    fault(path, names::unknown(&what_of(path), text, &valid))
}

fn in_bounds(bounds: &Bounds, value: &Value, node: &Node, path: &[Step]) -> Result<(), Fault> {
    let given = match value {
        Value::Integer(value) => *value as f64,
        Value::Float(_) if bounds.whole => {
            return fault(path, format!("{} where it takes {}", kind(value), said(node)));
        }
        Value::Float(value) => *value,
        _ => f64::NAN,
    };
    let among = bounds.among.is_empty() || bounds.among.iter().any(|valid| *valid as f64 == given);
    let above =
        bounds.least.is_none_or(|(least, closed)| given > least || (closed && given == least));
    let below = bounds.most.is_none_or(|(most, closed)| given < most || (closed && given == most));
    if among && above && below && !given.is_nan() {
        return Ok(());
    }
    let shown = match value {
        Value::Integer(value) => value.to_string(),
        _ => number(given),
    };
    let why = if node.about.is_empty() {
        String::new()
    } else {
        format!(" ({})", node.about.trim_end_matches('.'))
    };
    fault(path, format!("{shown} is out of range; valid is {}{why}", said(node)))
}
