use std::collections::BTreeSet;

use burn::prelude::*;
use image::{Rgb, RgbImage};

use super::*;
use crate::encoder::EncoderConfig;
use crate::export::trace;

/// Pictures of a folder: width and height.
const SIZES: [[u32; 2]; 5] = [[500, 375], [480, 360], [400, 300], [460, 340], [333, 500]];

fn extractor(encoder: &str) -> Extractor {
    let config: EncoderConfig = encoder.parse().unwrap();
    let device = Device::flex();
    let network = config.init(&device).optimize();
    Extractor::new(network, config.normalization(), device)
}

fn picture([width, height]: [u32; 2]) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| Rgb([(x * 5) as u8, (y * 3) as u8, (x * y / 7) as u8]))
}

#[test]
fn a_folder_of_five_sizes_has_few_shapes_on_a_gpu() {
    let mut counts = Vec::new();
    for few_shapes in [false, true] {
        let extractor = extractor("resnet-tiny").with_few_shapes(few_shapes);
        let shapes: BTreeSet<[usize; 2]> = SIZES
            .iter()
            .flat_map(|&size| {
                let working = extractor.prepare(&picture(size), 1.0).unwrap();
                working.tiles.iter().map(|tile| extractor.shown(*tile)).collect::<Vec<_>>()
            })
            .map(|tile| [tile.height, tile.width])
            .collect();
        // What is compiled and tuned for: operations that differ in kind or shapes.
        let mut distinct = BTreeSet::new();
        for [height, width] in &shapes {
            let shape = [1, 3, *height, *width];
            let forward = |encoder: &Encoder, images| encoder.forward(images).last();
            for operation in trace::record(&extractor.encoder, shape, forward).unwrap().operations {
                let nodes = operation.nodes();
                let shapes: Vec<_> = nodes.iter().map(|tensor| tensor.shape.clone()).collect();
                distinct.insert(format!("{:?} {shapes:?}", std::mem::discriminant(&operation)));
            }
        }
        counts.push([shapes.len(), distinct.len()]);
    }
    println!(
        "shapes and distinct operations, of all sizes {:?}, of few {:?}",
        counts[0], counts[1]
    );
    assert_eq!(counts[0][0], 5);
    assert!(counts[1][0] <= 2, "{counts:?}");
    assert!(2 * counts[1][1] <= counts[0][1], "{counts:?}");
}

#[test]
fn few_shapes_change_nothing_away_from_the_border() {
    let size = [150, 130];
    for encoder in ["resnet-tiny", "efficientnet-lite0"] {
        let plain = extractor(encoder);
        // The same weights.
        let few = plain.clone().with_few_shapes(true);
        let working = plain.prepare(&picture(size), 1.0).unwrap();
        let tile = working.tiles[0];
        assert_ne!(few.shown(tile), tile);
        let [plain, few] = [plain, few].map(|extractor| extractor.features(&working, tile));
        assert_eq!(plain.grid(), few.grid());
        for (plain, few) in plain.stages.iter().zip(&few.stages) {
            assert_eq!(
                (plain.channels, plain.height, plain.width),
                (few.channels, few.height, few.width)
            );
        }
        // The first stage sees a few pixels around each place.
        let [plain, few] = [&plain, &few].map(|features| {
            let stage = &features.stages[0];
            let map = stage.values.clone().reshape([stage.channels, stage.height, stage.width]);
            map.narrow(1, 0, stage.height / 2).narrow(2, 0, stage.width / 2)
        });
        let apart: f32 = (plain - few).abs().max().into_scalar();
        assert!(apart < 1e-4, "{encoder}: {apart}");
    }
}

#[test]
fn attention_sees_the_tile_alone() {
    let extractor = extractor("vit-test-tiny").with_few_shapes(true);
    let tile = Tile { top: 0, left: 0, height: 160, width: 320 };
    assert_eq!(extractor.shown(tile), tile);
}
