//! `kshot list`.

use clap::{Args, ValueEnum};
use kshot::encoder::EncoderConfig;
use kshot::job::tables;
use kshot::names::Row;
use serde_json::json;

use crate::DONE;
use crate::table::{aligned, parameters, print};

/// Lists what is built in: encoders, methods, devices and file formats.
#[derive(Args)]
#[command(after_help = "Examples:
  kshot list
  kshot list encoders
  kshot list methods --json

Exit status: 0 done, 2 wrong use.")]
pub struct Arguments {
    /// Which table; all of them by default.
    #[arg(value_enum)]
    table: Option<Table>,
    /// One JSON object a line on standard output, for programs.
    #[arg(long)]
    json: bool,
}

/// The tables, in the order they are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Table {
    /// Networks whose features are used.
    Encoders,
    /// Ways to learn from the labelled pictures.
    Methods,
    /// Ways to learn from episodes (`kshot train`).
    Learners,
    /// Ways to label whole pictures (`kshot classify`).
    Heads,
    /// Where this build can compute.
    Devices,
    /// Files read and written.
    Formats,
}

impl Table {
    fn name(self) -> &'static str {
        match self {
            Self::Encoders => "encoders",
            Self::Methods => "methods",
            Self::Learners => "learners",
            Self::Heads => "heads",
            Self::Devices => "devices",
            Self::Formats => "formats",
        }
    }

    fn json(self) -> Vec<serde_json::Value> {
        let rows = |rows: Vec<Row>| {
            rows.into_iter()
                .map(|row| json!({"table": self.name(), "name": row.name, "about": row.summary}))
                .collect()
        };
        match self {
            Self::Encoders => EncoderConfig::all()
                .iter()
                .map(|config| {
                    let about = config.describe();
                    json!({"table": self.name(), "name": about.name, "about": about.note,
                        "family": about.family, "parameters": about.parameters,
                        "channels": about.channels, "strides": about.strides,
                        "paper": about.paper, "year": about.year, "url": about.url})
                })
                .collect(),
            Self::Methods => rows(tables::methods()),
            Self::Learners => rows(tables::learners()),
            Self::Heads => rows(tables::heads()),
            Self::Devices => rows(tables::devices()),
            Self::Formats => rows(tables::formats()),
        }
    }

    fn text(self) -> String {
        let plain = |rows: Vec<Row>| {
            let rows: Vec<_> = rows.into_iter().map(|row| vec![row.name, row.summary]).collect();
            aligned(&["name", "what"], &rows)
        };
        match self {
            Self::Encoders => encoders(),
            Self::Methods => plain(tables::methods()),
            Self::Learners => plain(tables::learners()),
            Self::Heads => plain(tables::heads()),
            Self::Devices => plain(tables::devices()),
            Self::Formats => plain(tables::formats()),
        }
    }
}

fn encoders() -> String {
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

/// Runs the command; the exit status is returned.
pub fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let tables = match &arguments.table {
        Some(table) => std::slice::from_ref(table),
        None => Table::value_variants(),
    };
    let mut text = String::new();
    for (index, table) in tables.iter().enumerate() {
        if arguments.json {
            for row in table.json() {
                text.push_str(&format!("{row}\n"));
            }
            continue;
        }
        if tables.len() > 1 {
            let gap = if index > 0 { "\n" } else { "" };
            text.push_str(&format!("{gap}{}:\n", table.name()));
        }
        text.push_str(&table.text());
    }
    print(&text)?;
    Ok(DONE)
}
