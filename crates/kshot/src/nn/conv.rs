//! Convolution, and the layer of convolution, batch normalisation and activation.
//!
//! Every convolution of the library passes through here to `kshot-kernels`, so that speed is won in one
//! place.

use std::sync::Arc;

use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::prelude::*;
use burn::tensor::ops::ConvOptions;
pub use kshot_kernels::Activation;
use kshot_kernels::Conv2d;

use crate::nn::activation::ActivationFunction;
use crate::nn::cpu_values;
use crate::nn::norm::BatchNorm;

/// How an image is extended by zeros before the kernel slides over it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Padding {
    /// That many rows and columns on every side, as PyTorch counts.
    Each(usize),
    /// As TensorFlow's `SAME`: the output measures `ceil(size / stride)` whatever the kernel; an odd
    /// row or column goes to the bottom or the right.
    Same,
    /// At the bottom and the right alone, so that the output measures `ceil(size / stride)`: for patches,
    /// whose kernel is their stride.
    End,
}

impl Padding {
    /// Rows (or columns) of zeros before and after an axis of the given size.
    pub fn amounts(
        self,
        size: usize,
        kernel: usize,
        stride: usize,
        dilation: usize,
    ) -> (usize, usize) {
        match self {
            Self::Each(amount) => (amount, amount),
            Self::Same | Self::End => {
                let covered = (size.div_ceil(stride) - 1) * stride + (kernel - 1) * dilation + 1;
                let total = covered.saturating_sub(size);
                let before = if self == Self::Same { total / 2 } else { 0 };
                (before, total - before)
            }
        }
    }
}

/// Two-dimensional convolution: the only one in this library. On the CPU it is our own.
///
/// # Shapes
/// - `images`: `[batch, channels, height, width]`
/// - `weight`: `[channels_out, channels / groups, kernel_height, kernel_width]`
/// - `bias`: `[channels_out]`
pub fn conv2d(
    images: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    options: ConvOptions<2>,
) -> Tensor<4> {
    kshot_kernels::conv2d(images, weight, bias, options)
}

/// What a [`Conv`] is made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConvConfig {
    /// Channels of the input and of the output.
    pub channels: [usize; 2],
    /// Rows and columns of the kernel.
    pub kernel: [usize; 2],
    /// Step of the kernel.
    pub stride: usize,
    /// Zeros around the image.
    pub padding: Padding,
    /// Distance between the kernel's elements.
    pub dilation: usize,
    /// Channels are split into that many groups which do not see each other.
    pub groups: usize,
}

impl ConvConfig {
    /// A dense convolution with a square kernel and stride 1 which keeps the size of the image (for an odd
    /// kernel).
    pub fn new(channels: [usize; 2], kernel: usize) -> Self {
        let padding = Padding::Each(kernel / 2);
        Self { channels, kernel: [kernel; 2], stride: 1, padding, dilation: 1, groups: 1 }
    }

    /// The same with a kernel of so many rows and columns, such as 1x7.
    pub fn rectangular(channels: [usize; 2], kernel: [usize; 2]) -> Self {
        Self { kernel, padding: Padding::Same, ..Self::new(channels, 1) }
    }

    /// Another stride.
    #[must_use]
    pub fn with_stride(mut self, stride: usize) -> Self {
        self.stride = stride;
        self
    }

    /// Another padding.
    #[must_use]
    pub fn with_padding(mut self, padding: Padding) -> Self {
        self.padding = padding;
        self
    }

    /// Another dilation, padded such that an odd kernel of stride 1 keeps the image's size.
    #[must_use]
    pub fn with_dilation(mut self, dilation: usize) -> Self {
        self.dilation = dilation;
        if let Padding::Each(_) = self.padding {
            let [rows, columns] = self.kernel;
            let square = rows == columns;
            self.padding =
                if square { Padding::Each(dilation * (rows / 2)) } else { Padding::Same };
        }
        self
    }

    /// One kernel per channel, none across.
    #[must_use]
    pub fn depthwise(mut self) -> Self {
        self.groups = self.channels[0];
        self
    }

    /// A convolution with random weights (Kaiming's normal law over the outputs, as torchvision
    /// starts its ResNets); `bias` starts at zero.
    pub fn init(&self, bias: bool, device: &Device) -> Conv {
        let initializer =
            Initializer::KaimingNormal { gain: std::f64::consts::SQRT_2, fan_out_only: true };
        self.init_by(&initializer, bias, device)
    }

    /// The same whose weights have another law.
    pub fn init_by(&self, initializer: &Initializer, bias: bool, device: &Device) -> Conv {
        let [channels_in, channels_out] = self.channels;
        let [rows, columns] = self.kernel;
        let area = rows * columns;
        let weight = initializer.init_with(
            [channels_out, channels_in / self.groups, rows, columns],
            Some(channels_in / self.groups * area),
            Some(channels_out / self.groups * area),
            device,
        );
        let bias = bias.then(|| Initializer::Zeros.init([channels_out], device));
        Conv {
            weight,
            bias,
            stride: self.stride,
            padding: self.padding,
            dilation: self.dilation,
            groups: self.groups,
            compiled: None,
        }
    }
}

/// A two-dimensional convolution.
#[derive(Module, Debug)]
pub struct Conv {
    /// `[channels_out, channels_in / groups, kernel_height, kernel_width]`
    pub weight: Param<Tensor<4>>,
    /// `[channels_out]`
    pub bias: Option<Param<Tensor<1>>>,
    stride: usize,
    #[module(skip)]
    padding: Padding,
    dilation: usize,
    groups: usize,
    /// The same for inference on the CPU; see [`Conv::compile`].
    #[module(skip)]
    compiled: Option<Arc<Conv2d>>,
}

impl Conv {
    /// The same function, faster on the CPU, for inference only: weights that change later have no
    /// effect there.
    #[must_use]
    pub fn compile(self) -> Self {
        if self.weight.val().device() != Device::flex() {
            return self;
        }
        let [outputs, inside, rows, columns] = self.weight.dims();
        let bias = self.bias.as_ref().map_or_else(|| vec![0.0; outputs], |b| cpu_values(b.val()));
        let compiled = Conv2d::new(
            cpu_values(self.weight.val()),
            bias,
            [inside * self.groups, outputs],
            [rows, columns],
            [self.stride, self.dilation, self.groups],
        );
        Self { compiled: compiled.map(Arc::new), ..self }
    }

    /// Slides the kernels over the images, then applies the activation.
    ///
    /// # Shapes
    /// `[batch, channels_in, height, width]` to `[batch, channels_out, height', width']`
    pub fn activated(&self, images: Tensor<4>, activation: Activation) -> Tensor<4> {
        let device = images.device();
        let Some(compiled) = self.compiled.as_ref().filter(|_| device == Device::flex()) else {
            let bias = self.bias.as_ref().map(|bias| bias.val());
            return self.slide(images, self.weight.val(), bias, activation);
        };
        let pads = self.pads(&images);
        compiled.run(images, pads, activation)
    }

    /// Zeros before and after each axis of the images.
    fn pads(&self, images: &Tensor<4>) -> [(usize, usize); 2] {
        let ([.., height, width], [.., rows, columns]) = (images.dims(), self.weight.dims());
        [(height, rows), (width, columns)]
            .map(|(size, kernel)| self.padding.amounts(size, kernel, self.stride, self.dilation))
    }

    /// Slides the kernels over the images.
    ///
    /// # Shapes
    /// `[batch, channels_in, height, width]` to `[batch, channels_out, height', width']`
    pub fn forward(&self, images: Tensor<4>) -> Tensor<4> {
        self.activated(images, Activation::Identity)
    }

    /// With other weights of the same shape.
    fn slide(
        &self,
        images: Tensor<4>,
        weight: Tensor<4>,
        bias: Option<Tensor<1>>,
        activation: Activation,
    ) -> Tensor<4> {
        let options = ConvOptions::new_with_padding(
            [self.stride; 2],
            self.pads(&images),
            [self.dilation; 2],
            self.groups,
        );
        kshot_kernels::conv2d_activated(images, weight, bias, options, activation)
    }

    /// The same convolution with a normalisation by its running statistics after it, in one.
    #[must_use]
    fn normalised(self, norm: &BatchNorm) -> Self {
        let (weight, shift) = self.merged(norm);
        let weight = Param::from_tensor(weight.detach());
        Self { weight, bias: Some(Param::from_tensor(shift.detach())), compiled: None, ..self }
    }

    /// Kernels and bias that convolve and normalise by running statistics at once.
    fn merged(&self, norm: &BatchNorm) -> (Tensor<4>, Tensor<1>) {
        let (scale, shift) = norm.affine();
        let shift = match &self.bias {
            Some(bias) => shift + bias.val() * scale.clone(),
            None => shift,
        };
        (kshot_kernels::scale_kernels(self.weight.val(), scale), shift)
    }
}

/// A convolution, batch normalisation where there is one, and an activation.
///
/// By batch statistics while it trains, else by running ones (see [`BatchNorm`]), which are then
/// merged into the kernels: one operation, that [`ConvNormAct::fold`] prepares for inference.
#[derive(Module, Debug)]
pub struct ConvNormAct {
    /// The convolution.
    pub conv: Conv,
    /// The normalisation of its result; none once it is part of the kernels.
    pub norm: Option<BatchNorm>,
    #[module(skip)]
    pub(super) activation: ActivationFunction,
}

impl ConvNormAct {
    /// Random kernels without bias, and normalisation with the given epsilon.
    pub fn new(
        config: &ConvConfig,
        epsilon: f64,
        activation: impl Into<ActivationFunction>,
        device: &Device,
    ) -> Self {
        let activation = activation.into();
        let norm = BatchNorm::new(config.channels[1], device).with_epsilon(epsilon);
        Self { conv: config.init(false, device), norm: Some(norm), activation }
    }

    /// Random kernels with a bias and, where an epsilon is given, normalisation: as in VGG.
    pub fn biased(
        config: &ConvConfig,
        epsilon: Option<f64>,
        activation: impl Into<ActivationFunction>,
        device: &Device,
    ) -> Self {
        let activation = activation.into();
        let normalise = |epsilon| BatchNorm::new(config.channels[1], device).with_epsilon(epsilon);
        Self { conv: config.init(true, device), norm: epsilon.map(normalise), activation }
    }

    /// Convolves, normalises and activates.
    ///
    /// # Shapes
    /// `[batch, channels_in, height, width]` to `[batch, channels_out, height', width']`
    pub fn forward(&self, images: Tensor<4>) -> Tensor<4> {
        // What a convolution or normalisation does in the same pass, and what is left to do.
        let clamp = self.activation.clamp();
        let result = match &self.norm {
            Some(norm) if norm.trains(&images) => norm.forward(self.conv.forward(images), clamp),
            Some(norm) => {
                let (weight, bias) = self.conv.merged(norm);
                self.conv.slide(images, weight, Some(bias), clamp)
            }
            None => self.conv.activated(images, clamp),
        };
        self.activation.after_clamp(result)
    }

    /// The same function for inference in one step: the running statistics become part of kernels
    /// and bias. Folding twice changes nothing.
    #[must_use]
    pub fn fold(self) -> Self {
        let conv = match &self.norm {
            Some(norm) => self.conv.normalised(norm),
            None => self.conv,
        };
        Self { conv: conv.compile(), norm: None, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_padding_follows_tensorflow() {
        assert_eq!(Padding::Same.amounts(224, 3, 2, 1), (0, 1));
        assert_eq!(Padding::Same.amounts(225, 3, 2, 1), (1, 1));
        assert_eq!(Padding::Same.amounts(56, 5, 2, 1), (1, 2));
        assert_eq!(Padding::Same.amounts(7, 5, 1, 1), (2, 2));
        assert_eq!(Padding::Same.amounts(3, 1, 2, 1), (0, 0));
        assert_eq!(Padding::End.amounts(33, 16, 16, 1), (0, 15));
        assert_eq!(Padding::End.amounts(32, 16, 16, 1), (0, 0));
    }

    #[test]
    fn folding_keeps_the_function() {
        let device = Device::flex().autodiff();
        device.seed(3);
        let config = ConvConfig::new([4, 6], 3).with_stride(2).with_padding(Padding::Same);
        let mut layer = ConvNormAct::new(&config, 1e-3, Activation::Relu6, &device);
        if let Some(norm) = layer.norm.as_mut() {
            let gamma = Tensor::from_data([0.5, 1.0, 1.5, -2.0, 0.1, 3.0], &device);
            norm.set(gamma, Tensor::from_data([0.1, -0.2, 0.3, 0.0, 1.0, 2.0], &device));
        }
        let images =
            Tensor::<4>::random([2, 4, 9, 7], burn::tensor::Distribution::Default, &device);
        // Moves the running statistics.
        assert_eq!(layer.forward(images.clone()).dims(), [2, 6, 5, 4]);
        let (layer, images) = (layer.valid(), images.inner());
        let expected = layer.forward(images.clone());
        let folded = layer.fold().forward(images);
        let difference: f32 = (expected - folded).abs().max().into_scalar();
        assert!(difference < 1e-5, "folded differs by {difference}");
    }
}
