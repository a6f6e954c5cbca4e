//! What there is to compute on: the devices of this machine that this binary can use, and what the others lack.

use serde::Serialize;

use super::KINDS;

/// A device, or a kind of which there is none to use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FoundDevice {
    /// What `--device` takes, such as `flex` or `vulkan:0`.
    pub name: String,
    /// The hardware as its driver names it, or what the kind is for where there is none.
    pub about: String,
    /// Whether it can be used.
    pub ready: bool,
    /// What it takes to use it, where it cannot be.
    pub lacks: Option<String>,
}

/// Every device that this binary can use here, each GPU opened once, and a line for each kind of which there is none,
/// with what that lacks. The processor comes first. Never panics, whatever drivers do.
pub fn found() -> Vec<FoundDevice> {
    let mut devices = Vec::new();
    for &(kind, feature, present, what) in KINDS {
        match feature {
            None => devices.push(FoundDevice {
                name: kind.to_owned(),
                about: format!("{what}: {}", processor()),
                ready: true,
                lacks: None,
            }),
            Some(_) if present => devices.extend(of_kind(kind, what)),
            Some(feature) => devices.push(FoundDevice {
                name: kind.to_owned(),
                about: what.to_owned(),
                ready: false,
                lacks: Some(format!(
                    "is not in this binary: cargo build --release --features {feature}"
                )),
            }),
        }
    }
    devices.push(FoundDevice {
        name: "ws://HOST:PORT".to_owned(),
        about: "a device of another machine, where `kshot worker` runs".to_owned(),
        ready: cfg!(feature = "remote"),
        lacks: (!cfg!(feature = "remote"))
            .then(|| "is not in this binary: cargo build --release --features remote".to_owned()),
    });
    devices
}

#[cfg(feature = "gpu")]
fn of_kind(kind: &'static str, what: &str) -> Vec<FoundDevice> {
    super::gpu::found(kind, what)
}

#[cfg(not(feature = "gpu"))]
fn of_kind(_: &'static str, _: &str) -> Vec<FoundDevice> {
    Vec::new()
}

/// The processor by name, where the system tells it, with its threads.
fn processor() -> String {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let cores = format!("{threads} thread{}", if threads == 1 { "" } else { "s" });
    let told = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = told.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == "model name").then(|| value.trim().to_owned())
    });
    match name {
        Some(name) if !name.is_empty() => format!("{name}, {cores}"),
        _ => cores,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_is_ready_and_what_is_not_says_what_it_lacks() {
        let found = found();
        assert_eq!((found[0].name.as_str(), found[0].ready), ("flex", true));
        for kind in KINDS {
            let of = |device: &&FoundDevice| device.name.split(':').next() == Some(kind.0);
            let rows: Vec<&FoundDevice> = found.iter().filter(of).collect();
            assert!(!rows.is_empty(), "{} is not listed", kind.0);
            for row in rows {
                assert_eq!(row.ready, row.lacks.is_none(), "{row:?}");
            }
        }
        #[cfg(not(feature = "cuda"))]
        assert!(found.iter().any(|row| {
            row.name == "cuda"
                && row.lacks.as_deref().is_some_and(|lacks| lacks.contains("--features cuda"))
        }));
        // A device that is listed as ready has a name that `parse` takes.
        for row in found.iter().filter(|row| row.ready && !row.name.starts_with("ws")) {
            assert!(crate::device::parse(&row.name).is_ok(), "{row:?}");
        }
    }
}
