//! Files that are no weights, or claim what they do not hold: each is an error in words, and none takes
//! more memory than its length allows.
#![allow(clippy::unwrap_used)] // helpers of tests

use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

use burn::nn::LinearConfig;
use burn::prelude::Device;
use burn::tensor::{DType, TensorData};
use kshot::encoder::keys::Renamed;
use kshot::weights::apply::into_module;
use kshot::weights::state::StateDict;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tempfile::TempDir;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

const NUMBERS: [f32; 6] = [1.0, -2.0, 0.5, 3.0, 4.0, 5.0];

fn bytes_of(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

fn safetensors(header: &str, content: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), content].concat()
}

fn small_safetensors() -> Vec<u8> {
    let header = r#"{"a.weight":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}"#;
    safetensors(header, &bytes_of(&NUMBERS))
}

fn text(text: &str) -> Vec<u8> {
    [&[b'X'][..], &(text.len() as u32).to_le_bytes(), text.as_bytes()].concat()
}

fn number(number: i64) -> Vec<u8> {
    [&[0x8a, 8][..], &number.to_le_bytes()].concat()
}

/// `{"a.weight": tensor}` with a storage of so many numbers, as `torch.save` pickles it.
fn pickled(numbers: i64, shape: &[i64], stride: &[i64]) -> Vec<u8> {
    let tuple = |sizes: &[i64]| {
        let sizes: Vec<u8> = sizes.iter().flat_map(|size| number(*size)).collect();
        [&b"("[..], &sizes, b"t"].concat()
    };
    [
        &b"\x80\x02}"[..],
        &text("a.weight"),
        b"ctorch._utils\n_rebuild_tensor_v2\n((",
        &text("storage"),
        b"ctorch\nFloatStorage\n",
        &text("0"),
        &text("cpu"),
        &number(numbers),
        b"tQ",
        &number(0),
        &tuple(shape),
        &tuple(stride),
        b"\x89}tRs.",
    ]
    .concat()
}

/// The archive that PyTorch writes since 1.6.
fn archive(pickle: &[u8], storage: &[u8], method: CompressionMethod) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(method);
    for (name, content) in [("data.pkl", pickle), ("version", b"3\n"), ("data/0", storage)] {
        writer.start_file(format!("net/{name}"), options).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn small_archive() -> Vec<u8> {
    archive(&pickled(6, &[2, 3], &[3, 1]), &bytes_of(&NUMBERS), CompressionMethod::Stored)
}

/// The stream of pickles that PyTorch wrote before.
fn legacy(pickle: &[u8]) -> Vec<u8> {
    [
        b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.\x80\x02}",
        &text("little_endian")[..],
        b"\x88s.",
        pickle,
        b"\x80\x02]",
        &text("0"),
        b"a.",
        &6_i64.to_le_bytes(),
        &bytes_of(&NUMBERS),
    ]
    .concat()
}

fn written(folder: &TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

fn refused(path: &Path) -> String {
    let error = StateDict::read(path).unwrap_err().to_string();
    assert!(error.contains(path.file_name().unwrap().to_str().unwrap()), "{error}");
    error
}

#[test]
fn small_files_are_read_whatever_they_are_called() {
    let folder = tempfile::tempdir().unwrap();
    let files = [small_safetensors(), small_archive(), legacy(&pickled(6, &[2, 3], &[3, 1]))];
    for bytes in files {
        for name in ["a.safetensors", "a.pth", "pytorch_model.bin"] {
            let mut state = StateDict::read(&written(&folder, name, &bytes)).unwrap();
            let data = state.take("a.weight", &[2, 3]).unwrap();
            assert_eq!(data.as_slice::<f32>().unwrap(), NUMBERS);
            state.finish().unwrap();
        }
    }
}

#[test]
fn what_is_no_file_of_weights_is_named() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.safetensors", "a.pth"] {
        for (bytes, words) in [
            (&b""[..], "is empty"),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "Git LFS"),
            (b"<!DOCTYPE html><html><body>404</body></html>", "a web page"),
            (b"\n <HTML>\n", "a web page"),
            (b"Entry not found", "it is a text file"),
            (b"{\"error\": \"Repository not found\"}", "it is a text file"),
            (b"\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09", "damaged one"),
            (b"PK\x03\x04 and no more", "damaged one"),
        ] {
            let error = refused(&written(&folder, name, bytes));
            let words = if name == "a.safetensors" && !bytes.starts_with(b"PK") {
                words.replace("damaged one", "not a whole .safetensors file")
            } else {
                words.to_owned()
            };
            assert!(error.contains(&words), "{words}: {error}");
        }
    }
    let inner = folder.path().join("folder.pth");
    std::fs::create_dir(&inner).unwrap();
    assert!(refused(&inner).contains("a folder; give the file"));
    let error = StateDict::read(&folder.path().join("none.pth")).unwrap_err().to_string();
    assert!(error.contains("could not open the weights"), "{error}");
}

/// With holes, so that it takes no room.
#[test]
fn files_beyond_the_limit_are_not_read() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.safetensors", "a.pth"] {
        let path = written(&folder, name, &small_archive());
        std::fs::File::options().write(true).open(&path).unwrap().set_len(5 << 30).unwrap();
        let error = refused(&path);
        assert!(error.contains("5368709120 bytes; at most 4294967296"), "{error}");
    }
}

#[test]
fn headers_of_safetensors_are_held_against_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let tensor = |shape: &str, offsets: &str| {
        let header =
            format!(r#"{{"a":{{"dtype":"U8","shape":{shape},"data_offsets":{offsets}}}}}"#);
        safetensors(&header.replace("U8", "F32"), &[0; 24])
    };
    // Nine tensors whose lengths add up to just below 2^64.
    let (most, mut start) = ((1_u64 << 61) - 8, 0_u64);
    let mut huge: Vec<String> = Vec::new();
    for index in 0..9 {
        let end = if index < 8 { start + most } else { u64::MAX - 7 };
        let shape = (end - start) / 8;
        let offsets = format!("[{start},{end}]");
        huge.push(format!(
            r#""t{index}":{{"dtype":"F64","shape":[{shape}],"data_offsets":{offsets}}}"#
        ));
        start = end;
    }
    for bytes in [
        safetensors(&format!("{{{}}}", huge.join(",")), &[0; 24]),
        tensor("[1099511627776]", "[0,4398046511104]"),
        tensor("[4294967296,4294967296]", "[0,24]"),
        tensor("[6]", "[0,24000]"),
        tensor("[6]", "[8,32]"),
        tensor("[6]", "[24,0]"),
        tensor("[7]", "[0,24]"),
        tensor("[-1]", "[0,24]"),
        [&u64::MAX.to_le_bytes()[..], b"{}"].concat(),
        [&99_999_999_u64.to_le_bytes()[..], b"{\"a\""].concat(),
        small_safetensors()[..40].to_vec(),
        small_safetensors()[..7].to_vec(),
        [&small_safetensors()[..], b"more"].concat(),
    ] {
        let error = refused(&written(&folder, "a.safetensors", &bytes));
        assert!(error.contains("not a whole .safetensors file"), "{error}");
    }
    let none = refused(&written(&folder, "a.safetensors", &safetensors("{}", b"")));
    assert!(none.contains("holds no tensors"), "{none}");
}

#[test]
fn headers_of_pytorch_are_held_against_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let huge = 2_000_000_000;
    let numbers = bytes_of(&NUMBERS);
    let stored = |pickle: &[u8]| archive(pickle, &numbers, CompressionMethod::Stored);
    let packed =
        |pickle: &[u8], storage: &[u8]| archive(pickle, storage, CompressionMethod::Deflated);
    // More objects than any state dict has, of a byte each, and well compressed.
    let many = [&b"\x80\x02("[..], &vec![b'N'; 4_000_000], b"l."].concat();
    for (bytes, words) in [
        // One number, shown eight thousand million bytes long.
        (stored(&pickled(6, &[huge], &[0])), "claims to hold 8000000000 bytes"),
        (packed(&pickled(6, &[huge, 1], &[0, 0]), &numbers), "claims to hold 8000000000 bytes"),
        (legacy(&pickled(6, &[huge], &[0])), "claims to hold 8000000000 bytes"),
        // Storages that are not there.
        (stored(&pickled(huge, &[huge], &[1])), "damaged one"),
        (stored(&pickled(huge, &[2], &[huge - 1])), "damaged one"),
        (stored(&pickled(i64::MAX, &[i64::MAX], &[1])), "damaged one"),
        (legacy(&pickled(huge, &[2], &[1])), "damaged one"),
        // A storage that unpacks to far more than the file.
        (
            packed(&pickled(20 << 20, &[2], &[(20 << 20) - 1]), &vec![0; 80 << 20]),
            "claims to hold 83886",
        ),
        (packed(&many, &numbers), "more than 3000000 objects"),
        (legacy(&many), "more than 3000000 objects"),
        (many.clone(), "more than 3000000 objects"),
        // Deeper than any stack.
        (stored(&[&b"\x80\x02)"[..], &b"\x85".repeat(100_000), b"."].concat()), "nesting"),
        (stored(b"\x80\x02X\xff\xff\xff\xffabc"), "damaged one"),
        (stored(b"\x80\x02\x8e\xff\xff\xff\xff\xff\xff\xff\x7fabc"), "damaged one"),
    ] {
        let error = refused(&written(&folder, "a.pth", &bytes));
        assert!(error.contains(words), "{words}: {error}");
    }
}

/// The archive of PyTorch before 0.1.10: a table of storages, one of tensors, and what was saved.
fn tar(entries: &[(&str, u8, &[u8])]) -> Vec<u8> {
    let mut all = Vec::new();
    for (name, kind, content) in entries {
        let mut header = [0; 512];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[124..136].copy_from_slice(format!("{:011o}\0", content.len()).as_bytes());
        header[148..156].fill(b' ');
        header[156] = *kind;
        header[257..265].copy_from_slice(b"ustar  \0");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        all.extend(header);
        all.extend(*content);
        all.resize(all.len().next_multiple_of(512), 0);
    }
    all.resize(all.len() + 1024, 0);
    all
}

#[test]
fn tar_archives_of_the_first_versions() {
    let storages = [
        &b"\x80\x02K\x01.\x80\x02("[..],
        &text("7"),
        &text("cpu"),
        b"ctorch\nFloatStorage\nt.",
        &6_i64.to_le_bytes(),
        &bytes_of(&NUMBERS),
        b"\x80\x02].",
    ]
    .concat();
    let sizes: Vec<u8> = [2_i64, 3, 3, 1, 0].iter().flat_map(|size| size.to_le_bytes()).collect();
    let tensors = [
        &b"\x80\x02K\x01.\x80\x02("[..],
        &text("8"),
        &text("7"),
        b"ctorch\nFloatTensor\nt.",
        &[2, 0, 0, 0, 0, 0, 0, 0],
        &sizes,
    ]
    .concat();
    let pickle = [&b"\x80\x02}"[..], &text("a.weight"), &text("8"), b"Qs."].concat();
    let system = [&b"\x80\x02}"[..], &text("little_endian"), b"\x88s."].concat();
    let folder = tempfile::tempdir().unwrap();
    let with = |kind, pickle: &[u8], tensors: &[u8]| {
        let entries: [(&str, u8, &[u8]); 4] = [
            ("sys_info", b'0', &system),
            ("./storages", kind, &storages),
            ("tensors", b'0', tensors),
            ("pickle", b'0', pickle),
        ];
        written(&folder, "a.pth", &tar(&entries))
    };
    let mut state = StateDict::read(&with(b'0', &pickle, &tensors)).unwrap();
    assert_eq!(state.take("a.weight", &[2, 3]).unwrap().as_slice::<f32>().unwrap(), NUMBERS);
    assert!(refused(&with(b'S', &pickle, &tensors)).contains("a tar archive with holes"));
    let many = [&b"\x80\x02("[..], &vec![b'N'; 4_000_000], b"l."].concat();
    assert!(refused(&with(b'0', &many, &tensors)).contains("more than 3000000 objects"));
    let many = [&b"\x80\x02K\x01."[..], &many].concat();
    assert!(refused(&with(b'0', &pickle, &many)).contains("more than 3000000 objects"));
}

#[test]
fn numbers_that_are_not_finite_are_refused_with_their_tensor() {
    let state = |numbers: Vec<f32>| {
        let tensors = [("a.weight".to_owned(), TensorData::new(numbers, [3]))].into();
        StateDict::new("net.pth".into(), tensors)
    };
    let error = state(vec![1.0, f32::NAN, f32::NEG_INFINITY]).take("a.weight", &[3]);
    let error = error.unwrap_err().to_string();
    assert!(error.contains("tensor `a.weight` holds 2 numbers that are not finite"), "{error}");
    assert!(error.contains("net.pth") && error.contains("earlier step"), "{error}");
    let error =
        state(vec![1.0, f32::INFINITY, 0.0]).take("a.weight", &[3]).unwrap_err().to_string();
    assert!(error.contains("holds 1 number that is not finite"), "{error}");
    state(vec![1.0, f32::MAX, -0.0]).take("a.weight", &[3]).unwrap();
    // Finite as it is stored, and not as the network has it.
    let mut wide = state(vec![0.0; 3]);
    let data = TensorData::new(vec![1e300_f64, 1.0, 2.0], [3]);
    wide.tensors.insert("a.weight".to_owned(), data);
    assert!(wide.take("a.weight", &[3]).is_err());
}

/// A network takes no such numbers either, in whatever type they are stored.
#[test]
fn a_network_is_not_filled_with_numbers_that_are_not_finite() {
    let device = Device::flex();
    let filled = |weight: [f32; 6], dtype| {
        let weight = TensorData::new(weight.to_vec(), [2, 3]).convert_dtype(dtype);
        let bias = TensorData::new(vec![0.0_f32; 3], [3]);
        let tensors = [("weight".to_owned(), weight), ("bias".to_owned(), bias)].into();
        let state = StateDict::new("net.pth".into(), tensors);
        let layer = LinearConfig::new(2, 3).init(&device);
        into_module(layer, "a layer", &state, |name| Renamed::Ours(name.to_owned()))
    };
    for dtype in [DType::F32, DType::F16, DType::BF16] {
        filled(NUMBERS, dtype).unwrap();
        let error = filled([1.0, f32::NAN, 0.0, f32::INFINITY, 0.0, 0.0], dtype).unwrap_err();
        let error = error.to_string();
        assert!(error.contains("tensor `weight` holds 2 numbers that are not finite"), "{error}");
        assert!(error.contains("net.pth"), "{error}");
    }
}

/// Any change of a file is read or refused, and never more: no panic, no abort.
#[test]
fn changed_files_are_read_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    let pickle = pickled(6, &[2, 3], &[3, 1]);
    let numbers = bytes_of(&NUMBERS);
    let mut random = ChaCha8Rng::seed_from_u64(16);
    let mut read = [0; 4];
    for _ in 0..400 {
        let files = [
            changed(&small_safetensors(), &mut random),
            changed(&small_archive(), &mut random),
            // The archive is whole, what it holds is not.
            archive(&changed(&pickle, &mut random), &numbers, CompressionMethod::Stored),
            legacy(&changed(&pickle, &mut random)),
        ];
        for (count, bytes) in read.iter_mut().zip(files) {
            let Ok(state) = StateDict::read(&written(&folder, "a.bin", &bytes)) else { continue };
            *count += 1;
            assert!(state.tensors.values().all(|data| data.num_elements() < 1 << 24));
        }
    }
    // Some changes do no harm, most do.
    assert!(read.iter().all(|count| (1..300).contains(count)), "{read:?}");
}

/// A few bytes changed, cut off, taken out, doubled or put in.
fn changed(bytes: &[u8], random: &mut ChaCha8Rng) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..random.random_range(1..4) {
        let at = random.random_range(0..bytes.len());
        match random.random_range(0..8) {
            0 => bytes.truncate(at.max(1)),
            1 => drop(bytes.remove(at)),
            2 => bytes.insert(at, random.random()),
            3 => bytes[at] = [0, 0x7f, 0x80, 0xff][random.random_range(0..4)],
            4 => {
                let end = (at + random.random_range(1..9)).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            _ => bytes[at] ^= 1 << random.random_range(0..8),
        }
        if bytes.is_empty() {
            return vec![0];
        }
    }
    bytes
}
