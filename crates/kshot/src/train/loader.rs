//! Items for training, made ahead on a thread of their own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};

use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::data::dataset::DatasetError;
use burn::prelude::*;

use crate::contract::ItemSource;

/// Items made ahead: what bounds the memory that waiting items take.
const AHEAD: usize = 2;

/// Some items between two validations. Epoch `e` of training holds items that no other epoch holds;
/// validation has the same ones each time.
pub struct ItemLoader<T> {
    source: Arc<dyn ItemSource<T>>,
    /// Items an epoch.
    items: usize,
    /// The epoch that comes next, from 0; `None` where all are the same.
    next: Option<Arc<AtomicU64>>,
    device: Device,
}

impl<T> ItemLoader<T> {
    /// Items of training from an epoch on, counted from 0.
    pub fn training(
        source: Arc<dyn ItemSource<T>>,
        items: usize,
        epoch: usize,
        device: &Device,
    ) -> Self {
        let next = Some(Arc::new(AtomicU64::new(epoch as u64)));
        Self { source, items, next, device: device.clone() }
    }

    /// The same items each time.
    pub fn fixed(source: Arc<dyn ItemSource<T>>, items: usize, device: &Device) -> Self {
        Self { source, items, next: None, device: device.clone() }
    }

    fn like(&self, items: usize, device: &Device) -> Self {
        Self {
            source: Arc::clone(&self.source),
            items,
            next: self.next.clone(),
            device: device.clone(),
        }
    }
}

struct Items<T> {
    receiver: Receiver<Result<T, DatasetError>>,
    done: usize,
    total: usize,
}

impl<T> Iterator for Items<T> {
    type Item = Result<T, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.receiver.recv().ok()?;
        self.done += 1;
        Some(item)
    }
}

impl<T> DataLoaderIterator<T> for Items<T> {
    fn progress(&self) -> Progress {
        Progress::new(self.done, self.total, Some("steps".to_owned()))
    }
}

impl<T: Send + 'static> DataLoader<T> for ItemLoader<T> {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<T> + 'a> {
        let epoch = self.next.as_ref().map_or(0, |next| next.fetch_add(1, Ordering::SeqCst));
        let (sender, receiver) = sync_channel(AHEAD);
        let (source, device) = (Arc::clone(&self.source), self.device.clone());
        let items = self.items as u64;
        std::thread::spawn(move || {
            for index in epoch * items..(epoch + 1) * items {
                let made = source.item(index, &device).map_err(DatasetError::new);
                // Nobody listens any more: training was stopped.
                if sender.send(made).is_err() {
                    break;
                }
            }
        });
        Box::new(Items { receiver, done: 0, total: self.items })
    }

    fn num_items(&self) -> usize {
        self.items
    }

    fn to_device(&self, device: &Device) -> Arc<dyn DataLoader<T>> {
        Arc::new(self.like(self.items, device))
    }

    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<T>> {
        Arc::new(self.like(end.saturating_sub(start), &self.device))
    }
}
