//! The lines of an output folder's journal.
#![no_main]

use kshot_data::journal::{Journal, PictureRecord};
use kshot_fuzz::as_file;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    as_file("out/.kshot/records.jsonl", data, |path| {
        let out = path.ancestors().nth(2).expect("a folder");
        if let Ok(journal) = Journal::<PictureRecord>::read_only(out) {
            journal.records().for_each(drop);
        }
    });
});
