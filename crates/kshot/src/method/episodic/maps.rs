//! What an encoder sees of an episode's pictures, and the masks of the labelled ones.

use burn::prelude::*;
use burn::tensor::TensorData;

use crate::data::batch::EpisodeId;
use crate::features::score_map::taps;

/// Added to areas, so that an empty mask has an average of 0.
pub(super) const SPECK: f32 = 1e-5;
/// Keeps the gradient of a length finite at 0.
pub(super) const TINY: f32 = 1e-12;

/// Maps of some pictures, finest first: each `[batch, channels, height, width]`, of unit length over its channels where an
/// encoder made them.
#[derive(Debug, Clone)]
pub struct Maps(pub Vec<Tensor<4>>);

impl Maps {
    /// The deepest `stages` of an encoder's maps, each of unit length.
    pub fn deepest(mut maps: Vec<Tensor<4>>, stages: usize) -> Self {
        Self(maps.split_off(maps.len().saturating_sub(stages))).unit()
    }

    /// Each of unit length over the channels, at every place.
    #[must_use]
    pub fn unit(self) -> Self {
        self.each(|map| {
            let length = (map.clone().square().sum_dim(1) + TINY).sqrt();
            map / length
        })
    }

    /// The same of each map.
    #[must_use]
    fn each(self, change: impl Fn(Tensor<4>) -> Tensor<4>) -> Self {
        Self(self.0.into_iter().map(change).collect())
    }

    /// Those of several pictures together.
    pub fn cat(all: &[Self]) -> Self {
        let stages = all.first().map_or(0, |maps| maps.0.len());
        let stage = |at: usize| Tensor::cat(all.iter().map(|maps| maps.0[at].clone()).collect(), 0);
        Self((0..stages).map(stage).collect())
    }

    /// Those of one picture of several.
    #[must_use]
    pub fn picture(&self, index: usize) -> Self {
        Self(self.0.iter().map(|map| map.clone().narrow(0, index, 1)).collect())
    }

    /// How many pictures.
    pub fn pictures(&self) -> usize {
        self.0.first().map_or(0, |map| map.dims()[0])
    }

    /// Rows and columns of the finest map.
    pub fn grid(&self) -> [usize; 2] {
        self.0.first().map_or([0, 0], |map| [map.dims()[2], map.dims()[3]])
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.0.iter().map(|map| map.dims().iter().product::<usize>() * 4).sum()
    }

    /// The same on the autodiff side, as constants.
    #[must_use]
    pub fn autodiff(self) -> Self {
        self.each(|map| if map.is_autodiff() { map } else { Tensor::from_inner(map) })
    }

    /// The same on another device, without autodiff.
    #[must_use]
    pub fn to_device(self, device: &Device) -> Self {
        self.each(|map| map.to_device(device))
    }

    /// Each picture's masked averages: `[batch, planes, channels]` from masks `[batch, planes, height,
    /// width]` of 0 and 1.
    pub(super) fn averages(&self, masks: &Tensor<4>) -> Tensor<3> {
        let [batch, planes, ..] = masks.dims();
        let area = masks.clone().sum_dim(3).sum_dim(2).reshape([batch, planes, 1]) + SPECK;
        let sums = self.0.iter().map(|map| {
            let [_, channels, rows, columns] = map.dims();
            // Bringing maps up and weighing them is weighing them by the masks brought down.
            let weights = brought_down(masks, [rows, columns]);
            let weights = weights.reshape([batch, planes, rows * columns]);
            let cells = map.clone().reshape([batch, channels, rows * columns]);
            weights.matmul(cells.swap_dims(1, 2))
        });
        Tensor::cat(sums.collect(), 2) / area
    }
}

/// The weight of each cell of a grid in a sum over pixels to which the grid is brought up bilinearly:
/// `[batch, planes, height, width]` to `[batch, planes, rows, columns]`.
fn brought_down(masks: &Tensor<4>, [rows, columns]: [usize; 2]) -> Tensor<4> {
    let [_, _, height, width] = masks.dims();
    let down = taps_matrix(height, rows, &masks.device()).transpose().unsqueeze::<4>();
    let across = taps_matrix(width, columns, &masks.device()).unsqueeze::<4>();
    down.matmul(masks.clone()).matmul(across)
}

/// The share of each cell of a grid that masks of 0 and 1 cover: `[batch, planes, height, width]` to `[batch, planes,
/// rows, columns]` of 0 to 1.
pub fn cell_shares(masks: &Tensor<4>, grid: [usize; 2]) -> Tensor<4> {
    let [_, _, height, width] = masks.dims();
    let whole = Tensor::ones([1, 1, height, width], &masks.device());
    brought_down(masks, grid) / brought_down(&whole, grid)
}

/// The matrix `[to, from]` of bilinear resizing along one axis.
fn taps_matrix(to: usize, from: usize, device: &Device) -> Tensor<2> {
    let mut values = vec![0.0f32; to * from];
    for (tap, row) in
        taps(to, from, from as f32 / to as f32).iter().zip(values.chunks_exact_mut(from))
    {
        row[tap.low] += 1.0 - tap.weight;
        row[tap.high] += tap.weight;
    }
    Tensor::from_data(TensorData::new(values, [to, from]), device)
}

/// The labels as planes of 0 and 1, `[batch, planes, height, width]`; pixels of 255 are in none.
pub fn planes_of(labels: &Tensor<3, Int>, planes: usize) -> Tensor<4> {
    let plane =
        |value: usize| labels.clone().equal_elem(value as i64).float().unsqueeze_dim::<4>(1);
    Tensor::cat((0..planes).map(plane).collect(), 1)
}

/// Labelled pictures: what a task is given.
#[derive(Debug, Clone)]
pub struct LabelledMaps {
    /// What the encoder sees of them.
    pub maps: Maps,
    /// `[pictures, height, width]`: 0 for background, then classes from 1; 255 where nothing is said.
    pub labels: Tensor<3, Int>,
    /// For each class the pictures that hold it; one at least.
    pub holders: Vec<Vec<usize>>,
    /// In training on the main data set, each class's number in it; else none.
    pub known: Vec<usize>,
}

impl LabelledMaps {
    /// Of an episode, whose pictures come class by class, as many of each.
    pub fn of_episode(maps: Maps, labels: Tensor<3, Int>, ways: usize) -> Self {
        let shots = maps.pictures() / ways;
        let holders = (0..ways).map(|way| (way * shots..(way + 1) * shots).collect()).collect();
        Self { maps, labels, holders, known: Vec::new() }
    }

    /// How many classes.
    pub fn ways(&self) -> usize {
        self.holders.len()
    }

    /// The masks of background and every class: `[pictures, ways + 1, height, width]`.
    pub fn planes(&self) -> Tensor<4> {
        planes_of(&self.labels, self.ways() + 1)
    }

    /// One class against all else that is labelled: the pictures that hold it and their masks (see [`against_rest`]).
    pub fn way(&self, way: usize) -> (Maps, Tensor<4>) {
        let pictures = &self.holders[way];
        if pictures.len() == self.maps.pictures() {
            return (self.maps.clone(), against_rest(&self.labels, way, self.ways()));
        }
        let maps: Vec<Maps> = pictures.iter().map(|index| self.maps.picture(*index)).collect();
        let labels = pictures.iter().map(|index| self.labels.clone().narrow(0, *index, 1));
        let labels = Tensor::cat(labels.collect(), 0);
        (Maps::cat(&maps), against_rest(&labels, way, self.ways()))
    }
}

/// Masks of 0 and 1 of all else that is labelled and of one class, `[batch, 2, height, width]`, of labels `[batch, height,
/// width]` of so many ways.
pub fn against_rest(labels: &Tensor<3, Int>, way: usize, ways: usize) -> Tensor<4> {
    let own = labels.clone().equal_elem(way as i64 + 1).float().unsqueeze_dim::<4>(1);
    let labelled = labels.clone().lower_equal_elem(ways as i64).float().unsqueeze_dim::<4>(1);
    Tensor::cat(vec![labelled - own.clone(), own], 1)
}

/// Pictures of an episode: as tensors, or as what a frozen encoder saw of them.
// A few of them are there at a time, and what they hold lies elsewhere.
#[allow(clippy::large_enum_variant)]
#[derive(Debug, Clone)]
pub enum Seen {
    /// `[batch, 3, height, width]`, normalised.
    Images(Tensor<4>),
    /// The deepest of an encoder's maps.
    Maps(Maps),
}

/// One few-shot segmentation task.
#[derive(Debug, Clone)]
pub struct SegmentationEpisode {
    /// The labelled pictures, class by class.
    pub support: (Seen, Tensor<3, Int>),
    /// The pictures to label, with their labels.
    pub query: (Seen, Tensor<3, Int>),
    /// The labels of the pictures to label in the data set's own classes, `[batch, height, width]`: what an episode that
    /// asks for some of them does not say.
    pub all: Tensor<3, Int>,
    /// The classes as numbers of the data set.
    pub classes: Vec<usize>,
    /// Whether that is the main data set of a training, not one beside it.
    pub is_main: bool,
    /// Which it is.
    pub id: EpisodeId,
}

/// An episode by its maps.
#[derive(Debug, Clone)]
pub struct EpisodeMaps {
    /// The labelled pictures.
    pub support: LabelledMaps,
    /// The pictures to label.
    pub query: Maps,
    /// Their labels, as the episode numbers them: `[batch, height, width]`.
    pub labels: Tensor<3, Int>,
    /// Their labels in the data set's own classes.
    pub all: Tensor<3, Int>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_average_under_a_flat_mask_is_the_map_itself() {
        let device = Device::flex();
        let map = Tensor::<4>::ones([1, 2, 3, 4], &device);
        let masks = Tensor::<4>::ones([1, 1, 9, 7], &device);
        let average = Maps(vec![map]).unit().averages(&masks);
        for value in average.into_data().iter::<f32>() {
            assert!((value - 0.5f32.sqrt()).abs() < 1e-5, "{value}");
        }
    }

    #[test]
    fn shares_of_cells_add_up() {
        let device = Device::flex();
        let labels: Vec<i64> = (0..48).map(|pixel| [0, 1, 2, 255][pixel % 4]).collect();
        let labels = Tensor::<3, Int>::from_data(TensorData::new(labels, [1, 6, 8]), &device);
        let shares = cell_shares(&planes_of(&labels, 3), [3, 4]);
        for share in shares.sum_dim(1).into_data().iter::<f32>() {
            assert!((share - 0.75).abs() < 0.26, "{share}");
        }
        let whole = cell_shares(&Tensor::ones([1, 1, 6, 8], &device), [3, 4]);
        assert!(whole.into_data().iter::<f32>().all(|share| (share - 1.0).abs() < 1e-6));
    }

    #[test]
    fn a_class_is_held_against_everything_else_that_is_labelled() {
        let device = Device::flex();
        let labels = Tensor::<3, Int>::from_ints([[[0, 1, 2, 255]], [[2, 2, 0, 0]]], &device);
        let maps = Maps(vec![Tensor::zeros([2, 1, 1, 4], &device)]);
        let labelled =
            LabelledMaps { maps, labels, holders: vec![vec![0], vec![0, 1]], known: Vec::new() };
        let masks = |way: usize| -> Vec<f32> { labelled.way(way).1.into_data().iter().collect() };
        assert_eq!(masks(0), [1., 0., 1., 0., 0., 1., 0., 0.]);
        assert_eq!(masks(1)[8..], [0., 0., 1., 1., 1., 1., 0., 0.]);
    }
}
