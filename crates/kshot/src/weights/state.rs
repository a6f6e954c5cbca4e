//! The named tensors of a file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::store::pytorch_reader::{DType as TorchType, PytorchReader};
use burn::tensor::{DType, TensorData};
use safetensors::Dtype;
use safetensors::tensor::Metadata;

use crate::error::{Error, Result};
use crate::names::counted;
use crate::weights::file::Head;
use crate::weights::pickle;

/// The key, in a file's metadata, of the version of kshot that wrote it.
pub(crate) const VERSION: &str = "kshot.version";

/// The tensors of a file by name, as the file stores them.
#[derive(Debug, Clone)]
pub struct StateDict {
    /// Where they were read.
    pub path: PathBuf,
    /// The tensors; 16-bit ones are kept as such.
    pub tensors: BTreeMap<String, TensorData>,
    /// Whether kshot wrote the file (its metadata say so): `encoder.` and `decoder.` before kshot's own names.
    pub(super) own: bool,
}

impl StateDict {
    /// Tensors by the names that others gave them; `path` is for messages.
    pub fn new(path: PathBuf, tensors: BTreeMap<String, TensorData>) -> Self {
        Self { path, tensors, own: false }
    }

    /// Takes a tensor out as 32-bit floats.
    ///
    /// # Errors
    /// If it is missing, has another shape than the network's, or holds numbers that are not finite.
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
        let data = data.convert::<f32>();
        match not_finite(&data) {
            0 => Ok(data),
            count => Err(broken(name, count).in_file(&self.path)),
        }
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

    /// Reads a `.safetensors` file, or any file that PyTorch saved. What it is, its content says: a wrong
    /// ending does no harm.
    ///
    /// # Errors
    /// When the file cannot be read, is none of weights, is damaged, holds no tensors, is larger than
    /// 4 GiB, or claims to hold far more than its length.
    pub fn read(path: &Path) -> Result<Self> {
        let head = Head::of(path)?;
        let named_so = path.extension().is_some_and(|end| end == "safetensors");
        let state = if head.is_safetensors() || (named_so && !head.is_pytorch()) {
            let bytes =
                std::fs::read(path).map_err(|error| Error::io("read the weights", path, error))?;
            Self::from_safetensors(&bytes, path)
                .map_err(|error| guessed(error, head.guess(), path))?
        } else {
            Self::from_pytorch(path, &head)?
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
        let damaged = |why: &str| {
            Error::weights(format!(
                "not a whole .safetensors file ({why}); fetch it again or check its name"
            ))
            .in_file(path)
        };
        let (header, content) =
            parted(bytes).ok_or_else(|| damaged("it ends within its header"))?;
        // The order of tensors, their sizes and that none overlap are checked there.
        let header: Metadata = serde_json::from_slice(header)
            .map_err(|error| damaged(&error.to_string()).caused_by(error))?;
        if header.data_len() != content.len() {
            return Err(damaged(&format!(
                "its header tells of {} bytes of numbers, and it holds {}",
                header.data_len(),
                content.len()
            )));
        }
        let mut tensors = BTreeMap::new();
        for (name, about) in header.tensors() {
            let dtype = match about.dtype {
                Dtype::F64 => DType::F64,
                Dtype::F32 => DType::F32,
                Dtype::F16 => DType::F16,
                Dtype::BF16 => DType::BF16,
                Dtype::I64 => DType::I64,
                Dtype::I32 => DType::I32,
                other => return Err(unreadable(path, &name, &format!("{other:?}"))),
            };
            let (start, end) = about.data_offsets;
            let numbers = content.get(start..end).ok_or_else(|| damaged("its tensors overlap"))?;
            let data = TensorData::from_bytes_vec(numbers.to_vec(), about.shape.clone(), dtype);
            tensors.insert(name, data);
        }
        let about = header.metadata().as_ref();
        let own = about.is_some_and(|about| about.contains_key(VERSION));
        Ok(Self { path: path.to_owned(), tensors, own })
    }

    fn from_pytorch(path: &Path, head: &Head) -> Result<Self> {
        let damaged = |error: String| {
            let guess = head.guess();
            Error::weights(format!(
                "not a file of weights that PyTorch saved, or a damaged one ({guess}{error}); save a \
                 state dict with `torch.save(model.state_dict(), path)`"
            ))
            .in_file(path)
        };
        pickle::check(path, head.length).map_err(damaged)?;
        let reader = PytorchReader::new(path).map_err(|error| damaged(error.to_string()))?;
        let sizes = reader.tensors().values().map(|tensor| tensor.byte_len() as u64);
        pickle::sizes_fit(sizes, head.length).map_err(damaged)?;
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
        Ok(Self::new(path.to_owned(), tensors))
    }
}

/// The header and the content of a `.safetensors` file.
fn parted(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<8>()?;
    rest.split_at_checked(u64::from_le_bytes(*length).try_into().ok()?)
}

/// How many numbers are NaN or infinite, as 32-bit floats.
pub(super) fn not_finite(data: &TensorData) -> usize {
    match data.as_slice::<f32>() {
        Ok(numbers) => numbers.iter().filter(|number| !number.is_finite()).count(),
        Err(_) => data.iter::<f32>().filter(|number| !number.is_finite()).count(),
    }
}

/// A tensor with such numbers.
pub(super) fn broken(name: &str, count: usize) -> Error {
    let numbers = counted(count, "number that is", "numbers that are");
    Error::weights(format!(
        "tensor `{name}` holds {numbers} not finite (NaN or infinite); take weights of an earlier step \
         of the training"
    ))
}

/// The error, with what the file seems to be.
fn guessed(error: Error, guess: &str, path: &Path) -> Error {
    match guess.strip_suffix("; ") {
        Some(guess) => Error::weights(format!("{}: {guess}", error.message())).in_file(path),
        None => error,
    }
}

fn unreadable(path: &Path, name: &str, dtype: &str) -> Error {
    Error::weights(format!(
        "{}: tensor `{name}` holds numbers of type {dtype}; valid are 16, 32 and 64-bit floats",
        path.display()
    ))
    .at_tensor(name)
}
