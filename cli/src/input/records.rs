//! Records on their way from the input to the writer.

use std::ops::Range;

use kfs_core::format::{NewHeader, NewRecord};

type Span = Range<usize>;

/// Some records. Their bytes stand in one buffer, so that a record costs no allocation.
#[derive(Debug, Default)]
pub(crate) struct Records {
    arena: Vec<u8>,
    records: Vec<Spec>,
    headers: Vec<(Span, Option<Span>)>,
}

#[derive(Debug)]
struct Spec {
    key: Option<Span>,
    value: Option<Span>,
    headers: Span,
    timestamp_ms: Option<i64>,
}

impl Records {
    /// Records that are values only, by their places in `bytes`.
    pub(crate) fn of_values(bytes: Vec<u8>, values: impl IntoIterator<Item = Span>) -> Self {
        let spec = |value| Spec { key: None, value: Some(value), headers: 0..0, timestamp_ms: None };
        Records { arena: bytes, records: values.into_iter().map(spec).collect(), headers: Vec::new() }
    }

    /// A record to be filled in. One that is dropped unfinished is no record.
    pub(crate) fn draft(&mut self) -> Draft<'_> {
        let headers_from = self.headers.len();
        Draft { records: self, key: None, value: None, headers_from, timestamp_ms: None }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    fn bytes(&self, span: &Span) -> &[u8] {
        self.arena.get(span.clone()).unwrap_or_default()
    }

    /// All headers of all records; [`as_new`](Self::as_new) borrows them.
    pub(crate) fn headers(&self) -> Vec<NewHeader<'_>> {
        let header = |(name, value): &(Span, Option<Span>)| (self.bytes(name), value.as_ref().map(|v| self.bytes(v)));
        self.headers.iter().map(header).collect()
    }

    /// The records as the library takes them. Those without a time get `now_ms`.
    pub(crate) fn as_new<'a>(&'a self, headers: &'a [NewHeader<'a>], now_ms: i64) -> Vec<NewRecord<'a>> {
        let new = |spec: &'a Spec| {
            let mut record = NewRecord::new(spec.timestamp_ms.unwrap_or(now_ms));
            record.key = spec.key.as_ref().map(|span| self.bytes(span));
            record.value = spec.value.as_ref().map(|span| self.bytes(span));
            record.headers(headers.get(spec.headers.clone()).unwrap_or_default())
        };
        self.records.iter().map(new).collect()
    }
}

/// A record that is being read.
pub(crate) struct Draft<'a> {
    records: &'a mut Records,
    key: Option<Span>,
    value: Option<Span>,
    headers_from: usize,
    pub(crate) timestamp_ms: Option<i64>,
}

type Fill = Result<(), String>;

impl Draft<'_> {
    fn fill(&mut self, fill: impl FnOnce(&mut Vec<u8>) -> Fill) -> Result<Span, String> {
        let from = self.records.arena.len();
        fill(&mut self.records.arena)?;
        Ok(from..self.records.arena.len())
    }

    pub(crate) fn key(&mut self, fill: impl FnOnce(&mut Vec<u8>) -> Fill) -> Fill {
        self.key = Some(self.fill(fill)?);
        Ok(())
    }

    pub(crate) fn value(&mut self, fill: impl FnOnce(&mut Vec<u8>) -> Fill) -> Fill {
        self.value = Some(self.fill(fill)?);
        Ok(())
    }

    /// Adds a header whose value is null until [`header_value`](Self::header_value) sets it.
    pub(crate) fn header_name(&mut self, fill: impl FnOnce(&mut Vec<u8>) -> Fill) -> Fill {
        let name = self.fill(fill)?;
        self.records.headers.push((name, None));
        Ok(())
    }

    pub(crate) fn header_value(&mut self, fill: impl FnOnce(&mut Vec<u8>) -> Fill) -> Fill {
        let span = self.fill(fill)?;
        if let Some((_, value)) = self.records.headers.last_mut() {
            *value = Some(span);
        }
        Ok(())
    }

    pub(crate) fn finish(self) {
        let headers = self.headers_from..self.records.headers.len();
        let Draft { records, key, value, timestamp_ms, .. } = self;
        records.records.push(Spec { key, value, headers, timestamp_ms });
    }
}
