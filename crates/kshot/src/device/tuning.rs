//! Kernels are tuned for a GPU the first time that a shape comes: tens of variants are compiled and measured, and the
//! quickest is kept on disk. That takes minutes in a first run, so it is told.

use std::path::PathBuf;

/// Whether this binary holds devices that tune.
pub const TUNES: bool = cfg!(feature = "gpu");

/// Kernels tuned by this process so far; 0 on the processor, and where an earlier run tuned them.
pub fn tuned() -> usize {
    #[cfg(feature = "gpu")]
    return super::gpu::tuned();
    #[cfg(not(feature = "gpu"))]
    0
}

/// Where results are kept: `KSHOT_GPU_CACHE`, else `kshot/gpu` in the user's cache folder (`XDG_CACHE_HOME`,
/// `~/Library/Caches` on macOS, `LOCALAPPDATA` on Windows, `~/.cache`), else in the folder for temporary files.
pub fn folder() -> PathBuf {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    if let Some(folder) = set("KSHOT_GPU_CACHE") {
        return PathBuf::from(folder);
    }
    let home = |below: &str| std::env::home_dir().map(|home| home.join(below));
    let cache = if cfg!(target_os = "macos") {
        home("Library/Caches")
    } else if cfg!(windows) {
        set("LOCALAPPDATA").map(PathBuf::from)
    } else {
        set("XDG_CACHE_HOME").map(PathBuf::from).or_else(|| home(".cache"))
    };
    cache.unwrap_or_else(std::env::temp_dir).join("kshot").join("gpu")
}
