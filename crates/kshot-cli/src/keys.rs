//! `kshot list keys`: the keys of recipes for people and programs.

use kshot::names;
use kshot::recipe::keys::{self, Key};

/// Columns of the text.
const WIDTH: usize = 100;
/// Blanks before what is said of a key.
const INDENT: &str = "    ";

/// All keys, or those that a path or a name finds.
pub fn text(word: Option<&str>, json: bool) -> anyhow::Result<String> {
    let found: Vec<&Key> = match word {
        Some(word) => keys::find(word),
        None => keys::all().iter().collect(),
    };
    if let (Some(word), true) = (word, found.is_empty()) {
        let words = keys::words();
        let near = match names::nearest(word, &words) {
            Some(near) => format!("; did you mean `{near}`?"),
            None => "; `kshot list keys` lists all".to_owned(),
        };
        anyhow::bail!("no key of recipes is or has the name `{word}`{near}");
    }
    if json {
        return Ok(serde_json::to_string_pretty(&found)? + "\n");
    }
    Ok(of_people(&found))
}

fn of_people(found: &[&Key]) -> String {
    let mut text = String::new();
    let mut section = "";
    for key in found {
        let (own, below) = key.key.split_once('.').unwrap_or((&key.key, ""));
        if own != section {
            section = own;
            let gap = if text.is_empty() { "" } else { "\n" };
            text.push_str(&format!("{gap}[{section}]\n"));
            if let Some(of) = keys::all().iter().find(|of| of.key == own) {
                let must = if of.required { " Every recipe has it." } else { "" };
                wrap(&mut text, &format!("{}{must}", of.about), INDENT, INDENT);
            }
        }
        if !below.is_empty() {
            one(&mut text, key);
        }
    }
    text
}

fn one(text: &mut String, key: &Key) {
    let of = match key.of.as_slice() {
        [] => String::new(),
        names => format!("  (of {})", names.join(", ")),
    };
    text.push('\n');
    wrap(text, &format!("{}{of}", key.key), "", INDENT);
    wrap(text, &key.about, INDENT, INDENT);
    let default = match &key.default {
        _ if key.required => "; must be given".to_owned(),
        Some(default) => format!("; by default {}", written(default)),
        None => String::new(),
    };
    wrap(text, &format!("Valid: {}{default}", key.valid), INDENT, "        ");
    for (choice, about) in &key.choices {
        wrap(text, &format!("{choice}: {about}"), "        ", "            ");
    }
}

/// A default as recipes write it.
fn written(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Object(keys) => {
            let keys = keys.iter().map(|(key, value)| format!("{key} = {}", written(value)));
            format!("{{ {} }}", keys.collect::<Vec<_>>().join(", "))
        }
        serde_json::Value::Array(items) => {
            format!("[{}]", items.iter().map(written).collect::<Vec<_>>().join(", "))
        }
        value => value.to_string(),
    }
}

/// Adds a paragraph in lines of at most [`WIDTH`] columns.
fn wrap(text: &mut String, paragraph: &str, first: &str, rest: &str) {
    let mut line = first.to_owned();
    let mut empty = true;
    for word in paragraph.split_whitespace() {
        if !empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
            text.push_str(&line);
            text.push('\n');
            line = rest.to_owned();
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(word);
        empty = false;
    }
    if !empty {
        text.push_str(&line);
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_short_and_every_key_is_there() {
        let all = text(None, false).unwrap();
        // A word may be longer than a line; nothing else is.
        assert!(all.lines().all(|line| line.chars().count() <= WIDTH), "{all}");
        for key in keys::all().iter().filter(|key| key.key.contains('.')) {
            assert!(
                all.lines().any(|line| line.split(' ').next() == Some(&key.key)),
                "{}",
                key.key
            );
        }
    }

    #[test]
    fn paths_and_names_find_keys_and_mistakes_are_answered() {
        let adam = text(Some("train.optimizer.beta1"), false).unwrap();
        assert!(adam.contains("(of adam, adamw)") && adam.contains("by default 0.9"), "{adam}");
        let panet = text(Some("panet"), false).unwrap();
        assert!(panet.contains("method.align") && !panet.contains("train.steps"), "{panet}");
        let error = text(Some("optimiser"), false).unwrap_err().to_string();
        assert!(error.contains("did you mean `optimizer`?"), "{error}");
        let json: serde_json::Value =
            serde_json::from_str(&text(Some("train.steps"), true).unwrap()).unwrap();
        for key in ["key", "of", "about", "default", "valid"] {
            assert!(json[0].get(key).is_some(), "{json}");
        }
    }
}
