//! Which encoder, and what of it differs from its preset.

use burn::prelude::*;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::encoder::keys::Renamed;
use crate::encoder::{Architecture, Encoder, Normalization};
use crate::error::{Error, Result};
use crate::schema::named_tables;

/// Numbers of input channels that make sense.
const IN_CHANNELS: std::ops::RangeInclusive<usize> = 1..=1024;

/// One of the built-in networks: a preset, whose output stride and input channels may be others.
///
/// In recipes and on the command line it is the preset's name, or a table:
///
/// ```
/// use kshot::encoder::EncoderConfig;
///
/// # fn main() -> kshot::Result<()> {
/// let plain: EncoderConfig = "resnet50".parse()?;
/// let dilated = plain.with_output_stride(8)?.with_in_channels(4)?;
/// assert_eq!(dilated.strides(), [2, 4, 8, 8, 8]);
/// assert_eq!(dilated.to_string(), r#"{ name = "resnet50", output_stride = 8, in_channels = 4 }"#);
/// assert_eq!(dilated.to_string().parse::<EncoderConfig>()?, dilated);
/// # Ok(())
/// # }
/// ```
///
/// Other widths and depths are the families' own: their configurations, such as
/// [`ResNetConfig`](crate::encoder::resnet::ResNetConfig), are open structs whose networks go into
/// [`Encoder`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EncoderConfig {
    /// The preset's name.
    name: &'static str,
    architecture: Architecture,
}

/// A row of the encoder table, for people.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Description {
    /// The name in commands and recipes.
    pub name: &'static str,
    /// The family's name for people.
    pub family: &'static str,
    /// One line on what it is for.
    pub note: &'static str,
    /// Trainable parameters, for pictures of three channels.
    pub parameters: usize,
    /// Channels of each map, finest first.
    pub channels: Vec<usize>,
    /// Strides of each map, finest first.
    pub strides: Vec<usize>,
    /// The output strides that it can have.
    pub output_strides: Vec<usize>,
    /// The paper's title.
    pub paper: &'static str,
    /// When it appeared.
    pub year: u16,
    /// Its address.
    pub url: &'static str,
}

impl EncoderConfig {
    pub(super) const fn new(name: &'static str, architecture: Architecture) -> Self {
        Self { name, architecture }
    }

    /// Every preset, in the order of the table.
    pub fn all() -> Vec<Self> {
        Architecture::presets()
    }

    /// The preset's name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The same with a coarsest map of that stride: later stages are dilated instead of strided, as
    /// torchvision and timm do (Yu, Koltun and Funkhouser 2017, arXiv 1705.09914), so the weights are
    /// those of the preset.
    ///
    /// # Errors
    /// If the network cannot have that stride; those that it can have are named.
    pub fn with_output_stride(self, output_stride: usize) -> Result<Self> {
        let valid = self.architecture.output_strides();
        if !valid.contains(&output_stride) {
            let valid: Vec<String> = valid.iter().map(usize::to_string).collect();
            return Err(Error::config(format!(
                "{} cannot have output_stride = {output_stride}; valid are: {}",
                self.name,
                valid.join(", ")
            )));
        }
        Ok(Self { architecture: self.architecture.with_output_stride(output_stride), ..self })
    }

    /// The same for pictures of that many channels. Published weights for three are adapted as they
    /// are loaded: see [`apply`](crate::weights::apply).
    ///
    /// # Errors
    /// If it is not 1 to 1024.
    pub fn with_in_channels(self, in_channels: usize) -> Result<Self> {
        if !IN_CHANNELS.contains(&in_channels) {
            return Err(Error::config(format!(
                "{} cannot have in_channels = {in_channels}; valid are {} to {}",
                self.name,
                IN_CHANNELS.start(),
                IN_CHANNELS.end()
            )));
        }
        Ok(Self { architecture: self.architecture.with_in_channels(in_channels), ..self })
    }

    /// The settings of the family's own, with their values.
    pub fn options(&self) -> toml::Table {
        self.architecture.options()
    }

    /// The same with some settings of the family's own changed.
    ///
    /// # Errors
    /// If the family has no such setting, or a value is none of the valid ones; those that are valid are named.
    pub fn with_options(self, options: toml::Table) -> Result<Self> {
        let own = self.options();
        if let Some(unknown) = options.keys().find(|key| !own.contains_key(*key)) {
            let all = ["name", "output_stride", "in_channels"].into_iter();
            let all = all.chain(own.keys().map(String::as_str)).map(|key| format!("`{key}`"));
            return Err(Error::config(format!(
                "{}: unknown field `{unknown}`, expected one of {}",
                self.name,
                all.collect::<Vec<_>>().join(", ")
            )));
        }
        let architecture = self
            .architecture
            .with_options(options)
            .map_err(|error| Error::config(format!("{}: {error}", self.name)).caused_by(error))?;
        Ok(Self { architecture, ..self })
    }

    /// The stride of the coarsest map.
    pub fn output_stride(&self) -> usize {
        self.strides().last().copied().unwrap_or(1)
    }

    /// Channels of the pictures that it takes.
    pub fn in_channels(&self) -> usize {
        self.architecture.in_channels()
    }

    /// For callers that show it pictures of red, green and blue.
    ///
    /// # Errors
    /// If it takes others.
    pub fn check_rgb(&self) -> Result<()> {
        if self.in_channels() != 3 {
            return Err(Error::config(format!(
                "{self} takes {} channels, and these pictures have 3 (red, green, blue); leave \
                 in_channels out",
                self.in_channels()
            )));
        }
        Ok(())
    }

    /// The network with random weights (from the device's seed).
    pub fn init(&self, device: &Device) -> Encoder {
        self.architecture.init(device)
    }

    /// As [`Self::init`], with the layer between the last stage and the classifier where the family
    /// has one: for [`Encode::embedding`](crate::encoder::Encode::embedding).
    pub fn init_embedding(&self, device: &Device) -> Encoder {
        self.architecture.init_embedding(device)
    }

    /// What the published weights expect of RGB pixels. For other numbers of channels nothing is
    /// published: bring each channel to a mean of about 0 and a standard deviation of about 1.
    pub fn normalization(&self) -> Normalization {
        self.architecture.normalization()
    }

    /// Our name of a tensor that torchvision, timm or the original authors call `foreign`.
    pub fn rename(&self, foreign: &str) -> Renamed {
        self.architecture.rename(foreign)
    }

    /// The same as weights with tensors of these names want it: some published networks of one name differ in a
    /// layer.
    pub(crate) fn matching<'a>(self, foreign: impl Iterator<Item = &'a str>) -> Self {
        Self { architecture: self.architecture.matching(foreign), ..self }
    }

    /// Our name of the first convolution's kernels, `[channels, in_channels, kernel, kernel]`.
    pub(crate) fn first_kernels(&self) -> &'static str {
        self.architecture.first_kernels()
    }

    /// Channels of each map, finest first.
    pub fn channels(&self) -> Vec<usize> {
        self.architecture.channels()
    }

    /// By how much each map is smaller than the picture, finest first.
    pub fn strides(&self) -> Vec<usize> {
        self.architecture.strides()
    }

    /// Heads of each block that compare all places of a map with each other; 0 for convolutions.
    pub fn attention_heads(&self) -> usize {
        self.architecture.attention_heads()
    }

    /// The row of the table, for people.
    pub fn describe(&self) -> Description {
        self.architecture.describe(self.name)
    }

    /// What is written of it.
    fn written(&self) -> EncoderTable {
        let preset = Self::all().into_iter().find(|preset| preset.name == self.name);
        let differs = |of: fn(&Self) -> usize| {
            let own = of(self);
            (preset.as_ref().map(of) != Some(own)).then_some(own)
        };
        let usual = preset.as_ref().map(Self::options).unwrap_or_default();
        let mut own = self.options();
        own.retain(|key, value| usual.get(key) != Some(&*value));
        EncoderTable {
            name: self.name.to_owned(),
            output_stride: differs(Self::output_stride),
            in_channels: differs(Self::in_channels),
            own,
        }
    }
}

/// As recipes write it where a name is not enough.
#[derive(Serialize, Deserialize)]
struct EncoderTable {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_stride: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    in_channels: Option<usize>,
    /// Settings of the family's own.
    #[serde(flatten)]
    own: toml::Table,
}

impl EncoderTable {
    /// The changes in their order.
    fn changes(&self) -> Vec<(&str, String)> {
        let shared = [("output_stride", self.output_stride), ("in_channels", self.in_channels)];
        let shared = shared.into_iter().filter_map(|(key, value)| Some((key, value?.to_string())));
        shared
            .chain(self.own.iter().map(|(key, value)| (key.as_str(), value.to_string())))
            .collect()
    }
}

impl TryFrom<EncoderTable> for EncoderConfig {
    type Error = Error;

    fn try_from(table: EncoderTable) -> Result<Self> {
        let mut config = named(&table.name)?.with_options(table.own)?;
        if let Some(output_stride) = table.output_stride {
            config = config.with_output_stride(output_stride)?;
        }
        match table.in_channels {
            Some(in_channels) => config.with_in_channels(in_channels),
            None => Ok(config),
        }
    }
}

/// The preset of that name.
fn named(name: &str) -> Result<EncoderConfig> {
    let all = EncoderConfig::all();
    let preset = |name: &str| all.iter().find(|config| config.name == name).copied();
    if let Some(config) = preset(name) {
        return Ok(config);
    }
    // Names before the output stride was an option.
    if let Some(base) = name.strip_suffix("-os8").filter(|base| preset(base).is_some()) {
        return Err(Error::config(format!(
            "`{name}` is no encoder of its own any more: write {{ name = \"{base}\", \
             output_stride = 8 }}"
        )));
    }
    let names: Vec<&str> = all.iter().map(EncoderConfig::name).collect();
    Err(Error::config(crate::names::unknown("encoder", name, &names)))
}

impl std::str::FromStr for EncoderConfig {
    type Err = Error;

    /// From a name, or from an inline table of TOML.
    fn from_str(text: &str) -> Result<Self> {
        if !text.trim_start().starts_with('{') {
            return named(text);
        }
        #[derive(Deserialize)]
        struct EncoderLine {
            encoder: EncoderTable,
        }
        let line: EncoderLine = toml::from_str(&format!("encoder = {text}")).map_err(|error| {
            Error::config(format!("{text} is no encoder: {}", error.message().trim()))
                .caused_by(error)
        })?;
        line.encoder.try_into()
    }
}

impl std::fmt::Display for EncoderConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let table = self.written();
        let changes = table.changes();
        if changes.is_empty() {
            return f.write_str(self.name);
        }
        write!(f, "{{ name = \"{}\"", self.name)?;
        for (key, value) in changes {
            write!(f, ", {key} = {value}")?;
        }
        f.write_str(" }")
    }
}

impl Serialize for EncoderConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let table = self.written();
        if table.changes().is_empty() {
            return serializer.serialize_str(self.name);
        }
        table.serialize(serializer)
    }
}

impl EncoderConfig {
    /// The schema of each preset's options by its name.
    pub(crate) fn schemas() -> Vec<(&'static str, Schema)> {
        let (least, most) = (IN_CHANNELS.start(), IN_CHANNELS.end());
        let options = |config: &Self| {
            let mut properties = serde_json::json!({
                "output_stride": {
                    "type": "integer",
                    "enum": config.architecture.output_strides(),
                    "default": config.output_stride(),
                    "description": "Stride of the coarsest map: later stages are dilated instead of strided.",
                },
                "in_channels": {
                    "type": "integer",
                    "minimum": least,
                    "maximum": most,
                    "default": config.in_channels(),
                    "description": "Channels of the pictures; those of recipes have 3 (red, green, blue).",
                },
            });
            let own = config.options();
            for (key, mut schema) in config.architecture.option_schemas() {
                schema["default"] = serde_json::json!(own.get(&key));
                properties[key] = schema;
            }
            json_schema!({ "type": "object", "properties": properties })
        };
        Self::all().iter().map(|config| (config.name, options(config))).collect()
    }
}

impl JsonSchema for EncoderConfig {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "EncoderConfig".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        named_tables(Self::schemas())
    }
}

impl<'de> Deserialize<'de> for EncoderConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct NameOrTable;
        impl<'de> serde::de::Visitor<'de> for NameOrTable {
            type Value = EncoderConfig;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an encoder's name, or { name = \"resnet18\", output_stride = 8 }")
            }

            fn visit_str<E: serde::de::Error>(
                self,
                name: &str,
            ) -> std::result::Result<Self::Value, E> {
                name.parse().map_err(E::custom)
            }

            fn visit_map<M: serde::de::MapAccess<'de>>(
                self,
                map: M,
            ) -> std::result::Result<Self::Value, M::Error> {
                let table =
                    EncoderTable::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
                table.try_into().map_err(serde::de::Error::custom)
            }
        }
        deserializer.deserialize_any(NameOrTable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        text.parse::<EncoderConfig>().unwrap_err().to_string()
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_nearest() {
        let error = refused("eficientnet-lite0");
        assert!(error.contains("did you mean `efficientnet-lite0`?"), "{error}");
    }

    #[test]
    fn others_than_rgb_are_told_apart() {
        let config: EncoderConfig = "resnet18".parse().unwrap();
        assert!(config.check_rgb().is_ok());
        let error = config.with_in_channels(4).unwrap().check_rgb().unwrap_err().to_string();
        assert!(error.contains("takes 4 channels"), "{error}");
    }

    #[test]
    fn settings_of_a_family_are_written_where_they_differ() {
        let text = "{ name = \"vit-small-16\", in_channels = 4, pool = \"mean\", registers = 4 }";
        let config: EncoderConfig = text.parse().unwrap();
        assert_eq!(config.to_string(), text);
        let usual = "{ name = \"vit-small-16\", layer_scale = 0, positions = \"learnt\" }";
        assert_eq!(usual.parse::<EncoderConfig>().unwrap().to_string(), "vit-small-16");
    }

    #[test]
    fn what_a_network_cannot_have_is_refused_with_what_it_can() {
        for (text, expected) in [
            ("resnet18-os8", "write { name = \"resnet18\", output_stride = 8 }"),
            ("{ name = \"resnet18\", output_stride = 4 }", "valid are: 8, 16, 32"),
            ("{ name = \"vgg16\", output_stride = 8 }", "valid are: 16"),
            ("{ name = \"resnet18\", in_channels = 0 }", "valid are 1 to 1024"),
            ("{ name = \"resnet18\", stride = 8 }", "unknown field `stride`"),
            ("{ output_stride = 8 }", "missing field `name`"),
            (
                "{ name = \"vit-tiny-16\", depth = 8 }",
                "`positions`, `pool`, `registers`, `layer_scale`",
            ),
            ("{ name = \"resnet18\", pool = \"mean\" }", "unknown field `pool`"),
            ("{ name = \"vit-tiny-16\", pool = \"max\" }", "expected `class-token` or `mean`"),
            ("{ name = \"vit-tiny-16\", registers = 65 }", "valid are 0 to 64"),
            ("{ name = \"vit-tiny-16\", layer_scale = nan }", "valid are 0 to 1"),
            ("{ name = \"vit-tiny-16\", registers = \"4\" }", "expected usize"),
        ] {
            let error = refused(text);
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
