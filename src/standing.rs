//! How this process stands, for probes: starting, ready, draining, and what is not well.
//!
//! There before the rest of payonce is, so that a start that takes its time (telling the other
//! processes of a store how a new policy recognises operations) is seen as one. The store is asked at
//! most once a second, whoever knocks.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::admin::{Health, Readiness};
use crate::clock::{Clock, Timestamp};
use crate::decide::policy::{Class, Mode, Policy, Rule, StoreDown};
use crate::decide::shown::without_keys;
use crate::exchange::Exchange;
use crate::ledger::{Ledger, RecordId};
use crate::policy_file::PolicyFile;
use crate::upstream::Upstream;
use crate::webhook::Gate;

/// How long the store may take to answer a probe; well within the second that Kubernetes waits.
const STORE_TIMEOUT: Duration = Duration::from_millis(500);

/// How long its answer is told again.
const STORE_AGAIN: Duration = Duration::from_secs(1);

/// How this process stands. Clones share it.
pub struct Standing<L, U>(Arc<Inner<L, U>>);

struct Inner<L, U> {
    serving: OnceLock<Serving<L, U>>,
    /// When the store was asked last, and whether it answered.
    store: Mutex<Option<(Timestamp, bool)>>,
}

/// What there is once payonce serves.
pub struct Serving<L, U> {
    /// Who answers requests.
    pub exchange: Exchange<L, U>,
    /// The policy in force, and what was refused.
    pub policy: Arc<PolicyFile>,
    /// Who answers webhooks.
    pub gate: Option<Gate<L, U>>,
    /// The settings of the ports that are listened on.
    pub listening: Vec<&'static str>,
    /// Tells when the drain begins.
    pub closing: CancellationToken,
}

impl<L, U> Clone for Standing<L, U> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<L, U> Default for Standing<L, U> {
    fn default() -> Self {
        Self(Arc::new(Inner { serving: OnceLock::new(), store: Mutex::new(None) }))
    }
}

impl<L: Ledger, U: Upstream> Standing<L, U> {
    /// From now on payonce serves, until `serving.closing`.
    pub fn serves(&self, serving: Serving<L, U>) {
        let first = self.0.serving.set(serving).is_ok();
        debug_assert!(first, "payonce starts once");
    }

    /// Whether the store answers, as of the last second.
    async fn store_answers(&self, serving: &Serving<L, U>) -> bool {
        let mut known = self.0.store.lock().await;
        let now = Clock::System.now();
        if let Some((at, answers)) = *known
            && now >= at
            && now.since(at) < STORE_AGAIN
        {
            return answers;
        }
        let asked = serving.exchange.ledger.get(RecordId([0; 32]));
        let answers = matches!(Clock::System.timeout(STORE_TIMEOUT, asked).await, Ok(Ok(_)));
        *known = Some((Clock::System.now(), answers));
        answers
    }
}

impl<L: Ledger, U: Upstream> Health for Standing<L, U> {
    fn started(&self) -> bool {
        self.0.serving.get().is_some()
    }

    async fn ready(&self) -> Readiness {
        let Some(serving) = self.0.serving.get() else { return Readiness::default() };
        let answers = self.store_answers(serving).await;
        let refuses = serving.refuses_without_store();
        let store = match (answers, serving.exchange.ledger.never_forgets()) {
            (true, true) => "ok".to_owned(),
            (true, false) => {
                let why = serving.exchange.ledger.doubt();
                let why = why.map(|why| format!(": {why}")).unwrap_or_default();
                format!("degraded: it answers, and may forget what it holds{why}")
            }
            (false, _) if refuses => {
                "down: it does not answer, and all that is critical is refused without it"
                    .to_owned()
            }
            (false, _) => "degraded: it does not answer".to_owned(),
        };
        let closing = serving.closing.is_cancelled();
        let mut details = serving.details(closing);
        details.push(("store".to_owned(), store));
        Readiness { ready: !closing && (answers || !refuses), details }
    }

    fn measure(&self) {
        if let Some(Serving { exchange, .. }) = self.0.serving.get() {
            exchange.metrics.retry_budget(exchange.forwarder.budget_left());
        }
    }
}

impl<L: Ledger, U: Upstream> Serving<L, U> {
    fn refuses_without_store(&self) -> bool {
        !self.exchange.config.bypass && refuses_all(&self.policy.current())
    }

    fn details(&self, closing: bool) -> Vec<(String, String)> {
        let mut details = Vec::new();
        // Anybody on the network reads it, whoever wrote what is said.
        let mut detail = |name: &str, value: String| {
            details.push((name.to_owned(), without_keys(&value).into_owned()));
        };
        if closing {
            detail("closing", "payonce is shutting down".to_owned());
        } else {
            detail("listening", self.listening.join(", "));
        }
        let status = self.policy.status();
        detail("policy", format!("version {}", status.version));
        if let Some(refused) = &status.refused {
            let version = refused.error.version().unwrap_or("unread");
            let why = refused.error.summary();
            let said = format!("version {version} at {}: {why}", refused.at.rfc3339());
            detail("policy_refused", said);
        }
        let credential = self.exchange.guards.credential().status();
        if let Some(refused) = &credential.refused {
            let why = format!("the file is bad since {}: {}", refused.at.rfc3339(), refused.why);
            detail("credential_refused", why);
        }
        for endpoint in self.gate.iter().flat_map(|gate| &gate.endpoints) {
            let bad = "degraded: its secret files cannot be used; those read before are";
            let state = if endpoint.secrets.stale() { bad } else { "ok" };
            detail(&format!("webhook {}", endpoint.name), state.to_owned());
        }
        if self.exchange.config.bypass {
            detail("bypass", "on: nothing new is protected".to_owned());
        }
        details
    }
}

/// Whether every critical rule of the file refuses without the store, and there is one. What no rule
/// names goes on as single calls, which need no store; nobody wrote payonce a policy for those.
fn refuses_all(policy: &Policy) -> bool {
    let enforced =
        |rule: &&Arc<Rule>| rule.class == Class::Critical && policy.mode_of(rule) == Mode::Enforce;
    let refused = |rule: &Arc<Rule>| rule.store_down == StoreDown::Refuse;
    let mut critical = policy.rules().iter().filter(enforced).peekable();
    critical.peek().is_some() && critical.all(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(rules: &str) -> Policy {
        Policy::parse(&format!("version = 1\n{rules}")).unwrap()
    }

    fn rule(name: &str, more: &str) -> String {
        format!(
            "[[rule]]\nname = \"{name}\"\nmatch = [\"POST /v1/{name}\"]\nclass = \"critical\"\n\
             {more}\n"
        )
    }

    #[test]
    fn a_process_is_of_no_use_without_its_store_only_if_all_that_is_critical_is_refused() {
        let (refuse, observe) = ("store_down = \"refuse\"", "mode = \"observe\"");
        assert!(refuses_all(&policy(&rule("charges", refuse))));
        let mixed = rule("charges", refuse) + &rule("refunds", "store_down = \"derive\"");
        assert!(!refuses_all(&policy(&mixed)));
        assert!(!refuses_all(&policy(&rule("charges", &format!("{refuse}\n{observe}")))));
        let watched = rule("charges", refuse) + &rule("refunds", observe);
        assert!(refuses_all(&policy(&watched)));
        let pass = "[[rule]]\nname = \"all\"\nmatch = [\"POST /v1/**\"]\nclass = \"pass\"\n";
        assert!(!refuses_all(&policy(pass)));
    }
}
