//! Partitions by name and pattern.

use kfs_core::format::{PartitionId, Topic};
use kfs_core::{Bucket, Error, ErrorKind, Partition};

use crate::context::Context;
use crate::failure::Outcome;

/// The partitions of a bucket that go by one of these names, without those that are excluded, in order.
///
/// A name is topic/partition, or a topic with all its partitions; `*` stands for any characters and `?` for one.
pub(crate) async fn selected(
    context: &Context,
    bucket: &Bucket,
    names: &[String],
    exclude: &[String],
) -> Outcome<Vec<Partition>> {
    let mut found = Vec::new();
    for name in names {
        let before = found.len();
        add(context, bucket, name, &mut found).await?;
        if found.len() == before {
            let message = format!("nothing in the bucket is called {name}");
            return Err(Error::new(ErrorKind::NotFound, message).with_hint("`kfs ls` lists the topics").into());
        }
    }
    found.sort_by(|one, two| one.id().cmp(two.id()));
    found.dedup_by(|one, two| one.id() == two.id());
    found.retain(|partition| !exclude.iter().any(|name| is_called(partition.id(), name)));
    Ok(found)
}

async fn add(context: &Context, bucket: &Bucket, name: &str, found: &mut Vec<Partition>) -> Outcome {
    let has_pattern = name.contains(['*', '?']);
    if !has_pattern && name.contains('/') {
        let id = PartitionId::parse(name, context.namespace().clone())?;
        found.push(bucket.partition_of(id));
        return Ok(());
    }
    let topics = match has_pattern {
        true => context.within(bucket.topics()).await??,
        false => vec![Topic::new(name)?],
    };
    let topic_pattern = name.split_once('/').map_or(name, |(topic, _)| topic);
    for topic in topics.iter().filter(|topic| matches(topic_pattern, topic.as_str())) {
        let partitions = context.within(bucket.partitions(topic.as_str())).await??;
        found.extend(partitions.into_iter().filter(|partition| is_called(partition.id(), name)));
    }
    Ok(())
}

/// Whether a partition goes by this name: topic/partition or topic, with * for any characters and ? for one.
pub(crate) fn is_called(id: &PartitionId, name: &str) -> bool {
    match name.contains('/') {
        true => matches(name, &id.to_string()),
        false => matches(name, id.topic().as_str()),
    }
}

/// Whether a text matches a pattern in which * stands for any characters and ? for one.
fn matches(pattern: &str, text: &str) -> bool {
    let (mut pattern, mut text) = (pattern.chars(), text.chars());
    // What is left to match after the last *, where it was tried last.
    let mut after_star: Option<(std::str::Chars<'_>, std::str::Chars<'_>)> = None;
    loop {
        let (wanted, found) = (pattern.clone().next(), text.clone().next());
        match (wanted, found) {
            (None, None) => return true,
            (Some('*'), _) => {
                pattern.next();
                after_star = Some((pattern.clone(), text.clone()));
            }
            (Some(wanted), Some(found)) if wanted == '?' || wanted == found => {
                pattern.next();
                text.next();
            }
            _ => {
                // The last * stands for one character more.
                let Some((rest, tried)) = &mut after_star else { return false };
                if tried.next().is_none() {
                    return false;
                }
                (pattern, text) = (rest.clone(), tried.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_as_in_a_shell() {
        for (pattern, text, expected) in [
            ("orders", "orders", true),
            ("orders", "orders2", false),
            ("ord*", "orders", true),
            ("*", "", true),
            ("*-eu", "orders-eu", true),
            ("o?d*s", "orders", true),
            ("a*b*c", "aXbYbc", true),
            ("a*b*c", "aXbYb", false),
            ("?", "", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }
}
