//! XML of every tool.
#![no_main]

use kshot_data::finding::Findings;
use kshot_data::labels::files::XML;
use kshot_fuzz::painted;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(document) = roxmltree::Document::parse(text) else { return };
    for format in XML.iter().filter(|format| (format.is)(&document)) {
        let read = (format.read)("a.xml".as_ref(), &document, &mut Findings::default());
        if let Ok(labels) = read {
            painted(labels);
        }
    }
});
