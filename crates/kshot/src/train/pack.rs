//! Burn's files of parameters (`.bpk`): written with a checksum inside, and read without trust.
//!
//! The checksum is of names, shapes and numbers, and stands among the file's own metadata: it goes wherever the file
//! goes, and Burn's reader passes over it. A file without one is of an earlier version, or of another program.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use burn::module::{Module, ModuleVisitor, Param};
use burn::store::ModuleRecord;
use burn::store::burn_pack::{self, Bytes, DType, HEADER_SIZE, Header, Reader, Writer};
use burn::tensor::{Bool, Int, Tensor, TensorData};
use kshot_data::{atomic, hash};

use crate::error::{Error, Result};

/// The checksum's name in the metadata.
const SUM: &str = "sha256";

/// Writes parameters with their checksum; the file is on the disk when this returns.
///
/// # Errors
/// If it cannot be written.
pub fn write(path: &Path, record: ModuleRecord) -> Result<()> {
    let wrong = |error: &dyn std::fmt::Display| {
        Error::weights(format!("these parameters cannot be written: {error}")).in_file(path)
    };
    let bytes = record.into_bytes().map_err(|error| wrong(&error))?;
    let tensors = Reader::from_bytes(bytes).and_then(Reader::into_tensors);
    let tensors = tensors.map_err(|error| wrong(&error))?;
    let sum = sum_of(&tensors).map_err(|error| wrong(&error))?;
    let whole = Writer::new(tensors).with_metadata(SUM, &sum).into_bytes();
    atomic::write_durable(path, &whole.map_err(|error| wrong(&error))?)
}

/// A module with the parameters of a file.
///
/// # Errors
/// If the file is damaged, holds numbers that are none, or is of another network.
pub fn read<M: Module>(module: M, path: &Path) -> Result<M> {
    let bytes = bytes_of(path)?;
    let kinds = Kinds::of(&module);
    let checked = tensors(bytes.clone()).and_then(|tensors| {
        tensors.iter().try_for_each(|tensor| kinds.check(tensor))?;
        refuse_no_numbers(&tensors, &kinds)
    });
    checked.map_err(|error| error.in_file(path))?;
    with(module, bytes, path)
}

/// A module with the parameters of a part of what a file holds: of the first of these names (`average`,
/// `objective`) that the file has.
///
/// # Errors
/// As [`read`], or if it has none of them.
pub fn read_part<M: Module>(module: M, path: &Path, parts: &[&str]) -> Result<M> {
    let held = tensors(bytes_of(path)?).map_err(|error| error.in_file(path))?;
    let inside = |part: &str| -> Vec<burn_pack::Tensor> {
        let own = |tensor: &burn_pack::Tensor| {
            let mut own = tensor.clone();
            own.name = tensor.name.strip_prefix(part)?.strip_prefix('.')?.to_owned();
            Some(own)
        };
        held.iter().filter_map(own).collect()
    };
    let Some(own) = parts.iter().map(|part| inside(part)).find(|own| !own.is_empty()) else {
        return Err(Error::weights(format!(
            "no checkpoint: it holds no {}",
            parts.join(" and no ")
        ))
        .in_file(path));
    };
    let kinds = Kinds::of(&module);
    let checked = own.iter().try_for_each(|tensor| kinds.check(tensor));
    checked.and_then(|()| refuse_no_numbers(&own, &kinds)).map_err(|error| error.in_file(path))?;
    let bytes = Writer::new(own).into_bytes();
    with(module, bytes.map_err(|error| damaged(&error).in_file(path))?, path)
}

/// A module with the parameters of a checkpoint from which its training goes on: they may be no numbers.
///
/// # Errors
/// If the file is damaged or of another network.
pub fn read_to_go_on<M: Module>(module: M, path: &Path) -> Result<M> {
    let bytes = bytes_of(path)?;
    let kinds = Kinds::of(&module);
    let checked = tensors(bytes.clone())
        .and_then(|tensors| tensors.iter().try_for_each(|tensor| kinds.check(tensor)));
    checked.map_err(|error| error.in_file(path))?;
    with(module, bytes, path)
}

fn with<M: Module>(module: M, bytes: Bytes, path: &Path) -> Result<M> {
    let record = ModuleRecord::from_bytes(bytes).map(ModuleRecord::cast_to_module_dtype);
    record.and_then(|record| module.try_load_record(record)).map_err(|error| {
        Error::weights(format!(
            "these weights do not fit the recipe's network and method: {error}; use the recipe.toml that \
             lies beside them"
        ))
        .in_file(path)
    })
}

/// Whether a file of parameters or of an optimiser's state is whole, as far as it tells itself.
///
/// # Errors
/// If it is not, or cannot be read.
pub fn check(path: &Path) -> Result<()> {
    tensors(bytes_of(path)?).map(drop).map_err(|error| error.in_file(path))
}

/// Whether the state of an optimiser can be taken up: each tensor says of which parameter it is, and is of as many
/// dimensions as that.
///
/// # Errors
/// If it is not whole, or cannot be read.
pub fn check_optimizer(path: &Path) -> Result<()> {
    let bytes = bytes_of(path)?;
    let scalars = Reader::from_bytes(bytes.clone()).map(|reader| reader.scalars().clone());
    let tensors = tensors(bytes).map_err(|error| error.in_file(path))?;
    let scalars = scalars.map_err(|error| damaged(&error).in_file(path))?;
    for tensor in &tensors {
        let rank = tensor.param_id.map(|id| {
            let rank = scalars.get(&format!("{id}.__rank")).copied();
            rank.and_then(|rank| usize::try_from(rank).ok()).unwrap_or(tensor.shape.num_dims())
        });
        if rank != Some(tensor.shape.num_dims()) || !tensor.dtype.is_float() {
            let text = "this state of an optimiser does not say of which parameter it is";
            return Err(Error::weights(text).at_tensor(&tensor.name));
        }
    }
    Ok(())
}

fn damaged(why: &dyn std::fmt::Display) -> Error {
    Error::weights(format!(
        "this file of weights is damaged: {why}; copy it again from where it is whole, or train again"
    ))
}

/// The bytes of a file that begins as one of parameters, and is as long as it says at least.
fn bytes_of(path: &Path) -> Result<Bytes> {
    let unread = |error| Error::io("read the weights", path, error);
    let mut file = File::open(path).map_err(unread)?;
    let length = file.metadata().map_err(unread)?.len();
    let mut bytes = Vec::new();
    file.by_ref().take(HEADER_SIZE as u64).read_to_end(&mut bytes).map_err(unread)?;
    if bytes.is_empty() {
        return Err(damaged(&"it is empty").in_file(path));
    }
    let header = Header::from_bytes(&bytes).map_err(|error| match error {
        burn_pack::Error::InvalidMagicNumber => Error::weights(
            "not a file of weights that `kshot train` leaves (model.bpk): it does not begin as one",
        )
        .in_file(path),
        _ => damaged(&"it is cut off").in_file(path),
    })?;
    if HEADER_SIZE as u64 + u64::from(header.metadata_size) > length {
        return Err(damaged(&"it is cut off").in_file(path));
    }
    file.read_to_end(&mut bytes).map_err(unread)?;
    Ok(Bytes::from_bytes_vec(bytes).shared())
}

/// The names of a file's tensors, whose numbers are not looked at: [`read`] does that.
///
/// # Errors
/// If it cannot be read, or does not say what it holds.
pub fn names(path: &Path) -> Result<Vec<String>> {
    let reader = Reader::from_bytes(bytes_of(path)?);
    let held = reader.and_then(Reader::into_tensors);
    let held = held.map_err(|error| damaged(&error).in_file(path))?;
    Ok(held.into_iter().map(|tensor| tensor.name).collect())
}

/// What a file holds, once it is known to hold it.
fn tensors(bytes: Bytes) -> Result<Vec<burn_pack::Tensor>> {
    let length = bytes.len();
    let reader = Reader::from_bytes(bytes).map_err(|error| damaged(&error))?;
    let written = reader.metadata().get(SUM).cloned();
    let tensors = reader.into_tensors().map_err(|error| damaged(&error))?;
    // Tensors that share bytes would hold more than there is.
    let held = tensors.iter().try_fold(0_usize, |sum, tensor| sum.checked_add(tensor.byte_len()));
    if held.is_none_or(|held| held > length) {
        return Err(damaged(&"its tensors overlap"));
    }
    if let Some(tensor) = tensors.iter().find(|tensor| matches!(tensor.dtype, DType::QFloat(_))) {
        return Err(damaged(&"kshot writes no quantised weights").at_tensor(&tensor.name));
    }
    if let Some(written) = written
        && sum_of(&tensors).map_err(|error| damaged(&error))? != written
    {
        return Err(damaged(&"its checksum is of other content"));
    }
    Ok(tensors)
}

/// SHA-256 over names, shapes and numbers, in the order of names.
fn sum_of(tensors: &[burn_pack::Tensor]) -> std::result::Result<String, burn_pack::Error> {
    let lines = tensors.iter().map(|tensor| {
        let content = hash::of_bytes(&tensor.to_bytes()?);
        Ok(format!("{content} {:?} {}\n", tensor.shape.as_slice(), tensor.name))
    });
    let lines: std::result::Result<String, burn_pack::Error> = lines.collect();
    Ok(hash::of_bytes(lines?.as_bytes()))
}

/// Refuses what a training that went astray leaves, or a flipped bit.
fn refuse_no_numbers(tensors: &[burn_pack::Tensor], kinds: &Kinds) -> Result<()> {
    for tensor in tensors.iter().filter(|tensor| kinds.0.get(&tensor.name) == Some(&Kind::Float)) {
        let bytes = tensor.to_bytes().map_err(|error| damaged(&error))?;
        let data = TensorData::try_from_bytes(bytes, tensor.shape.clone(), tensor.dtype);
        let data = data.map_err(|error| damaged(&error))?;
        if data.iter::<f32>().any(|number| !number.is_finite()) {
            return Err(Error::weights(
                "these weights hold numbers that are none (NaN or infinite): the training that left them went astray, \
                 or the file is damaged; train again, with a smaller train.learning_rate if it did",
            )
            .at_tensor(&tensor.name));
        }
    }
    Ok(())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Float,
    Int,
    Bool,
}

/// What kind of numbers each parameter of a module holds, by its path.
struct Kinds(BTreeMap<String, Kind>);

impl Kinds {
    fn of(module: &impl Module) -> Self {
        let mut visitor = KindVisitor::default();
        module.visit(&mut visitor);
        Self(visitor.kinds)
    }

    /// Refuses what Burn would not convert. What the module does not have is told when the record is applied.
    fn check(&self, tensor: &burn_pack::Tensor) -> Result<()> {
        let dtype = tensor.dtype;
        let fits = match self.0.get(&tensor.name) {
            Some(Kind::Float) => dtype.is_float(),
            Some(Kind::Int) => dtype.is_int() || dtype.is_uint(),
            Some(Kind::Bool) => dtype.is_bool(),
            None => true,
        };
        if fits {
            return Ok(());
        }
        let text = format!("numbers of another kind than the network's ({})", dtype.name());
        Err(damaged(&text).at_tensor(&tensor.name))
    }
}

#[derive(Default)]
struct KindVisitor {
    path: Vec<String>,
    kinds: BTreeMap<String, Kind>,
}

impl KindVisitor {
    fn found(&mut self, kind: Kind) {
        self.kinds.insert(self.path.join("."), kind);
    }
}

impl ModuleVisitor for KindVisitor {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, _: &Param<Tensor<D>>) {
        self.found(Kind::Float);
    }

    fn visit_int<const D: usize>(&mut self, _: &Param<Tensor<D, Int>>) {
        self.found(Kind::Int);
    }

    fn visit_bool<const D: usize>(&mut self, _: &Param<Tensor<D, Bool>>) {
        self.found(Kind::Bool);
    }
}

#[cfg(test)]
mod tests {
    use burn::nn::{Linear, LinearConfig};
    use burn::prelude::Device;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn network(seed: u64) -> Linear {
        let device = Device::flex();
        device.seed(seed);
        LinearConfig::new(3, 2).init(&device)
    }

    fn numbers(network: &Linear) -> Vec<f32> {
        network.weight.val().into_data().iter::<f32>().collect()
    }

    #[test]
    fn what_is_written_is_read_by_us_and_by_burn() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.bpk");
        let first = network(1);
        write(&path, first.clone().into_record()).unwrap();
        assert_eq!(numbers(&read(network(2), &path).unwrap()), numbers(&first));
        assert_eq!(numbers(&network(2).try_load_file(&path).unwrap()), numbers(&first));
        // Burn's own, as an earlier version left them.
        let earlier = folder.path().join("earlier.bpk");
        first.clone().save_file(&earlier).unwrap();
        assert_eq!(numbers(&read(network(2), &earlier).unwrap()), numbers(&first));
    }

    #[test]
    fn no_mutation_panics_and_no_flipped_number_passes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.bpk");
        let first = network(1);
        write(&path, first.clone().into_record()).unwrap();
        let summed = std::fs::read(&path).unwrap();
        first.clone().save_file(&path).unwrap();
        let plain = std::fs::read(&path).unwrap();
        let random = &mut ChaCha8Rng::seed_from_u64(7);
        for round in 0..3000 {
            let whole = if round % 2 == 0 { &summed } else { &plain };
            let mut bytes = whole.clone();
            match round % 3 {
                0 => bytes.truncate(random.random_range(0..bytes.len())),
                1 => {
                    let at = random.random_range(0..bytes.len());
                    bytes[at] ^= 1 << random.random_range(0..8);
                }
                _ => {
                    for _ in 0..random.random_range(1..9) {
                        let at = random.random_range(0..bytes.len());
                        bytes[at] = random.random();
                    }
                }
            }
            std::fs::write(&path, &bytes).unwrap();
            let read = read(network(2), &path);
            drop((check(&path), check_optimizer(&path)));
            // A flipped bit is in the checksum or in what it is of, not in both.
            if let (true, 1, Ok(read)) = (round % 2 == 0, round % 3, read) {
                assert_eq!(numbers(&read), numbers(&first), "round {round}");
            }
        }
    }

    #[test]
    fn errors_say_what_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.bpk");
        let told = || read(network(2), &path).unwrap_err().to_string();
        write(&path, network(1).into_record()).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for (bytes, words) in [
            (Vec::new(), "it is empty"),
            (whole[..7].to_vec(), "it is cut off"),
            (whole[..40].to_vec(), "it is cut off"),
            (whole[..whole.len() - 4].to_vec(), "truncated"),
            (b"PK\x03\x04 a zip archive".to_vec(), "does not begin as one"),
            ([&whole[..6], &[0xff, 0xff, 0xff, 0x7f], &whole[10..]].concat(), "it is cut off"),
        ] {
            std::fs::write(&path, &bytes).unwrap();
            assert!(told().contains(words), "{words}: {}", told());
        }
        let mut flipped = whole.clone();
        *flipped.last_mut().unwrap() ^= 1;
        std::fs::write(&path, &flipped).unwrap();
        assert!(told().contains("checksum"), "{}", told());
        let device = Device::flex();
        let other: Linear = LinearConfig::new(3, 4).init(&device);
        write(&path, other.into_record()).unwrap();
        assert!(told().contains("do not fit"), "{}", told());
    }

    #[test]
    fn what_is_no_number_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.bpk");
        for wrong in [f32::NAN, f32::INFINITY] {
            let mut network = network(1);
            network.weight = network.weight.map(|weight| weight * wrong);
            write(&path, network.clone().into_record()).unwrap();
            let error = read(network.clone(), &path).unwrap_err().to_string();
            assert!(error.contains("NaN") && error.contains("learning_rate"), "{error}");
            assert!(read_to_go_on(network, &path).is_ok());
        }
    }
}
