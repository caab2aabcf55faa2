//! Reading a line as a record.

use std::borrow::Cow;
use std::fmt;

use kfs_core::format::JsonObject;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};

use crate::encoding::Encoding;
use crate::input::Records;

/// A line. Other members are refused: a misspelt one would lose data without a word.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    #[serde(borrow)]
    key: Option<Text<'a>>,
    #[serde(borrow)]
    value: Option<Text<'a>>,
    #[serde(borrow, default)]
    headers: Option<Vec<(Text<'a>, Option<Text<'a>>)>>,
    timestamp_ms: Option<i64>,
    /// What `kfs cat` prints, accepted and not used: the log gives the offset.
    #[serde(rename = "offset")]
    _offset: Option<IgnoredAny>,
    #[serde(default)]
    control: bool,
}

/// A string, or `{"hex": "…"}` for bytes that are no text.
enum Text<'a> {
    Plain(Cow<'a, str>),
    Hex(String),
}

impl Text<'_> {
    fn decode(&self, encoding: Encoding, out: &mut Vec<u8>) -> Result<(), String> {
        match self {
            Text::Plain(text) => encoding.decode(text, out),
            Text::Hex(digits) => Encoding::Hex.decode(digits, out),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, or {\"hex\": \"…\"}")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text::Plain(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text::Plain(Cow::Owned(text.to_owned())))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Text<'de>, A::Error> {
                let expected =
                    || A::Error::custom("an object in place of a string is {\"hex\": \"…\"} and nothing else");
                let Some((name, digits)) = map.next_entry::<String, String>()? else { return Err(expected()) };
                if name != "hex" || map.next_key::<IgnoredAny>()?.is_some() {
                    return Err(expected());
                }
                Ok(Text::Hex(digits))
            }
        }

        deserializer.deserialize_any(Either)
    }
}

/// Adds the line's record. `false` for a control record, which is not added: as data it would mean
/// nothing, and what it ended is over.
///
/// # Errors
/// What is wrong with the line.
pub(crate) fn parse_line(line: &[u8], encoding: Encoding, records: &mut Records) -> Result<bool, String> {
    let JsonObject(line): JsonObject<Line<'_>> = serde_json::from_slice(line).map_err(|e| {
        // serde_json counts lines within the line.
        e.to_string().replace(" at line 1 column", " at column")
    })?;
    if line.control {
        return Ok(false);
    }
    let mut draft = records.draft();
    if let Some(key) = &line.key {
        draft.key(|out| key.decode(encoding, out)).map_err(|e| format!("key: {e}"))?;
    }
    if let Some(value) = &line.value {
        draft.value(|out| value.decode(encoding, out)).map_err(|e| format!("value: {e}"))?;
    }
    for (name, value) in line.headers.iter().flatten() {
        draft.header_name(|out| name.decode(Encoding::Utf8, out)).map_err(|e| format!("header: {e}"))?;
        if let Some(value) = value {
            draft.header_value(|out| value.decode(encoding, out)).map_err(|e| format!("header: {e}"))?;
        }
    }
    draft.timestamp_ms = line.timestamp_ms;
    draft.finish();
    Ok(true)
}
