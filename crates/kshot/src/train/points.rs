//! Training told point by point, where there is no terminal for a dashboard.

use burn::train::logger::{EvaluationProgressLogger, TrainingProgressLogger};
use burn::train::metric::MetricDefinition;
use burn::train::renderer::{
    EvaluationName, MetricState, MetricsRenderer, MetricsRendererEvaluation,
    MetricsRendererTraining,
};

use super::curve::{Curve, CurvePoint};

/// Told of every validation, with how many there are in all.
pub type OnPoint = Box<dyn Fn(&CurvePoint, usize) + Send + Sync>;

/// Tells of every validation once its checkpoint is due.
pub struct Points {
    curve: Curve,
    on_point: OnPoint,
    told: usize,
    validations: usize,
}

impl Points {
    /// Of a training's curve.
    pub fn new(curve: Curve, validations: usize, on_point: OnPoint) -> Self {
        let told = curve.points().len();
        Self { curve, on_point, told, validations }
    }

    /// Tells the validations that have come since.
    fn tell(&mut self) {
        for point in self.curve.points().into_iter().skip(self.told) {
            self.told += 1;
            (self.on_point)(&point, self.validations);
        }
    }
}

impl MetricsRendererTraining for Points {
    fn update_train(&mut self, _: MetricState) {}

    fn update_valid(&mut self, _: MetricState) {}
}

impl TrainingProgressLogger for Points {
    fn start(&mut self, _: usize, _: usize, _: Option<usize>, _: Option<&str>) {}

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

impl EvaluationProgressLogger for Points {
    fn start_global_progress(&mut self, _: usize) {}

    fn start_test(&mut self, _: &str, _: usize) {}

    fn update_test_progress(&mut self, _: usize) {}

    fn end_test(&mut self) {}

    fn end_global_progress(&mut self) {}

    fn log_event_evaluation(&mut self, _: String) {}
}

impl MetricsRendererEvaluation for Points {
    fn update_test(&mut self, _: EvaluationName, _: MetricState) {}
}

impl MetricsRenderer for Points {
    fn manual_close(&mut self) {}

    fn register_metric(&mut self, _: MetricDefinition) {}
}
