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
use crate::decide::digest::{ClientKeyDigest, IdFormat};
use crate::decide::identity::{Identified, Kind};
use crate::decide::operation::change::further;
use crate::decide::operation::codec::decode;
use crate::decide::operation::record::{Record, Standing};
use crate::decide::operation::table::{Ask, Refused, Send, Then, Verdict, Way as Sent, judge};
use crate::decide::path::Target;
use crate::decide::policy::{Class, Policy, Rule, Way};
use crate::ledger::{Held, Ledger, LedgerError};
use crate::request::Head;
use crate::seams::{self, Mistake};
use crate::upstream::Upstream;

/// Other identities of one request that are looked up; further ones belong to older edits.
const MOST: usize = 32;

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
    let today_scope = credentials.scope(policy.scopes());
    let mut others: Vec<Other> = Vec::new();
    for (by, ids) in std::iter::once((policy, IdFormat::default())).chain(former) {
        let former = if std::ptr::eq(by, policy) { rule } else { judged(by, head) };
        if former.class != Class::Critical {
            continue;
        }
        let same_rule = former.identity == rule.identity;
        let alike = same_rule
            && former.distinguishes == rule.distinguishes
            && by.uuid4_keys() == policy.uuid4_keys();
        for scope in credentials.scopes_under(policy.scopes(), by.scopes(), ids) {
            for (place, secret) in secrets.iter().enumerate() {
                if alike && scope == today_scope && place == 0 {
                    // It is today's.
                    continue;
                }
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
                // What today's rule names, and says the same, is the same: it is replayed for ever.
                let named = today.kind == Kind::Fields && identified.kind == Kind::Content;
                let kind = if named { Kind::Fields } else { identified.kind };
                let (twins, call) = (today.twins, today.call);
                let identified = Identified { kind, call, twins, ..identified };
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

    /// Where else its operation stands, and is what is `wanted`; `None` if nowhere, or if its call has
    /// a key. A store that does not answer leaves what this process remembers.
    pub(super) async fn elsewhere(
        &self,
        asked: &Asked,
        wanted: Wanted,
    ) -> Result<Option<(usize, Record)>, LedgerError> {
        if !asked.today || asked.recalled.is_some() {
            return Ok(None);
        }
        let mut failed = None;
        for (n, other) in asked.others.iter().enumerate() {
            let ask = self.ask_as(asked, &other.identified);
            let id = other.identified.operation.record();
            let held = match failed {
                None => self.ledger.get(id).await,
                Some(_) => Ok(None),
            };
            let held = match held {
                Ok(held) => held,
                Err(LedgerError::Unavailable(what)) => {
                    failed = Some(LedgerError::Unavailable(what));
                    None
                }
                Err(damaged @ LedgerError::Damaged(_)) => return Err(damaged),
            };
            let remembered = self.recent.operation(id, ask.now);
            let Some(record) = self.furthest(held.as_ref(), remembered, ask.now)? else { continue };
            if record.claim.is_none() || self.ledger.exclusive() {
                // Should the ledger not answer at the next look, this is better than nothing.
                self.recent.wrote(id, record.clone(), ask.now);
            }
            let verdict = judge(Some(&record), self.owner_of(&record, ask.now), &ask);
            let found = match wanted {
                Wanted::NotOver => !is_over(&record, &verdict, &ask, asked.names, other.same_rule),
                Wanted::Unfinished => {
                    unfinished(&record, ask.now) || was_sent_for(&record, ask.client_key, ask.now)
                }
            };
            if found {
                self.metrics.merge("other_identity");
                return Ok(Some((n, record)));
            }
        }
        failed.map_or(Ok(None), Err)
    }

    /// Whether an asker goes on with what stands under today's identity rather than with `other`: two
    /// processes that recognise it differently must come to the same of the two.
    pub(super) async fn stands_today(
        &self,
        asked: &Asked,
        other: &Record,
    ) -> Result<bool, LedgerError> {
        let ask = self.ask(asked);
        let held = match self.ledger.get(asked.record()).await {
            Ok(held) => held,
            // What is known goes before what is not.
            Err(LedgerError::Unavailable(_)) => None,
            Err(damaged @ LedgerError::Damaged(_)) => return Err(damaged),
        };
        let remembered = self.recent.operation(asked.record(), ask.now);
        let Some(today) = self.furthest(held.as_ref(), remembered, ask.now)? else {
            return Ok(false);
        };
        let verdict = judge(Some(&today), self.owner_of(&today, ask.now), &ask);
        Ok(!is_over(&today, &verdict, &ask, asked.names, true) && order(&today) < order(other))
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

    /// Likewise by today's, unless it passes today: then nothing is begun for it.
    pub(super) fn turn_to_today(&self) -> bool {
        !self.passes
            && self.others.iter().position(|other| other.today).is_some_and(|n| self.turn(n))
    }
}

fn judged<'a>(policy: &'a Policy, head: &Head) -> &'a Rule {
    policy.judge(&head.method, &head.target)
}

/// What of an operation under another identity a request goes on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Whatever is not over: today's rule keeps it to once.
    NotOver,
    /// What is unfinished, or was sent for this very call: today it passes.
    Unfinished,
}

/// Whether it is in flight, in doubt, or its answer was lost, and its key may still be sent.
pub(super) fn unfinished(record: &Record, now: Timestamp) -> bool {
    let lost = record.settled().is_some_and(|settled| !settled.delivered);
    (record.open() || lost) && !record.beyond_retention(now)
}

/// Whether a call with this client key, and this content, was sent for it, and its key may still be
/// sent: the provider knows the call by that key and by no other (I2).
pub(super) fn was_sent_for(
    record: &Record,
    client_key: Option<ClientKeyDigest>,
    now: Timestamp,
) -> bool {
    let seen = |key| record.client_keys.iter().any(|seen| seen.digest == key);
    client_key.is_some_and(seen) && !record.beyond_retention(now)
}

/// Of two records of one operation the one with the lower order is gone on with: one of which an
/// exchange has ended before one that was only claimed, then the older.
fn order(record: &Record) -> (bool, Timestamp, &str) {
    (record.standing == Standing::Begun, record.first_sent, record.key.as_str())
}

/// Whether nothing of an operation is left to be found: the same request now would begin anew. So it
/// is with a decline that was told and that the provider does not hold. Where another rule (not
/// `same_rule`) named it by its fields, so it is with other content for what has an outcome, and with
/// what is beyond safe retention, unless the same content is in doubt or today's rule `names` it too;
/// within safe retention a success is replayed, lest an edit charges a redelivered job again.
pub(super) fn is_over(
    record: &Record,
    verdict: &Verdict,
    ask: &Ask<'_>,
    names: bool,
    same_rule: bool,
) -> bool {
    let other_name = record.kind == Kind::Fields && !same_rule;
    let same_content = record.fingerprint.matches(ask.fingerprint);
    match &verdict.then {
        Then::Refuse(Refused::Conflict(_)) => other_name && !record.open(),
        Then::Refuse(Refused::AlreadyDone) => other_name && !(names && same_content),
        Then::Refuse(Refused::WindowElapsed) => other_name && !same_content,
        Then::Send(Send { way, .. }) => begins(*way),
        Then::Refuse(Refused::Superseded) | Then::ReplayEarlier(_) | Then::Wait { .. } => false,
    }
}

/// Whether a key is sent as if for the first time.
pub(super) const fn begins(way: Sent) -> bool {
    match way {
        Sent::New { .. } | Sent::TakeOver { next_if_replayed: true } => true,
        Sent::TakeOver { next_if_replayed: false } | Sent::Replay => false,
    }
}
