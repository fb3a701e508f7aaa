//! Whether bytes come from Stripe: its webhook signatures, read, checked and made. Pure.
//!
//! `Stripe-Signature: t=<unix>,v1=<hex>[,v1=…][,v0=…]`, where `v1` is the HMAC-SHA256 of
//! `"{t}.{raw body}"` keyed by the secret's text as it is (FACTS §4). Other schemes are passed over.
//! There are several `v1` while a secret is being rolled at Stripe, and several secrets here while
//! it is being rolled on this side: any pair that matches is enough.
//!
//! The time is looked at last, so that "too old" is only ever said of what Stripe itself signed.

use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderName};
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq};

use crate::clock::Timestamp;

/// `Stripe-Signature`
pub const STRIPE_SIGNATURE: HeaderName = HeaderName::from_static("stripe-signature");

/// What both sides take for the same time, unless settings say otherwise: Stripe's own default.
pub const TOLERANCE: Duration = Duration::from_mins(5);

/// Longest header, in bytes. Stripe's have some hundred.
const LONGEST: usize = 4096;
/// Digits of a time in seconds: up to the year 5138.
const DIGITS: usize = 11;

type Digest = [u8; 32];

/// Why bytes are not taken for Stripe's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum BadSignature {
    /// No header.
    #[error("there is no Stripe-Signature")]
    Missing,
    /// Two headers.
    #[error("Stripe-Signature stands more than once")]
    Repeated,
    /// No list of `name=value`, or not one time.
    #[error("Stripe-Signature is not of the form t=…,v1=…")]
    Malformed,
    /// None of the scheme that is known.
    #[error("Stripe-Signature holds no v1 signature")]
    NoScheme,
    /// No secret made any of them.
    #[error("no v1 signature was made of these bytes with a secret of this endpoint")]
    Mismatch,
    /// Signed longer ago than the tolerance.
    #[error("it was signed {}s ago, more than the tolerance", .0.as_secs())]
    TooOld(Duration),
    /// Signed further ahead than the tolerance.
    #[error("it was signed {}s ahead of this machine's clock, more than the tolerance", .0.as_secs())]
    TooNew(Duration),
}

impl BadSignature {
    /// The name in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "signature_missing",
            Self::Repeated => "signature_repeated",
            Self::Malformed => "signature_malformed",
            Self::NoScheme => "signature_scheme",
            Self::Mismatch => "signature_mismatch",
            Self::TooOld(_) => "too_old",
            Self::TooNew(_) => "too_new",
        }
    }
}

/// A `Stripe-Signature`, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The time as it was signed: its digits.
    signed_at: String,
    at: Timestamp,
    v1: Vec<Digest>,
}

impl Signature {
    /// The one of these fields.
    ///
    /// # Errors
    /// [`BadSignature`] of the form alone.
    pub fn of(headers: &HeaderMap) -> Result<Self, BadSignature> {
        let mut values = headers.get_all(STRIPE_SIGNATURE).iter();
        let value = values.next().ok_or(BadSignature::Missing)?;
        if values.next().is_some() {
            return Err(BadSignature::Repeated);
        }
        Self::parse(value.to_str().map_err(|_not_ascii| BadSignature::Malformed)?)
    }

    /// Reads the header's value.
    ///
    /// # Errors
    /// [`BadSignature`] of the form alone.
    pub fn parse(text: &str) -> Result<Self, BadSignature> {
        if text.len() > LONGEST {
            return Err(BadSignature::Malformed);
        }
        let (mut time, mut v1, mut known) = (None, Vec::new(), false);
        for item in text.split(',') {
            let (name, value) = item.trim().split_once('=').ok_or(BadSignature::Malformed)?;
            match name {
                // With two times it would be anybody's choice which of them is old.
                "t" if time.is_some() => return Err(BadSignature::Malformed),
                "t" => time = Some(seconds(value)?),
                "v1" => {
                    known = true;
                    v1.extend(digest(value));
                }
                _other_scheme => {}
            }
        }
        let (signed_at, at) = time.ok_or(BadSignature::Malformed)?;
        if !known {
            return Err(BadSignature::NoScheme);
        }
        Ok(Self { signed_at, at, v1 })
    }

    /// Whether one of `secrets` made it of `body` no longer than `tolerance` from `now`, either way.
    /// Takes as long for a wrong signature as for a right one.
    ///
    /// # Errors
    /// [`BadSignature`] says why not.
    pub fn verify<'a>(
        &self,
        body: &[u8],
        secrets: impl IntoIterator<Item = &'a [u8]>,
        now: Timestamp,
        tolerance: Duration,
    ) -> Result<(), BadSignature> {
        let mut matches = Choice::from(0);
        for secret in secrets.into_iter().filter(|secret| !secret.is_empty()) {
            let wanted = mac(secret, &self.signed_at, body);
            for given in &self.v1 {
                matches |= wanted.ct_eq(given);
            }
        }
        if !bool::from(matches) {
            return Err(BadSignature::Mismatch);
        }
        let (age, ahead) = (now.since(self.at), self.at.since(now));
        if age > tolerance {
            Err(BadSignature::TooOld(age))
        } else if ahead > tolerance {
            Err(BadSignature::TooNew(ahead))
        } else {
            Ok(())
        }
    }
}

/// The value of a `Stripe-Signature` for `body`, made with each of `secrets` at `at` (whole seconds
/// of it). As Stripe makes them while a secret is being rolled: one time, one `v1` for each.
#[must_use]
pub fn sign<'a>(body: &[u8], secrets: impl IntoIterator<Item = &'a [u8]>, at: Timestamp) -> String {
    let time = (at.as_millis() / 1000).to_string();
    let each = |secret| format!(",v1={}", hex::encode(mac(secret, &time, body)));
    let signatures: String = secrets.into_iter().map(each).collect();
    format!("t={time}{signatures}")
}

fn mac(secret: &[u8], time: &str, body: &[u8]) -> Digest {
    // A key of any length is one for HMAC (RFC 2104 §2), so that there is no other case.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret) else { return [0; 32] };
    mac.update(time.as_bytes());
    mac.update(b".");
    mac.update(body);
    mac.finalize().into_bytes().into()
}

fn seconds(text: &str) -> Result<(String, Timestamp), BadSignature> {
    let plain = text.len() <= DIGITS && text.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = text.parse::<u64>().ok().filter(|_| plain).ok_or(BadSignature::Malformed)?;
    Ok((text.to_owned(), Timestamp::from_millis(seconds.saturating_mul(1000))))
}

/// What is no digest of this scheme matches nothing.
fn digest(text: &str) -> Option<Digest> {
    let mut digest = [0; 32];
    hex::decode_to_slice(text, &mut digest).ok()?;
    Some(digest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_000);
    const BODY: &[u8] = br#"{"id":"evt_1"}"#;
    const SECRET: &[u8] = b"whsec_of_the_tests_alone";
    const OTHER: &[u8] = b"whsec_of_somebody_else_1";

    fn verify(header: &str, secrets: &[&[u8]]) -> Result<(), BadSignature> {
        Signature::parse(header)?.verify(BODY, secrets.iter().copied(), NOW, TOLERANCE)
    }

    fn signed(secrets: &[&[u8]], at: Timestamp) -> String {
        sign(BODY, secrets.iter().copied(), at)
    }

    #[test]
    fn the_signature_is_the_hmac_of_time_dot_body_keyed_by_the_secrets_text() {
        // Made with: printf '1790000000.{"id":"evt_1"}' | openssl dgst -sha256 -hmac whsec_…
        let expected =
            "t=1790000000,v1=86e73798b39174d8788df8a033ee85383b09df300c75b6b2fa893c55d3570924";
        assert_eq!(signed(&[SECRET], NOW), expected);
    }

    #[test]
    fn one_pair_that_matches_is_enough_while_secrets_are_rolled_on_either_side() {
        assert_eq!(verify(&signed(&[SECRET], NOW), &[OTHER, SECRET]), Ok(()));
        assert_eq!(verify(&signed(&[OTHER, SECRET], NOW), &[SECRET]), Ok(()));
        assert_eq!(verify(&signed(&[OTHER], NOW), &[SECRET]), Err(BadSignature::Mismatch));
        assert_eq!(verify(&signed(&[SECRET], NOW), &[]), Err(BadSignature::Mismatch));
        assert_eq!(verify(&signed(&[b""], NOW), &[b""]), Err(BadSignature::Mismatch));
    }

    #[test]
    fn other_schemes_and_digests_of_another_length_are_passed_over() {
        let good = signed(&[SECRET], NOW);
        assert_eq!(verify(&format!("{good},v0=00,v2=abc,v1=00,v1=zz"), &[SECRET]), Ok(()));
        let only_v0 = good.replace("v1", "v0");
        assert_eq!(verify(&only_v0, &[SECRET]), Err(BadSignature::NoScheme));
    }

    #[test]
    fn the_tolerance_holds_both_ways_to_the_second() {
        let at = |ago: i64| {
            let off = Duration::from_secs(ago.unsigned_abs());
            let at = if ago < 0 { NOW.plus(off) } else { NOW.minus(off) };
            verify(&signed(&[SECRET], at), &[SECRET])
        };
        assert_eq!((at(300), at(-300)), (Ok(()), Ok(())));
        assert_eq!(at(301), Err(BadSignature::TooOld(Duration::from_secs(301))));
        assert_eq!(at(-301), Err(BadSignature::TooNew(Duration::from_secs(301))));
    }

    #[test]
    fn an_old_time_is_only_said_of_what_the_secret_signed() {
        let old = NOW.minus(Duration::from_hours(1));
        assert_eq!(verify(&signed(&[OTHER], old), &[SECRET]), Err(BadSignature::Mismatch));
    }

    #[test]
    fn what_is_no_list_with_one_time_is_malformed() {
        let v1 = "v1=00";
        for text in ["", "t", v1, "t=,v1=00", "t=1e3,v1=00", "t=+1,v1=00", "t=-1,v1=00"] {
            assert_eq!(Signature::parse(text), Err(BadSignature::Malformed), "{text}");
        }
        for text in ["t=1,t=2,v1=00".to_owned(), format!("t={},{v1}", "9".repeat(12))] {
            assert_eq!(Signature::parse(&text), Err(BadSignature::Malformed), "{text}");
        }
        let long = format!("t=1,{}", "v1=00,".repeat(1000));
        assert_eq!(Signature::parse(&long), Err(BadSignature::Malformed));
    }

    #[test]
    fn the_header_stands_once_or_it_is_refused() {
        let mut headers = HeaderMap::new();
        assert_eq!(Signature::of(&headers), Err(BadSignature::Missing));
        headers.append(STRIPE_SIGNATURE, signed(&[SECRET], NOW).parse().unwrap());
        assert!(Signature::of(&headers).is_ok());
        headers.append(STRIPE_SIGNATURE, signed(&[SECRET], NOW).parse().unwrap());
        assert_eq!(Signature::of(&headers), Err(BadSignature::Repeated));
    }

    proptest! {
        #[test]
        fn no_byte_of_body_time_or_signature_can_be_changed(
            at in any::<prop::sample::Index>(), bit in 0..8_u8, body in "[ -~]{0,40}",
        ) {
            let header = sign(body.as_bytes(), [SECRET], NOW);
            let whole = [header.as_bytes(), b"|", body.as_bytes()].concat();
            let mut changed = whole.clone();
            changed[at.index(whole.len())] ^= 1 << bit;
            let mut parts = changed.splitn(2, |byte| *byte == b'|');
            let parts = (parts.next().unwrap(), parts.next());
            if let (Ok(changed), Some(now)) = (std::str::from_utf8(parts.0), parts.1) {
                let verified = Signature::parse(changed)
                    .and_then(|it| it.verify(now, [SECRET], NOW, Duration::MAX));
                // The case of a hex digit is the one thing that has no meaning.
                let same = changed.eq_ignore_ascii_case(&header) && now == body.as_bytes();
                prop_assert!(verified.is_err() || same, "{}", changed);
            }
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,200}") {
            let read = Signature::parse(&text);
            prop_assert!(read.is_ok() || read.is_err());
        }
    }
}
