//! `probe`: a small head trained on the cells of the support, linear or with one hidden layer.
//!
//! Linear probes are the standard reading of frozen features (Alain and Bengio 2016, arXiv
//! 1610.01644); arXiv 2401.11311 shows them close to fine-tuning for few-shot segmentation. Here
//! every stage's features are concatenated at a quarter of the working size, standardised per
//! channel, and a softmax head is trained with Adam on class-balanced cross-entropy; void and
//! unlabelled cells never enter. Deviation: the first layer is applied stage by stage at the stage's
//! own resolution and upsampled afterwards, which is the same function (both are linear) at a
//! fraction of the work.

use burn::prelude::*;
use burn::tensor::{TensorData, activation};
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::error::Result;
use crate::features::extract::TileFeatures;
use crate::method::few_shot::samples::{Samples, gather};
use crate::method::few_shot::{SegmentationHead, SegmentationMethod, Shot};
use crate::nn::cpu_values;

/// How a probe is trained.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ProbeConfig {
    /// Units of the hidden layer; 0 for a linear probe.
    #[schemars(range(min = 0, max = 4096))]
    pub hidden: usize,
    /// Steps of Adam.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub steps: usize,
    /// Cells a step.
    #[schemars(range(min = 1, max = 65536))]
    pub batch: usize,
    /// Adam's rate; it falls to zero along a cosine.
    #[schemars(extend("exclusiveMinimum" = 0.0), range(max = 1.0))]
    pub rate: f32,
    /// Decoupled weight decay (AdamW, arXiv 1711.05101).
    #[schemars(range(min = 0.0, max = 100.0))]
    pub weight_decay: f32,
    /// Probability that a hidden unit is dropped in training.
    #[schemars(range(min = 0.0, max = 0.95))]
    pub dropout: f32,
    /// How strongly rare classes are raised: weights are frequency to the power of minus this.
    #[schemars(range(min = 0.0, max = 2.0))]
    pub balance: f32,
    /// At most this many cells a picture are kept for training.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub cells: usize,
}

impl Default for ProbeConfig {
    fn default() -> Self {
        Self {
            hidden: 128,
            steps: 300,
            batch: 512,
            rate: 4e-3,
            weight_decay: 1e-2,
            dropout: 0.3,
            balance: 0.5,
            cells: 10_000,
        }
    }
}

impl SegmentationMethod for ProbeConfig {
    fn name(&self) -> &'static str {
        "probe"
    }

    fn boxed(&self) -> Box<dyn SegmentationMethod> {
        Box::new(self.clone())
    }

    fn likes_scales(&self) -> bool {
        true
    }

    fn for_judging(&self) -> Option<Box<dyn SegmentationMethod>> {
        Some(Box::new(Self { steps: self.steps / 2, ..self.clone() }))
    }

    fn for_strokes(&self) -> Option<Box<dyn SegmentationMethod>> {
        Some(Box::new(Self { hidden: self.hidden.div_ceil(2), balance: 0.0, ..self.clone() }))
    }

    fn fit(&self, shots: &[&Shot], planes: usize, seed: u64) -> Result<Box<dyn SegmentationHead>> {
        let samples = gather(shots, self.cells, seed)?;
        Ok(Box::new(self.train(samples, planes, seed)))
    }
}

/// Weights with Adam's moments.
struct AdamMoments {
    value: Vec<f32>,
    first: Vec<f32>,
    second: Vec<f32>,
}

impl AdamMoments {
    fn new(value: Vec<f32>) -> Self {
        let zeros = vec![0.0; value.len()];
        Self { value, first: zeros.clone(), second: zeros }
    }

    fn step(&mut self, gradient: &[f32], at: AdamStep, decay: f32) {
        const BETAS: [f32; 2] = [0.9, 0.999];
        let [first, second] = BETAS.map(|beta| 1.0 - beta.powi(at.index as i32 + 1));
        let moments = self.first.iter_mut().zip(&mut self.second);
        for ((value, (m, v)), gradient) in self.value.iter_mut().zip(moments).zip(gradient) {
            *m = *m * BETAS[0] + gradient * (1.0 - BETAS[0]);
            *v = *v * BETAS[1] + gradient * gradient * (1.0 - BETAS[1]);
            let update = (*m / first) / ((*v / second).sqrt() + 1e-8);
            *value = *value * (1.0 - at.rate * decay) - update * at.rate;
        }
    }
}

/// One layer: a weight of `[outputs, inputs]` and a bias of `[outputs]`.
struct ProbeLayer {
    weight: AdamMoments,
    bias: AdamMoments,
    shape: [usize; 2],
}

impl ProbeLayer {
    fn new(inputs: usize, outputs: usize, random: &mut ChaCha8Rng) -> Self {
        // Kaiming's uniform bound for ReLU.
        let bound = (6.0 / inputs as f32).sqrt();
        let weight = (0..inputs * outputs).map(|_| random.random_range(-bound..bound)).collect();
        let bias = AdamMoments::new(vec![0.0; outputs]);
        Self { weight: AdamMoments::new(weight), bias, shape: [outputs, inputs] }
    }

    fn weight(&self) -> Tensor<2> {
        tensor(self.weight.value.clone(), self.shape)
    }

    /// `[n, inputs]` to `[n, outputs]`.
    fn forward(&self, inputs: Tensor<2>) -> Vec<f32> {
        let mut outputs = cpu_values(inputs.matmul(self.weight().transpose()));
        for row in outputs.chunks_exact_mut(self.shape[0]) {
            row.iter_mut().zip(&self.bias.value).for_each(|(value, bias)| *value += bias);
        }
        outputs
    }

    /// Steps on the gradient of the outputs, `[n, outputs]`.
    fn step(&mut self, inputs: Tensor<2>, outputs: Vec<f32>, at: AdamStep) {
        let mut bias = vec![0.0f32; self.shape[0]];
        for row in outputs.chunks_exact(self.shape[0]) {
            bias.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
        }
        let [rows, _] = inputs.dims();
        let outputs = tensor(outputs, [rows, self.shape[0]]);
        let gradient = cpu_values(outputs.transpose().matmul(inputs));
        self.weight.step(&gradient, at, at.decay);
        self.bias.step(&bias, at, 0.0);
    }
}

fn tensor(values: Vec<f32>, shape: [usize; 2]) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values, shape), &Device::flex())
}

#[derive(Clone, Copy)]
struct AdamStep {
    index: usize,
    rate: f32,
    decay: f32,
}

impl ProbeConfig {
    /// Trains by AdamW. The matrix products are the device's; what lies between them are plain loops
    /// over a batch, which are quicker than a tensor operation each.
    fn train(&self, samples: Samples, planes: usize, seed: u64) -> ProbeHead {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let width = samples.width;
        let (mean, std) = samples.moments();
        let class_weights = samples.class_weights(planes, self.balance);
        let mut layers = if self.hidden == 0 {
            vec![ProbeLayer::new(width, planes, &mut random)]
        } else {
            let first = ProbeLayer::new(width, self.hidden, &mut random);
            vec![first, ProbeLayer::new(self.hidden, planes, &mut random)]
        };
        let top = layers.len() - 1;
        let count = samples.labels.len();
        let batch = self.batch.min(count);
        let mut order: Vec<usize> = (0..count).collect();
        let mut next = count;
        for index in 0..self.steps {
            if next + batch > count {
                order.shuffle(&mut random);
                next = 0;
            }
            let chosen = &order[next..next + batch];
            next += batch;
            let inputs = standardised(&samples, chosen, &mean, &std);
            let inputs = tensor(inputs, [batch, width]);
            let progress = index as f32 / self.steps as f32;
            let rate = self.rate * 0.5 * (1.0 + (std::f32::consts::PI * progress).cos());
            let at = AdamStep { index, rate, decay: self.weight_decay };
            let below = if top == 0 {
                inputs.clone()
            } else {
                let mut hidden = layers[0].forward(inputs.clone());
                self.pass(&mut hidden, &mut random);
                tensor(hidden, [batch, self.hidden])
            };
            let mut error = layers[top].forward(below.clone());
            let total: f32 =
                chosen.iter().map(|&s| class_weights[usize::from(samples.labels[s])]).sum();
            for (row, &sample) in error.chunks_exact_mut(planes).zip(chosen) {
                let class = usize::from(samples.labels[sample]);
                softmax(row);
                row[class] -= 1.0;
                row.iter_mut().for_each(|value| *value *= class_weights[class] / total);
            }
            if top > 0 {
                // Units that are off or dropped pass nothing on, forward or backward; those that are
                // on were raised by what the dropped ones leave.
                let kept = 1.0 / (1.0 - self.dropout);
                let outputs = tensor(error.clone(), [batch, planes]);
                let mut gradient = cpu_values(outputs.matmul(layers[top].weight()));
                let hidden = cpu_values(below.clone());
                for (gradient, hidden) in gradient.iter_mut().zip(hidden) {
                    *gradient = if hidden > 0.0 { *gradient * kept } else { 0.0 };
                }
                layers[0].step(inputs, gradient, at);
            }
            layers[top].step(below, error, at);
        }
        ProbeHead::new(layers, &mean, &std, planes)
    }

    /// ReLU and dropout.
    fn pass(&self, hidden: &mut [f32], random: &mut ChaCha8Rng) {
        // Sixteen bits a unit are fine enough for a chance.
        let threshold = (self.dropout * f32::from(u16::MAX)) as u16;
        let kept = 1.0 / (1.0 - self.dropout);
        for four in hidden.chunks_mut(4) {
            let mut bits = random.random::<u64>();
            for value in four {
                let open = bits as u16 >= threshold;
                *value = if open { value.max(0.0) * kept } else { 0.0 };
                bits >>= 16;
            }
        }
    }
}

fn softmax(row: &mut [f32]) {
    let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for value in row.iter_mut() {
        *value = (*value - largest).exp();
        sum += *value;
    }
    row.iter_mut().for_each(|value| *value /= sum);
}

/// Standardised rows, `[chosen.len(), width]`.
fn standardised(samples: &Samples, chosen: &[usize], mean: &[f32], std: &[f32]) -> Vec<f32> {
    let width = samples.width;
    let inverse: Vec<f32> = std.iter().map(|std| 1.0 / std).collect();
    let mut rows = vec![0.0f32; chosen.len() * width];
    rows.par_chunks_exact_mut(width).zip(chosen).for_each(|(out, &sample)| {
        let row = samples.row(sample);
        for (((out, value), mean), inverse) in out.iter_mut().zip(row).zip(mean).zip(&inverse) {
            *out = (value - mean) * inverse;
        }
    });
    rows
}

/// A trained probe with the standardisation folded into its first layer.
struct ProbeHead {
    /// `[outputs, inputs]` of the first layer.
    first: Vec<f32>,
    bias: Vec<f32>,
    /// The second layer's weight and bias, if there is one.
    second: Option<(Tensor<2>, Tensor<2>)>,
    planes: usize,
}

impl ProbeHead {
    fn new(mut layers: Vec<ProbeLayer>, mean: &[f32], std: &[f32], planes: usize) -> Self {
        let second = (layers.len() == 2).then(|| layers.pop()).flatten().map(|layer| {
            let outputs = layer.shape[0];
            (layer.weight(), tensor(layer.bias.value, [outputs, 1]))
        });
        let layer = layers.swap_remove(0);
        let inputs = mean.len();
        let mut first = layer.weight.value;
        let mut bias = layer.bias.value;
        for (row, bias) in first.chunks_exact_mut(inputs).zip(&mut bias) {
            for ((weight, mean), std) in row.iter_mut().zip(mean).zip(std) {
                *weight /= std;
                *bias -= *weight * mean;
            }
        }
        Self { first, bias, second, planes }
    }
}

impl SegmentationHead for ProbeHead {
    fn scores(&self, tile: &TileFeatures) -> Vec<f32> {
        let [height, width] = tile.grid();
        let outputs = self.bias.len();
        let grid = tile.linear(&self.first, &self.bias);
        let Some((weight, bias)) = &self.second else {
            return grid;
        };
        let data = TensorData::new(grid, [outputs, height * width]);
        let hidden = activation::relu(Tensor::<2>::from_data(data, &weight.device()));
        let scores = cpu_values(weight.clone().matmul(hidden) + bias.clone());
        debug_assert_eq!(scores.len(), self.planes * height * width);
        scores
    }
}
