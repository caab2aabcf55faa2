//! `kfs inspect`: an object field by field. It shows what can be shown, however broken the rest is.

mod batch;
mod fields;
mod json_object;
mod segment;
mod sidecar;

use std::path::Path;

use bytes::Bytes;
use kfs_core::format::{Limits, MAX_SEGMENT_LEN, Malformed, PartitionId, Record, RecordIter, Records};
use kfs_core::store::ReadRange;
use kfs_core::text::counted;
use kfs_core::{BucketOptions, Error, ErrorKind};
use serde_json::{Value, json};

use self::batch::Found;
use self::json_object::JsonObject;
use self::segment::Anatomy;
use crate::args::InspectArgs;
use crate::context::Context;
use crate::failure::{Failure, Outcome, usage};
use crate::jsonl;
use crate::output::{Out, Sink};
use crate::segment_file;
use crate::target::is_path;

/// How much of an object is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Overview,
    All,
}

/// What is inspected.
#[derive(Debug)]
struct Object {
    name: String,
    bytes: Bytes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Segment,
    Index,
    TimeIndex,
    LogJson,
    Batches,
}

pub(crate) async fn run(context: &Context, args: InspectArgs) -> Outcome {
    let object = load(context, &args).await?;
    let kind = kind(&object)?;
    let mut out = Out::new();
    if !args.json && args.offset.is_none() {
        out.line(&format!("{} {} ({})", label(kind), object.name, counted(object.bytes.len(), "byte")))?;
    }
    let sound = match kind {
        Kind::Segment => anatomy(&args, &object, kind, &segment::segment(&object.bytes), &mut out)?,
        Kind::Batches => anatomy(&args, &object, kind, &segment::batches(&object.bytes), &mut out)?,
        _ if args.offset.is_some() => {
            return Err(usage(format!("{} holds no batches", object.name), "--offset is for segments and batches"));
        }
        Kind::Index => side(&args, &object, kind, &sidecar::index(&object.bytes, args.all), &mut out)?,
        Kind::TimeIndex => side(&args, &object, kind, &sidecar::time_index(&object.bytes), &mut out)?,
        Kind::LogJson => side(&args, &object, kind, &sidecar::log_json(&object.bytes), &mut out)?,
    };
    out.flush()?;
    if sound { Ok(()) } else { Err(Failure::Findings) }
}

/// Reads a file, an object of the bucket, or the batch of a partition that holds an offset.
async fn load(context: &Context, args: &InspectArgs) -> Outcome<Object> {
    let path = Path::new(&args.object);
    // What is there and is no regular file is refused by name.
    if path.is_file() || is_path(&args.object) {
        return Ok(Object { name: args.object.clone(), bytes: segment_file::read(path)? });
    }
    let bucket = match context.bucket(BucketOptions::default()) {
        Ok(bucket) => bucket,
        // Without a bucket it can only have been meant as a path.
        Err(_) if !context.has_bucket() => {
            return Err(Error::new(ErrorKind::NotFound, format!("there is no file {}", args.object))
                .with_hint("for a key, or a partition with --offset, use --bucket URL or set KFS_BUCKET")
                .into());
        }
        Err(failure) => return Err(failure),
    };
    if let (Some(offset), Ok(id)) = (args.offset, PartitionId::parse(&args.object, context.namespace().clone())) {
        let reader = bucket.partition_of(id).reader();
        let fetch = context.within(reader.fetch(offset, 1)).await??;
        let Some(batch) = fetch.batches().next().transpose().map_err(Error::from)? else {
            return Err(Error::new(ErrorKind::OutOfRange, format!("there is no batch at offset {offset}"))
                .with_log_range(fetch.log_start, fetch.high_watermark)
                .into());
        };
        return Ok(Object { name: args.object.clone(), bytes: batch.bytes().clone() });
    }
    let fetched = context.within(bucket.store().get(&args.object, ReadRange::AtMost(MAX_SEGMENT_LEN), None)).await?;
    let fetched = fetched.map_err(|error| match error.kind() {
        ErrorKind::NotFound => error.with_hint("name a file, or a whole key as in default/orders/0/log.json"),
        _ => error,
    })?;
    Ok(Object { name: args.object.clone(), bytes: fetched.bytes })
}

/// By the first bytes; where these say nothing, by the name, for a broken object is inspected too.
fn kind(object: &Object) -> Outcome<Kind> {
    const MAGIC_AT: usize = 16;
    let name = &object.name;
    Ok(match object.bytes.get(..4) {
        Some(b"KAFS") => Kind::Segment,
        Some(b"IDX\0") => Kind::Index,
        Some(b"KFTF") => Kind::TimeIndex,
        _ if name.ends_with(".kfs") => Kind::Segment,
        _ if name.ends_with(".index") => Kind::Index,
        _ if name.ends_with(".kfst") => Kind::TimeIndex,
        _ if name.ends_with("log.json") => Kind::LogJson,
        _ if object.bytes.get(MAGIC_AT) == Some(&2) => Kind::Batches,
        _ => {
            return Err(usage(
                format!("{name} is no segment, index, time index, log.json or record batch"),
                "segments begin with KAFS, indexes with IDX, time indexes with KFTF",
            ));
        }
    })
}

fn label(kind: Kind) -> &'static str {
    match kind {
        Kind::Segment => "segment",
        Kind::Index => "index",
        Kind::TimeIndex => "time_index",
        Kind::LogJson => "log.json",
        Kind::Batches => "batches",
    }
}

/// A JSON object that begins with what kind of object this is.
fn named<'a>(kind: Kind, object: &Object, out: &'a mut Out) -> Outcome<JsonObject<'a>> {
    let mut json = JsonObject::begin(out)?;
    json.member("kind", &json!(label(kind)))?;
    json.member("name", &json!(object.name))?;
    json.member("bytes", &json!(object.bytes.len()))?;
    Ok(json)
}

fn side(args: &InspectArgs, object: &Object, kind: Kind, sidecar: &sidecar::Sidecar, out: &mut Out) -> Outcome<bool> {
    if args.json {
        let mut json = named(kind, object, out)?;
        sidecar.write_json(&mut json)?;
        json.end()?;
    } else {
        sidecar.print(out)?;
    }
    Ok(sidecar.is_sound())
}

fn anatomy(args: &InspectArgs, object: &Object, kind: Kind, anatomy: &Anatomy, out: &mut Out) -> Outcome<bool> {
    let Some(offset) = args.offset else {
        if args.json {
            let mut json = named(kind, object, out)?;
            anatomy.write_json(&mut json)?;
            json.end()?;
        } else {
            anatomy.print(if args.all { Wanted::All } else { Wanted::Overview }, out)?;
        }
        return Ok(anatomy.is_sound());
    };
    let Some(found) = anatomy.holding(offset) else {
        return Err(Error::new(ErrorKind::OutOfRange, format!("no batch of {} holds offset {offset}", object.name))
            .with_hint("without --offset the batches are listed")
            .into());
    };
    one_batch(args, object, &found, out)
}

/// A batch field by field, and its records, one by one.
fn one_batch(args: &InspectArgs, object: &Object, found: &Found, out: &mut Out) -> Outcome<bool> {
    let limits = Limits::default().max_decompressed_batch(args.max_decompressed);
    let decompressed = found.batch().and_then(|batch| batch.records(&limits));
    let mut records = Readable::of(found, &decompressed);
    let control = found.header.attributes.is_control();
    if args.json {
        let mut json = JsonObject::begin(out)?;
        json.members(&Value::Object(batch::json(found)))?;
        json.raw_array("records", |item| match records.next() {
            Some(record) => jsonl::write_object(&record, control, args.encoding, item.begin()?).map(|()| true),
            None => Ok(false),
        })?;
        json.member("problem", &json!(records.problem))?;
        json.end()?;
    } else {
        let title = format!("batch at byte {} of {} ({} bytes)", found.position, object.name, found.bytes.len());
        batch::fields(found, title).print(out)?;
        out.line("records")?;
        while let Some(record) = records.next() {
            jsonl::write_object(&record, control, args.encoding, out)?;
            out.bytes(b"\n")?;
        }
        if let Some(problem) = &records.problem {
            out.line(&format!("problem: {problem}"))?;
        }
    }
    Ok(found.crc_holds() && records.problem.is_none())
}

/// A batch's records, as far as they can be read.
struct Readable<'a> {
    records: Option<RecordIter<'a>>,
    position: u64,
    problem: Option<String>,
}

impl<'a> Readable<'a> {
    fn of(found: &Found, records: &'a Result<Records, Malformed>) -> Self {
        let mut readable = Readable { records: None, position: found.position, problem: None };
        match records {
            Ok(records) => readable.records = Some(records.iter()),
            Err(malformed) => readable.fail(malformed.clone()),
        }
        readable
    }

    fn fail(&mut self, malformed: Malformed) {
        self.problem = Some(malformed.offset_position(self.position).to_string());
        self.records = None;
    }

    fn next(&mut self) -> Option<Record<'a>> {
        match self.records.as_mut()?.next()? {
            Ok(record) => Some(record),
            Err(malformed) => {
                self.fail(malformed);
                None
            }
        }
    }
}
