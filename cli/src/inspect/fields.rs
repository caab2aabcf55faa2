//! Fields of an object with their positions, for people and as JSON.

use serde_json::{Map, Value, json};

use crate::failure::Outcome;
use crate::output::Out;

/// One field as it is stored.
#[derive(Clone, Debug)]
pub(super) struct Field {
    position: u64,
    name: &'static str,
    value: Value,
    /// What the value means, or what it should be.
    note: Option<String>,
}

/// Some fields that stand together.
#[derive(Clone, Debug, Default)]
pub(super) struct Section {
    pub(super) title: String,
    fields: Vec<Field>,
}

impl Section {
    pub(super) fn new(title: impl Into<String>) -> Self {
        Section { title: title.into(), fields: Vec::new() }
    }

    pub(super) fn json(&self) -> Map<String, Value> {
        self.fields.iter().map(|field| (field.name.to_string(), field.value.clone())).collect()
    }

    pub(super) fn print(&self, out: &mut Out) -> Outcome {
        out.line(&self.title)?;
        for Field { position, name, value, note } in &self.fields {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let note = note.as_ref().map_or(String::new(), |note| format!("  ({note})"));
            out.line(&format!("{position:>12}  {name:<24} {value}{note}"))?;
        }
        Ok(())
    }
}

/// Reads big-endian fields one after the other, as far as there are bytes.
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    /// Where `bytes` stand in their object.
    base: u64,
    at: usize,
    pub(super) section: Section,
}

macro_rules! integer {
    ($($name:ident: $type:ty),*) => {
        $(
            pub(super) fn $name(&mut self, name: &'static str) -> Option<$type> {
                let value = self.take().map(<$type>::from_be_bytes)?;
                self.push(name, json!(value), size_of::<$type>());
                Some(value)
            }
        )*
    };
}

impl<'a> Cursor<'a> {
    pub(super) fn new(title: impl Into<String>, bytes: &'a [u8], base: u64) -> Self {
        Cursor { bytes, base, at: 0, section: Section::new(title) }
    }

    fn take<const N: usize>(&self) -> Option<[u8; N]> {
        self.bytes.get(self.at..)?.first_chunk().copied()
    }

    fn push(&mut self, name: &'static str, value: Value, len: usize) {
        let position = self.base.saturating_add(self.at as u64);
        self.section.fields.push(Field { position, name, value, note: None });
        self.at = self.at.saturating_add(len);
    }

    integer!(i8: i8, i16: i16, u16: u16, i32: i32, u32: u32, i64: i64);

    /// Four bytes of text.
    pub(super) fn magic(&mut self, name: &'static str) {
        if let Some(magic) = self.take::<4>() {
            self.push(name, json!(magic.escape_ascii().to_string()), magic.len());
        }
    }

    /// A CRC, in hex.
    pub(super) fn crc(&mut self, name: &'static str) -> Option<u32> {
        let value = self.take().map(u32::from_be_bytes)?;
        self.push(name, json!(format!("{value:08x}")), size_of::<u32>());
        Some(value)
    }

    /// Says something of the field read last.
    pub(super) fn note(&mut self, note: impl Into<String>) {
        if let Some(field) = self.section.fields.last_mut() {
            field.note = Some(note.into());
        }
    }
}
