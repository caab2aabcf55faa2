//! Uploads in parts, as the fakes of S3 and Google Cloud Storage share them.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::fake_http::{Answer, Request};

/// Every part but the last has at least this many bytes.
const SMALLEST_PART: usize = 5 << 20;

/// The uploads that were begun and have not ended.
#[derive(Default)]
pub(crate) struct Uploads {
    uploads: HashMap<String, Upload>,
    begun: u64,
}

pub(crate) struct Upload {
    pub(crate) key: Vec<u8>,
    /// The headers that its object gets.
    pub(crate) headers: Vec<(String, String)>,
    parts: BTreeMap<u32, Vec<u8>>,
}

impl Uploads {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.uploads.len()
    }

    pub(crate) fn has(&self, id: &str) -> bool {
        self.uploads.contains_key(id)
    }

    /// Begins an upload, whose object gets these headers.
    pub(crate) fn begin(&mut self, request: &Request, headers: Vec<(String, String)>) -> Answer {
        self.begun += 1;
        let id = format!("upload/{}", self.begun);
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><InitiateMultipartUploadResult><Bucket>{}</Bucket>\
             <UploadId>{id}</UploadId></InitiateMultipartUploadResult>",
            request.bucket
        );
        self.uploads.insert(id, Upload { key: request.key.clone(), headers, parts: BTreeMap::new() });
        Answer::new(200, body).with("Content-Type", "application/xml")
    }

    pub(crate) fn put_part(&mut self, id: &str, request: &Request) -> Answer {
        let number = request.query.get("partNumber").and_then(|number| number.parse().ok());
        let (Some(number @ 1..=10_000), Some(upload)) = (number, self.uploads.get_mut(id)) else {
            return Answer::error(400, "InvalidArgument");
        };
        let answer = Answer::new(200, "").with("ETag", &e_tag(&request.body));
        upload.parts.insert(number, request.body.clone());
        answer
    }

    /// The bytes of the parts that the request names, each by its number and its ETag, in rising order.
    pub(crate) fn joined(&self, id: &str, request: &Request) -> Result<Vec<u8>, Answer> {
        let upload = self.uploads.get(id).ok_or_else(|| Answer::error(404, "NoSuchUpload"))?;
        let text = String::from_utf8_lossy(&request.body).replace("&quot;", "\"");
        let (mut body, mut last_number, mut last_size) = (Vec::new(), 0, SMALLEST_PART);
        for named in text.split("<Part>").skip(1) {
            let number = element(named, "PartNumber").and_then(|number| number.parse().ok()).unwrap_or(0);
            let part = upload.parts.get(&number).ok_or_else(|| Answer::error(400, "InvalidPart"))?;
            if element(named, "ETag") != Some(&e_tag(part)) {
                return Err(Answer::error(400, "InvalidPart"));
            }
            if number <= last_number {
                return Err(Answer::error(400, "InvalidPartOrder"));
            }
            if last_size < SMALLEST_PART {
                return Err(Answer::error(400, "EntityTooSmall"));
            }
            body.extend_from_slice(part);
            (last_number, last_size) = (number, part.len());
        }
        if last_number == 0 { Err(Answer::error(400, "MalformedXML")) } else { Ok(body) }
    }

    /// Ends an upload.
    pub(crate) fn end(&mut self, id: &str) -> Option<Upload> {
        self.uploads.remove(id)
    }
}

/// The answer to a request that has made an object of parts.
pub(crate) fn completed(e_tag: &str) -> String {
    format!("<CompleteMultipartUploadResult><ETag>{e_tag}</ETag></CompleteMultipartUploadResult>")
}

/// An ETag of the content.
pub(crate) fn e_tag(body: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    format!("\"{:016x}\"", hasher.finish())
}

/// The text of the first element of this name.
fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(text, _)| text)
}
