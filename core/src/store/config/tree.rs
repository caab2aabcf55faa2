//! Reads a document of YAML, and so one of JSON, into a small tree that keeps each scalar's text.
//!
//! A key of digits alone must stay the text that it is, so nothing is turned into a number here.

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use crate::error::{Error, ErrorKind, Result};

/// The largest document, in bytes.
const LIMIT: usize = 1 << 20;
/// The deepest nesting.
const DEEPEST: usize = 32;

/// A value in a document.
#[derive(Clone, Debug)]
pub(super) enum Node {
    Null,
    Scalar(String),
    List,
    Map(Vec<Entry>),
}

/// A name in a document, and its value.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    /// From 1.
    pub(super) line: usize,
    pub(super) node: Node,
}

impl Node {
    /// The value of a name.
    pub(super) fn get(&self, name: &str) -> Option<&Node> {
        self.entries()?.iter().find(|entry| entry.name == name).map(|entry| &entry.node)
    }

    pub(super) fn entries(&self) -> Option<&[Entry]> {
        match self {
            Node::Map(entries) => Some(entries),
            _ => None,
        }
    }

    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Node::Scalar(text) => Some(text),
            _ => None,
        }
    }
}

/// Reads all documents of a text: YAML may hold several.
///
/// # Errors
/// `InvalidInput`. No message repeats what the document says, because it may hold secrets.
pub(super) fn documents(text: &str) -> Result<Vec<Node>> {
    if text.len() > LIMIT {
        return Err(invalid(format!("the document has {} bytes: at most {LIMIT} are read", text.len())));
    }
    let mut reading = Reading { parser: Parser::new_from_str(text) };
    let mut documents = Vec::new();
    loop {
        match reading.next()? {
            (Event::StreamEnd, _) => return Ok(documents),
            (Event::DocumentStart(_), _) => {
                let (event, span) = reading.next()?;
                documents.push(reading.node(event, span, 0)?);
            }
            _ => {}
        }
    }
}

struct Reading<'a> {
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
}

impl<'a> Reading<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span)> {
        match self.parser.next_event() {
            Some(Ok(next)) => Ok(next),
            // What the parser says quotes nothing of the text, but for the character that it did not expect.
            Some(Err(error)) => {
                let at = error.marker();
                Err(invalid(format!("line {}, column {}: this is no YAML", at.line(), at.col().saturating_add(1))))
            }
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node> {
        let line = span.start.line();
        if depth > DEEPEST {
            return Err(invalid(format!("line {line}: the document is nested more than {DEEPEST} deep")));
        }
        let below = depth.saturating_add(1);
        match event {
            Event::Scalar(text, ScalarStyle::Plain, _, _)
                if matches!(text.as_ref(), "" | "~" | "null" | "Null" | "NULL") =>
            {
                Ok(Node::Null)
            }
            Event::Scalar(text, ..) => Ok(Node::Scalar(text.into_owned())),
            Event::SequenceStart(..) => loop {
                match self.next()? {
                    (Event::SequenceEnd, _) => return Ok(Node::List),
                    (event, span) => drop(self.node(event, span, below)?),
                }
            },
            Event::MappingStart(..) => {
                let mut entries: Vec<Entry> = Vec::new();
                loop {
                    let (event, span) = self.next()?;
                    let line = span.start.line();
                    if matches!(event, Event::MappingEnd) {
                        return Ok(Node::Map(entries));
                    }
                    let Event::Scalar(name, ..) = event else {
                        return Err(invalid(format!("line {line}: a name is no text")));
                    };
                    if entries.iter().any(|entry| entry.name == name) {
                        return Err(invalid(format!("line {line}: the name stands there twice")));
                    }
                    let (event, span) = self.next()?;
                    let node = self.node(event, span, below)?;
                    entries.push(Entry { name: name.into_owned(), line, node });
                }
            }
            Event::Alias(_) => {
                Err(invalid(format!("line {line}: an alias (*name) is not read")).with_hint("write the value itself"))
            }
            Event::StreamEnd | Event::DocumentEnd => Ok(Node::Null),
            _ => Err(invalid(format!("line {line}: the document ends too early"))),
        }
    }
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidInput, message)
}
