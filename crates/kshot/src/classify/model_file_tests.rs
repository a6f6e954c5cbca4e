//! Tests of `model_file.rs`.

use super::*;

fn class(name: &str, start: f32, count: usize) -> StoredClass {
    let examples = (0..count)
        .map(|index| StoredExample {
            file: format!("{name}/{index}.png"),
            sha256: format!("{index:064}"),
            vector: (0..6)
                .map(|i| f16::from_f32(start + (i * index) as f32 / 7.0).to_f32())
                .collect(),
            thumbnail: vec![index as u8; 3 + index],
        })
        .collect();
    StoredClass { name: name.into(), examples }
}

fn model() -> ModelFile {
    let origin = Origin {
        encoder: "efficientnet-lite0".into(),
        weights_sha256: "ab".repeat(32),
        input_views: InputViews::default(),
    };
    ModelFile::new(
        origin,
        vec![class("pear", 0.1, 3), class("apple", 0.3, 2), class("fig/é", 0.7, 1)],
    )
}

/// The bytes of the tensors of a file, by name.
fn tensors(path: &Path) -> std::collections::BTreeMap<String, Vec<u8>> {
    let bytes = std::fs::read(path).unwrap();
    let all = SafeTensors::deserialize(&bytes).unwrap();
    all.iter().map(|(name, view)| (name.to_owned(), view.data().to_vec())).collect()
}

#[test]
fn a_file_reads_back_and_is_the_same_each_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.kshot");
    let model = model();
    model.write(&path).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let read = ModelFile::read(&path).unwrap();
    assert_eq!(read, model);
    read.write(&path).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
    let names: Vec<_> = read.classes.iter().map(|class| &*class.name).collect();
    assert_eq!(names, ["apple", "fig/é", "pear"]);
    assert_eq!(read.example(2).unwrap().file, "fig/é/0.png");
    assert_eq!(read.examples().labels, [0, 0, 1, 2, 2, 2]);
}

#[test]
fn adding_and_dropping_leave_the_others_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.kshot");
    model().write(&path).unwrap();
    let before = tensors(&path);
    let whole = std::fs::read(&path).unwrap();
    let mut model = ModelFile::read(&path).unwrap();
    model.add_class(class("banana", 0.5, 2)).unwrap();
    model.write(&path).unwrap();
    let after = tensors(&path);
    assert_eq!(after.len(), before.len() + 2);
    assert!(before.iter().all(|(name, data)| after[name] == *data));
    let mut model = ModelFile::read(&path).unwrap();
    model.drop_class("banana").unwrap();
    model.write(&path).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), whole, "the whole file is what it was");
}

#[test]
fn what_cannot_be_is_said() {
    let mut model = model();
    let says = |error: Error, part: &str| assert!(error.to_string().contains(part), "{error}");
    says(model.add_class(class("pear", 0.0, 1)).unwrap_err(), "already");
    says(model.add_class(class("new", 0.0, 0)).unwrap_err(), "no picture");
    says(model.drop_class("aple").unwrap_err(), "did you mean `apple`?");
    let mut other = model.origin.clone();
    model.check_origin(&other, 6).unwrap();
    says(model.check_origin(&other, 7).unwrap_err(), "make it anew");
    other.weights_sha256 = "cd".repeat(32);
    says(model.check_origin(&other, 6).unwrap_err(), "other weights");
    other.input_views.size = 64;
    says(model.check_origin(&other, 6).unwrap_err(), "not efficientnet-lite0 at 64");
    model.drop_class("apple").unwrap();
    model.drop_class("pear").unwrap();
    says(model.drop_class("fig/é").unwrap_err(), "only class");
}

#[test]
fn a_file_that_says_looking_is_read() {
    let origin = model().origin;
    let metadata = |key: &str| {
        format!(
            "{{\"format\": 1, \"version\": \"0.1.0\", \"encoder\": \"efficientnet-lite0\", \
             \"weights_sha256\": \"{}\", \"{key}\": {{\"size\": 288, \"views\": 2}}, \"classes\": []}}",
            origin.weights_sha256
        )
    };
    for key in ["looking", "input_views"] {
        let read: Metadata = serde_json::from_str(&metadata(key)).unwrap();
        assert_eq!(read.origin, origin, "{key}");
    }
}

#[test]
fn damage_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.kshot");
    model().write(&path).unwrap();
    let whole = std::fs::read(&path).unwrap();
    for length in [0, 7, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&path, &whole[..length]).unwrap();
        let error = ModelFile::read(&path).unwrap_err().to_string();
        assert!(error.contains("a.kshot") && error.contains("damaged"), "{error}");
    }
    // Another safetensors file.
    let empty = safetensors::serialize(Vec::<(String, TensorView<'_>)>::new(), None).unwrap();
    std::fs::write(&path, empty).unwrap();
    assert!(ModelFile::read(&path).unwrap_err().to_string().contains("no metadata"));
}

/// The same content as earlier versions wrote it: without a checksum.
fn of_before(bytes: &[u8]) -> Vec<u8> {
    let (_, header) = SafeTensors::read_metadata(bytes).unwrap();
    let text = header.metadata().as_ref().unwrap()[KEY].replace(",\"checksum\":true", "");
    let all = SafeTensors::deserialize(bytes).unwrap();
    safetensors::serialize(all.tensors(), Some(HashMap::from([(KEY.to_owned(), text)]))).unwrap()
}

#[test]
fn a_file_of_before_the_checksum_is_read_and_gets_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.kshot");
    let whole = model().bytes().unwrap();
    let before = of_before(&whole);
    assert!(!String::from_utf8_lossy(&before).contains("checksum"));
    assert!(!String::from_utf8_lossy(&before).contains("sha256\":\"kshot"));
    std::fs::write(&path, &before).unwrap();
    let read = ModelFile::read(&path).unwrap();
    assert_eq!(read, model());
    assert!(read.bytes().unwrap() == whole);
}

#[test]
fn a_changed_byte_anywhere_is_told_or_changes_nothing() {
    use rand::{Rng, SeedableRng};
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.kshot");
    let whole = model().bytes().unwrap();
    let header = 8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(17);
    let mut said = 0;
    for at in 0..whole.len() {
        for flip in [1u8 << random.random_range(0..8), random.random_range(1..=255)] {
            let mut bytes = whole.clone();
            bytes[at] ^= flip;
            std::fs::write(&path, &bytes).unwrap();
            match ModelFile::read(&path) {
                Ok(read) => {
                    assert!(at < header, "a byte of a tensor at {at}");
                    assert_eq!(read, model(), "byte {at}");
                }
                Err(error) => {
                    let error = error.to_string();
                    assert!(error.contains("damaged"), "{error}");
                    said += usize::from(error.contains("its checksum"));
                }
            }
        }
    }
    assert!(said >= 2 * (whole.len() - header), "{said}");
    for length in 0..whole.len() {
        std::fs::write(&path, &whole[..length]).unwrap();
        assert!(ModelFile::read(&path).unwrap_err().to_string().contains("damaged"), "{length}");
    }
    std::fs::write(&path, [&whole[..], b"more"].concat()).unwrap();
    assert!(ModelFile::read(&path).is_err());
}

#[test]
fn a_checksum_that_is_lost_is_damage() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.kshot");
    let mut bytes = model().bytes().unwrap();
    let at = bytes.windows(12).position(|part| part == b"kshot-sha256").unwrap();
    bytes[at..at + 12].copy_from_slice(b"another-key!");
    std::fs::write(&path, &bytes).unwrap();
    let error = ModelFile::read(&path).unwrap_err().to_string();
    assert!(error.contains("its checksum") && error.contains("save it again"), "{error}");
}

#[test]
fn pictures_are_added_to_a_class_that_is_there() {
    let mut model = model();
    let before = model.clone();
    assert_eq!(model.add_examples(class("apple", 0.9, 2)).unwrap(), 4);
    assert_eq!(model.classes[0].examples[..2], before.classes[0].examples);
    assert_eq!(model.classes[1..], before.classes[1..]);
    let error = model.add_examples(class("aple", 0.9, 2)).unwrap_err().to_string();
    assert!(error.contains("did you mean `apple`?"), "{error}");
}
