//! A request's other identities: what it would be under another policy, scope or secret that is, was
//! or will be in force on the same store. An edit of the policy thus finds what was open before it.
//!
//! A request turns to another identity only for what is not over there: in flight, in doubt, or an
//! answer that its asker never got, all with the key that was sent. What the table would begin anew
//! is begun under today's identity. Where two processes recognise by different policies, each claims
//! by its own and looks for the other's *afterwards*: at least one of the two then sees the other,
//! and takes its claim back before anything is sent.

use std::sync::Arc;

use http::Method;

use super::{Asked, By, Config, Credentials, Exchange, Other, Reading};
use crate::clock::Timestamp;
use crate::decide::digest::IdFormat;
use crate::decide::identity::{Identified, Kind};
use crate::decide::operation::change::further;
use crate::decide::operation::codec::decode;
use crate::decide::operation::record::Record;
use crate::decide::operation::table::{Refused, Send, Then, Way as Sent, judge};
use crate::decide::path::Target;
use crate::decide::policy::{Class, Policy, Rule, Way};
use crate::ledger::{Held, Ledger, LedgerError};
use crate::request::Head;
use crate::seams::{self, Mistake};
use crate::upstream::Upstream;

/// Other identities of one request that are looked up; further ones belong to older edits.
const MOST: usize = 8;

/// How often a request turns from one identity to another before it gives up: it turns again only if
/// another process began or ended its operation in that instant.
const MOST_TURNS: u32 = 8;

/// By what a request is or was recognised elsewhere and before.
pub(crate) struct OtherWays<'a> {
    /// The settings: secret, other secrets, provider.
    pub(crate) config: &'a Config,
    /// The policy in force, and the ways that are known on its store.
    pub(crate) policy: &'a Policy,
    pub(crate) ways: &'a [Arc<Way>],
}

/// The other identities of a request, nearest first, and whether there are more than are looked up.
/// None as long as nothing was edited.
pub(crate) fn other_identities(
    known: &OtherWays<'_>,
    head: &Head,
    reading: &Reading,
    credentials: &Credentials,
    rule: &Rule,
    today: &Identified,
) -> (Vec<Other>, bool) {
    let (config, policy) = (known.config, known.policy);
    let differs = |way: &&Arc<Way>| way.id() != policy.way();
    if seams::mistake(Mistake::FormerForgotten)
        || config.other_secrets.is_empty() && !known.ways.iter().any(|way| differs(&way))
    {
        return (Vec::new(), false);
    }
    let mut secrets = vec![credentials.secret(config)];
    secrets.extend(credentials.other_secrets(config));
    let former = known.ways.iter().filter(differs).map(|way| (way.policy(), way.ids()));
    let mut others: Vec<Other> = Vec::new();
    for (by, ids) in std::iter::once((policy, IdFormat::default())).chain(former) {
        let former = if std::ptr::eq(by, policy) { rule } else { judged(by, head) };
        if former.class != Class::Critical {
            continue;
        }
        let same_rule = former.identity == rule.identity;
        for scope in credentials.scopes_under(policy.scopes(), by.scopes(), ids) {
            for secret in &secrets {
                let by = By { secret, scope, uuid4_keys: by.uuid4_keys(), rule: former };
                // A call is recognised by nothing that could be looked up, so its nonce is none.
                let identified = reading.recognise(config, head, credentials, &by, [0; 16]);
                let Ok(identified) = identified else { continue };
                let known = |it: &Other| it.identified.operation == identified.operation;
                if identified.kind == Kind::Call
                    || identified.operation == today.operation
                    || others.iter().any(known)
                {
                    continue;
                }
                if others.len() == MOST {
                    return (others, true);
                }
                let identified = Identified { twins: today.twins, call: today.call, ..identified };
                let secret = secret.clone();
                others.push(Other { secret, identified, same_rule, today: false });
            }
        }
    }
    (others, false)
}

impl<L: Ledger, U: Upstream> Exchange<L, U> {
    /// The other identities of a request, nearest first. None as long as nothing was edited.
    pub(super) fn others(
        &self,
        head: &Head,
        reading: &Reading,
        credentials: &Credentials,
        policy: &Policy,
        rule: &Rule,
        today: &Identified,
    ) -> Vec<Other> {
        let ways = self.policies.other_ways();
        let known = OtherWays { config: &self.config, policy, ways: &ways };
        let (others, more) = other_identities(&known, head, reading, credentials, rule, today);
        if more {
            self.metrics.limit_reached("other identities");
        }
        others
    }

    /// Whether requests to this target were critical under another policy, so that one which passes
    /// today is looked at first.
    pub(super) fn was_critical(&self, method: &Method, target: &Target, policy: &Policy) -> bool {
        self.policies.other_ways().iter().any(|way| {
            way.id() != policy.way() && way.policy().judge(method, target).class == Class::Critical
        })
    }

    /// Where else its operation stands and is not over; `None` if nowhere, or if its call has a key.
    pub(super) async fn elsewhere(&self, asked: &Asked) -> Result<Option<usize>, LedgerError> {
        if !asked.today || asked.recalled.is_some() {
            return Ok(None);
        }
        for (n, other) in asked.others.iter().enumerate() {
            let ask = self.ask_as(asked, &other.identified);
            let id = other.identified.operation.record();
            let held = self.ledger.get(id).await?;
            let remembered = self.recent.operation(id, ask.now);
            let Some(record) = self.furthest(held.as_ref(), remembered, ask.now)? else { continue };
            let owner = self.owner_of(&record, ask.now);
            if !is_over(&record, &judge(Some(&record), owner, &ask).then, other.same_rule) {
                self.metrics.merge("other_identity");
                return Ok(Some(n));
            }
        }
        Ok(None)
    }

    /// The record that stands, or the remembered one if that got further.
    pub(super) fn furthest(
        &self,
        held: Option<&Held>,
        remembered: Option<Record>,
        now: Timestamp,
    ) -> Result<Option<Record>, LedgerError> {
        let stored = held
            .map(|held| decode(&held.record))
            .transpose()
            .map_err(|unreadable| LedgerError::Damaged(unreadable.to_string()))?;
        Ok(match (stored, remembered) {
            (Some(_), Some(remembered)) if seams::mistake(Mistake::MemoryOverStore) => {
                Some(remembered)
            }
            (Some(stored), Some(remembered)) => {
                let owner = self.owner_of(&stored, now);
                Some(further(&stored, &remembered, owner).clone())
            }
            (stored, remembered) => stored.or(remembered),
        })
    }
}

impl Asked {
    /// Whether it may only go on with what stands under its identity, and begin nothing there.
    pub(super) const fn begins_nothing(&self) -> bool {
        !self.today && self.recalled.is_none()
    }

    /// Has its asker go on by its other identity `n`; false if it has turned too often.
    pub(super) fn turn(&self, n: usize) -> bool {
        let other = self.under(n).filter(|other| other.turns <= MOST_TURNS);
        other.is_some_and(|other| self.turned.set(Arc::new(other)).is_ok())
    }

    /// Likewise by today's.
    pub(super) fn turn_to_today(&self) -> bool {
        self.others.iter().position(|other| other.today).is_some_and(|n| self.turn(n))
    }
}

fn judged<'a>(policy: &'a Policy, head: &Head) -> &'a Rule {
    policy.judge(&head.method, &head.target)
}

/// Whether nothing of an operation is left to be found: the same request now would begin anew. So it
/// is with a decline that was told and that the provider does not hold; and with other content for
/// what has an outcome, where another rule (not `same_rule`) named the operation by its fields.
pub(super) fn is_over(record: &Record, then: &Then, same_rule: bool) -> bool {
    match then {
        Then::Refuse(Refused::Conflict(_)) => {
            record.kind == Kind::Fields && !record.open() && !same_rule
        }
        Then::Send(Send { way, .. }) => match way {
            Sent::New { .. } | Sent::TakeOver { next_if_replayed: true } => true,
            Sent::TakeOver { next_if_replayed: false } | Sent::Replay => false,
        },
        Then::ReplayEarlier(_) | Then::Wait { .. } | Then::Refuse(_) => false,
    }
}
