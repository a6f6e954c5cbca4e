//! Depthwise convolutions along the rows of padded planes, for any kernel, stride and dilation.
//!
//! In a plane's padded copy ([`Layout`]) every tap is a row of neighbouring floats at a fixed offset, and a
//! result is a weighted sum of such rows.

use rayon::prelude::*;

use crate::Activation;
use crate::geometry::Geometry;
use crate::layout::Layout;
use crate::scratch::Scratch;
use crate::simd::{Kernel, Simd, WIDEST, dispatch};

/// Rows and vectors of a row that are summed together: enough sums to wait for none.
const ROWS: usize = 4;
const VECTORS: usize = 2;
/// Results that a task computes at least.
const RESULTS: usize = 16_384;

/// A plane of weighted sums of rows.
struct Sums<'a> {
    copy: &'a [f32],
    /// Offsets of the taps' rows in the copy.
    offsets: &'a [usize],
    weights: &'a [f32],
    /// Floats from one result's row to the next in the copy.
    step: usize,
    bias: f32,
    bounds: (f32, f32),
    /// Rows of `width` floats.
    out: &'a mut [f32],
    width: usize,
}

impl Sums<'_> {
    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        let rows = self.out.len() / self.width;
        let furthest = self.offsets.iter().max().copied().unwrap_or(0);
        let read = (rows - 1) * self.step + furthest + self.width.max(S::LANES);
        assert!(rows * self.width == self.out.len() && read <= self.copy.len());
        assert!(self.weights.len() == self.offsets.len());
        if rows < ROWS {
            (0..rows).for_each(|y| self.rows::<S, 1>(simd, y));
            return;
        }
        for block in 0..rows.div_ceil(ROWS) {
            // The last rows and vectors may be computed twice.
            self.rows::<S, ROWS>(simd, (block * ROWS).min(rows - ROWS));
        }
    }

    /// `H` rows from `y` on: inside the plane.
    #[inline(always)]
    fn rows<S: Simd, const H: usize>(&mut self, simd: S, y: usize) {
        // SAFETY: rows and vectors lie inside the plane and its copy, by the assertions of `run`.
        unsafe {
            if self.width < S::LANES {
                return self.block::<S, H, 1>(simd, y, [0]);
            }
            let vectors = self.width.div_ceil(S::LANES);
            for vector in (0..vectors).step_by(VECTORS) {
                let start = |vector: usize| (vector * S::LANES).min(self.width - S::LANES);
                if vector + 1 < vectors {
                    self.block::<S, H, VECTORS>(simd, y, [start(vector), start(vector + 1)]);
                } else {
                    self.block::<S, H, 1>(simd, y, [start(vector)]);
                }
            }
        }
    }

    /// `R` vectors of `H` rows.
    ///
    /// # Safety
    /// They lie inside the plane, or start it where it is narrower than a vector, and all that they are
    /// sums of inside the copy.
    #[inline(always)]
    unsafe fn block<S: Simd, const H: usize, const R: usize>(
        &mut self,
        simd: S,
        y: usize,
        starts: [usize; R],
    ) {
        let mut sums = [[simd.splat(self.bias); R]; H];
        // SAFETY: by the caller's promise.
        unsafe {
            let copy = self.copy.as_ptr().add(y * self.step);
            for (offset, weight) in self.offsets.iter().zip(self.weights) {
                let (weight, copy) = (simd.splat(*weight), copy.add(*offset));
                for (row, sums) in sums.iter_mut().enumerate() {
                    for (sum, start) in sums.iter_mut().zip(starts) {
                        let values = simd.load(copy.add(row * self.step + start));
                        *sum = simd.fma(values, weight, *sum);
                    }
                }
            }
            let (low, high) = (simd.splat(self.bounds.0), simd.splat(self.bounds.1));
            for (row, sums) in sums.into_iter().enumerate() {
                let out = self.out.as_mut_ptr().add((y + row) * self.width);
                for (sum, start) in sums.into_iter().zip(starts) {
                    let sum = simd.clamp(sum, [low, high]);
                    if self.width >= S::LANES {
                        simd.store(out.add(start), sum);
                        continue;
                    }
                    let mut whole = [0.0; WIDEST];
                    simd.store(whole.as_mut_ptr(), sum);
                    for (index, value) in whole.iter().enumerate().take(self.width) {
                        *out.add(index) = *value;
                    }
                }
            }
        }
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

impl Correlate<'_> {
    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
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

    /// # Safety
    /// There are `T` taps from `first` on, and all rows of all taps lie inside the copy.
    #[inline(always)]
    unsafe fn taps<S: Simd, const T: usize>(&mut self, simd: S, first: usize) -> usize {
        let mut sums = [simd.zero(); T];
        let offsets = &self.offsets[first..first + T];
        for (y, gradient) in self.gradient.chunks_exact(self.width).enumerate() {
            // SAFETY: by the caller's promise; `x` stays below the width.
            unsafe {
                let row = self.copy.as_ptr().add(y * self.step);
                let mut starts = [row; T];
                for (start, offset) in starts.iter_mut().zip(offsets) {
                    *start = row.add(*offset);
                }
                for x in (0..self.width).step_by(S::LANES) {
                    let gradient = simd.load(gradient.as_ptr().add(x));
                    for (start, sum) in starts.iter().zip(&mut sums) {
                        *sum = simd.fma(gradient, simd.load(start.add(x)), *sum);
                    }
                }
            }
        }
        for (to, sum) in self.sums[first..].iter_mut().zip(sums) {
            *to += simd.sum(sum);
        }
        T
    }
}

/// Whether every channel has a kernel of its own and one result.
pub(crate) fn suits(groups: usize, channels: [usize; 2]) -> bool {
    groups > 1 && channels == [groups; 2]
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
    assert!(suits(geometry.groups(), geometry.channels()));
    let (layout, offsets) = Layout::of_images(geometry);
    let (channels, taps, [_, width]) = (geometry.groups(), geometry.taps(), geometry.out());
    let step = geometry.stride()[0] * layout.row();
    result
        .par_chunks_exact_mut(geometry.area_out())
        .zip(images.par_chunks_exact(geometry.area_in()))
        .enumerate()
        .with_min_len(RESULTS.div_ceil(geometry.area_out()))
        .for_each_init(
            || Scratch::zeros(layout.len()),
            |copy, (index, (out, image))| {
                let channel = index % channels;
                dispatch(Forward {
                    layout: &layout,
                    image,
                    offsets: &offsets,
                    weights: &weight[channel * taps..][..taps],
                    step,
                    bias: bias.map_or(0.0, |bias| bias[channel]),
                    bounds: activation.bounds(),
                    copy,
                    out,
                    width,
                });
            },
        );
}

/// One plane of the result.
struct Forward<'a> {
    layout: &'a Layout,
    image: &'a [f32],
    offsets: &'a [usize],
    weights: &'a [f32],
    step: usize,
    bias: f32,
    bounds: (f32, f32),
    copy: &'a mut [f32],
    out: &'a mut [f32],
    width: usize,
}

impl Kernel for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        self.layout.fill(simd, self.image, self.copy);
        let Self { offsets, weights, step, bias, bounds, copy, out, width, .. } = self;
        Sums { copy, offsets, weights, step, bias, bounds, out, width }.run(simd);
    }
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
    assert!(suits(geometry.groups(), geometry.channels()));
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
        let most = grid[0] * grid[1] * stride[1];
        (Scratch::zeros(layout.len()), Scratch::take(most), Scratch::take(count))
    };
    result
        .par_chunks_exact_mut(geometry.area_in())
        .zip(gradient.par_chunks_exact(geometry.area_out()))
        .enumerate()
        .with_min_len(RESULTS.div_ceil(geometry.area_in()))
        .for_each_init(buffers, |(copy, plane, weights), (index, (out, gradient))| {
            dispatch(Backward {
                layout: &layout,
                gradient,
                kernel: &weight[index % channels * count..][..count],
                phases: &phases,
                stride,
                copy,
                plane,
                weights,
                out,
                width: size[1],
            });
        });
}

/// One plane of the images' gradient.
struct Backward<'a> {
    layout: &'a Layout,
    gradient: &'a [f32],
    kernel: &'a [f32],
    phases: &'a [Phase],
    stride: [usize; 2],
    copy: &'a mut [f32],
    /// Room for one phase, and for its taps' weights.
    plane: &'a mut [f32],
    weights: &'a mut [f32],
    out: &'a mut [f32],
    width: usize,
}

impl Kernel for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        self.layout.fill(simd, self.gradient, self.copy);
        if let ([1, 1], [phase]) = (self.stride, self.phases) {
            return sums(simd, self.layout, self.copy, phase, self.kernel, self.weights, self.out);
        }
        // The phases of one remainder of rows lie side by side, and are woven into rows.
        let most = self.plane.len() / self.stride[1];
        for phases in self.phases.chunk_by(|a, b| a.first[0] == b.first[0]) {
            for (phase, plane) in phases.iter().zip(self.plane.chunks_exact_mut(most)) {
                let plane = &mut plane[..phase.grid[0] * phase.grid[1]];
                sums(simd, self.layout, self.copy, phase, self.kernel, self.weights, plane);
            }
            for y in 0..phases[0].grid[0] {
                let row = (y * self.stride[0] + phases[0].first[0]) * self.width;
                let out = &mut self.out[row..row + self.width];
                let mut done = 0;
                if let [even, odd] = phases {
                    let even = &self.plane[y * even.grid[1]..][..even.grid[1]];
                    let odd = &self.plane[most + y * odd.grid[1]..][..odd.grid[1]];
                    while done + 2 * S::LANES <= out.len() {
                        // SAFETY: two vectors of the row, and hence one of each half, are left.
                        unsafe {
                            let parts = [even, odd].map(|half| half.as_ptr().add(done / 2));
                            let parts = [simd.load(parts[0]), simd.load(parts[1])];
                            simd.join(out.as_mut_ptr().add(done), parts);
                        }
                        done += 2 * S::LANES;
                    }
                }
                for (x, value) in out.iter_mut().enumerate().skip(done) {
                    let phase = x % self.stride[1];
                    let columns = phases[phase].grid[1];
                    *value = self.plane[phase * most + y * columns + x / self.stride[1]];
                }
            }
        }
    }
}

/// The pixels of one phase.
#[inline(always)]
fn sums<S: Simd>(
    simd: S,
    layout: &Layout,
    copy: &[f32],
    phase: &Phase,
    kernel: &[f32],
    weights: &mut [f32],
    out: &mut [f32],
) {
    let weights = &mut weights[..phase.taps.len()];
    weights.iter_mut().zip(&phase.taps).for_each(|(to, tap)| *to = kernel[*tap]);
    let (step, width) = (layout.line(), phase.grid[1]);
    let bounds = Activation::Identity.bounds();
    let offsets = &phase.offsets;
    Sums { copy, offsets, weights, step, bias: 0.0, bounds, out, width }.run(simd);
}

/// The gradient with respect to the weight.
pub(crate) fn weight_gradient(
    geometry: &Geometry,
    images: &[f32],
    gradient: &[f32],
    result: &mut [f32],
) {
    geometry.check(images.len(), result.len(), gradient.len());
    assert!(suits(geometry.groups(), geometry.channels()));
    let (layout, offsets) = Layout::of_images(geometry);
    let out = geometry.out();
    let lines = Layout::new(out, [0, 0], out, [1, 1], [0, 0]);
    let (layout, offsets, lines) = (&layout, &offsets[..], &lines);
    let buffers = || (Scratch::zeros(layout.len()), Scratch::zeros(lines.len()));
    result.par_chunks_exact_mut(geometry.taps()).enumerate().for_each_init(
        buffers,
        |(copy, padded), (channel, sums)| {
            dispatch(Weights {
                geometry,
                layout,
                lines,
                offsets,
                images,
                gradient,
                channel,
                copy,
                padded,
                sums,
            });
        },
    );
}

/// One channel's kernel of the weight's gradient.
struct Weights<'a> {
    geometry: &'a Geometry,
    layout: &'a Layout,
    /// Of the gradient's copy: its rows are filled up with zeros.
    lines: &'a Layout,
    offsets: &'a [usize],
    images: &'a [f32],
    gradient: &'a [f32],
    channel: usize,
    copy: &'a mut [f32],
    padded: &'a mut [f32],
    sums: &'a mut [f32],
}

impl Kernel for Weights<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let (area_in, area_out) = (self.geometry.area_in(), self.geometry.area_out());
        self.sums.fill(0.0);
        for picture in 0..self.geometry.batch() {
            let plane = picture * self.geometry.groups() + self.channel;
            self.layout.fill(simd, &self.images[plane * area_in..][..area_in], self.copy);
            self.lines.fill(simd, &self.gradient[plane * area_out..][..area_out], self.padded);
            let correlate = Correlate {
                copy: self.copy,
                offsets: self.offsets,
                step: self.geometry.stride()[0] * self.layout.row(),
                gradient: self.padded,
                width: self.lines.line(),
                sums: self.sums,
            };
            correlate.run(simd);
        }
    }
}
