//! Objects as a PNG of 16-bit numbers: what Fiji, napari, QuPath, Cellpose and scikit-image read as a label image.

use std::path::Path;

use crate::atomic;
use crate::error::{Error, Result};
use crate::objects::ObjectMap;

/// Encodes the numbers: 16 bits a pixel, 0 for none, else the object's number.
///
/// # Errors
/// If there are more than 65 535 objects, or a side is 0 or larger than a PNG can be.
pub fn encode(map: &ObjectMap) -> Result<Vec<u8>> {
    if map.count() > usize::from(u16::MAX) {
        return Err(Error::data(format!(
            "{} objects in one picture, but a PNG of 16 bits holds 65535; cut the picture into parts, or raise \
             --min-object",
            map.count()
        )));
    }
    let side = |pixels: usize| u32::try_from(pixels).ok().filter(|pixels| *pixels > 0);
    let (Some(width), Some(height)) = (side(map.width), side(map.height)) else {
        return Err(Error::data(format!(
            "objects of {} x {} pixels cannot be written as a PNG; both sides must be at least 1",
            map.width, map.height
        )));
    };
    let numbers: Vec<u8> = map.ids.iter().flat_map(|&id| (id as u16).to_be_bytes()).collect();
    let encode = || -> Result<Vec<u8>, png::EncodingError> {
        let mut bytes = Vec::with_capacity(4096 + numbers.len() / 32);
        let mut encoder = png::Encoder::new(&mut bytes, width, height);
        encoder.set_color(png::ColorType::Grayscale);
        encoder.set_depth(png::BitDepth::Sixteen);
        encoder.set_filter(png::Filter::Up);
        encoder.set_compression(png::Compression::Fast);
        let software = concat!("kshot ", env!("CARGO_PKG_VERSION"));
        encoder.add_text_chunk("Software".into(), software.into())?;
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&numbers)?;
        writer.finish()?;
        Ok(bytes)
    };
    encode().map_err(|error| Error::data("could not encode the objects as a PNG").caused_by(error))
}

/// Writes the numbers to `path`, whole or not at all.
///
/// # Errors
/// As [`encode`] and [`atomic::write`].
pub fn write(path: &Path, map: &ObjectMap) -> Result<()> {
    atomic::write(path, &encode(map).map_err(|error| error.in_file(path))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::instances;

    #[test]
    fn numbers_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        let numbers: Vec<u32> = (0..300).collect();
        let map = ObjectMap::new(30, 10, &numbers, |_| 1).unwrap();
        write(&path, &map).unwrap();
        assert_eq!(instances::read(&path).unwrap().values, map.ids);
        assert_eq!(image::open(&path).unwrap().color(), image::ColorType::L16);
        assert!(encode(&ObjectMap::new(0, 0, &[], |_| 1).unwrap()).is_err());
    }
}
