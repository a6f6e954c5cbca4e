//! A mask or a picture of object numbers, as PNG, TIFF or JPEG.
#![no_main]

use kshot_data::labels::{index, instances};
use kshot_fuzz::as_file;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let end = if data.starts_with(b"II") || data.starts_with(b"MM") { "tif" } else { "png" };
    as_file(&format!("mask.{end}"), data, |path| {
        if index::size(path).is_none_or(|(width, height)| width.saturating_mul(height) < 1 << 22) {
            let _ = (index::read_file(path), instances::read(path));
        }
    });
});
