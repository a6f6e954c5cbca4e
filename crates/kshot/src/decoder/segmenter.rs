//! An encoder with a decoder: pictures to logits.

use burn::module::Module;
use burn::prelude::*;

use super::{Decode, Decoder, DecoderConfig, TrainLogits};
use crate::encoder::{Encode, Encoder};
use crate::error::Result;
use crate::nn::grown;

/// The largest multiple that pictures' sides are brought to.
const LARGEST_MULTIPLE: usize = 32;

/// A network that gives each pixel a class.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use kshot::decoder::{DecoderConfig, Segmenter};
/// use kshot::encoder::EncoderConfig;
///
/// # fn main() -> kshot::Result<()> {
/// let device = Device::flex();
/// let encoder: EncoderConfig = "resnet-tiny".parse()?;
/// let segmenter =
///     Segmenter::new(encoder.init(&device), &DecoderConfig::default(), 21, &device)?.optimize();
/// let logits = segmenter.forward(Tensor::zeros([1, 3, 65, 47], &device));
/// assert_eq!(logits.dims(), [1, 21, 65, 47]);
/// # Ok(())
/// # }
/// ```
#[derive(Module, Debug)]
pub struct Segmenter {
    /// From pictures to maps.
    pub encoder: Encoder,
    /// From maps to logits.
    pub decoder: Decoder,
}

impl Segmenter {
    /// The encoder with a decoder of random weights (from the device's seed), which is on `device`
    /// as the encoder is.
    ///
    /// # Errors
    /// If the decoder cannot be made for the encoder's maps, or there are no classes.
    pub fn new(
        encoder: Encoder,
        decoder: &DecoderConfig,
        classes: usize,
        device: &Device,
    ) -> Result<Self> {
        let decoder = decoder.init(&encoder.channels(), &encoder.strides(), classes, device)?;
        Ok(Self { encoder, decoder })
    }

    /// The logits of the pictures' pixels.
    ///
    /// # Shapes
    /// `[batch, in_channels, height, width]`, normalised, of any size from 1x1 up, to
    /// `[batch, classes, height, width]`
    ///
    /// # Panics
    /// If the pictures have other channels than the encoder's.
    pub fn forward(&self, images: Tensor<4>) -> Tensor<4> {
        let [_, _, height, width] = images.dims();
        self.decoder.forward(&self.encoder.forward(images), [height, width])
    }

    /// As [`Self::forward`] of pictures that are shown at a larger size (`[rows, columns]`), mirrored at their border.
    ///
    /// # Panics
    /// As [`Self::forward`], or if that size is smaller.
    pub fn forward_shown(&self, images: Tensor<4>, size: [usize; 2]) -> Tensor<4> {
        let [.., height, width] = images.dims();
        if size == [height, width] {
            return self.forward(images);
        }
        self.forward(grown(images, size)).narrow(2, 0, height).narrow(3, 0, width)
    }

    /// As [`Self::forward`], with the logits of heads that only training sees.
    ///
    /// # Panics
    /// As [`Self::forward`].
    pub fn train_forward(&self, images: Tensor<4>) -> TrainLogits {
        let [_, _, height, width] = images.dims();
        self.decoder.train_forward(&self.encoder.forward(images), [height, width])
    }

    /// The size at which the network is shown a picture (`[height, width]`), which is mirrored at its border on the
    /// right and below: the next multiples of the coarsest map's stride, of 32 at most, as patches have that networks learn from.
    ///
    /// Where a map's side is odd, some encoders' layers of stride 2 lie half a pixel from where they lie on even sides
    /// (EfficientNet's, which pad on the right alone): masks of networks that learnt from even patches were shifted by up
    /// to a pixel, at coarse maps by more.
    pub fn shown_size(&self, size: [usize; 2]) -> [usize; 2] {
        let multiple = self.multiple();
        size.map(|side| side.next_multiple_of(multiple))
    }

    /// The multiple of [`Self::shown_size`].
    pub fn multiple(&self) -> usize {
        self.encoder.strides().into_iter().max().unwrap_or(1).clamp(1, LARGEST_MULTIPLE)
    }

    /// As [`Encoder::is_local`]: no layer of encoder or decoder sees the whole picture.
    pub fn is_local(&self) -> bool {
        let sees_all = match &self.decoder {
            Decoder::FcnHead(head) => head.is_non_local(),
            Decoder::PspNet(_)
            | Decoder::DeepLabV3(_)
            | Decoder::DeepLabV3Plus(_)
            | Decoder::PlainUNet(_)
            | Decoder::DdrNet(_)
            | Decoder::MaskTransformer(_) => true,
            _ => false,
        };
        self.encoder.is_local() && !sees_all
    }

    /// The same function, faster, for inference only: batch normalisation becomes part of the
    /// kernels. Doing it twice changes nothing.
    #[must_use]
    pub fn optimize(self) -> Self {
        Self { encoder: self.encoder.optimize(), decoder: self.decoder.optimize() }
    }
}
