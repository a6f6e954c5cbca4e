//! What a validation adds up, from which every metric is computed.

use std::collections::BTreeMap;

use burn::prelude::Tensor;
use serde::{Deserialize, Serialize};

use crate::metric::METRICS;
use crate::metric::calibration::Calibration;
use crate::metric::confusion::Confusion;
use crate::metric::unread::{self, Unread};
use crate::nn::weights::plain;

/// Sums over what was seen so far: of batches, of pictures, of a whole validation.
///
/// ```
/// use kshot::metric::MetricState;
/// let mut state = MetricState::default().with_mean("loss", 0.5, 4.0);
/// state.merge(&MetricState::default().with_mean("loss", 1.0, 12.0));
/// assert_eq!(state.value("loss"), Some(0.875));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricState {
    /// By name, the sum of values times weights, and the sum of weights.
    #[serde(default)]
    sums: BTreeMap<String, (f64, f64)>,
    #[serde(default)]
    confusion: Option<Confusion>,
    #[serde(default)]
    calibration: Option<Calibration>,
    /// What lies on a device still.
    #[serde(skip)]
    unread: Vec<Unread>,
}

impl MetricState {
    /// Adds the mean of a number, such as the loss, over `weight` pictures (or pixels, or episodes).
    /// The mean `accuracy`, of whole pictures, is the metric of that name.
    #[must_use]
    pub fn with_mean(mut self, name: &str, value: f64, weight: f64) -> Self {
        let (sum, weights) = self.sums.entry(name.to_owned()).or_default();
        *sum += value * weight;
        *weights += weight;
        self
    }

    /// As [`Self::with_mean`] of a number, `[1]`, that stays on its device until [`Self::read`].
    #[must_use]
    pub fn with_unread_mean(mut self, name: &str, value: Tensor<1>, weight: f64) -> Self {
        self.unread.push(Unread::Mean { name: name.to_owned(), value: plain(value), weight });
        self
    }

    /// As [`Self::with_confusion`] of counts `[classes, classes]` (rows: the truth) that stay on their device until
    /// [`Self::read`]; `background` as in [`Confusion::with_background`].
    #[must_use]
    pub fn with_unread_confusion(mut self, counts: Tensor<2>, background: bool) -> Self {
        self.unread.push(Unread::Confusion { counts: plain(counts), background });
        self
    }

    /// Whether something lies on a device still: it counts in no metric yet.
    pub fn is_unread(&self) -> bool {
        !self.unread.is_empty()
    }

    /// Reads what lies on a device, all of it at once.
    ///
    /// # Panics
    /// If counts are of other classes than those that are there already.
    pub fn read(&mut self) {
        let unread = std::mem::take(&mut self.unread);
        if !unread.is_empty() {
            *self = unread::read(unread, std::mem::take(self));
        }
    }

    /// Adds counted pixels.
    ///
    /// # Panics
    /// If counts of other classes are there already.
    #[must_use]
    pub fn with_confusion(mut self, confusion: Confusion) -> Self {
        match &mut self.confusion {
            Some(own) => own.merge(&confusion),
            own => *own = Some(confusion),
        }
        self
    }

    /// Adds predictions by confidence.
    ///
    /// # Panics
    /// If some in another number of bins are there already.
    #[must_use]
    pub fn with_calibration(mut self, calibration: Calibration) -> Self {
        match &mut self.calibration {
            Some(own) => own.merge(&calibration),
            own => *own = Some(calibration),
        }
        self
    }

    /// Adds another state.
    ///
    /// # Panics
    /// If it is of other classes or bins.
    pub fn merge(&mut self, other: &Self) {
        self.unread.extend(other.unread.iter().cloned());
        for (name, (sum, weight)) in &other.sums {
            let own = self.sums.entry(name.clone()).or_default();
            *own = (own.0 + sum, own.1 + weight);
        }
        match (&mut self.confusion, &other.confusion) {
            (Some(own), Some(other)) => own.merge(other),
            (own @ None, other) => own.clone_from(other),
            (Some(_), None) => {}
        }
        match (&mut self.calibration, &other.calibration) {
            (Some(own), Some(other)) => own.merge(other),
            (own @ None, other) => own.clone_from(other),
            (Some(_), None) => {}
        }
    }

    /// The mean of a name given to [`Self::with_mean`]; `None` if it has no weight.
    pub fn mean(&self, name: &str) -> Option<f64> {
        let (sum, weight) = self.sums.get(name)?;
        (*weight > 0.0).then(|| sum / weight)
    }

    /// The counted pixels.
    pub fn confusion(&self) -> Option<&Confusion> {
        self.confusion.as_ref()
    }

    /// The predictions by confidence.
    pub fn calibration(&self) -> Option<&Calibration> {
        self.calibration.as_ref()
    }

    /// The counted pixels, if there are any.
    pub(crate) fn counted(&self) -> Option<&Confusion> {
        self.confusion.as_ref().filter(|confusion| confusion.total() > 0.0)
    }

    /// The predictions by confidence, if there are any.
    pub(crate) fn calibrated(&self) -> Option<&Calibration> {
        self.calibration.as_ref().filter(|calibration| calibration.count() > 0)
    }

    /// Every metric of the table that can be computed, by name, and the means such as the loss.
    pub fn values(&self) -> BTreeMap<String, f64> {
        let means = self.sums.keys().filter_map(|name| Some((name.clone(), self.mean(name)?)));
        let metrics =
            METRICS.iter().filter_map(|metric| Some((metric.name.to_owned(), metric.of(self)?)));
        means.chain(metrics).collect()
    }

    /// One of [`Self::values`].
    pub fn value(&self, name: &str) -> Option<f64> {
        match METRICS.iter().find(|metric| metric.name == name) {
            Some(metric) => metric.of(self),
            None => self.mean(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kshot_data::mask::Mask;

    fn state(truth: &[u8], predicted: &[u8], loss: f64) -> MetricState {
        let mask = |pixels: &[u8]| Mask::from_pixels(pixels.len(), 1, pixels.to_vec()).unwrap();
        let mut confusion = Confusion::new(3);
        confusion.add(&mask(truth), &mask(predicted)).unwrap();
        let mut calibration = Calibration::default();
        calibration.add(&mask(truth), &mask(predicted), &vec![200; truth.len()]);
        MetricState::default()
            .with_mean("loss", loss, truth.len() as f64)
            .with_confusion(confusion)
            .with_calibration(calibration)
    }

    #[test]
    fn merged_parts_are_the_whole() {
        let mut parts = MetricState::default();
        parts.merge(&state(&[0, 1, 2], &[0, 1, 1], 1.0));
        parts.merge(&state(&[1, 1], &[1, 0], 2.0));
        parts.merge(&MetricState::default());
        let whole = state(&[0, 1, 2, 1, 1], &[0, 1, 1, 1, 0], 1.4);
        assert_eq!(parts.confusion(), whole.confusion());
        assert_eq!(parts.calibration(), whole.calibration());
        assert!((parts.value("loss").unwrap() - 1.4).abs() < 1e-12);
        let names: Vec<String> = parts.values().into_keys().collect();
        let expected = [
            "binary_iou",
            "dice",
            "ece",
            "fw_iou",
            "loss",
            "mean_iou",
            "mean_pixel_accuracy",
            "pixel_accuracy",
            "precision",
            "recall",
        ];
        assert_eq!(names, expected);
        for (name, value) in parts.values() {
            assert_eq!(parts.value(&name), Some(value));
        }
        let text = serde_json::to_string(&parts).unwrap();
        assert_eq!(serde_json::from_str::<MetricState>(&text).unwrap(), parts);
    }

    #[test]
    fn nothing_seen_has_no_values() {
        let empty = MetricState::default()
            .with_confusion(Confusion::new(2))
            .with_calibration(Calibration::default());
        assert!(empty.values().is_empty());
        assert_eq!(empty.value("mean_iou"), None);
        let pictures = MetricState::default().with_mean("accuracy", 0.5, 8.0);
        assert_eq!(pictures.value("accuracy"), Some(0.5));
        assert_eq!(pictures.values().len(), 1);
    }
}
