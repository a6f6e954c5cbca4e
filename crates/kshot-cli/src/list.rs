//! `kshot list`.

use clap::{Args, ValueEnum};
use kshot::encoder::EncoderConfig;
use kshot::job::tables;
use kshot::names::Row;
use serde_json::json;

use crate::table::{self, aligned, print};
use crate::{DONE, keys};

/// Lists what is built in: encoders, decoders, methods, losses, metrics, data sets, devices, file formats, the keys of
/// recipes...
#[derive(Args)]
#[command(after_help = "Examples:
  kshot list encoders
  kshot list methods --json
  kshot list keys                     every key of recipes: meaning, default, valid values
  kshot list keys train.optimizer     those below a path
  kshot list keys panet               those of a name

Exit status: 0 done, 2 wrong use.")]
pub struct Arguments {
    /// Which table; all of them but keys by default.
    #[arg(value_enum)]
    table: Option<Table>,
    /// Of keys: a path such as train.optimizer, or a name such as panet or beta1.
    #[arg(value_name = "PATH_OR_NAME")]
    word: Option<String>,
    /// One JSON object a line on standard output, for programs; of keys one array.
    #[arg(long)]
    json: bool,
}

/// The tables, in the order they are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Table {
    /// Networks whose features are used.
    Encoders,
    /// What makes logits of an encoder's features.
    Decoders,
    /// Ways to learn from the labelled pictures (`kshot segment`).
    Methods,
    /// Ways to learn by steps of an optimizer (`kshot train`).
    Learners,
    /// Ways to label whole pictures (`kshot classify`).
    Heads,
    /// Training losses.
    Losses,
    /// What is measured.
    Metrics,
    /// Random changes to training pictures.
    Transforms,
    /// What recipes read.
    Datasets,
    /// Optimisers.
    Optimizers,
    /// How the learning rate changes.
    Schedules,
    /// What there is to compute on here, and what other devices lack.
    Devices,
    /// Files read and written.
    Formats,
    /// What recipes hold.
    Keys,
}

impl Table {
    fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    fn rows(self) -> Vec<Row> {
        match self {
            Self::Encoders => tables::encoders(),
            Self::Decoders => tables::decoders(),
            Self::Methods => tables::methods(),
            Self::Learners => tables::learners(),
            Self::Heads => tables::heads(),
            Self::Losses => tables::losses(),
            Self::Metrics => tables::metrics(),
            Self::Transforms => tables::transforms(),
            Self::Datasets => tables::datasets(),
            Self::Optimizers => tables::optimizers(),
            Self::Schedules => tables::schedules(),
            Self::Devices => tables::devices(),
            Self::Formats => tables::formats(),
            Self::Keys => Vec::new(),
        }
    }

    fn json(self) -> Vec<serde_json::Value> {
        let table = self.name();
        if self == Self::Encoders {
            return EncoderConfig::all()
                .iter()
                .map(|config| {
                    let about = config.describe();
                    json!({"table": table, "name": about.name, "about": about.note,
                        "family": about.family, "parameters": about.parameters,
                        "channels": about.channels, "strides": about.strides,
                        "paper": about.paper, "year": about.year, "url": about.url})
                })
                .collect();
        }
        if self == Self::Devices {
            return table::devices_json(&table);
        }
        let row = |row: Row| {
            let source = row.source.filter(|source| !source.is_empty());
            json!({"table": table, "name": row.name, "about": row.summary, "source": source})
        };
        self.rows().into_iter().map(row).collect()
    }

    fn text(self) -> String {
        if self == Self::Encoders {
            return table::encoders();
        }
        if self == Self::Devices {
            return table::devices();
        }
        let rows: Vec<_> = self.rows().into_iter().map(|row| vec![row.name, row.summary]).collect();
        aligned(&["name", "what"], &rows)
    }
}

/// Runs the command; the exit status is returned.
pub fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    if arguments.table == Some(Table::Keys) {
        print(&keys::text(arguments.word.as_deref(), arguments.json)?)?;
        return Ok(DONE);
    }
    if let Some(word) = &arguments.word {
        anyhow::bail!("`{word}`: only `kshot list keys` takes a path or a name");
    }
    let tables: Vec<&Table> = match &arguments.table {
        Some(table) => vec![table],
        None => Table::value_variants().iter().filter(|table| **table != Table::Keys).collect(),
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
