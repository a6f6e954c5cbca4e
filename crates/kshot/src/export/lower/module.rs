//! Convolutions, pools, resizing, normalisation and attention.

use burn::backend::ir::{
    AdaptiveAvgPool2dOpIr, AttentionOpIr, AvgPool2dOpIr, Conv2dOpIr, ConvTranspose2dOpIr,
    InterpolateModeIr, InterpolateOpIr, ModuleOperationIr, OperationIr, TensorIr,
};

use super::numeric::value;
use super::{Step, Writer, each, fixed};
use crate::error::Result;
use crate::export::proto::Attribute;

pub(super) fn lower(writer: &mut Writer, step: &Step) -> Result<()> {
    use ModuleOperationIr as Layer;
    let all = each!(step.operations, OperationIr::Module(layer) => layer);
    match all[0] {
        Layer::Conv2d(op) => {
            let pads = each!(all, Layer::Conv2d(op) => op.options.padding);
            convolution(writer, step, op, &pads)
        }
        Layer::ConvTranspose2d(op) => transposed(writer, step, op),
        Layer::Interpolate(op) => resize(writer, step, op),
        Layer::AvgPool2d(op) => {
            let kernels = each!(all, Layer::AvgPool2d(op) => op.kernel_size);
            average(writer, step, op, &kernels)
        }
        Layer::AdaptiveAvgPool2d(op) => adaptive(writer, step, op),
        Layer::MaxPool2d(op) => {
            let input = writer.input(step, &op.x)?;
            let output = writer.output(&op.out);
            // Where no window reaches over the border both are the same, and networks choose the faster.
            let ceil = each!(all, Layer::MaxPool2d(op) => op.ceil_mode).contains(&true);
            let mut attributes = window(op.kernel_size, op.stride, op.padding, ceil);
            attributes.push(Attribute::ints("dilations", op.dilation));
            writer.node("MaxPool", vec![input], output, attributes);
            Ok(())
        }
        Layer::MaxPool2dWithIndices(op) => {
            let rows = step.lengths(&op.x);
            let input = writer.input(step, &op.x)?;
            let output = writer.output(&op.out);
            let ceil = each!(all, Layer::MaxPool2dWithIndices(op) => op.ceil_mode).contains(&true);
            let mut attributes = window(op.kernel_size, op.stride, op.padding, ceil);
            attributes.push(Attribute::ints("dilations", op.dilation));
            let all_planes = writer.pool_with_places(input, output, attributes);
            // ONNX counts places over all pictures and channels, Burn within a plane.
            let [height, width] = [2, 3].map(|axis| writer.numbers(&rows[axis..=axis]));
            let area = writer.inner("Mul", vec![height?, width?], Vec::new());
            let indices = writer.output(&op.out_indices);
            writer.node("Mod", vec![all_planes, area], indices, Vec::new());
            Ok(())
        }
        Layer::BatchNorm(op) => {
            let inputs =
                writer.inputs(step, &[&op.x, &op.gamma, &op.beta, &op.mean, &op.variance])?;
            let output = writer.output(&op.out);
            let epsilon = Attribute::float("epsilon", value(op.epsilon));
            writer.node("BatchNormalization", inputs, output, vec![epsilon]);
            Ok(())
        }
        Layer::Linear(op) => {
            let inputs = writer.inputs(step, &[&op.x, &op.weight])?;
            match &op.bias {
                Some(bias) => {
                    let product = writer.inner("MatMul", inputs, Vec::new());
                    let bias = writer.input(step, bias)?;
                    let output = writer.output(&op.out);
                    writer.node("Add", vec![product, bias], output, Vec::new());
                }
                None => {
                    let output = writer.output(&op.out);
                    writer.node("MatMul", inputs, output, Vec::new());
                }
            }
            Ok(())
        }
        Layer::LayerNorm(op) => {
            let mut tensors = vec![&op.input, &op.gamma];
            tensors.extend(&op.beta);
            let inputs = writer.inputs(step, &tensors)?;
            let output = writer.output(&op.out);
            let attributes =
                vec![Attribute::int("axis", -1), Attribute::float("epsilon", value(op.epsilon))];
            writer.node("LayerNormalization", inputs, output, attributes);
            Ok(())
        }
        Layer::Attention(op) => attention(writer, step, op),
        _ => Err(step.unknown()),
    }
}

/// The settings of a pool.
fn window(kernel: [usize; 2], stride: [usize; 2], pads: [usize; 2], ceil: bool) -> Vec<Attribute> {
    vec![
        Attribute::ints("kernel_shape", kernel),
        Attribute::ints("strides", stride),
        Attribute::ints("pads", [pads, pads].concat()),
        Attribute::int("ceil_mode", i64::from(ceil)),
    ]
}

/// Inputs of a layer with a bias where it has one.
fn with_bias(
    writer: &mut Writer,
    step: &Step,
    tensors: [&TensorIr; 2],
    bias: Option<&TensorIr>,
) -> Result<Vec<String>> {
    let mut all = tensors.to_vec();
    all.extend(bias);
    writer.inputs(step, &all)
}

fn convolution(
    writer: &mut Writer,
    step: &Step,
    op: &Conv2dOpIr,
    pads: &[[(usize, usize); 2]],
) -> Result<()> {
    let inputs = with_bias(writer, step, [&op.x, &op.weight], op.bias.as_ref())?;
    let mut attributes = vec![
        Attribute::ints("strides", op.options.stride),
        Attribute::ints("dilations", op.options.dilation),
        Attribute::int("group", op.options.groups as i64),
    ];
    // Pads that follow from the size are those of TensorFlow's SAME.
    let same = (0..pads.len()).all(|recording| {
        (0..2).all(|axis| {
            let length = step.lengths(&op.x)[axis + 2][recording] as usize;
            let kernel = op.weight.shape[axis + 2];
            let (stride, dilation) = (op.options.stride[axis], op.options.dilation[axis]);
            let padding = crate::nn::Padding::Same;
            padding.amounts(length, kernel, stride, dilation) == pads[recording][axis]
        })
    });
    if same && pads.windows(2).any(|pair| pair[0] != pair[1]) {
        attributes.push(Attribute::word("auto_pad", "SAME_UPPER"));
    } else {
        let [(top, bottom), (left, right)] = fixed(pads.to_vec())?;
        attributes.push(Attribute::ints("pads", [top, left, bottom, right]));
    }
    let output = writer.output(&op.out);
    writer.node("Conv", inputs, output, attributes);
    Ok(())
}

fn transposed(writer: &mut Writer, step: &Step, op: &ConvTranspose2dOpIr) -> Result<()> {
    let inputs = with_bias(writer, step, [&op.x, &op.weight], op.bias.as_ref())?;
    let output = writer.output(&op.out);
    let options = &op.options;
    let attributes = vec![
        Attribute::ints("strides", options.stride),
        Attribute::ints("dilations", options.dilation),
        Attribute::int("group", options.groups as i64),
        Attribute::ints("pads", [options.padding, options.padding].concat()),
        Attribute::ints("output_padding", options.padding_out),
    ];
    writer.node("ConvTranspose", inputs, output, attributes);
    Ok(())
}

fn resize(writer: &mut Writer, step: &Step, op: &InterpolateOpIr) -> Result<()> {
    let (mode, nearest) = match op.options.mode {
        InterpolateModeIr::Nearest | InterpolateModeIr::NearestExact => ("nearest", true),
        InterpolateModeIr::Bilinear => ("linear", false),
        InterpolateModeIr::Bicubic => ("cubic", false),
        InterpolateModeIr::Lanczos3 => return Err(step.unknown()),
    };
    let places = match op.options.mode {
        InterpolateModeIr::Nearest => "asymmetric",
        _ if op.options.align_corners => "align_corners",
        _ => "half_pixel",
    };
    let sizes = writer.numbers(&step.lengths(&op.out))?;
    let input = writer.input(step, &op.x)?;
    let output = writer.output(&op.out);
    let mut attributes = vec![
        Attribute::word("mode", mode),
        Attribute::word("coordinate_transformation_mode", places),
    ];
    if nearest {
        let rounding = if places == "asymmetric" { "floor" } else { "round_prefer_ceil" };
        attributes.push(Attribute::word("nearest_mode", rounding));
    }
    if mode == "cubic" {
        attributes.push(Attribute::float("cubic_coeff_a", -0.75));
    }
    writer.node("Resize", vec![input, String::new(), String::new(), sizes], output, attributes);
    Ok(())
}

fn average(
    writer: &mut Writer,
    step: &Step,
    op: &AvgPool2dOpIr,
    kernels: &[[usize; 2]],
) -> Result<()> {
    let lengths = step.lengths(&op.x);
    let whole = kernels.iter().enumerate().all(|(recording, kernel)| {
        (0..2).all(|axis| lengths[axis + 2][recording] == kernel[axis] as i64)
    });
    let input = writer.input(step, &op.x)?;
    if whole && op.padding == [0, 0] {
        let output = writer.output(&op.out);
        writer.node("GlobalAveragePool", vec![input], output, Vec::new());
        return Ok(());
    }
    let kernel = fixed(kernels.to_vec())?;
    let mut attributes = window(kernel, op.stride, op.padding, op.ceil_mode);
    attributes.push(Attribute::int("count_include_pad", i64::from(op.count_include_pad)));
    let output = writer.output(&op.out);
    writer.node("AveragePool", vec![input], output, attributes);
    Ok(())
}

/// Means over cells of a grid, whose bounds follow from the picture's size: along one axis after the other, from
/// running sums at the cells' ends.
fn adaptive(writer: &mut Writer, step: &Step, op: &AdaptiveAvgPool2dOpIr) -> Result<()> {
    let lengths = step.lengths(&op.x);
    let mut means = writer.input(step, &op.x)?;
    if op.output_size == [1, 1] {
        let output = writer.output(&op.out);
        writer.node("GlobalAveragePool", vec![means], output, Vec::new());
        return Ok(());
    }
    for axis in 0..2 {
        let cells = op.output_size[axis] as i64;
        let place = axis as i64 + 2;
        let length = writer.numbers(&lengths[axis + 2..axis + 3])?;
        let count = writer.whole(&[cells]);
        let starts = writer.whole(&(0..cells).collect::<Vec<i64>>());
        let ends = writer.whole(&(1..=cells).collect::<Vec<i64>>());
        let rounding = writer.whole(&[cells - 1]);
        // From floor(i n / cells) to ceil((i + 1) n / cells).
        let from = writer.inner("Mul", vec![starts, length.clone()], Vec::new());
        let from = writer.inner("Div", vec![from, count.clone()], Vec::new());
        let to = writer.inner("Mul", vec![ends, length], Vec::new());
        let to = writer.inner("Add", vec![to, rounding], Vec::new());
        let to = writer.inner("Div", vec![to, count], Vec::new());
        // Running sums, with 0 before the first.
        let mut pads = [0; 8];
        pads[axis + 2] = 1;
        let pads = writer.whole(&pads);
        let padded =
            writer.inner("Pad", vec![means, pads], vec![Attribute::word("mode", "constant")]);
        let along = writer.whole(&[place]);
        let along_axis = writer.inner("Squeeze", vec![along], Vec::new());
        let sums = writer.inner("CumSum", vec![padded, along_axis], Vec::new());
        let gather = |writer: &mut Writer, at: String| {
            writer.inner("Gather", vec![sums.clone(), at], vec![Attribute::int("axis", place)])
        };
        let upper = gather(writer, to.clone());
        let lower = gather(writer, from.clone());
        let sum = writer.inner("Sub", vec![upper, lower], Vec::new());
        let width = writer.inner("Sub", vec![to, from], Vec::new());
        let width = writer.inner("Cast", vec![width], vec![Attribute::int("to", 1)]);
        let shape = writer.whole(if axis == 0 { &[-1, 1] } else { &[1, -1] });
        let width = writer.inner("Reshape", vec![width, shape], Vec::new());
        means = if axis == 0 {
            writer.inner("Div", vec![sum, width], Vec::new())
        } else {
            let output = writer.output(&op.out);
            writer.node("Div", vec![sum, width], output.clone(), Vec::new());
            output
        };
    }
    Ok(())
}

/// softmax(q k^T scale + bias) v
fn attention(writer: &mut Writer, step: &Step, op: &AttentionOpIr) -> Result<()> {
    if op.mask.is_some() || op.options.softcap.is_some() || op.options.is_causal {
        return Err(step.unknown());
    }
    let [query, key, values] = [&op.query, &op.key, &op.value].map(|of| writer.input(step, of));
    let (query, key, values) = (query?, key?, values?);
    let depth = op.query.shape[3] as f32;
    let scale = op.options.scale.map_or(1.0 / depth.sqrt(), value);
    let scale = writer.float(scale);
    let flipped = Attribute::ints("perm", [0, 1, 3, 2]);
    let key = writer.inner("Transpose", vec![key], vec![flipped]);
    let scores = writer.inner("MatMul", vec![query, key], Vec::new());
    let mut scores = writer.inner("Mul", vec![scores, scale], Vec::new());
    if let Some(bias) = &op.attn_bias {
        let bias = writer.input(step, bias)?;
        scores = writer.inner("Add", vec![scores, bias], Vec::new());
    }
    let shares = writer.inner("Softmax", vec![scores], vec![Attribute::int("axis", -1)]);
    let output = writer.output(&op.out);
    writer.node("MatMul", vec![shares, values], output, Vec::new());
    Ok(())
}
