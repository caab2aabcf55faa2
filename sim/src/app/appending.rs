//! Appending: what is appended, by which call, and what the oracle is told of it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use kfs_core::format::{Batch, BatchBuilder, BatchOptions, Codec, NewRecord};
use kfs_core::runtime::Clock;
use kfs_core::{Admission, Append, ErrorKind, Interest, Offsets, Result};

use super::{App, PAST_OUTAGES, limited};
use crate::config::pick;
use crate::host::Host;
use crate::oracle::{Content, Image, brief, value};

impl App {
    pub(super) async fn burst(&mut self, at: usize) {
        for _ in 0..=self.prng.below(6) {
            if self.one_in(2) {
                self.append_batches(at)
            } else {
                self.append_records(at)
            }
            if self.one_in(8) {
                self.host.clock.sleep(Duration::from_millis(self.prng.below(50))).await;
            }
        }
    }

    /// Appends one after another, each when the one before is durable: an owner that leaves a claimant no slot.
    pub(super) async fn busy(&mut self, at: usize) {
        let pause = self.prng.below(40);
        for _ in 0..60 {
            if self.writers[at].writer.failure().is_some() {
                return;
            }
            self.append_records(at);
            let Some((_, append)) = self.writers[at].appends.last().cloned() else { return };
            self.limited(Duration::from_secs(60), append.durable()).await;
            self.host.clock.sleep(Duration::from_millis(pause)).await;
        }
    }

    fn batches(&mut self, payload: usize) -> Vec<Batch> {
        let timestamps = [self.timestamp(), self.timestamp(), self.timestamp()];
        let filler = self.host.world.config.filler();
        let prng = &mut self.prng;
        let codec = pick(prng, &[Codec::None, Codec::None, Codec::None, Codec::Lz4, Codec::Zstd]);
        let (count, mut place) = (1 + prng.below(3), 0);
        let mut batches = Vec::new();
        for at in 0..count {
            let options = BatchOptions::default().compression(codec);
            if at > 0 && prng.one_in(4) {
                // What compaction leaves: a range of offsets without a record.
                let delta = prng.below(5) as i32;
                batches.push(BatchBuilder::empty_batch(0, delta, &options).expect("an empty batch"));
                continue;
            }
            let mut builder = BatchBuilder::new(options);
            for _ in 0..=prng.below(4) {
                let value = value(payload, place, prng.below(filler) as usize);
                let timestamp = pick(prng, &timestamps);
                builder.push(&NewRecord::new(timestamp).value(&value)).expect("a small record");
                place += 1;
            }
            batches.push(builder.finish(0).expect("records that fit"));
        }
        batches
    }

    pub(super) fn append_batches(&mut self, at: usize) {
        let twins = self.host.world.config.twins;
        let (payload, batches) = match &self.shared {
            Some(shared) if twins && self.prng.one_in(2) => shared.clone(),
            _ => {
                let payload = self.host.world.oracle().payload();
                (payload, self.batches(payload))
            }
        };
        if twins {
            self.shared = Some((payload, batches.clone()));
        }
        let content = Content::Batches(batches.clone());
        let bytes: Bytes = batches.iter().flat_map(|b| b.bytes().to_vec()).collect::<Vec<u8>>().into();
        let number = self.begin(at, Some(payload), content);
        let writer = self.writers[at].writer.clone();
        if self.one_in(4) {
            let tried = writer.try_append_batches(bytes);
            self.entered(at, number, tried);
        } else {
            let admission = writer.append_batches(bytes);
            self.admit(at, number, admission);
        }
    }

    fn append_records(&mut self, at: usize) {
        let payload = self.host.world.oracle().payload();
        let count = 1 + self.prng.below(4);
        let filler = self.host.world.config.filler();
        let mut images = Vec::new();
        for offset in 0..count {
            let value = value(payload, offset as usize, self.prng.below(filler) as usize);
            let timestamp = self.timestamp();
            let key = self.prng.one_in(3).then(|| Bytes::from_static(b"k"));
            images.push(Image { offset: offset as i64, timestamp, key, value: Some(value.into()) });
        }
        let number = self.begin(at, Some(payload), Content::Records(images.clone()));
        let records: Vec<NewRecord<'_>> = images
            .iter()
            .map(|image| {
                let record = NewRecord::new(image.timestamp).value(image.value.as_deref().unwrap_or_default());
                image.key.as_deref().map_or(record, |key| record.key(key))
            })
            .collect();
        let writer = self.writers[at].writer.clone();
        if self.one_in(4) {
            let tried = writer.try_append(&records);
            self.entered(at, number, tried);
        } else {
            let admission = writer.append(&records);
            self.admit(at, number, admission);
        }
    }

    pub(super) fn begin(&mut self, at: usize, payload: Option<usize>, content: Content) -> usize {
        let writer = self.writers[at].number;
        let count = content.count();
        let number = self.host.world.oracle().append(writer, payload, content);
        self.note(format_args!("writer {writer}: append {number}, {count} offsets, payload {payload:?}"));
        number
    }

    /// An append that is in, or was refused at once.
    fn entered(&mut self, at: usize, number: usize, tried: Result<Append>) {
        match tried {
            Ok(append) => {
                let interest = if self.one_in(3) { Interest::Waits } else { Interest::Observes };
                follow(&self.host, number, interest, &append);
                self.writers[at].appends.push((number, append));
            }
            Err(error) => settled(&self.host, number, Err(error)),
        }
    }

    /// An append that may have to wait for room.
    fn admit(&mut self, at: usize, number: usize, mut admission: Admission) {
        if let Some(result) = (&mut admission).now_or_never() {
            return self.entered(at, number, result);
        }
        if self.one_in(5) {
            match admission.take_back() {
                None => taken_back(&self.host, number),
                Some(result) => self.entered(at, number, result),
            }
            return;
        }
        let host = self.host.clone();
        // Either it gives up after a while, or it gets in at last, whatever else is stuck.
        let gives_up = self.one_in(3);
        let limit = if gives_up { Duration::from_millis(self.prng.below(60_000)) } else { PAST_OUTAGES };
        self.host.runtime.spawn(async move {
            let entered = match limited(&host, limit, &mut admission).await {
                Some(entered) => entered,
                None if gives_up => match admission.take_back() {
                    Some(entered) => entered,
                    None => return taken_back(&host, number),
                },
                None => return host.world.fail(format!("append {number} waits for room for ever")),
            };
            match entered {
                Ok(append) => follow(&host, number, Interest::Waits, &append),
                Err(error) => settled(&host, number, Err(error)),
            }
        });
    }

    /// A batch for a partition that takes none.
    pub(super) fn stuck_bytes(&mut self) -> Bytes {
        let payload = self.host.world.oracle().payload();
        self.batches(payload).iter().flat_map(|b| b.bytes().to_vec()).collect::<Vec<u8>>().into()
    }
}

/// An append that is in the writer's queue.
fn follow(host: &Arc<Host>, number: usize, interest: Interest, append: &Append) {
    host.world.oracle().entered(number);
    let told = host.clone();
    append.on_settled(interest, move |result| settled(&told, number, result));
}

pub(super) fn settled(host: &Host, number: usize, result: Result<Offsets>) {
    if host.life.is_dead() {
        return;
    }
    let world = &host.world;
    match &result {
        Ok(offsets) => world.note(format_args!("append {number} is durable at {} to {}", offsets.base, offsets.last)),
        Err(error) => world.note(format_args!("append {number} failed: {}", brief(error))),
    }
    world.judge(|oracle| oracle.settled(&world.store, number, &result));
}

fn taken_back(host: &Host, number: usize) {
    let error = kfs_core::Error::new(ErrorKind::Closed, "taken back").with_stored(kfs_core::Stored::Not);
    settled(host, number, Err(error));
}
