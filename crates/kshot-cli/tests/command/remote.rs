//! Devices of other machines: two workers on this one, on which a folder is segmented and a network is trained.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use super::common::{DONE, Place, WRONG_USE};

/// What workers ask of clients.
const TOKEN: (&str, &str) = ("KSHOT_WORKER_TOKEN", "of this test");

/// A worker that ends with the test.
struct Worker {
    process: Child,
    address: String,
}

impl Worker {
    fn start() -> Self {
        let mut process = Command::new(super::common::binary())
            .args(["worker", "--listen", "127.0.0.1:0", "--threads", "1"])
            .envs([TOKEN])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let told = lines.next().unwrap().unwrap();
        let address = told.split(" at ").nth(1).unwrap_or_else(|| panic!("{told}")).to_owned();
        // What it logs later is read, so that it never waits for a reader.
        std::thread::spawn(move || lines.for_each(drop));
        Self { process, address }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn bytes(place: &Place, file: &str) -> Vec<u8> {
    fs::read(place.at(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The loss of each validation.
fn losses(place: &Place, run: &str) -> Vec<f64> {
    let text = String::from_utf8(bytes(place, &format!("{run}/metrics.jsonl"))).unwrap();
    let loss = |line: &str| {
        let point: serde_json::Value = serde_json::from_str(line).unwrap();
        point["validation"]["loss"].as_f64().unwrap()
    };
    text.lines().map(loss).collect()
}

#[test]
fn two_workers_train_as_one_device_does_and_segment_to_the_same_masks() {
    let place = Place::new();
    place.write(
        "recipe.toml",
        r#"
        [protocol]
        name = "segmentation"
        [data]
        dataset = "folder"
        root = "support"
        train = "*"
        validation = "*"
        test = "*"
        [model]
        encoder = "resnet-tiny"
        decoder = { name = "unet", width = 8 }
        weights = "none"
        [method]
        name = "supervised"
        [train]
        steps = 4
        batch = 2
        validate_every = 2
        seed = 1
        optimizer = "sgd"
        learning_rate = 0.05
        clip = { norm = 1.0 }
        "#,
    );
    let workers = [Worker::start(), Worker::start()];
    let both = format!("{},{}", workers[0].address, workers[1].address);
    let run = |more: &[&str]| {
        let ran =
            place.kshot_where(&[TOKEN], &[&["train", "recipe.toml", "--plain"], more].concat());
        assert_eq!(ran.faults(DONE, &[]), Vec::<String>::new());
    };
    // A share each on two workers; the same shares one after another on this machine.
    run(&["--out", "apart", "--devices", &both]);
    run(&["--out", "here", "--set", "train.batch=1", "--set", "train.accumulate=2"]);
    let (apart, here) = (losses(&place, "apart"), losses(&place, "here"));
    assert_eq!(apart.len(), 2);
    for (apart, here) in apart.iter().zip(&here) {
        // Running averages are means of the devices' there, and of steps in turn here.
        assert!((apart - here).abs() < 0.05 * here.abs(), "{apart} and {here}");
    }

    // Pictures of 32 pixels are shown as they are; the same network on another device gives the same masks.
    let segment = |out: &str, device: &str| {
        let arguments = ["segment", "--model", "here", "--query", "query", "--out", out];
        let ran = place.kshot_where(&[TOKEN], &[&arguments[..], &["--device", device]].concat());
        assert_eq!(ran.faults(DONE, &[]), Vec::<String>::new());
    };
    segment("masks-here", "flex");
    segment("masks-there", &workers[1].address);
    for name in ["good-a", "good-b"] {
        let file = |out: &str| format!("{out}/masks/{name}.png");
        assert_eq!(bytes(&place, &file("masks-here")), bytes(&place, &file("masks-there")));
    }
    // So does the main job, whose features come from there.
    let support = ["segment", "--support", "support", "--query", "query", "--method", "prototype"];
    for (out, device) in [("plain", "flex"), ("lent", workers[0].address.as_str())] {
        let more = ["--scale", "1", "--out", out, "--device", device];
        let ran = place.kshot_where(&[TOKEN], &[&support[..], &more].concat());
        assert_eq!(ran.faults(DONE, &[]), Vec::<String>::new());
    }
    assert_eq!(bytes(&place, "plain/masks/good-a.png"), bytes(&place, "lent/masks/good-a.png"));
}

#[test]
fn who_is_not_let_in_and_who_is_not_there_is_told() {
    let place = Place::new();
    let worker = Worker::start();
    let list = |device: &str, environment: &[(&str, &str)]| {
        let arguments = ["segment", "--support", "support", "--query", "query", "--out", "out"];
        place.kshot_where(environment, &[&arguments[..], &["--device", device]].concat())
    };
    let wrong = [("KSHOT_WORKER_TOKEN", "another")];
    let refused = list(&worker.address, &wrong);
    assert_eq!(refused.faults(WRONG_USE, &["rejected the credential"]), Vec::<String>::new());
    let second = list(&format!("{}#1", worker.address), &[TOKEN]);
    assert_eq!(second.faults(WRONG_USE, &["hosts only 1 device"]), Vec::<String>::new());
    let nobody = list("ws://127.0.0.1:9", &[]);
    assert_eq!(nobody.faults(WRONG_USE, &["kshot worker"]), Vec::<String>::new());
    let open =
        place.kshot_where(&[("KSHOT_WORKER_TOKEN", "")], &["worker", "--listen", "0.0.0.0:0"]);
    assert_eq!(open.faults(WRONG_USE, &["KSHOT_WORKER_TOKEN", "127.0.0.1"]), Vec::<String>::new());
}
