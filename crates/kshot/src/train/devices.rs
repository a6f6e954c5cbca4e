//! One training on several devices: each takes a share of every batch, and the gradients are averaged.
//!
//! A step is that of one device whose batch comes in as many shares ([`ItemSource::shared`]), whose gradients are added
//! up and divided: the very pictures, the very changes to them. Batch normalisation takes the statistics of each share,
//! as in PyTorch's `DistributedDataParallel`, and its running averages are the means of the devices'.

use std::sync::Arc;

use burn::prelude::Device;
use burn::train::{ExecutionStrategy, MultiDeviceOptim};

use crate::contract::ItemSource;
use crate::error::{Error, Result};

/// A source whose items come in shares, one a device.
///
/// # Errors
/// If a batch cannot be cut into as many equal shares.
pub fn shared<T>(
    source: Arc<dyn ItemSource<T>>,
    devices: usize,
    batch: usize,
) -> Result<Arc<dyn ItemSource<T>>> {
    if devices <= 1 {
        return Ok(source);
    }
    source.shared(devices).ok_or_else(|| {
        let (less, more) = (batch / devices * devices, batch.next_multiple_of(devices));
        let valid = if less > 0 && less < more { format!("{less} or {more}") } else { more.to_string() };
        Error::config(format!(
            "a batch of {batch} cannot be cut into {devices} equal shares, one a device; write {valid}, or give another \
             number of devices"
        ))
        .at_key("train.batch")
    })
}

/// How burn-train's loop uses devices: the first holds the optimiser and validates.
pub fn strategy(first: Device, others: &[Device]) -> ExecutionStrategy {
    if others.is_empty() {
        return ExecutionStrategy::single(first);
    }
    let others = others.iter().map(|device| device.clone().autodiff());
    let devices = std::iter::once(first).chain(others).collect();
    ExecutionStrategy::multi(devices, MultiDeviceOptim::OptimMainDevice)
}
