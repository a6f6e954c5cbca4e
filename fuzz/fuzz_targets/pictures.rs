//! A picture of any format.
#![no_main]

use kshot_fuzz::LIMITS;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = kshot_data::image::from_bytes(data, LIMITS, None);
});
