//! COCO's run lengths: column by column, pixels outside, inside, outside, ...

use std::ops::Range;

use crate::image::MOST_PIXELS;
use crate::mask::Mask;

/// The run lengths of the pixels for which `inside` holds.
pub fn encode(mask: &Mask, inside: impl Fn(u8) -> bool) -> Vec<u32> {
    let mut counts = Vec::new();
    let (mut run, mut within) = (0, false);
    for x in 0..mask.width {
        for y in 0..mask.height {
            if inside(mask.at(x, y)) != within {
                counts.push(run);
                (run, within) = (0, !within);
            }
            run += 1;
        }
    }
    counts.push(run);
    counts
}

/// The run lengths of COCO's compressed string, the reverse of
/// [`compress`](crate::rle::compress).
///
/// # Errors
/// In words, where a character or a length is impossible.
pub fn decompress(text: &str) -> Result<Vec<u32>, String> {
    let mut counts: Vec<u32> = Vec::new();
    let mut bytes = text.bytes();
    while let Some(first) = bytes.next() {
        let (mut value, mut shift, mut byte) = (0i64, 0, first);
        loop {
            if !(48..112).contains(&byte) || shift > 30 {
                return Err(format!(
                    "the run-length string is damaged at run {}; export it again",
                    counts.len()
                ));
            }
            let bits = i64::from(byte - 48);
            value |= (bits & 31) << shift;
            shift += 5;
            if bits & 32 == 0 {
                // The fifth bit is the sign.
                if bits & 16 != 0 {
                    value |= -1 << shift;
                }
                break;
            }
            byte = bytes.next().ok_or("the run-length string ends too early; export it again")?;
        }
        if counts.len() > 2 {
            value += i64::from(counts[counts.len() - 2]);
        }
        let count = u32::try_from(value).map_err(|_| {
            format!(
                "run {} of the run-length string is {value} long; export it again",
                counts.len()
            )
        })?;
        counts.push(count);
    }
    Ok(counts)
}

/// The pixels of run lengths' picture, which they must have in all.
///
/// # Errors
/// In words, if that is above the limit for pictures, or the run lengths have more or fewer.
pub fn check(counts: &[u32], (width, height): (usize, usize)) -> Result<(), String> {
    let pixels = width as u128 * height as u128;
    if pixels > MOST_PIXELS as u128 {
        return Err(format!(
            "run lengths of a picture of {width} x {height}, above the limit of {} million pixels",
            MOST_PIXELS / 1_000_000
        ));
    }
    let total: u64 = counts.iter().map(|&count| u64::from(count)).sum();
    if u128::from(total) != pixels {
        return Err(format!(
            "run lengths of {total} pixels in all, but {width} x {height} are {pixels}"
        ));
    }
    Ok(())
}

/// Paints the runs inside.
pub fn paint(mask: &mut Mask, counts: &[u32], value: u8) {
    let (width, height) = (mask.width, mask.height);
    let total = mask.pixels.len();
    let mut position = 0usize;
    for (index, &count) in counts.iter().enumerate() {
        let end = position.saturating_add(count as usize).min(total);
        if index % 2 == 1 && position < end {
            // Columns that are inside from top to bottom are painted row by row, which memory likes better.
            let (first, last) = (position.div_ceil(height), end / height);
            let whole = first * height..last.max(first) * height;
            if first < last {
                for row in mask.pixels.chunks_exact_mut(width) {
                    row[first..last].fill(value);
                }
            }
            // What is left above and below is of one column each.
            let mut down = |from: usize, to: usize| {
                let (column, top) = (from / height, from % height);
                for row in top..top + to.saturating_sub(from) {
                    mask.pixels[row * width + column] = value;
                }
            };
            down(position, end.min(whole.start));
            down(position.max(whole.end), end);
        }
        position = end;
    }
}

/// Pixels inside.
pub fn area(counts: &[u32]) -> u64 {
    counts.iter().skip(1).step_by(2).map(|&count| u64::from(count)).sum()
}

/// Left, top, right, bottom of the pixels inside; `None` where there is none.
pub fn bounds(counts: &[u32], height: usize) -> Option<[f64; 4]> {
    let height = height.max(1);
    let mut sides: Option<[usize; 4]> = None;
    let mut position = 0usize;
    for (index, &count) in counts.iter().enumerate() {
        let (start, end) = (position, position.saturating_add(count as usize));
        position = end;
        if index % 2 == 0 || count == 0 {
            continue;
        }
        let (left, right) = (start / height, (end - 1) / height);
        // A run over a column's end holds its last row and the first row of the next.
        let (top, bottom) =
            if left < right { (0, height - 1) } else { (start % height, (end - 1) % height) };
        let [l, t, r, b] = sides.unwrap_or([left, top, right, bottom]);
        sides = Some([l.min(left), t.min(top), r.max(right), b.max(bottom)]);
    }
    sides.map(|[left, top, right, bottom]| [left, top, right + 1, bottom + 1].map(|v| v as f64))
}

/// COCO's run lengths of pixels that come one by one, column by column.
#[derive(Debug, Clone, Default)]
pub struct ColumnRuns {
    counts: Vec<u32>,
    end: usize,
}

impl ColumnRuns {
    /// Adds the pixel at a position (column times height, and row), which is behind the last one.
    pub fn add(&mut self, position: usize) {
        self.add_run(position, 1);
    }

    /// The same of so many pixels one after the other.
    pub fn add_run(&mut self, position: usize, length: usize) {
        match self.counts.last_mut() {
            Some(run) if position == self.end => *run += length as u32,
            _ => self.counts.extend([position.saturating_sub(self.end) as u32, length as u32]),
        }
        self.end = position + length;
    }

    /// The run lengths in a picture of so many pixels; `None` where no pixel came.
    pub fn finish(mut self, pixels: usize) -> Option<Vec<u32>> {
        if self.counts.is_empty() {
            return None;
        }
        if pixels > self.end {
            self.counts.push((pixels - self.end) as u32);
        }
        Some(self.counts)
    }
}

/// Rows of a piece with the same pixels inside.
#[derive(Debug, PartialEq)]
struct Band {
    rows: Range<usize>,
    /// In order, apart from each other.
    across: Vec<Range<usize>>,
    /// The first of these that does not end left of the column in hand.
    next: usize,
}

/// The bands of runs row by row, from top to bottom.
fn bands(inside: &[Range<usize>], row: usize) -> Vec<Band> {
    let mut bands: Vec<Band> = Vec::new();
    let mut add = |rows: Range<usize>, across: Range<usize>| {
        if let Some(last) = bands.last_mut()
            && last.rows == rows
        {
            match last.across.last_mut() {
                Some(before) if before.end == across.start => before.end = across.end,
                _ => last.across.push(across),
            }
            return;
        }
        if let [.., above, last] = bands.as_mut_slice()
            && above.rows.end == last.rows.start
            && above.across == last.across
        {
            above.rows.end = last.rows.end;
            bands.pop();
        }
        bands.push(Band { rows, across: vec![across], next: 0 });
    };
    for run in inside {
        let mut at = run.start;
        while at < run.end {
            let (top, left) = (at / row, at % row);
            let whole = (run.end - at) / row;
            if left == 0 && whole > 0 {
                add(top..top + whole, 0..row);
                at += whole * row;
            } else {
                let right = (run.end - top * row).min(row);
                add(top..top + 1, left..right);
                at = top * row + right;
            }
        }
    }
    bands
}

/// COCO's run lengths of a picture, column by column, from pixels inside: runs row by row, in order and none empty, of
/// a piece `row` wide that lies at `left`, `top`. It takes memory for the runs, and not for the piece.
pub fn by_columns(
    inside: &[Range<usize>],
    row: usize,
    [left, top]: [usize; 2],
    (width, height): (usize, usize),
) -> Vec<u32> {
    let mut bands = bands(inside, row);
    let mut turns: Vec<usize> =
        bands.iter().flat_map(|band| &band.across).flat_map(|run| [run.start, run.end]).collect();
    turns.sort_unstable();
    turns.dedup();
    let mut runs = ColumnRuns::default();
    let mut down: Vec<Range<usize>> = Vec::new();
    // Between two turns all columns are the same.
    for pair in turns.windows(2) {
        down.clear();
        for band in &mut bands {
            while band.across.get(band.next).is_some_and(|run| run.end <= pair[0]) {
                band.next += 1;
            }
            if band.across.get(band.next).is_some_and(|run| run.start <= pair[0]) {
                match down.last_mut() {
                    Some(above) if above.end == band.rows.start => above.end = band.rows.end,
                    _ => down.push(band.rows.clone()),
                }
            }
        }
        for x in pair[0]..pair[1] {
            let column = (left + x) * height + top;
            down.iter().for_each(|rows| runs.add_run(column + rows.start, rows.len()));
        }
    }
    runs.finish(width * height).unwrap_or_else(|| vec![(width * height) as u32])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rle::{compress, measure};
    use rand::{Rng, SeedableRng};

    #[test]
    fn runs_go_there_and_back() {
        let pixels: Vec<u8> = (0..37u32 * 23).map(|i| u8::from((i * i / 7) % 5 == 0)).collect();
        let mask = Mask::from_pixels(37, 23, pixels).unwrap();
        let counts = encode(&mask, |value| value == 1);
        let record = &measure(&mask, None, 1)[0];
        assert_eq!(compress(&counts), record.rle);
        assert_eq!(decompress(&record.rle).unwrap(), counts);
        assert_eq!(area(&counts), record.area);
        let [left, top, width, height] = record.bbox.map(f64::from);
        assert_eq!(bounds(&counts, 23), Some([left, top, left + width, top + height]));
        let mut back = Mask::filled(37, 23, 0);
        paint(&mut back, &counts, 1);
        assert_eq!(back, mask);
    }

    #[test]
    fn runs_must_fill_their_picture() {
        assert_eq!(check(&[1, 2, 3], (3, 2)), Ok(()));
        assert!(check(&[1, 2], (3, 2)).unwrap_err().contains("3 pixels in all, but 3 x 2 are 6"));
        for side in [1 << 32, usize::MAX] {
            let error = check(&[0], (side, side)).unwrap_err();
            assert!(error.contains("above the limit of 200 million"), "{error}");
        }
    }

    #[test]
    fn rows_become_columns() {
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(2);
        for round in 0..300 {
            let (across, down) = (random.random_range(1..12), random.random_range(1..12));
            let (left, top) = (random.random_range(0..4), random.random_range(0..4));
            let (width, height) = (left + across + 2, top + down + 1);
            // Few changes make rows that are inside all over.
            let often = random.random_range(1..20);
            let mut inside: Vec<Range<usize>> = Vec::new();
            let mut mask = Mask::filled(width, height, 0);
            let mut value = false;
            for at in 0..across * down {
                value ^= random.random_range(0..often) == 0;
                if value {
                    mask.pixels[(top + at / across) * width + left + at % across] = 1;
                    match inside.last_mut() {
                        // Runs that touch are as good as one.
                        Some(last) if last.end == at && round % 2 == 0 => last.end = at + 1,
                        _ => inside.push(at..at + 1),
                    }
                }
            }
            let counts = by_columns(&inside, across, [left, top], (width, height));
            assert_eq!(counts, encode(&mask, |value| value == 1), "{inside:?} of {across}");
        }
    }

    #[test]
    fn runs_of_any_length_are_painted() {
        let pixel = |at: usize| [at % 4, at / 4];
        for (start, end) in (0..=24).flat_map(|start| (start..=30).map(move |end| (start, end))) {
            let mut mask = Mask::filled(6, 4, 0);
            paint(&mut mask, &[start as u32, (end - start) as u32], 1);
            for at in 0..24 {
                let [row, column] = pixel(at);
                let inside = (start..end).contains(&at);
                assert_eq!(mask.at(column, row) == 1, inside, "{start} to {end}: {at}");
            }
        }
        let mut mask = Mask::filled(6, 4, 0);
        paint(&mut mask, &[u32::MAX, u32::MAX, u32::MAX, u32::MAX], 1);
        paint(&mut Mask::filled(0, 0, 0), &[0, 7], 1);
        assert_eq!(mask.counts()[1], 0);
    }

    #[test]
    fn damaged_strings_are_refused() {
        for text in ["~~", "P", "\u{7f}", "o0o", "é"] {
            assert!(decompress(text).is_err(), "{text}");
        }
        assert!(decompress("").unwrap().is_empty());
    }
}
