//! What a place in a recipe may hold, read off the schemas of the types that read it: one tree, which
//! `kshot list keys` prints and against which recipes are held.

use schemars::{JsonSchema, Schema, generate::SchemaSettings, json_schema};
use serde_json::{Map, Value};

/// A place in a recipe.
#[derive(Debug, Clone, Default)]
pub(crate) struct Node {
    /// What it is for.
    pub about: String,
    /// What is taken where nothing is written.
    pub default: Option<Value>,
    /// A value that may be written, of keys that must be.
    pub example: Option<Value>,
    /// What may stand there, each of another type, or tables of other names.
    pub forms: Vec<Form>,
}

/// What may be written at a place.
#[derive(Debug, Clone)]
pub(crate) enum Form {
    /// A number.
    Number(Bounds),
    /// A text: one of the choices, with what each is, or any text where there are none.
    Text { choices: Vec<(String, String)>, least: u64 },
    /// true or false.
    Flag,
    /// A list.
    List { item: Box<Node>, least: u64, most: u64 },
    /// A table.
    Table(Table),
}

/// Which numbers are valid.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Bounds {
    /// Whole numbers alone.
    pub whole: bool,
    /// Of 32 bits, so that a default of 0.1 is not shown with the digits that 64 bits see.
    pub single: bool,
    /// The least, and whether it is valid itself.
    pub least: Option<(f64, bool)>,
    /// The greatest, and whether it is valid itself.
    pub most: Option<(f64, bool)>,
    /// These alone, where there are any.
    pub among: Vec<i64>,
}

/// A table with its keys.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    /// The key that tells which table it is, and its value in this one.
    pub tag: Option<(String, String)>,
    /// All other keys in their order, and whether each must be given.
    pub keys: Vec<(String, Node, bool)>,
}

impl Table {
    /// A key.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.keys.iter().find(|(name, ..)| name == key).map(|(_, node, _)| node)
    }
}

impl Node {
    /// The tree of a type.
    pub fn of<T: JsonSchema>() -> Self {
        let settings = SchemaSettings::default().with(|settings| settings.inline_subschemas = true);
        Self::new(settings.into_generator().into_root_schema_for::<T>().as_value())
    }

    fn new(schema: &Value) -> Self {
        let mut node = Self {
            about: about(schema),
            default: schema.get("default").filter(|default| !default.is_null()).cloned(),
            example: schema.pointer("/examples/0").cloned(),
            forms: forms(schema),
        };
        let single = node.forms.iter().any(|form| match form {
            Form::Number(bounds) => bounds.single,
            Form::List { item, .. } => item.is_single(),
            _ => false,
        });
        if single && let Some(default) = &mut node.default {
            rounded(default);
        }
        node
    }

    fn is_single(&self) -> bool {
        self.forms.iter().any(|form| matches!(form, Form::Number(bounds) if bounds.single))
    }

    /// The tables that may stand here.
    pub fn tables(&self) -> impl Iterator<Item = &Table> {
        self.forms.iter().filter_map(|form| match form {
            Form::Table(table) => Some(table),
            _ => None,
        })
    }
}

/// Numbers of 32 bits as they were written.
fn rounded(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(rounded),
        Value::Number(_) => {
            let short = value.as_f64().map(|number| (number as f32).to_string());
            if let Some(number) = short.and_then(|text| text.parse::<f64>().ok()) {
                *value = number.into();
            }
        }
        _ => {}
    }
}

/// The first paragraph of a description, without the marks of links.
fn about(schema: &Value) -> String {
    let text = schema.get("description").and_then(Value::as_str).unwrap_or_default();
    let first = text.split("\n\n").next().unwrap_or_default();
    let mut plain = first.split_whitespace().collect::<Vec<_>>().join(" ");
    while let Some(start) = plain.find("](") {
        let Some(end) = plain[start..].find(')') else { break };
        plain.replace_range(start + 1..start + end + 1, "");
    }
    plain.replace("[`", "`").replace("`]", "`")
}

/// The members of a list in the schema.
fn list<'a>(schema: &'a Value, key: &str) -> &'a [Value] {
    schema.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// What a schema says without its alternatives.
fn own(schema: &Value) -> Vec<Form> {
    if let Some(text) = schema.get("const").and_then(Value::as_str) {
        return vec![Form::Text { choices: vec![(text.to_owned(), about(schema))], least: 0 }];
    }
    let types: Vec<&str> = match schema.get("type") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let count =
        |key: &str, default: u64| schema.get(key).and_then(Value::as_u64).unwrap_or(default);
    let form = |kind: &str| match kind {
        "string" => {
            let choices = list(schema, "enum").iter().filter_map(Value::as_str);
            let choices = choices.map(|choice| (choice.to_owned(), String::new())).collect();
            Some(Form::Text { choices, least: count("minLength", 0) })
        }
        "integer" | "number" => Some(Form::Number(bounds(schema, kind == "integer"))),
        "boolean" => Some(Form::Flag),
        "array" => Some(Form::List {
            item: Box::new(Node::new(schema.get("items").unwrap_or(&Value::Null))),
            least: count("minItems", 0),
            most: count("maxItems", MOST_ITEMS),
        }),
        "object" => Some(Form::Table(table(schema))),
        _ => None,
    };
    types.into_iter().filter_map(form).collect()
}

/// Items of a list that says nothing else.
const MOST_ITEMS: u64 = 1000;

fn bounds(schema: &Value, whole: bool) -> Bounds {
    let of = |key: &str| schema.get(key).and_then(Value::as_f64);
    let least = of("exclusiveMinimum").map(|least| (least, false));
    let most = of("exclusiveMaximum").map(|most| (most, false));
    let format = schema.get("format").and_then(Value::as_str);
    Bounds {
        whole,
        single: format == Some("float"),
        least: least.or(of("minimum").map(|least| (least, true))),
        most: most.or(of("maximum").map(|most| (most, true))),
        among: list(schema, "enum").iter().filter_map(Value::as_i64).collect(),
    }
}

fn table(schema: &Value) -> Table {
    let required: Vec<&str> = list(schema, "required").iter().filter_map(Value::as_str).collect();
    let mut table = Table::default();
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
        return table;
    };
    for (key, value) in properties {
        match value.get("const").and_then(Value::as_str) {
            Some(name) => table.tag = Some((key.clone(), name.to_owned())),
            None => {
                let must = required.contains(&key.as_str());
                table.keys.push((key.clone(), Node::new(value), must));
            }
        }
    }
    // A variant that is written as a table of its name has its description around the name.
    if let ([(_, node, true)], None) = (&mut table.keys[..], &table.tag)
        && !about(schema).is_empty()
    {
        node.about = about(schema);
    }
    table
}

fn forms(schema: &Value) -> Vec<Form> {
    let mut alternatives: Vec<Form> = Vec::new();
    let nested = list(schema, "allOf");
    for of in std::iter::once(schema).chain(nested) {
        for key in ["oneOf", "anyOf"] {
            alternatives.extend(list(of, key).iter().flat_map(forms));
        }
    }
    if alternatives.is_empty() {
        return own(schema);
    }
    // Keys beside alternatives belong to each of them.
    if let Some(Value::Object(_)) = schema.get("properties") {
        let beside = table(schema);
        for form in &mut alternatives {
            if let Form::Table(table) = form {
                table.keys.extend(beside.keys.iter().cloned());
            }
        }
    }
    merged(alternatives)
}

/// One list of choices in place of several.
fn merged(forms: Vec<Form>) -> Vec<Form> {
    let mut all: Vec<(String, String)> = Vec::new();
    let mut any = None;
    let mut rest = Vec::new();
    for form in forms {
        match form {
            Form::Text { choices, least } => {
                any = Some(any.unwrap_or(0).max(least));
                all.extend(choices);
            }
            other => rest.push(other),
        }
    }
    let text = any.map(|least| Form::Text { choices: all, least });
    text.into_iter().chain(rest).collect()
}

/// The schema of settings that are written as a name, or as a table with the name and its own keys.
pub(crate) fn named_tables(rows: Vec<(&'static str, Schema)>) -> Schema {
    let names: Vec<&str> = rows.iter().map(|(name, _)| *name).collect();
    let tables = rows.into_iter().map(|(name, schema)| {
        let mut table = schema.to_value();
        let own = table.pointer("/properties").and_then(Value::as_object).cloned();
        let mut properties =
            Map::from_iter([("name".to_owned(), json_schema!({ "const": name }).to_value())]);
        properties.extend(own.unwrap_or_default());
        if let Some(table) = table.as_object_mut() {
            table.insert("properties".to_owned(), properties.into());
        }
        table
    });
    let mut any = vec![json_schema!({ "type": "string", "enum": names }).to_value()];
    any.extend(tables);
    json_schema!({ "anyOf": any })
}

/// The schema of a table with a name, which may be written as the bare name as well.
pub(crate) fn or_name(schema: &mut Schema) {
    let table = std::mem::take(schema).to_value();
    let rows = list(&table, "oneOf").iter();
    let names: Vec<Value> =
        rows.filter_map(|row| row.pointer("/properties/name/const").cloned()).collect();
    *schema = json_schema!({ "anyOf": [{ "type": "string", "enum": names }, table] });
}

impl Form {
    /// The items of a list, and how many there may be.
    pub fn as_list(&self) -> Option<(&Node, u64, u64)> {
        match self {
            Self::List { item, least, most } => Some((item, *least, *most)),
            _ => None,
        }
    }
}
