//! A view's pixels, sampled from the source once: whole pixels where they fit, an area-aware filter where sides change their
//! length, bilinearly where pictures are turned (after such a filter, where they shrink much). Masks take the nearest pixel.

use std::ops::Range;

use image::RgbImage;
use kshot_data::mask::{Mask, VOID};
use kshot_data::resize::resize_part;

use super::picture;
use super::view::{Map, View};
use crate::error::Result;

/// A pixel's red, green and blue.
type Rgb = [u8; 3];

/// Steps between two pixels from which on a turned picture is shrunk by an area-aware filter first: bilinear sampling
/// passes over pixels then.
const SPARSE: f64 = 1.5;
/// Less than a part of a pixel that could be seen.
const SLIVER: f64 = 1e-6;
/// Of places in double precision, at most.
const ROUNDING: f64 = 1e-9;
/// One pixel, where places are whole numbers.
const ONE: f64 = (1u64 << 32) as f64;

/// The picture that a view shows.
///
/// # Errors
/// If it cannot be resized.
pub(super) fn image(source: &RgbImage, view: &View) -> Result<RgbImage> {
    if !view.is_upright() {
        return turned(source, view);
    }
    let [across, down] = [0, 1].map(|axis| Side::of(view, axis));
    let nearest = across.whole && down.whole || across.inner.is_empty() || down.inner.is_empty();
    if nearest {
        let pixels = gathered(pixels(source), source.width() as usize, &across.from, &down.from);
        return Ok(picture(view.size[0], view.size[1], pixels.into_flattened()));
    }
    // What lies within the source is resized, and the rest repeats its border.
    let (columns, rows) = (across.inner.len(), down.inner.len());
    let inner = resized(source, [across.part, down.part], [columns, rows])?;
    if [columns, rows] == view.size && !across.mirrored && !down.mirrored {
        return Ok(inner);
    }
    let pixels = gathered(pixels(&inner), columns, &across.of_inner(), &down.of_inner());
    Ok(picture(view.size[0], view.size[1], pixels.into_flattened()))
}

/// The mask that a view shows.
pub(super) fn mask(source: &Mask, view: &View) -> Mask {
    let [width, height] = view.size;
    if !view.is_upright() {
        return Mask { width, height, pixels: turned_labels(source, view) };
    }
    let [across, down] = [0, 1].map(|axis| Side::of(view, axis));
    let mut labels = gathered(&source.pixels, source.width, &across.from, &down.from);
    let outside = |side: &Side| -> Vec<usize> {
        (0..side.inside.len()).filter(|at| !side.inside[*at]).collect()
    };
    let (columns, rows) = (outside(&across), outside(&down));
    for row in rows {
        labels[row * width..][..width].fill(VOID);
    }
    if !columns.is_empty() {
        for line in labels.chunks_exact_mut(width) {
            columns.iter().for_each(|column| line[*column] = VOID);
        }
    }
    Mask { width, height, pixels: labels }
}

fn pixels(image: &RgbImage) -> &[Rgb] {
    image.as_raw().as_chunks().0
}

/// Where the columns of an upright view come from, or its rows.
struct Side {
    /// The nearest one of the source.
    from: Vec<usize>,
    /// Whether it is in the source.
    inside: Vec<bool>,
    /// Whether all are whole ones of the source, none between two.
    whole: bool,
    mirrored: bool,
    /// Those of the view that lie in the source with all of their breadth.
    inner: Range<usize>,
    /// Where in the source these begin and end.
    part: [f64; 2],
}

impl Side {
    fn of(view: &View, axis: usize) -> Self {
        let (count, length) = (view.size[axis], view.frames[0].size[axis]);
        let map = view.maps()[0];
        let step = map.steps(axis)[axis];
        let at = |place: f64| map.at([place; 2])[axis];
        let mut whole = step.abs() == 1.0;
        let (mut from, mut inside) = (Vec::with_capacity(count), Vec::with_capacity(count));
        let mut inner = count..0;
        for place in 0..count {
            let (source, within) = view.place([place as f64 + 0.5; 2]);
            let source = source[axis];
            whole &= (source - 0.5 - (source - 0.5).round()).abs() < SLIVER;
            from.push(((source + ROUNDING) as usize).min(length - 1));
            inside.push(within[axis]);
            let ends = [at(place as f64), at(place as f64 + 1.0)];
            let covered = ends.iter().all(|end| (-SLIVER..=length as f64 + SLIVER).contains(end));
            if within[axis] && covered {
                inner = inner.start.min(place)..place + 1;
            }
        }
        let ends = [at(inner.start as f64), at(inner.end as f64)];
        let part = [ends[0].min(ends[1]), ends[0].max(ends[1])];
        let part = part.map(|end| end.clamp(0.0, length as f64));
        Self { from, inside, whole, mirrored: step < 0.0, inner, part }
    }

    /// For each of the view's, the one of the inner part.
    fn of_inner(&self) -> Vec<usize> {
        let last = self.inner.len() - 1;
        let nearest = |place: usize| {
            let place = place.clamp(self.inner.start, self.inner.end - 1) - self.inner.start;
            if self.mirrored { last - place } else { place }
        };
        (0..self.from.len()).map(nearest).collect()
    }
}

/// The pixels of these columns and rows of a picture.
fn gathered<T: Copy>(pixels: &[T], width: usize, columns: &[usize], rows: &[usize]) -> Vec<T> {
    let mut all = Vec::with_capacity(columns.len() * rows.len());
    // Columns that follow each other are copied together.
    let follows = |pair: &[usize; 2]| pair[1] == pair[0] + 1;
    let first = columns.array_windows().position(follows).unwrap_or(columns.len());
    let run = columns[first.min(columns.len())..].array_windows().take_while(|pair| follows(pair));
    let run = if first < columns.len() { run.count() + 1 } else { 0 };
    let (before, rest) = columns.split_at(first);
    let (run, after) = rest.split_at(run);
    for row in rows {
        let line = &pixels[row * width..][..width];
        all.extend(before.iter().map(|column| line[*column]));
        if let Some(start) = run.first() {
            all.extend_from_slice(&line[*start..][..run.len()]);
        }
        all.extend(after.iter().map(|column| line[*column]));
    }
    all
}

/// A part of a picture (where its columns begin and end, and its rows) at a size, by an area-aware bilinear filter; along
/// the part's border the filter sees what is beyond.
fn resized(
    source: &RgbImage,
    [across, down]: [[f64; 2]; 2],
    [width, height]: [usize; 2],
) -> Result<RgbImage> {
    let part = [across[0], down[0], across[1] - across[0], down[1] - down[0]];
    resize_part(source, part, width as u32, height as u32)
}

/// A picture that is turned.
fn turned(source: &RgbImage, view: &View) -> Result<RgbImage> {
    let map = view.maps()[0];
    let sparse = [0, 1].map(|axis| {
        let [across, down] = map.steps(axis);
        across.hypot(down)
    });
    if sparse.iter().all(|step| *step < SPARSE) {
        return Ok(between(source, view, &Map::IDENTITY));
    }
    let part = seen(view, &map);
    let sides = [0, 1].map(|axis| part[axis][1] - part[axis][0]);
    let small = [0, 1].map(|axis| {
        let factor = if sparse[axis] < SPARSE { 1.0 } else { sparse[axis] };
        (sides[axis] / factor).ceil().max(1.0)
    });
    let less = Map::scale([small[0] / sides[0], small[1] / sides[1]])
        .after(&Map::shift([-part[0][0], -part[1][0]]));
    let small = resized(source, part, small.map(|side| side as usize))?;
    Ok(between(&small, view, &less))
}

/// The columns and rows of the source that a turned view may ask for: where they begin and end.
fn seen(view: &View, map: &Map) -> [[f64; 2]; 2] {
    let [right, bottom] = view.size.map(|side| side as f64);
    let corners = [[0.0, 0.0], [right, 0.0], [0.0, bottom], [right, bottom]];
    let corners = corners.map(|corner| map.at(corner));
    [0, 1].map(|axis| {
        let length = view.frames[0].size[axis] as f64;
        // Of what is beyond another frame, that frame's border is seen, wherever it is.
        if view.frames.len() > 1 {
            return [0.0, length];
        }
        let margin = 2.0 * map.steps(axis).iter().map(|step| step.abs()).sum::<f64>();
        let ends = corners.map(|corner| corner[axis]);
        let [first, last] = [f64::min, f64::max].map(|which| ends.into_iter().fold(ends[0], which));
        let first = (first - margin).floor().clamp(0.0, length - 1.0);
        [first, (last + margin).ceil().clamp(first + 1.0, length)]
    })
}

/// A row of a view: the places that lie well within all frames, where nothing needs to be looked at but the next step.
struct Row {
    inner: Range<usize>,
    /// The first pixel's place in the picture that is sampled, and the step to the next, in parts of `1 / ONE`.
    start: [i64; 2],
    step: [i64; 2],
}

impl Row {
    /// `frames`: maps into pictures and their sizes, within which places must lie; `map` into the one that is sampled, the
    /// centre of its first pixel being at `[0, 0]`.
    fn of(width: usize, y: usize, frames: &[(Map, [usize; 2])], map: &Map) -> Self {
        let (mut start, mut end) = (0.0f64, width as f64);
        for (map, size) in frames {
            let first = map.at([0.5, y as f64 + 0.5]);
            for axis in [0, 1] {
                // The rounding of places to parts of 1 / 256 must not lead out.
                let ends = [0.51, size[axis] as f64 - 0.51];
                let step = map.steps(axis)[0];
                if step.abs() < ROUNDING {
                    if !(ends[0]..=ends[1]).contains(&first[axis]) {
                        end = 0.0;
                    }
                    continue;
                }
                let [a, b] = ends.map(|place| (place - first[axis]) / step);
                start = start.max(a.min(b).ceil());
                end = end.min(a.max(b).floor());
            }
        }
        let inner = if start < end { start as usize..end as usize } else { 0..0 };
        let whole = |place: f64| (place * ONE).round() as i64;
        let first = map.at([0.5, y as f64 + 0.5]);
        Self { inner, start: first.map(whole), step: [0, 1].map(|axis| whole(map.steps(axis)[0])) }
    }

    fn place(&self, x: usize) -> [i64; 2] {
        [0, 1].map(|axis| self.start[axis] + x as i64 * self.step[axis])
    }
}

/// The frames of a view with the maps into them.
fn frames(view: &View) -> Vec<(Map, [usize; 2])> {
    view.maps().into_iter().zip(view.frames.iter().map(|frame| frame.size)).collect()
}

/// The view between the pixels of a picture, into which `less` maps the source's places.
fn between(sampled: &RgbImage, view: &View, less: &Map) -> RgbImage {
    let [width, height] = view.size;
    let size = [sampled.width() as usize, sampled.height() as usize];
    let mut frames = frames(view);
    let direct = less.after(&frames[0].0);
    frames.push((direct, size));
    let centred = Map::shift([-0.5; 2]).after(&direct);
    let columns = size[0];
    let of = pixels(sampled);
    let mut all = Vec::with_capacity(width * height);
    for y in 0..height {
        let row = Row::of(width, y, &frames, &centred);
        let slow = |x: usize| {
            let (place, _) = view.place([x as f64 + 0.5, y as f64 + 0.5]);
            bilinear(of, size, less.at(place).map(|at| (at - 0.5) as f32))
        };
        all.extend((0..row.inner.start).map(slow));
        let [mut right, mut down] = row.place(row.inner.start).map(|at| at + (1 << 23));
        all.extend(row.inner.clone().map(|_| {
            let at = (down >> 32) as usize * columns + (right >> 32) as usize;
            let weights = [right, down].map(|at| (at >> 24) as u32 & 255);
            right += row.step[0];
            down += row.step[1];
            blended([&of[at..][..2], &of[at + columns..][..2]], weights)
        }));
        all.extend((row.inner.end..width).map(slow));
    }
    picture(width, height, all.into_flattened())
}

/// The labels of a turned view.
fn turned_labels(source: &Mask, view: &View) -> Vec<u8> {
    let [width, height] = view.size;
    let frames = frames(view);
    let (direct, columns) = (frames[0].0, source.width);
    let mut all = Vec::with_capacity(width * height);
    for y in 0..height {
        let row = Row::of(width, y, &frames, &direct);
        let slow = |x: usize| {
            let (place, inside) = view.place([x as f64 + 0.5, y as f64 + 0.5]);
            let [x, y] = place.map(|at| at as usize);
            if inside == [true; 2] { source.pixels[y * columns + x] } else { VOID }
        };
        all.extend((0..row.inner.start).map(slow));
        let [mut right, mut down] = row.place(row.inner.start);
        all.extend(row.inner.clone().map(|_| {
            let at = (down >> 32) as usize * columns + (right >> 32) as usize;
            right += row.step[0];
            down += row.step[1];
            source.pixels[at]
        }));
        all.extend((row.inner.end..width).map(slow));
    }
    all
}

/// The picture between its pixels, whose centres are at whole numbers; outside, its border.
fn bilinear(of: &[Rgb], [columns, rows]: [usize; 2], [x, y]: [f32; 2]) -> Rgb {
    let place = |at: f32, count: usize| {
        let at = at.clamp(0.0, (count - 1) as f32);
        let low = at as usize;
        (low, (low + 1).min(count - 1), ((at - low as f32) * 256.0).round() as u32)
    };
    let (left, right, across) = place(x, columns);
    let (top, bottom, down) = place(y, rows);
    let line = |y: usize| [of[y * columns + left], of[y * columns + right]];
    blended([&line(top), &line(bottom)], [across, down])
}

/// Two pixels and the two below them, by weights of the right and the lower ones in 256ths.
#[inline]
fn blended([above, below]: [&[Rgb]; 2], [across, down]: [u32; 2]) -> Rgb {
    let blend = |a: u32, b: u32, weight: u32| a * (256 - weight) + b * weight;
    std::array::from_fn(|channel| {
        let [above, below] = [above, below]
            .map(|line| blend(u32::from(line[0][channel]), u32::from(line[1][channel]), across));
        ((blend(above, below, down) + (1 << 15)) >> 16) as u8
    })
}
