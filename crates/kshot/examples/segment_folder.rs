//! Segments a folder of pictures from a few labelled ones: `cargo run --release --example segment_folder
//! [SUPPORT QUERY OUT]`, with the coins of this repository by default.

use kshot::job::{Event, SegmentOptions, Watch, segment};

fn main() -> kshot::Result<()> {
    let coins = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/coins");
    let given: Vec<String> = std::env::args().skip(1).collect();
    let options = match &*given {
        [support, query, out] => SegmentOptions::new(support, query, out),
        _ => SegmentOptions::new(format!("{coins}/support"), format!("{coins}/query"), "out/coins"),
    };
    let tell = |event: &Event<'_>| {
        if let Event::Picture(_) | Event::Failed { .. } | Event::Done(_) = event {
            println!("{event}");
        }
    };
    let outcome = segment(&options, &Watch::new(&tell))?;
    println!("{} of {} pictures now", outcome.counts.done, outcome.counts.pictures);
    Ok(())
}
