//! Amounts as Stripe's API has them, and as people read them.
//!
//! Source: Stripe's "Supported currencies", read 2026: amounts are in the smallest unit of the
//! currency. ISK and UGX have no smaller unit any more and are still written with two decimals;
//! HUF and TWD have two for charges.

use std::collections::BTreeMap;

use serde::Serialize;

const NO_DECIMALS: [&str; 15] = [
    "bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "vnd", "vuv", "xaf",
    "xof", "xpf",
];
const THREE_DECIMALS: [&str; 5] = ["bhd", "jod", "kwd", "omr", "tnd"];

/// Sums by currency. An amount without a currency is counted under `""`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Sums {
    /// Currency in lower case, and how much, in its smallest unit.
    by_currency: BTreeMap<String, i64>,
    /// How many had no amount.
    without_amount: u64,
}

impl Sums {
    /// Adds one amount, as its request said it.
    pub fn add(&mut self, amount: Option<i64>, currency: Option<&str>) {
        let Some(amount) = amount else {
            self.without_amount = self.without_amount.saturating_add(1);
            return;
        };
        let currency = currency.unwrap_or_default().to_ascii_lowercase();
        let sum = self.by_currency.entry(currency).or_default();
        *sum = sum.saturating_add(amount);
    }

    /// How many had no amount.
    #[must_use]
    pub const fn without_amount(&self) -> u64 {
        self.without_amount
    }

    /// `3,210.00 EUR and 1,200 JPY`; empty if no amount was told.
    #[must_use]
    pub fn show(&self) -> String {
        let sums = self.by_currency.iter().map(|(currency, sum)| show(*sum, currency));
        sums.collect::<Vec<_>>().join(" and ")
    }
}

/// `3,210.00 EUR` for 321000 of `eur`. Without a currency nobody knows where the point stands:
/// `321,000 (no currency)`.
#[must_use]
pub fn show(amount: i64, currency: &str) -> String {
    let currency = currency.to_ascii_lowercase();
    if currency.is_empty() {
        return format!("{} (no currency)", plain(amount, 0));
    }
    format!("{} {}", plain(amount, decimals(&currency)), currency.to_uppercase())
}

/// How many decimals an amount in this currency has in Stripe's API.
#[must_use]
pub fn decimals(currency: &str) -> usize {
    if NO_DECIMALS.contains(&currency) {
        0
    } else if THREE_DECIMALS.contains(&currency) {
        3
    } else {
        2
    }
}

fn plain(amount: i64, decimals: usize) -> String {
    let digits = format!("{:0>width$}", amount.unsigned_abs(), width = decimals + 1);
    let (whole, part) = digits.split_at_checked(digits.len() - decimals).unwrap_or((&digits, ""));
    let mut grouped = String::new();
    for (n, digit) in whole.chars().enumerate() {
        if n > 0 && (whole.len() - n).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    let sign = if amount < 0 { "-" } else { "" };
    let point = if part.is_empty() { "" } else { "." };
    format!("{sign}{grouped}{point}{part}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_point_stands_where_the_currency_has_it() {
        for (amount, currency, shown) in [
            (321_000, "eur", "3,210.00 EUR"),
            (5, "USD", "0.05 USD"),
            (0, "usd", "0.00 USD"),
            (1_234_567, "jpy", "1,234,567 JPY"),
            (1_234_567, "kwd", "1,234.567 KWD"),
            (7, "bhd", "0.007 BHD"),
            (500, "isk", "5.00 ISK"),
            (500, "ugx", "5.00 UGX"),
            (-12_345, "gbp", "-123.45 GBP"),
            (321_000, "", "321,000 (no currency)"),
        ] {
            assert_eq!(show(amount, currency), shown);
        }
    }

    #[test]
    fn sums_are_kept_apart_by_currency_and_what_has_no_amount_is_counted() {
        let mut sums = Sums::default();
        for (amount, currency) in [
            (Some(100), Some("eur")),
            (Some(250), Some("EUR")),
            (Some(9), Some("jpy")),
            (None, None),
        ] {
            sums.add(amount, currency);
        }
        assert_eq!((sums.show().as_str(), sums.without_amount()), ("3.50 EUR and 9 JPY", 1));
    }
}
