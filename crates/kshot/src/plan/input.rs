//! The rules for what a step sees: the working size of pictures, patches, how they are changed, and how many are held at
//! once.

use toml::Value;

use super::DataFindings;
use super::machine;
use super::network::encoder;
use super::rules::{Choice, FEW, Wishes, table};
use crate::data::batches::shrunk;

/// Pictures whose longer side is above it are shrunk, where objects stay thick enough.
const LONGEST: u32 = 1024;
/// Working pixels that the thinnest class's typical piece keeps when pictures are shrunk.
const LEAST_THICKNESS: f32 = 6.0;
/// Side of the patches that are trained on.
const PATCH: u32 = 256;
/// The same where objects are thicker than half a patch.
const LARGE_PATCH: u32 = 384;
/// Pictures a step.
const BATCH: usize = 4;
/// Patches are not made smaller than this for want of memory.
const LEAST_PATCH: u32 = 64;
/// Patches' sides are multiples of it, as the maps of most encoders ask for.
const GRAIN: u32 = 32;

/// The working size, where it is not the pictures' own.
pub(super) fn working_size(found: &DataFindings) -> Vec<Choice> {
    if found.longest <= LONGEST {
        return Vec::new();
    }
    let by_objects = found
        .thinnest()
        .map_or(0.0, |(_, thickness)| LEAST_THICKNESS / thickness * found.longest as f32);
    let side = (by_objects.ceil() as u32).clamp(LONGEST, found.longest);
    if side >= found.longest {
        return Vec::new();
    }
    let why = match found.thinnest() {
        Some((class, thickness)) => format!(
            "pictures have up to {} pixels a side; at this size `{class}`, whose pieces are about {thickness:.0} pixels \
             thick, still has {:.0}",
            found.longest,
            thickness * side as f32 / found.longest as f32
        ),
        None => format!("pictures have up to {} pixels a side", found.longest),
    };
    vec![Choice::new("data.longest_side", i64::from(side), why)]
}

/// The longer side that pictures are brought down to, by the rules or by the person.
fn longest(found: &DataFindings, wishes: &Wishes) -> u32 {
    let set = wishes.of("data.longest_side").and_then(Value::as_integer);
    let chosen = working_size(found).pop().and_then(|choice| choice.value.as_integer());
    set.or(chosen).and_then(|side| u32::try_from(side).ok()).unwrap_or(found.longest)
}

/// What of the pictures a step sees.
pub(super) struct Patches {
    /// Pixels of a side.
    side: u32,
    /// Patches that are held at once.
    batch: usize,
    /// Batches of a step.
    accumulate: usize,
    /// Why the patches have that size, in words.
    why: String,
    /// Why fewer are held at once than a step has, in words.
    memory: String,
}

impl Patches {
    pub(super) fn of(found: &DataFindings, wishes: &Wishes) -> Self {
        // Of the typical picture: one panorama, or one small picture, says nothing of the others.
        let [high, wide] = found.typical;
        let (width, height) = shrunk(wide, high, Some(longest(found, wishes)));
        let zoom = width.max(height) as f32 / wide.max(high).max(1) as f32;
        let thick =
            found.classes.iter().filter_map(|class| class.thickness).fold(0.0, f32::max) * zoom;
        let wanted = if thick > PATCH as f32 / 2.0 { LARGE_PATCH } else { PATCH };
        let side = (width.min(height) / GRAIN * GRAIN).clamp(LEAST_PATCH, wanted);
        let why = if width.max(height) <= side + GRAIN {
            format!(
                "pictures of {height} x {width} pixels are seen nearly whole, by patches of {side}"
            )
        } else if wanted == LARGE_PATCH {
            format!("patches of {side} pixels, as the thickest class is {thick:.0} pixels thick")
        } else {
            format!("patches of {side} pixels")
        };
        let batch = wishes.count("train.batch").unwrap_or(BATCH).max(1);
        let accumulate = wishes.count("train.accumulate").unwrap_or(1).max(1);
        Self { side, batch, accumulate, why, memory: String::new() }.within(wishes)
    }

    /// As far as they fit the memory: fewer at once, then smaller ones.
    fn within(mut self, wishes: &Wishes) -> Self {
        let Some((free, encoder)) = wishes.memory().zip(encoder(wishes)) else { return self };
        let fits = |side: u32, batch: usize| {
            u64::from(side).pow(2) * batch as u64 <= machine::pixels(free, &encoder)
        };
        let of_step = self.batch;
        let free_to = |key: &str| !wishes.sets(key);
        if free_to("train.batch") && free_to("train.accumulate") {
            while !fits(self.side, self.batch) && self.batch > 1 {
                self.batch = self.batch.div_ceil(2);
                self.accumulate *= 2;
            }
        }
        let wanted = self.side;
        while free_to("data.transforms") && !fits(self.side, self.batch) && self.side > LEAST_PATCH
        {
            self.side -= GRAIN;
        }
        let free = free as f64 / 1e9;
        if self.side < wanted {
            self.why =
                format!("patches of {} pixels, as {free:.1} GB of memory are free", self.side);
        }
        if self.batch < of_step {
            self.memory = format!(
                "{free:.1} GB of memory are free, so the {of_step} patches of a step are held {} at once",
                self.batch
            );
        }
        self
    }

    /// Patches of a step.
    pub(super) fn of_step(&self) -> usize {
        self.batch * self.accumulate
    }

    /// The keys of `[train]`.
    pub(super) fn choices(&self) -> Vec<Choice> {
        let mut all = vec![Choice::new("train.batch", self.batch as i64, self.memory.clone())];
        if self.accumulate > 1 {
            all.push(Choice::new("train.accumulate", self.accumulate as i64, ""));
        }
        all
    }
}

pub(super) fn transforms(found: &DataFindings, patches: &Patches) -> Vec<Choice> {
    let Patches { side: patch, why: patches, .. } = patches;
    let few = found.pictures < FEW;
    let turned = found.upright == Some(false);
    let mut list = Vec::new();
    list.push(
        if turned { "{ name = \"flip\", vertical = 0.5 }" } else { "{ name = \"flip\" }" }
            .to_owned(),
    );
    if turned {
        list.push("{ name = \"rotate\", degrees = [-180.0, 180.0] }".to_owned());
    } else if few {
        list.push("{ name = \"rotate\", degrees = [-15.0, 15.0] }".to_owned());
    }
    let range = if few { "[0.7, 1.4]" } else { "[0.75, 1.5]" };
    list.push(format!("{{ name = \"scale\", range = {range} }}"));
    list.push(format!("{{ name = \"crop\", size = {patch} }}"));
    list.push("{ name = \"colour\" }".to_owned());
    let up = match found.upright {
        Some(true) => {
            "classes keep their place between top and bottom, so pictures are mirrored left to right alone"
        }
        Some(false) => {
            "no class keeps its place between top and bottom, so pictures are turned any way"
        }
        None => {
            "too few pictures tell whether top and bottom differ, so they are mirrored left to right alone"
        }
    };
    let strength = if few { "; few pictures are changed more" } else { "" };
    let why = format!("{patches}; {up}{strength}");
    vec![Choice::new("data.transforms", table(&format!("value = [{}]", list.join(", "))), why)]
}
