//! Durations and sizes as people write them: `70s`, `500ms`, `64KiB`.

use std::time::Duration;

/// Milliseconds in each unit of time.
const TIMES: [(&str, u64); 5] =
    [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// Bytes in each unit of size. No `KB`: it means 1000 to some and 1024 to others.
const SIZES: [(&str, u64); 4] = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

/// Reads `70s`, `500ms`, `2m`, `22h`, `28d`: a whole number and a unit. `None` if it is neither
/// that nor small enough to hold.
#[must_use]
pub fn duration(text: &str) -> Option<Duration> {
    scaled(text, &TIMES).map(Duration::from_millis)
}

/// Reads `64KiB`, `1MiB`, `512B` into bytes, likewise.
#[must_use]
pub(super) fn size(text: &str) -> Option<u64> {
    scaled(text, &SIZES)
}

/// Writes a duration as `duration` reads it, in the greatest unit that is exact.
#[must_use]
pub fn show_duration(time: Duration) -> String {
    show(u64::try_from(time.as_millis()).unwrap_or(u64::MAX), &TIMES)
}

/// Writes a size as `size` reads it, likewise.
#[must_use]
pub fn show_size(bytes: u64) -> String {
    show(bytes, &SIZES)
}

fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(digits)?;
    let unit = unit.trim_start_matches(' ');
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

fn show(amount: u64, units: &[(&str, u64)]) -> String {
    let fits = |factor: u64| amount >= factor && amount.is_multiple_of(factor);
    match units.iter().rev().find(|(_, factor)| fits(*factor)) {
        Some((name, factor)) => format!("{}{name}", amount / factor),
        None => format!("{amount}{}", units.first().map_or("", |(name, _)| name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_whole_number_and_a_unit() {
        for (text, millis) in [("70s", 70_000), ("500ms", 500), ("2m", 120_000), ("0s", 0)] {
            assert_eq!(duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "70", "s", "-1s", "1.5s", "1 year", "99999999999999999999s", "1S", "1s "] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn a_size_has_a_binary_unit() {
        assert_eq!(size("1MiB"), Some(1_048_576));
        assert_eq!(size("512B"), Some(512));
        for text in ["1MB", "1M", "MiB", "1.5MiB", "18446744073709551615GiB", "12"] {
            assert_eq!(size(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_shown_reads_back_as_it_was() {
        for text in ["70s", "500ms", "2m", "22h", "28d", "1500ms"] {
            assert_eq!(duration(text).map(show_duration).as_deref(), Some(text));
        }
        for text in ["64KiB", "1MiB", "2GiB", "1000B"] {
            assert_eq!(size(text).map(show_size).as_deref(), Some(text));
        }
        assert_eq!(show_duration(Duration::ZERO), "0ms");
    }
}
