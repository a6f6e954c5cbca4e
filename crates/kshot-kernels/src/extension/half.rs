//! Half precision where Burn's own operations convolve, on GPUs: images and weight are rounded, the result is of 32 bits
//! again. GPUs multiply such numbers many times as fast, and add up in 32 bits.

use burn::tensor::{DType, FloatDType, Tensor};

use crate::precision::Precision;

/// Runs a convolution in the precision at hand; a bias is added in 32 bits. Differentiable as the convolution is.
pub(super) fn halved(
    images: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    convolve: impl FnOnce(Tensor<4>, Tensor<4>, Option<Tensor<1>>) -> Tensor<4>,
) -> Tensor<4> {
    let half = match Precision::current() {
        Precision::F16 => FloatDType::F16,
        Precision::Bf16 => FloatDType::BF16,
        Precision::F32 | Precision::Precise => return convolve(images, weight, bias),
    };
    if images.dtype() != DType::F32 || weight.dtype() != DType::F32 {
        return convolve(images, weight, bias);
    }
    let result = convolve(images.cast(half), weight.cast(half), None).cast(FloatDType::F32);
    match bias {
        Some(bias) => {
            let [channels] = bias.dims();
            result + bias.reshape([1, channels, 1, 1])
        }
        None => result,
    }
}

#[cfg(test)]
mod tests {
    use burn::module::Param;
    use burn::tensor::ops::ConvOptions;
    use burn::tensor::{Device, Distribution};

    use super::*;

    #[test]
    fn half_precision_is_near_32_bits_in_value_and_gradient_and_not_the_same() {
        let device = Device::flex().autodiff();
        device.seed(3);
        let random = |shape| Tensor::<4>::random(shape, Distribution::Normal(0.0, 1.0), &device);
        let (images, weight) = (random([2, 3, 9, 9]), random([4, 3, 3, 3]));
        let bias = Tensor::<1>::from_floats([100.0, -1.0, 0.5, 0.0], &device);
        let run = |precision: Precision| {
            let weight = Param::from_tensor(Tensor::from_inner(weight.clone().inner())).val();
            let options = ConvOptions::new([1, 1], [1, 1], [1, 1], 1);
            let bias = Some(bias.clone());
            let result = precision.run(|| {
                halved(images.clone(), weight.clone(), bias, |images, weight, bias| {
                    burn::tensor::module::conv2d(images, weight, bias, options)
                })
            });
            let gradients = result.clone().square().mean().backward();
            [result.inner(), weight.grad(&gradients).unwrap()]
        };
        let exact = run(Precision::F32);
        for (precision, most) in [(Precision::F16, 4e-3), (Precision::Bf16, 3e-2)] {
            for (half, exact) in run(precision).into_iter().zip(&exact) {
                assert_eq!(half.dtype(), DType::F32);
                let size: f32 = exact.clone().abs().max().into_scalar();
                let apart: f32 = (half - exact.clone()).abs().max().into_scalar();
                assert!(apart > 0.0 && apart < most * size, "{precision:?}: {apart} of {size}");
            }
        }
    }
}
