//! Activations.

use burn::backend::ir::{ActivationOperationIr, OperationIr};

use super::numeric::value;
use super::{Step, Writer};
use crate::error::Result;
use crate::export::proto::Attribute;

pub(super) fn lower(writer: &mut Writer, step: &Step) -> Result<()> {
    use ActivationOperationIr as Act;
    let OperationIr::Activation(operation) = step.operations[0] else {
        return Err(step.unknown());
    };
    let (kind, input, out, attributes) = match operation {
        Act::Relu(op) => ("Relu", &op.input, &op.out, Vec::new()),
        Act::Sigmoid(op) => ("Sigmoid", &op.input, &op.out, Vec::new()),
        Act::LeakyRelu(op) => {
            ("LeakyRelu", &op.lhs, &op.out, vec![Attribute::float("alpha", value(op.rhs))])
        }
        Act::HardSigmoid(op) => {
            let slope = Attribute::float("alpha", value(op.alpha));
            let offset = Attribute::float("beta", value(op.beta));
            ("HardSigmoid", &op.tensor, &op.out, vec![slope, offset])
        }
        Act::Softmax(op) => {
            ("Softmax", &op.input, &op.out, vec![Attribute::int("axis", op.axis as i64)])
        }
        Act::LogSoftmax(op) => {
            ("LogSoftmax", &op.input, &op.out, vec![Attribute::int("axis", op.axis as i64)])
        }
        Act::Gelu(op) => {
            // x (1 + erf(x / sqrt(2))) / 2
            let x = writer.input(step, &op.input)?;
            let (root, one, half) = (
                writer.float(std::f32::consts::FRAC_1_SQRT_2),
                writer.float(1.0),
                writer.float(0.5),
            );
            let scaled = writer.inner("Mul", vec![x.clone(), root], Vec::new());
            let erf = writer.inner("Erf", vec![scaled], Vec::new());
            let shifted = writer.inner("Add", vec![erf, one], Vec::new());
            let halved = writer.inner("Mul", vec![shifted, half], Vec::new());
            let output = writer.output(&op.out);
            writer.node("Mul", vec![x, halved], output, Vec::new());
            return Ok(());
        }
        _ => return Err(step.unknown()),
    };
    let inputs = vec![writer.input(step, input)?];
    let output = writer.output(out);
    writer.node(kind, inputs, output, attributes);
    Ok(())
}
