//! A configuration as serde writes and reads it: the section of a document.

use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::ser::{Error as _, SerializeMap};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::StoreConfig;

impl Serialize for StoreConfig {
    /// A map with `backend` and what is set, without the environment. In the place of a secret stands `***`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let shown = self.shown(false).map_err(S::Error::custom)?;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("backend", &self.backend().to_string())?;
        for setting in shown.into_iter().filter(|setting| setting.set_as.is_some()) {
            map.serialize_entry(setting.name, &setting.value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for StoreConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // JSON is a part of YAML: one reader reads all documents.
        let map = BTreeMap::<String, serde_json::Value>::deserialize(deserializer)?;
        let text = serde_json::to_string(&map).map_err(D::Error::custom)?;
        StoreConfig::from_document(&text).map_err(D::Error::custom)
    }
}
