//! What tests of trainings share.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use burn::module::{Module, ModuleVisitor, Param};
use burn::prelude::*;
use burn::train::Interrupter;
use image::{GrayImage, Luma, Rgb, RgbImage};
use kshot::recipe::Recipe;
use kshot::train::curve::{self, CurvePoint};
use kshot::train::run::{TrainRunOptions, TrainView};
use tempfile::TempDir;

/// Networks start from the device's random numbers, which are everybody's: one test at a time.
pub fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A folder of a test's own.
pub struct Place(TempDir);

impl Place {
    /// Empty.
    pub fn empty() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// With pictures of squares under `data`: see [`squares`].
    pub fn with_squares(count: u32, size: [u32; 2], colours: &[[u8; 3]], classes: &[&str]) -> Self {
        let place = Self::empty();
        squares(&place.at("data"), count, size, colours, classes);
        place
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The same in a recipe.
    pub fn written(&self, name: &str) -> String {
        slashed(&self.at(name))
    }
}

/// Pictures of coloured squares and their masks: the first has a square of the first colour and class, the next one of
/// the second, and so on in turn.
pub fn squares(folder: &Path, count: u32, size: [u32; 2], colours: &[[u8; 3]], classes: &[&str]) {
    for part in ["images", "masks"] {
        std::fs::create_dir_all(folder.join(part)).unwrap();
    }
    let [width, height] = size;
    for number in 0..count {
        let class = number as usize % colours.len();
        let inside = |x: u32, y: u32| {
            (4 + number..20 + number).contains(&x) && (6..22 - number).contains(&y)
        };
        let ground = |x: u32, y: u32| [20 + x as u8, 90, 120 - y as u8];
        RgbImage::from_fn(width, height, |x, y| {
            Rgb(if inside(x, y) { colours[class] } else { ground(x, y) })
        })
        .save(folder.join(format!("images/{number}.png")))
        .unwrap();
        let value = |x, y| if inside(x, y) { class as u8 + 1 } else { 0 };
        GrayImage::from_fn(width, height, |x, y| Luma([value(x, y)]))
            .save(folder.join(format!("masks/{number}.png")))
            .unwrap();
    }
    std::fs::write(folder.join("classes.txt"), classes.join("\n") + "\n").unwrap();
}

/// A recipe of a tiny network on a folder, with lines of its own in `[data]`, `[model]`, `[method]` and `[train]`, and changed
/// as by `--set`.
pub fn tiny(
    root: &str,
    [data, model, method, train]: [&str; 4],
    changes: &[&str],
) -> kshot::Result<Recipe> {
    let text = format!(
        r#"
        [protocol]
        name = "segmentation"
        [data]
        dataset = "folder"
        root = "{root}"
        {data}
        [model]
        encoder = "resnet-tiny"
        decoder = {{ name = "unet", width = 8 }}
        {model}
        [method]
        {method}
        [train]
        {train}
        "#
    );
    let changes: Vec<String> = changes.iter().map(|change| (*change).to_owned()).collect();
    Recipe::parse(&text, Path::new("recipe.toml"), &changes)
}

/// `[data]` that learns from and validates on the folder's lists.
pub const LISTED: &str = r#"train = "train"
validation = "validation"
test = "validation""#;
/// `[data]` that learns from and validates on all pictures.
pub const ALL: &str = r#"train = "*"
validation = "*"
test = "*""#;
/// `[model]` from scratch.
pub const SCRATCH: &str = r#"weights = "none""#;
/// `[method]` of supervised segmentation.
pub const SUPERVISED: &str = r#"name = "supervised""#;

/// A path as a recipe may have it.
pub fn slashed(path: &Path) -> String {
    path.display().to_string().replace('\\', "/")
}

/// A training that tells nobody, up to a validation where one is given.
pub fn quiet(at_most: Option<usize>) -> TrainRunOptions {
    let view = TrainView::Points(Box::new(|_, _| {}));
    TrainRunOptions { force: false, view, at_most, seconds: None, interrupter: Interrupter::new() }
}

/// The curve of a run, without its times.
pub fn points(run: &Path) -> Vec<CurvePoint> {
    let mut points = curve::read(&run.join("metrics.jsonl")).unwrap();
    points.iter_mut().for_each(|point| point.seconds = 0.0);
    points
}

pub type Numbers = BTreeMap<String, Vec<f32>>;

/// All numbers of a network by their paths, running statistics too.
pub fn numbers(network: &impl Module) -> Numbers {
    #[derive(Default)]
    struct All {
        path: Vec<String>,
        found: Numbers,
    }
    impl ModuleVisitor for All {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.path.push(name.to_owned());
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.path.pop();
        }
        fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
            let values = parameter.val().into_data().iter::<f32>().collect();
            self.found.insert(self.path.join("."), values);
        }
    }
    let mut all = All::default();
    network.visit(&mut all);
    all.found
}

/// Whether a number is a running mean or variance.
pub fn is_statistic(path: &str) -> bool {
    path.ends_with(".mean") || path.ends_with(".variance")
}
