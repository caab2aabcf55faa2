//! `kfs create`: makes a partition's log without an append.

use kfs_core::BucketOptions;
use kfs_core::format::PartitionId;

use crate::args::CreateArgs;
use crate::context::Context;
use crate::failure::Outcome;

pub(crate) async fn run(context: &Context, args: CreateArgs) -> Outcome {
    let id = PartitionId::parse(&args.partition, context.namespace().clone())?;
    let bucket = context.bucket(BucketOptions::default())?;
    let partition = bucket.partition_of(id);
    Ok(context.within(partition.create(args.start_offset)).await??)
}
