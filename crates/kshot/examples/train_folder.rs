//! Trains a U-Net on a folder of labelled pictures and segments other pictures with it: `cargo run --release
//! --example train_folder [DATA QUERY OUT [STEPS]]`. Without arguments a few steps on the coins of this repository
//! show the way; they are too few to be good.

use kshot::job::{Event, SegmentOptions, TrainOptions, Watch, plan, segment, train};
use kshot::plan::PlanOptions;

fn main() -> kshot::Result<()> {
    let coins = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/coins");
    let given: Vec<String> = std::env::args().skip(1).collect();
    let (data, query, out, steps) = match &*given {
        [data, query, out] => (data.clone(), query.clone(), out.clone(), None),
        [data, query, out, steps] => (data.clone(), query.clone(), out.clone(), steps.parse().ok()),
        _ => (
            format!("{coins}/support"),
            format!("{coins}/query"),
            "out/train_folder".to_owned(),
            Some(20),
        ),
    };
    let changes = Vec::new();
    let options = PlanOptions { data: data.into(), steps, minutes: None, seed: 1, changes };
    let tell = |event: &Event<'_>| {
        if matches!(event, Event::Validation { .. } | Event::Picture(_) | Event::Done(_)) {
            println!("{event}");
        }
    };
    let watch = Watch::new(&tell);
    let run = format!("{out}/run");
    let plan = plan(&options, None, "flex")?;
    plan.told().iter().for_each(|line| println!("{line}"));
    let trained = train(&TrainOptions::new(plan.recipe, &run), &watch)?;
    println!("best {}: {:.3}", trained.monitor, trained.best.monitored(&trained.monitor));
    segment(&SegmentOptions::with_model(run, query, format!("{out}/masks")), &watch)?;
    Ok(())
}
