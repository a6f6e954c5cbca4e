//! Episodes for training, made ahead on a thread of their own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};

use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::data::dataset::DatasetError;
use burn::prelude::*;

use crate::data::batch::{Episode, EpisodeSource};

/// Items made ahead.
const AHEAD: usize = 2;

/// Some episodes a step, some steps an epoch. Epoch `e` of training holds episodes that no other epoch
/// holds; validation has the same ones each time.
pub struct EpisodeLoader<const R: usize> {
    tasks: Arc<dyn EpisodeSource<R>>,
    /// Episodes an item.
    batch: usize,
    /// Items an epoch.
    items: usize,
    /// The epoch that comes next, from 0; `None` where all are the same.
    next: Option<Arc<AtomicU64>>,
    device: Device,
}

impl<const R: usize> EpisodeLoader<R> {
    /// Episodes of training from an epoch on, counted from 0.
    pub fn training(
        tasks: Arc<dyn EpisodeSource<R>>,
        [batch, items]: [usize; 2],
        epoch: usize,
        device: &Device,
    ) -> Self {
        let next = Some(Arc::new(AtomicU64::new(epoch as u64)));
        Self { tasks, batch, items, next, device: device.clone() }
    }

    /// The same episodes each time, one an item.
    pub fn fixed(tasks: Arc<dyn EpisodeSource<R>>, episodes: usize, device: &Device) -> Self {
        Self { tasks, batch: 1, items: episodes, next: None, device: device.clone() }
    }

    fn like(&self, items: usize, device: &Device) -> Self {
        Self {
            tasks: Arc::clone(&self.tasks),
            batch: self.batch,
            items,
            next: self.next.clone(),
            device: device.clone(),
        }
    }
}

struct Items<const R: usize> {
    receiver: Receiver<Result<Vec<Episode<R>>, DatasetError>>,
    done: usize,
    total: usize,
}

impl<const R: usize> Iterator for Items<R> {
    type Item = Result<Vec<Episode<R>>, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.receiver.recv().ok()?;
        self.done += 1;
        Some(item)
    }
}

impl<const R: usize> DataLoaderIterator<Vec<Episode<R>>> for Items<R> {
    fn progress(&self) -> Progress {
        Progress::new(self.done, self.total, Some("steps".to_owned()))
    }
}

impl<const R: usize> DataLoader<Vec<Episode<R>>> for EpisodeLoader<R> {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<Vec<Episode<R>>> + 'a> {
        let epoch = self.next.as_ref().map_or(0, |next| next.fetch_add(1, Ordering::SeqCst));
        let (sender, receiver) = sync_channel(AHEAD);
        let (tasks, device) = (Arc::clone(&self.tasks), self.device.clone());
        let (batch, items) = (self.batch as u64, self.items as u64);
        std::thread::spawn(move || {
            for item in 0..items {
                let first = (epoch * items + item) * batch;
                let made: Result<Vec<Episode<R>>, DatasetError> = (first..first + batch)
                    .map(|index| tasks.episode(index, &device).map_err(DatasetError::new))
                    .collect();
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

    fn to_device(&self, device: &Device) -> Arc<dyn DataLoader<Vec<Episode<R>>>> {
        Arc::new(self.like(self.items, device))
    }

    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<Vec<Episode<R>>>> {
        Arc::new(self.like(end.saturating_sub(start), &self.device))
    }
}
