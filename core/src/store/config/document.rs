//! Settings in a document: the `storage` section of a file in YAML or JSON.

use super::backend::StoreBackend;
use super::common;
use super::secret::{HIDDEN, Secret};
use super::settings::{Given, Origin};
use super::tree::{self, Entry, Node};
use super::unknown::unknown_setting;
use crate::error::{Error, ErrorKind, Result};

/// What a section looks like, for messages.
const FORM: &str = "write storage: with backend: s3 (or azure, gcs, filesystem, memory) and the settings below it";

/// Reads the storage section of a document. It is one of these:
///
/// - what stands below `storage`, with `backend: s3` and the like;
/// - the document itself, if it has `backend`;
/// - what stands below `storage.azure` and the like, with `storageType: azure` beside it, as kafka-backup's operator has it;
/// - what stands below `spec.s3` of a `KafscaleCluster`, which has no `backend`.
///
/// A file may hold several documents. One of them has the section, and the others are Kubernetes's, with a `kind`.
pub(super) fn parse(text: &str) -> Result<(StoreBackend, Vec<Given>)> {
    let documents = tree::documents(text)?;
    let (mut found, mut others) = (None, Vec::new());
    for (number, document) in (1_usize..).zip(&documents) {
        match (section(document)?, found) {
            (Some(section), None) => found = Some((number, section)),
            (Some(_), Some((first, _))) => {
                let message = format!("the documents {first} and {number} of the file both have a storage section");
                return Err(invalid(&message).with_hint("keep one of them"));
            }
            (None, _) => others.push((number, document)),
        }
    }
    let Some((_, (backend, entries))) = found else {
        let is_list = documents.iter().all(|document| document.entries().is_some());
        let what = if is_list { "has no storage section" } else { "is no list of names and values" };
        return Err(invalid(&format!("the document {what}")).with_hint(FORM));
    };
    // What is not read may hold settings that somebody relies on. Only Kubernetes's own documents are known to hold none.
    let is_known = |document: &Node| matches!(document, Node::Null) || document.get("kind").is_some();
    if let Some((number, _)) = others.into_iter().find(|(_, document)| !is_known(document)) {
        let message = format!("document {number} of the file has no storage section, and would not be read");
        return Err(invalid(&message).with_hint("one file describes one store: remove the other documents (after ---)"));
    }
    Ok((backend, given(backend, entries)?))
}

/// The section of a document, if it has one.
fn section(document: &Node) -> Result<Option<(StoreBackend, &[Entry])>> {
    if document.get("kind").and_then(Node::text).is_some_and(|kind| kind.eq_ignore_ascii_case("KafscaleCluster")) {
        let section = document.get("spec").and_then(|spec| spec.get("s3")).and_then(Node::entries);
        let missing = || invalid("the KafscaleCluster has no section spec.s3");
        return Ok(Some((StoreBackend::S3, section.ok_or_else(missing)?)));
    }
    let section = match document.get("storage") {
        Some(storage) => {
            storage.entries().ok_or_else(|| invalid("storage has no settings below it").with_hint(FORM))?
        }
        None if document.get("backend").is_some() => document.entries().unwrap_or_default(),
        None => return Ok(None),
    };
    let kind = section.iter().find(|entry| ["backend", "storageType"].contains(&entry.name.as_str()));
    let kind = kind.ok_or_else(|| invalid("backend is missing in the storage section").with_hint(FORM))?;
    let named = kind.node.text().and_then(StoreBackend::named);
    let backend = named.ok_or_else(|| {
        let names: Vec<String> = StoreBackend::ALL.iter().map(StoreBackend::to_string).collect();
        let message = format!("line {}: {} is not one of those that there are", kind.line, kind.name);
        Error::new(ErrorKind::Unsupported, message).with_hint(format!("write one of {}", names.join(", ")))
    })?;
    // The operator's form has the settings one level deeper.
    let deeper =
        section.iter().find(|entry| kind.name == "storageType" && kind.node.text() == Some(entry.name.as_str()));
    Ok(Some((backend, deeper.and_then(|entry| entry.node.entries()).unwrap_or(section))))
}

/// The settings of a section.
fn given(backend: StoreBackend, entries: &[Entry]) -> Result<Vec<Given>> {
    let table = backend.table();
    let mut given: Vec<Given> = Vec::new();
    for Entry { name, line, node } in entries {
        if matches!(name.as_str(), "backend" | "storageType") {
            continue;
        }
        let at = |error: Error| {
            let message = format!("line {line}: {}", error.message());
            error.with_message(message)
        };
        // Nothing is said by `name: null`, nor by the old form's settings of other backends that are null.
        let text = match node {
            Node::Null => continue,
            Node::Scalar(text) => text.clone(),
            // Of a reference to a secret of Kubernetes its name is kept.
            Node::Map(_) if table.find(name).is_some_and(|named| named.row.name == common::CREDENTIALS_REF.name) => {
                node.get("name").and_then(Node::text).unwrap_or_default().to_string()
            }
            Node::Map(_) | Node::List => {
                table.find(name).ok_or_else(|| at(unknown_setting(name, table)))?;
                return Err(at(invalid(&format!("{name} has several values: expected one"))));
            }
        };
        let named = table.find(name).ok_or_else(|| at(unknown_setting(name, table)))?;
        if named.row.kind.may_be_hidden() && text.contains(HIDDEN) {
            let is = if text == HIDDEN { "is" } else { "holds" };
            return Err(at(invalid(&format!(
                "{name} {is} {HIDDEN}, which stands for a secret that was not written out"
            ))
            .with_hint("give the secret itself, in the environment for one")));
        }
        if let Some(other) = given.iter().find(|other| other.row.name == named.row.name) {
            return Err(at(invalid(&format!("{name} and {} are the same setting", other.name))));
        }
        given.push(Given {
            row: named.row,
            name: name.clone(),
            text: Secret::new(text),
            origin: Origin::Document,
            rank: named.rank,
            is_opposite: named.is_opposite,
        });
    }
    Ok(given)
}

fn invalid(message: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, message)
}
