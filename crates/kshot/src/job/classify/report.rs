//! What `run.toml` and `report.html` say of the job.

use std::path::Path;

use kshot_data::query::FailedPicture;
use serde_json::json;

use crate::classify::Recogniser;
use crate::classify::folder::ClassifiedPicture;
use crate::classify::judge::Judgement;
use crate::classify::model_file::{ModelFile, StoredClass};
use crate::error::Result;
use crate::job::bf16::Bf16Cost;
use crate::job::classify::sorting::MOVED;
use crate::job::classify::{ClassifyOptions, LabelsPath};
use crate::job::run_file::{self, Clock};
use crate::report::classify_html::ClassificationPage;
use crate::report::correct;
use crate::report::run::{Counts, RunFile, SupportFile};

/// What the labels were predicted by, and the results.
pub(super) struct ClassifyResults<'a> {
    pub(super) options: &'a ClassifyOptions,
    pub(super) model: &'a ModelFile,
    pub(super) recogniser: &'a Recogniser,
    pub(super) labelled: &'a [ClassifiedPicture],
    pub(super) judgement: Option<&'a Judgement>,
    pub(super) counts: Counts,
    pub(super) cost: Option<Bf16Cost>,
    pub(super) clock: &'a Clock,
}

impl<'a> ClassifyResults<'a> {
    pub(super) fn run_file(&self) -> Result<RunFile> {
        let (options, choice) = (self.options, self.recogniser.choice());
        let origin = &self.model.origin;
        let accuracy = self.judgement.and_then(|judgement| judgement.accuracy);
        let own = json!({
            "method": options.method, "size": origin.input_views.size,
            "views": origin.input_views.views, "temperature": choice.temperature,
            "top_k": options.top_k, "reject": choice.rejection.how,
            "threshold": choice.rejection.threshold, "accuracy": accuracy.map(|share| share.mean),
        });
        Ok(RunFile {
            kshot: env!("CARGO_PKG_VERSION").to_owned(),
            command: options.command.clone(),
            started: self.clock.started.clone(),
            seconds: self.clock.seconds(),
            seed: 0,
            device: options.device.clone(),
            threads: rayon::current_num_threads(),
            encoder: origin.encoder.clone(),
            weights_sha256: origin.weights_sha256.clone(),
            method: choice.method.clone(),
            classes: self.recogniser.examples().classes.clone(),
            query: options.query.display().to_string(),
            working_directory: run_file::working_directory(),
            fingerprint: String::new(),
            label_next: Vec::new(),
            counts: self.counts,
            options: run_file::options(own, options.precision, self.cost)?,
            support: self.model.classes.iter().flat_map(files_of).collect(),
        })
    }

    pub(super) fn page(
        &self,
        failed: &'a [FailedPicture],
        place: &LabelsPath,
    ) -> ClassificationPage<'a> {
        let name =
            |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let moved = place.beside(MOVED);
        let query = self.options.query.file_name().unwrap_or(self.options.query.as_os_str());
        ClassificationPage {
            title: format!(
                "{}: {} pictures labelled, {} classes",
                query.to_string_lossy(),
                self.labelled.len(),
                self.model.classes.len()
            ),
            command: correct::line(&self.options.command),
            started: self.clock.started.clone(),
            seconds: self.clock.seconds(),
            counts: self.counts,
            model: self.model,
            recogniser: self.recogniser,
            labelled: self.labelled,
            judgement: self.judgement.cloned(),
            failed,
            table: name(&place.table),
            moved: moved.exists().then(|| name(&moved)),
        }
    }
}

/// The labelled pictures of a class; what labels them is the class.
fn files_of(class: &StoredClass) -> impl Iterator<Item = SupportFile> {
    class.examples.iter().map(|example| SupportFile {
        image: example.file.clone(),
        image_sha256: example.sha256.clone(),
        labels: class.name.clone(),
        labels_sha256: String::new(),
    })
}
