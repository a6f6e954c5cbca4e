//! Shapes, places and parts.

use burn::backend::DType;
use burn::backend::ir::{BaseOperationIr, OperationIr};

use super::{Step, Writer, each, fixed};
use crate::error::Result;
use crate::export::proto::{Attribute, element};

/// The operation without the kind of its numbers.
fn inner(operation: &OperationIr) -> Option<&BaseOperationIr> {
    match operation {
        OperationIr::BaseFloat(base) | OperationIr::BaseInt(base) | OperationIr::BaseBool(base) => {
            Some(base)
        }
        _ => None,
    }
}

/// ONNX's number of an element type.
pub(super) fn element_of(dtype: DType) -> i64 {
    i64::from(match dtype {
        DType::Bool(_) => element::BOOL,
        dtype if dtype.is_float() => element::FLOAT,
        _ => element::INT64,
    })
}

pub(super) fn lower(writer: &mut Writer, step: &Step) -> Result<()> {
    use BaseOperationIr as Base;
    let all: Vec<&BaseOperationIr> = step.operations.iter().copied().filter_map(inner).collect();
    match all[0] {
        Base::Reshape(op) => {
            let rows = step.lengths(&op.out);
            // An axis of a single length is told by the rest.
            let changing = rows.iter().filter(|row| row.windows(2).any(|pair| pair[0] != pair[1]));
            let shape = if changing.count() == 1 {
                let sizes: Vec<i64> =
                    rows.iter()
                        .map(|row| {
                            if row.windows(2).all(|pair| pair[0] == pair[1]) { row[0] } else { -1 }
                        })
                        .collect();
                writer.whole(&sizes)
            } else {
                writer.numbers(&rows)?
            };
            let input = writer.input(step, &op.input)?;
            let output = writer.output(&op.out);
            writer.node("Reshape", vec![input, shape], output, Vec::new());
        }
        Base::Expand(op) => {
            let shape = writer.numbers(&step.lengths(&op.out))?;
            let input = writer.input(step, &op.input)?;
            let output = writer.output(&op.out);
            writer.node("Expand", vec![input, shape], output, Vec::new());
        }
        Base::SwapDims(op) => {
            let mut axes: Vec<usize> = (0..op.input.shape.num_dims()).collect();
            axes.swap(op.dim1, op.dim2);
            let input = writer.input(step, &op.input)?;
            let output = writer.output(&op.out);
            writer.node("Transpose", vec![input], output, vec![Attribute::ints("perm", axes)]);
        }
        Base::Permute(op) => {
            let input = writer.input(step, &op.input)?;
            let output = writer.output(&op.out);
            let axes = op.axes.iter().copied();
            writer.node("Transpose", vec![input], output, vec![Attribute::ints("perm", axes)]);
        }
        Base::Slice(op) => {
            let axes = op.tensor.shape.num_dims();
            let lengths = step.lengths(&op.tensor);
            let ranges = each!(all, Base::Slice(op) => op.ranges.clone());
            let steps = fixed(
                ranges.iter().map(|of| of.iter().map(|s| s.step).collect::<Vec<_>>()).collect(),
            )?;
            if steps.iter().any(|&step| step != 1) {
                return Err(step.unknown());
            }
            let (mut starts, mut ends, mut cut) = (Vec::new(), Vec::new(), Vec::new());
            for axis in 0..axes.min(steps.len()) {
                let at = |recording: usize| {
                    let length = lengths[axis][recording];
                    let of = &ranges[recording][axis];
                    let from = |value: isize| {
                        let value = value as i64;
                        if value < 0 { value + length } else { value }
                    };
                    (from(of.start), of.end.map_or(length, from).min(length))
                };
                let both: Vec<(i64, i64)> = (0..ranges.len()).map(at).collect();
                if both.iter().zip(&lengths[axis]).all(|(of, length)| *of == (0, *length)) {
                    continue;
                }
                starts.push(both.iter().map(|of| of.0).collect::<Vec<i64>>());
                ends.push(both.iter().map(|of| of.1).collect::<Vec<i64>>());
                cut.push(axis as i64);
            }
            if cut.is_empty() {
                return writer.alias(step, &op.tensor, &op.out);
            }
            let parts = [writer.numbers(&starts)?, writer.numbers(&ends)?, writer.whole(&cut)];
            let mut inputs = vec![writer.input(step, &op.tensor)?];
            inputs.extend(parts);
            let output = writer.output(&op.out);
            writer.node("Slice", inputs, output, Vec::new());
        }
        Base::Select(op) => {
            let inputs = writer.inputs(step, &[&op.tensor, &op.indices])?;
            let output = writer.output(&op.out);
            writer.node("Gather", inputs, output, vec![Attribute::int("axis", op.dim as i64)]);
        }
        Base::Gather(op) => {
            let inputs = writer.inputs(step, &[&op.tensor, &op.indices])?;
            let output = writer.output(&op.out);
            let axis = Attribute::int("axis", op.dim as i64);
            writer.node("GatherElements", inputs, output, vec![axis]);
        }
        Base::Scatter(op) => {
            let inputs = writer.inputs(step, &[&op.tensor, &op.indices, &op.value])?;
            let output = writer.output(&op.out);
            let attributes =
                vec![Attribute::int("axis", op.dim as i64), Attribute::word("reduction", "add")];
            writer.node("ScatterElements", inputs, output, attributes);
        }
        Base::Cat(op) => {
            let tensors: Vec<_> = op.tensors.iter().collect();
            let inputs = writer.inputs(step, &tensors)?;
            let output = writer.output(&op.out);
            writer.node("Concat", inputs, output, vec![Attribute::int("axis", op.dim as i64)]);
        }
        Base::RepeatDim(op) => {
            let axes = op.tensor.shape.num_dims();
            let times = each!(all, Base::RepeatDim(op) => op.times as i64);
            let rows: Vec<Vec<i64>> = (0..axes)
                .map(|axis| if axis == op.dim { times.clone() } else { vec![1; times.len()] })
                .collect();
            let repeats = writer.numbers(&rows)?;
            let input = writer.input(step, &op.tensor)?;
            let output = writer.output(&op.out);
            writer.node("Tile", vec![input, repeats], output, Vec::new());
        }
        Base::MaskWhere(op) => {
            let inputs = writer.inputs(step, &[&op.mask, &op.value, &op.tensor])?;
            let output = writer.output(&op.out);
            writer.node("Where", inputs, output, Vec::new());
        }
        Base::MaskFill(op) => {
            let [mask, tensor] = [&op.mask, &op.tensor].map(|of| writer.input(step, of));
            let value = writer.scalar(op.value, &op.tensor);
            let output = writer.output(&op.out);
            writer.node("Where", vec![mask?, value, tensor?], output, Vec::new());
        }
        Base::Equal(op) => {
            let inputs = writer.inputs(step, &[&op.lhs, &op.rhs])?;
            let output = writer.output(&op.out);
            writer.node("Equal", inputs, output, Vec::new());
        }
        Base::EqualElem(op) => {
            let inputs = vec![writer.input(step, &op.lhs)?, writer.scalar(op.rhs, &op.lhs)];
            let output = writer.output(&op.out);
            writer.node("Equal", inputs, output, Vec::new());
        }
        Base::Cast(op) => {
            if element_of(op.input.dtype) == element_of(op.out.dtype) {
                return writer.alias(step, &op.input, &op.out);
            }
            let input = writer.input(step, &op.input)?;
            let output = writer.output(&op.out);
            let to = Attribute::int("to", element_of(op.out.dtype));
            writer.node("Cast", vec![input], output, vec![to]);
        }
        Base::Zeros(op) | Base::Ones(op) | Base::Empty(op) => {
            let value = if matches!(all[0], Base::Ones(_)) { 1.0 } else { 0.0 };
            let shape = writer.numbers(&step.lengths(&op.out))?;
            let value = writer.scalar(burn::backend::ir::ScalarIr::Float(value), &op.out);
            let output = writer.output(&op.out);
            writer.node("Expand", vec![value, shape], output, Vec::new());
        }
        _ => return Err(step.unknown()),
    }
    Ok(())
}
