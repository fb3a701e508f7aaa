//! Who asks, and what the policy's `[[client]]`s do about it.
//!
//! A refusal comes before anything else of the request is looked at, and nothing is sent; a warning
//! goes with whatever the answer is. In `observe` and under the bypass nothing changes: it is
//! counted what would have been done.

use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Method};
use tracing::warn;

use super::Exchange;
use super::caller::caller;
use crate::clients::Client;
use crate::decide::agent::Day;
use crate::decide::policy::{ClientAction, ClientRule, Mode, Policy, worst};
use crate::ledger::Ledger;
use crate::refusal::Refusal;
use crate::upstream::Upstream;

/// `Payonce-Warning`: what the policy says of the client that asked.
pub const WARNING: HeaderName = HeaderName::from_static("payonce-warning");

/// What is to be said with the answer, if anything.
#[derive(Debug, Default)]
pub(super) struct Warning(Option<HeaderValue>);

impl Warning {
    /// Says it.
    pub(super) fn attach(self, headers: &mut HeaderMap) {
        if let Some(value) = self.0 {
            headers.insert(WARNING, value);
        }
    }

    fn of(rule: &ClientRule, client: &Client) -> Self {
        let text = format!("{}: {}", rule.name, rule.reason(&client.asker()));
        // Beyond ASCII, a field's bytes mean something else to every client.
        let plain: String =
            text.chars().map(|c| if c.is_ascii() && !c.is_control() { c } else { '?' }).collect();
        Self(HeaderValue::from_str(&plain).ok())
    }
}

impl<L: Ledger, U: Upstream> Exchange<L, U> {
    /// Notes the client of a request, and does what the worst of the policy's rules about it says.
    pub(super) fn client(
        &self,
        method: &Method,
        headers: &HeaderMap,
        policy: &Policy,
        warning: &mut Warning,
    ) -> Result<(), Refusal> {
        let now = self.clock.now();
        let caller = || caller(headers, self.config.caller.as_deref());
        let client = self.clients.meet(method, headers, caller, now);
        if policy.clients().is_empty() {
            return Ok(());
        }
        let (asker, today) = (client.asker(), Day::of(now));
        let applying = || policy.clients().iter().filter(|rule| rule.applies(&asker, today));
        let Some(taken) = worst(applying()) else { return Ok(()) };
        let acts = !self.config.bypass && policy.mode() == Mode::Enforce;
        for rule in applying() {
            let done = match rule.action {
                ClientAction::Report => "report",
                ClientAction::Warn | ClientAction::Refuse if !acts => "observed",
                ClientAction::Warn => "warn",
                ClientAction::Refuse => "refuse",
            };
            self.metrics.client_rule(&rule.name, done);
        }
        match taken.action {
            ClientAction::Warn | ClientAction::Refuse if !acts => Ok(()),
            ClientAction::Report => Ok(()),
            ClientAction::Warn => {
                *warning = Warning::of(taken, &client);
                if client.may_be_logged(now) {
                    warn!(
                        rule = taken.name,
                        caller = asker.caller,
                        why = taken.reason(&asker),
                        "a client is warned; the next line about it comes in an hour at the earliest"
                    );
                }
                Ok(())
            }
            ClientAction::Refuse => {
                client.refused();
                Err(Refusal::Client { rule: taken.name.clone(), why: taken.reason(&asker) })
            }
        }
    }
}
