//! Normal noise that is the same for an episode wherever and whenever it is drawn.

use burn::prelude::*;
use burn::tensor::TensorData;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::data::batch::EpisodeId;

/// A source of normal noise for one episode.
#[derive(Debug)]
pub struct EpisodeNoise(ChaCha8Rng);

impl EpisodeNoise {
    /// The noise of an episode.
    pub fn of(id: EpisodeId) -> Self {
        let mut key = [0u8; 32];
        for (bytes, part) in key.chunks_exact_mut(8).zip([id.seed, id.index, 0x6e6f_6973, 0]) {
            bytes.copy_from_slice(&part.to_le_bytes());
        }
        Self(ChaCha8Rng::from_seed(key))
    }

    /// Values of the standard normal law (by Box and Muller), `[count]`.
    pub fn draw(&mut self, count: usize, device: &Device) -> Tensor<1> {
        let mut values = Vec::with_capacity(count + 1);
        while values.len() < count {
            let length = (-2.0 * (1.0 - self.0.random::<f32>()).ln()).sqrt();
            let angle = std::f32::consts::TAU * self.0.random::<f32>();
            values.extend([length * angle.cos(), length * angle.sin()]);
        }
        values.truncate(count);
        Tensor::from_data(TensorData::new(values, [count]), device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_normal_and_repeats() {
        let draw =
            || EpisodeNoise::of(EpisodeId { seed: 3, index: 4 }).draw(20_001, &Device::flex());
        let values: Vec<f64> = draw().into_data().iter::<f64>().collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let square = values.iter().map(|value| value * value).sum::<f64>() / values.len() as f64;
        assert!(mean.abs() < 0.03 && (square - 1.0).abs() < 0.05, "{mean} {square}");
        let again: Vec<f64> = draw().into_data().iter::<f64>().collect();
        assert_eq!(values, again);
    }
}
