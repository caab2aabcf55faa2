//! What is to be said of an input beside its records.

use kfs_core::text::counted;

use crate::output;

/// What was passed over or changed on the way.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Found {
    /// Control records that were passed over.
    pub(super) control_skipped: u64,
    /// Places where a batch's base offset lies beyond its predecessor's end.
    pub(super) holes: u64,
    /// Offsets that are missing there.
    pub(super) hole_offsets: u64,
    /// Zeros at the end: from which byte on, and how many.
    pub(super) zeros: Option<(u64, u64)>,
}

impl Found {
    /// Counts a chunk's as well.
    pub(crate) fn add(&mut self, other: &Found) {
        self.control_skipped = self.control_skipped.saturating_add(other.control_skipped);
        self.holes = self.holes.saturating_add(other.holes);
        self.hole_offsets = self.hole_offsets.saturating_add(other.hole_offsets);
        self.zeros = self.zeros.or(other.zeros);
    }

    /// Says it on stderr.
    pub(crate) fn say(&self) {
        let were = |number| if number == 1 { "was" } else { "were" };
        if self.control_skipped > 0 {
            let (records, were) = (counted(self.control_skipped, "control record"), were(self.control_skipped));
            output::note(&format!("{records} {were} passed over; --raw keeps them"));
        }
        if self.holes > 0 {
            output::note(&format!(
                "{} in the input's offsets {} closed, {} in all: records after them have other offsets now",
                counted(self.holes, "hole"),
                were(self.holes),
                counted(self.hole_offsets, "offset")
            ));
        }
        if let Some((from, count)) = self.zeros {
            output::note(&format!(
                "the input ends with {}, from byte {from} on: a preallocated file; it is taken to end there",
                counted(count, "zero")
            ));
        }
    }
}
