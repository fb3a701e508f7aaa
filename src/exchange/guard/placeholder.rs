//! The API key that payonce holds, in the place of what the application sends.
//!
//! Which key that is, and when it changes, is [`credential`](crate::credential)'s.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use zeroize::Zeroizing;

use super::super::Credentials;
use super::super::Exchange;
use crate::forward::IDEMPOTENCY_KEY;
use crate::ledger::Ledger;
use crate::refusal::Refusal;
use crate::request::Head;
use crate::settings::Secret;
use crate::upstream::Upstream;

impl<L: Ledger, U: Upstream> Exchange<L, U> {
    /// The real key, if the request bore the placeholder: now it bears that key.
    pub(super) fn place_credential(
        &self,
        head: &mut Head,
        came: Option<&[u8]>,
    ) -> Result<Option<Arc<Secret>>, Refusal> {
        if !came.is_some_and(|came| self.guards.credential.stands_for_it(came)) {
            return Ok(None);
        }
        let real = self.guards.credential.current().ok_or(Refusal::NoCredential)?;
        bear(&mut head.headers, &real)?;
        Ok(Some(real))
    }

    /// Who asked when a call was sent that is asked for again with the same client key, if its API
    /// key was rolled meanwhile. The scope goes by the API key, and derived keys by the scope: the
    /// client of a call that is under way cannot know of a roll, and would be charged twice (I2). It
    /// is sent with the new API key all the same.
    pub(super) fn as_it_began(&self, head: &Head) -> Option<Credentials> {
        head.headers.get(IDEMPOTENCY_KEY)?;
        self.guards.credential.former().iter().find_map(|former| {
            let mut headers = head.headers.clone();
            bear(&mut headers, &former.key).ok()?;
            let credentials = Credentials::of(&headers);
            self.may_be_known(head, credentials.as_ref()).then_some(credentials)?
        })
    }
}

/// Puts `key` into an `Authorization` in the place of the key there.
fn bear(headers: &mut HeaderMap, key: &Secret) -> Result<(), Refusal> {
    let came = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes).unwrap_or_default();
    // Nothing is put in that was not seen to be fit for a header.
    let value = authorization(came, key.expose()).ok_or(Refusal::NoCredential)?;
    headers.insert(AUTHORIZATION, value);
    Ok(())
}

/// An `Authorization` with `real` for its API key: `Basic` if it `came` so (RFC 7617), else `Bearer`
/// (RFC 6750). Marked so that no library shows or indexes it.
fn authorization(came: &[u8], real: &[u8]) -> Option<HeaderValue> {
    let basic = came.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"basic "));
    let (scheme, rest) = if basic {
        let pair = Zeroizing::new([real, b":"].concat());
        (&b"Basic "[..], Zeroizing::new(STANDARD.encode(&*pair).into_bytes()))
    } else {
        (&b"Bearer "[..], Zeroizing::new(real.to_vec()))
    };
    let text = Zeroizing::new([scheme, rest.as_slice()].concat());
    let mut value = HeaderValue::from_bytes(&text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::super::super::api_key;
    use super::*;

    #[test]
    fn the_scheme_stays_as_it_came_and_the_value_is_not_shown() {
        let bearer = authorization(b"Bearer stand-in", b"rk_test_1").unwrap();
        assert_eq!(bearer.as_bytes(), b"Bearer rk_test_1");
        let basic = authorization(b"basic c3RhbmQtaW46", b"rk_test_1").unwrap();
        assert_eq!(basic.as_bytes(), b"Basic cmtfdGVzdF8xOg==");
        assert_eq!(*api_key(basic.as_bytes()), b"rk_test_1");
        assert!(!format!("{bearer:?}").contains("rk_test_1"));
    }
}
