//! The same seed gives the same network, for every row of the encoder and the decoder table. Alone in
//! its process: the device's random numbers are everybody's.

#![allow(clippy::unwrap_used)]

use burn::prelude::*;
use burn::tensor::Distribution;
use kshot::decoder::{DecoderConfig, Segmenter};
use kshot::encoder::{Encode, EncoderConfig};

#[test]
fn the_same_seed_gives_the_same_network() {
    let device = Device::flex();
    let image = Tensor::<4>::random([1, 3, 33, 40], Distribution::Default, &device);
    let values = |tensor: Tensor<4>| tensor.into_data().try_into_vec::<f32>().unwrap();
    let tiny = |config: &EncoderConfig| config.name().ends_with("-tiny");
    for encoder in EncoderConfig::all().into_iter().filter(tiny) {
        let embedding = |seed| {
            device.seed(seed);
            values(encoder.init_embedding(&device).embedding(image.clone()))
        };
        assert!(embedding(9) == embedding(9) && embedding(9) != embedding(10), "{encoder}");
        let fits = |decoder: &DecoderConfig| {
            decoder.init(&encoder.channels(), &encoder.strides(), 3, &device).is_ok()
        };
        for decoder in DecoderConfig::all().into_iter().filter(fits) {
            let logits = |seed| {
                device.seed(seed);
                let encoder = encoder.init(&device);
                let network = Segmenter::new(encoder, &decoder, 3, &device).unwrap();
                values(network.forward(image.clone()))
            };
            let name = decoder.name();
            assert!(logits(9) == logits(9) && logits(9) != logits(10), "{name} on {encoder}");
        }
    }
}
