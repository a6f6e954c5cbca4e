//! Trained networks as files for other programs: ONNX, and safetensors.
//!
//! # ONNX
//! Opset 18. The input `pictures` is `[batch, channels, height, width]` of 32-bit floats, normalised as the metadata
//! says; the outputs are `logits`, `[batch, classes, height, width]`, and `mask`, `[batch, height, width]` of bytes: the
//! class with the highest logit, as in the masks that `kshot segment` writes before refinement. Batch, height and width
//! may be any, where the network's sizes follow from its pictures' (see [`trace`]); else [`OnnxOptions::size`] writes
//! it for one size, and only the batch may be any.
//!
//! The metadata's keys:
//!
//! | key | value |
//! |---|---|
//! | `kshot.classes` | JSON: the name of each class by its number, `background` first where there is one |
//! | `kshot.mean`, `kshot.std` | JSON: a number a channel; what the network sees is `(value - mean) / std` of pixels of 0 to 255 |
//! | `kshot.channels` | `RGB` |
//! | `kshot.longest_side` | pictures with a longer side are shrunk to it first; missing where they are not |
//! | `kshot.size_multiple` | kshot shows the network pictures that are mirrored at their border on the right and below up to multiples of this many pixels, and cuts logits and mask to the picture; missing in files for one size |
//! | `kshot.version` | the version that wrote it |

use std::path::Path;

use burn::module::{ModuleMapper, Param};
use burn::prelude::*;
use kshot_data::atomic;
use prost::Message;

use self::proto::{Attribute, Axis, Graph, Model, Node, OperatorSet, Property, Value};
use self::proto::{TensorKind, ValueKind, ValueShape, element};
use self::trace::{Trace, Traces};
use crate::decoder::Segmenter;
use crate::encoder::{Encode, Normalization};
use crate::error::{Error, Result};
use crate::nn::cpu_values;
use crate::weights::state::VERSION;

pub mod lower;
pub mod proto;
pub mod sizes;
pub mod trace;

/// Name of the input.
const PICTURES: &str = "pictures";
/// Name of the first output.
const LOGITS: &str = "logits";
/// Name of the second output.
const MASK: &str = "mask";
/// Pictures by which a network is recorded: batch, height and width, which no simple relation ties to each other.
const RECORDED: [[usize; 3]; 5] =
    [[2, 211, 307], [3, 278, 166], [5, 347, 421], [7, 502, 334], [11, 619, 293]];
/// What is added to the logit of a background that is not there.
const NEVER: f32 = -1e4;
/// The largest file, which the format's own limit of 2 GiB bounds.
const MOST: usize = (1 << 31) - 1;

/// What is written about a network.
#[derive(Debug, Clone, PartialEq)]
pub struct OnnxOptions {
    /// The name of each class by its number, the background's first where there is one.
    pub classes: Vec<String>,
    /// What is done to pixels.
    pub normalization: Normalization,
    /// Pictures whose longer side is above it are shrunk to it.
    pub longest_side: Option<u32>,
    /// Whether a pixel may be background; where not, the first class's logit is lowered to -1e4.
    pub background: bool,
    /// Height and width of the only pictures it is for; any if absent.
    pub size: Option<[usize; 2]>,
}

/// A network as an ONNX model.
///
/// # Errors
/// If an operation of it has no counterpart, or its sizes follow from the pictures' in no way that can be told.
pub fn onnx(network: &Segmenter, options: &OnnxOptions) -> Result<Vec<u8>> {
    // Normalisations become part of the kernels.
    let network = network.clone().optimize();
    let channels = network.encoder.in_channels();
    let record = |[batch, height, width]: [usize; 3]| -> Result<Trace> {
        let [height, width] = options.size.unwrap_or([height, width]);
        let planes = options.classes.len();
        trace::record(&network, [batch, channels, height, width], |network, pictures| {
            let device = pictures.device();
            let logits = network.forward(pictures);
            if options.background {
                return logits;
            }
            let mut shift = vec![0.0f32; planes];
            shift[0] = NEVER;
            logits + Tensor::from_data(TensorData::new(shift, [1, planes, 1, 1]), &device)
        })
    };
    let traces = Traces::new(RECORDED.into_iter().map(record).collect::<Result<_>>()?)?;
    let lowered = lower::lower(&traces, PICTURES)?;
    let mut nodes = lowered.nodes;
    rename(&mut nodes, &lowered.output, LOGITS);
    nodes.push(node(
        "ArgMax",
        LOGITS,
        "classes",
        vec![Attribute::int("axis", 1), Attribute::int("keepdims", 0)],
    ));
    let to = Attribute::int("to", i64::from(element::UINT8));
    nodes.push(node("Cast", "classes", MASK, vec![to]));
    let fixed = |length: usize| Axis { value: Some(length as i64), param: None };
    let any = |name: &str| Axis { value: None, param: Some(name.to_owned()) };
    let [height, width] = match options.size {
        Some(size) => size.map(fixed),
        None => ["height", "width"].map(any),
    };
    let planes = options.classes.len();
    let value = |name: &str, element: i32, dim: Vec<Axis>| Value {
        name: Some(name.to_owned()),
        kind: Some(ValueKind {
            tensor: Some(TensorKind { element: Some(element), shape: Some(ValueShape { dim }) }),
        }),
    };
    let sides = [height, width];
    let shaped = |planes: usize| [vec![any("batch"), fixed(planes)], sides.to_vec()].concat();
    let mask = [vec![any("batch")], sides.to_vec()].concat();
    let graph = Graph {
        node: nodes,
        name: Some("segmenter".to_owned()),
        initializer: lowered.constants,
        input: vec![value(PICTURES, element::FLOAT, shaped(channels))],
        output: vec![
            value(LOGITS, element::FLOAT, shaped(planes)),
            value(MASK, element::UINT8, mask),
        ],
    };
    let model = Model {
        ir_version: Some(proto::IR_VERSION),
        producer_name: Some("kshot".to_owned()),
        producer_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        doc_string: None,
        graph: Some(graph),
        opset_import: vec![OperatorSet {
            domain: Some(String::new()),
            version: Some(proto::OPSET),
        }],
        metadata_props: metadata(&network, options)?,
    };
    if model.encoded_len() > MOST {
        return Err(Error::config(
            "the network is larger than the 2 GiB that a file of this format may have",
        ));
    }
    Ok(model.encode_to_vec())
}

/// Writes [`onnx`] to a file.
///
/// # Errors
/// As [`onnx`], or if the file cannot be written.
pub fn write_onnx(network: &Segmenter, options: &OnnxOptions, file: &Path) -> Result<()> {
    atomic::write(file, &onnx(network, options)?)
}

/// Writes a network's parameters and running statistics, the encoder's below `encoder.` and the decoder's below
/// `decoder.`, with the same metadata as [`onnx`]. `model.weights` and [`into_segmenter`](
/// crate::weights::segmenter::into_segmenter) read such a file.
///
/// # Errors
/// If the file cannot be written.
pub fn write_safetensors(network: &Segmenter, options: &OnnxOptions, file: &Path) -> Result<()> {
    struct Parameters {
        path: Vec<String>,
        tensors: Vec<(String, Vec<usize>, Vec<u8>)>,
    }
    impl ModuleMapper for Parameters {
        fn enter_module(&mut self, name: &str, _container: &str) {
            self.path.push(name.to_owned());
        }
        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.path.pop();
        }
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let tensor = param.val();
            let shape = tensor.dims().to_vec();
            let bytes = cpu_values(tensor).into_iter().flat_map(f32::to_le_bytes).collect();
            self.tensors.push((self.path.join("."), shape, bytes));
            param
        }
    }
    let Segmenter { encoder, decoder } = network.clone();
    let mut parameters = Parameters { path: vec!["encoder".to_owned()], tensors: Vec::new() };
    encoder.map_network(&mut parameters);
    parameters.path = vec!["decoder".to_owned()];
    decoder.map_network(&mut parameters);
    let failed = |error: safetensors::SafeTensorError| {
        Error::weights(format!("the tensors cannot be written: {error}"))
    };
    let views = parameters.tensors.iter().map(|(name, shape, bytes)| {
        let view =
            safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.clone(), bytes);
        Ok((name.as_str(), view.map_err(failed)?))
    });
    let views = views.collect::<Result<Vec<_>>>()?;
    let about =
        metadata(network, options)?.into_iter().filter_map(|line| Some((line.key?, line.value?)));
    let bytes = safetensors::serialize(views, Some(about.collect())).map_err(failed)?;
    atomic::write(file, &bytes)
}

/// What is said of a network beside its numbers.
fn metadata(network: &Segmenter, options: &OnnxOptions) -> Result<Vec<Property>> {
    let json = |value: serde_json::Value| value.to_string();
    let Normalization { mean, std } = options.normalization;
    let mut lines = vec![
        ("kshot.classes", json(serde_json::json!(options.classes))),
        ("kshot.mean", json(serde_json::json!(mean))),
        ("kshot.std", json(serde_json::json!(std))),
        ("kshot.channels", "RGB".to_owned()),
        (VERSION, env!("CARGO_PKG_VERSION").to_owned()),
    ];
    if options.size.is_none() {
        lines.push(("kshot.size_multiple", network.multiple().to_string()));
    }
    if let Some(longest) = options.longest_side {
        lines.push(("kshot.longest_side", longest.to_string()));
    }
    let line =
        |(key, value): (&str, String)| Property { key: Some(key.to_owned()), value: Some(value) };
    Ok(lines.into_iter().map(line).collect())
}

fn node(kind: &str, input: &str, output: &str, attribute: Vec<Attribute>) -> Node {
    Node {
        input: vec![input.to_owned()],
        output: vec![output.to_owned()],
        name: Some(format!("{kind}_{output}")),
        op_type: Some(kind.to_owned()),
        attribute,
    }
}

/// Gives a value another name wherever it stands.
fn rename(nodes: &mut [Node], from: &str, to: &str) {
    for node in nodes {
        for name in node.input.iter_mut().chain(&mut node.output) {
            if name == from {
                to.clone_into(name);
            }
        }
    }
}
