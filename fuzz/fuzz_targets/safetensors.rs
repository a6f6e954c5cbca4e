//! A file of weights.
#![no_main]

use kshot::weights::state::StateDict;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = StateDict::from_safetensors(data, "weights.safetensors".as_ref());
});
