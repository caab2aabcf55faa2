//! Reads of `claim.json` that return anything. The marker decides nothing, so no promise may depend on it.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use kfs_core::format::ClaimMarker;
use kfs_core::testing::Prng;
use object_store::Attributes;

use crate::object::Object;

/// The markers that were read, and what draws from them.
#[derive(Default)]
pub(crate) struct Markers(Mutex<Drawer>);

#[derive(Default)]
struct Drawer {
    prng: Option<Prng>,
    old: Vec<Object>,
}

impl Markers {
    /// Draws from this one from now on, or not any more.
    pub(crate) fn draw_from(&self, prng: Option<Prng>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).prng = prng;
    }

    /// What a read returns while this is there.
    pub(crate) fn instead_of(&self, there: Option<Object>) -> Option<Object> {
        let mut drawer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Drawer { prng, old } = &mut *drawer;
        let Some(prng) = prng else { return there };
        if let Some(object) = &there
            && old.last().is_none_or(|last| last.e_tag != object.e_tag)
        {
            old.push(object.clone());
        }
        match prng.below(8) {
            0..=3 => there,
            4 => None,
            5 if !old.is_empty() => Some(old[prng.below(old.len() as u64) as usize].clone()),
            6 => Some(Object { bytes: Bytes::from_static(b"{\"version\": 1, \"claim_id\": 7}"), ..made(prng) }),
            _ => Some(made(prng)),
        }
    }
}

/// A marker that nobody wrote.
fn made(prng: &mut Prng) -> Object {
    let claim_id = format!("{:032x}", u128::from(prng.next_u64()));
    let epoch = (prng.one_in(2)).then(|| prng.below(5) as i32);
    let modified_ms = crate::clock::BEGIN_MS + prng.below(10_000_000) as i64;
    let marker = ClaimMarker::new(claim_id, "nobody", epoch, prng.below(4), modified_ms);
    Object { bytes: marker.encode(), attributes: Attributes::new(), e_tag: prng.next_u64(), modified_ms }
}
