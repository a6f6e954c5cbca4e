//! GPUs through CubeCL: found, opened without a panic, and tuned with results that stay.

use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::cubecl::config::cache::CacheConfig;
use burn::cubecl::config::{CubeClRuntimeConfig, RuntimeConfig};
use burn::prelude::Device;
#[cfg(any(feature = "wgpu", feature = "vulkan", feature = "metal"))]
use burn::prelude::DeviceKind;
use burn::tensor::DeviceType;
use kshot_data::caught::caught;

use super::{Adapter, FoundDevice, error, tuning};
use crate::error::Result;

/// Adapters of one sort that are looked for.
const MOST: usize = 16;

/// Devices being opened just now.
static OPENING: AtomicUsize = AtomicUsize::new(0);
/// Kernels tuned so far.
static TUNED: AtomicUsize = AtomicUsize::new(0);

pub(super) fn is_opening() -> bool {
    OPENING.load(Ordering::SeqCst) > 0
}

pub(super) fn tuned() -> usize {
    TUNED.load(Ordering::Relaxed)
}

/// Listens to what CubeCL says of its tuning: a line a kernel.
struct TuningLog;

impl log::Log for TuningLog {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.target() == "cubecl::autotune"
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            TUNED.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn flush(&self) {}
}

/// Has CubeCL keep its results in [`tuning::folder`] and tell what it tunes. A `cubecl.toml` or `burn.toml` of the
/// working folder (or above) and CubeCL's variables (`CUBECL_AUTOTUNE_LEVEL`, ...) still count.
fn prepare() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let mut config = CubeClRuntimeConfig::from_current_dir().override_from_env();
        // CubeCL's default is the `target` folder of the project one happens to stand in.
        if matches!(config.environment.path, CacheConfig::Target) {
            config.environment.path = CacheConfig::Directory(tuning::folder());
        }
        let logger = &mut config.autotune.logger;
        logger.log = logger.log.or(Some(Default::default()));
        // Whoever embeds the library may have set either before; then that counts.
        if CubeClRuntimeConfig::try_set(config) && log::set_logger(&TuningLog).is_ok() {
            log::set_max_level(log::LevelFilter::Info);
        }
    });
}

/// Runs what touches drivers; a panic in it, on whichever thread, is an error in its words.
fn quietly<T>(what: impl FnOnce() -> T) -> std::result::Result<T, String> {
    OPENING.fetch_add(1, Ordering::SeqCst);
    let done = caught(what);
    OPENING.fetch_sub(1, Ordering::SeqCst);
    done
}

/// The device as Burn names it; nothing is opened.
fn named(kind: &str, adapter: Adapter) -> Option<Device> {
    let index = match adapter {
        Adapter::Discrete(index) => index,
        _ => 0,
    };
    #[cfg(any(feature = "wgpu", feature = "vulkan", feature = "metal"))]
    let of = match adapter {
        Adapter::Any => DeviceKind::DefaultDevice,
        Adapter::Discrete(index) => DeviceKind::DiscreteGpu(index),
        Adapter::Integrated(index) => DeviceKind::IntegratedGpu(index),
        Adapter::Virtual(index) => DeviceKind::VirtualGpu(index),
        Adapter::Software => DeviceKind::Cpu,
    };
    let _ = index;
    match kind {
        #[cfg(feature = "cuda")]
        "cuda" => Some(Device::cuda(index)),
        #[cfg(feature = "rocm")]
        "rocm" => Some(Device::rocm(index)),
        #[cfg(feature = "wgpu")]
        "wgpu" => Some(Device::wgpu(of)),
        #[cfg(feature = "vulkan")]
        "vulkan" => Some(Device::vulkan(of)),
        #[cfg(feature = "metal")]
        "metal" => Some(Device::metal(of)),
        _ => None,
    }
}

/// What Burn finds of a kind; nothing is opened.
fn there(kind: &str) -> std::result::Result<Vec<Device>, String> {
    prepare();
    let filter = match kind {
        #[cfg(feature = "cuda")]
        "cuda" => DeviceType::Cuda,
        #[cfg(feature = "rocm")]
        "rocm" => DeviceType::Rocm,
        #[cfg(feature = "wgpu")]
        "wgpu" => DeviceType::Wgpu,
        #[cfg(feature = "vulkan")]
        "vulkan" => DeviceType::Vulkan,
        #[cfg(feature = "metal")]
        "metal" => DeviceType::Metal,
        _ => return Ok(Vec::new()),
    };
    quietly(|| Device::enumerate(filter).into_vec())
}

/// What a kind needs of the system.
fn needs(kind: &str) -> &'static str {
    match kind {
        "cuda" => "an NVIDIA card and its driver (libcuda): `nvidia-smi` lists what there is",
        "rocm" => "an AMD card and ROCm (libamdhip64): `rocminfo` lists what there is",
        "metal" => "a Mac",
        _ => {
            "a Vulkan loader (libvulkan.so.1) and a GPU's driver for it (a file in /usr/share/vulkan/icd.d): \
             `vulkaninfo --summary` lists what there is"
        }
    }
}

/// The names of the adapters of a kind, with their devices.
fn adapters(kind: &str) -> std::result::Result<Vec<(String, Device)>, String> {
    let there = there(kind)?;
    let numbered = |sort: &str, index: usize| match (sort, index) {
        ("", _) => index.to_string(),
        (_, 0) => sort.to_owned(),
        _ => format!("{sort}{index}"),
    };
    let sorts: [(&str, fn(usize) -> Adapter); 3] = [
        ("", Adapter::Discrete),
        ("integrated", Adapter::Integrated),
        ("virtual", Adapter::Virtual),
    ];
    let all = sorts
        .iter()
        .flat_map(|(sort, of)| (0..MOST).map(move |index| (numbered(sort, index), of(index))));
    let all = all.chain([("software".to_owned(), Adapter::Software)]);
    let named_ones: Vec<_> = all
        .filter_map(|(which, adapter)| Some((format!("{kind}:{which}"), named(kind, adapter)?)))
        .filter(|(_, device)| there.contains(device))
        .collect();
    // OpenGL does not say of what sort an adapter is: then there is the system's choice alone.
    match named(kind, Adapter::Any) {
        Some(any) if named_ones.is_empty() && !there.is_empty() => Ok(vec![(kind.to_owned(), any)]),
        _ => Ok(named_ones),
    }
}

/// Opens a device and lets it compute; what it is called.
fn awake(device: &Device) -> std::result::Result<String, String> {
    let name = quietly(|| {
        let name = device.identity().map(|identity| identity.name);
        device.sync().map(|()| name)
    })?;
    let name = name.map_err(|error| format!("{error:?}"))?;
    Ok(name.unwrap_or_else(|| "a GPU whose driver tells no name".to_owned()))
}

/// The first line of what a library says.
fn first_line(words: &str) -> &str {
    words.lines().next().unwrap_or("no reason")
}

/// Opens a device.
pub(super) fn open(kind: &'static str, adapter: Adapter, name: &str) -> Result<Device> {
    let adapters = adapters(kind).map_err(|words| {
        error(format!(
            "device `{name}` cannot be looked for: {}; it needs {}",
            first_line(&words),
            needs(kind)
        ))
    })?;
    let absent = || {
        let names: Vec<&str> = adapters.iter().map(|(name, _)| name.as_str()).collect();
        let there = match names.is_empty() {
            true => format!("there is none of {kind} here; it needs {}", needs(kind)),
            false => format!("there are {}", names.join(", ")),
        };
        error(format!("device `{name}` was not found; {there} (`kshot list devices` names all)"))
    };
    let device = named(kind, adapter).ok_or_else(absent)?;
    let is_there = match adapter {
        Adapter::Any => !adapters.is_empty(),
        _ => adapters.iter().any(|(_, other)| *other == device),
    };
    if !is_there {
        return Err(absent());
    }
    awake(&device).map_err(|words| {
        let words = first_line(&words);
        error(format!("device `{name}` cannot run: {words}; it needs {}", needs(kind)))
    })?;
    Ok(device)
}

/// Every adapter of a kind, opened; one line with what is lacking where there is none.
pub(super) fn found(kind: &'static str, what: &str) -> Vec<FoundDevice> {
    let none = |lacks: String| {
        vec![FoundDevice {
            name: kind.to_owned(),
            about: what.to_owned(),
            ready: false,
            lacks: Some(lacks),
        }]
    };
    match adapters(kind) {
        Err(words) => none(format!("{}; needs {}", first_line(&words), needs(kind))),
        Ok(adapters) if adapters.is_empty() => none(format!("none found; needs {}", needs(kind))),
        Ok(adapters) => adapters
            .into_iter()
            .map(|(name, device)| match awake(&device) {
                Ok(about) => FoundDevice { name, about, ready: true, lacks: None },
                Err(words) => FoundDevice {
                    name,
                    about: what.to_owned(),
                    ready: false,
                    lacks: Some(format!("{}; needs {}", first_line(&words), needs(kind))),
                },
            })
            .collect(),
    }
}
