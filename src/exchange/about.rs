//! What people want to know of a request, and no more of it: under which rule, who asks and for whom,
//! and for how much. It stands in the record and in what `payonce ops` shows.

use http::HeaderMap;

use super::caller::caller;
use super::{Credentials, Exchange};
use crate::decide::canonical::Canonical;
use crate::decide::operation::record::About;
use crate::decide::policy::{Policy, Rule};
use crate::ledger::Ledger;
use crate::request::Head;
use crate::upstream::Upstream;

impl<L: Ledger, U: Upstream> Exchange<L, U> {
    /// What is told of a request that says `content`.
    pub(super) fn about(
        &self,
        head: &Head,
        content: &Canonical,
        credentials: &Credentials,
        policy: &Policy,
        rule: &Rule,
    ) -> About {
        let short = |name: &str| {
            let value = content.get(name).and_then(|value| std::str::from_utf8(value).ok());
            let plain = |c: &char| c.is_ascii_alphanumeric() || *c == '.' || *c == '-';
            value.map(|value| value.chars().filter(plain).take(32).collect())
        };
        About {
            rule: rule.name.clone(),
            policy: policy.version().to_owned(),
            // v2 has money as an object.
            amount: short("amount").or_else(|| short("amount[value]")),
            currency: short("currency").or_else(|| short("amount[currency]")),
            caller: caller(&head.headers, self.config.caller.as_deref()),
            account: account(&head.headers),
            api_key: Some(credentials.digest.hint()),
            ..About::default()
        }
    }
}

/// Whose account is asked for, if it is named.
fn account(headers: &HeaderMap) -> Option<String> {
    const LONGEST: usize = 255;
    let field = headers.get("stripe-account").or_else(|| headers.get("stripe-context"))?;
    Some(field.to_str().ok()?.chars().take(LONGEST).collect())
}
