//! Oxford-IIIT Pet (Parkhi et al., CVPR 2012, doi 10.1109/CVPR.2012.6248092): cats and dogs of 37 breeds with masks.
//!
//! Trimaps hold 1 for the pet, 2 for background and 3 for the border between them, which is void. The lists
//! `annotations/LIST.txt` name a picture, its breed from 1, its species (1 = cat, 2 = dog) and the breed among its species.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use kshot_data::mask::{BACKGROUND, Mask, VOID};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::dataset::{Dataset, DatasetLayout, lines};
use super::layout::{Layout, owned, part_of, relabelled};
use crate::error::{Error, Result};

/// The breeds, 1 to 37.
pub const BREEDS: [&str; 37] = [
    "Abyssinian",
    "american_bulldog",
    "american_pit_bull_terrier",
    "basset_hound",
    "beagle",
    "Bengal",
    "Birman",
    "Bombay",
    "boxer",
    "British_Shorthair",
    "chihuahua",
    "Egyptian_Mau",
    "english_cocker_spaniel",
    "english_setter",
    "german_shorthaired",
    "great_pyrenees",
    "havanese",
    "japanese_chin",
    "keeshond",
    "leonberger",
    "Maine_Coon",
    "miniature_pinscher",
    "newfoundland",
    "Persian",
    "pomeranian",
    "pug",
    "Ragdoll",
    "Russian_Blue",
    "saint_bernard",
    "samoyed",
    "scottish_terrier",
    "shiba_inu",
    "Siamese",
    "Sphynx",
    "staffordshire_bull_terrier",
    "wheaten_terrier",
    "yorkshire_terrier",
];

const LAYOUT: Layout = Layout {
    name: "the folder that images.tar.gz and annotations.tar.gz are unpacked in",
    drawing: "  images/NAME.jpg\n  annotations/{trainval,test}.txt\n  annotations/trimaps/NAME.png",
};

/// What pets are called.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PetClasses {
    /// One class, pet.
    #[default]
    Pet,
    /// Cat and dog.
    Species,
    /// The 37 breeds.
    Breed,
}

/// Where it is, and what its classes are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OxfordPetsConfig {
    /// The folder that holds `images` and `annotations`.
    #[schemars(length(min = 1), example = &"path/to/data")]
    pub root: PathBuf,
    /// What pets are called.
    #[serde(default)]
    pub classes: PetClasses,
}

impl DatasetLayout for OxfordPetsConfig {
    const NAME: &'static str = "oxford-pets";
    const SUMMARY: &'static str = "Oxford-IIIT Pet: cats and dogs with masks, as one class, two species or 37 breeds; lists trainval and test";
    const SOURCE: &'static str = "https://doi.org/10.1109/CVPR.2012.6248092";

    fn open(&self, part: &str) -> Result<Arc<dyn Dataset>> {
        let part = part_of(part, &[("trainval", "trainval"), ("test", "test")])?;
        let (root, list) = (&self.root, format!("annotations/{part}.txt"));
        let file = LAYOUT.first(root, &[&list])?;
        let pictures = LAYOUT.first(root, &["images"])?;
        let masks = LAYOUT.first(root, &["annotations/trimaps"])?;
        let mut items = Vec::new();
        for (index, line) in lines(&file)?.iter().enumerate() {
            if line.starts_with('#') {
                continue;
            }
            let Some((name, breed, species)) = pet(line) else {
                let text = "a line is `NAME BREED SPECIES NUMBER`, such as `Abyssinian_100 1 1 1`, with the breed's own number";
                return Err(Error::data(text).at_line(&file, index + 1));
            };
            let class = match self.classes {
                PetClasses::Pet => 1,
                PetClasses::Species => species,
                PetClasses::Breed => breed,
            };
            let picture = pictures.join(format!("{name}.jpg"));
            items.push(Pet { picture, mask: masks.join(format!("{name}.png")), class });
        }
        if items.is_empty() {
            return Err(Error::data(format!("the list `{part}` names no picture")).in_file(file));
        }
        let classes = match self.classes {
            PetClasses::Pet => owned(&["pet"]),
            PetClasses::Species => owned(&["cat", "dog"]),
            PetClasses::Breed => owned(&BREEDS),
        };
        Ok(Arc::new(Pets { classes, items }))
    }

    fn root(&self) -> &Path {
        &self.root
    }
}

/// Name, breed and species of a line.
fn pet(line: &str) -> Option<(&str, u8, u8)> {
    let mut words = line.split_whitespace();
    let name = words.next()?;
    let (breed, species) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let known = BREEDS.get(usize::checked_sub(usize::from(breed), 1)?)?;
    let named = name.rsplit_once('_')?.0 == *known;
    (named && matches!(species, 1 | 2)).then_some((name, breed, species))
}

struct Pet {
    picture: PathBuf,
    mask: PathBuf,
    class: u8,
}

struct Pets {
    classes: Vec<String>,
    items: Vec<Pet>,
}

impl Dataset for Pets {
    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn len(&self) -> usize {
        self.items.len()
    }

    fn file(&self, index: usize) -> &Path {
        &self.items[index].picture
    }

    fn label_files(&self, index: usize) -> Vec<PathBuf> {
        vec![self.items[index].mask.clone()]
    }

    fn mask(&self, index: usize) -> Result<Mask> {
        let Pet { mask, class, .. } = &self.items[index];
        let ours = |value: u8| match value {
            1 => Some(*class),
            2 => Some(BACKGROUND),
            3 => Some(VOID),
            _ => None,
        };
        relabelled(mask, ours, "1 for the pet, 2 for background and 3 for the border")
    }
}
