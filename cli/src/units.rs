//! Durations, sizes and permissions on the command line.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

/// The longest time that an option takes. Beyond it is a slip of the pen, or a wish for no bound.
const LONGEST: Duration = Duration::from_secs(1000 * 24 * 3600);

const TIME: &str = "write a number and a unit, as in 250ms";
const SIZE: &str = "write a whole number and a unit, as in 8MiB";

/// A whole number of things, and not less than this.
pub(crate) fn count_from<T: Clone + Display + FromStr + PartialOrd>(
    least: T,
) -> impl Fn(&str) -> Result<T, String> + Clone {
    move |text| match text.parse() {
        Ok(count) if count >= least => Ok(count),
        _ => Err(format!("write a whole number of at least {least}, as in 10")),
    }
}

/// `250ms`, `1.5s`, `2m`, `1h`, `7d`; a bare number is seconds.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text);
    let seconds_per = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        "d" => 86400.0,
        _ if number.is_empty() => return Err(TIME.to_string()),
        _ => return Err(format!("{unit:?} is no unit of time: write ms, s, m, h or d, as in 250ms")),
    };
    let number: f64 = number.parse().map_err(|_| TIME.to_string())?;
    match Duration::try_from_secs_f64(number * seconds_per) {
        Ok(time) if time <= LONGEST => Ok(time),
        _ => Err("it is at most 1000 days".to_string()),
    }
}

/// `8MiB`, `64k`, `1G`; a bare number is bytes. All units are powers of 1,024.
pub(crate) fn bytes(text: &str) -> Result<usize, String> {
    let (number, unit) = split(text);
    let scale: usize = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        _ if number.is_empty() => return Err(SIZE.to_string()),
        _ => return Err(format!("{unit:?} is no unit of size: write KiB, MiB or GiB, as in 8MiB")),
    };
    let number: usize = number.parse().map_err(|_| SIZE.to_string())?;
    number.checked_mul(scale).ok_or_else(|| "that is too large".to_string())
}

/// As [`bytes()`], and not less than this.
pub(crate) fn bytes_from(least: usize) -> impl Fn(&str) -> Result<usize, String> + Clone {
    move |text| {
        bytes(text).and_then(|bytes| if bytes < least { Err(format!("it is at least {least}")) } else { Ok(bytes) })
    }
}

/// `640`, `0640`: permissions in octal, which include these.
pub(crate) fn mode_with(least: u32) -> impl Fn(&str) -> Result<u32, String> + Clone {
    move |text| match u32::from_str_radix(text, 8) {
        Ok(mode) if mode <= 0o777 && mode & least == least => Ok(mode),
        Ok(mode) if mode <= 0o777 => Err(format!("it is at least {least:o}, to use what is made")),
        _ => Err("write permissions in octal, up to 777, as in 640".into()),
    }
}

fn split(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

#[allow(dead_code, reason = "ls uses it")]
/// A size for people: `31.6 KiB`.
pub(crate) fn show_bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut unit = "B";
    for larger in ["KiB", "MiB", "GiB", "TiB", "PiB"] {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = larger;
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_are_octal() {
        let mode = mode_with(0o400);
        assert_eq!((mode("640"), mode("0750")), (Ok(0o640), Ok(0o750)));
        for wrong in ["", "680", "u=rw", "1777", "-1", "0", "377"] {
            assert!(mode(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn durations_have_units() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("60"), Ok(Duration::from_secs(60)));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(duration("7d"), Ok(Duration::from_secs(7 * 24 * 3600)));
        for wrong in ["", "ms", "-1s", "1 fortnight", "1e400s", "24001h"] {
            assert!(duration(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(bytes("8MiB"), Ok(8 << 20));
        assert_eq!(bytes("64k"), Ok(64 << 10));
        assert_eq!(bytes("65536"), Ok(65536));
        for wrong in ["", "MiB", "-1", "1.5M", "8 furlongs", "99999999999999999999", "99999999999G"] {
            assert!(bytes(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn sizes_are_shown_for_people() {
        let shown: Vec<_> = [0, 1023, 1024, 32383, 5 << 30].map(show_bytes).into();
        assert_eq!(shown, ["0 B", "1023 B", "1.0 KiB", "31.6 KiB", "5.0 GiB"]);
    }
}
