//! Python's pickles, of which nothing is run.
#![no_main]

use kshot_data::labels::pickle::Pickle;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(pickle) = Pickle::read(data) {
        let _ = (pickle.value(pickle.root, "masks"), pickle.items(pickle.root));
    }
});
