//! What dropout drops in a training step depends on the item's number alone. Alone in its process: the device's random
//! numbers are everybody's.

#![allow(clippy::unwrap_used)]

use burn::module::Module;
use burn::prelude::*;
use burn::tensor::Distribution;
use kshot::contract::Objective;
use kshot::data::batch::Batch;
use kshot::decoder::{DecoderConfig, DeepLabV1Config, Segmenter};
use kshot::encoder::{EncoderConfig, Normalization};
use kshot::loss::LossConfig;
use kshot::method::supervised::Supervised;

#[test]
fn a_step_drops_what_its_item_says() {
    let device = Device::flex();
    device.seed(1);
    let encoder: EncoderConfig = "vgg-tiny".parse().unwrap();
    let decoder = DeepLabV1Config { width: 64, ..DeepLabV1Config::default() };
    let decoder = DecoderConfig::DeepLabV1(decoder);
    let segmenter = Segmenter::new(encoder.init(&device), &decoder, 3, &device).unwrap();
    let method =
        Supervised::new(segmenter, LossConfig::default(), true, Normalization::IMAGENET).train();
    let trained = device.clone().autodiff();
    let images = Tensor::<4>::random([2, 3, 32, 32], Distribution::Default, &trained);
    let labels = Tensor::<3, Int>::ones([2, 32, 32], &trained);
    let loss = |seed| {
        let batch = Batch { images: images.clone(), labels: labels.clone(), seed };
        method.step(batch).loss
    };
    let first = loss(7);
    // Whatever was drawn between, as by the steps that an interrupted training does not repeat.
    let _ = Tensor::<1>::random([1000], Distribution::Default, &device).into_data();
    assert_eq!(loss(7), first);
    assert!(loss(8) != first, "another item drops others");
    let batch =
        || Batch { images: images.clone().inner(), labels: labels.clone().inner(), seed: 7 };
    let evaluated = |method: &Supervised| method.evaluate(batch()).value("loss").unwrap();
    let method = method.valid();
    assert_eq!(evaluated(&method), evaluated(&method), "nothing is dropped in validation");
}
