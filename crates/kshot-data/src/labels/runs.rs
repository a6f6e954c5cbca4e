//! COCO's run lengths: column by column, pixels outside, inside, outside, ...

use std::ops::Range;

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

/// Paints the runs inside.
pub fn paint(mask: &mut Mask, counts: &[u32], value: u8) {
    let total = mask.pixels.len();
    let mut position = 0usize;
    for (index, &count) in counts.iter().enumerate() {
        let end = (position + count as usize).min(total);
        if index % 2 == 1 {
            for at in position..end {
                mask.pixels[at % mask.height * mask.width + at / mask.height] = value;
            }
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
        let (start, end) = (position, position + count as usize);
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
        match self.counts.last_mut() {
            Some(run) if position == self.end => *run += 1,
            _ => self.counts.extend([position.saturating_sub(self.end) as u32, 1]),
        }
        self.end = position + 1;
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

/// COCO's run lengths of a picture, column by column, from pixels inside: runs row by row, in order and none empty, of
/// a piece `row` wide that lies at `left`, `top`.
pub fn by_columns(
    inside: &[Range<usize>],
    row: usize,
    [left, top]: [usize; 2],
    (width, height): (usize, usize),
) -> Vec<u32> {
    // Only the box around the pixels inside is unrolled.
    let upper = inside.first().map_or(0, |run| run.start / row);
    let lower = inside.last().map_or(0, |run| (run.end - 1) / row + 1);
    let (mut first, mut last) = (row, 0);
    for run in inside {
        let one = run.start / row == (run.end - 1) / row;
        first = first.min(if one { run.start % row } else { 0 });
        last = last.max(if one { (run.end - 1) % row + 1 } else { row });
    }
    let across = last.saturating_sub(first);
    let mut pixels = vec![false; across * (lower - upper)];
    for run in inside {
        let mut at = run.start;
        while at < run.end {
            let end = run.end.min((at / row + 1) * row);
            let start = (at / row - upper) * across + at % row - first;
            pixels[start..start + (end - at)].fill(true);
            at = end;
        }
    }
    let mut runs = ColumnRuns::default();
    for x in 0..across {
        for y in (0..lower - upper).filter(|y| pixels[y * across + x]) {
            runs.add((left + first + x) * height + top + upper + y);
        }
    }
    runs.finish(width * height).unwrap_or_else(|| vec![(width * height) as u32])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rle::{compress, measure};

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
    fn damaged_strings_are_refused() {
        for text in ["~~", "P", "\u{7f}", "o0o", "é"] {
            assert!(decompress(text).is_err(), "{text}");
        }
        assert!(decompress("").unwrap().is_empty());
    }
}
