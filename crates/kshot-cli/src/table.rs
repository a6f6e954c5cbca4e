//! Aligned columns on standard output.

use std::io::{ErrorKind, Write};

use kshot::encoder::EncoderConfig;

/// Lines of columns as wide as their widest cell, two blanks apart.
pub fn aligned(heads: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = heads.iter().map(|head| head.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let heads: Vec<String> = heads.iter().map(|&head| head.to_owned()).collect();
    let mut text = String::new();
    for row in std::iter::once(&heads).chain(rows) {
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

/// Writes to standard output. A reader that has seen enough (`| head`) is no error.
pub fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_no_line_ends_in_blanks() {
        let rows = [vec!["a".to_owned(), String::new()], vec!["büro".to_owned(), "2".to_owned()]];
        assert_eq!(aligned(&["x", "number"], &rows), "x     number\na\nbüro  2\n");
    }
}
