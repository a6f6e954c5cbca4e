//! Names of classes that a person would take for the same: `banana`, `Banana`, `Bananna`, `bananas`.

use std::collections::BTreeMap;

use unicode_normalization::UnicodeNormalization;

use crate::names::edits;

/// Letters that a name needs for one wrong letter, and for two, to be a slip of the pen rather than another word.
const LONG_ENOUGH: [usize; 2] = [4, 8];
/// The same of a plural.
const PLURAL: usize = 3;

/// A name without what people do not mean by it: case, spaces around it, `_` and `-` for spaces, the form of its letters.
pub fn loosely(name: &str) -> String {
    let words = name.replace(['_', '-'], " ");
    let words: Vec<&str> = words.split_whitespace().collect();
    words.join(" ").nfc().flat_map(char::to_lowercase).collect()
}

/// The known name that `given` most likely stands for, where it is none of them itself: the same but for case, spaces and
/// separators, or with a letter or two wrong. Names whose numbers differ, or single letters (`type a` and `type b`), are
/// different names.
pub fn near<'a>(given: &str, known: &[&'a str]) -> Option<&'a str> {
    if known.contains(&given) {
        return None;
    }
    let loose = loosely(given);
    let distance = |name: &str| {
        let other = loosely(name);
        if other == loose { Some(0) } else { slip(&loose, &other) }
    };
    let all = known.iter().filter_map(|name| Some((distance(name)?, *name)));
    all.min_by_key(|(edits, _)| *edits).map(|(_, name)| name)
}

/// How many letters differ, where so few do that one of the names is likely a slip of the other.
fn slip(one: &str, other: &str) -> Option<usize> {
    let numbers = |name: &str| name.chars().filter(|c| c.is_numeric()).collect::<String>();
    if numbers(one) != numbers(other) {
        return None;
    }
    let pairs = || one.split(' ').zip(other.split(' ')).filter(|(a, b)| a != b);
    let single = |(a, b): (&str, &str)| a.chars().count() == 1 && b.chars().count() == 1;
    if one.split(' ').count() == other.split(' ').count() && pairs().all(single) {
        return None;
    }
    let (short, long) = if one.len() < other.len() { (one, other) } else { (other, one) };
    let letters = short.chars().count();
    let edits = edits(one, other);
    let plural = letters >= PLURAL && long.strip_prefix(short).is_some_and(|end| end == "s");
    let few = LONG_ENOUGH.iter().zip(1..).any(|(least, most)| letters >= *least && edits <= most);
    (plural || few).then_some(edits)
}

/// Names of a list that are the same but for case, spaces and separators, together.
pub fn same_but_for_case(names: &[String]) -> Vec<Vec<&str>> {
    let mut all: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for name in names {
        all.entry(loosely(name)).or_default().push(name);
    }
    all.into_values().filter(|names| names.len() > 1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_near_and_other_words_are_not() {
        let known = ["banana", "apple", "Golden-Grapefruit", "cat", "type a", "coin 1p"];
        for (given, expected) in [
            ("Bananna", Some("banana")),
            ("BANANA", Some("banana")),
            ("banana ", Some("banana")),
            ("bananas", Some("banana")),
            ("aple", Some("apple")),
            ("golden_grapefruit", Some("Golden-Grapefruit")),
            ("Goldn Grapefriut", None),
            ("Golden Grapefriut", Some("Golden-Grapefruit")),
            ("cats", Some("cat")),
            ("car", None),
            ("type b", None),
            ("Type-A", Some("type a")),
            ("coin 2p", None),
            ("banana", None),
            ("zebra", None),
            ("", None),
        ] {
            assert_eq!(near(given, &known), expected, "{given:?}");
        }
    }

    #[test]
    fn names_that_differ_in_case_alone_are_together() {
        let names = ["Kiwi", "plum", "kiwi", "red kiwi", "red_kiwi"].map(str::to_owned);
        assert_eq!(same_but_for_case(&names), [vec!["Kiwi", "kiwi"], vec!["red kiwi", "red_kiwi"]]);
    }
}
