//! Dropout: of values (Srivastava et al. 2014, <https://jmlr.org/papers/v15/srivastava14a.html>) or of whole maps
//! (Tompson et al. 2015, arXiv 1411.4280).
//!
//! Like [`BatchNorm`](crate::nn::BatchNorm) it acts while it trains only: on an autodiff device. What is kept is
//! scaled by `1 / (1 - rate)`, as in PyTorch. Which values are dropped comes from the device's random numbers, so
//! whoever trains seeds these by the item's number (`method/supervised.rs`, `contract/episodic.rs`): a training that
//! was interrupted then drops the same ones.

use burn::prelude::*;
use burn::tensor::Distribution;

/// What is dropped together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dropped {
    /// Each value by itself.
    Values,
    /// All of a picture's channel.
    Maps,
}

/// Sets some of what passes to zero while it trains.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dropout {
    rate: f64,
    what: Dropped,
}

impl Dropout {
    /// Of single values; `rate` is the share that is dropped, 0 to below 1.
    ///
    /// # Panics
    /// If the rate is out of bounds.
    pub fn new(rate: f64) -> Self {
        assert!((0.0..1.0).contains(&rate), "a share of {rate} dropped; valid are 0 to below 1");
        Self { rate, what: Dropped::Values }
    }

    /// Of whole maps.
    ///
    /// # Panics
    /// As [`Self::new`].
    pub fn of_maps(rate: f64) -> Self {
        Self { what: Dropped::Maps, ..Self::new(rate) }
    }

    /// Drops while it trains, else returns the images as they are.
    ///
    /// # Shapes
    /// `[batch, channels, height, width]` to the same
    pub fn forward(&self, images: Tensor<4>) -> Tensor<4> {
        if self.rate == 0.0 || !images.is_autodiff() {
            return images;
        }
        let [batch, channels, height, width] = images.dims();
        let shape = match self.what {
            Dropped::Values => [batch, channels, height, width],
            Dropped::Maps => [batch, channels, 1, 1],
        };
        let kept = 1.0 - self.rate;
        let drawn = Tensor::<4>::random(shape, Distribution::Uniform(0.0, 1.0), &images.device());
        images * (drawn.lower_elem(kept).float() / kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(tensor: Tensor<4>) -> Vec<f32> {
        tensor.inner().into_data().try_into_vec().unwrap()
    }

    #[test]
    fn what_is_kept_is_scaled_and_gets_the_gradient() {
        let device = Device::flex().autodiff();
        let images = Tensor::<4>::ones([2, 40, 8, 8], &device).require_grad();
        for dropout in [Dropout::new(0.2), Dropout::of_maps(0.2)] {
            let result = dropout.forward(images.clone());
            let gradient = images.grad(&result.clone().sum().backward()).unwrap();
            let passed = values(result);
            assert_eq!(gradient.into_data().try_into_vec::<f32>().unwrap(), passed);
            assert!(passed.iter().all(|value| *value == 0.0 || (value - 1.25).abs() < 1e-6));
            let share = passed.iter().filter(|value| **value == 0.0).count() as f64 / 5120.0;
            // Five standard deviations.
            let units = if dropout.what == Dropped::Maps { 80.0f64 } else { 5120.0 };
            assert!((share - 0.2).abs() < 5.0 * (0.16 / units).sqrt(), "{share} dropped");
            let whole = passed.chunks(64).all(|map| map.iter().all(|value| *value == map[0]));
            assert_eq!(whole, dropout.what == Dropped::Maps);
        }
    }

    #[test]
    fn nothing_is_dropped_in_inference_or_at_rate_0() {
        let device = Device::flex();
        let images = Tensor::<4>::ones([1, 3, 4, 4], &device);
        assert_eq!(Dropout::new(0.9).forward(images.clone()).into_data(), images.into_data());
        let images = Tensor::<4>::ones([1, 3, 4, 4], &device.autodiff());
        let result = Dropout::new(0.0).forward(images.clone());
        assert_eq!(values(result), values(images));
    }
}
