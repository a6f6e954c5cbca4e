//! COCO's compressed run lengths: they are painted, measured and compressed again.
#![no_main]

use kshot_data::labels::runs;
use kshot_data::mask::Mask;
use kshot_data::rle::compress;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: (u8, u8, &str)| {
    let (width, height, text) = data;
    let Ok(counts) = runs::decompress(text) else { return };
    assert_eq!(runs::decompress(&compress(&counts)).as_ref(), Ok(&counts));
    let (width, height) = (usize::from(width), usize::from(height));
    let mut mask = Mask::filled(width, height, 0);
    runs::paint(&mut mask, &counts, 1);
    let _ = runs::bounds(&counts, height);
    if runs::check(&counts, (width, height)).is_ok() {
        assert_eq!(runs::area(&counts), mask.counts()[1] as u64);
    }
});
