//! Items for training, made ahead on a thread of their own.

use std::ops::Range;
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
    /// Items an epoch, of all devices.
    items: usize,
    /// Devices that take turns at the items of an epoch.
    devices: usize,
    /// The part of an epoch that this loader has: places in the order of [`ItemLoader::index`].
    places: Range<usize>,
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
        let (devices, places) = (1, 0..items);
        Self { source, items, devices, places, next, device: device.clone() }
    }

    /// The same for so many devices, of which each has an even slice: one takes items 0, `devices`, 2 `devices` ... of an
    /// epoch, the next those after these, so that the items of one step are neighbours.
    #[must_use]
    pub fn among(self, devices: usize) -> Self {
        Self { devices, ..self }
    }

    /// The same items each time.
    pub fn fixed(source: Arc<dyn ItemSource<T>>, items: usize, device: &Device) -> Self {
        let (devices, places) = (1, 0..items);
        Self { source, items, devices, places, next: None, device: device.clone() }
    }

    /// The same with places of its own and on another device. It counts epochs for itself, since each device walks
    /// through all of them.
    fn like(&self, places: Range<usize>, device: &Device) -> Self {
        let counted = |next: &Arc<AtomicU64>| Arc::new(AtomicU64::new(next.load(Ordering::SeqCst)));
        Self {
            source: Arc::clone(&self.source),
            items: self.items,
            devices: self.devices,
            places,
            next: self.next.as_ref().map(counted),
            device: device.clone(),
        }
    }

    /// The item at a place of an epoch: device after device, each with the items that are its turn.
    fn index(items: usize, devices: usize, place: usize) -> usize {
        let turns = items / devices;
        place % turns * devices + place / turns
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
        let (items, devices, places) = (self.items, self.devices, self.places.clone());
        std::thread::spawn(move || {
            for place in places {
                let index = epoch * items as u64 + Self::index(items, devices, place) as u64;
                let made = source.item(index, &device).map_err(DatasetError::new);
                // Nobody listens any more: training was stopped.
                if sender.send(made).is_err() {
                    break;
                }
            }
        });
        Box::new(Items { receiver, done: 0, total: self.places.len() })
    }

    fn num_items(&self) -> usize {
        self.places.len()
    }

    fn to_device(&self, device: &Device) -> Arc<dyn DataLoader<T>> {
        Arc::new(self.like(self.places.clone(), device))
    }

    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<T>> {
        let at = |place: usize| (self.places.start + place).min(self.places.end);
        Arc::new(self.like(at(start)..at(end).max(at(start)), &self.device))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Result;

    struct Numbers;

    impl ItemSource<u64> for Numbers {
        fn item(&self, index: u64, _: &Device) -> Result<u64> {
            Ok(index)
        }
    }

    fn items(loader: &dyn DataLoader<u64>) -> Vec<u64> {
        loader.iter().map(|item| item.unwrap()).collect()
    }

    #[test]
    fn devices_take_turns_and_each_counts_epochs() {
        let device = Device::flex();
        let loader = ItemLoader::training(Arc::new(Numbers), 6, 2, &device);
        assert_eq!(items(&loader), (12..18).collect::<Vec<_>>());
        assert_eq!(items(&loader), (18..24).collect::<Vec<_>>());
        let loader = ItemLoader::training(Arc::new(Numbers), 6, 1, &device).among(2);
        let [one, other] = [(0, 3), (3, 6)].map(|(start, end)| {
            let slice: Arc<dyn DataLoader<u64>> = loader.slice(start, end).to_device(&device);
            assert_eq!(slice.num_items(), 3);
            slice
        });
        assert_eq!((items(&*one), items(&*other)), (vec![6, 8, 10], vec![7, 9, 11]));
        assert_eq!((items(&*other), items(&*one)), (vec![13, 15, 17], vec![12, 14, 16]));
    }
}
