//! Functions of each value as Burn sees them: values and gradients against Burn's own operations.

use burn::tensor::{Device, Distribution, Tensor, activation};
use kshot_kernels::{Pointwise, pointwise};

fn burns(values: Tensor<3>, function: Pointwise) -> Tensor<3> {
    let hard = |values: Tensor<3>| (values + 3.0).clamp(0.0, 6.0) / 6.0;
    match function {
        Pointwise::HardSigmoid => hard(values),
        Pointwise::HardSwish => values.clone() * hard(values),
        Pointwise::Sigmoid => activation::sigmoid(values),
        Pointwise::Silu => values.clone() * activation::sigmoid(values),
    }
}

#[test]
fn values_and_gradients_agree_with_burns() {
    let device = Device::flex().autodiff();
    device.seed(8);
    let close = |ours: Tensor<3>, theirs: Tensor<3>, what: &str| {
        let apart: f32 = (ours - theirs).abs().max().into_scalar();
        assert!(apart < 5e-6, "{what} differs by {apart}");
    };
    for function in
        [Pointwise::HardSigmoid, Pointwise::HardSwish, Pointwise::Sigmoid, Pointwise::Silu]
    {
        let values = Tensor::<3>::random([3, 5, 7], Distribution::Normal(0.0, 3.0), &device);
        // Not as they lie in memory, and needed by others, too.
        let values = values.swap_dims(0, 2).inner();
        let run = |of: fn(Tensor<3>, Pointwise) -> Tensor<3>| {
            let values = Tensor::from_inner(values.clone()).require_grad();
            let result = of(values.clone(), function);
            let factors = Tensor::arange(0..105, &device).float().sin().reshape([7, 5, 3]);
            let gradients = (result.clone() * factors + values.clone()).sum().backward();
            (result.inner(), values.grad(&gradients).unwrap())
        };
        let ((result, gradient), (expected, slope)) = (run(pointwise), run(burns));
        close(result, expected.clone(), &format!("{function:?}"));
        close(gradient, slope, &format!("the gradient of {function:?}"));
        // Without gradients, in the values' own place.
        close(pointwise(values.clone(), function), expected, &format!("{function:?} alone"));
        let again = pointwise(values.clone(), function);
        close(pointwise(values.clone(), function), again, &format!("{function:?} again"));
    }
}
