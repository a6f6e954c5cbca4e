//! Items for training, made ahead on threads of their own.

use std::collections::VecDeque;
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
    /// Items an epoch.
    items: usize,
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
        Ok(Self { source, items, next, device: device.clone(), threads: loaders(threads())? })
    }

    /// The same items each time.
    ///
    /// # Errors
    /// If the system gives no threads.
    pub fn fixed(source: Arc<dyn ItemSource<T>>, items: usize, device: &Device) -> Result<Self> {
        Ok(Self { source, items, next: None, device: device.clone(), threads: loaders(threads())? })
    }

    /// The same on so many threads.
    ///
    /// # Errors
    /// If the system does not give them.
    pub fn with_threads(self, threads: usize) -> Result<Self> {
        Ok(Self { threads: loaders(threads)?, ..self })
    }

    fn like(&self, items: usize, device: &Device) -> Self {
        Self {
            source: Arc::clone(&self.source),
            items,
            next: self.next.clone(),
            device: device.clone(),
            threads: Arc::clone(&self.threads),
        }
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
    /// The next one to begin with, and the one after the last.
    next: u64,
    end: u64,
    done: usize,
    total: usize,
    /// Nobody listens any more: training was stopped.
    stopped: Arc<AtomicBool>,
}

impl<T: Send + 'static> Items<T> {
    /// Begins with the next items, as many as there is room for.
    fn begin(&mut self) {
        while self.next < self.end && self.ahead.len() <= self.threads.len() {
            let (sender, receiver) = sync_channel(1);
            let (source, device) = (Arc::clone(&self.source), self.device.clone());
            let (index, stopped) = (self.next, Arc::clone(&self.stopped));
            let thread = &self.threads[index as usize % self.threads.len()];
            thread.spawn_fifo(move || {
                if !stopped.load(Ordering::Relaxed) {
                    let made = source.item(index, &device).map_err(DatasetError::new);
                    // There is room for one; if the other end is gone, nobody wants it.
                    sender.send(made).ok();
                }
            });
            self.ahead.push_back((index, receiver));
            self.next += 1;
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
        let items = self.items as u64;
        let mut items = Items {
            source: Arc::clone(&self.source),
            device: self.device.clone(),
            threads: Arc::clone(&self.threads),
            ahead: VecDeque::new(),
            next: epoch * items,
            end: (epoch + 1) * items,
            done: 0,
            total: self.items,
            stopped: Arc::default(),
        };
        items.begin();
        Box::new(items)
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
}
