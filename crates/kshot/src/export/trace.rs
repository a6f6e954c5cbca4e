//! The operations of a network, recorded at several picture sizes.
//!
//! A recording knows numbers only: a size that follows from the picture's and one that is always the same look alike.
//! So the same network is recorded for pictures of several sizes; what differs between the recordings follows from
//! the picture's size, and [`sizes`](super::sizes) finds out how.

use std::collections::BTreeMap;

use burn::backend::capture::{CaptureBackend, CapturedGraph, TensorId};
use burn::backend::ir::{OperationIr, TensorIr};
use burn::module::{Module, ModuleVisitor, Param};
use burn::prelude::*;

use crate::error::{Error, Result};

/// What a network does to pictures of one size.
#[derive(Debug)]
pub struct Trace {
    /// In order.
    pub operations: Vec<OperationIr>,
    /// Parameters and other constants.
    pub values: BTreeMap<TensorId, TensorData>,
    /// The pictures.
    pub input: TensorId,
    /// The result.
    pub output: TensorId,
    /// Parameters by their path.
    pub names: BTreeMap<TensorId, String>,
    /// Of the pictures.
    pub shape: [usize; 4],
}

/// The paths of a module's parameters by their tensors.
#[derive(Default)]
struct ParameterPaths {
    path: Vec<String>,
    names: BTreeMap<TensorId, String>,
}

impl ModuleVisitor for ParameterPaths {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(id) = id(&param.val()) {
            self.names.entry(id).or_insert_with(|| self.path.join("."));
        }
    }
}

/// The recorded tensor's number.
fn id<const D: usize>(tensor: &Tensor<D>) -> Option<TensorId> {
    let recorded = tensor.clone().try_into_primitive::<CaptureBackend>().ok()?;
    Some(recorded.id())
}

/// Records what `forward` does with a network to pictures of a shape, `[batch, channels, height, width]`.
///
/// # Errors
/// If the network reads values of its pictures while it computes.
pub fn record<M: Module>(
    network: &M,
    shape: [usize; 4],
    forward: impl FnOnce(&M, Tensor<4>) -> Tensor<4>,
) -> Result<Trace> {
    let failed =
        |reason: String| Error::config(format!("the network cannot be recorded: {reason}"));
    let device = Device::capture();
    let mut ends = None;
    let captured = device.capture_scope(|scope| {
        let network = network.clone().to_device(&device);
        let mut paths = ParameterPaths::default();
        network.visit(&mut paths);
        let pictures = Tensor::<4>::zeros(shape, &Device::flex()).to_device(&device);
        let input = id(&pictures);
        let output = id(&forward(&network, pictures));
        match (input, output) {
            (Some(input), Some(output)) => {
                ends = Some((input, output, paths.names));
                scope.complete([input], [output])
            }
            _ => scope.complete([], []),
        }
    });
    let CapturedGraph { graph, values } = captured.map_err(|error| failed(error.to_string()))?;
    let (input, output, names) =
        ends.ok_or_else(|| failed("its tensors left the recording".to_owned()))?;
    let computed =
        |operation: &OperationIr| !matches!(operation, OperationIr::Init(_) | OperationIr::Drop(_));
    let operations = graph.operations.into_iter().filter(computed).collect();
    Ok(Trace { operations, values, input, output, names, shape })
}

/// Recordings of one network that do the same at every size.
#[derive(Debug)]
pub struct Traces(Vec<Trace>);

impl Traces {
    /// Of one network at several sizes.
    ///
    /// # Errors
    /// If it does something else at another size.
    pub fn new(traces: Vec<Trace>) -> Result<Self> {
        let kinds = |trace: &Trace| -> Vec<(std::mem::Discriminant<OperationIr>, usize)> {
            let kind = |operation: &OperationIr| {
                (std::mem::discriminant(operation), operation.nodes().len())
            };
            trace.operations.iter().map(kind).collect()
        };
        let all: Vec<_> = traces.iter().map(kinds).collect();
        if let Some(other) = (1..all.len()).find(|&other| all[other] != all[0]) {
            let size = |trace: &Trace| format!("{}x{}", trace.shape[2], trace.shape[3]);
            return Err(Error::config(format!(
                "the network does other things to pictures of {} than of {}; it can be written for one size alone: \
                 give --size",
                size(&traces[0]),
                size(&traces[other])
            )));
        }
        Ok(Self(traces))
    }

    /// The first recording, whose numbers of tensors stand for all.
    pub fn first(&self) -> &Trace {
        &self.0[0]
    }

    /// All of them.
    pub fn all(&self) -> &[Trace] {
        &self.0
    }

    /// The same operation in each.
    pub fn operations(&self, index: usize) -> Vec<&OperationIr> {
        self.0.iter().map(|trace| &trace.operations[index]).collect()
    }

    /// The tensors of an operation, each as it is in every recording.
    pub fn tensors(&self, index: usize) -> Vec<Vec<&TensorIr>> {
        let nodes: Vec<Vec<&TensorIr>> =
            self.operations(index).into_iter().map(OperationIr::nodes).collect();
        (0..nodes[0].len()).map(|place| nodes.iter().map(|of| of[place]).collect()).collect()
    }
}
