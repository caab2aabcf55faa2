//! Times on the command line and in the output.

use chrono::{DateTime, SecondsFormat};

/// Unix milliseconds, or RFC 3339 (`2026-01-01T00:00:00Z`).
pub(crate) fn parse(text: &str) -> Result<i64, String> {
    if let Ok(ms) = text.parse() {
        return Ok(ms);
    }
    DateTime::parse_from_rfc3339(text)
        .map(|time| time.timestamp_millis())
        .map_err(|_| "write Unix milliseconds, or a time as in 2026-01-01T00:00:00Z".to_string())
}

/// RFC 3339 in UTC with milliseconds; the bare number where no calendar reaches.
pub(crate) fn show(ms: i64) -> String {
    match DateTime::from_timestamp_millis(ms) {
        Some(time) => time.to_rfc3339_opts(SecondsFormat::Millis, true),
        None => ms.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_both_ways() {
        assert_eq!(parse("1767225600000"), Ok(1_767_225_600_000));
        assert_eq!(parse("2026-01-01T00:00:00Z"), Ok(1_767_225_600_000));
        assert_eq!(parse("2026-01-01T01:00:00.250+01:00"), Ok(1_767_225_600_250));
        assert!(parse("yesterday").is_err());
        assert_eq!(show(1_767_225_600_250), "2026-01-01T00:00:00.250Z");
        assert_eq!(show(i64::MAX), i64::MAX.to_string());
    }
}
