//! The shape of a convolution, checked once before any kernel runs.

use std::fmt;

/// Zeros before and after each axis, in pixels: rows, then columns.
pub type Pads = [(usize, usize); 2];

/// Largest number of floats in one operand: offsets stay far inside `isize`.
const LARGEST: usize = 1 << 40;

/// Why shapes do not make a convolution: what was given and what would fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused(String);

impl Refused {
    pub(crate) fn new(message: String) -> Self {
        Self(message)
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

/// A two-dimensional convolution: all sizes, in the order rows, columns where there are two.
///
/// Built only by [`Geometry::new`], so that a kernel which holds one may trust it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    batch: usize,
    /// In and out.
    channels: [usize; 2],
    size: [usize; 2],
    kernel: [usize; 2],
    stride: [usize; 2],
    pads: Pads,
    dilation: [usize; 2],
    groups: usize,
    /// Height and width of the result.
    out: [usize; 2],
    precise: bool,
}

impl Geometry {
    /// Checks that the shapes fit each other.
    ///
    /// # Shapes
    /// - `images`: `[batch, channels_in, height, width]`
    /// - `weight`: `[channels_out, channels_in / groups, kernel_height, kernel_width]`
    ///
    /// # Errors
    /// If an extent other than the batch is zero, if channels do not divide into the groups or differ
    /// between images and weight, or if the padded image is smaller than the dilated kernel.
    pub fn new(
        images: [usize; 4],
        weight: [usize; 4],
        stride: [usize; 2],
        pads: Pads,
        dilation: [usize; 2],
        groups: usize,
    ) -> Result<Self, Refused> {
        let refuse = |message: String| Err(Refused(message));
        let [batch, channels_in, height, width] = images;
        let [channels_out, inside, kernel_height, kernel_width] = weight;
        if images[1..].contains(&0) || weight.contains(&0) {
            return refuse(format!("an extent is zero: images {images:?}, weight {weight:?}"));
        }
        if stride.contains(&0) || dilation.contains(&0) || groups == 0 {
            return refuse(format!(
                "stride {stride:?}, dilation {dilation:?} and groups {groups} start at one"
            ));
        }
        if channels_in != inside.saturating_mul(groups) || !channels_out.is_multiple_of(groups) {
            return refuse(format!(
                "{channels_in} channels to {channels_out} in {groups} groups do not fit a weight \
                 of {weight:?}"
            ));
        }
        let (size, kernel) = ([height, width], [kernel_height, kernel_width]);
        let mut out = [0; 2];
        for axis in 0..2 {
            let covered = (kernel[axis] - 1).saturating_mul(dilation[axis]).saturating_add(1);
            let (before, after) = pads[axis];
            let padded = size[axis].saturating_add(before).saturating_add(after);
            if covered > padded {
                return refuse(format!(
                    "a kernel that covers {covered} pixels is larger than the padded image's {padded}"
                ));
            }
            out[axis] = (padded - covered) / stride[axis] + 1;
        }
        let floats = |extents: &[usize]| {
            extents.iter().try_fold(1usize, |a, b| a.checked_mul(*b)).unwrap_or(usize::MAX)
        };
        let padded: [usize; 2] = std::array::from_fn(|axis| {
            size[axis].saturating_add(pads[axis].0).saturating_add(pads[axis].1)
        });
        let largest = floats(&[batch, channels_in, padded[0], padded[1]])
            .max(floats(&weight))
            .max(floats(&[batch, channels_out, out[0], out[1]]));
        if largest > LARGEST {
            return refuse(format!("{largest} floats in one operand are more than {LARGEST}"));
        }
        let channels = [channels_in, channels_out];
        Ok(Self {
            batch,
            channels,
            size,
            kernel,
            stride,
            pads,
            dilation,
            groups,
            out,
            precise: false,
        })
    }

    /// The same, summed product by product: three times as slow for 3x3 kernels of stride 1, and about
    /// three times closer to the exact result (see the crate's table of errors).
    #[must_use]
    pub fn with_precise(self, precise: bool) -> Self {
        Self { precise, ..self }
    }

    /// Whether [`Geometry::with_precise`] asks for plain sums.
    pub fn precise(&self) -> bool {
        self.precise
    }

    /// Pictures.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Channels in and out.
    pub fn channels(&self) -> [usize; 2] {
        self.channels
    }

    /// Height and width of the images.
    pub fn size(&self) -> [usize; 2] {
        self.size
    }

    /// Height and width of the kernel.
    pub fn kernel(&self) -> [usize; 2] {
        self.kernel
    }

    /// Steps of the kernel.
    pub fn stride(&self) -> [usize; 2] {
        self.stride
    }

    /// Zeros around the images.
    pub fn pads(&self) -> Pads {
        self.pads
    }

    /// Distances between the kernel's elements.
    pub fn dilation(&self) -> [usize; 2] {
        self.dilation
    }

    /// Groups of channels which do not see each other.
    pub fn groups(&self) -> usize {
        self.groups
    }

    /// Height and width of the result.
    pub fn out(&self) -> [usize; 2] {
        self.out
    }

    /// Channels in and out of one group.
    pub fn group_channels(&self) -> [usize; 2] {
        self.channels.map(|channels| channels / self.groups)
    }

    /// Elements of the kernel.
    pub fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// Pixels of one plane of the images.
    pub fn area_in(&self) -> usize {
        self.size[0] * self.size[1]
    }

    /// Pixels of one plane of the result.
    pub fn area_out(&self) -> usize {
        self.out[0] * self.out[1]
    }

    /// Floats of the images.
    pub fn images_len(&self) -> usize {
        self.batch * self.channels[0] * self.area_in()
    }

    /// Floats of the weight.
    pub fn weight_len(&self) -> usize {
        self.channels[1] * self.group_channels()[0] * self.taps()
    }

    /// Floats of the result.
    pub fn result_len(&self) -> usize {
        self.batch * self.channels[1] * self.area_out()
    }

    /// Refuses operands of other lengths than the shapes say.
    ///
    /// # Panics
    /// If one differs: every entry to the kernels calls this before a pointer is taken.
    pub(crate) fn check(&self, images: usize, weight: usize, result: usize) {
        assert_eq!(images, self.images_len(), "floats of the images of {self:?}");
        assert_eq!(weight, self.weight_len(), "floats of the weight of {self:?}");
        assert_eq!(result, self.result_len(), "floats of the result of {self:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_follow_the_definition() {
        let same = |images, weight, stride, pad, dilation, groups| {
            Geometry::new(images, weight, [stride; 2], [(pad, pad); 2], [dilation; 2], groups)
        };
        assert_eq!(same([1, 3, 224, 225], [8, 3, 7, 7], 2, 3, 1, 1).unwrap().out(), [112, 113]);
        assert_eq!(same([0, 4, 5, 5], [6, 2, 3, 3], 1, 2, 2, 2).unwrap().out(), [5, 5]);
        for (images, weight, stride, groups) in [
            ([1, 3, 8, 8], [8, 4, 3, 3], 1, 1),
            ([1, 4, 8, 8], [9, 2, 3, 3], 1, 2),
            ([1, 3, 2, 2], [8, 3, 5, 5], 1, 1),
            ([1, 3, 8, 8], [8, 3, 3, 3], 0, 1),
            ([1, 3, 8, 8], [8, 3, 3, 3], 1, 0),
            ([1, 0, 8, 8], [8, 0, 3, 3], 1, 1),
            ([1 << 30, 1 << 30, 8, 8], [1, 1 << 30, 3, 3], 1, 1),
        ] {
            let refused = same(images, weight, stride, 0, 1, groups).unwrap_err();
            assert!(!refused.to_string().is_empty());
        }
    }
}
