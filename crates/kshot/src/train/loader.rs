//! Items for training, made ahead on threads of their own.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};

use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::data::dataset::DatasetError;
use burn::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::contract::ItemSource;
use crate::error::{Error, Result};

/// Threads that items are made on, each a whole item at a time. They are not those of the training steps, so that no step
/// waits at its end for a thread that took up a picture to decode.
fn threads() -> usize {
    let all = rayon::current_num_threads();
    (all / 4).clamp(all.min(2), 4)
}

/// Some items between two validations. Epoch `e` of training holds items that no other epoch holds;
/// validation has the same ones each time. They come in their order, whatever the number of threads.
pub struct ItemLoader<T> {
    source: Arc<dyn ItemSource<T>>,
    /// Items an epoch, of all devices.
    items: usize,
    /// Where the last epoch ends, counted from the first one's first item.
    end: u64,
    /// Devices that take turns at the items of an epoch.
    devices: usize,
    /// The part of an epoch that this loader has: places in the order of [`ItemLoader::index`].
    places: Range<usize>,
    /// The epoch that comes next, from 0; `None` where all are the same.
    next: Option<Arc<AtomicU64>>,
    device: Device,
    threads: Arc<[ThreadPool]>,
}

impl<T> ItemLoader<T> {
    /// Items of training from an epoch on, counted from 0.
    ///
    /// # Errors
    /// If the system gives no threads.
    pub fn training(
        source: Arc<dyn ItemSource<T>>,
        items: usize,
        epoch: usize,
        device: &Device,
    ) -> Result<Self> {
        let next = Some(Arc::new(AtomicU64::new(epoch as u64)));
        let (devices, places) = (1, 0..items);
        let threads = loaders(threads())?;
        let end = u64::MAX;
        Ok(Self { source, items, end, devices, places, next, device: device.clone(), threads })
    }

    /// The same with so many items in all epochs together: the last one ends there.
    #[must_use]
    pub fn until(self, items: usize) -> Self {
        Self { end: items as u64, ..self }
    }

    /// The same for so many devices, of which each has an even slice: one takes items 0, `devices`, 2 `devices` ... of an
    /// epoch, the next those after these, so that the items of one step are neighbours.
    #[must_use]
    pub fn among(self, devices: usize) -> Self {
        Self { devices, ..self }
    }

    /// The same items each time.
    ///
    /// # Errors
    /// If the system gives no threads.
    pub fn fixed(source: Arc<dyn ItemSource<T>>, items: usize, device: &Device) -> Result<Self> {
        Ok(Self { next: None, ..Self::training(source, items, 0, device)? })
    }

    /// The same on so many threads.
    ///
    /// # Errors
    /// If the system does not give them.
    pub fn with_threads(self, threads: usize) -> Result<Self> {
        Ok(Self { threads: loaders(threads)?, ..self })
    }

    /// The same with places of its own and on another device. It counts epochs for itself, since each device walks
    /// through all of them.
    fn like(&self, places: Range<usize>, device: &Device) -> Self {
        let counted = |next: &Arc<AtomicU64>| Arc::new(AtomicU64::new(next.load(Ordering::SeqCst)));
        Self {
            source: Arc::clone(&self.source),
            items: self.items,
            end: self.end,
            devices: self.devices,
            places,
            next: self.next.as_ref().map(counted),
            device: device.clone(),
            threads: Arc::clone(&self.threads),
        }
    }

    /// The item at a place of an epoch: device after device, each with the items that are its turn.
    fn index(items: usize, devices: usize, place: usize) -> usize {
        let turns = items / devices;
        place % turns * devices + place / turns
    }
}

/// Pools of one thread each: what an item does side by side stays on its own thread, and none that waits for a part of one
/// item begins with another, which would bring items late and in bursts.
fn loaders(threads: usize) -> Result<Arc<[ThreadPool]>> {
    let loader = |number: usize| {
        let pool = ThreadPoolBuilder::new()
            .num_threads(1)
            .thread_name(move |_| format!("loader {number}"))
            // Whoever waits for the item is told; without this the process would end.
            .panic_handler(|_| ());
        pool.build().map_err(|error| {
            Error::config(format!(
                "the system gives no {threads} threads to load pictures on ({error}); end other programs, or raise \
                 the limit of threads (ulimit -u)"
            ))
        })
    };
    (0..threads.max(1)).map(loader).collect()
}

type Made<T> = Result<T, DatasetError>;

/// The items of an epoch.
struct Items<T> {
    source: Arc<dyn ItemSource<T>>,
    device: Device,
    threads: Arc<[ThreadPool]>,
    /// The items that wait or are being made, in their order; one more than threads, which bounds the memory they take.
    ahead: VecDeque<(u64, Receiver<Made<T>>)>,
    /// Those to begin with after these.
    left: VecDeque<u64>,
    done: usize,
    total: usize,
    /// Nobody listens any more: training was stopped.
    stopped: Arc<AtomicBool>,
}

impl<T: Send + 'static> Items<T> {
    /// Begins with the next items, as many as there is room for.
    fn begin(&mut self) {
        while self.ahead.len() <= self.threads.len() {
            let Some(index) = self.left.pop_front() else { return };
            let (sender, receiver) = sync_channel(1);
            let (source, device) = (Arc::clone(&self.source), self.device.clone());
            let stopped = Arc::clone(&self.stopped);
            let thread = &self.threads[(self.total - self.left.len()) % self.threads.len()];
            thread.spawn_fifo(move || {
                if !stopped.load(Ordering::Relaxed) {
                    let made = source.item(index, &device).map_err(DatasetError::new);
                    // There is room for one; if the other end is gone, nobody wants it.
                    sender.send(made).ok();
                }
            });
            self.ahead.push_back((index, receiver));
        }
    }
}

impl<T: Send + 'static> Iterator for Items<T> {
    type Item = Made<T>;

    fn next(&mut self) -> Option<Made<T>> {
        let (index, item) = self.ahead.pop_front()?;
        self.begin();
        self.done += 1;
        Some(item.recv().unwrap_or_else(|_| {
            let text = format!(
                "item {index} is missing: its thread panicked, as told above; please report it"
            );
            Err(DatasetError::new(Error::data(text)))
        }))
    }
}

impl<T> Drop for Items<T> {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
    }
}

impl<T: Send + 'static> DataLoaderIterator<T> for Items<T> {
    fn progress(&self) -> Progress {
        Progress::new(self.done, self.total, Some("steps".to_owned()))
    }
}

impl<T: Send + 'static> DataLoader<T> for ItemLoader<T> {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<T> + 'a> {
        let epoch = self.next.as_ref().map_or(0, |next| next.fetch_add(1, Ordering::SeqCst));
        let first = epoch * self.items as u64;
        let index = |place| first + Self::index(self.items, self.devices, place) as u64;
        let left: VecDeque<u64> =
            self.places.clone().map(index).filter(|&index| index < self.end).collect();
        let mut items = Items {
            source: Arc::clone(&self.source),
            device: self.device.clone(),
            threads: Arc::clone(&self.threads),
            total: left.len(),
            left,
            ahead: VecDeque::new(),
            done: 0,
            stopped: Arc::default(),
        };
        items.begin();
        Box::new(items)
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
    use std::sync::atomic::AtomicUsize;
    use std::time::Duration;

    use super::*;

    /// Numbers that take the longer to make the smaller they are among four; 13 cannot be made, 29 ends in a panic.
    #[derive(Default)]
    struct Numbers {
        begun: AtomicUsize,
    }

    impl ItemSource<u64> for Numbers {
        fn item(&self, index: u64, _: &Device) -> Result<u64> {
            self.begun.fetch_add(1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(3 * (3 - index % 4)));
            assert_ne!(index, 29);
            if index == 13 { Err(Error::data("unlucky")) } else { Ok(index * index) }
        }
    }

    fn loader(source: &Arc<Numbers>, threads: usize) -> ItemLoader<u64> {
        let source: Arc<dyn ItemSource<u64>> = Arc::clone(source) as _;
        let loader = ItemLoader::training(source, 12, 0, &Device::flex()).unwrap();
        loader.with_threads(threads).unwrap()
    }

    #[test]
    fn items_come_in_their_order_on_any_number_of_threads() {
        for threads in [1, 2, 5] {
            let source = Arc::new(Numbers::default());
            let loader = loader(&source, threads);
            let first: Vec<u64> = loader.iter().map(|item| item.unwrap()).collect();
            assert!(first.iter().copied().eq((0..12).map(|index| index * index)));
            // The next epoch has the next ones. One is missing and says why, the others come.
            let second: Vec<Made<u64>> = loader.iter().collect();
            assert_eq!(second.len(), 12);
            for (made, index) in second.iter().zip(12..) {
                match made {
                    Ok(square) => assert_eq!(*square, index * index),
                    Err(error) => assert!(index == 13 && error.to_string().contains("unlucky")),
                }
            }
            let third: Vec<Made<u64>> = loader.iter().collect();
            let error = third[5].as_ref().unwrap_err().to_string();
            assert!(third.len() == 12 && error.contains("panicked"), "{error}");
            assert_eq!(third.iter().filter(|made| made.is_ok()).count(), 11);
        }
    }

    #[test]
    fn no_more_items_wait_than_there_is_room_for() {
        let source = Arc::new(Numbers::default());
        let begun = |count: usize| {
            let started = std::time::Instant::now();
            while source.begun.load(Ordering::SeqCst) < count {
                assert!(started.elapsed() < Duration::from_secs(20), "{count} were not begun");
                std::thread::yield_now();
            }
            // Time to begin with one too many.
            std::thread::sleep(Duration::from_millis(30));
            assert_eq!(source.begun.load(Ordering::SeqCst), count);
        };
        let loader = loader(&source, 4);
        let mut items = loader.iter();
        begun(5);
        items.next().unwrap().unwrap();
        begun(6);
        drop(items);
        begun(6);
    }

    /// Each item is its number.
    struct Indices;

    impl ItemSource<u64> for Indices {
        fn item(&self, index: u64, _: &Device) -> Result<u64> {
            Ok(index)
        }
    }

    fn indices(loader: &dyn DataLoader<u64>) -> Vec<u64> {
        loader.iter().map(|item| item.unwrap()).collect()
    }

    #[test]
    fn the_last_epoch_ends_where_all_do() {
        let device = Device::flex();
        let all = || ItemLoader::training(Arc::new(Indices), 6, 0, &device).unwrap();
        let loader = all().until(8);
        assert_eq!((indices(&loader).len(), indices(&loader)), (6, vec![6, 7]));
        assert_eq!(indices(&all().until(4)), [0, 1, 2, 3]);
        let loader = all().among(2).until(4);
        let slices = [(0, 3), (3, 6)].map(|(start, end)| indices(&*loader.slice(start, end)));
        assert_eq!(slices, [vec![0, 2], vec![1, 3]]);
    }

    #[test]
    fn devices_take_turns_and_each_counts_epochs() {
        let device = Device::flex();
        let loader = ItemLoader::training(Arc::new(Indices), 6, 2, &device).unwrap();
        assert_eq!(indices(&loader), (12..18).collect::<Vec<_>>());
        assert_eq!(indices(&loader), (18..24).collect::<Vec<_>>());
        let loader = ItemLoader::training(Arc::new(Indices), 6, 1, &device).unwrap().among(2);
        let [one, other] = [(0, 3), (3, 6)].map(|(start, end)| {
            let slice: Arc<dyn DataLoader<u64>> = loader.slice(start, end).to_device(&device);
            assert_eq!(slice.num_items(), 3);
            slice
        });
        assert_eq!((indices(&*one), indices(&*other)), (vec![6, 8, 10], vec![7, 9, 11]));
        assert_eq!((indices(&*other), indices(&*one)), (vec![13, 15, 17], vec![12, 14, 16]));
    }
}
