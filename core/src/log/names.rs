//! Partitions of a bucket by name.

use super::bucket::Bucket;
use super::partition::Partition;
use crate::error::{Error, ErrorKind, Result};
use crate::format::{PartitionId, Topic, matches};

impl Bucket {
    /// The partitions of the default namespace that go by one of these names, without those that go by one of `except`;
    /// sorted, each once. What a name is says [`PartitionId::is_called`].
    ///
    /// A name `topic/partition` without a wildcard stands for that partition, whether it exists or not, and costs no request. A
    /// topic costs one LIST per 1,000 partitions; a name with a wildcard costs one per 1,000 topics and as much as each topic
    /// that it names.
    ///
    /// Dropping the future ends the wait. A request that is under way may go on for 30 s.
    ///
    /// # Errors
    /// Not found if a name stands for nothing in the bucket; invalid input if one is not allowed; else what the store answers.
    pub async fn find_partitions<N: AsRef<str>>(&self, names: &[N], except: &[N]) -> Result<Vec<Partition>> {
        let mut found = Vec::new();
        for name in names.iter().map(N::as_ref) {
            let before = found.len();
            self.add_called(name, &mut found).await?;
            if found.len() == before {
                let message = format!("nothing in the bucket is called {name}");
                return Err(Error::new(ErrorKind::NotFound, message).with_hint("`kfs ls` lists the topics"));
            }
        }
        found.sort_by(|one, two| one.id().cmp(two.id()));
        found.dedup_by(|one, two| one.id() == two.id());
        found.retain(|partition| !except.iter().any(|name| partition.id().is_called(name.as_ref())));
        Ok(found)
    }

    async fn add_called(&self, name: &str, found: &mut Vec<Partition>) -> Result<()> {
        let has_wildcard = name.contains(['*', '?']);
        if !has_wildcard && name.contains('/') {
            let id = PartitionId::parse(name, self.options().namespace.clone())?;
            found.push(self.partition_of(id));
            return Ok(());
        }
        let topics = if has_wildcard { self.topics().await? } else { vec![Topic::new(name)?] };
        let wanted = name.split_once('/').map_or(name, |(topic, _)| topic);
        for topic in topics.iter().filter(|topic| matches(wanted, topic.as_str())) {
            let partitions = self.partitions(topic.as_str()).await?;
            found.extend(partitions.into_iter().filter(|partition| partition.id().is_called(name)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
