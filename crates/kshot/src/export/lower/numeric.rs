//! Arithmetic, comparisons, sums and casts.

use burn::backend::ir::{
    BinaryOpIr, BoolOperationIr, CastOpIr, FloatOperationIr, IntOperationIr, NumericOperationIr,
    OperationIr, ReduceDimOpIr, ScalarIr, ScalarOpIr, UnaryOpIr,
};

use super::base::element_of;
use super::{Step, Writer};
use crate::error::Result;
use crate::export::proto::Attribute;

pub(super) fn lower(writer: &mut Writer, step: &Step) -> Result<()> {
    match step.operations[0] {
        OperationIr::NumericFloat(_, numeric) | OperationIr::NumericInt(_, numeric) => {
            number(writer, step, numeric)
        }
        OperationIr::Float(_, float) => floats(writer, step, float),
        OperationIr::Int(IntOperationIr::IntoFloat(op))
        | OperationIr::Bool(BoolOperationIr::IntoFloat(op) | BoolOperationIr::IntoInt(op)) => {
            cast(writer, step, op)
        }
        OperationIr::Bool(BoolOperationIr::Not(op)) => unary(writer, step, "Not", op),
        OperationIr::Bool(BoolOperationIr::And(op)) => binary(writer, step, "And", op),
        OperationIr::Bool(BoolOperationIr::Or(op)) => binary(writer, step, "Or", op),
        _ => Err(step.unknown()),
    }
}

fn number(writer: &mut Writer, step: &Step, operation: &NumericOperationIr) -> Result<()> {
    use NumericOperationIr as Number;
    match operation {
        Number::Add(op) => binary(writer, step, "Add", op),
        Number::Sub(op) => binary(writer, step, "Sub", op),
        Number::Mul(op) => binary(writer, step, "Mul", op),
        Number::Div(op) => binary(writer, step, "Div", op),
        Number::AddScalar(op) => scalar(writer, step, "Add", op),
        Number::SubScalar(op) => scalar(writer, step, "Sub", op),
        Number::MulScalar(op) => scalar(writer, step, "Mul", op),
        Number::DivScalar(op) => scalar(writer, step, "Div", op),
        Number::PowiScalar(op) => scalar(writer, step, "Pow", op),
        Number::Powi(op) => binary(writer, step, "Pow", op),
        Number::Greater(op) => binary(writer, step, "Greater", op),
        Number::GreaterElem(op) => scalar(writer, step, "Greater", op),
        Number::GreaterEqual(op) => binary(writer, step, "GreaterOrEqual", op),
        Number::GreaterEqualElem(op) => scalar(writer, step, "GreaterOrEqual", op),
        Number::Lower(op) => binary(writer, step, "Less", op),
        Number::LowerElem(op) => scalar(writer, step, "Less", op),
        Number::LowerEqual(op) => binary(writer, step, "LessOrEqual", op),
        Number::LowerEqualElem(op) => scalar(writer, step, "LessOrEqual", op),
        Number::ClampMin(op) => scalar(writer, step, "Max", op),
        Number::ClampMax(op) => scalar(writer, step, "Min", op),
        Number::Abs(op) => unary(writer, step, "Abs", op),
        Number::Neg(op) => unary(writer, step, "Neg", op),
        Number::Sign(op) => unary(writer, step, "Sign", op),
        Number::MeanDim(op) => reduced(writer, step, "ReduceMean", op),
        Number::SumDim(op) => reduced(writer, step, "ReduceSum", op),
        Number::MaxDim(op) => reduced(writer, step, "ReduceMax", op),
        Number::MinDim(op) => reduced(writer, step, "ReduceMin", op),
        Number::ArgMax(op) => {
            let input = writer.input(step, &op.input)?;
            let output = writer.output(&op.out);
            let axis = Attribute::int("axis", op.axis as i64);
            writer.node("ArgMax", vec![input], output, vec![axis, Attribute::int("keepdims", 1)]);
            Ok(())
        }
        Number::SumDims(op) => {
            let axes: Vec<i64> = op.axes.iter().map(|&axis| axis as i64).collect();
            let inputs = vec![writer.input(step, &op.input)?, writer.whole(&axes)];
            let output = writer.output(&op.out);
            writer.node("ReduceSum", inputs, output, vec![Attribute::int("keepdims", 1)]);
            Ok(())
        }
        Number::Clamp(op) => {
            let inputs = vec![
                writer.input(step, &op.tensor)?,
                writer.scalar(op.min, &op.tensor),
                writer.scalar(op.max, &op.tensor),
            ];
            let output = writer.output(&op.out);
            writer.node("Clip", inputs, output, Vec::new());
            Ok(())
        }
        Number::Full(op) => {
            let shape = writer.numbers(&step.lengths(&op.out))?;
            let value = writer.scalar(op.value, &op.out);
            let output = writer.output(&op.out);
            writer.node("Expand", vec![value, shape], output, Vec::new());
            Ok(())
        }
        Number::Pad(op) => {
            let pads = super::each!(
                step.operations,
                OperationIr::NumericFloat(_, Number::Pad(op)) | OperationIr::NumericInt(_, Number::Pad(op))
                    => op.padding.clone()
            );
            let axes = op.padding.len();
            let side = |second: bool| {
                (0..axes).map(move |axis| (axis, second)).collect::<Vec<(usize, bool)>>()
            };
            let rows: Vec<Vec<i64>> = [side(false), side(true)]
                .concat()
                .into_iter()
                .map(|(axis, second)| {
                    let of = |pads: &Vec<(usize, usize)>| {
                        if second { pads[axis].1 as i64 } else { pads[axis].0 as i64 }
                    };
                    pads.iter().map(of).collect()
                })
                .collect();
            let mode = match op.mode {
                burn::backend::ir::PadModeIr::Constant(_) => "constant",
                burn::backend::ir::PadModeIr::Reflect => "reflect",
                burn::backend::ir::PadModeIr::Edge => "edge",
            };
            let mut inputs = vec![writer.input(step, &op.input)?, writer.numbers(&rows)?];
            if let burn::backend::ir::PadModeIr::Constant(value) = op.mode {
                inputs.push(writer.scalar(value, &op.input));
            }
            let output = writer.output(&op.out);
            writer.node("Pad", inputs, output, vec![Attribute::word("mode", mode)]);
            Ok(())
        }
        _ => Err(step.unknown()),
    }
}

fn floats(writer: &mut Writer, step: &Step, operation: &FloatOperationIr) -> Result<()> {
    use FloatOperationIr as Float;
    match operation {
        Float::Exp(op) => unary(writer, step, "Exp", op),
        Float::Log(op) => unary(writer, step, "Log", op),
        Float::Erf(op) => unary(writer, step, "Erf", op),
        Float::Sqrt(op) => unary(writer, step, "Sqrt", op),
        Float::Cos(op) => unary(writer, step, "Cos", op),
        Float::Sin(op) => unary(writer, step, "Sin", op),
        Float::Tanh(op) => unary(writer, step, "Tanh", op),
        Float::Floor(op) => unary(writer, step, "Floor", op),
        Float::Ceil(op) => unary(writer, step, "Ceil", op),
        Float::Recip(op) => unary(writer, step, "Reciprocal", op),
        Float::PowfScalar(op) => scalar(writer, step, "Pow", op),
        Float::Powf(op) => binary(writer, step, "Pow", op),
        Float::IntoInt(op) => cast(writer, step, op),
        Float::Matmul(op) => {
            let inputs = writer.inputs(step, &[&op.lhs, &op.rhs])?;
            let output = writer.output(&op.out);
            writer.node("MatMul", inputs, output, Vec::new());
            Ok(())
        }
        _ => Err(step.unknown()),
    }
}

fn binary(writer: &mut Writer, step: &Step, kind: &str, op: &BinaryOpIr) -> Result<()> {
    let inputs = writer.inputs(step, &[&op.lhs, &op.rhs])?;
    let output = writer.output(&op.out);
    writer.node(kind, inputs, output, Vec::new());
    Ok(())
}

fn scalar(writer: &mut Writer, step: &Step, kind: &str, op: &ScalarOpIr) -> Result<()> {
    let inputs = vec![writer.input(step, &op.lhs)?, writer.scalar(op.rhs, &op.lhs)];
    let output = writer.output(&op.out);
    writer.node(kind, inputs, output, Vec::new());
    Ok(())
}

fn unary(writer: &mut Writer, step: &Step, kind: &str, op: &UnaryOpIr) -> Result<()> {
    let inputs = vec![writer.input(step, &op.input)?];
    let output = writer.output(&op.out);
    writer.node(kind, inputs, output, Vec::new());
    Ok(())
}

fn reduced(writer: &mut Writer, step: &Step, kind: &str, op: &ReduceDimOpIr) -> Result<()> {
    let inputs = vec![writer.input(step, &op.input)?, writer.whole(&[op.axis as i64])];
    let output = writer.output(&op.out);
    writer.node(kind, inputs, output, vec![Attribute::int("keepdims", 1)]);
    Ok(())
}

fn cast(writer: &mut Writer, step: &Step, op: &CastOpIr) -> Result<()> {
    let input = writer.input(step, &op.input)?;
    let output = writer.output(&op.out);
    let to = Attribute::int("to", element_of(op.out.dtype));
    writer.node("Cast", vec![input], output, vec![to]);
    Ok(())
}

/// A scalar that a layer's settings hold, as a float.
pub(super) fn value(scalar: ScalarIr) -> f32 {
    scalar.elem::<f32>()
}
