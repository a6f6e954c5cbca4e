//! The choice between fast and plain sums.

use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Distribution, Tensor};
use kshot_kernels::{Precision, conv2d};

#[test]
fn plain_sums_are_closer_to_the_exact_result() {
    let device = Device::flex();
    device.seed(3);
    let random =
        |shape: [usize; 4]| Tensor::<4>::random(shape, Distribution::Uniform(-1.0, 1.0), &device);
    let (images, weight) = (random([1, 64, 20, 20]), random([64, 64, 3, 3]));
    let options = ConvOptions::new([1, 1], [1, 1], [1, 1], 1);
    let wide = |tensor: &Tensor<4>| tensor.clone().cast(burn::tensor::DType::F64);
    let exact = burn::tensor::module::conv2d(wide(&images), wide(&weight), None, options.clone());
    let error = |precision: Precision| -> f64 {
        let found = precision.run(|| conv2d(images.clone(), weight.clone(), None, options.clone()));
        (wide(&found) - exact.clone()).abs().max().into_scalar::<f64>()
    };
    let [fast, plain] = [Precision::F32, Precision::Precise].map(error);
    assert!(plain < fast / 1.5, "{plain} is not much less than {fast}");
}
