//! Depthwise convolutions along the rows of padded planes, for any kernel, stride and dilation.
//!
//! A plane is copied with its zeros, its columns sorted by their remainder to the stride: then every tap
//! is a row of neighbouring floats at a fixed offset, and a result is a weighted sum of such rows.

use rayon::prelude::*;

use crate::Activation;
use crate::geometry::Geometry;
use crate::scratch::Scratch;
use crate::simd::{Kernel, Simd, dispatch, lanes};

/// Vectors summed at once where a row has as many.
const REGISTERS: usize = 4;

/// Where a plane's pixels lie in its padded copy.
struct Layout {
    /// Height and width of the plane.
    size: [usize; 2],
    /// Zeros above and to the left.
    before: [usize; 2],
    /// Rows of the copy.
    rows: usize,
    /// Remainders that columns are sorted by.
    phases: usize,
    /// Floats of one remainder's part of a row, room for the last vector included.
    line: usize,
}

impl Layout {
    /// A copy of which places on a `grid`, `steps` pixels apart, are read up to `reach` pixels away.
    fn new(
        size: [usize; 2],
        before: [usize; 2],
        grid: [usize; 2],
        steps: [usize; 2],
        reach: [usize; 2],
    ) -> Self {
        let rows = (before[0] + size[0]).max((grid[0] - 1) * steps[0] + reach[0] + 1);
        let line = (before[1] + size[1]).div_ceil(steps[1]);
        let line = line.max(padded(grid[1]) + reach[1] / steps[1]);
        Self { size, before, rows, phases: steps[1], line }
    }

    fn len(&self) -> usize {
        self.rows * self.phases * self.line
    }

    /// Offset of a pixel of the padded plane.
    fn at(&self, row: usize, column: usize) -> usize {
        (row * self.phases + column % self.phases) * self.line + column / self.phases
    }

    /// Copies a plane into the middle; the zeros around it are there already.
    fn fill(&self, plane: &[f32], copy: &mut [f32]) {
        for (y, source) in plane.chunks_exact(self.size[1]).enumerate() {
            for phase in 0..self.phases.min(source.len()) {
                let start = self.at(y + self.before[0], self.before[1] + phase);
                if self.phases == 1 {
                    copy[start..start + source.len()].copy_from_slice(source);
                    continue;
                }
                let pixels = source[phase..].iter().step_by(self.phases);
                let target = &mut copy[start..start + pixels.len()];
                target.iter_mut().zip(pixels).for_each(|(out, pixel)| *out = *pixel);
            }
        }
    }
}

/// A row's places rounded up to what is computed.
fn padded(places: usize) -> usize {
    let vectors = places.div_ceil(lanes());
    lanes() * if vectors > 2 { vectors.next_multiple_of(REGISTERS) } else { vectors }
}

/// A row of weighted sums of rows.
struct Row<'a> {
    copy: &'a [f32],
    /// Offsets of the taps' rows in the copy.
    offsets: &'a [usize],
    weights: &'a [f32],
    bias: f32,
    bounds: (f32, f32),
    /// As many floats as [`padded`] says.
    out: &'a mut [f32],
}

impl Kernel for Row<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let width = self.out.len();
        let furthest = self.offsets.iter().max().copied().unwrap_or(0);
        assert!(width.is_multiple_of(S::LANES) && furthest + width <= self.copy.len());
        assert!(self.weights.len() == self.offsets.len());
        let mut x = 0;
        while x < width {
            // SAFETY: each step reads and writes whole vectors inside the width, by the assertions.
            unsafe {
                match (width - x) / S::LANES {
                    1 => self.step::<S, 1>(simd, &mut x),
                    2 | 3 => self.step::<S, 2>(simd, &mut x),
                    _ => self.step::<S, REGISTERS>(simd, &mut x),
                }
            }
        }
    }
}

impl Row<'_> {
    /// # Safety
    /// `R` vectors from `x` on lie inside the width, and the width behind every offset inside the copy.
    #[inline(always)]
    unsafe fn step<S: Simd, const R: usize>(&self, simd: S, x: &mut usize) {
        let mut sums = [simd.splat(self.bias); R];
        for (offset, weight) in self.offsets.iter().zip(self.weights) {
            let weight = simd.splat(*weight);
            for (register, sum) in sums.iter_mut().enumerate() {
                // SAFETY: by the caller's promise.
                let values =
                    unsafe { simd.load(self.copy.as_ptr().add(offset + *x + register * S::LANES)) };
                *sum = simd.fma(values, weight, *sum);
            }
        }
        let (low, high) = (simd.splat(self.bounds.0), simd.splat(self.bounds.1));
        for (register, sum) in sums.into_iter().enumerate() {
            let sum = simd.min(simd.max(sum, low), high);
            // SAFETY: inside the width, which `out` has; `self.out` is borrowed uniquely by `self`.
            unsafe { simd.store(self.out.as_ptr().cast_mut().add(*x + register * S::LANES), sum) };
        }
        *x += R * S::LANES;
    }
}

/// Products of a gradient's rows with the rows under each tap, summed.
struct Correlate<'a> {
    copy: &'a [f32],
    offsets: &'a [usize],
    /// Floats from one place's row to the next in the copy.
    step: usize,
    /// Rows of `width` floats, zero where there is no place.
    gradient: &'a [f32],
    width: usize,
    /// One sum for each tap, which is added to.
    sums: &'a mut [f32],
}

impl Kernel for Correlate<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let rows = self.gradient.len() / self.width;
        let furthest = self.offsets.iter().max().copied().unwrap_or(0);
        assert!(self.width.is_multiple_of(S::LANES) && rows * self.width == self.gradient.len());
        assert!(rows > 0 && (rows - 1) * self.step + furthest + self.width <= self.copy.len());
        assert!(self.sums.len() == self.offsets.len());
        let mut tap = 0;
        while tap < self.offsets.len() {
            // SAFETY: as many taps are left; all rows lie inside, by the assertions.
            unsafe {
                match self.offsets.len() - tap {
                    9 => tap += self.taps::<S, 9>(simd, tap),
                    1..=4 => tap += self.taps::<S, 1>(simd, tap),
                    _ => tap += self.taps::<S, 5>(simd, tap),
                }
            }
        }
    }
}

impl Correlate<'_> {
    /// # Safety
    /// There are `T` taps from `first` on, and all rows of all taps lie inside the copy.
    #[inline(always)]
    unsafe fn taps<S: Simd, const T: usize>(&self, simd: S, first: usize) -> usize {
        let mut sums = [simd.zero(); T];
        let offsets = &self.offsets[first..first + T];
        for (y, gradient) in self.gradient.chunks_exact(self.width).enumerate() {
            // SAFETY: by the caller's promise; `x` stays below the width.
            unsafe {
                let row = self.copy.as_ptr().add(y * self.step);
                let starts: [*const f32; T] = std::array::from_fn(|tap| row.add(offsets[tap]));
                for x in (0..self.width).step_by(S::LANES) {
                    let gradient = simd.load(gradient.as_ptr().add(x));
                    for (start, sum) in starts.iter().zip(&mut sums) {
                        *sum = simd.fma(gradient, simd.load(start.add(x)), *sum);
                    }
                }
            }
        }
        for (tap, sum) in sums.into_iter().enumerate() {
            // SAFETY: as many sums as taps; borrowed uniquely by `self`.
            unsafe { *self.sums.as_ptr().cast_mut().add(first + tap) += simd.sum(sum) };
        }
        T
    }
}

/// The layout of an image's plane, and the taps' offsets in it.
fn forward_layout(geometry: &Geometry) -> (Layout, Vec<usize>) {
    let (kernel, dilation, pads) = (geometry.kernel(), geometry.dilation(), geometry.pads());
    let reach = std::array::from_fn(|axis| (kernel[axis] - 1) * dilation[axis]);
    let before = pads.map(|(before, _)| before);
    let layout = Layout::new(geometry.size(), before, geometry.out(), geometry.stride(), reach);
    let offsets = (0..geometry.taps())
        .map(|tap| layout.at(tap / kernel[1] * dilation[0], tap % kernel[1] * dilation[1]));
    let offsets = offsets.collect();
    (layout, offsets)
}

/// The convolution, then bias and activation.
pub(crate) fn forward(
    geometry: &Geometry,
    images: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    activation: Activation,
    result: &mut [f32],
) {
    geometry.check(images.len(), weight.len(), result.len());
    assert!(geometry.is_depthwise());
    let (layout, offsets) = forward_layout(geometry);
    let (channels, taps, [_, width]) = (geometry.groups(), geometry.taps(), geometry.out());
    let step = geometry.stride()[0] * layout.phases * layout.line;
    let buffers = || (Scratch::zeros(layout.len()), Scratch::take(padded(width)));
    result
        .par_chunks_exact_mut(geometry.area_out())
        .zip(images.par_chunks_exact(geometry.area_in()))
        .enumerate()
        .for_each_init(buffers, |(copy, line), (index, (out, image))| {
            let channel = index % channels;
            layout.fill(image, copy);
            for (y, out) in out.chunks_exact_mut(width).enumerate() {
                dispatch(Row {
                    copy: &copy[y * step..],
                    offsets: &offsets,
                    weights: &weight[channel * taps..][..taps],
                    bias: bias.map_or(0.0, |bias| bias[channel]),
                    bounds: activation.bounds(),
                    out: line,
                });
                out.copy_from_slice(&line[..width]);
            }
        });
}

/// The pixels that leave the same remainder to the stride, and the taps that reach them.
struct Phase {
    first: [usize; 2],
    grid: [usize; 2],
    /// Offsets in the gradient's copy, and which element of the kernel weighs them.
    offsets: Vec<usize>,
    taps: Vec<usize>,
}

/// The gradient with respect to the images.
pub(crate) fn input_gradient(
    geometry: &Geometry,
    gradient: &[f32],
    weight: &[f32],
    result: &mut [f32],
) {
    geometry.check(result.len(), weight.len(), gradient.len());
    assert!(geometry.is_depthwise());
    let (size, stride, kernel) = (geometry.size(), geometry.stride(), geometry.kernel());
    let (channels, count) = (geometry.groups(), geometry.taps());
    // How far the place is which a tap of that pixel belongs to, where there is one.
    let away = |axis: usize, pixel: usize, tap: usize| {
        let distance =
            (pixel + geometry.pads()[axis].0) as isize - (tap * geometry.dilation()[axis]) as isize;
        let stride = stride[axis] as isize;
        (distance % stride == 0).then_some(distance / stride)
    };
    let all = |axis: usize| {
        (0..stride[axis].min(size[axis]))
            .flat_map(move |pixel| (0..kernel[axis]).filter_map(move |tap| away(axis, pixel, tap)))
    };
    let before: [usize; 2] =
        std::array::from_fn(|axis| (-all(axis).min().unwrap_or(0)).max(0) as usize);
    let reach = std::array::from_fn(|axis| {
        (all(axis).max().unwrap_or(0) + before[axis] as isize).max(0) as usize
    });
    let grid = std::array::from_fn(|axis| size[axis].div_ceil(stride[axis]));
    let layout = Layout::new(geometry.out(), before, grid, [1, 1], reach);
    let phases: Vec<Phase> = (0..stride[0] * stride[1])
        .map(|phase| [phase / stride[1], phase % stride[1]])
        .filter(|first| first[0] < size[0] && first[1] < size[1])
        .map(|first| {
            let reaching = (0..count).filter_map(|tap| {
                let dy = away(0, first[0], tap / kernel[1])? + before[0] as isize;
                let dx = away(1, first[1], tap % kernel[1])? + before[1] as isize;
                Some((layout.at(dy as usize, dx as usize), tap))
            });
            let (offsets, taps) = reaching.unzip();
            let grid = std::array::from_fn(|a| (size[a] - first[a]).div_ceil(stride[a]));
            Phase { first, grid, offsets, taps }
        })
        .collect();
    let buffers = || {
        let most = padded(grid[1]);
        (Scratch::zeros(layout.len()), Scratch::take(most), Scratch::take(count))
    };
    result
        .par_chunks_exact_mut(geometry.area_in())
        .zip(gradient.par_chunks_exact(geometry.area_out()))
        .enumerate()
        .for_each_init(buffers, |(copy, line, weights), (index, (out, gradient))| {
            let kernel = &weight[index % channels * count..][..count];
            layout.fill(gradient, copy);
            for phase in &phases {
                let weights = &mut weights[..phase.taps.len()];
                weights.iter_mut().zip(&phase.taps).for_each(|(to, tap)| *to = kernel[*tap]);
                let line = &mut line[..padded(phase.grid[1])];
                for y in 0..phase.grid[0] {
                    dispatch(Row {
                        copy: &copy[y * layout.line..],
                        offsets: &phase.offsets,
                        weights,
                        bias: 0.0,
                        bounds: Activation::Identity.bounds(),
                        out: line,
                    });
                    let row = (y * stride[0] + phase.first[0]) * size[1];
                    let out = &mut out[row..row + size[1]][phase.first[1]..];
                    if stride[1] == 1 {
                        out.copy_from_slice(&line[..phase.grid[1]]);
                    } else {
                        let pixels = out.iter_mut().step_by(stride[1]);
                        pixels.zip(&line[..]).for_each(|(pixel, value)| *pixel = *value);
                    }
                }
            }
        });
}

/// The gradient with respect to the weight.
pub(crate) fn weight_gradient(
    geometry: &Geometry,
    images: &[f32],
    gradient: &[f32],
    result: &mut [f32],
) {
    geometry.check(images.len(), result.len(), gradient.len());
    assert!(geometry.is_depthwise());
    let (layout, offsets) = forward_layout(geometry);
    let (channels, out) = (geometry.groups(), geometry.out());
    let (area_in, area_out) = (geometry.area_in(), geometry.area_out());
    let lines = Layout::new(out, [0, 0], out, [1, 1], [0, 0]);
    let buffers = || (Scratch::zeros(layout.len()), Scratch::zeros(lines.len()));
    result.par_chunks_exact_mut(geometry.taps()).enumerate().for_each_init(
        buffers,
        |(copy, padded), (channel, sums)| {
            sums.fill(0.0);
            for picture in 0..geometry.batch() {
                let plane = picture * channels + channel;
                layout.fill(&images[plane * area_in..][..area_in], copy);
                lines.fill(&gradient[plane * area_out..][..area_out], padded);
                dispatch(Correlate {
                    copy,
                    offsets: &offsets,
                    step: geometry.stride()[0] * layout.phases * layout.line,
                    gradient: padded,
                    width: lines.line,
                    sums,
                });
            }
        },
    );
}
