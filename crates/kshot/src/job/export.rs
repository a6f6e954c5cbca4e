//! A trained network as a file for other programs.

use std::path::PathBuf;

use serde::Serialize;

use crate::error::{Error, Result};
use crate::export::{OnnxOptions, write_onnx, write_safetensors};
use crate::predict::trained;

/// The format of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExportFormat {
    /// The network with its weights: onnxruntime, OpenVINO, TensorRT, a browser.
    Onnx,
    /// The weights alone.
    Safetensors,
}

impl ExportFormat {
    /// The end of a file's name.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Onnx => "onnx",
            Self::Safetensors => "safetensors",
        }
    }
}

/// Which network to write, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct ExportOptions {
    /// The folder of a training of supervised segmentation, or its file of weights.
    pub run: PathBuf,
    /// The format.
    pub format: ExportFormat,
    /// The file; `model.onnx` or `model.safetensors` in the run's folder if absent.
    pub out: Option<PathBuf>,
    /// Height and width of the only pictures it is for; any if absent.
    pub size: Option<[usize; 2]>,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Exported {
    /// The file.
    pub file: PathBuf,
    /// Its format.
    pub format: ExportFormat,
    /// Its bytes.
    pub bytes: u64,
    /// The classes that the network tells apart, by number.
    pub classes: Vec<String>,
}

/// Writes the network of a run as a file.
///
/// # Errors
/// If the run's recipe, classes or weights are missing or wrong, its method is no encoder with a decoder, its network
/// cannot be written in the format, or the file cannot be written.
pub fn export(options: &ExportOptions) -> Result<Exported> {
    let (network, about) = trained::network(&options.run, options.size)?;
    let default = || {
        let folder =
            if options.run.is_file() { options.run.parent() } else { Some(options.run.as_path()) };
        let name = format!("model.{}", options.format.extension());
        folder.map_or_else(|| PathBuf::from(&name), |folder| folder.join(&name))
    };
    let file = options.out.clone().unwrap_or_else(default);
    match options.format {
        ExportFormat::Onnx => write_onnx(&network, &about, &file)?,
        ExportFormat::Safetensors => write_safetensors(&network, &about, &file)?,
    }
    let bytes = std::fs::metadata(&file)
        .map_err(|error| Error::io("read back the size of", &file, error))?
        .len();
    let OnnxOptions { classes, .. } = about;
    Ok(Exported { file, format: options.format, bytes, classes })
}
