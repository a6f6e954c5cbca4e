//! The memory of the machine, and what a step of training takes of it.

use crate::encoder::EncoderConfig;

/// Of what is free the batch of a step may take this share by [`bytes_a_pixel`], which is up to three times too little for
/// transformers.
const SHARE: f64 = 1.0 / 3.0;
/// Bytes of a step for each number of the encoder's maps: what its layers and the decoder's keep for the way back. Of 4
/// patches of 256 pixels EfficientNet-Lite0 and MobileNetV2 take about as much, ResNet-50 half, ViT-small 2.7 times.
const BYTES_A_VALUE: f64 = 280.0;

/// Bytes that are free for a training on the processor; `None` where the system does not say.
pub fn free_memory() -> Option<u64> {
    let mut system = sysinfo::System::new();
    system.refresh_memory();
    // A container may have less than its machine.
    let limited = system.cgroup_limits().map(|limits| limits.free_memory);
    let free = Some(system.available_memory()).filter(|bytes| *bytes > 0);
    limited.into_iter().chain(free).min()
}

/// About the bytes that each pixel of a batch takes in a step of training.
pub(super) fn bytes_a_pixel(encoder: &EncoderConfig) -> f64 {
    let maps = encoder.channels().into_iter().zip(encoder.strides());
    BYTES_A_VALUE
        * maps.map(|(channels, stride)| channels as f64 / (stride * stride) as f64).sum::<f64>()
}

/// The pixels of a batch that fit.
pub(super) fn pixels(free: u64, encoder: &EncoderConfig) -> u64 {
    (SHARE * free as f64 / bytes_a_pixel(encoder)) as u64
}
