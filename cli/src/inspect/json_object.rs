//! A JSON object that is written as it comes, however long it gets.

use serde_json::Value;

use crate::failure::Outcome;
use crate::output::{self, Out, Sink};

/// One object on one line.
pub(super) struct JsonObject<'a> {
    out: &'a mut Out,
    empty: bool,
}

impl<'a> JsonObject<'a> {
    pub(super) fn begin(out: &'a mut Out) -> Outcome<Self> {
        out.bytes(b"{")?;
        Ok(JsonObject { out, empty: true })
    }

    fn name(&mut self, name: &str) -> Outcome {
        if !std::mem::replace(&mut self.empty, false) {
            self.out.bytes(b",")?;
        }
        self.out.bytes(output::json(&Value::from(name)).as_bytes())?;
        self.out.bytes(b":")
    }

    pub(super) fn member(&mut self, name: &str, value: &Value) -> Outcome {
        self.name(name)?;
        self.out.bytes(output::json(value).as_bytes())
    }

    /// All members of another object.
    pub(super) fn members(&mut self, object: &Value) -> Outcome {
        for (name, value) in object.as_object().into_iter().flatten() {
            self.member(name, value)?;
        }
        Ok(())
    }

    pub(super) fn array(&mut self, name: &str, items: impl IntoIterator<Item = Value>) -> Outcome {
        let mut items = items.into_iter();
        self.raw_array(name, |item| match items.next() {
            Some(value) => item.begin()?.bytes(output::json(&value).as_bytes()).map(|()| true),
            None => Ok(false),
        })
    }

    /// An array whose items `next` writes: it gets where to, and says whether it wrote one.
    pub(super) fn raw_array(&mut self, name: &str, mut next: impl FnMut(&mut Item<'_>) -> Outcome<bool>) -> Outcome {
        self.name(name)?;
        self.out.bytes(b"[")?;
        let mut first = true;
        while next(&mut Item { out: self.out, first })? {
            first = false;
        }
        self.out.bytes(b"]")
    }

    pub(super) fn end(self) -> Outcome {
        self.out.bytes(b"}\n")
    }
}

/// The place of one item of an array.
pub(super) struct Item<'a> {
    out: &'a mut Out,
    first: bool,
}

impl Item<'_> {
    /// Where the item is written, once it is known that there is one.
    pub(super) fn begin(&mut self) -> Outcome<&mut Out> {
        if !self.first {
            self.out.bytes(b",")?;
        }
        Ok(self.out)
    }
}
