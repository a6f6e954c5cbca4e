//! Masks, strokes and object numbers find their pictures.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use crate::components;
use crate::error::Result;
use crate::finding::Severity;
use crate::label_folder::find::{Finder, shown, without_ending};
use crate::label_folder::{LabelSource, MaskReading};
use crate::labels::{class_masks, index, instances};
use crate::mask::{Mask, UNLABELLED, VOID};
use crate::names::counted;

/// The folder of object numbers.
const INSTANCES: &str = "instances";
/// Numbers from here on are more than classes.
const FEW: u8 = 10;
/// Files that are looked at to tell objects from classes.
const LOOKED: usize = 16;
/// How names of masks end.
const MASK_ENDS: [&str; 5] = ["png", "tif", "tiff", "jpg", "jpeg"];

impl Finder {
    /// Object numbers: all of `instances/`, Cellpose's beside the pictures, and among masks what holds more than classes.
    pub(super) fn instances(
        &mut self,
        declared: Option<&[String]>,
        asked: MaskReading,
    ) -> Result<()> {
        let mut found: Vec<(PathBuf, PathBuf)> = Vec::new();
        for file in &self.numbers {
            found.push((self.images.clone(), file.clone()));
        }
        let own = self.root.join(INSTANCES);
        let masks = self.masks.clone();
        // StarDist's and others' beside masks of classes.
        let labels = Some(self.root.join("labels")).filter(|labels| masks.as_ref() != Some(labels));
        let mut among = Vec::new();
        for below in [Some(own.clone()), masks, labels].into_iter().flatten() {
            if !below.is_dir() {
                continue;
            }
            for file in instances::list(&below, true)? {
                let named = file.strip_prefix(&below).unwrap_or(&file);
                if below == own {
                    found.push((below.clone(), file));
                } else if instances::is_numbers(&file)
                    && let Some(owner) = self.owner(named)
                {
                    let picture = &self.pictures[owner].file;
                    if index::may_be_read(&file, picture) {
                        among.push((below.clone(), file));
                    }
                }
            }
        }
        let is_named = |(_, file): &(PathBuf, PathBuf)| instances::picture_name(file).is_some();
        let (named, plain): (Vec<_>, Vec<_>) = among.into_iter().partition(is_named);
        let mut among_masks = None;
        for group in [named, plain] {
            let files: Vec<&Path> = group.iter().map(|(_, file)| file.as_path()).collect();
            if asked != MaskReading::Classes && !files.is_empty() && are_objects(&files, declared) {
                among_masks = among_masks.or_else(|| files.first().map(|file| file.to_path_buf()));
                found.extend(group);
            }
        }
        found.sort();
        for (below, file) in found {
            self.numbers.insert(file.clone());
            let Some(index) = self.owner(file.strip_prefix(&below).unwrap_or(&file)) else {
                self.orphan(&file);
                continue;
            };
            match &self.pictures[index].instances {
                None => self.pictures[index].instances = Some(file),
                Some(first) => {
                    let name = self.pictures[index].name.display();
                    let what = format!("the objects of {name} are in {} already", shown(first));
                    let todo = "keep one file of object numbers for a picture";
                    self.findings.add(Severity::Warning, &file, what, todo);
                }
            }
        }
        if let Some(file) = among_masks {
            self.findings.add(
                Severity::Warning,
                &file,
                "TIFF and 16-bit masks are read as object numbers: each value is one object, and no class",
                "save masks of class numbers as PNG with 8 bits; put object numbers into instances/",
            );
        }
        Ok(())
    }

    /// The picture that object numbers are for: of the same name, or as Cellpose names them.
    fn owner(&self, file: &Path) -> Option<usize> {
        let named = instances::picture_name(file).map(instances::candidates).into_iter().flatten();
        let keys = std::iter::once(without_ending(file))
            .chain(named.map(|name| file.with_file_name(name)));
        keys.filter_map(|key| self.keys.get(&key)).find_map(|indices| indices.first().copied())
    }

    /// Where nothing else labels a picture, its objects do.
    pub(super) fn instances_alone(&mut self) {
        for picture in self.pictures.iter_mut().filter(|picture| picture.labels.is_none()) {
            picture.labels = picture.instances.take().map(LabelSource::Instances);
        }
    }

    pub(super) fn masks(&mut self, declared: &[String]) -> Result<()> {
        let Some(below) = self.masks.clone() else { return Ok(()) };
        let mut classed: BTreeMap<PathBuf, Vec<(String, PathBuf)>> = BTreeMap::new();
        let keys: Vec<PathBuf> = self.keys.keys().cloned().collect();
        let keys: HashSet<&Path> = keys.iter().map(PathBuf::as_path).collect();
        for file in self.mask_files(&below)? {
            let key = without_ending(file.strip_prefix(&below).unwrap_or(&file));
            if self.owners(&key).is_some() {
                self.label_key(&key, LabelSource::Mask(file));
            } else if let Some((key, class)) = class_masks::belongs(&key, &keys, declared) {
                classed.entry(key.to_owned()).or_default().push((class, file));
            } else {
                self.orphan(&file);
            }
        }
        for (key, mut files) in classed {
            // Many tools put a word behind the picture's name, and mean all its classes.
            if let [(word, file)] = files.as_slice()
                && class_masks::is_whole(word)
                && !declared.contains(word)
            {
                let file = file.clone();
                self.label_key(&key, LabelSource::Mask(file));
                continue;
            }
            // A picture with a mask of its own name has no use for others: rather these are masks of
            // pictures that are not here.
            let whole =
                self.keys[&key].first().is_some_and(|&at| self.pictures[at].labels.is_some());
            if whole {
                files.iter().for_each(|(_, file)| self.orphan(file));
                continue;
            }
            files.sort();
            for pair in files.windows(2).filter(|pair| pair[0].0 == pair[1].0) {
                let what = format!("a second mask of the class `{}`", pair[1].0);
                self.findings.add(Severity::Error, &pair[1].1, what, "keep one of the two");
            }
            if let Some(told) = class_masks::join_numbered(&mut files, declared) {
                let todo = "list the classes in classes.txt if these are classes of their own";
                self.findings.add(Severity::Note, &files[0].1, told, todo);
            }
            self.label_key(&key, LabelSource::ClassMasks(files));
        }
        Ok(())
    }

    pub(super) fn scribbles(&mut self) -> Result<()> {
        let below = self.root.join("scribbles");
        if below.is_dir() {
            for file in self.mask_files(&below)? {
                let key = without_ending(file.strip_prefix(&below).unwrap_or(&file));
                self.label_key(&key, LabelSource::Scribble(file));
            }
        }
        Ok(())
    }

    /// The files of a folder of masks; those of other kinds get a warning.
    fn mask_files(&mut self, below: &Path) -> Result<Vec<PathBuf>> {
        let mut files = crate::image::list(below, true)?;
        files.retain(|file| !self.numbers.contains(file));
        let is_mask = |file: &Path| {
            let is = |end: &str| file.extension().is_some_and(|of| of.eq_ignore_ascii_case(end));
            MASK_ENDS.into_iter().any(is)
        };
        let (masks, others): (Vec<_>, Vec<_>) = files.into_iter().partition(|file| is_mask(file));
        if let Some(first) = others.first() {
            let files = counted(others.len(), "file is", "files are");
            self.findings.add(
                Severity::Warning,
                first,
                format!("{files} not read here: masks are PNG, TIFF or JPEG"),
                "save them as index PNG",
            );
        }
        Ok(masks)
    }
}

/// Whether TIFFs and PNGs of 16 bits among masks tell objects and not classes: where `classes.txt` names several classes,
/// numbers are theirs; where it names one, what else than 0 and 1 (and the values of void and unlabelled) is an object.
/// Without names: where a file has many numbers, where some below the largest do not occur, or where each number is one
/// piece and files have different ones. Cellpose's names tell objects by themselves.
fn are_objects(files: &[&Path], declared: Option<&[String]>) -> bool {
    let read = || files.iter().take(LOOKED).map(|file| instances::read(file));
    match declared.map(<[String]>::len) {
        Some(1) => read().any(|numbers| {
            let class =
                |value: &u32| *value <= 1 || [UNLABELLED, VOID].map(u32::from).contains(value);
            // One that cannot be read says so when it is.
            numbers.map_or(true, |numbers| !numbers.values.iter().all(class))
        }),
        Some(several) if several > 0 => false,
        _ if files.iter().any(|file| instances::picture_name(file).is_some()) => true,
        _ => {
            let surveys: Vec<_> = read().filter_map(|of| Some(few_numbers(&of.ok()?))).collect();
            let Some(all) = surveys.iter().cloned().collect::<Option<Vec<_>>>() else {
                return true;
            };
            let largest = all.iter().flat_map(|(used, _)| used).max().copied().unwrap_or(0);
            let every = |number: &u8| all.iter().any(|(used, _)| used.contains(number));
            let different = all.windows(2).any(|pair| pair[0].0 != pair[1].0);
            let pieces = all.iter().all(|(_, one_piece)| *one_piece);
            !(1..=largest).all(|number| every(&number)) || (different && pieces && largest > 2)
        }
    }
}

/// The numbers of a file that has few small ones (void is none), and whether each is one piece; `None` for others.
fn few_numbers(numbers: &instances::Numbers) -> Option<(Vec<u8>, bool)> {
    let small = |value: u32| match u8::try_from(value) {
        Ok(value) if value < FEW => Some(value),
        Ok(VOID) => Some(VOID),
        _ => None,
    };
    let values: Vec<u8> =
        numbers.values.iter().map(|&value| small(value)).collect::<Option<_>>()?;
    let mask = Mask::from_pixels(numbers.width, numbers.height, values).ok()?;
    let counts = mask.counts();
    let used: Vec<u8> = (1..FEW).filter(|&value| counts[usize::from(value)] > 0).collect();
    let (_, pieces) = components::pieces(&mask, |value| (1..FEW).contains(&value));
    let one_piece = pieces == used.len();
    Some((used, one_piece))
}

/// Files beside the pictures that hold the object numbers of one of them, as Cellpose leaves them.
pub(super) fn beside_pictures(files: &[PathBuf]) -> HashSet<PathBuf> {
    let pictures = files.iter().filter(|file| !instances::is_array(file));
    let keys: HashSet<PathBuf> = pictures.map(|file| without_ending(file)).collect();
    let is_of_another = |file: &&PathBuf| {
        let name = instances::picture_name(file).map(instances::candidates).into_iter().flatten();
        name.into_iter().any(|name| keys.contains(&file.with_file_name(name)))
    };
    files.iter().filter(is_of_another).cloned().collect()
}
