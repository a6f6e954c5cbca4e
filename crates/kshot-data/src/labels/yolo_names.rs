//! The classes' names in YOLO's `data.yaml`.
//!
//! Only the key `names` is looked at, in the forms that tools write: a list (`[cat, dog]`, or a line
//! `- cat` each) or a map from numbers (`{0: cat}`, or a line `0: cat` each). Anything else YAML could
//! hold there is refused, not guessed.

use std::collections::BTreeMap;
use std::path::Path;

use crate::error::{Error, Result};
use crate::text_file::text_of;

/// The names of a YAML file; `None` where it has no key `names`.
///
/// # Errors
/// If the file cannot be read, or the names are in a form that is not known.
pub fn read(path: &Path) -> Result<Option<Vec<String>>> {
    read_of(path, |_| true)
}

/// Whether a YAML file's text says where the parts of a data set are.
pub fn is_of_parts(text: &str) -> bool {
    let part = |line: &str| ["train:", "val:", "test:"].iter().any(|key| line.starts_with(key));
    text.lines().any(part)
}

/// As [`read`], of a file whose text is as asked for; others have no names.
///
/// # Errors
/// As [`read`].
pub fn read_of(path: &Path, is: impl Fn(&str) -> bool) -> Result<Option<Vec<String>>> {
    let text = text_of(path)?;
    if !is(&text) {
        return Ok(None);
    }
    parse(&text).map_err(|(line, what)| {
        Error::data(format!(
            "{what}; write `names:` as a list (`names: [cat, dog]`, or a line `  - cat` each) or as \
             a map (a line `  0: cat` each)"
        ))
        .at_line(path, line)
    })
}

type Wrong = (usize, String);

fn parse(text: &str) -> Result<Option<Vec<String>>, Wrong> {
    let lines: Vec<(usize, &str)> = text
        .lines()
        .enumerate()
        .map(|(index, line)| (index + 1, without_comment(line).trim_end()))
        .filter(|(_, line)| !line.trim().is_empty())
        .collect();
    let key = |line: &str| {
        ["names", "'names'", "\"names\""].iter().find_map(|key| {
            line.strip_prefix(key)?.trim_start().strip_prefix(':').map(str::to_owned)
        })
    };
    let Some((at, rest)) =
        lines.iter().enumerate().find_map(|(at, (_, line))| Some((at, key(line)?)))
    else {
        return Ok(None);
    };
    let number = lines[at].0;
    // The lines that belong to the key: deeper ones, and list items, which may stand as deep as it.
    let below: Vec<(usize, &str)> = lines[at + 1..]
        .iter()
        .take_while(|(_, line)| line.starts_with([' ', '\t', '-', ']', '}']))
        .copied()
        .collect();
    let rest = rest.trim();
    if rest.starts_with(['[', '{']) {
        let mut flow = rest.to_owned();
        for (_, line) in &below {
            flow.push(' ');
            flow.push_str(line.trim());
        }
        return flow_names(&flow).map(Some).map_err(|what| (number, what));
    }
    if !rest.is_empty() {
        return Err((number, format!("`names: {rest}` is neither a list nor a map")));
    }
    let mut list = Vec::new();
    let mut map = BTreeMap::new();
    for (number, line) in below {
        let line = line.trim();
        if let Some(item) = line.strip_prefix("- ") {
            list.push(scalar(item).map_err(|what| (number, what))?);
        } else {
            entry(line, &mut map).map_err(|what| (number, what))?;
        }
    }
    match (list.is_empty(), map.is_empty()) {
        (false, true) => Ok(Some(list)),
        (true, false) => in_order(map).map(Some).map_err(|what| (number, what)),
        (true, true) => Err((number, "`names` is empty".to_owned())),
        (false, false) => Err((number, "`names` mixes a list and a map".to_owned())),
    }
}

/// A line up to a `#` that begins a comment.
fn without_comment(line: &str) -> &str {
    let mut quotes = Quotes::default();
    let mut before = ' ';
    for (at, character) in line.char_indices() {
        if !quotes.inside() && character == '#' && before.is_whitespace() {
            return &line[..at];
        }
        quotes.step(character, before);
        before = character;
    }
    line
}

/// Whether one is inside quotes, while a line is read character by character.
#[derive(Default)]
struct Quotes {
    open: Option<char>,
}

impl Quotes {
    fn inside(&self) -> bool {
        self.open.is_some()
    }

    /// Takes the next character and the one before it.
    fn step(&mut self, character: char, before: char) {
        match (self.open, character) {
            // A quote in double quotes is `\"`.
            (Some('"'), '"') if before == '\\' => {}
            (Some(open), close) if open == close => self.open = None,
            // A quote opens where a value begins, and again in `''`, a quote in single quotes.
            (None, '\'') if before == '\'' => self.open = Some(character),
            (None, '\'' | '"') if before.is_whitespace() || "[{,:-".contains(before) => {
                self.open = Some(character);
            }
            _ => {}
        }
    }
}

fn flow_names(flow: &str) -> Result<Vec<String>, String> {
    let close = if flow.starts_with('[') { ']' } else { '}' };
    let inner = flow[1..]
        .trim_end()
        .strip_suffix(close)
        .ok_or_else(|| format!("`names` has no closing `{close}`"))?;
    let mut items = Vec::new();
    let mut quotes = Quotes::default();
    let (mut start, mut before) = (0, ' ');
    for (at, character) in inner.char_indices() {
        match character {
            '[' | '{' if !quotes.inside() => {
                return Err("`names` holds a list in a list".to_owned());
            }
            ',' if !quotes.inside() => {
                items.push(inner[start..at].trim());
                start = at + 1;
            }
            _ => quotes.step(character, before),
        }
        before = character;
    }
    if quotes.inside() {
        return Err("`names` has a quote that is not closed".to_owned());
    }
    if !inner[start..].trim().is_empty() {
        items.push(inner[start..].trim());
    }
    if close == ']' {
        return items.into_iter().map(scalar).collect();
    }
    let mut map = BTreeMap::new();
    for item in items {
        entry(item, &mut map)?;
    }
    in_order(map)
}

fn entry(text: &str, map: &mut BTreeMap<usize, String>) -> Result<(), String> {
    let wrong = || format!("`{text}` is not `number: name`");
    let (number, name) = text.split_once(':').ok_or_else(wrong)?;
    let number = number.trim().trim_matches(['\'', '"']).parse().map_err(|_| wrong())?;
    if map.insert(number, scalar(name)?).is_some() {
        return Err(format!("the class {number} stands there twice"));
    }
    Ok(())
}

/// Names by number; a number left out in between gets a name that says so.
fn in_order(map: BTreeMap<usize, String>) -> Result<Vec<String>, String> {
    let last = map.last_key_value().map_or(0, |(number, _)| *number);
    if last >= 65_536 {
        return Err(format!("the class number {last} is too large"));
    }
    let name = |number| map.get(&number).cloned().unwrap_or_else(|| format!("class {number}"));
    Ok((0..=last).map(name).collect())
}

fn scalar(text: &str) -> Result<String, String> {
    let text = text.trim();
    let quoted = |quote: char| text.strip_prefix(quote)?.strip_suffix(quote);
    let name = if let Some(inner) = quoted('\'') {
        inner.replace("''", "'")
    } else if let Some(inner) = quoted('"') {
        if inner.contains('\\') && !inner.replace("\\\"", "").replace("\\\\", "").contains('\\') {
            inner.replace("\\\"", "\"").replace("\\\\", "\\")
        } else if inner.contains('\\') {
            return Err(format!("the name {text} holds an escape kshot does not know"));
        } else {
            inner.to_owned()
        }
    } else if text.starts_with(['&', '*', '!', '|', '>', '[', '{', '%', '@', '`', '"', '\'']) {
        return Err(format!(
            "the name `{text}` is in a form of YAML kshot does not read; quote it"
        ));
    } else {
        text.to_owned()
    };
    if name.is_empty() { Err("a class without a name".to_owned()) } else { Ok(name) }
}

/// The text of a `data.yaml`.
pub fn text(names: &[String]) -> String {
    let mut text = format!("path: .\ntrain: images\nval: images\nnc: {}\nnames:\n", names.len());
    for (number, name) in names.iter().enumerate() {
        // Single quotes: nothing inside is special but the quote itself.
        text.push_str(&format!("  {number}: '{}'\n", name.replace('\'', "''")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_gives_the_names() {
        for text in [
            "nc: 2\nnames: [cat, 'hot dog']",
            "names: ['cat', \"hot dog\"] # two\n",
            "names: [\n  cat,\n  hot dog,\n]\nnc: 2",
            "names: {0: cat, 1: 'hot dog'}",
            "names: ['cat','hot dog']\nother: ['it''s, # x']",
            "names:\n- cat\n- hot dog\nnc: 2",
            "path: x # names: no\nnames:\n  - cat\n  - \"hot dog\"\n",
            "names:\n  0: cat # a pet\n  1: hot dog\n\ndownload: |\n  names: 3\n",
            "names :\n    '1': hot dog\n    '0': cat\n",
        ] {
            let names = parse(text).unwrap().unwrap();
            assert_eq!(names, ["cat", "hot dog"], "{text}");
        }
        assert_eq!(parse("nc: 3\n").unwrap(), None);
        assert_eq!(parse("names: {2: x}").unwrap().unwrap(), ["class 0", "class 1", "x"]);
    }

    #[test]
    fn other_forms_are_refused_with_the_line() {
        for (text, line) in [
            ("nc: 1\nnames: *anchor", 2),
            ("names: [a, [b]]", 1),
            ("names: [a, b", 1),
            ("names:\n  - a\n  - &x b", 3),
            ("names:\n  a: b", 2),
            ("names:\n  0: a\n  0: b", 3),
            ("names:\nnc: 1", 1),
        ] {
            assert_eq!(parse(text).unwrap_err().0, line, "{text}");
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        let names = ["it's", "a: b # c", "it's \"x\", #1", "tv/monitor", "核"].map(str::to_owned);
        assert_eq!(parse(&text(&names)).unwrap().unwrap(), names);
    }
}
