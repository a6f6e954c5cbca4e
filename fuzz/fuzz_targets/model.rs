//! A model that `kshot classify --save` wrote.
#![no_main]

use kshot::classify::model_file::ModelFile;
use kshot_fuzz::as_file;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| as_file("model.kshot", data, |path| drop(ModelFile::read(path))));
