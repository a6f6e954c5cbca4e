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

use super::samples::{Samples, gather};
use super::{Head, Method, Shot};
use crate::error::Result;
use crate::method::features::{TileFeatures, cpu_values};

/// How a probe is trained.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Probe {
    /// Units of the hidden layer; 0 for a linear probe.
    pub hidden: usize,
    /// Steps of Adam.
    pub steps: usize,
    /// Cells a step.
    pub batch: usize,
    /// Adam's rate; it falls to zero along a cosine.
    pub rate: f32,
    /// Decoupled weight decay (AdamW, arXiv 1711.05101).
    pub weight_decay: f32,
    /// Probability that a hidden unit is dropped in training.
    pub dropout: f32,
    /// How strongly rare classes are raised: weights are frequency to the power of minus this.
    pub balance: f32,
    /// At most this many cells a picture are kept for training.
    pub cells: usize,
}

impl Default for Probe {
    fn default() -> Self {
        Self {
            hidden: 128,
            steps: 800,
            batch: 512,
            rate: 2e-3,
            weight_decay: 1e-2,
            dropout: 0.3,
            balance: 0.5,
            cells: 20_000,
        }
    }
}

impl Method for Probe {
    fn name(&self) -> &'static str {
        "probe"
    }

    fn about(&self) -> &'static str {
        "a small head trained on the support's features in seconds"
    }

    fn for_judging(&self) -> Option<Box<dyn Method>> {
        Some(Box::new(Self { steps: self.steps / 2, ..self.clone() }))
    }

    fn fit(&self, shots: &[&Shot], planes: usize, seed: u64) -> Result<Box<dyn Head>> {
        let samples = gather(shots, self.cells, seed)?;
        Ok(Box::new(self.train(samples, planes, seed)))
    }
}

/// One layer, `[outputs, inputs]` and `[outputs, 1]`, with Adam's moments.
struct Layer {
    weight: Moments,
    bias: Moments,
}

struct Moments {
    value: Tensor<2>,
    first: Tensor<2>,
    second: Tensor<2>,
}

impl Moments {
    fn new(value: Tensor<2>) -> Self {
        let zeros = value.zeros_like();
        Self { value, first: zeros.clone(), second: zeros }
    }

    fn step(&mut self, gradient: Tensor<2>, step: usize, rate: f32, decay: f32) {
        const BETAS: [f32; 2] = [0.9, 0.999];
        self.first = self.first.clone() * BETAS[0] + gradient.clone() * (1.0 - BETAS[0]);
        self.second =
            self.second.clone() * BETAS[1] + gradient.clone() * gradient * (1.0 - BETAS[1]);
        let [first, second] = BETAS.map(|beta| 1.0 - beta.powi(step as i32 + 1));
        let update = (self.first.clone() / first) / ((self.second.clone() / second).sqrt() + 1e-8);
        self.value = self.value.clone() * (1.0 - rate * decay) - update * rate;
    }
}

impl Layer {
    fn new(inputs: usize, outputs: usize, random: &mut ChaCha8Rng, device: &Device) -> Self {
        // Kaiming's uniform bound for ReLU.
        let bound = (6.0 / inputs as f32).sqrt();
        let weight = (0..inputs * outputs).map(|_| random.random_range(-bound..bound)).collect();
        let tensor = |values: Vec<f32>, shape| {
            Moments::new(Tensor::from_data(TensorData::new(values, shape), device))
        };
        Self {
            weight: tensor(weight, [outputs, inputs]),
            bias: tensor(vec![0.0; outputs], [outputs, 1]),
        }
    }

    /// `[inputs, n]` to `[outputs, n]`.
    fn forward(&self, inputs: Tensor<2>) -> Tensor<2> {
        self.weight.value.clone().matmul(inputs) + self.bias.value.clone()
    }

    /// The gradient of the inputs, from that of the outputs.
    fn below(&self, outputs: Tensor<2>) -> Tensor<2> {
        self.weight.value.clone().transpose().matmul(outputs)
    }

    /// Steps on the gradient of the outputs.
    fn step(&mut self, inputs: Tensor<2>, outputs: Tensor<2>, at: Step) {
        let gradient = outputs.clone().matmul(inputs.transpose());
        self.weight.step(gradient, at.index, at.rate, at.decay);
        self.bias.step(outputs.sum_dim(1), at.index, at.rate, 0.0);
    }
}

#[derive(Clone, Copy)]
struct Step {
    index: usize,
    rate: f32,
    decay: f32,
}

impl Probe {
    fn train(&self, samples: Samples, planes: usize, seed: u64) -> ProbeHead {
        let device = Device::flex();
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let width = samples.width;
        let (mean, deviation) = samples.moments();
        let class_weights = samples.class_weights(planes, self.balance);
        let mut layers = if self.hidden == 0 {
            vec![Layer::new(width, planes, &mut random, &device)]
        } else {
            vec![
                Layer::new(width, self.hidden, &mut random, &device),
                Layer::new(self.hidden, planes, &mut random, &device),
            ]
        };
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
            let inputs = standardised(&samples, chosen, &mean, &deviation);
            let inputs = Tensor::<2>::from_data(TensorData::new(inputs, [batch, width]), &device)
                .transpose();
            let mut targets = vec![0.0f32; planes * batch];
            let mut weights = vec![0.0f32; batch];
            for (column, &sample) in chosen.iter().enumerate() {
                let class = usize::from(samples.labels[sample]);
                targets[class * batch + column] = 1.0;
                weights[column] = class_weights[class];
            }
            let total: f32 = weights.iter().sum();
            weights.iter_mut().for_each(|weight| *weight /= total);
            let targets =
                Tensor::<2>::from_data(TensorData::new(targets, [planes, batch]), &device);
            let weights = Tensor::<2>::from_data(TensorData::new(weights, [1, batch]), &device);
            let progress = index as f32 / self.steps as f32;
            let rate = self.rate * 0.5 * (1.0 + (std::f32::consts::PI * progress).cos());
            let at = Step { index, rate, decay: self.weight_decay };
            // Units that are off or dropped pass nothing on, forward or backward.
            let open = self.open_units(batch, &mut random, &device);
            let hidden = (layers.len() == 2)
                .then(|| activation::relu(layers[0].forward(inputs.clone())) * open.clone());
            let top = layers.len() - 1;
            let below = hidden.clone().unwrap_or_else(|| inputs.clone());
            let logits = layers[top].forward(below.clone());
            let error = (activation::softmax(logits, 0) - targets) * weights;
            if let Some(hidden) = hidden {
                let gradient = layers[top].below(error.clone());
                let gradient = gradient * hidden.greater_elem(0.0).float() * open;
                layers[0].step(inputs, gradient, at);
            }
            layers[top].step(below, error, at);
        }
        ProbeHead::new(layers, &mean, &deviation, planes)
    }

    /// Dropout's mask, `[hidden, batch]`: 0 or the reciprocal of what is kept.
    fn open_units(&self, batch: usize, random: &mut ChaCha8Rng, device: &Device) -> Tensor<2> {
        let threshold = (self.dropout * u32::MAX as f32) as u32;
        let kept = 1.0 / (1.0 - self.dropout);
        let mask = (0..self.hidden * batch)
            .map(|_| if random.random::<u32>() < threshold { 0.0 } else { kept })
            .collect::<Vec<f32>>();
        Tensor::from_data(TensorData::new(mask, [self.hidden, batch]), device)
    }
}

/// Standardised rows, `[chosen.len(), width]`.
fn standardised(samples: &Samples, chosen: &[usize], mean: &[f32], deviation: &[f32]) -> Vec<f32> {
    let width = samples.width;
    let mut rows = vec![0.0f32; chosen.len() * width];
    rows.par_chunks_exact_mut(width).zip(chosen).for_each(|(out, &sample)| {
        let row = &samples.rows[sample * width..][..width];
        for (((out, value), mean), deviation) in out.iter_mut().zip(row).zip(mean).zip(deviation) {
            *out = (value - mean) / deviation;
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
    fn new(mut layers: Vec<Layer>, mean: &[f32], deviation: &[f32], planes: usize) -> Self {
        let second = (layers.len() == 2)
            .then(|| layers.pop())
            .flatten()
            .map(|layer| (layer.weight.value, layer.bias.value));
        let layer = layers.swap_remove(0);
        let inputs = mean.len();
        let mut first = cpu_values(layer.weight.value);
        let mut bias = cpu_values(layer.bias.value);
        for (row, bias) in first.chunks_exact_mut(inputs).zip(&mut bias) {
            for ((weight, mean), deviation) in row.iter_mut().zip(mean).zip(deviation) {
                *weight /= deviation;
                *bias -= *weight * mean;
            }
        }
        Self { first, bias, second, planes }
    }
}

impl Head for ProbeHead {
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
