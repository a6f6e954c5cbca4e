//! Pictures sorted by class, and the few-shot tasks drawn from them.

pub mod folders;
pub mod layout;
pub mod omniglot;
pub mod pixels;
pub mod split;
pub mod tasks;

use std::sync::Arc;

pub use pixels::Pixels;

/// One class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageClass {
    /// Its name, unique in its set.
    pub name: String,
    /// What it belongs to, such as its alphabet; empty if nothing.
    pub group: String,
    /// Its pictures, as numbers of [`Pixels`].
    pub images: Vec<usize>,
    /// Quarter turns (counter-clockwise) that make this class out of its pictures, 0 to 3.
    pub turns: u8,
}

/// Pictures sorted by class.
#[derive(Debug, Clone)]
pub struct ClassSet {
    /// The classes.
    pub classes: Vec<ImageClass>,
    /// Their pictures, shared with other splits of the same data.
    pub pixels: Arc<Pixels>,
}

impl ClassSet {
    /// The same pictures, other classes.
    #[must_use]
    pub fn with(&self, classes: Vec<ImageClass>) -> Self {
        Self { classes, pixels: Arc::clone(&self.pixels) }
    }

    /// Each class turned by 0, 90, 180 and 270 degrees counts as four classes, as in the Omniglot
    /// experiments since Santoro et al. 2016 (arXiv 1605.06065).
    #[must_use]
    pub fn with_rotations(&self) -> Self {
        let turned = |class: &ImageClass, turns: u8| ImageClass {
            name: format!("{}/{}", class.name, u16::from(turns) * 90),
            turns,
            ..class.clone()
        };
        let classes =
            self.classes.iter().flat_map(|class| (0..4).map(move |turns| turned(class, turns)));
        self.with(classes.collect())
    }

    /// All pictures of all classes.
    pub fn len(&self) -> usize {
        self.classes.iter().map(|class| class.images.len()).sum()
    }

    /// Whether there is no picture.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
