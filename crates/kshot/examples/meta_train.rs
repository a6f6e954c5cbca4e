//! Meta-trains Prototypical Networks on folders of drawings and labels others with them from one drawing a class:
//! `cargo run --release --example meta_train [OUT]`. A few steps show the way; recipes/omniglot trains longer.

use std::path::Path;

use kshot::job::{ClassifyRunOptions, Event, TrainOptions, Watch, classify_run, train};
use kshot::recipe::Recipe;

fn main() -> kshot::Result<()> {
    let drawings = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/drawings");
    let out = std::env::args().nth(1).unwrap_or_else(|| "out/meta_train".to_owned());
    let recipe = format!(
        r#"
        [protocol]
        name = "few-shot-recognition"
        ways = 2
        shots = 1
        queries = 3
        episodes = 20
        seed = 1
        [data]
        dataset = "class-folders"
        root = '{drawings}/query'
        size = 28
        gray = true
        shares = [0.25, 0.25]
        support_transforms = [{{ name = "shift", pixels = 2 }}]
        transforms = [{{ name = "shift", pixels = 2 }}]
        [model]
        encoder = "conv4"
        [method]
        name = "prototypical-networks"
        [train]
        steps = 20
        validate_every = 10
        seed = 1
        learning_rate = 1e-3
        episodes = {{ ways = 4, shots = 1, queries = 3, validation = 10 }}
        "#
    );
    let recipe = Recipe::parse(&recipe, Path::new("meta_train.rs"), &[])?;
    let tell = |event: &Event<'_>| {
        if matches!(event, Event::Validation { .. } | Event::Done(_)) {
            println!("{event}");
        }
    };
    let watch = Watch::new(&tell);
    let run = format!("{out}/run");
    train(&TrainOptions::new(recipe, &run), &watch)?;
    let labelled = classify_run(
        &ClassifyRunOptions {
            run: run.into(),
            support: format!("{drawings}/support").into(),
            shots: Some(1),
            query: format!("{drawings}/query").into(),
            out: format!("{out}/labels.csv").into(),
            truth: None,
            top_k: 1,
            device: "flex".to_owned(),
            command: Vec::new(),
        },
        &watch,
    )?;
    println!("{} drawings labelled, see {out}/labels.csv", labelled.counts.done);
    Ok(())
}
