//! JSON of every tool, and pictures in it.
#![no_main]

use kshot_data::finding::Findings;
use kshot_data::image::embedded;
use kshot_data::labels::files::JSON;
use kshot_fuzz::{as_file, painted};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(value) = serde_json::from_slice(data) else { return };
    for format in JSON.iter().filter(|format| (format.is)(&value)) {
        let read = (format.read)("a.json".as_ref(), &value, &mut Findings::default());
        if let Ok(labels) = read {
            painted(labels);
        }
    }
    as_file("a.json", data, |path| drop(embedded::bytes(path)));
});
