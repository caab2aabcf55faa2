//! How long a server asks to wait before the next try: the header `Retry-After`
//! (<https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3>).

use std::time::Duration;

use chrono::{DateTime, NaiveDateTime};
use reqwest::StatusCode;
use reqwest::header::{DATE, HeaderMap, HeaderName, RETRY_AFTER};

use crate::runtime::{Clock, SystemClock};

/// The obsolete forms of a date, which a recipient must read too
/// (<https://www.rfc-editor.org/rfc/rfc9110#section-5.6.7>).
const OBSOLETE_DATES: [&str; 2] = ["%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"];

/// The pause that an answer asks for. `None` where it asks for none, or where its status does not say that the next try
/// may succeed.
pub(super) fn of(status: StatusCode, headers: &HeaderMap) -> Option<Duration> {
    let asks =
        [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE].contains(&status);
    let text = text(headers, &RETRY_AFTER).filter(|_| asks)?;
    if text.bytes().all(|b| b.is_ascii_digit()) && !text.is_empty() {
        // A number that does not fit is a long time.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let until = unix_ms(text)?;
    // The server's own clock says best how long that is.
    let now = self::text(headers, &DATE).and_then(unix_ms).unwrap_or_else(|| SystemClock.wall_ms());
    let pause = u64::try_from(until.saturating_sub(now)).unwrap_or(0);
    Some(Duration::from_millis(pause))
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

/// A date of HTTP in Unix milliseconds.
fn unix_ms(text: &str) -> Option<i64> {
    if let Ok(date) = DateTime::parse_from_rfc2822(text) {
        return Some(date.timestamp_millis());
    }
    let date = OBSOLETE_DATES.iter().find_map(|form| NaiveDateTime::parse_from_str(text, form).ok())?;
    Some(date.and_utc().timestamp_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pause(status: u16, headers: &[(&HeaderName, &str)]) -> Option<Duration> {
        let status = StatusCode::from_u16(status).unwrap();
        of(status, &headers.iter().map(|(name, value)| ((*name).clone(), value.parse().unwrap())).collect())
    }

    #[test]
    fn a_pause_is_asked_for_in_seconds_or_until_a_date() {
        let now = (&DATE, "Sun, 06 Nov 1994 08:49:37 GMT");
        for (asked, seconds) in [
            ("0", 0),
            ("7", 7),
            (" 7 ", 7),
            ("Sun, 06 Nov 1994 08:50:07 GMT", 30),
            ("Sunday, 06-Nov-94 08:50:07 GMT", 30),
            ("Sun Nov  6 08:50:07 1994", 30),
            ("Sun, 06 Nov 1994 08:49:00 GMT", 0),
        ] {
            let found = pause(503, &[now, (&RETRY_AFTER, asked)]);
            assert_eq!(found, Some(Duration::from_secs(seconds)), "{asked}");
        }
        // Without the server's date the system's clock counts.
        assert_eq!(pause(503, &[(&RETRY_AFTER, now.1)]), Some(Duration::ZERO));
    }

    #[test]
    fn a_pause_is_told_as_it_was_asked_for_however_long() {
        let now = (&DATE, "Sun, 06 Nov 1994 08:49:37 GMT");
        for (asked, seconds) in
            [("301", 301), ("18446744073709551616", u64::MAX), ("Mon, 07 Nov 1994 08:49:37 GMT", 24 * 3600)]
        {
            let found = pause(429, &[now, (&RETRY_AFTER, asked)]);
            assert_eq!(found, Some(Duration::from_secs(seconds)), "{asked}");
        }
    }

    #[test]
    fn what_asks_for_no_pause_is_passed_over() {
        for asked in ["", "-1", "1.5", "soon", "Sun, 99 Nov 1994 08:49:37 GMT"] {
            assert_eq!(pause(503, &[(&RETRY_AFTER, asked)]), None, "{asked}");
        }
        assert_eq!(pause(503, &[]), None);
        let asked = [408, 429, 503, 200, 301, 403, 500, 502, 504].map(|status| pause(status, &[(&RETRY_AFTER, "9")]));
        assert_eq!(asked.map(|pause| pause.is_some()), [true, true, true, false, false, false, false, false, false]);
    }
}
