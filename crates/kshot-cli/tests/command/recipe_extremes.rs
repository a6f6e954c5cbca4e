//! `kshot eval` with numbers at the ends of what recipes may hold, and beyond: it ends with a result or a refusal,
//! never with a signal, a panic or all memory.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use image::{GrayImage, Luma, Rgb, RgbImage};

/// A hang, not a slow machine, takes longer.
const DEADLINE: Duration = Duration::from_secs(60);
/// Kilobytes of address space.
const MEMORY: u64 = 12 << 20;

/// Six pictures of squares in their masks, and three folders of eight pictures each.
fn data(root: &Path) {
    let save = |picture: RgbImage, name: String| {
        let file = root.join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        picture.save(file).unwrap();
    };
    let square = |at: u32, x: u32, y: u32| (at..at + 14).contains(&x) && (at..at + 14).contains(&y);
    let picture = |at: u32, colour: [u8; 3]| {
        RgbImage::from_fn(40, 32, |x, y| {
            Rgb(if square(at, x, y) {
                colour
            } else {
                [20 + (x % 7) as u8, 90, 120 + (y % 5) as u8]
            })
        })
    };
    std::fs::create_dir_all(root.join("pixels/masks")).unwrap();
    for number in 0..6u32 {
        let class = 1 + (number % 2) as u8;
        save(
            picture(number + 3, [90 + 120 * (class - 1), 60, 40]),
            format!("pixels/images/{number}.png"),
        );
        GrayImage::from_fn(40, 32, |x, y| Luma([if square(number + 3, x, y) { class } else { 0 }]))
            .save(root.join(format!("pixels/masks/{number}.png")))
            .unwrap();
    }
    std::fs::write(root.join("pixels/classes.txt"), "red\ngreen\n").unwrap();
    std::fs::write(root.join("pixels/labelled.txt"), "0\n1\n").unwrap();
    for class in 0..3u8 {
        for number in 0..8u32 {
            let colour = [80 * class, 250 - 100 * class, 40 + number as u8];
            save(picture(number + 2, colour), format!("classes/test/c{class}/{number}.png"));
        }
    }
}

const SEGMENTATION: &str = r#"
[protocol]
name = "segmentation"
labelled = 2
[data]
dataset = "folder"
root = "pixels"
train = "labelled"
test = "*-labelled"
[method]
name = "prototype"
"#;

const FEW_SHOT: &str = r#"
[protocol]
name = "few-shot-segmentation"
ways = 1
shots = 1
evaluate = [0]
folds = 2
episodes = 2
runs = 1
counting = "panet"
seed = 1
[data]
dataset = "folder"
root = "pixels"
test = "*"
[method]
name = "self-support"
sizes = [64]
"#;

const RECOGNITION: &str = r#"
[protocol]
name = "few-shot-recognition"
ways = 2
shots = 1
queries = 2
episodes = 2
seed = 1
part = "test"
[data]
dataset = "class-folders"
root = "classes"
size = 32
[model]
encoder = { name = "conv4", width = 8 }
[method]
name = "prototypical-networks"
"#;

const PRESENCE: &str = r#"
[protocol]
name = "presence"
shots = 1
queries = 1
runs = 1
seed = 0
[data]
dataset = "folder"
root = "pixels"
train = "*"
test = "*"
[method]
name = "prototype"
"#;

/// Changes that are refused: each number beyond its bounds.
const REFUSED: [(&str, &str); 24] = [
    (SEGMENTATION, "protocol.labelled=-1"),
    (SEGMENTATION, "protocol.labelled=9223372036854775807"),
    (SEGMENTATION, "protocol.seeds=[]"),
    (SEGMENTATION, "predict.scale=0"),
    (SEGMENTATION, "predict.scale=nan"),
    (SEGMENTATION, "predict.scale=1e300"),
    (SEGMENTATION, "method.per_class=0"),
    (SEGMENTATION, "method.stages=4294967296"),
    (SEGMENTATION, "data.longest_side=2147483648"),
    (SEGMENTATION, "data.split.validation=nan"),
    (FEW_SHOT, "protocol.folds=0"),
    (FEW_SHOT, "protocol.evaluate=[9223372036854775807]"),
    (FEW_SHOT, "protocol.runs=9223372036854775807"),
    (FEW_SHOT, "protocol.episodes=0"),
    (FEW_SHOT, "method.grid=2147483648"),
    (FEW_SHOT, "method.sizes=[]"),
    (FEW_SHOT, "method.temperature=0.0"),
    (RECOGNITION, "data.size=2147483648"),
    (RECOGNITION, "data.shares=[inf, 0.1]"),
    (RECOGNITION, "model.encoder.width=0"),
    (RECOGNITION, "model.encoder.blocks=0"),
    (RECOGNITION, "protocol.queries=4294967296"),
    (PRESENCE, "protocol.queries=0"),
    (PRESENCE, "protocol.shots=9223372036854775807"),
];

/// Changes that are read, near an end of what is valid; what they ask for may still be more than the data has.
const READ: [(&str, &str); 50] = [
    (SEGMENTATION, "protocol.labelled=0"),
    (SEGMENTATION, "protocol.labelled=1000000"),
    (SEGMENTATION, "protocol.seeds=[9223372036854775807]"),
    (SEGMENTATION, "protocol.labels={ scribble = { share = 0.0 } }"),
    (SEGMENTATION, "protocol.labels={ scribble = { share = 1.0 } }"),
    (SEGMENTATION, "data.longest_side=32"),
    (SEGMENTATION, "data.longest_side=16384"),
    (SEGMENTATION, "data.split={ validation = 0.999, test = 0.999 }"),
    (SEGMENTATION, "predict.scale=0.05"),
    (SEGMENTATION, "predict.scale=4.0"),
    (SEGMENTATION, "predict.refinement={ guided = { radius = 1, epsilon = 1e-6 } }"),
    (SEGMENTATION, "predict.refinement={ guided = { radius = 64, epsilon = 100.0 } }"),
    (SEGMENTATION, "predict.refinement={ bilateral = { position = 0.1, colour = 0.1 } }"),
    (SEGMENTATION, "predict.refinement={ bilateral = { position = 10000.0, colour = 10000.0 } }"),
    (SEGMENTATION, "predict.refinement={ dense-crf = { steps = 0 } }"),
    (
        SEGMENTATION,
        "predict.refinement={ dense-crf = { steps = 100, weight = 1000.0, near_weight = 1000.0 } }",
    ),
    (
        SEGMENTATION,
        "method={ name = \"prototype\", per_class = 1000, stages = 16, scale = 1000.0 }",
    ),
    (SEGMENTATION, "method={ name = \"prototype\", stages = 1, scale = 1e-30 }"),
    (SEGMENTATION, "method={ name = \"probe\", hidden = 0, steps = 1, batch = 1, cells = 1 }"),
    (
        SEGMENTATION,
        "method={ name = \"probe\", steps = 2, batch = 65536, rate = 1.0, dropout = 0.95, balance = 2.0, weight_decay = 100.0 }",
    ),
    (
        SEGMENTATION,
        "method={ name = \"forest\", trees = 1, features = 1, rows = 2, depth = 1, cells = 1 }",
    ),
    (
        SEGMENTATION,
        "method={ name = \"forest\", features = 4096, rows = 1000, depth = 64, cells = 1000000 }",
    ),
    (SEGMENTATION, "method={ name = \"filter-forest\", trees = 1, rows = 2, cells = 1 }"),
    (SEGMENTATION, "method={ name = \"fine-probe\", hidden = 0, steps = 1, cells = 1 }"),
    (
        SEGMENTATION,
        "method={ name = \"pixel-decoder\", width = 1, steps = 1, batch = 1, crop = 32 }",
    ),
    (
        SEGMENTATION,
        "method={ name = \"pixel-decoder\", width = 256, steps = 1, crop = 2048, batch = 1, learning_rate = 1.0 }",
    ),
    (SEGMENTATION, "model.encoder={ name = \"efficientnet-lite0\", output_stride = 8 }"),
    (FEW_SHOT, "protocol.folds=253"),
    (FEW_SHOT, "protocol.ways=253"),
    (FEW_SHOT, "protocol.shots=1000"),
    (FEW_SHOT, "protocol.episodes=1000000"),
    (FEW_SHOT, "protocol.seed=9223372036854775807"),
    (FEW_SHOT, "method={ name = \"self-support\", sizes = [32], grid = 2, stages = 1, least = 1 }"),
    (
        FEW_SHOT,
        "method={ name = \"self-support\", sizes = [32], grid = 64, stages = 16, least = 4096, slope = 1000.0, temperature = 1e-3 }",
    ),
    (FEW_SHOT, "method={ name = \"self-support\", sizes = [33], sure = 1.0, diffusion = 0.999 }"),
    (FEW_SHOT, "method={ name = \"panet\", size = 32, stages = 16, scale = 1000.0 }"),
    (RECOGNITION, "protocol.ways=[1, 1000]"),
    (RECOGNITION, "protocol.queries=1000"),
    (RECOGNITION, "data.size=1"),
    (RECOGNITION, "data.size=300"),
    (RECOGNITION, "data.shares=[1.0, 1.0]"),
    (RECOGNITION, "model.encoder.width=1"),
    (RECOGNITION, "model.encoder.blocks=16"),
    (RECOGNITION, "model.encoder={ name = \"resnet12\", widths = [1, 1, 1, 1] }"),
    (RECOGNITION, "model={ encoder = \"efficientnet-lite0\", views = { size = 32, views = 12 } }"),
    (RECOGNITION, "method.temperature=1e-6"),
    (RECOGNITION, "method={ name = \"ridge-head\", lambda = 1e-6 }"),
    (RECOGNITION, "method={ name = \"baseline\", steps = 0, rate = 100.0, decay = 100.0 }"),
    (RECOGNITION, "method={ name = \"matching-networks\", full_context = true, steps = 1000 }"),
    (PRESENCE, "protocol.queries=100000"),
];

/// How it ended: its status if it had one, and what it said.
fn ended(folder: &Path, recipe: &str, change: &str) -> (Option<i32>, String) {
    std::fs::write(folder.join("recipe.toml"), recipe).unwrap();
    let limited = format!("ulimit -v {MEMORY}; exec \"$0\" \"$@\"");
    let mut child = Command::new("sh")
        .current_dir(folder)
        .args(["-c", &limited])
        .arg(super::common::binary())
        .args(["eval", "recipe.toml", "--smoke", "--quiet", "--threads", "2", "--set", change])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut errors = child.stderr.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut said = String::new();
        let _ = errors.read_to_string(&mut said);
        said
    });
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status.code();
        }
        if start.elapsed() > DEADLINE {
            child.kill().unwrap();
            child.wait().unwrap();
            break None;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    (status, reader.join().unwrap())
}

#[test]
fn extremes_end_with_a_result_or_a_refusal() {
    let folder = tempfile::tempdir().unwrap();
    data(folder.path());
    let mut faults = Vec::new();
    for recipe in [SEGMENTATION, FEW_SHOT, RECOGNITION, PRESENCE] {
        // What the changes are made to is sound.
        let (status, said) = ended(
            folder.path(),
            recipe,
            "protocol.name=PROTOCOL".replace("PROTOCOL", name(recipe)).as_str(),
        );
        assert_eq!(status, Some(0), "{recipe}: {said}");
    }
    for (recipe, change) in REFUSED {
        let (status, said) = ended(folder.path(), recipe, change);
        let key = change.split('=').next().unwrap();
        if status != Some(2) || !said.contains(key) {
            faults.push(format!("{change}: {status:?}, not refused by its key: {said}"));
        }
    }
    for (recipe, change) in READ {
        let (status, said) = ended(folder.path(), recipe, change);
        if !matches!(status, Some(0 | 2)) || said.contains("panicked") {
            faults.push(format!("{change}: {status:?}: {said}"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// A recipe's protocol.
fn name(recipe: &str) -> &str {
    recipe.split('"').nth(1).unwrap()
}
