//! Aligned columns, and the only two ways by which text leaves: [`print`] and [`say`].
//!
//! Neither panics where nobody reads any more, and no name of a file or class reaches the terminal as a code for it.

use std::io::{ErrorKind, Write};

use anyhow::Context;
use kshot::device::{FoundDevice, found};
use kshot::encoder::EncoderConfig;
use kshot_data::visible::{visible, visible_lines};
use serde_json::json;

/// Lines of columns as wide as their widest cell, two blanks apart.
pub fn aligned(heads: &[&str], rows: &[Vec<String>]) -> String {
    let shown = |row: &Vec<String>| row.iter().map(|cell| visible(cell).into_owned()).collect();
    let rows: Vec<Vec<String>> = rows.iter().map(shown).collect();
    let mut widths: Vec<usize> = heads.iter().map(|head| head.chars().count()).collect();
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let heads: Vec<String> = heads.iter().map(|&head| head.to_owned()).collect();
    let mut text = String::new();
    for row in std::iter::once(&heads).chain(&rows) {
        let mut line = String::new();
        for (cell, &width) in row.iter().zip(&widths) {
            line.push_str(&format!("{cell:width$}  "));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// A count of parameters for people, such as `4.7 M`.
pub fn parameters(count: usize) -> String {
    match count {
        0..1_000 => count.to_string(),
        1_000..1_000_000 => format!("{:.1} k", count as f64 / 1e3),
        _ => format!("{:.1} M", count as f64 / 1e6),
    }
}

/// Writes lines for people, or JSON, to standard output. A reader that has seen enough (`| head`) is no error.
pub fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(visible_lines(text).as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.context("could not write to standard output"),
    }
}

/// Writes a line to standard error. Where that is closed there is nobody left to tell.
pub fn say(text: &str) {
    let line = format!("{}\n", visible_lines(text));
    let _ = std::io::stderr().lock().write_all(line.as_bytes());
}

/// The encoders with their channels, strides and papers.
pub fn encoders() -> String {
    let joined =
        |numbers: &[usize]| numbers.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
    let rows: Vec<_> = EncoderConfig::all()
        .iter()
        .map(|config| {
            let about = config.describe();
            vec![
                about.name.to_owned(),
                parameters(about.parameters),
                joined(&about.channels),
                joined(&about.strides),
                format!("{} {}", about.year, about.url),
                about.note.to_owned(),
            ]
        })
        .collect();
    aligned(&["name", "parameters", "channels", "strides", "paper", "note"], &rows)
}

/// The devices that can be used here, then what the other kinds lack.
pub fn devices() -> String {
    let row = |device: FoundDevice| {
        let state = device.lacks.unwrap_or_else(|| "ready".to_owned());
        vec![device.name, device.about, state]
    };
    let rows: Vec<_> = found().into_iter().map(row).collect();
    aligned(&["name", "what", "state"], &rows)
}

/// As [`devices`], an object each.
pub fn devices_json(table: &str) -> Vec<serde_json::Value> {
    let row = |device: FoundDevice| {
        json!({"table": table, "name": device.name, "about": device.about, "ready": device.ready,
            "lacks": device.lacks, "source": null})
    };
    found().into_iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_no_line_ends_in_blanks() {
        let rows = [vec!["a".to_owned(), String::new()], vec!["büro".to_owned(), "2".to_owned()]];
        assert_eq!(aligned(&["x", "number"], &rows), "x     number\na\nbüro  2\n");
    }

    #[test]
    fn a_cell_is_of_one_line_and_without_codes() {
        let rows = [vec!["a\x1b[31m\n".to_owned(), "1".to_owned()]];
        assert_eq!(aligned(&["class", "n"], &rows), "class        n\na\\x1b[31m\\n  1\n");
    }
}
