//! NumPy's arrays of object numbers, and Cellpose's files.
#![no_main]

use kshot_data::labels::{index, instances};
use kshot_fuzz::as_file;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    as_file("a_seg.npy", data, |path| {
        let _ = (index::size(path), instances::read(path));
    });
});
