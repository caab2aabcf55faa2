//! Removes from text what looks like a secret.

use std::borrow::Cow;

/// What stands in the place of a secret.
pub(super) const REMOVED: &str = "[removed]";
/// The shortest secret, or part of one, that is told from other words.
pub(super) const PART: usize = 8;

/// How a name ends after which a secret stands, in lower case and without hyphens and underscores.
const NAME_ENDS: [&str; 23] = [
    "signature",
    "credential",
    "authorization",
    "securitytoken",
    "sessiontoken",
    "accesstoken",
    "refreshtoken",
    "authtoken",
    "apitoken",
    "sastoken",
    "vaulttoken",
    "idtoken",
    "accesskeyid",
    "accesskey",
    "accountkey",
    "secretkey",
    "privatekey",
    "apikey",
    "password",
    "passwd",
    "passphrase",
    "secret",
    "signingkey",
];
/// Such names that are the end of ordinary words, too: these are whole names.
const WHOLE_NAMES: [&str; 3] = ["token", "sig", "pwd"];

/// The shortest word that is taken for a secret after `name: `, where a sentence may follow.
const SHORTEST_IN_PROSE: usize = 6;

/// What the next word may be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum NextWord {
    AnyWord,
    /// A secret, or a sentence: a name and a colon stood before it.
    AfterColon,
    /// A secret: `Bearer` or the like stood before it.
    AfterScheme,
    /// A secret, or a sentence: `Bearer` or the like stood before it, and no name before that.
    AfterLoneScheme,
}

/// Removes what looks like a secret: values after the names that stores and web services give them, access key ids,
/// signatures. For text whose secrets are not known, such as that of a client that a caller brought.
pub(super) fn strip_by_pattern(text: &str) -> String {
    strip_words(&strip_users(&strip_pem(text)))
}

/// Removes blocks in PEM form. One that has no end goes to the end of the text.
fn strip_pem(text: &str) -> Cow<'_, str> {
    let (begin, end) = ("-----BEGIN", "-----END");
    if !text.contains(begin) {
        return text.into();
    }
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, block)) = rest.split_once(begin) {
        kept.push_str(before);
        kept.push_str(REMOVED);
        let after = block.split_once(end).and_then(|(_, after)| after.split_once("-----"));
        rest = after.map_or("", |(_, after)| after);
    }
    (kept + rest).into()
}

/// Removes the user and the password of each URL.
fn strip_users(text: &str) -> Cow<'_, str> {
    if !text.contains("://") {
        return text.into();
    }
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        kept.push_str(before);
        kept.push_str("://");
        let end = after.find(|c: char| c.is_whitespace() || "/\"'<>?#".contains(c)).unwrap_or(after.len());
        let (authority, _) = after.split_at(end);
        rest = match authority.rfind('@') {
            Some(at) => {
                kept.push_str(REMOVED);
                after.get(at..).unwrap_or_default()
            }
            None => after,
        };
    }
    (kept + rest).into()
}

fn strip_words(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut next = NextWord::AnyWord;
    let mut rest = text;
    while !rest.is_empty() {
        let (word, after) = first_word(rest);
        kept.push_str(if is_secret(word, next) { REMOVED } else { word });
        // `name=value` is certain; after `name: ` a sentence may come.
        let assigned = Some(after).filter(|_| is_name(word)).and_then(assignment);
        let gap = assigned.as_ref().map_or_else(|| after.find(is_of_a_value), |sign| Some(sign.len()));
        let (between, value) = after.split_at(gap.unwrap_or(after.len()));
        kept.push_str(between);
        rest = value;
        next = match assigned {
            Some(_) if is_scheme(first_word(value).0) => NextWord::AfterColon,
            Some(sign) if sign.is_prose() => NextWord::AfterColon,
            Some(sign) => {
                // All of the value goes, whatever its characters are.
                let end = value.find(|c: char| sign.ends_value(c)).unwrap_or(value.len());
                kept.push_str(if end > 0 { REMOVED } else { "" });
                rest = value.get(end..).unwrap_or_default();
                NextWord::AnyWord
            }
            None if word.is_empty() => next,
            None if next != NextWord::AnyWord && is_scheme(word) => NextWord::AfterScheme,
            None if is_scheme(word) => NextWord::AfterLoneScheme,
            None => NextWord::AnyWord,
        };
    }
    kept
}

fn first_word(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !is_of_a_value(c)).unwrap_or(text.len()))
}

fn is_name(word: &str) -> bool {
    let mut name = word.to_ascii_lowercase();
    let last = name.rsplit(['/', '.', '%']).next().unwrap_or_default();
    let is_whole = WHOLE_NAMES.contains(&last);
    name.retain(|c| !matches!(c, '-' | '_'));
    is_whole || NAME_ENDS.iter().any(|end| name.ends_with(end))
}

/// What says how a secret is used, and stands before it.
fn is_scheme(word: &str) -> bool {
    ["bearer", "basic", "aws4-hmac-sha256"].iter().any(|scheme| word.eq_ignore_ascii_case(scheme))
}

fn is_secret(word: &str, next: NextWord) -> bool {
    let by_place = !is_name(word) && !is_scheme(word);
    let by_place = by_place
        && match next {
            NextWord::AnyWord => false,
            NextWord::AfterColon => word.len() >= SHORTEST_IN_PROSE && !is_plain(word),
            NextWord::AfterScheme => word.len() >= PART,
            NextWord::AfterLoneScheme => {
                let word = word.trim_end_matches('.');
                word.len() >= PART && (word.contains('.') || !is_plain(word))
            }
        };
    by_place || is_key_id(word) || is_signature(word)
}

/// What stands between a name and its value: `=`, `: `, `":"`, `>`.
struct Assignment<'a>(&'a str);

/// The sign of an assignment at the beginning of what follows a name.
fn assignment(after: &str) -> Option<Assignment<'_>> {
    let closed = after.trim_start_matches([' ', '"', '\'', '\\', ']']);
    let value = match closed.strip_prefix(['=', ':']) {
        Some(value) => value.trim_start_matches([' ', '=', '>']),
        // The end of an XML tag.
        None => after.strip_prefix('>')?,
    };
    let unescaped = value.trim_start_matches('\\');
    let value = unescaped.strip_prefix(['"', '\'']).unwrap_or(value);
    after.strip_suffix(value).map(Assignment)
}

impl Assignment<'_> {
    fn len(&self) -> usize {
        self.0.len()
    }

    /// The quotation mark that opens the value.
    fn quote(&self) -> Option<char> {
        self.0.chars().next_back().filter(|c| matches!(*c, '"' | '\''))
    }

    /// Whether a sentence may follow, as after `InvalidSignature: `.
    fn is_prose(&self) -> bool {
        self.0.contains(':') && self.quote().is_none()
    }

    fn ends_value(&self, c: char) -> bool {
        match self.quote() {
            Some(quote) => c == quote || c == '\\',
            None => c.is_whitespace() || matches!(c, '"' | '\'' | '&' | ';' | ',' | '<' | '>' | ')' | ']' | '}'),
        }
    }
}

/// Whether the text is words, such as an error's code, rather than random characters: letters, few of them capital.
pub(super) fn is_plain(text: &str) -> bool {
    text.split(['-', '_', '/', '.']).all(|word| {
        let capitals = word.bytes().filter(u8::is_ascii_uppercase).count();
        let one_case = capitals * 3 <= word.len() || capitals == word.len();
        word.bytes().all(|b| b.is_ascii_alphabetic()) && one_case
    })
}

/// Whether a character may be part of a key id, a token or a signature. (`=` ends a name.)
fn is_of_a_value(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '-' | '_' | '.' | '%')
}

fn is_key_id(word: &str) -> bool {
    let id = word.split('/').next().unwrap_or_default();
    (id.starts_with("AKIA") || id.starts_with("ASIA"))
        && id.len() >= 16
        && id.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit())
}

/// HMAC-SHA-256 in hexadecimal.
fn is_signature(word: &str) -> bool {
    word.len() == 64 && word.chars().all(|c| c.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_secret_is_removed() {
        let signature = "0123456789abcdef".repeat(4);
        for (text, expected) in [
            ("key AKIAIOSFODNN7EXAMPLE!", "key [removed]!"),
            (
                &format!("AWS4-HMAC-SHA256 Credential=abcdefgh/2025/x, SignedHeaders=host, Signature={signature}"),
                "AWS4-HMAC-SHA256 Credential=[removed], SignedHeaders=host, Signature=[removed]",
            ),
            ("X-Amz-Security-Token: FwoGZXIvYXdz== is old", "X-Amz-Security-Token: [removed]== is old"),
            ("Authorization: Bearer abcdefghijk", "Authorization: Bearer [removed]"),
            ("{\"AccessKeyId\":\"minioadmin\"}", "{\"AccessKeyId\":\"[removed]\"}"),
            (
                "SignatureDoesNotMatch: The request signature we calculated does not match the signature you provided",
                "SignatureDoesNotMatch: The request signature we calculated does not match the signature you provided",
            ),
            (
                "InvalidAccessKeyId: Malformed access key; InvalidSignature: mismatched, Authorization: AccessDenied.",
                "InvalidAccessKeyId: Malformed access key; InvalidSignature: mismatched, Authorization: AccessDenied.",
            ),
            ("AccessKeyId: minio2admin, signature=wordsonly", "AccessKeyId: [removed], signature=[removed]"),
            (
                "DefaultEndpointsProtocol=https;AccountName=logs;AccountKey=Zm9vYmFyYmF6cXV4+/==;EndpointSuffix=x.net",
                "DefaultEndpointsProtocol=https;AccountName=logs;AccountKey=[removed];EndpointSuffix=x.net",
            ),
            (
                "https://h/c?sv=2022-11-02&sig=abcDEF0123%2Fx%3D&se=2030",
                "https://h/c?sv=2022-11-02&sig=[removed]&se=2030",
            ),
            ("GET /o?access_token=ya29.a0AfH6SMBx&alt=json", "GET /o?access_token=[removed]&alt=json"),
            ("{\"refresh_token\": \"1//0gAbCdEf123\"}", "{\"refresh_token\": \"[removed]\"}"),
            ("user=me password=hunter2 host=h", "user=me password=[removed] host=h"),
            (
                "passwd=tiger, pwd=lion, client_secret=s3cr3t",
                "passwd=[removed], pwd=[removed], client_secret=[removed]",
            ),
            ("token: 9f86d081884c7d65", "token: [removed]"),
            (
                "X-Auth-Token: gAAAAABf8x, api_key=ab12, x-api-key: 77aa88bb99",
                "X-Auth-Token: [removed], api_key=[removed], x-api-key: [removed]",
            ),
            ("SharedAccessSignature sig=Ab1; secret=Zz9zZz9z", "SharedAccessSignature sig=[removed]; secret=[removed]"),
            ("password=p@ss$word,user=me", "password=[removed],user=me"),
            ("password='two words'; pwd=, user=me", "password='[removed]'; pwd=, user=me"),
            ("{\"password\":\"\",\"user\":\"me\"}", "{\"password\":\"\",\"user\":\"me\"}"),
            ("<Password>hunter2</Password><Token></Token>", "<Password>[removed]</Password><Token></Token>"),
            (
                "password: hunter2; Authorization: Bearer token is missing",
                "password: [removed]; Authorization: Bearer token is missing",
            ),
            ("InvalidSignature:The signature != computed", "InvalidSignature:The signature != computed"),
            (
                "unexpected token: expected `,`; invalid token: malformed; the password is wrong; no secret: given",
                "unexpected token: expected `,`; invalid token: malformed; the password is wrong; no secret: given",
            ),
            (
                "design=simple, continuation-token=1ueGcxLPRx1Tr, next_marker=orders/0, tokens=8192, key=default/t/0/segment-00000000000000000003.kfs",
                "design=simple, continuation-token=1ueGcxLPRx1Tr, next_marker=orders/0, tokens=8192, key=default/t/0/segment-00000000000000000003.kfs",
            ),
            ("sent Bearer abc.eyJhbGci.x to it", "sent Bearer [removed] to it"),
            (
                "Basic dXNlcjpwYXNz is old; Basic authentication failed.",
                "Basic [removed] is old; Basic authentication failed.",
            ),
            ("GET https://me:p%40ss@h:80/x?y, http://h/a@b", "GET https://[removed]@h:80/x?y, http://h/a@b"),
            (
                "key -----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY----- and -----BEGIN X-----\nabc",
                "key [removed] and [removed]",
            ),
            ("curl -H 'X-Vault-Token: hvs.CAESI1'", "curl -H 'X-Vault-Token: [removed]'"),
            ("ünïcode: nothing = here", "ünïcode: nothing = here"),
            ("", ""),
        ] {
            assert_eq!(strip_by_pattern(text), expected);
        }
    }
}
