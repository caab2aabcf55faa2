//! `kfs ls`: topics, partitions, segments.

use futures_util::{StreamExt, stream};
use kfs_core::format::{PartitionId, Topic};
use kfs_core::{Bucket, BucketOptions, Error, ErrorKind, Partition, SegmentInfo};
use serde_json::{Value, json};

use crate::args::{LsArgs, check_range};
use crate::context::Context;
use crate::failure::{Failure, Outcome, usage};
use crate::output::{self, Out, Table};
use crate::segment_file::SegmentFile;
use crate::target::Target;
use crate::times;
use crate::units::show_bytes;

/// Questions to the store that are under way at once.
const AT_ONCE: usize = 16;

pub(crate) async fn run(context: &Context, args: LsArgs) -> Outcome {
    let mut list = List { json: args.json, out: Out::new(), unreadable: None };
    let listed = list.run(context, &args).await;
    list.out.flush()?;
    listed?;
    list.unreadable.map_or(Ok(()), |error| Err(Failure::Told(error)))
}

struct List {
    json: bool,
    out: Out,
    /// What went wrong first with something on the list.
    unreadable: Option<Error>,
}

impl List {
    async fn run(&mut self, context: &Context, args: &LsArgs) -> Outcome {
        check_range(args.from, args.to)?;
        let ranged = args.from.is_some() || args.to.is_some();
        let target = match &args.target {
            Some(name) if name.contains('/') || name.ends_with(".kfs") => Target::parse(name, context.namespace())?,
            _ if ranged => {
                return Err(usage("--from and --to choose segments", "name a partition, as topic/partition"));
            }
            Some(topic) => return self.partitions(context, &Topic::new(topic)?).await,
            None => return self.topics(context).await,
        };
        match target {
            Target::File(path) => self.segments(&[of_file(&path)?], &mut segment_table()),
            Target::Partition(id) => {
                let partition = context.bucket(BucketOptions::default())?.partition_of(id);
                self.partition(context, args, &partition).await
            }
        }
    }

    async fn topics(&mut self, context: &Context) -> Outcome {
        let bucket = context.bucket(BucketOptions::default())?;
        let topics = context.within(bucket.topics()).await??;
        let mut table = Table::new(&["<topic", ">partitions"]);
        let counts = stream::iter(topics).map(|topic| count(&bucket, topic)).buffered(AT_ONCE);
        tokio::pin!(counts);
        while let Some(counted) = context.within(counts.next()).await? {
            let (topic, partitions) = counted;
            // A server was sent secrets, and can name a topic by one.
            let topic = bucket.store().redact(topic.as_str());
            let partitions = partitions.map_err(|error| self.unreadable(&format!("topic {topic}"), error)).ok();
            match self.json {
                true => self.out.json(&json!({ "topic": topic, "partitions": partitions }))?,
                false => table.row(&mut self.out, [topic, or_dash(partitions)])?,
            }
        }
        table.end(&mut self.out)
    }

    async fn partitions(&mut self, context: &Context, topic: &Topic) -> Outcome {
        let bucket = context.bucket(BucketOptions::default())?;
        let partitions = context.within(bucket.partitions(topic.as_str())).await??;
        let mut table = Table::new(&["<partition", ">log start", ">high watermark"]);
        let mut any = false;
        let ranges = stream::iter(partitions).map(range).buffered(AT_ONCE);
        tokio::pin!(ranges);
        while let Some((id, range)) = context.within(ranges.next()).await? {
            let range = match range {
                Ok(range) => Some(range),
                // A directory of foreign objects.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => {
                    self.unreadable(&format!("partition {id}"), error);
                    None
                }
            };
            any = true;
            let (start, end) = range.unzip();
            if self.json {
                let number = id.partition();
                let topic = id.topic().as_str();
                self.out
                    .json(&json!({ "topic": topic, "partition": number, "log_start": start, "high_watermark": end }))?;
            } else {
                table.row(&mut self.out, [id.to_string(), or_dash(start), or_dash(end)])?;
            }
        }
        if !any {
            return Err(Error::new(ErrorKind::NotFound, format!("topic {topic} has no partition")).into());
        }
        table.end(&mut self.out)
    }

    /// Says why something on the list can't be read. The list goes on.
    fn unreadable(&mut self, what: &str, error: Error) {
        output::note(&format!("{what}: {error:#}"));
        self.unreadable.get_or_insert(error);
    }

    async fn partition(&mut self, context: &Context, args: &LsArgs, partition: &Partition) -> Outcome {
        let to = args.to.map_or(i64::MAX, |to| to.saturating_sub(1));
        let mut pages = partition.segments(args.from.unwrap_or(0)..=to);
        let mut table = segment_table();
        let (mut any, mut endless) = (false, false);
        while let Some(page) = context.within(pages.next_page()).await?? {
            any = true;
            let rows: Vec<_> = page.iter().map(Row::of).collect();
            endless |= rows.iter().any(|row| row.last.is_none());
            self.segments(&rows, &mut table)?;
        }
        if !any {
            // Empty, or not there?
            context.within(partition.refresh()).await??;
        } else if endless {
            // The newest segment's end can't be read. This says why, unless it is gone or replaced by now.
            if let Err(error) = context.within(partition.refresh()).await? {
                self.unreadable(&format!("partition {}", partition.id()), error);
            }
        }
        Ok(())
    }

    fn segments(&mut self, rows: &[Row], table: &mut Table) -> Outcome {
        for row in rows {
            match self.json {
                true => self.out.json(&row.json())?,
                false => table.row(&mut self.out, row.cells())?,
            }
        }
        table.end(&mut self.out)
    }
}

async fn count(bucket: &Bucket, topic: Topic) -> (Topic, Result<usize, Error>) {
    let partitions = bucket.partitions(topic.as_str()).await;
    (topic, partitions.map(|partitions| partitions.len()))
}

async fn range(partition: Partition) -> (PartitionId, Result<(i64, i64), Error>) {
    let marks = partition.refresh().await;
    (partition.id().clone(), marks.map(|marks| (marks.log_start, marks.high_watermark)))
}

fn segment_table() -> Table {
    Table::new(&[">base offset", ">last offset", ">size", ">index", ">time index", "<modified"])
}

fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_string(), |value| value.to_string())
}

/// A segment on the list.
struct Row {
    key: String,
    base: i64,
    last: Option<i64>,
    bytes: u64,
    modified_ms: Option<i64>,
    index_bytes: Option<u64>,
    time_index_bytes: Option<u64>,
}

impl Row {
    fn of(info: &SegmentInfo) -> Self {
        Row {
            key: info.key.clone(),
            base: info.base,
            last: info.last,
            bytes: info.size,
            modified_ms: Some(info.modified_ms),
            index_bytes: info.index_size,
            time_index_bytes: info.time_index_size,
        }
    }

    fn cells(&self) -> [String; 6] {
        [
            self.base.to_string(),
            or_dash(self.last),
            show_bytes(self.bytes),
            or_dash(self.index_bytes.map(show_bytes)),
            or_dash(self.time_index_bytes.map(show_bytes)),
            or_dash(self.modified_ms.map(times::show)),
        ]
    }

    fn json(&self) -> Value {
        json!({
            "key": self.key,
            "base_offset": self.base,
            "last_offset": self.last,
            "bytes": self.bytes,
            "modified_ms": self.modified_ms,
            "index_bytes": self.index_bytes,
            "time_index_bytes": self.time_index_bytes,
        })
    }
}

fn of_file(path: &std::path::Path) -> Outcome<Row> {
    let mut file = SegmentFile::open(path)?;
    let last = file.claimed_end()?.saturating_sub(1);
    let beside = |extension: &str| std::fs::metadata(path.with_extension(extension)).ok().map(|m| m.len());
    let modified_ms = file.modified().and_then(|time| {
        let since = time.duration_since(std::time::UNIX_EPOCH).ok()?;
        i64::try_from(since.as_millis()).ok()
    });
    Ok(Row {
        key: path.display().to_string(),
        base: file.header().base_offset,
        last: Some(last),
        bytes: file.size(),
        modified_ms,
        index_bytes: beside("index"),
        time_index_bytes: beside("kfst"),
    })
}
