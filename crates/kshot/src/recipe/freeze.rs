//! `model.freeze`: what of the network stays as it is while it trains.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What stays as it is while a network trains: a part for good, or layers of the encoder for a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Freeze {
    /// A part, for good.
    Part(FrozenPart),
    /// Layers of the encoder.
    Layers(FrozenLayers),
}

/// What stays as it is while a network trains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FrozenPart {
    /// Nothing: batch normalisation uses the batch's statistics.
    None,
    /// The statistics of batch normalisation; all parameters learn.
    Norm,
    /// The whole encoder.
    Encoder,
}

/// Which layers of the encoder stay as they are, and how long: their parameters take no gradient, no step and no
/// weight decay, and their batch normalisation goes by its running statistics.
///
/// An encoder's stages are counted from the picture on: for each of its maps what that one needs beyond the finer
/// ones; of transformers the embedding, then each block.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FrozenLayers {
    /// Steps for which the whole encoder stays as it is; then it learns.
    #[schemars(range(min = 0, max = 1_000_000_000))]
    pub encoder_until: usize,
    /// From `encoder_until` on, one more stage of the encoder learns every so many steps, the last stage first
    /// (gradual unfreezing, Howard and Ruder 2018, arXiv 1801.06146); 0: all at once.
    #[schemars(range(min = 0, max = 1_000_000_000))]
    pub stage_every: usize,
    /// So many of the encoder's first stages stay as they are for good.
    #[schemars(range(min = 0, max = 1000))]
    pub stages: usize,
    /// Whether the statistics of batch normalisation stay as they are in the stages that learn, too.
    pub norm: bool,
}

impl FrozenLayers {
    /// How many of an encoder's first stages are frozen at a step, from 0.
    pub fn frozen(&self, step: usize, stages: usize) -> usize {
        if step < self.encoder_until {
            return stages;
        }
        let for_good = self.stages.min(stages);
        match (step - self.encoder_until).checked_div(self.stage_every) {
            Some(more) => stages.saturating_sub(more.saturating_add(1)).max(for_good),
            None => for_good,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_thaw_from_the_last_on() {
        let layers = FrozenLayers { encoder_until: 10, ..FrozenLayers::default() };
        assert_eq!([0, 9, 10, 99].map(|step| layers.frozen(step, 5)), [5, 5, 0, 0]);
        let layers = FrozenLayers { stage_every: 3, stages: 2, ..layers };
        let found = [9, 10, 12, 13, 16, 99].map(|step| layers.frozen(step, 5));
        assert_eq!(found, [5, 4, 4, 3, 2, 2]);
        let layers = FrozenLayers { stages: 3, ..FrozenLayers::default() };
        assert_eq!([layers.frozen(0, 5), layers.frozen(0, 2)], [3, 2]);
        let most = FrozenLayers { encoder_until: 1, stage_every: 1, stages: 1000, norm: true };
        assert_eq!(most.frozen(usize::MAX, 4), 4);
    }
}
