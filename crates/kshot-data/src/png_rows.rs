//! PNG files of class and object numbers, as the numbers are in the file, row by row and under limits.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek};
use std::path::Path;

use crate::error::{Error, Result};
use crate::image::ReadLimits;

/// Bytes that text beside the pixels and a row may take.
const MOST_BESIDE: usize = 64 << 20;
/// Bytes that the text of one keyword may have when it is unpacked.
const MOST_TEXT: usize = 1 << 20;

/// A PNG whose header is read.
pub(crate) struct PngRows<R: BufRead + Seek>(png::Reader<R>);

impl PngRows<BufReader<File>> {
    /// Opens a file; `wrong` says what is wrong with its data.
    ///
    /// # Errors
    /// If it cannot be read, is no PNG, or its header says a size above the limits.
    pub(crate) fn open(
        path: &Path,
        wrong: impl Fn(png::DecodingError) -> Error,
    ) -> Result<PngRows<BufReader<File>>> {
        let file = File::open(path).map_err(|error| Error::io("read the mask", path, error))?;
        let limits = png::Limits { bytes: MOST_BESIDE };
        let mut decoder = png::Decoder::new_with_limits(BufReader::new(file), limits);
        decoder.set_transformations(png::Transformations::IDENTITY);
        // A profile says how colours look; nobody looks at numbers.
        decoder.set_ignore_iccp_chunk(true);
        let header = decoder.read_header_info().map_err(&wrong)?;
        ReadLimits::default().check(header.width, header.height)?;
        Ok(PngRows(decoder.read_info().map_err(wrong)?))
    }
}

impl<R: BufRead + Seek> PngRows<R> {
    /// What the header says.
    pub(crate) fn info(&self) -> &png::Info<'static> {
        self.0.info()
    }

    /// Width and height.
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.info().width as usize, self.info().height as usize)
    }

    /// The text of a keyword; `None` where there is none, or more of it than anybody writes.
    pub(crate) fn text(&self, keyword: &str) -> Option<String> {
        let mut chunk =
            self.info().utf8_text.iter().find(|chunk| chunk.keyword == keyword)?.clone();
        chunk.decompress_text_with_limit(MOST_TEXT).ok()?;
        chunk.get_text().ok()
    }

    /// Hands out every row from the top to the bottom, packed as in the file. Memory is for one row, but for interlaced
    /// files, whose rows come in parts.
    ///
    /// # Errors
    /// If the data are damaged or end too early.
    pub(crate) fn rows(mut self, mut row: impl FnMut(&[u8])) -> Result<(), png::DecodingError> {
        let (width, height) = self.size();
        let line = self.0.output_line_size(width as u32).unwrap_or(0);
        if !self.info().interlaced {
            let mut pixels = vec![0; line];
            while self.0.read_row(&mut pixels)?.is_some() {
                row(&pixels);
            }
            return Ok(());
        }
        let mut pixels = vec![0; line.saturating_mul(height)];
        self.0.next_frame(&mut pixels)?;
        pixels.chunks_exact(line.max(1)).take(height).for_each(row);
        Ok(())
    }
}

/// Width and height that a PNG's first bytes say; `None` of other files.
pub(crate) fn size(file: impl Read) -> Option<(usize, usize)> {
    let mut head = [0; 24];
    let mut file = file;
    file.read_exact(&mut head).ok()?;
    let side = |at: usize| {
        let bytes: [u8; 4] = head[at..at + 4].try_into().ok()?;
        usize::try_from(u32::from_be_bytes(bytes)).ok()
    };
    if !head.starts_with(b"\x89PNG\r\n\x1a\n") || &head[12..16] != b"IHDR" {
        return None;
    }
    side(16).zip(side(20))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn wrong(error: png::DecodingError) -> Error {
        Error::data(error.to_string())
    }

    /// A file of these chunks.
    fn file(chunks: &[(&[u8; 4], &[u8])]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"\x89PNG\r\n\x1a\n").unwrap();
        for (name, data) in chunks {
            let mut sum = flate2::Crc::new();
            sum.update(*name);
            sum.update(data);
            file.write_all(&(data.len() as u32).to_be_bytes()).unwrap();
            file.write_all(*name).unwrap();
            file.write_all(data).unwrap();
            file.write_all(&sum.sum().to_be_bytes()).unwrap();
        }
        file
    }

    fn packed(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn header(width: u32, height: u32, bits: u8, interlaced: bool) -> Vec<u8> {
        let sides = [width.to_be_bytes(), height.to_be_bytes()].concat();
        [sides, vec![bits, 0, 0, 0, u8::from(interlaced)]].concat()
    }

    #[test]
    fn rows_are_those_of_the_file_interlaced_or_not() {
        // 3 x 2 of 4 bits: 1 2 3, 4 5 6. Interlaced, the passes are: 1; 3; 2; 4 5 6.
        let plain = packed(&[0, 0x12, 0x30, 0, 0x45, 0x60]);
        let passes = packed(&[0, 0x10, 0, 0x30, 0, 0x20, 0, 0x45, 0x60]);
        for (data, interlaced) in [(plain, false), (passes, true)] {
            let head = header(3, 2, 4, interlaced);
            let file = file(&[(b"IHDR", &head), (b"IDAT", &data), (b"IEND", b"")]);
            assert_eq!(size(File::open(file.path()).unwrap()), Some((3, 2)));
            let mut rows = Vec::new();
            PngRows::open(file.path(), wrong).unwrap().rows(|row| rows.push(row.to_vec())).unwrap();
            assert_eq!(rows, [[0x12, 0x30], [0x45, 0x60]], "interlaced: {interlaced}");
        }
    }

    #[test]
    fn text_and_profiles_take_no_memory() {
        let bomb = packed(&vec![b'x'; 40 << 20]);
        let head = header(1, 1, 8, false);
        let pixel = packed(&[0, 7]);
        let text = [b"classes\0\x01\0\0\0".as_slice(), &bomb].concat();
        let profile = [b"p\0\0".as_slice(), &bomb].concat();
        let file = file(&[
            (b"IHDR", &head),
            (b"iTXt", &text),
            (b"iCCP", &profile),
            (b"IDAT", &pixel),
            (b"IEND", b""),
        ]);
        let read = PngRows::open(file.path(), wrong).unwrap();
        assert_eq!(read.text("classes"), None);
        assert!(read.info().icc_profile.is_none());
        let mut pixels: Vec<u8> = Vec::new();
        read.rows(|row| pixels.extend(row)).unwrap();
        assert_eq!(pixels, [7]);
    }

    #[test]
    fn what_is_damaged_is_an_error() {
        let head = header(200_000, 200_000, 16, false);
        let pixel = packed(&[0, 7]);
        let huge = file(&[(b"IHDR", &head), (b"IDAT", &pixel)]);
        let error = PngRows::open(huge.path(), wrong).err().unwrap().to_string();
        assert!(error.contains("200000 x 200000"), "{error}");
        let head = header(2, 2, 8, false);
        let short = file(&[(b"IHDR", &head), (b"IDAT", &pixel), (b"IEND", b"")]);
        assert!(PngRows::open(short.path(), wrong).unwrap().rows(|_| {}).is_err());
        assert_eq!(size(&b"no PNG at all, but long enough"[..]), None);
    }
}
