//! DAPPM, the deep aggregation pyramid pooling module of DDRNet (Hong et al. 2021, arXiv 2101.06085): what is
//! in ever larger surroundings of a pixel, from the smallest to the whole picture, each told to the next.

use burn::module::Module;
use burn::prelude::*;
use burn::tensor::ops::AvgPoolOptions;

use crate::nn::{ConvConfig, NormReluConv, global_average};

/// Windows of the pools and how far they lie apart; padded by as much.
const POOLS: [[usize; 2]; 3] = [[5, 2], [9, 4], [17, 8]];

/// The module. As in the authors' code every convolution has batch normalisation and ReLU before it, and the
/// zeros around the picture count in the pools' means.
#[derive(Module, Debug)]
pub struct Dappm {
    /// Of the map itself, of the three pools, of the mean over all pixels.
    scales: Vec<NormReluConv>,
    /// Of each scale but the first, with what the one before gave.
    processes: Vec<NormReluConv>,
    compression: NormReluConv,
    shortcut: NormReluConv,
}

impl Dappm {
    /// From `channels[0]` to `channels[1]` channels; each scale has `width`.
    pub fn new(channels: [usize; 2], width: usize, device: &Device) -> Self {
        let [input, output] = channels;
        let layer =
            |channels, kernel| NormReluConv::new(&ConvConfig::new(channels, kernel), device);
        let scales = POOLS.len() + 2;
        Self {
            scales: (0..scales).map(|_| layer([input, width], 1)).collect(),
            processes: (1..scales).map(|_| layer([width; 2], 3)).collect(),
            compression: layer([scales * width, output], 1),
            shortcut: layer([input, output], 1),
        }
    }

    /// # Shapes
    /// `[batch, channels[0], height, width]`, of any size from 1x1 up, to
    /// `[batch, channels[1], height, width]`
    pub fn forward(&self, map: Tensor<4>) -> Tensor<4> {
        let [.., height, width] = map.dims();
        let mut found = vec![self.scales[0].forward(map.clone())];
        for (index, process) in self.processes.iter().enumerate() {
            let pooled = match POOLS.get(index) {
                Some(&[window, stride]) => {
                    let options = AvgPoolOptions::new([window; 2]).with_stride([stride; 2]);
                    kshot_kernels::avg_pool2d(map.clone(), options.with_padding([window / 2; 2]))
                }
                None => global_average(map.clone()),
            };
            let scale = self.scales[index + 1].forward(pooled);
            let resized = kshot_kernels::bilinear(scale, [height, width], false);
            found.push(process.forward(resized + found[index].clone()));
        }
        self.compression.forward(Tensor::cat(found, 1)) + self.shortcut.forward(map)
    }

    /// The same function, faster, for inference only. Doing it twice changes nothing.
    #[must_use]
    pub fn optimize(self) -> Self {
        let fold = |layers: Vec<NormReluConv>| layers.into_iter().map(NormReluConv::fold).collect();
        Self {
            scales: fold(self.scales),
            processes: fold(self.processes),
            compression: self.compression.fold(),
            shortcut: self.shortcut.fold(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_of_any_size_keep_it() {
        let device = Device::flex().autodiff();
        let module = Dappm::new([3, 5], 4, &device);
        for [height, width] in [[1, 1], [1, 9], [17, 2], [20, 33]] {
            let map = Tensor::<4>::ones([2, 3, height, width], &device);
            assert_eq!(module.forward(map.clone()).dims(), [2, 5, height, width]);
            let valid = module.clone().valid().optimize();
            assert_eq!(valid.forward(map.inner()).dims(), [2, 5, height, width]);
        }
    }
}
