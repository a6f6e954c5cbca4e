//! What `run.toml` says in the same way of every job.

use std::time::Instant;

use crate::error::{Error, Result};
use crate::job::bf16::Bf16Cost;
use crate::nn::Precision;
use crate::report::run;

/// When a job began.
pub(super) struct Clock {
    /// RFC 3339 in UTC.
    pub(super) started: String,
    at: Instant,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self { started: run::now(), at: Instant::now() }
    }

    pub(super) fn seconds(&self) -> f64 {
        self.at.elapsed().as_secs_f64()
    }
}

/// The current folder, from which relative paths count; empty where it cannot be told.
pub(super) fn working_directory() -> String {
    std::env::current_dir().map(|folder| folder.display().to_string()).unwrap_or_default()
}

/// The table of a job's own options, with what half precision cost where that is used. TOML has no null: a key
/// without a value is left out.
pub(super) fn options(
    mut json: serde_json::Value,
    precision: Precision,
    cost: Option<Bf16Cost>,
) -> Result<toml::Table> {
    if precision.is_half() {
        json[precision.name()] = serde_json::json!({"used": true, "cost": cost});
    }
    drop_nulls(&mut json);
    serde_json::from_value(json).map_err(|error| {
        Error::config(format!("the options cannot be written as TOML: {error}")).caused_by(error)
    })
}

fn drop_nulls(json: &mut serde_json::Value) {
    if let serde_json::Value::Object(table) = json {
        table.retain(|_, value| !value.is_null());
        table.values_mut().for_each(drop_nulls);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_without_a_value_is_left_out() {
        let json = serde_json::json!({"a": 1, "b": null, "c": {"used": true, "cost": null}});
        let table = options(json, Precision::F32, None).unwrap();
        assert_eq!(toml::to_string(&table).unwrap(), "a = 1\n\n[c]\nused = true\n");
    }
}
