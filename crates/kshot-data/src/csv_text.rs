//! Text in tables that people open with a spreadsheet: a name such as `=1+1.png` must not become a formula.
//!
//! A field that begins with `=`, `+`, `-`, `@`, a tab or a carriage return gets an apostrophe before it, which
//! spreadsheets take for "this is text" (OWASP, "CSV Injection",
//! <https://owasp.org/www-community/attacks/CSV_Injection>). [`plain`] takes it away again; so that it does so
//! whatever the name, one that begins with apostrophes and such a character gets one more. Numbers are left
//! alone: a negative one is no text. Deviation: quotes are the csv writer's business, as everywhere.

use std::borrow::Cow;

/// What makes a spreadsheet take text for a formula, at its beginning.
const FORMULA: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];

/// A text as a field of a table. Text that is not at risk stays as it is.
///
/// ```
/// use kshot_data::csv_text::{field, plain};
///
/// assert_eq!(field("=1+1.png"), "'=1+1.png");
/// assert_eq!(field("a=1.png"), "a=1.png");
/// assert_eq!(plain("'=1+1.png"), "=1+1.png");
/// ```
pub fn field(text: &str) -> Cow<'_, str> {
    if at_risk(text) { Cow::Owned(format!("'{text}")) } else { Cow::Borrowed(text) }
}

/// The text of a field that [`field`] made; another one stays as it is.
pub fn plain(field: &str) -> &str {
    field.strip_prefix('\'').filter(|text| at_risk(text)).unwrap_or(field)
}

/// Whether it begins like a formula, apostrophes before it aside.
fn at_risk(text: &str) -> bool {
    text.trim_start_matches('\'').starts_with(FORMULA)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_become_text_and_come_back() {
        for (text, expected) in [
            ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
            ("+1.png", "'+1.png"),
            ("-1.png", "'-1.png"),
            ("@x", "'@x"),
            ("\tx", "'\tx"),
            ("\rx", "'\rx"),
            ("'=x", "''=x"),
            ("'x", "'x"),
            ("a-b=c", "a-b=c"),
            ("", ""),
            ("'", "'"),
        ] {
            assert_eq!(field(text), expected, "{text:?}");
            assert_eq!(plain(expected), text, "{expected:?}");
        }
        assert_eq!(plain("=as it is"), "=as it is");
    }
}
