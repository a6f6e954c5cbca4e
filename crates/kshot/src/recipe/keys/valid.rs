//! What may be written at a place, in words.

use crate::schema::{Bounds, Form, Node};

/// What may be written.
pub(crate) fn said(node: &Node) -> String {
    let mut all: Vec<String> = Vec::new();
    for form in &node.forms {
        let text = match form {
            Form::Number(bounds) => numbers(bounds),
            Form::Text { choices, .. } if choices.is_empty() => "a text".to_owned(),
            Form::Text { choices, .. } => {
                one_of(&choices.iter().map(|(choice, _)| choice.as_str()).collect::<Vec<_>>())
            }
            Form::Flag => "true or false".to_owned(),
            Form::List { item, least, most } => listed(item, *least, *most),
            Form::Table(_) => continue,
        };
        all.push(text);
    }
    all.extend(tables(node));
    all.join(", or ")
}

/// A choice of names.
pub(crate) fn one_of(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
    either(&quoted)
}

fn either(all: &[String]) -> String {
    match all {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

fn tables(node: &Node) -> Option<String> {
    let tables: Vec<_> = node.tables().collect();
    let first = tables.first()?;
    if let Some((tag, _)) = &first.tag {
        let own = if node.forms.len() > tables.len() { "that name" } else { "its name" };
        return Some(format!("a table with {own} as `{tag}` and its own keys"));
    }
    let keys: Vec<String> =
        tables.iter().flat_map(|table| &table.keys).map(|(key, ..)| format!("`{key}`")).collect();
    let joined = if tables.len() > 1 { either(&keys) } else { keys.join(", ") };
    Some(format!("a table of {joined}"))
}

fn listed(item: &Node, least: u64, most: u64) -> String {
    let count = if least == most { least.to_string() } else { format!("{least} to {most}") };
    let each = said(item);
    format!("a list of {count}, each {each}")
}

fn numbers(bounds: &Bounds) -> String {
    if !bounds.among.is_empty() {
        return either(&bounds.among.iter().map(i64::to_string).collect::<Vec<_>>());
    }
    let what = if bounds.whole { "a whole number" } else { "a number" };
    let (least, most) = (bounds.least, bounds.most);
    let most = match most {
        None if bounds.whole => Some((i64::MAX as f64, true)),
        most => most,
    };
    let end = most.map(|(most, closed)| (number(most), closed));
    let from = least.map(|(least, closed)| (number(least), closed));
    match (from, end) {
        (Some((from, true)), Some((end, true))) => format!("{what} of {from} to {end}"),
        (Some((from, true)), Some((end, false))) => format!("{what} of {from} to below {end}"),
        (Some((from, false)), Some((end, true))) => format!("{what} above {from} to {end}"),
        (Some((from, false)), Some((end, false))) => format!("{what} above {from} and below {end}"),
        (Some((from, true)), None) => format!("{what} of {from} and more"),
        (Some((from, false)), None) => format!("{what} above {from}"),
        (None, Some((end, _))) => format!("{what} up to {end}"),
        (None, None) => what.to_owned(),
    }
}

/// A number in the fewest characters.
pub(crate) fn number(value: f64) -> String {
    let size = value.abs();
    if value == i64::MAX as f64 {
        return i64::MAX.to_string();
    }
    if size != 0.0 && value.is_finite() && !(1e-4..1e15).contains(&size) {
        return format!("{value:e}");
    }
    value.to_string()
}
