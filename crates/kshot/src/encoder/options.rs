//! Settings of an encoder family's own: a struct with defaults, whose fields recipes write beside the name.
//!
//! A family that has some derives `Serialize`, `Deserialize` and `JsonSchema` for a struct of them
//! (`#[serde(deny_unknown_fields)]`, documentation and bounds of each field, as all of recipes have), and implements
//! `options`, `option_schemas` and `with_options` of [`Family`](crate::encoder::Family) by these three functions.
//! Bounds are told by the schema and held by them too, so that every way to an encoder refuses the same.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// The settings with their values.
pub fn written<O: Serialize>(options: &O) -> toml::Table {
    match toml::Table::try_from(options) {
        Ok(table) => table,
        Err(error) => panic!("settings of an encoder are a table: {error}"),
    }
}

/// The schema of each setting.
pub fn schemas<O: JsonSchema>() -> Map<String, Value> {
    let settings = SchemaSettings::default().with(|settings| settings.inline_subschemas = true);
    let schema = settings.into_generator().into_root_schema_for::<O>();
    schema.get("properties").and_then(Value::as_object).cloned().unwrap_or_default()
}

/// The settings with some of them changed.
///
/// # Errors
/// If one has no such name, is of another type, or is out of its bounds.
pub fn changed<O: Serialize + DeserializeOwned + JsonSchema>(
    options: &O,
    changes: toml::Table,
) -> Result<O> {
    let schemas = schemas::<O>();
    for (key, value) in &changes {
        let number = value.as_float().or(value.as_integer().map(|whole| whole as f64));
        let bound = |name: &str| schemas.get(key).and_then(|schema| schema.get(name)?.as_f64());
        let (least, most) = (bound("minimum"), bound("maximum"));
        let outside = number.is_some_and(|number| {
            !least.is_none_or(|least| number >= least) || !most.is_none_or(|most| number <= most)
        });
        if outside {
            let [least, most] = [least, most]
                .map(|bound| bound.map_or("any".to_owned(), |bound| bound.to_string()));
            return Err(Error::config(format!(
                "{key} = {value} is out of bounds; valid are {least} to {most}"
            )));
        }
    }
    let mut table = written(options);
    table.extend(changes);
    table.try_into().map_err(|error: toml::de::Error| {
        Error::config(error.message().trim().to_owned()).caused_by(error)
    })
}
