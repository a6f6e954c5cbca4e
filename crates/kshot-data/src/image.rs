//! Reading pictures: any format, any depth, the right way up, under limits.

mod dicom;
mod dicom_lengths;
pub mod embedded;
mod jpeg;
mod jpeg_xl;
pub mod kinds;
mod listing;
mod rgb;
pub mod tiff_kinds;

use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Read, Seek};
use std::path::Path;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, RgbImage};

use crate::caught::caught;
use crate::deep::DeepRange;
use crate::error::{Error, Result};

pub use listing::{is_ending, list, list_ending};
pub(crate) use listing::{is_hidden, unlisted, walk};

/// What a picture may cost before it is refused, checked on its header.
#[derive(Debug, Clone, Copy)]
pub struct ReadLimits {
    /// Longest side in pixels.
    pub side: u32,
    /// Pixels.
    pub pixels: u64,
}

/// Pixels of the largest picture.
pub const MOST_PIXELS: usize = 200_000_000;

impl Default for ReadLimits {
    /// Sides up to 65 535 and 200 million pixels: above the largest cameras. Such a picture takes, while it is read, 0.6 GB
    /// (JPEG, RGB of 8 bits), 1.4 GB (with transparency, GIF), 1.8 GB (RGB of 16 bits) or 2.2 GB (that with
    /// transparency): as its file has it, and the 0.6 GB that are left. TIFF takes the former twice.
    fn default() -> Self {
        Self { side: 65_535, pixels: MOST_PIXELS as u64 }
    }
}

impl ReadLimits {
    /// Refuses a size beyond these.
    ///
    /// # Errors
    /// If it is.
    pub fn check(self, width: u32, height: u32) -> Result<()> {
        let pixels = u64::from(width) * u64::from(height);
        if width.max(height) > self.side || pixels > self.pixels {
            return Err(Error::data(format!(
                "its header says {width} x {height} pixels, above the limit of {} million; cut it into parts or shrink \
                 it first",
                self.pixels / 1_000_000
            )));
        }
        if pixels == 0 {
            return Err(Error::data("its header says it has no pixels"));
        }
        Ok(())
    }
}

/// Extensions of the pictures that [`list`] finds.
pub const EXTENSIONS: &[&str] =
    &["jpg", "jpeg", "jfif", "jpe", "png", "tif", "tiff", "webp", "bmp", "gif", "jxl", "dcm"];

/// Reads a picture as 8-bit RGB, upright.
///
/// The format is told by content. EXIF orientation is obeyed; gray becomes RGB; transparent parts
/// are laid over white; 16-bit pictures keep their upper 8 bits, except where the brightest value is
/// below 4096 (12-bit cameras in a 16-bit file), which is stretched to the brightest value.
///
/// # Errors
/// If the file cannot be read, is empty, truncated, not a picture, or larger than the limits.
pub fn read(path: impl AsRef<Path>) -> Result<RgbImage> {
    read_with(path, ReadLimits::default(), None)
}

/// As [`read`], with the range that 16-bit pictures of the same folder share.
///
/// # Errors
/// As [`read`].
pub fn read_deep(path: impl AsRef<Path>, range: Option<DeepRange>) -> Result<RgbImage> {
    read_with(path, ReadLimits::default(), range)
}

/// As [`read_deep`], under other limits.
///
/// # Errors
/// As [`read`].
pub fn read_with(
    path: impl AsRef<Path>,
    limits: ReadLimits,
    range: Option<DeepRange>,
) -> Result<RgbImage> {
    let path = path.as_ref();
    decoded(path, limits, range).map_err(|error| error.in_file(path))
}

/// As [`read_with`], of a file in memory.
///
/// # Errors
/// As [`read`].
pub fn from_bytes(bytes: &[u8], limits: ReadLimits, range: Option<DeepRange>) -> Result<RgbImage> {
    if bytes.starts_with(b"\xff\xd8") && !jpeg::is_whole(bytes) {
        return Err(Error::data(CUT));
    }
    picture(Cursor::new(bytes), bytes.len() as u64, limits, range)
}

fn decoded(path: &Path, limits: ReadLimits, range: Option<DeepRange>) -> Result<RgbImage> {
    let io = |error| Error::io("read the picture", path, error);
    if embedded::is_one(path) {
        return from_bytes(&embedded::bytes(path)?, limits, range);
    }
    let mut file = File::open(path).map_err(io)?;
    let length = file.metadata().map_err(io)?.len();
    if length == 0 {
        return Err(Error::data("the file is empty (0 bytes); copy it again"));
    }
    let mut start = [0u8; kinds::START];
    let known = file.read(&mut start).map_err(io)?;
    file.rewind().map_err(io)?;
    if start.starts_with(b"\xff\xd8") {
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(io)?;
        return from_bytes(&bytes, limits, range);
    }
    if let Some(read) = rare(&start[..known]) {
        let decoded = caught(|| read(BufReader::new(file), limits)).map_err(|panic| {
            Error::data(format!("damaged, it cannot be decoded ({panic}); copy or export it again"))
        });
        return Ok(rgb::to_rgb(decoded??, range));
    }
    if let Some(kind) = kinds::named(&start[..known]) {
        return Err(Error::data(format!(
            "no picture kshot reads: it is {kind}; export it as JPEG, PNG or TIFF"
        )));
    }
    picture(BufReader::new(file), length, limits, range)
}

/// Reads a kind of picture that the usual decoders do not know.
type ReadRare<R> = fn(R, ReadLimits) -> Result<DynamicImage>;

/// What reads such a kind, by a file's first bytes.
fn rare<R: Read>(start: &[u8]) -> Option<ReadRare<R>> {
    if jpeg_xl::is_one(start) {
        Some(jpeg_xl::read)
    } else if dicom::is_one(start) {
        Some(dicom::read)
    } else {
        None
    }
}

/// A file whose header says more pixels than its bytes can hold.
fn unfilled(width: u32, height: u32, length: u64) -> Error {
    Error::data(format!(
        "its header says {width} x {height} pixels, which its {length} bytes cannot hold: it is damaged; copy or export it \
         again"
    ))
}

/// What is said of files that end too early.
const CUT: &str = "the file ends too early: it is truncated; copy or export it again";

/// Bytes that a decoder may take beside a picture's pixels: text, profiles, rows.
const BESIDE: u64 = 64 << 20;

/// Pixels that a byte of a JPEG can hold at most: a block of 8 x 8 takes a bit or more.
const PIXELS_OF_JPEG_BYTE: u64 = 1024;

fn picture<R: BufRead + Seek>(
    mut bytes: R,
    length: u64,
    limits: ReadLimits,
    range: Option<DeepRange>,
) -> Result<RgbImage> {
    let failed = |error: std::io::Error| Error::data(format!("cannot be read: {error}"));
    let mut start = [0; 4];
    let known = bytes.read(&mut start).map_err(failed)?;
    bytes.rewind().map_err(failed)?;
    let is_tiff = crate::mask_tiff::is_tiff(&start[..known]);
    let reader = ImageReader::new(&mut bytes).with_guessed_format().map_err(failed)?;
    if reader.format().is_none() && !is_tiff {
        return Err(Error::data(
            "not a picture: its first bytes are of no format kshot reads (JPEG, PNG, TIFF, WebP, BMP, GIF)",
        ));
    }
    match undeveloped(reader, length, limits) {
        Ok(picture) => {
            let (picture, orientation) = picture?;
            let mut upright = DynamicImage::ImageRgb8(rgb::to_rgb(picture, range));
            upright.apply_orientation(orientation);
            Ok(upright.into_rgb8())
        }
        Err(image::ImageError::Unsupported(_)) if is_tiff => {
            bytes.rewind().map_err(failed)?;
            Ok(rgb::to_rgb(tiff_kinds::read(bytes, limits)?, range))
        }
        Err(error) => Err(explain(error)),
    }
}

/// A picture as its file has it, and how it must be turned; the outer error is the decoder's. Of animations it is the
/// first picture. The header is checked before there is memory for pixels.
pub(crate) fn undeveloped<R: BufRead + Seek>(
    mut reader: ImageReader<R>,
    length: u64,
    limits: ReadLimits,
) -> std::result::Result<Result<(DynamicImage, Orientation)>, image::ImageError> {
    let is_jpeg = reader.format() == Some(ImageFormat::Jpeg);
    reader.limits(memory(BESIDE));
    let mut decoder = reader.into_decoder()?;
    let (width, height) = decoder.dimensions();
    if let Err(error) = limits.check(width, height) {
        return Ok(Err(error));
    }
    let pixels = u64::from(width) * u64::from(height);
    if is_jpeg && pixels > length.saturating_mul(PIXELS_OF_JPEG_BYTE) {
        return Ok(Err(Error::data(CUT)));
    }
    // Separated inks have a value more than the colours they become; no part of a file is longer than the file.
    let all = decoder.total_bytes().saturating_mul(4) / 3 + BESIDE + length;
    decoder.set_limits(memory(all))?;
    let orientation = decoder.orientation()?;
    Ok(Ok((DynamicImage::from_decoder(decoder)?, orientation)))
}

fn memory(bytes: u64) -> image::Limits {
    let mut limits = image::Limits::no_limits();
    limits.max_alloc = Some(bytes);
    limits
}

/// Width and height of a picture, upright, from its header alone.
///
/// # Errors
/// If the file cannot be read or is not a picture.
pub fn dimensions(path: impl AsRef<Path>) -> Result<(u32, u32)> {
    upright_size(path.as_ref())
}

/// [`dimensions`] with all decoders, compiled here alone.
fn upright_size(path: &Path) -> Result<(u32, u32)> {
    let io = |error| Error::io("read the picture", path, error);
    let size = if embedded::is_one(path) {
        size_of(Cursor::new(embedded::bytes(path)?))
    } else {
        size_of(BufReader::new(File::open(path).map_err(io)?))
    };
    size.map_err(|error| error.in_file(path))
}

fn size_of<R: BufRead + Seek>(mut bytes: R) -> Result<(u32, u32)> {
    let failed = |error: std::io::Error| Error::data(format!("cannot be read: {error}"));
    let mut start = [0u8; kinds::START];
    let known = bytes.read(&mut start).map_err(failed)?;
    bytes.rewind().map_err(failed)?;
    let damaged = |panic| Error::data(format!("damaged, its size cannot be read ({panic})"));
    if jpeg_xl::is_one(&start[..known]) {
        return caught(|| jpeg_xl::dimensions(bytes)).map_err(damaged)?;
    }
    if dicom::is_one(&start[..known]) {
        return caught(|| dicom::dimensions(bytes)).map_err(damaged)?;
    }
    let mut reader = ImageReader::new(&mut bytes).with_guessed_format().map_err(failed)?;
    reader.limits(memory(BESIDE));
    let upright = |mut decoder: Box<dyn ImageDecoder + '_>| {
        let (width, height) = decoder.dimensions();
        use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
        Ok(match decoder.orientation()? {
            Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH => (height, width),
            _ => (width, height),
        })
    };
    let size = reader.into_decoder().and_then(|decoder| upright(Box::new(decoder)));
    match size {
        Ok(size) => Ok(size),
        Err(error) => {
            bytes.rewind().map_err(failed)?;
            let tiff = tiff::decoder::Decoder::new(bytes).and_then(|mut tiff| tiff.dimensions());
            tiff.map_err(|_| explain(error))
        }
    }
}

/// A PNG in memory as gray values, of at most so many pixels a side.
///
/// # Errors
/// If it is none, is damaged or larger.
pub fn gray_png(bytes: &[u8], most_side: u32) -> Result<image::GrayImage> {
    let mut limits = memory(8 * u64::from(most_side) * u64::from(most_side));
    (limits.max_image_width, limits.max_image_height) = (Some(most_side), Some(most_side));
    let mut reader = ImageReader::new(Cursor::new(bytes));
    reader.set_format(ImageFormat::Png);
    reader.limits(limits);
    let wrong = |error| Error::data(format!("not a PNG of a drawing: {error}"));
    Ok(reader.decode().map_err(wrong)?.into_luma8())
}

/// EXIF's orientation of a picture, 1 to 8; `None` where it cannot be read.
pub fn orientation(path: &Path) -> Option<u8> {
    let mut reader = ImageReader::open(path).ok()?.with_guessed_format().ok()?;
    reader.limits(memory(BESIDE));
    reader.into_decoder().ok()?.orientation().ok().map(Orientation::to_exif)
}

fn explain(error: image::ImageError) -> Error {
    use image::ImageError;
    let message = match &error {
        ImageError::IoError(io) if io.kind() == std::io::ErrorKind::UnexpectedEof => CUT.to_owned(),
        ImageError::Unsupported(what) => {
            format!("a kind of picture kshot cannot read ({what}); export it as PNG or JPEG")
        }
        ImageError::Limits(what) => format!("it would need too much memory ({what})"),
        other => format!("damaged, it cannot be decoded ({other}); copy or export it again"),
    };
    Error::data(message).caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let good = RgbImage::from_pixel(40, 30, image::Rgb([9, 200, 31]));
        let file = folder.path().join("good.png");
        good.save(&file).unwrap();
        assert_eq!(read(&file).unwrap(), good);
        let bytes = std::fs::read(&file).unwrap();
        let says = |name: &str, bytes: &[u8], what: &str| {
            let file = folder.path().join(name);
            std::fs::write(&file, bytes).unwrap();
            let error = read(&file).unwrap_err().to_string();
            assert!(error.contains(what) && error.contains(name), "{error}");
        };
        says("empty.png", b"", "empty");
        says("text.png", b"this is not a picture at all", "not a picture");
        says("cut.png", &bytes[..bytes.len() / 2], "");
        let mut bomb = std::io::Cursor::new(Vec::new());
        let mut encoder = png::Encoder::new(&mut bomb, 40_000, 40_000);
        encoder.set_color(png::ColorType::Grayscale);
        let mut writer = encoder.write_header().unwrap();
        // An empty zlib stream: the header alone must be enough to refuse it.
        writer.write_chunk(png::chunk::IDAT, &[0x78, 0x9c, 3, 0, 0, 0, 0, 1]).unwrap();
        drop(writer);
        says("bomb.png", bomb.get_ref(), "40000 x 40000");
        let small = ReadLimits { pixels: 100, ..ReadLimits::default() };
        assert!(read_with(&file, small, None).is_err());
    }

    #[test]
    fn headers_that_claim_much_take_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let refused = |name: &str, bytes: &[u8], what: &str| {
            let file = folder.path().join(name);
            std::fs::write(&file, bytes).unwrap();
            let error = read(&file).unwrap_err().to_string();
            assert!(error.contains(what), "{name}: {error}");
        };
        let side = 65_535u16.to_le_bytes();
        let gif = |screen: [u8; 2], frame: [u8; 2]| {
            let start =
                [b"GIF89a".as_slice(), &screen, &screen, b"\x80\0\0\0\0\0\x01\x01\x01"].concat();
            let head = [b",\0\0\0\0".as_slice(), &frame, &frame, b"\0"].concat();
            [start, head, b"\x02\x02\x44\x01\0;".to_vec()].concat()
        };
        refused("screen.gif", &gif(side, side), "65535 x 65535");
        refused("frame.gif", &gif([1, 0], side), "too much memory");
        let mut small = Cursor::new(Vec::new());
        RgbImage::new(16, 16).write_to(&mut small, ImageFormat::Jpeg).unwrap();
        let mut small = small.into_inner();
        let frame = small.windows(2).position(|marker| marker == [0xff, 0xc0]).unwrap();
        small[frame + 5..frame + 9].copy_from_slice(&[0x36, 0xb0, 0x36, 0xb0]);
        refused("frame.jpg", &small, "ends too early");
        let mut bmp = Cursor::new(Vec::new());
        RgbImage::new(2, 2).write_to(&mut bmp, ImageFormat::Bmp).unwrap();
        let mut bmp = bmp.into_inner();
        for at in [18, 22] {
            bmp[at..at + 4].copy_from_slice(&14_000u32.to_le_bytes());
        }
        refused("pixels.bmp", &bmp, "ends too early");
    }

    #[test]
    fn twelve_bit_pictures_are_stretched() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("deep.tif");
        image::ImageBuffer::<image::Luma<u16>, _>::from_fn(4, 1, |x, _| {
            image::Luma([x as u16 * 1000])
        })
        .save(&file)
        .unwrap();
        let picture = read(&file).unwrap();
        assert_eq!(picture.get_pixel(3, 0).0, [255; 3]);
        assert_eq!(picture.get_pixel(0, 0).0, [0; 3]);
    }

    #[test]
    fn transparent_parts_are_white() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("glass.png");
        image::RgbaImage::from_pixel(2, 2, image::Rgba([10, 20, 30, 0])).save(&file).unwrap();
        assert_eq!(read(&file).unwrap().get_pixel(0, 0).0, [255; 3]);
    }
}
