//! Atrous spatial pyramid pooling of DeepLab v3 (Chen et al. 2017, arXiv 1706.05587): a 1x1 convolution, dilated 3x3
//! ones and the mean of the whole map, side by side, joined by a 1x1 convolution. All are batch normalised.

use burn::module::Module;
use burn::prelude::*;

use super::fcn_head::EPSILON;
use super::{keys, maps};
use crate::error::{Error, Result};
use crate::nn::{Activation, Conv, ConvConfig, ConvNormAct, Dropout, global_average};

/// The stride that rates are given for.
const CHOSEN_AT: usize = 16;
/// Widths that make sense.
pub(super) const WIDTHS: std::ops::RangeInclusive<usize> = 1..=4096;
/// The paper's dilations of maps of stride 16.
pub(super) const RATES: [usize; 3] = [6, 12, 18];

/// A convolution of 3x3, normalised and activated: of all channels at once, or of each by itself and then across.
#[derive(Module, Debug)]
pub(super) struct Spatial {
    depthwise: Option<Conv>,
    layer: ConvNormAct,
}

impl Spatial {
    pub(super) fn new(
        channels: [usize; 2],
        dilation: usize,
        separable: bool,
        device: &Device,
    ) -> Self {
        let relu =
            |config: ConvConfig| ConvNormAct::new(&config, EPSILON, Activation::Relu, device);
        if !separable {
            let config = ConvConfig::new(channels, 3).with_dilation(dilation);
            return Self { depthwise: None, layer: relu(config) };
        }
        let depthwise = ConvConfig::new([channels[0]; 2], 3).with_dilation(dilation).depthwise();
        Self {
            depthwise: Some(depthwise.init(false, device)),
            layer: relu(ConvConfig::new(channels, 1)),
        }
    }

    pub(super) fn forward(&self, image: Tensor<4>) -> Tensor<4> {
        let image = match &self.depthwise {
            Some(depthwise) => depthwise.forward(image),
            None => image,
        };
        self.layer.forward(image)
    }

    pub(super) fn optimize(self) -> Self {
        Self { depthwise: self.depthwise.map(Conv::compile), layer: self.layer.fold() }
    }

    /// Its layers in a file: `conv` holds the convolution, or the two of a separable one.
    pub(super) fn layers(
        layers: &mut keys::Layers,
        [conv, norm]: [&str; 2],
        separable: bool,
        ours: &str,
    ) {
        let (layer, across) = (format!("{ours}.layer"), format!("{conv}.1"));
        if separable {
            keys::conv(layers, &format!("{conv}.0"), &format!("{ours}.depthwise"));
        }
        keys::conv_norm(layers, [if separable { &across } else { conv }, norm], &layer);
    }
}

/// What an [`Aspp`] is made from.
pub(super) struct AsppConfig<'a> {
    /// Dilations of maps of stride 16.
    pub(super) rates: &'a [usize],
    pub(super) width: usize,
    pub(super) separable: bool,
    pub(super) dropout: f64,
}

/// The pyramid.
#[derive(Module, Debug)]
pub(super) struct Aspp {
    point: ConvNormAct,
    dilated: Vec<Spatial>,
    mean: ConvNormAct,
    join: ConvNormAct,
    #[module(skip)]
    dropout: Dropout,
}

impl AsppConfig<'_> {
    /// Of a map of that many channels and that stride.
    ///
    /// # Errors
    /// If width or rates are out of bounds.
    pub(super) fn init(
        &self,
        name: &str,
        channels: usize,
        stride: usize,
        device: &Device,
    ) -> Result<Aspp> {
        if !WIDTHS.contains(&self.width) || self.rates.is_empty() || self.rates.contains(&0) {
            return Err(Error::config(format!(
                "a {name} of width {} and rates {:?}; valid are widths of {} to {}, and one rate or more from 1 up",
                self.width,
                self.rates,
                WIDTHS.start(),
                WIDTHS.end()
            )));
        }
        let point = |inside| {
            let config = ConvConfig::new([inside, self.width], 1);
            ConvNormAct::new(&config, EPSILON, Activation::Relu, device)
        };
        let dilated = self.rates.iter().map(|rate| {
            let rate = maps::dilation(*rate, CHOSEN_AT, stride);
            Spatial::new([channels, self.width], rate, self.separable, device)
        });
        Ok(Aspp {
            point: point(channels),
            dilated: dilated.collect(),
            mean: point(channels),
            join: point((self.rates.len() + 2) * self.width),
            dropout: Dropout::new(self.dropout),
        })
    }

    /// Its layers in torchvision's and segmentation_models_pytorch's files, which keep them below `foreign`.
    pub(super) fn layers(&self, layers: &mut keys::Layers, foreign: &str, ours: &str) {
        let of = |place: &str| [0, 1].map(|index| format!("{foreign}.{place}.{index}"));
        let [conv, norm] = of("convs.0");
        keys::conv_norm(layers, [&conv, &norm], &format!("{ours}.point"));
        for index in 0..self.rates.len() {
            let [conv, norm] = of(&format!("convs.{}", index + 1));
            let ours = format!("{ours}.dilated.{index}");
            Spatial::layers(layers, [&conv, &norm], self.separable, &ours);
        }
        let pooled = self.rates.len() + 1;
        let [conv, norm] = [1, 2].map(|index| format!("{foreign}.convs.{pooled}.{index}"));
        keys::conv_norm(layers, [&conv, &norm], &format!("{ours}.mean"));
        let [conv, norm] = of("project");
        keys::conv_norm(layers, [&conv, &norm], &format!("{ours}.join"));
    }
}

impl Aspp {
    /// # Shapes
    /// `[batch, channels, height, width]` to `[batch, width, height, width]`
    pub(super) fn forward(&self, map: Tensor<4>) -> Tensor<4> {
        let [.., height, width] = map.dims();
        let mut all = vec![self.point.forward(map.clone())];
        all.extend(self.dilated.iter().map(|layer| layer.forward(map.clone())));
        let mean = self.mean.forward(global_average(map));
        all.push(kshot_kernels::bilinear(mean, [height, width], false));
        self.dropout.forward(self.join.forward(Tensor::cat(all, 1)))
    }

    pub(super) fn optimize(self) -> Self {
        Self {
            point: self.point.fold(),
            dilated: self.dilated.into_iter().map(Spatial::optimize).collect(),
            mean: self.mean.fold(),
            join: self.join.fold(),
            dropout: self.dropout,
        }
    }
}
