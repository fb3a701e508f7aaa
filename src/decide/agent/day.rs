//! A day of the calendar, in UTC: when something was released, and how long ago that is.
//!
//! Nothing smaller than a day matters here, and nothing before 1970.

use std::fmt;
use std::time::Duration;

use crate::clock::Timestamp;

/// Days since the beginning of 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Day(u32);

/// A length of time as people say it: `90 days`, `12 months`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Span {
    months: u32,
    days: u32,
}

/// No span is longer: nothing was released before.
const MOST_YEARS: u32 = 50;

impl Day {
    /// The day of `now`.
    #[must_use]
    pub fn of(now: Timestamp) -> Self {
        let days = now.since(Timestamp::default()).as_secs() / 86_400;
        Self(u32::try_from(days).unwrap_or(u32::MAX))
    }

    /// Reads `2026-10-29`; `None` if there is no such day since 1970.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let mut part = |digits: usize| {
            let text = parts.next()?;
            let plain = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
            plain.then(|| text.parse::<u32>().ok())?
        };
        let (year, month, day) = (part(4)?, part(2)?, part(2)?);
        let real = (1..=12).contains(&month) && (1..=days_in(year, month)).contains(&day);
        (parts.next().is_none() && year >= 1970 && real).then(|| Self::from_date(year, month, day))
    }

    /// How many days `self` is after `earlier`; zero if it is before.
    #[must_use]
    pub const fn days_since(self, earlier: Self) -> u32 {
        self.0.saturating_sub(earlier.0)
    }

    /// The day that lies `span` before this one, in months by the calendar: a month before the 31st
    /// of March is the last day of February.
    #[must_use]
    pub fn before(self, span: Span) -> Self {
        let (year, month, day) = self.date();
        let months = (year * 12 + month - 1).saturating_sub(span.months).max(1970 * 12);
        let (year, month) = (months / 12, months % 12 + 1);
        let day = Self::from_date(year, month, day.min(days_in(year, month)));
        Self(day.0.saturating_sub(span.days))
    }

    /// Its beginning.
    #[must_use]
    pub fn starts(self) -> Timestamp {
        Timestamp::default().plus(Duration::from_secs(u64::from(self.0) * 86_400))
    }

    fn from_date(year: u32, month: u32, day: u32) -> Self {
        let years: u32 = (1970..year).map(|year| 365 + u32::from(is_leap(year))).sum();
        let months: u32 = (1..month).map(|month| days_in(year, month)).sum();
        Self(years + months + day - 1)
    }

    /// Year, month and day of the month.
    fn date(self) -> (u32, u32, u32) {
        let (mut year, mut left) = (1970, self.0);
        while year < 9999 && left >= 365 + u32::from(is_leap(year)) {
            left -= 365 + u32::from(is_leap(year));
            year += 1;
        }
        let mut month = 1;
        while month < 12 && left >= days_in(year, month) {
            left -= days_in(year, month);
            month += 1;
        }
        (year, month, left + 1)
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.date();
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

impl Span {
    /// Reads a number and `days`, `weeks`, `months` or `years` (or one of each); `None` if it is
    /// anything else, zero, or over 50 years.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (number, unit) = text.split_once(' ')?;
        let number: u32 = number.parse().ok().filter(|number| *number > 0)?;
        let (months, days, a_year) = match unit {
            "day" | "days" => (0, number, 366),
            "week" | "weeks" => (0, number.checked_mul(7)?, 366),
            "month" | "months" => (number, 0, 12),
            "year" | "years" => (number.checked_mul(12)?, 0, 12),
            _no_unit => return None,
        };
        (months.max(days) <= MOST_YEARS * a_year).then_some(Self { months, days })
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.months, self.days) {
            (0, days) => write!(f, "{days} days"),
            (months, _) => write!(f, "{months} months"),
        }
    }
}

const fn is_leap(year: u32) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

const fn days_in(year: u32, month: u32) -> u32 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _long => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> Day {
        Day::parse(text).unwrap_or_else(|| panic!("{text} is a day"))
    }

    #[test]
    fn every_day_of_a_century_is_read_back() {
        for number in 0..36_600 {
            assert_eq!(day(&Day(number).to_string()), Day(number));
        }
        assert_eq!(day("2026-11-23"), Day::of(Timestamp::from_millis(1_795_392_000_000)));
        assert_eq!(day("2024-02-29").starts(), Timestamp::from_millis(1_709_164_800_000));
        assert!(Day(u32::MAX).to_string().starts_with("9999-12-"));
    }

    #[test]
    fn what_is_no_day_is_none() {
        for text in ["", "2026", "2026-02-29", "2026-13-01", "2026-00-01", "2026-1-1", "1969-12-31"]
        {
            assert_eq!(Day::parse(text), None, "{text}");
        }
        assert_eq!(Day::parse("2026-01-01-01"), None);
    }

    #[test]
    fn a_span_goes_back_by_the_calendar() {
        let before = |text: &str, span: &str| day(text).before(Span::parse(span).unwrap());
        assert_eq!(before("2026-11-23", "12 months"), day("2025-11-23"));
        assert_eq!(before("2026-03-31", "1 month"), day("2026-02-28"));
        assert_eq!(before("2024-02-29", "1 year"), day("2023-02-28"));
        assert_eq!(before("2026-01-01", "2 weeks"), day("2025-12-18"));
        assert_eq!(before("1971-01-01", "5 years"), day("1970-01-01"));
        assert_eq!(day("2026-01-08").days_since(day("2026-01-01")), 7);
    }

    #[test]
    fn a_span_is_a_number_and_a_unit() {
        for text in ["", "12", "months", "0 days", "12months", "12 moons", "-1 days", "51 years"] {
            assert_eq!(Span::parse(text), None, "{text}");
        }
        assert_eq!(Span::parse("2 years").unwrap().to_string(), "24 months");
        assert_eq!(Span::parse("1 week").unwrap().to_string(), "7 days");
    }
}
