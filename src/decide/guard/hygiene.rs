//! What an own key should not hold, and how it should not look.
//!
//! A false alarm costs more than it seems: where the guard refuses, it stops a payment. So a card
//! number must look like one in length, beginning, grouping and check digit: one number in ten has
//! a valid check digit by chance, and keys are full of times and order numbers.

use std::borrow::Cow;

use super::Finding;

/// A key that one could guess this often is no name for an operation.
const LEAST_BITS: f64 = 16.0;

/// Digits of the shortest card number.
const SHORTEST_CARD: usize = 13;

/// How card numbers are grouped in print.
const GROUPS: [&[usize]; 6] =
    [&[4, 4, 4, 4], &[4, 4, 4, 4, 3], &[4, 6, 5], &[4, 6, 4], &[4, 4, 4, 1], &[6, 13]];

/// Whether an e-mail address stands in `key`, with an `@` or its `%40`.
pub(super) fn has_email(key: &str) -> bool {
    let key = if key.contains('%') { key.replace("%40", "@").into() } else { Cow::Borrowed(key) };
    key.match_indices('@').any(|(at, _)| {
        let local = key.get(..at).unwrap_or_default();
        let domain = key.get(at.saturating_add(1)..).unwrap_or_default();
        local.ends_with(|c: char| c.is_ascii_alphanumeric() || "._%+-".contains(c))
            && is_domain(domain)
    })
}

/// Whether `text` begins with a name that has a dot and, at its end, a word: `example.com`.
fn is_domain(text: &str) -> bool {
    let inside = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
    let end = text.find(|c| !inside(c)).unwrap_or(text.len());
    let name = text.get(..end).unwrap_or_default().trim_end_matches(['.', '-']);
    let Some((host, last)) = name.rsplit_once('.') else { return false };
    // What follows the address in the key, after a hyphen, is not the address's.
    let last = last.split('-').next().unwrap_or_default();
    !host.is_empty() && last.len() >= 2 && last.bytes().all(|byte| byte.is_ascii_alphabetic())
}

/// Whether a card number stands in `key`, in one piece or in groups as on a card.
pub(super) fn has_card(key: &str) -> bool {
    if key.bytes().filter(u8::is_ascii_digit).count() < SHORTEST_CARD {
        return false;
    }
    let runs = digit_runs(key);
    let grouped = |from: usize| {
        GROUPS.iter().any(|lengths| {
            let end = from.saturating_add(lengths.len());
            let Some(groups) = runs.get(from..end) else { return false };
            let alike =
                groups.iter().zip(*lengths).all(|(run, length)| run.digits.len() == *length);
            let joined = groups.iter().skip(1).all(|run| run.follows);
            alike && joined && is_card(&groups.iter().map(|run| run.digits).collect::<String>())
        })
    };
    runs.iter().any(|run| is_card(run.digits)) || (0..runs.len()).any(grouped)
}

/// Digits without anything between.
struct Run<'a> {
    digits: &'a str,
    /// One space, hyphen, dot or underscore stands between these and the ones before.
    follows: bool,
}

fn digit_runs(key: &str) -> Vec<Run<'_>> {
    let mut runs = Vec::new();
    let mut follows = false;
    for piece in key.split_inclusive(|c: char| !c.is_ascii_digit()) {
        let digits = piece.trim_end_matches(|c: char| !c.is_ascii_digit());
        let single = piece.ends_with([' ', '-', '.', '_']);
        if digits.is_empty() {
            follows = false;
        } else {
            runs.push(Run { digits, follows });
            follows = single;
        }
    }
    runs
}

/// 13 to 19 digits with a card's beginning and check digit (ISO/IEC 7812). Mastercard has numbers
/// that begin with 2; others of the kind are times and dates.
fn is_card(digits: &str) -> bool {
    let first = digits.get(..4).and_then(|four| four.parse::<u32>().ok());
    let issued = match first {
        Some(3000..=6999) => (SHORTEST_CARD..=19).contains(&digits.len()),
        Some(2221..=2720) => digits.len() == 16,
        Some(_) | None => false,
    };
    issued && luhn(digits) && digits.bytes().any(|byte| Some(byte) != digits.bytes().next())
}

fn luhn(digits: &str) -> bool {
    let values = digits.chars().rev().filter_map(|digit| digit.to_digit(10));
    let sum: u32 = values
        .enumerate()
        .map(|(place, digit)| match (place % 2, digit) {
            (1, 5..=9) => digit * 2 - 9,
            (1, _) => digit * 2,
            (_, _) => digit,
        })
        .sum();
    sum.is_multiple_of(10)
}

/// Whether another operation may well come to have the same key.
pub(super) fn weakness(key: &str, least: usize) -> Option<Finding> {
    let length = key.len();
    if length < least {
        return Some(Finding::ShortKey { length, least });
    }
    (bits(key) < LEAST_BITS).then_some(Finding::PlainKey)
}

/// How much there is to guess, were the characters drawn as often as they stand here.
fn bits(key: &str) -> f64 {
    let count = |bytes: &[u8]| f64::from(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    let mut bytes = key.as_bytes().to_vec();
    bytes.sort_unstable();
    let length = count(&bytes);
    let alike = bytes.chunk_by(|one, next| one == next).map(count);
    alike.map(|count| count * (length / count).log2()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_email_address_is_found_wherever_it_stands_in_a_key() {
        for key in [
            "jane.doe@example.com",
            "order-42:jane+shop@mail.example.co.uk:1",
            "jane%40example.com",
            "charge_jane@example.com_42",
            "jane@example.com-2026-11-23",
        ] {
            assert!(has_email(key), "{key}");
        }
    }

    #[test]
    fn an_at_sign_alone_is_no_email_address() {
        for key in ["order@42", "stripe@16.1.0", "@example.com", "a@b", "node@v22.lts1", "job@@x.y"]
        {
            assert!(!has_email(key), "{key}");
        }
    }

    #[test]
    fn a_card_number_is_found_in_one_piece_and_in_groups() {
        for key in [
            "4242424242424242",
            "order-4242 4242 4242 4242-1",
            "pay:4242-4242-4242-4242",
            "378282246310005",
            "3782-822463-10005",
            "u5555555555554444x",
            "2223003122003222",
            "6011.1111.1111.1117",
        ] {
            assert!(has_card(key), "{key}");
        }
    }

    #[test]
    fn times_dates_order_numbers_and_uuids_are_no_cards() {
        for key in [
            "4242424242424241",
            "0000000000000000",
            "4444444444444444",
            "20261123000000000",
            "order-4242-4242-4242",
            "42424242424242424242",
            "12345678-1234-4123-8123-123456789012",
            "4242/4242/4242/4242",
        ] {
            assert!(!has_card(key), "{key}");
        }
        // Milliseconds and nanoseconds of this century up to 2060, among which a tenth has a valid
        // check digit.
        for n in 0..2_000_u64 {
            let millis = 1_700_000_000_000 + n * 545_454_546;
            assert!(!has_card(&format!("order-{millis}")), "{millis}");
            assert!(!has_card(&format!("order-{}", millis * 1_000_000 + n)), "{millis}");
        }
    }

    #[test]
    fn a_key_is_weak_if_it_is_short_or_says_little() {
        let short = Finding::ShortKey { length: 3, least: 8 };
        assert_eq!(weakness("o-1", 8), Some(short));
        for key in ["aaaaaaaaaaaaaaaaaaaaaaaa", "00000042", "1111-1111-1111", "testtest"] {
            assert_eq!(weakness(key, 8), Some(Finding::PlainKey), "{key}");
        }
        for key in ["order-42", "order-42-refund", "00000000-0000-4000-8000-000000000001"] {
            assert_eq!(weakness(key, 8), None, "{key}");
        }
    }
}
