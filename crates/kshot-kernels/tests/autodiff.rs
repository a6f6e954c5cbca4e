//! The operations as Burn sees them: values and gradients against Burn's own and finite differences.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use burn::nn::{BatchNorm, BatchNormConfig};
use burn::tensor::activation::relu;
use burn::tensor::ops::{AvgPoolOptions, ConvOptions, ConvTransposeOptions, MaxPoolOptions};
use burn::tensor::{Device, Distribution, Tensor, TensorData};
use kshot_kernels::{
    Activation, add_activated, avg_pool2d, batch_norm_layer, bilinear, conv_transpose2d, conv2d,
    conv2d_activated, cross_entropy2d, gelu, layer_norm2d, log_softmax2d, max_pool2d, max_unpool2d,
    softmax2d,
};

fn random<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::random(shape, Distribution::Uniform(-1.0, 1.0), device)
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().unwrap()
}

fn same<const D: usize>(ours: Tensor<D>, theirs: Tensor<D>, what: &str) {
    assert_eq!(ours.dims(), theirs.dims(), "{what}");
    let scale: f32 = theirs.clone().abs().max().into_scalar();
    let difference: f32 = (ours - theirs).abs().max().into_scalar();
    assert!(difference <= 1e-5 * scale.max(1.0), "{what} differs by {difference} of {scale}");
}

type Conv = fn(Tensor<4>, Tensor<4>, Option<Tensor<1>>, ConvOptions<2>) -> Tensor<4>;

fn burns(
    images: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    options: ConvOptions<2>,
) -> Tensor<4> {
    burn::tensor::module::conv2d(images, weight, bias, options)
}

/// Result and the gradients of a weighted sum of it.
fn run(
    conv: Conv,
    [images, weight]: [&Tensor<4>; 2],
    bias: Option<&Tensor<1>>,
    options: &ConvOptions<2>,
) -> (Tensor<4>, Tensor<4>, Tensor<4>, Option<Tensor<1>>) {
    let leaf = |tensor: &Tensor<4>| tensor.clone().require_grad();
    let (images, weight) = (leaf(images), leaf(weight));
    let bias = bias.map(|bias| bias.clone().require_grad());
    let result = conv(images.clone(), weight.clone(), bias.clone(), options.clone());
    let factors = Tensor::arange(0..result.shape().num_elements() as i64, &result.device())
        .float()
        .sin()
        .reshape(result.shape());
    let gradients = (result.clone() * factors).sum().backward();
    (
        result.inner(),
        images.grad(&gradients).unwrap(),
        weight.grad(&gradients).unwrap(),
        bias.map(|bias| bias.grad(&gradients).unwrap()),
    )
}

#[test]
fn values_and_gradients_are_burns() {
    let device = Device::flex().autodiff();
    device.seed(1);
    for (images, weight, stride, pad, dilation, groups, biased) in [
        ([2, 5, 9, 8], [6, 5, 3, 3], 1, 1, 1, 1, true),
        ([2, 5, 9, 8], [6, 5, 3, 3], 2, 1, 1, 1, false),
        ([3, 4, 7, 7], [8, 4, 1, 1], 1, 0, 1, 1, true),
        ([2, 6, 12, 9], [6, 1, 5, 5], 2, 2, 1, 6, true),
        ([2, 6, 12, 9], [6, 1, 3, 3], 1, 2, 2, 6, false),
        ([2, 6, 12, 9], [4, 3, 3, 3], 1, 2, 2, 2, true),
    ] {
        let (images, weight) = (random(images, &device), random(weight, &device));
        let bias = biased.then(|| random([weight.dims()[0]], &device));
        let options = ConvOptions::new([stride; 2], [pad; 2], [dilation; 2], groups);
        let ours = run(conv2d, [&images, &weight], bias.as_ref(), &options);
        let theirs = run(burns, [&images, &weight], bias.as_ref(), &options);
        same(ours.0, theirs.0, "result");
        same(ours.1, theirs.1, "images' gradient");
        same(ours.2, theirs.2, "weight's gradient");
        if let (Some(ours), Some(theirs)) = (ours.3, theirs.3) {
            same(ours, theirs, "bias's gradient");
        }
    }
}

#[test]
fn activations_in_the_same_pass_are_those_after_it() {
    let device = Device::flex().autodiff();
    device.seed(10);
    for (images, weight, groups) in [
        ([2, 17, 9, 8], [16, 17, 3, 3], 1),
        ([2, 6, 12, 9], [6, 1, 3, 3], 6),
        ([1, 3, 7, 7], [8, 3, 1, 1], 1),
    ] {
        let (images, weight) = (random(images, &device), random(weight, &device) * 3.0);
        let bias = random([weight.dims()[0]], &device);
        let weight = Tensor::from_inner(weight.inner());
        let options = ConvOptions::new([1, 1], [1, 1], [1, 1], groups);
        for activation in [Activation::Relu, Activation::Relu6] {
            let run = |together: bool| {
                let leaves = [images.clone(), weight.clone()].map(Tensor::require_grad);
                let [images, weight] = leaves.clone();
                let bias = bias.clone().require_grad();
                let options = options.clone();
                let result = if together {
                    conv2d_activated(images, weight, Some(bias.clone()), options, activation)
                } else {
                    let plain = conv2d(images, weight, Some(bias.clone()), options);
                    match activation {
                        Activation::Relu6 => plain.clamp(0.0, 6.0),
                        _ => relu(plain),
                    }
                };
                let gradients = (result.clone() * result.clone().sin()).sum().backward();
                let [images, weight] = leaves.map(|leaf| leaf.grad(&gradients).unwrap());
                (result.inner(), images, weight, bias.grad(&gradients).unwrap())
            };
            let (one, two) = (run(true), run(false));
            same(one.0, two.0, "result");
            same(one.1, two.1, "images' gradient");
            same(one.2, two.2, "weight's gradient");
            same(one.3, two.3, "bias's gradient");
        }
    }
}

#[test]
fn transposed_convolution_is_burns() {
    type Transposed =
        fn(Tensor<4>, Tensor<4>, Option<Tensor<1>>, ConvTransposeOptions<2>) -> Tensor<4>;
    let device = Device::flex().autodiff();
    device.seed(7);
    for (images, weight, stride, pad, more, dilation, groups) in [
        ([2, 6, 5, 4], [6, 3, 2, 2], 2, 0, 0, 1, 1),
        ([1, 17, 7, 5], [17, 16, 3, 3], 1, 1, 0, 1, 1),
        ([2, 5, 4, 6], [5, 4, 3, 3], 2, 1, 1, 1, 1),
        ([2, 6, 5, 5], [6, 2, 3, 3], 3, 0, 2, 2, 2),
        ([1, 4, 3, 1], [4, 1, 5, 5], 2, 1, 0, 1, 4),
    ] {
        let (images, weight) = (random(images, &device), random(weight, &device));
        let bias = random([weight.dims()[1] * groups], &device);
        let options =
            ConvTransposeOptions::new([stride; 2], [pad; 2], [more; 2], [dilation; 2], groups);
        let run = |conv: Transposed| {
            let leaves = [images.clone(), weight.clone()].map(Tensor::require_grad);
            let [images, weight] = leaves.clone();
            let bias = bias.clone().require_grad();
            let result = conv(images, weight, Some(bias.clone()), options.clone());
            let gradients = (result.clone() * result.clone().sin()).sum().backward();
            let [images, weight] = leaves.map(|leaf| leaf.grad(&gradients).unwrap());
            (result.inner(), images, weight, bias.grad(&gradients).unwrap())
        };
        let (ours, theirs) = (run(conv_transpose2d), run(burn::tensor::module::conv_transpose2d));
        same(ours.0, theirs.0, "result");
        same(ours.1, theirs.1, "images' gradient");
        same(ours.2, theirs.2, "weight's gradient");
        same(ours.3, theirs.3, "bias's gradient");
    }
}

#[test]
fn gradients_are_finite_differences() {
    let device = Device::flex().autodiff();
    device.seed(2);
    let (images, weight) = (random([2, 3, 7, 6], &device), random([4, 3, 3, 3], &device));
    let options = ConvOptions::new_with_padding([2, 1], [(1, 0), (2, 1)], [1, 2], 1);
    // Quadratic in the result, hence in each operand: central differences are exact but for rounding.
    let loss = |images: Tensor<4>, weight: Tensor<4>| {
        conv2d(images, weight, None, options.clone()).powi_scalar(2).sum()
    };
    let leaves = (images.clone().require_grad(), weight.clone().require_grad());
    let gradients = loss(leaves.0.clone(), leaves.1.clone()).backward();
    let gradients = [leaves.0.grad(&gradients), leaves.1.grad(&gradients)].map(Option::unwrap);
    for (which, gradient) in gradients.into_iter().enumerate() {
        let shape = gradient.dims();
        let gradient = values(gradient);
        for index in (0..gradient.len()).step_by(7) {
            let moved = |by: f32| {
                let mut step = vec![0.0f32; gradient.len()];
                step[index] = by;
                let step = Tensor::<4>::from_data(TensorData::new(step, shape), &device);
                let loss: f32 = match which {
                    0 => loss(images.clone() + step, weight.clone()).into_scalar(),
                    _ => loss(images.clone(), weight.clone() + step).into_scalar(),
                };
                f64::from(loss)
            };
            let expected = (moved(0.25) - moved(-0.25)) / 0.5;
            let far = (f64::from(gradient[index]) - expected).abs();
            assert!(far < 2e-3 * expected.abs().max(1.0), "{far} of {expected} at {index}");
        }
    }
}

#[test]
fn only_what_is_trained_gets_a_gradient() {
    let device = Device::flex().autodiff();
    let (images, weight) = (random([1, 3, 8, 8], &device), random([4, 3, 3, 3], &device));
    let options = ConvOptions::new([1, 1], [1, 1], [1, 1], 1);
    let leaf = weight.clone().require_grad();
    let result = conv2d(images.clone(), leaf.clone(), None, options.clone());
    let gradients = result.sum().backward();
    assert!(images.grad(&gradients).is_none() && leaf.grad(&gradients).is_some());
    let leaf = images.clone().require_grad();
    let gradients = conv2d(leaf.clone(), weight.clone(), None, options).sum().backward();
    assert!(weight.grad(&gradients).is_none() && leaf.grad(&gradients).is_some());
}

#[test]
fn views_and_plain_images_with_trained_weights_work() {
    let plain = Device::flex();
    let training = plain.clone().autodiff();
    let options = ConvOptions::new([1, 1], [1, 1], [1, 1], 1);
    let images: Tensor<4> = random([2, 8, 7, 5], &plain);
    let view = images.clone().slice([1..2, 2..5]).swap_dims(2, 3);
    let weight: Tensor<4> = random([6, 3, 3, 3], &training).require_grad();
    let expected = conv2d(view.clone() * 1.0, weight.clone().inner(), None, options.clone());
    let result = conv2d(view, weight.clone(), None, options);
    same(result.clone().inner(), expected, "a view");
    assert!(weight.grad(&result.sum().backward()).is_some());
}

#[test]
fn sums_with_an_activation_are_burns() {
    let device = Device::flex().autodiff();
    let leaf = || (random([2, 5, 9, 7], &device) * 8.0).detach().require_grad();
    let (a, b, factors) = (leaf(), leaf(), random([2, 5, 9, 7], &device));
    for (activation, bounds) in [
        (Activation::Identity, None),
        (Activation::Relu, Some([0.0, f32::MAX])),
        (Activation::Relu6, Some([0.0, 6.0])),
    ] {
        let ours = add_activated(a.clone(), b.clone(), activation);
        let theirs = a.clone() + b.clone();
        let theirs = match bounds {
            Some([low, high]) => theirs.clamp(low, high),
            None => theirs,
        };
        same(ours.clone().inner(), theirs.clone().inner(), "sum");
        let gradients = [ours, theirs].map(|result| (result * factors.clone()).sum().backward());
        for of in [&a, &b] {
            let [ours, theirs] = gradients.each_ref().map(|found| of.grad(found).unwrap());
            same(ours, theirs, "gradient of a sum");
        }
        // In place where it may be, and never where the operand is still needed.
        let before = values(a.clone().inner());
        let again = add_activated(a.clone().inner(), b.clone().inner() * 1.0, activation);
        same(again, add_activated(a.clone().inner() * 1.0, b.clone().inner(), activation), "order");
        assert_eq!(values(a.clone().inner()), before);
        // An operand added to itself.
        let twice = add_activated(a.clone().inner(), a.clone().inner(), Activation::Identity);
        same(twice, a.clone().inner() * 2.0, "twice");
    }
}

#[test]
fn scaled_kernels_are_burns() {
    let device = Device::flex().autodiff();
    for shape in [[3, 1, 1, 1], [5, 7, 3, 3], [130, 40, 1, 1]] {
        let weight = random(shape, &device).require_grad();
        let scale = random([shape[0]], &device).require_grad();
        let factors = random(shape, &device);
        let ours = kshot_kernels::scale_kernels(weight.clone(), scale.clone());
        let theirs = weight.clone() * scale.clone().reshape([shape[0], 1, 1, 1]);
        same(ours.clone().inner(), theirs.clone().inner(), "scaled");
        let gradients = [ours, theirs].map(|result| (result * factors.clone()).sum().backward());
        let [a, b] = gradients.each_ref().map(|found| weight.grad(found).unwrap());
        same(a, b, "gradient of the weight");
        let [a, b] = gradients.each_ref().map(|found| scale.grad(found).unwrap());
        same(a, b, "gradient of the factors");
    }
}

#[test]
fn batch_norm_is_burns() {
    let device = Device::flex().autodiff();
    device.seed(4);
    let run = |norm: &dyn Fn(&BatchNorm, Tensor<4>) -> Tensor<4>, images: &Tensor<4>| {
        let mut layer = BatchNormConfig::new(5).with_epsilon(1e-3).init(&device);
        let gamma = Tensor::<1>::from_floats([0.5, -1.0, 2.0, 1.0, 0.1], &device).require_grad();
        let beta = Tensor::<1>::from_floats([0.1, 0.2, -0.3, 0.0, 4.0], &device).require_grad();
        layer.gamma = burn::module::Param::from_tensor(gamma);
        layer.beta = burn::module::Param::from_tensor(beta);
        let leaf = images.clone().require_grad();
        let result = norm(&layer, leaf.clone());
        let gradients = (result.clone() * result.clone().sin()).sum().backward();
        (
            result.inner(),
            leaf.grad(&gradients).unwrap(),
            layer.gamma.val().grad(&gradients).unwrap(),
            layer.beta.val().grad(&gradients).unwrap(),
            layer.running_mean.value_sync().inner(),
            layer.running_var.value_sync().inner(),
        )
    };
    for shape in [[3, 5, 9, 7], [4, 5, 3, 3], [6, 5, 1, 1]] {
        let images: Tensor<4> = random(shape, &device) * 2.0 + 1.0;
        let images = Tensor::from_inner(images.inner());
        type Burns = fn(Tensor<4>) -> Tensor<4>;
        let cases: [(Activation, Burns); 3] = [
            (Activation::Identity, |images| images),
            (Activation::Relu, relu),
            (Activation::Relu6, |images| images.clamp(0.0, 6.0)),
        ];
        for (activation, burns) in cases {
            let ours = run(&|layer, images| batch_norm_layer(layer, images, activation), &images);
            let theirs = run(&|layer, images| burns(layer.forward(images)), &images);
            same(ours.0, theirs.0, "result");
            same(ours.1, theirs.1, "images' gradient");
            same(ours.2, theirs.2, "gamma's gradient");
            same(ours.3, theirs.3, "beta's gradient");
            same(ours.4, theirs.4, "running mean");
            same(ours.5, theirs.5, "running variance");
        }
    }
}

#[test]
fn pooling_is_burns() {
    let device = Device::flex().autodiff();
    device.seed(5);
    let plain = MaxPoolOptions::new([2, 2]);
    let padded = MaxPoolOptions::new([3, 3]).with_stride([2, 2]).with_padding([1, 1]);
    let dense = padded.clone().with_stride([1, 1]);
    let ceiled = plain.clone().with_ceil_mode(true);
    let uneven = MaxPoolOptions::new([2, 3]).with_stride([1, 2]);
    let all = [plain, padded, dense, ceiled, uneven];
    let shapes = [[2, 3, 8, 8], [2, 3, 7, 5], [1, 2, 3, 3]];
    for (shape, options) in shapes.into_iter().flat_map(|shape| all.iter().map(move |o| (shape, o)))
    {
        let images: Tensor<4> = random(shape, &device);
        let run = |pool: fn(Tensor<4>, MaxPoolOptions<2>) -> Tensor<4>| {
            let leaf = images.clone().require_grad();
            let result = pool(leaf.clone(), options.clone());
            let gradients = (result.clone() * result.clone()).sum().backward();
            (result.inner(), leaf.grad(&gradients).unwrap())
        };
        let (ours, theirs) = (run(max_pool2d), run(burn::tensor::module::max_pool2d));
        same(ours.0, theirs.0, "result");
        same(ours.1, theirs.1, "gradient");
    }
}

/// Against Burn's indices and scatter: values, and their gradient.
#[test]
fn unpooling_is_burns() {
    let device = Device::flex().autodiff();
    device.seed(8);
    let plain = MaxPoolOptions::new([2, 2]).with_stride([2, 2]);
    let ceiled = plain.clone().with_ceil_mode(true);
    let padded = MaxPoolOptions::new([3, 3]).with_stride([3, 3]).with_padding([1, 1]);
    // By Burn's operations, as on other devices.
    let holes = plain.clone().with_dilation([2, 2]);
    for (shape, options) in [[2, 3, 8, 6], [1, 2, 7, 5]].into_iter().flat_map(|shape| {
        [&plain, &ceiled, &padded, &holes].map(|options| (shape, options.clone()))
    }) {
        let images: Tensor<4> = random(shape, &device);
        let pooled = max_pool2d(images.clone(), options.clone());
        let factors = random(shape, &device);
        let leaf = random(pooled.dims(), &device).require_grad();
        let ours = max_unpool2d(leaf.clone(), images.clone(), options.clone());
        let gradients = (ours.clone() * factors.clone()).sum().backward();
        let (_, places) = burn::tensor::module::max_pool2d_with_indices(images.inner(), options);
        let [batch, channels, height, width] = shape;
        let [.., rows, columns] = pooled.dims();
        let flat = [batch, channels, rows * columns];
        let places = places.reshape(flat);
        let zeros =
            Tensor::<3>::zeros([batch, channels, height * width], &ours.clone().inner().device());
        let values = leaf.clone().inner().reshape(flat);
        let theirs = zeros.scatter(2, places.clone(), values, burn::tensor::IndexingUpdateOp::Add);
        same(ours.inner(), theirs.reshape(shape), "result");
        let picked = factors.inner().reshape([batch, channels, height * width]).gather(2, places);
        same(leaf.grad(&gradients).unwrap(), picked.reshape(pooled.dims()), "gradient");
    }
}

#[test]
fn average_pooling_is_burns() {
    let device = Device::flex().autodiff();
    device.seed(7);
    let plain = AvgPoolOptions::new([2, 2]);
    let padded = AvgPoolOptions::new([3, 3]).with_stride([2, 2]).with_padding([1, 1]);
    let without = padded.clone().with_count_include_pad(false);
    let ceiled = padded.clone().with_ceil_mode(true);
    let both = without.clone().with_ceil_mode(true);
    let uneven = AvgPoolOptions::new([2, 3]).with_stride([1, 2]);
    let all = [plain, padded, without, ceiled, both, uneven];
    let shapes = [[2, 3, 8, 8], [2, 3, 7, 5], [1, 2, 3, 3]];
    for (shape, options) in shapes.into_iter().flat_map(|shape| all.iter().map(move |o| (shape, o)))
    {
        let images: Tensor<4> = random(shape, &device);
        let run = |pool: fn(Tensor<4>, AvgPoolOptions<2>) -> Tensor<4>| {
            let leaf = images.clone().require_grad();
            let result = pool(leaf.clone(), options.clone());
            let gradients = (result.clone() * result.clone()).sum().backward();
            (result.inner(), leaf.grad(&gradients).unwrap())
        };
        let (ours, theirs) = (run(avg_pool2d), run(burn::tensor::module::avg_pool2d));
        same(ours.0, theirs.0, "result");
        same(ours.1, theirs.1, "gradient");
    }
}

#[test]
fn softmax_is_burns() {
    let device = Device::flex().autodiff();
    device.seed(6);
    let logits: Tensor<4> = random([2, 5, 19, 23], &device) * 4.0;
    let run = |softmax: &dyn Fn(Tensor<4>) -> Tensor<4>| {
        let leaf = Tensor::from_inner(logits.clone().inner()).require_grad();
        let result = softmax(leaf.clone());
        let gradients = (result.clone() * result.clone().sin()).sum().backward();
        (result.inner(), leaf.grad(&gradients).unwrap())
    };
    type Softmax = fn(Tensor<4>) -> Tensor<4>;
    let pairs: [(Softmax, Softmax); 2] = [
        (softmax2d, |logits| burn::tensor::activation::softmax(logits, 1)),
        (log_softmax2d, |logits| burn::tensor::activation::log_softmax(logits, 1)),
    ];
    for (ours, theirs) in pairs {
        let (ours, theirs) = (run(&ours), run(&theirs));
        same(ours.0, theirs.0, "result");
        same(ours.1, theirs.1, "gradient");
    }
}

#[test]
fn the_cross_entropy_skips_void_and_is_that_of_the_log_softmax() {
    let device = Device::flex().autodiff();
    device.seed(8);
    let logits: Tensor<4> = Tensor::from_inner((random([2, 3, 7, 50], &device) * 5.0).inner());
    let labels: Vec<i64> = (0..700).map(|i| [0, 1, 2, 255, -1, 1][i * 5 % 6]).collect();
    let labels =
        Tensor::<3, burn::tensor::Int>::from_data(TensorData::new(labels, [2, 7, 50]), &device);
    let leaves = [(); 2].map(|()| logits.clone().require_grad());
    let ours = cross_entropy2d(leaves[0].clone(), labels.clone());
    let masks: Vec<Tensor<4>> =
        (0..3).map(|class| labels.clone().equal_elem(class).float().unsqueeze_dim(1)).collect();
    let masks = Tensor::cat(masks, 1);
    let counted = masks.clone().sum();
    let theirs = burn::tensor::activation::log_softmax(leaves[1].clone(), 1) * masks;
    let theirs = theirs.sum().neg() / counted;
    same(ours.clone().inner(), theirs.clone().inner(), "loss");
    let [ours, theirs] = [(ours, &leaves[0]), (theirs, &leaves[1])]
        .map(|(loss, leaf)| leaf.grad(&(loss * 3.0).backward()).unwrap());
    let scale: f32 = theirs.clone().abs().max().into_scalar();
    same(ours / scale, theirs / scale, "gradient");
    // Without autodiff, labels from the other side.
    let plain = cross_entropy2d(logits.inner(), labels);
    assert!(plain.into_scalar::<f32>() > 0.5);
}

#[test]
fn resizing_is_burns() {
    let device = Device::flex().autodiff();
    device.seed(9);
    for (from, to) in [([5, 7], [20, 28]), ([9, 4], [3, 11]), ([6, 6], [13, 1])] {
        let images: Tensor<4> = random([2, 3, from[0], from[1]], &device);
        for align in [false, true] {
            let leaf = Tensor::from_inner(images.clone().inner()).require_grad();
            let result = bilinear(leaf.clone(), to, align);
            let options = burn::tensor::ops::InterpolateOptions::new(
                burn::tensor::ops::InterpolateMode::Bilinear,
            );
            let options = options.with_align_corners(align).with_output_size(to);
            let theirs = burn::tensor::module::interpolate(images.clone().inner(), options);
            same(result.clone().inner(), theirs, "result");
            // The gradient's definition is a property test of its own; here, that it arrives.
            let gradients = result.sum().backward();
            let total: f32 = leaf.grad(&gradients).unwrap().sum().into_scalar();
            assert!((total - (6 * to[0] * to[1]) as f32).abs() < 1e-2, "{total}");
        }
    }
}

#[test]
#[should_panic(expected = "conv2d: 3 channels to 6 in 2 groups do not fit")]
fn shapes_that_do_not_fit_are_refused() {
    let device = Device::flex();
    let options = ConvOptions::new([1, 1], [1, 1], [1, 1], 2);
    conv2d(random([2, 3, 7, 5], &device), random([6, 3, 3, 3], &device), None, options);
}

/// Of Burn's own operations, values and gradients.
#[test]
fn layer_norm_and_gelu_are_burns() {
    let device = Device::flex().autodiff();
    device.seed(12);
    for shape in [[2, 5, 1, 70], [1, 33, 9, 8], [3, 4, 1, 1]] {
        let [_, channels, ..] = shape;
        let images = random(shape, &device) * 3.0 + 1.0;
        let gamma: Tensor<1> = random([channels], &device) + 1.5;
        let beta: Tensor<1> = random([channels], &device);
        let factors = random(shape, &device);
        let run = |ours: bool| {
            let images = Tensor::from_inner(images.clone().inner()).require_grad();
            let [gamma, beta] = [&gamma, &beta]
                .map(|values| Tensor::<1>::from_inner(values.clone().inner()).require_grad());
            let result = if ours {
                gelu(layer_norm2d(images.clone(), gamma.clone(), beta.clone(), 1e-5))
            } else {
                let each = |values: &Tensor<1>| values.clone().reshape([1, channels, 1, 1]);
                let centred = images.clone() - images.clone().mean_dim(1);
                let variance = centred.clone().powi_scalar(2).mean_dim(1);
                let normal = centred * (variance + 1e-5).sqrt().recip();
                burn::tensor::activation::gelu(normal * each(&gamma) + each(&beta))
            };
            let gradients = (result.clone() * factors.clone()).sum().backward();
            let of = [&gamma, &beta].map(|values| values.grad(&gradients).unwrap());
            (result.inner(), images.grad(&gradients).unwrap(), of)
        };
        let ((result, of_images, [of_gamma, of_beta]), theirs) = (run(true), run(false));
        same(result, theirs.0, "result");
        same(of_images, theirs.1, "images' gradient");
        let [gamma, beta] = theirs.2;
        same(of_gamma, gamma, "gamma's gradient");
        same(of_beta, beta, "beta's gradient");
    }
}
