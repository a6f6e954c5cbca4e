//! Dual tensors: a value and, where there is one, its tangent (a directional derivative).
//!
//! Burn differentiates once. A Hessian times a vector is the gradient of a directional derivative, so
//! a network that is written on dual tensors gives second order by reverse over forward: tangents are
//! pushed forward through the network and the loss, then one ordinary `backward` is taken of the
//! loss's tangent. A dual without a tangent costs nothing beyond its value, so that every network is
//! written once, here, and used for both.
//!
//! ReLU and max pooling are piecewise linear: their second derivative is taken as zero, as everywhere.

use burn::prelude::*;
use burn::tensor::activation;
use burn::tensor::module::{batch_norm, max_pool2d_with_indices};
use burn::tensor::ops::{ConvOptions, MaxPoolOptions};
use kshot_kernels::{Activation, NormOptions, max_pool2d};

use crate::nn::conv::conv2d;
use crate::nn::global_average;
use crate::nn::weights::{constant, plain};

/// A tensor with its derivative along a direction of the parameters.
#[derive(Debug, Clone)]
pub struct Dual<const D: usize> {
    /// The value.
    pub value: Tensor<D>,
    /// The derivative of the value; none stands for zero.
    pub tangent: Option<Tensor<D>>,
}

impl<const D: usize> From<Tensor<D>> for Dual<D> {
    fn from(value: Tensor<D>) -> Self {
        Self { value, tangent: None }
    }
}

/// The sum of two tangents.
fn sum<const D: usize>(left: Option<Tensor<D>>, right: Option<Tensor<D>>) -> Option<Tensor<D>> {
    match (left, right) {
        (Some(left), Some(right)) => Some(left + right),
        (left, right) => left.or(right),
    }
}

impl<const D: usize> Dual<D> {
    /// A value with a direction.
    pub fn new(value: Tensor<D>, tangent: Tensor<D>) -> Self {
        Self { value, tangent: Some(tangent) }
    }

    /// The same linear map on both parts.
    pub fn linear<const E: usize>(self, map: impl Fn(Tensor<D>) -> Tensor<E>) -> Dual<E> {
        Dual { tangent: self.tangent.map(&map), value: map(self.value) }
    }

    /// Another shape.
    pub fn reshape<const E: usize>(self, shape: [usize; E]) -> Dual<E> {
        self.linear(|tensor| tensor.reshape(shape))
    }

    /// Rows along the first axis.
    pub fn rows(self, range: std::ops::Range<usize>) -> Self {
        self.linear(|tensor| tensor.narrow(0, range.start, range.len()))
    }

    /// The sum of two.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self { value: self.value + other.value, tangent: sum(self.tangent, other.tangent) }
    }

    /// The element-wise product (sizes of 1 are repeated).
    #[must_use]
    pub fn times(self, other: Self) -> Self {
        let left = self.tangent.map(|tangent| tangent * other.value.clone());
        let right = other.tangent.map(|tangent| self.value.clone() * tangent);
        Self { value: self.value * other.value, tangent: sum(left, right) }
    }

    /// `max(x, 0)`, or `slope * x` below zero.
    #[must_use]
    pub fn relu(self, slope: f64) -> Self {
        let tangent = self.tangent.map(|tangent| {
            let below = self.value.clone().detach().lower_equal_elem(0.0);
            let scaled = tangent.clone() * slope;
            tangent.mask_where(below, scaled)
        });
        let value = if slope == 0.0 {
            activation::relu(self.value)
        } else {
            activation::leaky_relu(self.value, slope)
        };
        Self { value, tangent }
    }

    /// The exponential.
    #[must_use]
    pub fn exp(self) -> Self {
        let value = self.value.exp();
        let tangent = self.tangent.map(|tangent| tangent * value.clone());
        Self { value, tangent }
    }

    /// Adds a number to each element.
    #[must_use]
    pub fn plus_constant(self, constant: f64) -> Self {
        Self { value: self.value + constant, tangent: self.tangent }
    }

    /// The sum over everything.
    pub fn total(self) -> Dual<1> {
        self.linear(|tensor| tensor.sum())
    }
}

/// The statistics that a batch normalisation used.
#[derive(Debug, Clone)]
pub struct NormMoments {
    /// `[channels]`
    pub mean: Tensor<1>,
    /// `[channels]`; a batch's own is biased.
    pub variance: Tensor<1>,
}

impl NormMoments {
    /// The same as constants on the side of the images: with autodiff or without.
    #[must_use]
    pub fn beside(self, autodiff: bool) -> Self {
        let side = |tensor: Tensor<1>| if autodiff { constant(tensor) } else { plain(tensor) };
        Self { mean: side(self.mean), variance: side(self.variance) }
    }
}

impl Dual<4> {
    /// Convolution; a bias is added where there is one.
    ///
    /// # Shapes
    /// As [`conv2d`].
    #[must_use]
    pub fn conv2d(self, weight: Dual<4>, bias: Option<Dual<1>>, options: ConvOptions<2>) -> Self {
        let (bias, shift) = bias.map_or((None, None), |bias| (Some(bias.value), bias.tangent));
        let left = self
            .tangent
            .map(|tangent| conv2d(tangent, weight.value.clone(), shift.clone(), options.clone()));
        let right = weight.tangent.map(|tangent| {
            let shift = if left.is_none() { shift.clone() } else { None };
            conv2d(self.value.clone(), tangent, shift, options.clone())
        });
        let mut tangent = sum(left, right);
        let value = conv2d(self.value, weight.value, bias, options);
        if let (None, Some(shift)) = (&tangent, shift) {
            let [channels] = shift.dims();
            tangent = Some(value.zeros_like() + shift.reshape([1, channels, 1, 1]));
        }
        Self { value, tangent }
    }

    /// Batch normalisation by the batch's own statistics, which are given back detached, then nothing
    /// or ReLU.
    #[must_use]
    pub fn batch_norm(
        self,
        gamma: Dual<1>,
        beta: Dual<1>,
        epsilon: f64,
        relu: bool,
    ) -> (Self, NormMoments) {
        let [_, channels, ..] = self.value.dims();
        let shape = [1, channels, 1, 1];
        if self.tangent.is_none() && gamma.tangent.is_none() && beta.tangent.is_none() {
            let activation = if relu { Activation::Relu } else { Activation::Identity };
            let options = NormOptions { epsilon, activation, leak: 0.0 };
            let (result, mean, variance) =
                kshot_kernels::batch_norm(self.value, gamma.value, beta.value, options);
            return (Self::from(result), NormMoments { mean, variance });
        }
        let axes = [0, 2, 3];
        let mean = self.value.clone().mean_dims(&axes);
        let centred = self.value - mean.clone();
        let variance = (centred.clone() * centred.clone()).mean_dims(&axes);
        let scale = (variance.clone() + epsilon).sqrt().recip();
        let normal = centred * scale.clone();
        let moments = NormMoments {
            mean: mean.detach().reshape([channels]),
            variance: variance.detach().reshape([channels]),
        };
        // d normal = (dx - mean(dx) - normal * mean(normal * dx)) * scale
        let through = self.tangent.map(|tangent| {
            let along = (normal.clone() * tangent.clone()).mean_dims(&axes);
            let centred = tangent.clone() - tangent.mean_dims(&axes);
            (centred - normal.clone() * along) * scale * gamma.value.clone().reshape(shape)
        });
        let scaled = gamma.tangent.map(|tangent| normal.clone() * tangent.reshape(shape));
        let value = normal * gamma.value.reshape(shape) + beta.value.reshape(shape);
        let shifted = beta.tangent.map(|tangent| value.zeros_like() + tangent.reshape(shape));
        let result = Self { value, tangent: sum(sum(through, scaled), shifted) };
        (if relu { result.relu(0.0) } else { result }, moments)
    }

    /// Batch normalisation by given statistics, which have no tangent.
    #[must_use]
    pub fn batch_norm_by(
        self,
        gamma: Dual<1>,
        beta: Dual<1>,
        moments: &NormMoments,
        epsilon: f64,
    ) -> Self {
        let [_, channels, ..] = self.value.dims();
        let shape = [1, channels, 1, 1];
        let NormMoments { mean, variance } = moments.clone();
        if self.tangent.is_none() && gamma.tangent.is_none() && beta.tangent.is_none() {
            let (gamma, beta) = (gamma.value, beta.value);
            return Self::from(batch_norm(self.value, gamma, beta, mean, variance, epsilon));
        }
        let scale = (variance + epsilon).sqrt().recip().reshape(shape);
        let normal = Self {
            value: (self.value - mean.reshape(shape)) * scale.clone(),
            tangent: self.tangent.map(|tangent| tangent * scale),
        };
        let shifted = normal.value.zeros_like();
        let beta = beta.linear(|beta| shifted.clone() + beta.reshape(shape));
        normal.times(gamma.reshape(shape)).plus(beta)
    }

    /// The largest of each square of `side` pixels, squares side by side; what is left over at the
    /// right and at the bottom is dropped.
    #[must_use]
    pub fn max_pool(self, side: usize) -> Self {
        let options = MaxPoolOptions::new([side; 2]).with_stride([side; 2]);
        let Some(tangent) = self.tangent else {
            return Self::from(max_pool2d(self.value, options));
        };
        let [batch, channels, height, width] = self.value.dims();
        let (value, indices) = max_pool2d_with_indices(self.value, options);
        let [_, _, rows, columns] = value.dims();
        let tangent = tangent
            .reshape([batch, channels, height * width])
            .gather(2, indices.reshape([batch, channels, rows * columns]))
            .reshape([batch, channels, rows, columns]);
        Self::new(value, tangent)
    }

    /// `[batch, channels * height * width]`
    pub fn flatten(self) -> Dual<2> {
        let [batch, channels, height, width] = self.value.dims();
        self.reshape([batch, channels * height * width])
    }

    /// The mean over the pixels, `[batch, channels]`.
    pub fn global_mean(self) -> Dual<2> {
        self.linear(|tensor| global_average(tensor).flatten(1, 3))
    }
}

impl Dual<2> {
    /// The matrix product.
    #[must_use]
    pub fn matmul(self, other: Self) -> Self {
        let left = self.tangent.map(|tangent| tangent.matmul(other.value.clone()));
        let right = other.tangent.map(|tangent| self.value.clone().matmul(tangent));
        Self { value: self.value.matmul(other.value), tangent: sum(left, right) }
    }

    /// Adds a row to each row.
    #[must_use]
    pub fn plus_row(self, row: Dual<1>) -> Self {
        let [count, width] = self.value.dims();
        self.plus(row.linear(|row| row.reshape([1, width]).expand([count, width])))
    }

    /// Rows of length 1; a row of zeros stays one.
    #[must_use]
    pub fn unit(self) -> Self {
        // Within the root, so that a row of zeros has a gradient.
        let length = (self.value.clone().square().sum_dim(1) + 1e-16).sqrt();
        let value = self.value / length.clone();
        let tangent = self.tangent.map(|tangent| {
            let along = (value.clone() * tangent.clone()).sum_dim(1);
            (tangent - value.clone() * along) / length
        });
        Self { value, tangent }
    }

    /// The logarithm of the softmax over each row.
    #[must_use]
    pub fn log_softmax(self) -> Self {
        let value = activation::log_softmax(self.value, 1);
        let tangent = self.tangent.map(|tangent| {
            let mean = (value.clone().exp() * tangent.clone()).sum_dim(1);
            tangent - mean
        });
        Self { value, tangent }
    }

    /// The mean cross entropy of logits `[rows, classes]` with labels `[rows]`.
    pub fn cross_entropy(self, labels: Tensor<1, Int>) -> Dual<1> {
        let [rows, _] = self.value.dims();
        let labels = labels.reshape([rows, 1]);
        self.log_softmax().linear(|tensor| -tensor.gather(1, labels.clone()).mean())
    }
}
