//! A record, and a note, as people are shown them.

use super::{People, advice, timeline};
use crate::admin::search::Facts;
use crate::admin::{Detail, OpsError, State, Summary};
use crate::clock::Timestamp;
use crate::decide::identity::Kind;
use crate::decide::operation::Retention;
use crate::decide::operation::codec::decode;
use crate::decide::operation::record::{self, Record};
use crate::decide::operation::stands::Stands;
use crate::ledger::{Held, Ledger, RecordId};
use crate::notes::Note;
use crate::upstream::Upstream;

/// A record id as the answer header and the log show it.
pub(super) fn record_id(text: &str) -> Option<RecordId> {
    let mut id = [0; 32];
    hex::decode_to_slice(text, &mut id).ok()?;
    Some(RecordId(id))
}

pub(super) fn read(held: &Held) -> Result<Record, OpsError> {
    decode(&held.record).map_err(|why| OpsError::Damaged(format!("{}: {why}", held.id)))
}

impl<L: Ledger, U: Upstream> People<L, U> {
    /// All that is told of a record just now.
    pub(super) fn detail(&self, id: RecordId, record: &Record, now: Timestamp) -> Detail {
        detail(id, record, self.exchange.stands(id, record), now)
    }
}

pub(super) const fn state(stands: Stands) -> State {
    match stands {
        Stands::InFlight => State::InFlight,
        Stands::InDoubt { .. } => State::InDoubt,
        Stands::Succeeded => State::Succeeded,
        Stands::Declined => State::Declined,
    }
}

/// What is looked at when people search.
pub(super) fn facts<'a>(id: &'a str, record: &'a Record, stands: Stands) -> Facts<'a> {
    of_about(id, &record.request, &record.about, state(stands), record.first_sent)
}

/// Likewise, of a note.
pub(super) fn facts_of_note<'a>(id: &'a str, note: &'a Note) -> Facts<'a> {
    of_about(id, &note.request, &note.about, State::InDoubt, note.at)
}

fn of_about<'a>(
    id: &'a str,
    request: &'a str,
    about: &'a record::About,
    state: State,
    first_sent: Timestamp,
) -> Facts<'a> {
    Facts {
        id,
        request,
        rule: &about.rule,
        caller: about.caller.as_deref(),
        object: about.object.as_deref(),
        state,
        first_sent,
    }
}

/// Whether one of the answers that are remembered bore this `Request-Id`.
pub(super) fn answered(about: &record::About, id: &str) -> bool {
    let trail = about.trail.iter().filter_map(|tried| tried.request_id.as_deref());
    about.request_id.as_deref().into_iter().chain(trail).any(|known| known == id)
}

pub(super) fn summary(id: RecordId, record: &Record, stands: Stands) -> Summary {
    // What is sent under a claim is counted when it is settled.
    let attempts = record.attempts.saturating_add(u32::from(record.claim.is_some()));
    let state = state(stands);
    let summary = summary_of(id.to_string(), &record.about, state, record.first_sent, attempts);
    Summary { saved_500: stands == Stands::InDoubt { saved_500: true }, ..summary }
}

fn summary_of(
    operation_id: String,
    about: &record::About,
    state: State,
    since: Timestamp,
    attempts: u32,
) -> Summary {
    Summary {
        operation_id,
        rule: about.rule.clone(),
        state,
        saved_500: false,
        since,
        attempts,
        amount: about.amount.as_ref().and_then(|amount| amount.parse().ok()),
        currency: about.currency.as_ref().map(|currency| currency.to_ascii_lowercase()),
        object_id: about.object.clone(),
        request_id: about.request_id.clone(),
        caller: about.caller.clone(),
        policy_version: about.policy.clone(),
    }
}

/// All that is told of a record.
pub(super) fn detail(id: RecordId, record: &Record, stands: Stands, now: Timestamp) -> Detail {
    let delivery =
        record.settled().map(|settled| if settled.delivered { "yes" } else { "lost" }.to_owned());
    Detail {
        summary: summary(id, record, stands),
        identity: record.kind.as_str().to_owned(),
        request: Some(record.request.clone()),
        occurrence: u64::from(record.occurrence.n),
        epoch: record.occurrence.epoch,
        first_sent: Some(record.first_sent),
        last_sent: Some(record.last_sent),
        safe_until: Some(record.first_sent.plus(Retention::of(record.api).safe)),
        lease_until: record.claim.as_ref().map(|claim| claim.lease),
        delivery,
        advice: Some(advice::of_record(record, stands, now)),
        resolved: record.about.resolved.as_ref().map(|word| format!("{}: {}", word.by, word.why)),
        api_key: record.about.api_key.map(|hint| hint.to_string()),
        event: record.about.event.as_ref().map(|event| format!("{} ({})", event.id, event.kind)),
        client_keys: record.client_keys.len(),
        timeline: timeline::of_record(id, record, now),
    }
}

/// All that is told of a note.
pub(super) fn noted(note: &Note) -> Detail {
    let id = note.operation.to_string();
    Detail {
        summary: summary_of(id, &note.about, State::InDoubt, note.at, note.attempts),
        identity: Kind::Call.as_str().to_owned(),
        request: Some(note.request.clone()),
        occurrence: 0,
        epoch: 0,
        first_sent: None,
        last_sent: Some(note.at),
        safe_until: None,
        lease_until: None,
        delivery: None,
        advice: Some(advice::of_note(note)),
        resolved: None,
        api_key: note.about.api_key.map(|hint| hint.to_string()),
        event: None,
        client_keys: usize::from(!note.keyless),
        timeline: timeline::of_note(note),
    }
}
