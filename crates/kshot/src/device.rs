//! Compute devices by name: `flex`, `cuda:1`, `vulkan`, ...

pub use burn::prelude::Device;

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

/// The device of that name: `flex` (or `cpu`), or `cuda`, `wgpu`, `vulkan`, `metal`, `rocm`, each
/// with an optional `:index` (of discrete GPUs, from 0).
///
/// # Errors
/// [`ErrorKind::Device`] when the name is unknown, the index is not a number, or the device was not
/// compiled in; the message names what is there and how to build the rest.
pub fn parse(name: &str) -> Result<Device> {
    let name = name.trim();
    if name.starts_with("ws://") || name.starts_with("wss://") {
        return Err(error(format!(
            "device `{name}`: this version has no remote devices; it holds {}",
            compiled().join(", ")
        )));
    }
    let (kind, index) = match name.split_once(':') {
        Some((kind, index)) => {
            let index: usize = index.parse().map_err(|_| {
                error(format!(
                    "device `{name}`: `{index}` is not an index; write {kind}:0 for the first"
                ))
            })?;
            (kind, Some(index))
        }
        None => (name, None),
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
    if kind == "flex" && index.is_some_and(|index| index > 0) {
        return Err(error(format!("device `{name}`: the processor is one device; write flex")));
    }
    open(kind, index)
}

fn error(message: String) -> Error {
    Error::new(ErrorKind::Device, message)
}

#[cfg(any(feature = "wgpu", feature = "vulkan", feature = "metal"))]
fn gpu(index: Option<usize>) -> burn::prelude::DeviceKind {
    use burn::prelude::DeviceKind;
    index.map_or(DeviceKind::DefaultDevice, DeviceKind::DiscreteGpu)
}

#[allow(unused_variables)] // the index is of no use where only flex is compiled in
fn open(kind: &str, index: Option<usize>) -> Result<Device> {
    match kind {
        #[cfg(feature = "cuda")]
        "cuda" => Ok(Device::cuda(index.unwrap_or(0))),
        #[cfg(feature = "rocm")]
        "rocm" => Ok(Device::rocm(index.unwrap_or(0))),
        #[cfg(feature = "wgpu")]
        "wgpu" => Ok(Device::wgpu(gpu(index))),
        #[cfg(feature = "vulkan")]
        "vulkan" => Ok(Device::vulkan(gpu(index))),
        #[cfg(feature = "metal")]
        "metal" => Ok(Device::metal(gpu(index))),
        _ => Ok(Device::flex()),
    }
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
    fn errors_say_what_to_do() {
        for (name, part) in [
            ("gpu", "unknown; valid are flex"),
            ("cuda:x", "write cuda:0"),
            ("flex:1", "write flex"),
            ("ws://there:1", "no remote devices"),
        ] {
            let error = parse(name).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Device);
            assert!(error.to_string().contains(part), "{name}: {error}");
        }
        #[cfg(not(feature = "cuda"))]
        assert!(parse("cuda:1").unwrap_err().to_string().contains("--features cuda"));
    }
}
