//! Checks that an answer to a listing is S3's own document, and takes out the keys that no log can use.
//!
//! object_store reads any XML as a listing without entries, HTML too. It gives up a whole page for one key that it
//! can't use, and shows some keys under another name: it drops a slash at the beginning or end, and blanks.

use object_store::path::Path;

/// The document's own element.
const ROOT: &[u8] = b"ListBucketResult";

/// Why an answer is no listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ListingFault {
    /// It is something else.
    Foreign,
    /// It is an error document, though its status says that all is well.
    Refusal,
    /// It ends too early.
    Cut,
    /// It says that more keys follow, and not how to ask for them.
    NoToken,
}

/// The document without entries whose key can't be a log's.
///
/// # Errors
/// Why it is not the document that was asked for.
pub(super) fn sift(document: &[u8]) -> Result<Vec<u8>, ListingFault> {
    let document = document.strip_prefix("\u{feff}".as_bytes()).unwrap_or(document);
    let mut reader = XmlReader { document, at: 0 };
    root(&mut reader)?;
    let mut kept = Vec::with_capacity(document.len());
    // The document is copied up to here.
    let mut copied = 0usize;
    let (mut truncated, mut token) = (false, false);
    loop {
        let start = reader.at;
        match reader.next().ok_or(ListingFault::Cut)? {
            Token::Open(name) => {
                let child = Child::read(&mut reader, name)?;
                match (name, &child.text) {
                    (b"IsTruncated", Some(text)) => truncated = text.trim() == "true",
                    (b"NextContinuationToken", Some(text)) => token = !text.is_empty(),
                    (b"Contents" | b"CommonPrefixes", _) if !child.is_usable => {
                        kept.extend_from_slice(document.get(copied..start).unwrap_or_default());
                        copied = reader.at;
                    }
                    _ => {}
                }
            }
            Token::Close => break,
            Token::Text(_) | Token::Other => {}
        }
    }
    if truncated && !token {
        return Err(ListingFault::NoToken);
    }
    kept.extend_from_slice(document.get(copied..).unwrap_or_default());
    Ok(kept)
}

/// Reads up to the document's own element.
fn root(reader: &mut XmlReader<'_>) -> Result<(), ListingFault> {
    loop {
        match reader.next() {
            Some(Token::Open(ROOT)) => return Ok(()),
            Some(Token::Open(b"Error")) => return Err(ListingFault::Refusal),
            Some(Token::Text(text)) if text.trim_ascii().is_empty() => {}
            Some(Token::Other) => {}
            // Up to here it was a beginning of XML.
            None if begins_like_a_listing(reader.rest()) => return Err(ListingFault::Cut),
            _ => return Err(ListingFault::Foreign),
        }
    }
}

/// Whether what is cut here may have been the document.
fn begins_like_a_listing(rest: &[u8]) -> bool {
    let tag = rest.strip_prefix(b"<").unwrap_or(rest);
    tag.starts_with(b"?xml") || b"?xml".starts_with(tag) || tag.starts_with(ROOT) || ROOT.starts_with(tag)
}

/// An element right below the document's own, read to its end.
struct Child {
    /// Its text, where it has nothing else.
    text: Option<String>,
    /// An entry's key can be used.
    is_usable: bool,
}

impl Child {
    fn read(reader: &mut XmlReader<'_>, name: &[u8]) -> Result<Self, ListingFault> {
        let key: &[u8] = if name == b"CommonPrefixes" { b"Prefix" } else { b"Key" };
        let (mut depth, mut in_key) = (1usize, false);
        let (mut own, mut of_key) = (Vec::new(), None::<Vec<u8>>);
        while depth > 0 {
            match reader.next().ok_or(ListingFault::Cut)? {
                Token::Open(name) => {
                    depth = depth.saturating_add(1);
                    if depth == 2 && name == key {
                        (in_key, of_key) = (true, Some(Vec::new()));
                    }
                }
                Token::Close => {
                    depth = depth.saturating_sub(1);
                    in_key = in_key && depth > 1;
                }
                Token::Text(text) if in_key => of_key.get_or_insert_default().extend_from_slice(text),
                Token::Text(text) if depth == 1 => own.extend_from_slice(text),
                Token::Text(_) | Token::Other => {}
            }
        }
        let of_key = of_key.as_deref().and_then(plain);
        let is_usable = of_key.is_some_and(|key| match name {
            b"CommonPrefixes" => key.strip_suffix('/').is_some_and(is_usable),
            _ => is_usable(&key),
        });
        Ok(Child { text: plain(&own), is_usable })
    }
}

/// Whether object_store shows this key as it is.
fn is_usable(key: &str) -> bool {
    key.trim_ascii() == key && !key.is_empty() && Path::parse(key).is_ok_and(|path| path.as_ref() == key)
}

/// The characters of an XML text. `None` where they are not UTF-8, or name a character that does not exist.
fn plain(text: &[u8]) -> Option<String> {
    let mut rest = std::str::from_utf8(text).ok()?;
    let mut plain = String::with_capacity(rest.len());
    while let Some((before, after)) = rest.split_once('&') {
        plain.push_str(before);
        let (name, after) = after.split_once(';')?;
        plain.push(crate::store::failure::entity(name)?);
        rest = after;
    }
    plain.push_str(rest);
    Some(plain)
}

/// A part of an XML document.
#[derive(Debug)]
enum Token<'a> {
    /// The local name of an element that begins.
    Open(&'a [u8]),
    Close,
    Text(&'a [u8]),
    /// A comment, a declaration, an empty element.
    Other,
}

struct XmlReader<'a> {
    document: &'a [u8],
    at: usize,
}

impl<'a> XmlReader<'a> {
    fn rest(&self) -> &'a [u8] {
        self.document.get(self.at..).unwrap_or_default()
    }

    /// The next part. `None` at the end, and where a part has none.
    fn next(&mut self) -> Option<Token<'a>> {
        let rest = self.rest();
        let (length, token) = match rest {
            [] => return None,
            [b'<', b'?', ..] => (end(rest, b"?>")?, Token::Other),
            [b'<', b'!', b'-', b'-', ..] => (end(rest, b"-->")?, Token::Other),
            [b'<', b'!', b'[', ..] => (end(rest, b"]]>")?, Token::Other),
            [b'<', b'!', ..] => (end(rest, b">")?, Token::Other),
            [b'<', b'/', ..] => (end(rest, b">")?, Token::Close),
            [b'<', inner @ ..] => {
                let length = end_of_tag(rest)?;
                let name = inner.split(|b| b.is_ascii_whitespace() || matches!(b, b'>' | b'/')).next()?;
                let local = name.rsplit(|b| *b == b':').next()?;
                let is_empty = rest.get(..length).is_some_and(|tag| tag.ends_with(b"/>"));
                (length, if is_empty { Token::Other } else { Token::Open(local) })
            }
            _ => {
                let length = rest.iter().position(|b| *b == b'<').unwrap_or(rest.len());
                (length, Token::Text(rest.get(..length)?))
            }
        };
        self.at = self.at.saturating_add(length);
        Some(token)
    }
}

/// Where this text ends for the first time.
fn end(bytes: &[u8], text: &[u8]) -> Option<usize> {
    bytes.windows(text.len()).position(|window| window == text)?.checked_add(text.len())
}

/// Where a tag ends: a `>` may stand in an attribute's value.
fn end_of_tag(bytes: &[u8]) -> Option<usize> {
    let mut quote = None;
    let end = bytes.iter().position(|b| {
        match (quote, b) {
            (None, b'>') => return true,
            (None, b'"' | b'\'') => quote = Some(*b),
            (Some(open), b) if open == *b => quote = None,
            _ => {}
        }
        false
    });
    end?.checked_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(keys: &[&[u8]], prefixes: &[&[u8]], more: &str) -> Vec<u8> {
        let mut xml = b"<?xml version=\"1.0\"?>\n<ListBucketResult xmlns='http://x/>'>".to_vec();
        for key in keys {
            xml.extend(
                [b"<Contents><Key>", *key, b"</Key><Owner><ID>x</ID></Owner><Size>3</Size></Contents>"].concat(),
            );
        }
        for prefix in prefixes {
            xml.extend([b"<CommonPrefixes><Prefix>", *prefix, b"</Prefix></CommonPrefixes>"].concat());
        }
        xml.extend_from_slice(more.as_bytes());
        xml.extend_from_slice(b"</ListBucketResult>");
        xml
    }

    #[test]
    fn keys_that_cannot_be_a_logs_are_left_out_of_a_page_and_all_others_stay() {
        let long = "x/".repeat(4000);
        let junk: [&[u8]; 16] = [
            b"a//b",
            b"/x",
            b"./x",
            b"..",
            b"a/../b",
            b"a/",
            b"",
            b"/",
            b"a\x01b",
            b"a&#1;b",
            b"a&#0;b",
            b"a\xffb",
            b" a",
            b"a&#32;",
            b"a&nosuch;b",
            long.as_bytes(),
        ];
        let sound: [&[u8]; 6] =
            [b"a/b", b"a%2Fb", b"%", b"a&amp;b &lt;Contents>", "ü/😀".as_bytes(), &b"y".repeat(3000)];
        let (all, prefixes): (Vec<_>, [&[u8]; 6]) =
            ([&junk[..8], &sound, &junk[8..]].concat(), [b"t//", b"/", b"../", b"t/", b"a b/", b"t"]);
        let more = "<IsTruncated>true</IsTruncated><NextContinuationToken>x</NextContinuationToken><Prefix/>";
        let sifted = sift(&page(&all, &prefixes, more)).unwrap();
        let expected = page(&sound, &[b"t/", b"a b/"], more);
        assert_eq!(String::from_utf8(sifted).unwrap(), String::from_utf8(expected).unwrap());
    }

    #[test]
    fn what_is_not_the_document_of_a_listing_is_told_apart() {
        let whole = page(&[b"a"], &[], "<!-- c --><![CDATA[ <x> ]]>");
        assert_eq!(sift(&whole).unwrap(), whole);
        for end in 0..whole.len() {
            assert_eq!(sift(&whole[..end]), Err(ListingFault::Cut), "{end}");
        }
        for (text, unfit) in [
            ("<!DOCTYPE html><html><body>Log in</body></html>", ListingFault::Foreign),
            ("<HTML></HTML>", ListingFault::Foreign),
            ("Hello", ListingFault::Foreign),
            ("{\"ok\": true}", ListingFault::Foreign),
            ("\0\u{1}<", ListingFault::Foreign),
            ("<ListAllMyBucketsResult></ListAllMyBucketsResult>", ListingFault::Foreign),
            ("<?xml version='1.0'?><Error><Code>SlowDown</Code></Error>", ListingFault::Refusal),
            ("<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>", ListingFault::NoToken),
            ("\u{feff}<ListBucketResult>", ListingFault::Cut),
            ("", ListingFault::Cut),
            (" \n", ListingFault::Cut),
        ] {
            assert_eq!(sift(text.as_bytes()), Err(unfit), "{text}");
        }
        assert!(sift("\u{feff} <s3:ListBucketResult></s3:ListBucketResult>".as_bytes()).is_ok());
    }
}
