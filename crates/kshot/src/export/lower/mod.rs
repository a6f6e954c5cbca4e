//! Recorded operations as nodes of ONNX.

use std::collections::BTreeMap;

use burn::backend::DType;
use burn::backend::capture::TensorId;
use burn::backend::ir::{OperationIr, ScalarIr, TensorIr};
use burn::tensor::TensorData;

use super::proto::{Attribute, Constant, Node, element};
use super::sizes::{KnownSizes, Size};
use super::trace::Traces;
use crate::error::{Error, Result};

mod activation;
mod base;
mod module;
mod numeric;

/// What a recorded operation says of itself, in each recording: the expression of the operation that matches.
macro_rules! each {
    ($operations:expr, $pattern:pat => $value:expr) => {{
        let mut values = Vec::new();
        for operation in &$operations {
            #[allow(irrefutable_let_patterns)]
            if let $pattern = operation {
                values.push($value);
            }
        }
        values
    }};
}
pub(super) use each;

/// The nodes and constants of a network.
pub struct Lowered {
    /// In order.
    pub nodes: Vec<Node>,
    /// By name.
    pub constants: Vec<Constant>,
    /// The name of the result.
    pub output: String,
}

/// Writes the operations of recordings as nodes; the pictures are called `input`.
///
/// # Errors
/// If there is no node for an operation, or what it does follows from the pictures' size in no way that can be told.
pub fn lower(traces: &Traces, input: &str) -> Result<Lowered> {
    let mut writer = Writer::new(traces, input);
    for index in 0..traces.first().operations.len() {
        let step = Step { operations: traces.operations(index), tensors: traces.tensors(index) };
        writer.step(&step)?;
        for tensor in &step.tensors {
            let lengths: Vec<Vec<usize>> = tensor.iter().map(|of| of.shape.to_vec()).collect();
            writer.known.note(tensor[0].id, &lengths);
        }
    }
    let output = writer.names.get(&traces.first().output).cloned();
    let output = output.ok_or_else(|| Error::config("the network does nothing to its pictures"))?;
    Ok(Lowered { nodes: writer.nodes, constants: writer.constants, output })
}

/// One operation, in every recording.
pub(super) struct Step<'a> {
    operations: Vec<&'a OperationIr>,
    /// Its tensors, inputs first, as they are in every recording.
    tensors: Vec<Vec<&'a TensorIr>>,
}

impl Step<'_> {
    /// That there is no node for it.
    fn unknown(&self) -> Error {
        let text = format!("{:?}", self.operations[0]);
        let name: String = text.chars().take_while(|&letter| letter != '{').collect();
        Error::config(format!(
            "ONNX has no counterpart here for `{}`",
            name.trim_end_matches([' ', '('])
        ))
    }

    /// The lengths of one of its tensors' axes, `[axis][recording]`.
    fn lengths(&self, tensor: &TensorIr) -> Vec<Vec<i64>> {
        let rows = self.tensors.iter().find(|of| of[0].id == tensor.id);
        let rows: &[&TensorIr] = rows.map_or(&[], Vec::as_slice);
        (0..tensor.shape.num_dims())
            .map(|axis| rows.iter().map(|of| of.shape[axis] as i64).collect())
            .collect()
    }
}

/// What has been written so far.
pub(super) struct Writer<'a> {
    traces: &'a Traces,
    known: KnownSizes,
    nodes: Vec<Node>,
    constants: Vec<Constant>,
    names: BTreeMap<TensorId, String>,
    /// Sizes that were computed, `[1]` each.
    sizes: BTreeMap<Size, String>,
}

impl<'a> Writer<'a> {
    fn new(traces: &'a Traces, input: &str) -> Self {
        let first = traces.first();
        let mut known = KnownSizes::default();
        let shapes: Vec<Vec<usize>> =
            traces.all().iter().map(|trace| trace.shape.to_vec()).collect();
        known.note(first.input, &shapes);
        Self {
            traces,
            known,
            nodes: Vec::new(),
            constants: Vec::new(),
            names: BTreeMap::from([(first.input, input.to_owned())]),
            sizes: BTreeMap::new(),
        }
    }

    fn step(&mut self, step: &Step) -> Result<()> {
        match step.operations[0] {
            OperationIr::BaseFloat(_) | OperationIr::BaseInt(_) | OperationIr::BaseBool(_) => {
                base::lower(self, step)
            }
            OperationIr::NumericFloat(..)
            | OperationIr::NumericInt(..)
            | OperationIr::Float(..)
            | OperationIr::Int(_)
            | OperationIr::Bool(_) => numeric::lower(self, step),
            OperationIr::Module(_) => module::lower(self, step),
            OperationIr::Activation(_) => activation::lower(self, step),
            _ => Err(step.unknown()),
        }
    }

    /// A node with one result.
    fn node(
        &mut self,
        kind: &str,
        inputs: Vec<String>,
        output: String,
        attributes: Vec<Attribute>,
    ) {
        self.nodes.push(Node {
            input: inputs,
            output: vec![output],
            name: Some(format!("{kind}_{}", self.nodes.len())),
            op_type: Some(kind.to_owned()),
            attribute: attributes,
        });
    }

    /// A node whose result is not that of a recorded operation; its name.
    fn inner(&mut self, kind: &str, inputs: Vec<String>, attributes: Vec<Attribute>) -> String {
        let output = format!("{}_{}", kind.to_lowercase(), self.nodes.len());
        self.node(kind, inputs, output.clone(), attributes);
        output
    }

    /// A maximum pool that also tells places; their name.
    fn pool_with_places(
        &mut self,
        input: String,
        output: String,
        attributes: Vec<Attribute>,
    ) -> String {
        let places = format!("{output}_places");
        self.node("MaxPool", vec![input], output, attributes);
        if let Some(pool) = self.nodes.last_mut() {
            pool.output.push(places.clone());
        }
        places
    }

    /// The name of an operation's input. Constants are written when they are first used.
    fn input(&mut self, step: &Step, tensor: &TensorIr) -> Result<String> {
        if let Some(name) = self.names.get(&tensor.id) {
            return Ok(name.clone());
        }
        let ids = step.tensors.iter().find(|of| of[0].id == tensor.id);
        let ids: Vec<TensorId> = ids.into_iter().flatten().map(|of| of.id).collect();
        let first = self.traces.first();
        let missing = || Error::config("a tensor is used before it is computed");
        let data = first.values.get(&tensor.id).ok_or_else(missing)?;
        let path = first.names.get(&tensor.id);
        if path.is_none() {
            let mut others = self.traces.all().iter().zip(&ids);
            if others.any(|(trace, id)| trace.values.get(id) != Some(data)) {
                return Err(Error::config(
                    "a constant of the network follows from the pictures' size; it can be written for one size alone: \
                     give --size",
                ));
            }
        }
        let name = path.cloned().unwrap_or_else(|| format!("constant_{}", self.constants.len()));
        let name = self.constant(name, data)?;
        self.names.insert(tensor.id, name.clone());
        Ok(name)
    }

    /// The names of some inputs.
    fn inputs(&mut self, step: &Step, tensors: &[&TensorIr]) -> Result<Vec<String>> {
        tensors.iter().map(|tensor| self.input(step, tensor)).collect()
    }

    /// The name of an operation's result.
    fn output(&mut self, tensor: &TensorIr) -> String {
        let name = format!("tensor_{}", self.names.len());
        self.names.insert(tensor.id, name.clone());
        name
    }

    /// Lets a result be another name of an input.
    fn alias(&mut self, step: &Step, input: &TensorIr, output: &TensorIr) -> Result<()> {
        let name = self.input(step, input)?;
        self.names.insert(output.id, name);
        Ok(())
    }

    /// Writes a constant; its name.
    fn constant(&mut self, name: String, data: &TensorData) -> Result<String> {
        let (kind, bytes) = match data.dtype() {
            DType::F32 => (element::FLOAT, data.as_bytes().to_vec()),
            DType::I64 => (element::INT64, data.as_bytes().to_vec()),
            DType::I32 => {
                let wide: Vec<u8> = data.iter::<i64>().flat_map(i64::to_le_bytes).collect();
                (element::INT64, wide)
            }
            DType::Bool(_) => (element::BOOL, data.iter::<bool>().map(u8::from).collect()),
            other => {
                return Err(Error::config(format!("numbers of type {other:?} are not written")));
            }
        };
        let dims = data.shape().iter().map(|&length| length as i64).collect();
        self.written(name.clone(), dims, kind, bytes);
        Ok(name)
    }

    fn written(&mut self, name: String, dims: Vec<i64>, kind: i32, bytes: Vec<u8>) {
        self.constants.push(Constant {
            dims,
            data_type: Some(kind),
            name: Some(name),
            raw_data: Some(bytes),
        });
    }

    /// A constant of the writer's own; its name.
    fn own(&mut self, dims: Vec<i64>, kind: i32, bytes: Vec<u8>) -> String {
        let name = format!("constant_{}", self.constants.len());
        self.written(name.clone(), dims, kind, bytes);
        name
    }

    /// A single number of an operation's type, of no axis; its name.
    fn scalar(&mut self, value: ScalarIr, like: &TensorIr) -> String {
        let (kind, bytes) = match like.dtype {
            DType::Bool(_) => (element::BOOL, vec![u8::from(value.elem::<bool>())]),
            dtype if dtype.is_float() => return self.float(value.elem::<f32>()),
            _ => (element::INT64, value.elem::<i64>().to_le_bytes().to_vec()),
        };
        self.own(Vec::new(), kind, bytes)
    }

    /// A number of floats, of no axis; its name.
    fn float(&mut self, value: f32) -> String {
        self.own(Vec::new(), element::FLOAT, value.to_le_bytes().to_vec())
    }

    /// Whole numbers, `[count]`; their name.
    fn whole(&mut self, values: &[i64]) -> String {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.own(vec![values.len() as i64], element::INT64, bytes)
    }

    /// Numbers that are so much in each recording, `rows[number][recording]`, as `[numbers]`; their name.
    fn numbers(&mut self, rows: &[Vec<i64>]) -> Result<String> {
        let explained = rows.iter().map(|row| {
            self.known.explain(row).ok_or_else(|| {
                Error::config(format!(
                    "a size in the network ({row:?} at several sizes of pictures) follows from the pictures' in no way \
                     that could be found; it can be written for one size alone: give --size"
                ))
            })
        });
        let sizes: Vec<Size> = explained.collect::<Result<_>>()?;
        let fixed: Vec<i64> = sizes
            .iter()
            .map_while(|size| match size {
                Size::Fixed(value) => Some(*value),
                _ => None,
            })
            .collect();
        if fixed.len() == sizes.len() {
            return Ok(self.whole(&fixed));
        }
        let parts: Vec<String> = sizes.iter().map(|size| self.size(size)).collect();
        match <[String; 1]>::try_from(parts) {
            Ok([only]) => Ok(only),
            Err(parts) => Ok(self.inner("Concat", parts, vec![Attribute::int("axis", 0)])),
        }
    }

    /// A size, `[1]`; its name.
    fn size(&mut self, size: &Size) -> String {
        if let Some(name) = self.sizes.get(size) {
            return name.clone();
        }
        let name = match size {
            Size::Fixed(value) => self.whole(&[*value]),
            Size::Axis(tensor, axis) => {
                let whole = self.names.get(tensor).cloned().unwrap_or_default();
                let ends = ["start", "end"].iter().zip([*axis, axis + 1]);
                let ends = ends.map(|(name, value)| Attribute::int(name, value as i64)).collect();
                self.inner("Shape", vec![whole], ends)
            }
            Size::Product(a, b) => {
                let parts = vec![self.size(a), self.size(b)];
                self.inner("Mul", parts, Vec::new())
            }
            Size::Difference(a, b) => {
                let parts = vec![self.size(a), self.size(b)];
                self.inner("Sub", parts, Vec::new())
            }
            Size::Quotient(a, b) => {
                let parts = vec![self.size(a), self.whole(&[*b])];
                self.inner("Div", parts, Vec::new())
            }
        };
        self.sizes.insert(size.clone(), name.clone());
        name
    }
}

/// What must be the same in every recording.
pub(super) fn fixed<T: PartialEq + std::fmt::Debug>(values: Vec<T>) -> Result<T> {
    let same = values.windows(2).all(|pair| pair[0] == pair[1]);
    let shown = format!("{values:?}");
    match values.into_iter().next() {
        Some(value) if same => Ok(value),
        _ => Err(Error::config(format!(
            "a setting of the network follows from the pictures' size ({shown}); it can be written for one size alone: \
             give --size"
        ))),
    }
}
