//! Reading JSON objects.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// A `T` that is read from a JSON object and from nothing else.
///
/// What serde derives for a struct takes an array as well, its elements by their position: somebody else's
/// data would be taken for ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JsonObject<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for JsonObject<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Members(PhantomData)).map(JsonObject)
    }
}

struct Members<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<T, A::Error> {
        Err(A::Error::custom("found an array, expected an object"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct Pair<'a> {
        key: &'a str,
        value: Option<u64>,
    }

    fn read(text: &str) -> Result<Pair<'_>, String> {
        serde_json::from_str(text).map(|JsonObject(pair)| pair).map_err(|error| error.to_string())
    }

    #[test]
    fn only_an_object_is_taken_for_a_struct() {
        let pair = read(r#"{"value": 7, "key": "k"}"#).unwrap();
        assert_eq!((pair.key, pair.value), ("k", Some(7)));
        assert_eq!(read(r#"{"key": "k"}"#).unwrap().value, None);
        for array in [r#"["k", 7]"#, "[]", r#"[{"key": "k"}]"#] {
            let error = read(array).unwrap_err();
            assert!(error.starts_with("found an array, expected an object at line 1"), "{error}");
        }
        assert!(read("7").unwrap_err().contains("expected an object"));
        assert!(read(r#"{"value": 7}"#).unwrap_err().contains("missing field `key`"));
    }
}
