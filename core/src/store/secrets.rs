//! Removes from text what looks like a secret.

/// What stands in the place of a secret.
pub(super) const REMOVED: &str = "[removed]";
/// The shortest secret, or part of one, that is told from other words.
pub(super) const PART: usize = 8;

/// Names after which a secret stands, in lower case.
const NAMES: [&str; 8] = [
    "signature",
    "credential",
    "security-token",
    "session-token",
    "sessiontoken",
    "accesskeyid",
    "secretaccesskey",
    "authorization",
];

/// Removes what looks like a secret: values after the names that S3 gives them, access key ids, signatures.
/// For text whose secrets are not known, such as that of a client that a caller brought.
pub(super) fn strip_by_pattern(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    // What a word is decided by: whether a secret's name ended right before it, and whether as in prose.
    let (mut expected, mut prose) = (false, false);
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !is_of_a_value(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        let lower = word.to_ascii_lowercase();
        let name_ends = NAMES.iter().any(|name| lower.ends_with(name));
        let scheme = matches!(lower.as_str(), "bearer" | "basic" | "aws4-hmac-sha256");
        let named = expected && !name_ends && !scheme && word.len() >= PART && !(prose && is_plain(word));
        if named || is_key_id(word) || is_signature(word) {
            kept.push_str(REMOVED);
        } else {
            kept.push_str(word);
        }
        let gap = after.find(is_of_a_value).unwrap_or(after.len());
        let (between, next) = after.split_at(gap);
        if !word.is_empty() {
            // `name=value`, `name: value`, `"name":"value"`, `<name>value`. After `InvalidSignature: ` comes a
            // message as a rule.
            expected = (name_ends && between.contains(['=', ':', '>'])) || (expected && scheme);
            prose = between == ": " && !scheme;
        }
        kept.push_str(between);
        rest = next;
    }
    kept
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
            ("ünïcode: nothing = here", "ünïcode: nothing = here"),
            ("", ""),
        ] {
            assert_eq!(strip_by_pattern(text), expected);
        }
    }
}
