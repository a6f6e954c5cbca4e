//! Compute devices by name: `flex`, `cuda:1`, `vulkan:integrated`, ...

#[cfg(feature = "gpu")]
mod gpu;
mod list;
#[cfg(feature = "remote")]
pub mod remote;
pub mod tuning;

pub use burn::prelude::Device;
pub use list::{FoundDevice, found};

use crate::error::{Error, ErrorKind, Result};

/// Devices a binary may hold: name, cargo feature that compiles it in (none: always there), whether
/// this binary has it, and what it is.
pub(crate) const KINDS: &[(&str, Option<&str>, bool, &str)] = &[
    ("flex", None, true, "the processor, in pure Rust"),
    ("cuda", Some("cuda"), cfg!(feature = "cuda"), "NVIDIA"),
    ("wgpu", Some("wgpu"), cfg!(feature = "wgpu"), "any GPU, chosen by the system"),
    ("vulkan", Some("vulkan"), cfg!(feature = "vulkan"), "any GPU with Vulkan"),
    ("metal", Some("metal"), cfg!(feature = "metal"), "Apple"),
    ("rocm", Some("rocm"), cfg!(feature = "rocm"), "AMD"),
];

/// Names of the devices compiled into this binary, `flex` first.
pub fn compiled() -> Vec<&'static str> {
    KINDS.iter().filter(|kind| kind.2).map(|kind| kind.0).collect()
}

/// Holds all parallel work on the processor to this many threads. Takes effect once, before the
/// first parallel work.
///
/// # Errors
/// [`ErrorKind::Device`] when parallel work has begun already.
pub fn set_threads(threads: usize) -> Result<()> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build_global()
        .map_err(|source| error(format!("the number of threads cannot be set any more: {source}")))
}

/// Which adapter of a kind of device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Adapter {
    /// The one that the system prefers.
    Any,
    /// A card of its own, from 0; of CUDA and ROCm any card.
    Discrete(usize),
    /// One that shares the processor's memory, from 0.
    Integrated(usize),
    /// One of a virtual machine, from 0.
    Virtual(usize),
    /// A driver that computes on the processor (lavapipe, SwiftShader).
    Software,
}

impl Adapter {
    /// What stands behind the colon: `1`, `integrated`, `virtual1`, `software`.
    fn parse(text: &str) -> Option<Self> {
        let numbered = |prefix: &str| -> Option<usize> {
            let rest = text.strip_prefix(prefix)?;
            if rest.is_empty() && !prefix.is_empty() { Some(0) } else { rest.parse().ok() }
        };
        if text == "software" {
            return Some(Self::Software);
        }
        numbered("integrated")
            .map(Self::Integrated)
            .or_else(|| numbered("virtual").map(Self::Virtual))
            .or_else(|| numbered("").map(Self::Discrete))
    }
}

/// The device of that name: `flex` (or `cpu`), or `cuda`, `wgpu`, `vulkan`, `metal`, `rocm`, each with an optional
/// `:index` (of discrete GPUs, from 0); those of `wgpu`, `vulkan` and `metal` also with `:integrated`, `:virtual` (with
/// an index behind it where there are several) or `:software`. `ws://HOST:PORT` is the first device of a `kshot worker`,
/// `ws://HOST:PORT#1` its second. A GPU or a remote device is opened, so that one that cannot run says so here.
///
/// # Errors
/// [`ErrorKind::Device`] when the name is unknown, the index is not a number, the device was not compiled in, or it
/// cannot run; the message names what is there and what is lacking.
pub fn parse(name: &str) -> Result<Device> {
    let name = name.trim();
    #[cfg(feature = "remote")]
    if is_remote(name) {
        return remote::connect(name);
    }
    let (kind, adapter) = checked(name)?;
    open(kind, adapter, name)
}

/// The devices of several names with commas between them, such as `cuda:0,cuda:1`; one may be given twice.
///
/// # Errors
/// As [`parse`].
pub fn parse_all(names: &str) -> Result<Vec<Device>> {
    names.split(',').map(parse).collect()
}

/// Whether all of these names are of the processor.
pub fn is_processor(names: &str) -> bool {
    names.split(',').all(|name| checked(name.trim()).is_ok_and(|(kind, _)| kind == "flex"))
}

/// The kind of a device and which of them; compiled in, perhaps not there.
fn checked(name: &str) -> Result<(&'static str, Adapter)> {
    if is_remote(name) {
        return Err(error(format!(
            "device `{name}`: this binary has no remote devices; build it with `cargo build --release --features remote`"
        )));
    }
    if name.contains(',') {
        return Err(error(format!(
            "device `{name}`: several devices are for `kshot train`; give one"
        )));
    }
    let (kind, adapter) = match name.split_once(':') {
        Some((kind, which)) => {
            let adapter = Adapter::parse(which).ok_or_else(|| {
                error(format!(
                    "device `{name}`: `{which}` is not an index; write {kind}:0 for the first"
                ))
            })?;
            (kind, adapter)
        }
        None => (name, Adapter::Any),
    };
    let kind = if kind == "cpu" { "flex" } else { kind };
    let Some(&(kind, feature, present, _)) = KINDS.iter().find(|row| row.0 == kind) else {
        let names: Vec<String> =
            KINDS.iter().map(|(name, _, _, what)| format!("{name} ({what})")).collect();
        return Err(error(format!("device `{name}` is unknown; valid are {}", names.join(", "))));
    };
    if let (false, Some(feature)) = (present, feature) {
        return Err(error(format!(
            "device `{name}` is not in this binary, which holds {}; build it with `cargo build \
             --release --features {feature}`",
            compiled().join(", ")
        )));
    }
    if kind == "flex" && !matches!(adapter, Adapter::Any | Adapter::Discrete(0)) {
        return Err(error(format!("device `{name}`: the processor is one device; write flex")));
    }
    let numbered = matches!(adapter, Adapter::Any | Adapter::Discrete(_));
    if matches!(kind, "cuda" | "rocm") && !numbered {
        return Err(error(format!(
            "device `{name}`: cards of {kind} are told apart by a number alone; write {kind}:0 for the first"
        )));
    }
    Ok((kind, adapter))
}

/// Whether it names a device of a worker.
fn is_remote(name: &str) -> bool {
    name.starts_with("ws://") || name.starts_with("wss://")
}

fn error(message: String) -> Error {
    Error::new(ErrorKind::Device, message)
}

#[cfg(feature = "gpu")]
fn open(kind: &'static str, adapter: Adapter, name: &str) -> Result<Device> {
    if kind == "flex" { Ok(Device::flex()) } else { gpu::open(kind, adapter, name) }
}

#[cfg(not(feature = "gpu"))]
fn open(_: &'static str, _: Adapter, _: &str) -> Result<Device> {
    Ok(Device::flex())
}

/// Seeds a device's random numbers; one that only records has none.
pub(crate) fn seed(device: &Device, seed: u64) {
    use burn::backend::DispatchDevice;
    if !matches!(device.clone().inner().as_dispatch(), DispatchDevice::Capture(_)) {
        device.seed(seed);
    }
}

/// Whether a device is just being opened, on any thread. Drivers and their libraries panic where something is missing;
/// that becomes an error of [`parse`] or a line of [`found`], and hooks have nothing to tell of it.
pub fn is_opening() -> bool {
    #[cfg(feature = "gpu")]
    return gpu::is_opening();
    #[cfg(not(feature = "gpu"))]
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_has_two_names() {
        assert_eq!(parse("flex").unwrap(), Device::flex());
        assert_eq!(parse(" cpu ").unwrap(), Device::flex());
        assert_eq!(parse("flex:0").unwrap(), Device::flex());
    }

    #[test]
    fn adapters_have_names() {
        for (text, expected) in [
            ("0", Some(Adapter::Discrete(0))),
            ("12", Some(Adapter::Discrete(12))),
            ("integrated", Some(Adapter::Integrated(0))),
            ("integrated1", Some(Adapter::Integrated(1))),
            ("virtual", Some(Adapter::Virtual(0))),
            ("software", Some(Adapter::Software)),
            ("software1", None),
            ("", None),
            ("-1", None),
            ("first", None),
        ] {
            assert_eq!(Adapter::parse(text), expected, "{text}");
        }
    }

    #[test]
    fn errors_say_what_to_do() {
        for (name, part) in [
            ("gpu", "unknown; valid are flex"),
            ("cuda:x", "write cuda:0"),
            ("flex:1", "write flex"),
            ("flex:software", "write flex"),
            ("flex,flex", "for `kshot train`"),
        ] {
            let error = parse(name).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Device);
            assert!(error.to_string().contains(part), "{name}: {error}");
        }
        #[cfg(not(feature = "remote"))]
        assert!(parse("ws://there:1").unwrap_err().to_string().contains("--features remote"));
        assert_eq!(parse_all("flex, cpu").unwrap(), [Device::flex(), Device::flex()]);
        #[cfg(not(feature = "cuda"))]
        assert!(parse("cuda:1").unwrap_err().to_string().contains("--features cuda"));
    }
}
