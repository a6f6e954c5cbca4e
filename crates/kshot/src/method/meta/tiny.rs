//! A task small enough for tests of inner loops.

use burn::prelude::*;
use burn::tensor::Distribution;

use crate::data::batch::{Batch, Episode, EpisodeId};
use crate::encoder::conv4::{Conv4Config, Reduction};
use crate::method::learner::LearnerSetting;
use crate::method::network::NetworkConfig;

/// One block of three channels for two classes of 6x6 pixels.
pub fn setting(device: &Device) -> LearnerSetting {
    let network = Conv4Config { width: 3, blocks: 1, reduction: Reduction::Stride, bias: false };
    let tracked = device.clone().autodiff();
    LearnerSetting {
        network: NetworkConfig::Conv4(network).init(1, &tracked).unwrap(),
        channels: 1,
        size: [6, 6],
        ways: 2,
        classes: 2,
        device: tracked,
    }
}

/// Two random pictures of each class to learn from and two to label.
pub fn episode(device: &Device) -> Episode<1> {
    let batch = |labels: [i32; 4]| Batch {
        images: Tensor::<4>::random([4, 1, 6, 6], Distribution::Default, device),
        labels: Tensor::from_data(labels, device),
        seed: 0,
    };
    Episode {
        support: batch([0, 0, 1, 1]),
        query: batch([0, 1, 1, 0]),
        ways: 2,
        classes: vec![0, 1],
        id: EpisodeId { seed: 1, index: 1 },
    }
}
