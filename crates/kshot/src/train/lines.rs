//! Training told in lines, where there is no terminal for a dashboard.

use burn::train::logger::{EvaluationProgressLogger, TrainingProgressLogger};
use burn::train::metric::MetricDefinition;
use burn::train::renderer::{
    EvaluationName, MetricState, MetricsRenderer, MetricsRendererEvaluation,
    MetricsRendererTraining,
};

use crate::train::curve::Curve;
use crate::train::run::View;

/// Writes a line for every validation once its checkpoint is due.
pub struct Lines {
    curve: Curve,
    view: View,
    told: usize,
    epochs: usize,
}

impl Lines {
    /// Of a training's curve.
    pub fn new(curve: Curve, view: View) -> Self {
        let told = curve.points().len();
        Self { curve, view, told, epochs: 0 }
    }

    /// Tells the validations that have come since.
    fn tell(&mut self) {
        for point in self.curve.points().into_iter().skip(self.told) {
            self.told += 1;
            match self.view {
                View::Json => {
                    if let Ok(line) = serde_json::to_string(&point) {
                        println!("{line}");
                    }
                }
                View::Lines => {
                    let left = point.seconds / point.epoch as f64
                        * self.epochs.saturating_sub(point.epoch) as f64;
                    println!(
                        "epoch {}/{}, step {}: loss {:.4}, accuracy {:.2} %; validation loss {:.4}, \
                         accuracy {:.2} %; {:.0} s, about {:.0} s left",
                        point.epoch,
                        self.epochs,
                        point.step,
                        point.train_loss,
                        100.0 * point.train_accuracy,
                        point.validation_loss,
                        100.0 * point.validation_accuracy,
                        point.seconds,
                        left,
                    );
                }
                View::Dashboard | View::Quiet => {}
            }
        }
    }
}

impl MetricsRendererTraining for Lines {
    fn update_train(&mut self, _: MetricState) {}

    fn update_valid(&mut self, _: MetricState) {}
}

impl TrainingProgressLogger for Lines {
    fn start(&mut self, epochs: usize, _: usize, _: Option<usize>, _: Option<&str>) {
        self.epochs = epochs;
    }

    fn update_epoch(&mut self, _: usize) {}

    fn start_split(&mut self, _: &str, _: usize) {
        // The curve's point of an epoch is made after its last split.
        self.tell();
    }

    fn update_split(&mut self, _: usize) {}

    fn end_split(&mut self) {}

    fn end(&mut self) {
        self.tell();
    }

    fn log_event_training(&mut self, _: String) {}
}

impl EvaluationProgressLogger for Lines {
    fn start_global_progress(&mut self, _: usize) {}

    fn start_test(&mut self, _: &str, _: usize) {}

    fn update_test_progress(&mut self, _: usize) {}

    fn end_test(&mut self) {}

    fn end_global_progress(&mut self) {}

    fn log_event_evaluation(&mut self, _: String) {}
}

impl MetricsRendererEvaluation for Lines {
    fn update_test(&mut self, _: EvaluationName, _: MetricState) {}
}

impl MetricsRenderer for Lines {
    fn manual_close(&mut self) {}

    fn register_metric(&mut self, _: MetricDefinition) {}
}
