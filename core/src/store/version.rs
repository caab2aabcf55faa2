//! What tells one state of an object from another.

use std::fmt;
use std::sync::Arc;

use object_store::UpdateVersion;

/// One state of an object, by what its store says of it: the ETag, the generation, the size, the time.
///
/// | store | ETag | generation | what [`Store::replace_if`](super::Store::replace_if) compares |
/// |---|---|---|---|
/// | directory | inode, modification time and size | none | the ETag |
/// | memory | a number of its own for each write | none | the ETag |
/// | S3 | of the bytes, as a rule: equal bytes may have equal ETags | the version id, in a bucket with versions | the ETag |
/// | Azure | a value of its own for each write | the version id, in an account with versions | the ETag |
/// | GCS | of the bytes, as a rule | a number of its own for each write | the generation |
///
/// Listings tell no generation. So read an object before you replace it on a store that compares generations.
///
/// [`same_as`](Self::same_as) never compares the generation where both have an ETag. A version from a listing must equal
/// that of a GET, and an object that was written again with the same bytes has not changed for whoever reads it.
#[derive(Clone)]
pub struct Version {
    /// The ETag as the store gave it. It is shared, because a version is copied with every lookup and every block that
    /// is held.
    e_tag: Option<Arc<str>>,
    generation: Option<Arc<str>>,
    size: u64,
    modified_ms: Option<i64>,
}

impl Version {
    /// A version of its parts. The ETag may be given as a header or a listing shows it: with or
    /// without quotes and `W/`. The time is Unix time in milliseconds; an answer to a PUT has none.
    ///
    /// An ETag that no header can hold is taken for none: it could not be sent back.
    pub fn new(e_tag: Option<&str>, size: u64, modified_ms: Option<i64>) -> Self {
        let e_tag = e_tag.filter(|e_tag| e_tag.bytes().all(|b| (b' '..=b'~').contains(&b)));
        Version { e_tag: e_tag.map(Into::into), generation: None, size, modified_ms }
    }

    /// Adds what the store calls the object's generation (GCS) or version id (S3, Azure).
    #[must_use]
    pub fn with_generation(mut self, generation: Option<&str>) -> Self {
        self.generation = generation.map(Into::into);
        self
    }

    /// The ETag without `W/` and quotes: Azure quotes it in headers and not in listings.
    pub fn e_tag(&self) -> Option<&str> {
        self.e_tag.as_deref().map(bare)
    }

    /// The ETag as the store gave it: what a version is made of again.
    pub(crate) fn raw_e_tag(&self) -> Option<&str> {
        self.e_tag.as_deref()
    }

    /// What the store calls the object's generation (GCS) or version id (S3, Azure); `None` where the store did not say
    /// (listings).
    pub fn generation(&self) -> Option<&str> {
        self.generation.as_deref()
    }

    /// The object's size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// When the object was last modified by the store's own clock, in Unix milliseconds; `None`
    /// where the store did not say (the answer to a PUT).
    pub fn modified_ms(&self) -> Option<i64> {
        self.modified_ms
    }

    /// Whether both are the same state of the same object, for whoever reads its bytes. The sizes must be equal. Then the
    /// first of these decides that both have: the ETag, the generation, the time. Where they have none of these in
    /// common, the size alone decides.
    ///
    /// A time in whole seconds (HTTP headers) matches any time within that second (listings).
    pub fn same_as(&self, other: &Version) -> bool {
        if self.size != other.size {
            return false;
        }
        match (&self.e_tag, &other.e_tag) {
            // Copies of one version, as they are compared at every step of reading.
            (Some(one), Some(two)) if Arc::ptr_eq(one, two) => return true,
            (Some(one), Some(two)) => return bare(one) == bare(two),
            _ => {}
        }
        if let (Some(one), Some(two)) = (&self.generation, &other.generation) {
            return one == two;
        }
        match (self.modified_ms, other.modified_ms) {
            (Some(one), Some(two)) => {
                let whole = one.rem_euclid(1000) == 0 || two.rem_euclid(1000) == 0;
                one == two || (whole && one.div_euclid(1000) == two.div_euclid(1000))
            }
            _ => true,
        }
    }

    /// The value for If-Match: as the store itself gave it, so that a store that compares plain
    /// text sees its own; quoted where `quote` says that it goes into a header.
    pub(crate) fn if_match(&self, quote: bool) -> Option<String> {
        let e_tag = self.e_tag.as_deref()?;
        let strong = e_tag.strip_prefix("W/").unwrap_or(e_tag);
        Some(if quote && !strong.starts_with('"') { format!("\"{strong}\"") } else { strong.to_string() })
    }

    /// The condition of a replace, of which each store compares its own part. `None` where there is nothing to compare.
    pub(crate) fn condition(&self, quote: bool) -> Option<UpdateVersion> {
        let condition = UpdateVersion { e_tag: self.if_match(quote), version: self.generation().map(str::to_string) };
        (condition.e_tag.is_some() || condition.version.is_some()).then_some(condition)
    }
}

/// An ETag without `W/` and quotes.
fn bare(e_tag: &str) -> &str {
    let bare = e_tag.strip_prefix("W/").unwrap_or(e_tag);
    bare.strip_prefix('"').and_then(|inner| inner.strip_suffix('"')).unwrap_or(bare)
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Version({}, {} bytes", self.e_tag().unwrap_or("no ETag"), self.size)?;
        if let Some(generation) = self.generation() {
            write!(f, ", generation {generation}")?;
        }
        if let Some(ms) = self.modified_ms {
            write!(f, ", modified {ms}")?;
        }
        write!(f, ")")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(one: &Version, two: &Version) -> bool {
        assert_eq!(one.same_as(two), two.same_as(one));
        one.same_as(two)
    }

    #[test]
    fn versions_are_compared_by_e_tag_else_by_generation_else_by_time() {
        let version = |e_tag, size, ms| Version::new(e_tag, size, ms);
        assert!(same(&version(Some("\"a\""), 1, Some(5)), &version(Some("a"), 1, Some(6))));
        assert!(same(&version(Some("W/\"a\""), 1, None), &version(Some("a"), 1, Some(6))));
        assert!(!same(&version(Some("a"), 1, Some(5)), &version(Some("b"), 1, Some(5))));
        assert!(!same(&version(Some("a"), 1, None), &version(Some("a"), 2, None)));
        assert!(same(&version(None, 1, Some(5123)), &version(Some("a"), 1, Some(5123))));
        assert!(same(&version(None, 1, Some(5000)), &version(None, 1, Some(5123))));
        assert!(!same(&version(None, 1, Some(5001)), &version(None, 1, Some(5123))));
        assert!(!same(&version(None, 1, Some(5000)), &version(None, 1, Some(6000))));
        assert!(same(&version(None, 1, None), &version(None, 1, Some(6000))));
        let generation = |e_tag, generation| Version::new(e_tag, 1, Some(5)).with_generation(generation);
        assert!(!same(&generation(None, Some("7")), &generation(None, Some("8"))));
        assert!(!same(&generation(Some("a"), Some("7")), &generation(None, Some("8"))));
        assert!(same(&generation(Some("a"), Some("7")), &generation(Some("a"), None)), "of a GET, and of a listing");
        assert!(same(&generation(Some("a"), Some("7")), &generation(Some("a"), Some("8"))), "the same bytes again");
        assert!(!same(&generation(Some("a"), Some("7")), &generation(Some("b"), Some("7"))));
    }

    #[test]
    fn an_e_tag_that_no_header_can_hold_is_none() {
        for e_tag in ["a\u{1}b", "a\nb", "\u{7f}", "ü"] {
            let version = Version::new(Some(e_tag), 1, Some(5));
            assert_eq!((version.e_tag(), version.if_match(true)), (None, None), "{e_tag:?}");
            assert!(!same(&version, &Version::new(None, 1, Some(6))), "the time decides then");
        }
    }

    #[test]
    fn a_condition_has_what_the_store_said_of_the_version() {
        let condition = |version: &Version, quote| {
            let condition = version.condition(quote)?;
            Some((condition.e_tag, condition.version))
        };
        let version = Version::new(Some("W/\"a\""), 1, None).with_generation(Some("7"));
        assert_eq!(condition(&version, false), Some((Some("\"a\"".into()), Some("7".into()))));
        let listed = Version::new(Some("a"), 1, None);
        assert_eq!(condition(&listed, true), Some((Some("\"a\"".into()), None)));
        assert_eq!(condition(&listed, false), Some((Some("a".into()), None)));
        assert_eq!(condition(&Version::new(None, 1, Some(5)), true), None);
        assert_eq!(format!("{version:?}"), "Version(a, 1 bytes, generation 7)");
    }
}
