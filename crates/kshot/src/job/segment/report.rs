//! What `run.toml` and `report.html` say of the job.

use std::path::{Path, PathBuf};

use kshot_data::overlay::{self, OverlayStyle};
use kshot_data::palette::Palette;
use kshot_data::support::Support;
use serde_json::json;

use crate::error::Result;
use crate::job::bf16::Bf16Cost;
use crate::job::run_file::{self, Clock};
use crate::job::segment::folder::THUMBNAIL;
use crate::job::segment::settings::Settings;
use crate::job::segment::{SegmentOptions, SegmentOutcome, file_name};
use crate::predict::Predictor;
use crate::predict::objects::ObjectSplitter;
use crate::report::correct::{self, Correction};
use crate::report::html::{MethodTrial, ReportData, SupportShown};
use crate::report::next::SuggestedPicture;
use crate::report::run::{Counts, RunFile};

/// What the masks were predicted by.
pub(super) struct SegmentResults<'a> {
    pub(super) options: &'a SegmentOptions,
    pub(super) support: &'a Support,
    pub(super) predictor: &'a Predictor,
    pub(super) splitter: Option<&'a ObjectSplitter>,
    pub(super) cost: Option<Bf16Cost>,
    pub(super) clock: &'a Clock,
    /// The pictures to label next.
    pub(super) next: &'a [SuggestedPicture],
}

impl SegmentResults<'_> {
    pub(super) fn run_file(&self, settings: &Settings, counts: Counts) -> Result<RunFile> {
        let (options, choice) = (self.options, self.predictor.choice());
        let own = json!({
            "method": options.method, "scale": choice.scale,
            "effort": options.effort, "refinement": self.predictor.refinement().name(),
            "temperature": choice.temperature,
            "objects": self.splitter.map(ObjectSplitter::choice),
            "pixel_size": options.pixel_size,
        });
        Ok(RunFile {
            kshot: env!("CARGO_PKG_VERSION").to_owned(),
            command: options.command.clone(),
            started: self.clock.started.clone(),
            seconds: self.clock.seconds(),
            seed: options.seed,
            device: options.device.clone(),
            threads: rayon::current_num_threads(),
            encoder: settings.encoder.clone(),
            weights_sha256: settings.weights_sha256.clone(),
            method: choice.method.clone(),
            classes: self.predictor.classes().to_vec(),
            query: options.query.display().to_string(),
            working_directory: run_file::working_directory(),
            fingerprint: settings.fingerprint.clone(),
            label_next: self.next.iter().map(|of| of.path.clone()).collect(),
            counts,
            options: run_file::options(own, options.precision, self.cost)?,
            support: settings.support.clone(),
        })
    }

    pub(super) fn page(&self, outcome: &SegmentOutcome) -> Result<ReportData> {
        let (options, choice) = (self.options, self.predictor.choice());
        let pictures = outcome.counts.pictures;
        let candidates = choice.outcomes.iter().map(|outcome| MethodTrial {
            name: outcome.method.clone(),
            chosen: choice.members.iter().any(|member| member.method == outcome.method),
            mean_iou: Some(outcome.mean_iou as f32),
            class_iou: outcome.iou[1..].iter().map(|iou| iou.map(|iou| iou as f32)).collect(),
            seconds: Some(outcome.fit_seconds),
        });
        let scale = choice.held_out.map(|_| {
            format!(
                "Pictures are seen at {:.2} times their size; probabilities are divided by a \
                 temperature of {:.2}, which fits the held-out labels best.",
                choice.scale, choice.temperature
            )
        });
        let stopped = outcome.cancelled.then(|| {
            "The run was stopped before all pictures were segmented; the command goes on."
                .to_owned()
        });
        let cost = self.cost.map(|cost| format!("{cost}."));
        let size = options
            .pixel_size
            .as_ref()
            .map(|size| format!("A pixel is {size} wide; the tables give areas by it, too."));
        let told = self.splitter.map(|splitter| format!("{}.", splitter.choice()));
        Ok(ReportData {
            title: format!(
                "{}: {pictures} {} {}",
                file_name(&options.query),
                if pictures == 1 { "picture" } else { "pictures" },
                match self.support.pictures.len() {
                    0 => "by a trained network".to_owned(),
                    labelled => format!("from {labelled} labelled"),
                }
            ),
            command: correct::line(&self.command()),
            pictures: folder_of(&options.query),
            started: self.clock.started.clone(),
            seconds: self.clock.seconds(),
            counts: outcome.counts,
            classes: self.predictor.classes().to_vec(),
            palette: Palette::distinct(),
            support: shown(self.support)?,
            method: choice.method.clone(),
            why: choice.reason.clone(),
            expected: choice.expected.mean_iou.map(|iou| iou.told()),
            expected_classes: choice
                .expected
                .classes
                .iter()
                .map(|iou| iou.map(|iou| iou.to_string()))
                .collect(),
            candidates: candidates.collect(),
            objects: outcome.objects,
            notes: [scale, told, cost, size, stopped].into_iter().flatten().collect(),
            next: self.next.to_vec(),
            failed: outcome.failed.clone(),
            correct: (!self.support.pictures.is_empty()).then(|| {
                let (command, folder) = (self.command(), run_file::working_directory());
                let classes = self.predictor.classes().to_vec();
                let first = self.next.first().map(|of| of.path.clone());
                Correction { first, ..Correction::new(&options.out, command, folder, classes) }
            }),
        })
    }

    /// How the job was called; of a library, how the command line would have it.
    fn command(&self) -> Vec<String> {
        let options = self.options;
        if !options.command.is_empty() {
            return options.command.clone();
        }
        let mut words = vec!["kshot".to_owned(), "segment".to_owned()];
        let folders = options.support.iter().map(|folder| ("--support", folder));
        let places = [("--query", &options.query), ("--out", &options.out)];
        for (flag, folder) in folders.chain(places) {
            words.extend([flag.to_owned(), folder.display().to_string()]);
        }
        words
    }
}

/// The folder of the pictures to segment, absolute.
fn folder_of(query: &Path) -> Option<PathBuf> {
    let query = query.canonicalize().ok()?;
    if query.is_file() { query.parent().map(Path::to_owned) } else { Some(query) }
}

/// The labelled pictures with their labels drawn on them.
fn shown(support: &Support) -> Result<Vec<SupportShown>> {
    let (palette, style) = (Palette::distinct(), OverlayStyle::default());
    let mut shown = Vec::with_capacity(support.pictures.len());
    for picture in &support.pictures {
        let drawn = overlay::draw(&picture.image, &picture.mask, None, &palette, &style)?;
        let counts = picture.mask.counts();
        let labelled: usize = counts[..=support.classes.len()].iter().sum();
        let percent = 100.0 * labelled as f64 / picture.mask.pixels.len() as f64;
        shown.push(SupportShown {
            name: file_name(&picture.path),
            how: format!("{}, {percent:.0} % of the pixels labelled", picture.kind),
            classes: (1..=support.classes.len() as u8)
                .filter(|&class| counts[usize::from(class)] > 0)
                .collect(),
            thumbnail: overlay::thumbnail(&drawn, THUMBNAIL.0, THUMBNAIL.1)?,
        });
    }
    Ok(shown)
}
