//! The named tensors of a file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::store::pytorch_reader::{DType as TorchType, PytorchReader};
use burn::tensor::{DType, TensorData};
use safetensors::{Dtype, SafeTensors};

use crate::error::{Error, Result};

/// The tensors of a file by name, as the file stores them.
#[derive(Debug, Clone)]
pub struct StateDict {
    /// Where they were read.
    pub path: PathBuf,
    /// The tensors; 16-bit ones are kept as such.
    pub tensors: BTreeMap<String, TensorData>,
}

impl StateDict {
    /// Takes a tensor out as 32-bit floats.
    ///
    /// # Errors
    /// If it is missing, or has another shape than the network's.
    pub fn take(&mut self, name: &str, shape: &[usize]) -> Result<TensorData> {
        let Some(data) = self.tensors.remove(name) else {
            return Err(Error::weights(format!(
                "the file has no tensor `{name}`; it has {}",
                self.tensors.keys().take(8).cloned().collect::<Vec<_>>().join(", ")
            ))
            .in_file(&self.path));
        };
        let found: Vec<usize> = data.shape().iter().copied().collect();
        if found != shape {
            return Err(Error::weights(format!(
                "`{name}` is {found:?} in the file and {shape:?} in the network"
            ))
            .in_file(&self.path));
        }
        Ok(data.convert::<f32>())
    }

    /// # Errors
    /// If tensors are left that nobody took.
    pub fn finish(self) -> Result<()> {
        if self.tensors.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = self.tensors.into_keys().collect();
        Err(Error::weights(format!(
            "the file holds tensors that the network has not: {}",
            names.join(", ")
        ))
        .in_file(self.path))
    }

    /// Reads a `.safetensors` file, or any file that PyTorch saved.
    ///
    /// # Errors
    /// When the file cannot be read, is damaged, or holds no tensors.
    pub fn read(path: &Path) -> Result<Self> {
        let state = if path.extension().is_some_and(|end| end == "safetensors") {
            let bytes =
                std::fs::read(path).map_err(|error| Error::io("read the weights", path, error))?;
            Self::from_safetensors(&bytes, path)?
        } else {
            Self::from_pytorch(path)?
        };
        if state.tensors.is_empty() {
            return Err(Error::weights("the file holds no tensors").in_file(path));
        }
        Ok(state)
    }

    /// Reads the content of a `.safetensors` file; `path` is for messages only.
    ///
    /// # Errors
    /// When the bytes are damaged or hold numbers of an unknown type.
    pub fn from_safetensors(bytes: &[u8], path: &Path) -> Result<Self> {
        let file = SafeTensors::deserialize(bytes).map_err(|error| {
            Error::weights(format!(
                "not a whole .safetensors file ({error}); fetch it again or check its name"
            ))
            .in_file(path)
            .caused_by(error)
        })?;
        let mut tensors = BTreeMap::new();
        for (name, view) in file.iter() {
            let dtype = match view.dtype() {
                Dtype::F64 => DType::F64,
                Dtype::F32 => DType::F32,
                Dtype::F16 => DType::F16,
                Dtype::BF16 => DType::BF16,
                Dtype::I64 => DType::I64,
                Dtype::I32 => DType::I32,
                other => return Err(unreadable(path, name, &format!("{other:?}"))),
            };
            let shape = view.shape().to_vec();
            let data = TensorData::from_bytes_vec(view.data().to_vec(), shape, dtype);
            tensors.insert(name.to_owned(), data);
        }
        Ok(Self { path: path.to_owned(), tensors })
    }

    fn from_pytorch(path: &Path) -> Result<Self> {
        let file = std::fs::File::open(path)
            .map_err(|error| Error::io("open the weights", path, error))?;
        drop(file);
        let damaged = |error: String| {
            Error::weights(format!(
                "not a file of weights that PyTorch saved, or a damaged one ({error}); save a state \
                 dict with `torch.save(model.state_dict(), path)`"
            ))
            .in_file(path)
        };
        let reader = PytorchReader::new(path).map_err(|error| damaged(error.to_string()))?;
        let mut tensors = BTreeMap::new();
        for (name, tensor) in reader.into_tensors() {
            let dtype = match tensor.dtype() {
                TorchType::F64 => DType::F64,
                TorchType::F32 => DType::F32,
                TorchType::F16 => DType::F16,
                TorchType::BF16 => DType::BF16,
                TorchType::I64 => DType::I64,
                TorchType::I32 => DType::I32,
                other => return Err(unreadable(path, &name, &format!("{other:?}"))),
            };
            let shape = tensor.shape().to_vec();
            let bytes = tensor.read().map_err(|error| damaged(error.to_string()))?;
            tensors.insert(name, TensorData::from_bytes_vec(bytes, shape, dtype));
        }
        // Training scripts save `{"state_dict": {...}, "epoch": ...}` or the like, and DataParallel
        // puts `module.` before every name.
        for prefix in ["state_dict.", "model_state.", "model.", "module."] {
            if !tensors.is_empty() && tensors.keys().all(|name| name.starts_with(prefix)) {
                tensors = tensors
                    .into_iter()
                    .map(|(name, data)| (name[prefix.len()..].to_owned(), data))
                    .collect();
            }
        }
        Ok(Self { path: path.to_owned(), tensors })
    }
}

fn unreadable(path: &Path, name: &str, dtype: &str) -> Error {
    Error::weights(format!(
        "{}: tensor `{name}` holds numbers of type {dtype}; valid are 16, 32 and 64-bit floats",
        path.display()
    ))
    .at_tensor(name)
}
