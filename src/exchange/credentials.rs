//! Who asks: the API key of a request, and the scopes that its operations belong to.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use zeroize::Zeroizing;

use super::{Config, OtherSecret};
use crate::decide::digest::{ApiKeyDigest, CallHint, IdFormat, Scope, Secret};
use crate::decide::policy::Scopes;
use crate::forward::IDEMPOTENCY_KEY;
use crate::request::Head;
use crate::seams::{self, Mistake};

/// Who asks, as the request says.
pub(crate) struct Credentials {
    api_key: Zeroizing<Vec<u8>>,
    pub(super) digest: ApiKeyDigest,
    account: Option<Vec<u8>>,
    context: Option<Vec<u8>>,
    /// The scope of this API key, whatever a policy says of it.
    pub(super) own: Scope,
}

impl Credentials {
    /// What is known of a call without its body, if it bears a key.
    pub(super) fn hint(&self, head: &Head) -> Option<CallHint> {
        let key = head.headers.get(IDEMPOTENCY_KEY)?;
        let path = head.target.segments().join("/");
        Some(CallHint::of(&self.own, head.method.as_str(), &path, key.as_bytes()))
    }

    /// `None` without an `Authorization`.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let field = |name: &str| headers.get(name).map(|value| value.as_bytes().to_vec());
        let api_key = api_key(headers.get(AUTHORIZATION)?.as_bytes());
        let (account, context) = (field("stripe-account"), field("stripe-context"));
        let (api_key, account, context) = if seams::mistake(Mistake::IdentityOmitsScope) {
            (Zeroizing::default(), None, None)
        } else {
            (api_key, account, context)
        };
        let digest = ApiKeyDigest::of(&api_key);
        let own = Scope::of_digest(&digest, account.as_deref(), context.as_deref());
        Some(Self { api_key, digest, account, context, own })
    }

    /// The scope that operations of this request belong to.
    pub(crate) fn scope(&self, scopes: &Scopes) -> Scope {
        self.scope_of(&self.digest, scopes)
    }

    /// The scopes that operations of this request may have belonged to under `former` scopes: those
    /// of every key that counts as one with its own now.
    pub(super) fn scopes_under(
        &self,
        now: &Scopes,
        former: &Scopes,
        format: IdFormat,
    ) -> Vec<Scope> {
        if format == IdFormat::First {
            let (account, context) = (self.account.as_deref(), self.context.as_deref());
            return vec![Scope::first_format(&self.api_key, account, context)];
        }
        let own = [self.digest];
        let keys = now.of(&self.digest).map_or(&own[..], |alias| &alias.keys);
        let mut scopes = vec![self.scope(former)];
        for key in keys {
            let scope = self.scope_of(key, former);
            if !scopes.contains(&scope) {
                scopes.push(scope);
            }
        }
        scopes
    }

    fn scope_of(&self, key: &ApiKeyDigest, scopes: &Scopes) -> Scope {
        let (account, context) = (self.account.as_deref(), self.context.as_deref());
        match scopes.of(key) {
            Some(alias) => Scope::named(&alias.name, account, context),
            None => Scope::of_digest(key, account, context),
        }
    }

    /// The scope of its API key, whatever a policy says of it.
    pub(super) const fn own_scope(&self) -> &Scope {
        &self.own
    }

    /// What keys the digests of the request: the configured secret, else one of its API key.
    pub(crate) fn secret(&self, config: &Config) -> Secret {
        config.secret.clone().unwrap_or_else(|| Secret::of_api_key(&self.api_key))
    }

    /// Other secrets that keys may have been derived from, or will be.
    pub(super) fn other_secrets(&self, config: &Config) -> Vec<Secret> {
        let of = |other: &OtherSecret| match other {
            OtherSecret::Configured(secret) => secret.clone(),
            OtherSecret::OfApiKey => Secret::of_api_key(&self.api_key),
        };
        config.other_secrets.iter().map(of).collect()
    }
}

/// The API key, alike for `Basic` (its user name) and `Bearer` (RFC 7617, RFC 6750). Whatever else
/// stands there is taken as it is.
pub(crate) fn api_key(authorization: &[u8]) -> Zeroizing<Vec<u8>> {
    let text = std::str::from_utf8(authorization).unwrap_or_default().trim();
    let (scheme, rest) = text.split_once(' ').unwrap_or((text, ""));
    if scheme.eq_ignore_ascii_case("bearer") {
        return Zeroizing::new(rest.trim().as_bytes().to_vec());
    }
    if scheme.eq_ignore_ascii_case("basic")
        && let Ok(pair) =
            STANDARD.decode(rest.trim()).or_else(|_| STANDARD_NO_PAD.decode(rest.trim()))
    {
        let pair = Zeroizing::new(pair);
        let user = pair.split(|byte| *byte == b':').next().unwrap_or_default();
        return Zeroizing::new(user.to_vec());
    }
    Zeroizing::new(authorization.to_vec())
}
