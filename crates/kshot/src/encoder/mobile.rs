//! What networks for phones share: rounded channels, stages that are dilated instead of strided, and the
//! inverted residual (Sandler et al., *MobileNetV2*, 2018, <https://arxiv.org/abs/1801.04381>).

use burn::module::Module;
use burn::prelude::*;

use crate::nn::{ActivationFunction, ConvConfig, ConvNormAct, Padding, SqueezeExcite};

/// Channels times a width, rounded to a multiple of 8, never by more than a tenth down.
pub(super) fn scaled(channels: usize, width: f64) -> usize {
    let wanted = channels as f64 * width;
    let rounded = (((wanted + 4.0) / 8.0) as usize * 8).max(8);
    if (rounded as f64) < 0.9 * wanted { rounded + 8 } else { rounded }
}

/// The steps of a stage's blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StageSteps {
    /// Stride of the first block.
    pub stride: usize,
    /// Dilation of the first block and of the others. The first block of a dilated stage still has the dilation of
    /// the stage before, as in timm: so each value is one that the network without dilation computes, too.
    pub dilations: [usize; 2],
    /// By how much its maps are smaller than the picture.
    pub reached: usize,
    /// Whether it is the last stage before a step of the network without dilation, or the last of all.
    pub ends_resolution: bool,
}

/// The steps of stages with the given strides behind a stem of stride 2, none of them coarser than
/// `output_stride`: what would be is dilated.
pub(super) fn steps(strides: &[usize], output_stride: usize) -> Vec<StageSteps> {
    let (mut reached, mut dilation) = (2, 1);
    let mut all = Vec::with_capacity(strides.len());
    for (index, &stride) in strides.iter().enumerate() {
        let before = dilation;
        let taken = if reached * stride <= output_stride {
            reached *= stride;
            stride
        } else {
            dilation *= stride;
            1
        };
        let ends_resolution = strides.get(index + 1).is_none_or(|&next| next > 1);
        let dilations = [before, dilation];
        all.push(StageSteps { stride: taken, dilations, reached, ends_resolution });
    }
    all
}

/// What an [`InvertedResidual`] is made from.
#[derive(Debug, Clone, Copy)]
pub(super) struct BlockShape {
    /// Of input and output.
    pub channels: [usize; 2],
    /// Channels that are filtered.
    pub wide: usize,
    /// Whether a layer widens the input; otherwise it is as wide already.
    pub expands: bool,
    pub kernel: usize,
    pub stride: usize,
    pub dilation: usize,
    pub padding: PaddingKind,
    /// Channels of the squeeze, where channels are weighted.
    pub squeezed: Option<usize>,
    pub epsilon: f64,
    pub activation: ActivationFunction,
}

/// Where the zeros of an odd kernel go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PaddingKind {
    /// On both sides, as in PyTorch.
    Symmetric,
    /// As in TensorFlow.
    Same,
}

/// An inverted residual: widen, filter each channel, weight channels where it does, narrow; the input is added where
/// shapes allow.
#[derive(Module, Debug)]
pub(super) struct InvertedResidual {
    expand: Option<ConvNormAct>,
    depthwise: ConvNormAct,
    excite: Option<SqueezeExcite>,
    project: ConvNormAct,
    residual: bool,
}

impl InvertedResidual {
    pub fn new(shape: &BlockShape, device: &Device) -> Self {
        let BlockShape { channels: [input, output], wide, activation, .. } = *shape;
        assert!(shape.expands || wide == input, "{input} channels are not {wide}");
        let layer = |config: &ConvConfig, activation: ActivationFunction| {
            ConvNormAct::new(config, shape.epsilon, activation, device)
        };
        let depthwise = ConvConfig::new([wide; 2], shape.kernel).depthwise();
        let depthwise = depthwise.with_stride(shape.stride).with_dilation(shape.dilation);
        let depthwise = match shape.padding {
            PaddingKind::Symmetric => depthwise,
            PaddingKind::Same => depthwise.with_padding(Padding::Same),
        };
        let gate = ActivationFunction::HardSigmoid;
        Self {
            expand: shape.expands.then(|| layer(&ConvConfig::new([input, wide], 1), activation)),
            depthwise: layer(&depthwise, activation),
            excite: shape
                .squeezed
                .map(|squeezed| SqueezeExcite::new([wide, squeezed], gate, device)),
            project: layer(&ConvConfig::new([wide, output], 1), ActivationFunction::Identity),
            residual: shape.stride == 1 && input == output,
        }
    }

    /// # Shapes
    /// `[batch, input, height, width]` to `[batch, output, height / stride, width / stride]`, rounded up
    pub fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        // Not held where it isn't needed, so that the first layer may take its memory.
        let kept = self.residual.then(|| input.clone());
        let wide = match &self.expand {
            Some(expand) => expand.forward(input),
            None => input,
        };
        let filtered = self.depthwise.forward(wide);
        let weighted = match &self.excite {
            Some(excite) => excite.forward(filtered),
            None => filtered,
        };
        let output = self.project.forward(weighted);
        match kept {
            Some(kept) => output + kept,
            None => output,
        }
    }

    pub fn fold(self) -> Self {
        Self {
            expand: self.expand.map(ConvNormAct::fold),
            depthwise: self.depthwise.fold(),
            excite: self.excite.map(SqueezeExcite::fold),
            project: self.project.fold(),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_be_coarser_is_dilated() {
        let steps = |output_stride| {
            let all = steps(&[1, 2, 2, 2, 1, 2, 1], output_stride);
            let each = |step: &StageSteps| (step.stride, step.dilations, step.reached);
            all.iter().map(each).collect::<Vec<_>>()
        };
        let first = [(1, [1, 1], 2), (2, [1, 1], 4), (2, [1, 1], 8)];
        let [a, b, c] = first;
        let rest = [(2, [1, 1], 16), (1, [1, 1], 16), (2, [1, 1], 32), (1, [1, 1], 32)];
        assert_eq!(steps(32), [a, b, c, rest[0], rest[1], rest[2], rest[3]]);
        let rest = [(2, [1, 1], 16), (1, [1, 1], 16), (1, [1, 2], 16), (1, [2, 2], 16)];
        assert_eq!(steps(16), [a, b, c, rest[0], rest[1], rest[2], rest[3]]);
        let rest = [(1, [1, 2], 8), (1, [2, 2], 8), (1, [2, 4], 8), (1, [4, 4], 8)];
        assert_eq!(steps(8), [a, b, c, rest[0], rest[1], rest[2], rest[3]]);
    }

    #[test]
    fn channels_are_rounded_as_published() {
        // EfficientNet-Lite2's, and MobileNetV2's of width 0.35.
        assert_eq!(
            [16, 24, 40, 80, 112, 192, 320].map(|c| scaled(c, 1.1)),
            [16, 24, 48, 88, 120, 208, 352]
        );
        assert_eq!(
            [32, 16, 24, 32, 64, 96, 160, 320].map(|c| scaled(c, 0.35)),
            [16, 8, 8, 16, 24, 32, 56, 112]
        );
    }
}
