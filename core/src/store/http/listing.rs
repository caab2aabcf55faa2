//! Checks that an answer to a listing is the store's own document, and takes out the keys that no log can use.
//!
//! object_store reads any XML as a listing without entries, HTML too. It gives up a whole page for one key that it
//! can't use, and shows some keys under another name: it drops a slash at the beginning or end, and blanks.

use object_store::path::Path;

/// How one kind of store writes a page of a listing.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct PageShape {
    /// The document's own element.
    pub(in crate::store) root: &'static str,
    /// The element around all entries, if there is one.
    pub(in crate::store) list: Option<&'static str>,
    /// The element of an object, and the one of its key in it.
    pub(in crate::store) object: [&'static str; 2],
    /// The element of a folder, and the one of its name in it.
    pub(in crate::store) folder: [&'static str; 2],
}

impl PageShape {
    /// The second version of S3's listing, which Google Cloud Storage's XML API gives too:
    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html>,
    /// <https://cloud.google.com/storage/docs/xml-api/get-bucket-list>.
    #[cfg(any(test, feature = "aws", feature = "gcp"))]
    pub(in crate::store) const OF_S3: PageShape = PageShape {
        root: "ListBucketResult",
        list: None,
        object: ["Contents", "Key"],
        folder: ["CommonPrefixes", "Prefix"],
    };

    /// The element of the key in an entry with this name.
    fn key_of(&self, entry: &[u8]) -> Option<&'static [u8]> {
        let [_, key] = [self.object, self.folder].into_iter().find(|[name, _]| name.as_bytes() == entry)?;
        Some(key.as_bytes())
    }
}

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
pub(super) fn sift(document: &[u8], shape: &PageShape) -> Result<Vec<u8>, ListingFault> {
    let document = document.strip_prefix("\u{feff}".as_bytes()).unwrap_or(document);
    let mut reader = XmlReader { document, at: 0 };
    root(&mut reader, shape.root.as_bytes())?;
    let mut kept = Vec::with_capacity(document.len());
    // The document is copied up to here.
    let mut copied = 0usize;
    let (mut truncated, mut token, mut in_list) = (false, false, false);
    loop {
        let start = reader.at;
        match reader.next().ok_or(ListingFault::Cut)? {
            Token::Open(name, _) if !in_list && shape.list.is_some_and(|list| list.as_bytes() == name) => {
                in_list = true
            }
            Token::Open(name, _) => {
                let child = Child::read(&mut reader, name, shape)?;
                match (name, &child.text) {
                    (b"IsTruncated", Some(text)) => truncated = text.trim() == "true",
                    (b"NextContinuationToken", Some(text)) => token = !text.is_empty(),
                    _ if shape.key_of(name).is_some() && !child.is_usable => {
                        kept.extend_from_slice(document.get(copied..start).unwrap_or_default());
                        copied = reader.at;
                    }
                    _ => {}
                }
            }
            Token::Close if in_list => in_list = false,
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
fn root(reader: &mut XmlReader<'_>, own: &[u8]) -> Result<(), ListingFault> {
    loop {
        match reader.next() {
            Some(Token::Open(name, _)) if name == own => return Ok(()),
            Some(Token::Open(b"Error", _)) => return Err(ListingFault::Refusal),
            Some(Token::Text(text)) if text.trim_ascii().is_empty() => {}
            Some(Token::Other) => {}
            // Up to here it was a beginning of XML.
            None if begins_like_a_listing(reader.rest(), own) => return Err(ListingFault::Cut),
            _ => return Err(ListingFault::Foreign),
        }
    }
}

/// Whether what is cut here may have been the document.
fn begins_like_a_listing(rest: &[u8], own: &[u8]) -> bool {
    let tag = rest.strip_prefix(b"<").unwrap_or(rest);
    tag.starts_with(b"?xml") || b"?xml".starts_with(tag) || tag.starts_with(own) || own.starts_with(tag)
}

/// An element right below the document's own, or below the list of entries, read to its end.
struct Child {
    /// Its text, where it has nothing else.
    text: Option<String>,
    /// An entry's key can be used.
    is_usable: bool,
}

impl Child {
    fn read(reader: &mut XmlReader<'_>, name: &[u8], shape: &PageShape) -> Result<Self, ListingFault> {
        let key = shape.key_of(name);
        let (mut depth, mut in_key, mut is_encoded) = (1usize, false, false);
        let (mut own, mut of_key) = (Vec::new(), None::<Vec<u8>>);
        while depth > 0 {
            match reader.next().ok_or(ListingFault::Cut)? {
                Token::Open(name, tag) => {
                    depth = depth.saturating_add(1);
                    if depth == 2 && key == Some(name) {
                        (in_key, of_key) = (true, Some(Vec::new()));
                        // Azure encodes a name that XML can't hold, and says so.
                        is_encoded = end(tag, b"Encoded=").is_some();
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
        let is_usable = of_key.filter(|_| !is_encoded).is_some_and(|key| match name {
            _ if name == shape.folder[0].as_bytes() => key.strip_suffix('/').is_some_and(is_usable),
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
    /// The local name of an element that begins, and its tag.
    Open(&'a [u8], &'a [u8]),
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
                let tag = rest.get(..length)?;
                (length, if tag.ends_with(b"/>") { Token::Other } else { Token::Open(local, tag) })
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

    const AZURE: PageShape = PageShape {
        root: "EnumerationResults",
        list: Some("Blobs"),
        object: ["Blob", "Name"],
        folder: ["BlobPrefix", "Name"],
    };

    fn sift(document: &[u8]) -> Result<Vec<u8>, ListingFault> {
        super::sift(document, &PageShape::OF_S3)
    }

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

    /// The form is that of <https://learn.microsoft.com/rest/api/storageservices/list-blobs>.
    #[test]
    fn entries_within_a_list_are_sifted_and_what_stands_around_them_stays() {
        let blob = |name: &str| {
            format!("<Blob><Name>{name}</Name><Properties><Etag>e</Etag></Properties><OrMetadata /></Blob>")
        };
        let folder = |name: &str| format!("<BlobPrefix><Name>{name}</Name></BlobPrefix>");
        let page = |entries: &str| {
            format!(
                "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults ServiceEndpoint=\"http://h/\" \
                 ContainerName=\"c\"><Prefix>t//</Prefix><Blobs>{entries}</Blobs><NextMarker>m</NextMarker>\
                 </EnumerationResults>"
            )
        };
        let encoded = "<Blob><Name Encoded=\"true\">a%EF%BF%BE</Name></Blob>";
        let all = [blob("a/b"), blob("a//b"), encoded.to_string(), folder("t/"), folder("t//"), blob("a&amp;b")];
        let kept = [blob("a/b"), folder("t/"), blob("a&amp;b")];
        let sifted = super::sift(page(&all.concat()).as_bytes(), &AZURE).unwrap();
        assert_eq!(String::from_utf8(sifted).unwrap(), page(&kept.concat()).trim_start_matches('\u{feff}'));
        let empty = "<EnumerationResults><Blobs /><NextMarker /></EnumerationResults>";
        assert_eq!(super::sift(empty.as_bytes(), &AZURE).unwrap(), empty.as_bytes());
        let whole = page(&blob("a"));
        for end in (0..whole.len()).filter(|end| whole.is_char_boundary(*end)) {
            assert_eq!(super::sift(&whole.as_bytes()[..end], &AZURE), Err(ListingFault::Cut), "{end}");
        }
        let of_s3 = "<ListBucketResult></ListBucketResult>";
        assert_eq!(super::sift(of_s3.as_bytes(), &AZURE), Err(ListingFault::Foreign));
    }
}
