//! Text of others on a terminal: a file's name or a class's may hold codes that move the cursor, change colours or
//! turn the order of letters round. They are shown, not obeyed.

use std::borrow::Cow;
use std::fmt::Write;

/// One line of text with each control character written out: `\x1b` for ESC, `\n` for a new line, `\u202e` for
/// what turns the order round. Four digits are those of JSON, in whose text such characters may stand as they are.
pub fn visible(text: &str) -> Cow<'_, str> {
    written_out(text, acts)
}

/// The same of text that has lines and tabs of our own, which stay.
pub fn visible_lines(text: &str) -> Cow<'_, str> {
    written_out(text, |letter| acts(letter) && !matches!(letter, '\n' | '\t'))
}

/// Whether a terminal does something at this character in place of showing it: controls (C0, DEL, C1), separators
/// of lines and paragraphs, and what embeds, overrides or isolates a direction of writing.
fn acts(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn written_out(text: &str, hidden: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for letter in text.chars() {
        match letter {
            letter if !hidden(letter) => shown.push(letter),
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            // Writing to a string does not fail.
            letter if u32::from(letter) < 0x20 => drop(write!(shown, "\\x{:02x}", letter as u32)),
            letter => drop(write!(shown, "\\u{:04x}", letter as u32)),
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_written_out() {
        for (given, shown) in [
            ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
            ("bell\x07", "bell\\x07"),
            ("over\rwritten", "over\\rwritten"),
            ("two\nlines\tand", "two\\nlines\\tand"),
            ("\0", "\\x00"),
            ("del\x7f", "del\\u007f"),
            ("csi\u{9b}2J", "csi\\u009b2J"),
            ("cat\u{202e}gnp.exe", "cat\\u202egnp.exe"),
            ("\u{2066}a\u{2069}", "\\u2066a\\u2069"),
            ("\u{2028}", "\\u2028"),
        ] {
            assert_eq!(visible(given), shown);
            assert!(!visible(given).chars().any(acts));
        }
    }

    #[test]
    fn what_is_plain_stays_and_is_not_copied() {
        for text in
            ["", "a b.png", "Gr\u{fc}n \u{4e2d}\u{6587} \u{1f600} \u{5e9}\u{5dc}", "c:\\new"]
        {
            assert!(matches!(visible(text), Cow::Borrowed(same) if same == text));
        }
    }

    #[test]
    fn lines_of_our_own_stay_lines() {
        assert_eq!(visible_lines("a\tb\n\x1bc\r\n"), "a\tb\n\\x1bc\\r\n");
        assert!(matches!(visible_lines("a\nb\n"), Cow::Borrowed(_)));
    }

    #[test]
    fn json_says_the_same_afterwards() {
        let name = "a\x1b\u{9b}\u{202e}\x7f\n\"";
        let json = serde_json::to_string(name).unwrap();
        let shown = visible_lines(&json);
        assert!(!shown.chars().any(acts));
        assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), name);
    }
}
