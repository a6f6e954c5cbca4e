//! `[model]`: the network and its weights.

use std::path::PathBuf;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::freeze::{Freeze, FrozenLayers, FrozenPart};
use crate::decoder::DecoderConfig;
use crate::encoder::EncoderConfig;
use crate::encoder::conv4::Conv4Config;
use crate::encoder::resnet12::ResNet12Config;
use crate::error::{Error, Result};
use crate::features::embed::InputViews;
use crate::method::MethodConfig;
use crate::method::network::{EncoderNetwork, NetworkConfig};
use crate::nn::Precision;
use crate::nn::lora::LoraConfig;
use crate::schema::named_tables;

/// The network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Model {
    /// The encoder.
    pub encoder: EncoderChoice,
    /// Its weights: a file, a Hugging Face repository, a run's folder to start from (with its decoder), or `none`
    /// for random ones, to train from scratch; by default the built-in or fetched ones where it has them. Of a file
    /// of a whole segmenter (torchvision, segmentation_models_pytorch, `kshot export`) the decoder is taken too, where
    /// it fits.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub weights: Option<PathBuf>,
    /// What of it stays as it is while it trains; by default what suits the method. A table freezes layers of the
    /// encoder, for good or for some steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub freeze: Option<Freeze>,
    /// The encoder's learning rate, as a multiple of the decoder's (pixels).
    #[serde(skip_serializing_if = "is_whole")]
    #[schemars(!skip_serializing_if, extend("exclusiveMinimum" = 0.0), range(max = 100.0))]
    pub encoder_rate: f64,
    /// Each stage of the encoder has this share of the learning rate of the stage behind it, the last one of the
    /// decoder's (pixels).
    #[serde(skip_serializing_if = "is_whole")]
    #[schemars(!skip_serializing_if, extend("exclusiveMinimum" = 0.0), range(max = 1.0))]
    pub layer_decay: f64,
    /// Low-rank adapters: kernels stay as they are, and two thin matrices are learnt for each (pixels).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lora: Option<LoraConfig>,
    /// What turns an encoder's maps into a class for each pixel (supervised segmentation).
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(!skip_serializing_if)]
    pub decoder: DecoderConfig,
    /// Input size and views of a frozen encoder that makes one vector of a picture.
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(!skip_serializing_if)]
    pub views: InputViews,
    /// Units of a residual bottleneck that learns behind a frozen encoder; none by default.
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(!skip_serializing_if, range(min = 0, max = 65536))]
    pub bottleneck: usize,
    /// How convolutions sum.
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(!skip_serializing_if)]
    pub precision: Precision,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            encoder: EncoderChoice::default(),
            weights: None,
            freeze: None,
            encoder_rate: 1.0,
            layer_decay: 1.0,
            lora: None,
            decoder: DecoderConfig::default(),
            views: InputViews::default(),
            bottleneck: 0,
            precision: Precision::default(),
        }
    }
}

#[allow(clippy::trivially_copy_pass_by_ref)] // as serde asks
fn is_whole(share: &f64) -> bool {
    *share == 1.0
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Which encoder: one of `kshot list encoders`, or an embedding network of few-shot recognition. In recipes a
/// name, or a table of a name and options.
#[derive(Debug, Clone, PartialEq)]
pub enum EncoderChoice {
    /// Four convolutions.
    Conv4(Conv4Config),
    /// Four residual blocks.
    Resnet12(ResNet12Config),
    /// An encoder of the library.
    Encoder(EncoderConfig),
}

impl Default for EncoderChoice {
    fn default() -> Self {
        match crate::weights::DEFAULT.parse() {
            Ok(config) => Self::Encoder(config),
            Err(_) => unreachable!("the built-in encoder is in the table"),
        }
    }
}

impl EncoderChoice {
    /// Its name.
    pub fn name(&self) -> String {
        match self {
            Self::Conv4(_) => "conv4".to_owned(),
            Self::Resnet12(_) => "resnet12".to_owned(),
            Self::Encoder(config) => config.to_string(),
        }
    }
}

impl JsonSchema for EncoderChoice {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "EncoderChoice".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut rows = vec![
            ("conv4", generator.subschema_for::<Conv4Config>()),
            ("resnet12", generator.subschema_for::<ResNet12Config>()),
        ];
        rows.extend(EncoderConfig::schemas());
        named_tables(rows)
    }
}

/// As a recipe has it.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum WrittenEncoder {
    Name(String),
    Options(toml::Table),
}

impl Serialize for EncoderChoice {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        fn table<T: Serialize, S: Serializer>(
            name: &str,
            config: &T,
            serializer: S,
        ) -> std::result::Result<S::Ok, S::Error> {
            let mut all = toml::Table::from_iter([("name".to_owned(), name.into())]);
            all.extend(toml::Table::try_from(config).map_err(serde::ser::Error::custom)?);
            all.serialize(serializer)
        }
        match self {
            Self::Conv4(config) => table("conv4", config, serializer),
            Self::Resnet12(config) => table("resnet12", config, serializer),
            Self::Encoder(config) => config.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for EncoderChoice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let written = WrittenEncoder::deserialize(deserializer)?;
        let said = |error: toml::de::Error| D::Error::custom(error.message());
        let name = match &written {
            WrittenEncoder::Name(name) => name.clone(),
            WrittenEncoder::Options(table) => {
                match table.get("name").and_then(|name| name.as_str()) {
                    Some(name) => name.to_owned(),
                    None => return Err(D::Error::missing_field("name")),
                }
            }
        };
        let options = || {
            let mut table = match &written {
                WrittenEncoder::Name(_) => toml::Table::new(),
                WrittenEncoder::Options(table) => table.clone(),
            };
            table.remove("name");
            toml::Value::Table(table)
        };
        Ok(match name.as_str() {
            "conv4" => Self::Conv4(options().try_into().map_err(said)?),
            "resnet12" => Self::Resnet12(options().try_into().map_err(said)?),
            _ => {
                let value = match written {
                    WrittenEncoder::Name(name) => toml::Value::String(name),
                    WrittenEncoder::Options(table) => toml::Value::Table(table),
                };
                Self::Encoder(value.try_into().map_err(said)?)
            }
        })
    }
}

impl Model {
    /// The encoder of the library.
    ///
    /// # Errors
    /// If it is an embedding network of few-shot recognition.
    pub fn encoder(&self) -> Result<&EncoderConfig> {
        match &self.encoder {
            EncoderChoice::Encoder(config) => Ok(config),
            other => Err(Error::config(format!(
                "`{}` makes vectors of whole pictures, for few-shot-recognition; pixels need an encoder of \
                 `kshot list encoders`",
                other.name()
            ))
            .at_key("model.encoder")),
        }
    }

    /// Whether an encoder of the library stays as it is and each picture becomes a vector once.
    pub fn makes_vectors(&self) -> bool {
        matches!(self.encoder, EncoderChoice::Encoder(_))
            && matches!(self.freeze, None | Some(Freeze::Part(FrozenPart::Encoder)))
    }

    /// The embedding network of few-shot recognition.
    pub fn network(&self) -> NetworkConfig {
        match &self.encoder {
            EncoderChoice::Conv4(config) => NetworkConfig::Conv4(config.clone()),
            EncoderChoice::Resnet12(config) => NetworkConfig::Resnet12(config.clone()),
            EncoderChoice::Encoder(config) => NetworkConfig::Encoder(EncoderNetwork {
                encoder: *config,
                weights: self.weights.clone(),
                frozen: self.makes_vectors(),
                freeze_norm: self.freeze != Some(Freeze::Part(FrozenPart::None)),
                views: self.views,
                bottleneck: self.bottleneck,
            }),
        }
    }

    /// Holds it against the method.
    ///
    /// # Errors
    /// If they do not go together; the key is named.
    pub(super) fn check(&self, method: &MethodConfig) -> Result<()> {
        let wrong = |key: &str, text: &str| Err(Error::config(text).at_key(key));
        let recognition = matches!(method, MethodConfig::Learner(_));
        if !recognition {
            self.encoder()?;
        }
        let frozen = match method {
            MethodConfig::Learner(_) => self.makes_vectors(),
            MethodConfig::Head(_) => true,
            MethodConfig::Trained(_) => false,
            MethodConfig::Episodic(method) => self.keeps_encoder(method.learns_encoder()),
        };
        if self.precision.is_half() && !frozen {
            let text = format!(
                "only frozen encoders multiply in {}, and this network learns",
                self.precision.name()
            );
            return wrong("model.precision", &text);
        }
        if matches!(method, MethodConfig::Head(_))
            && self.freeze.is_some_and(|freeze| freeze != Freeze::Part(FrozenPart::Encoder))
        {
            return wrong(
                "model.freeze",
                "this method fits a head to a frozen encoder; leave it out",
            );
        }
        self.check_layers(method)?;
        if self.bottleneck > 0 && !(recognition && self.makes_vectors()) {
            return wrong(
                "model.bottleneck",
                "a bottleneck learns behind a frozen encoder of few-shot-recognition; write freeze = \
                 \"encoder\", or leave it out",
            );
        }
        if self.views != InputViews::default() && !(recognition && self.makes_vectors()) {
            return wrong(
                "model.views",
                "views are how a frozen encoder sees whole pictures; an encoder that learns sees data.size: \
                 leave it out",
            );
        }
        Ok(())
    }

    /// Whether the encoder stays as it is, in methods of pixels where it does or does not learn if nothing is said.
    pub fn keeps_encoder(&self, learns: bool) -> bool {
        match self.freeze {
            Some(Freeze::Part(part)) => part == FrozenPart::Encoder,
            Some(Freeze::Layers(_)) => false,
            None => self.lora.is_none() && !learns,
        }
    }

    /// Holds what it says of layers against the method.
    fn check_layers(&self, method: &MethodConfig) -> Result<()> {
        let wrong = |key: &str, text: &str| Err(Error::config(text).at_key(key));
        let layers = match self.freeze {
            Some(Freeze::Layers(layers)) => Some(layers),
            _ => None,
        };
        if !matches!(method, MethodConfig::Trained(_) | MethodConfig::Episodic(_)) {
            let keys = [
                ("model.freeze", layers.is_some()),
                ("model.encoder_rate", self.encoder_rate != 1.0),
                ("model.layer_decay", self.layer_decay != 1.0),
                ("model.lora", self.lora.is_some()),
            ];
            return match keys.into_iter().find(|(_, given)| *given) {
                Some((key, _)) => wrong(
                    key,
                    "this is of trainings of an encoder for pixels (supervised, panet and the like); leave it out",
                ),
                None => Ok(()),
            };
        }
        if layers == Some(FrozenLayers::default()) {
            return wrong(
                "model.freeze",
                "this freezes nothing: give encoder_until, stages or norm, or write freeze = \"none\"",
            );
        }
        let whole = self.freeze == Some(Freeze::Part(FrozenPart::Encoder));
        let until = layers.is_some_and(|layers| layers.encoder_until > 0);
        if matches!(method, MethodConfig::Episodic(of) if !of.may_learn_encoder())
            && !self.keeps_encoder(false)
        {
            return wrong(
                "model.freeze",
                "this method stands behind an encoder that stays as it is; leave it and model.lora out",
            );
        }
        if matches!(method, MethodConfig::Episodic(of) if of.learns_encoder()) && (whole || until) {
            return wrong(
                if until { "model.freeze.encoder_until" } else { "model.freeze" },
                "nothing of this method but the encoder learns; give stages, or stage_every alone",
            );
        }
        if self.lora.is_some() && (layers.is_some() || whole) {
            return wrong(
                "model.freeze",
                "adapters freeze what they are added to; leave it out, or write \"none\" for the batch's statistics",
            );
        }
        Ok(())
    }
}
