//! What the askers are told, the log line and the counters.

use std::time::Duration;

use http::StatusCode;
use http::header::HeaderValue;
use tracing::{error, info, warn};

use super::claim::Holding;
use super::{Asked, Exchange};
use crate::clock::Timestamp;
use crate::decide::identity::Kind;
use crate::decide::operation::change::Follows;
use crate::decide::operation::record::About;
use crate::decide::operation::table::Way;
use crate::decide::outcome::{Conclusion, ErrorBody, Meaning};
use crate::decide::retry::Why;
use crate::forward::{Exchanged, request_id};
use crate::ledger::Ledger;
use crate::refusal::{Again, Refusal};
use crate::respond::{Answer, Held, Label, SHOULD_RETRY, Told};
use crate::trace;
use crate::upstream::Upstream;

impl<L: Ledger, U: Upstream> Exchange<L, U> {
    /// Counts what an exchange came to.
    pub(super) fn count(
        &self,
        asked: &Asked,
        holding: &Holding,
        done: &Exchanged,
        follows: Follows,
        nobodys: bool,
    ) {
        let rule = &asked.rule.name;
        match follows {
            Follows::Forgotten => {
                self.metrics.forgotten(rule);
                self.metrics.merge("forgotten");
            }
            Follows::Alarm => {
                self.metrics.alarm("fresh_on_replay");
                error!(operation_id = %asked.identified.operation, "a saved answer was asked for again \
                    and a fresh one came: the provider may have executed it twice");
            }
            Follows::Settle | Follows::Advance | Follows::Older => {}
        }
        if done.meaning == Meaning::Conflict {
            self.metrics.alarm("conflict_at_stripe");
        }
        match holding.way {
            Way::New { repeat, abandoned } => {
                if repeat {
                    self.metrics.repeat(rule);
                }
                if abandoned {
                    self.metrics.abandoned();
                }
            }
            // Nobody gets it yet, or who joined is counted as that.
            Way::Replay | Way::TakeOver { .. } if asked.finishes.is_some() => {}
            Way::Replay | Way::TakeOver { .. } if asked.identified.kind == Kind::Content => {
                self.metrics.merge("content");
            }
            Way::Replay | Way::TakeOver { .. } => {}
        }
        if matches!(done.conclusion, Conclusion::InDoubt { .. }) && !nobodys {
            self.metrics.in_doubt(rule);
        }
    }

    /// The one log line of a critical request.
    pub(super) fn log(
        &self,
        asked: &Asked,
        done: &Exchanged,
        telling: Telling,
        object: Option<&str>,
    ) {
        let Telling { label, row, degraded, before: _, nobodys: _ } = telling;
        let outcome = is_known(done.conclusion).then_some(label.as_str());
        let conclusion = conclusion(done.conclusion);
        self.metrics.operation(&asked.rule.name, conclusion);
        trace::note(|it| {
            it.tell("payonce.operation_id", asked.identified.operation.to_string());
            it.tell("payonce.row", row);
            it.tell("payonce.state", conclusion);
            it.tell_some("payonce.outcome", outcome);
        });
        let About { amount, currency, caller, policy, .. } = &asked.about;
        info!(
            target: "payonce::operation",
            operation_id = %asked.identified.operation,
            request = asked.request(),
            rule = asked.rule.name,
            policy_version = policy,
            identity = asked.identified.kind.as_str(),
            row,
            state = conclusion,
            outcome,
            status = done.answer.as_ref().map(|answer| answer.status.as_u16()),
            attempts = done.attempts,
            stopped = done.why.as_str(),
            cause = done.cause.map(tracing::field::display),
            object_id = object,
            request_id = request_id_of(done),
            amount,
            currency,
            caller,
            degraded,
            duration_ms = u64::try_from(self.clock.now().since(asked.arrived()).as_millis())
                .unwrap_or(u64::MAX),
            "operation"
        );
    }

    /// The line of an exchange that nobody asked for.
    pub(super) fn log_finished(asked: &Asked, done: &Exchanged, object: Option<&str>) {
        info!(
            target: "payonce::finishing",
            operation_id = %asked.identified.operation,
            request = asked.request(),
            rule = asked.rule.name,
            policy_version = asked.about.policy,
            state = conclusion(done.conclusion),
            status = done.answer.as_ref().map(|answer| answer.status.as_u16()),
            attempts = done.attempts,
            stopped = done.why.as_str(),
            cause = done.cause.map(tracing::field::display),
            object_id = object,
            request_id = request_id_of(done),
            "an operation in doubt was asked for again with nobody waiting"
        );
    }

    /// What the askers are told.
    pub(super) fn told(&self, asked: &Asked, done: Exchanged, telling: Telling) -> Told {
        let succeeded = done.conclusion == Conclusion::Succeeded;
        let known = is_known(done.conclusion);
        let attempts = done.attempts;
        let answer = answer(done, telling.before, asked.again()).unwrap_or_else(|refusal| {
            if !telling.nobodys {
                self.metrics.refusal(refusal.code());
            }
            trace::note(|it| it.tell("payonce.code", refusal.code()));
            refusal.answer(&self.request_id())
        });
        Told {
            answer,
            label: known.then_some(telling.label),
            succeeded,
            attempts,
            degraded: telling.degraded,
            operation: asked.identified.operation.to_string(),
            at: self.clock.now(),
        }
    }

    /// What the askers are told instead.
    pub(super) fn refused(&self, asked: &Asked, refusal: &Refusal) -> Told {
        trace::note(|it| {
            it.tell("payonce.operation_id", asked.identified.operation.to_string());
            it.tell("payonce.code", refusal.code());
        });
        // Where nobody asks, nobody is refused.
        if asked.finishes.is_none() {
            self.metrics.refusal(refusal.code());
            warn!(operation_id = %asked.identified.operation, code = refusal.code(),
                why = refusal.message(), policy_version = asked.about.policy, "refused");
        }
        Told {
            answer: refusal.answer(&self.request_id()),
            label: None,
            succeeded: false,
            attempts: 0,
            degraded: false,
            operation: asked.identified.operation.to_string(),
            at: self.clock.now(),
        }
    }
}

/// A conclusion's name in logs and metrics.
const fn conclusion(of: Conclusion) -> &'static str {
    match of {
        Conclusion::Succeeded => "succeeded",
        Conclusion::Declined { .. } => "declined",
        Conclusion::InDoubt { .. } => "in_doubt",
        Conclusion::NotExecuted => "not_executed",
    }
}

/// Whether there is an outcome, so that it can be said where it comes from.
const fn is_known(conclusion: Conclusion) -> bool {
    match conclusion {
        Conclusion::Succeeded | Conclusion::Declined { .. } => true,
        Conclusion::InDoubt { .. } | Conclusion::NotExecuted => false,
    }
}

/// What is said with an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Telling {
    /// Where the answer comes from, if it is an outcome.
    pub(super) label: Label,
    /// The row that decided.
    pub(super) row: &'static str,
    /// The ledger did not take part.
    pub(super) degraded: bool,
    /// What earlier exchanges had left.
    pub(super) before: Before,
    /// Nobody asked for it, and nobody has joined.
    pub(super) nobodys: bool,
}

/// What earlier exchanges of an occurrence had left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Before {
    /// Nothing of it can have been executed.
    Nothing,
    /// Nobody could be asked: the ledger did not answer, and this process remembers nothing, or a
    /// decline.
    Untold,
    /// It may have been.
    Perhaps,
    /// It succeeded.
    Success,
}

/// The provider's answer, if it may be handed on: an outcome as it is; a failure only where it does
/// not hide a doubt, and only in Stripe's shape, which no SDK takes for a success (FACTS §1.9).
/// An SDK is told not to retry what payonce has retried.
fn answer(done: Exchanged, before: Before, again: Again) -> Result<Answer, Refusal> {
    let last = done.answer.as_ref().map(|answer| answer.status.as_u16());
    let unknown = match before {
        Before::Success => Refusal::AnswerUnavailable,
        Before::Nothing | Before::Untold | Before::Perhaps => {
            Refusal::OutcomeUnknown { cause: done.cause, last, again }
        }
    };
    let in_doubt = match done.conclusion {
        Conclusion::Succeeded => return done.answer.ok_or(unknown),
        Conclusion::Declined { .. } => {
            let mut answer = done.answer.ok_or(unknown)?;
            if done.attempts > 1 && done.why != Why::Final {
                answer.headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
            }
            return Ok(answer);
        }
        Conclusion::InDoubt { .. } => true,
        Conclusion::NotExecuted => match before {
            Before::Nothing | Before::Untold => false,
            Before::Perhaps | Before::Success => true,
        },
    };
    // (handed on unchanged, says that nothing happened)
    let (unchanged, nothing) = match done.meaning {
        Meaning::NotExecuted | Meaning::Conflict => (true, true),
        Meaning::NotSent | Meaning::RateLimited => (false, true),
        Meaning::Unknown
        | Meaning::Indeterminate { .. }
        | Meaning::Succeeded
        | Meaning::Declined { .. } => (false, false),
    };
    // A lock time-out says that nothing happened as well, and knows no more of earlier attempts.
    let refused = nothing || last == Some(StatusCode::TOO_MANY_REQUESTS.as_u16());
    if in_doubt && (refused || again == Again::Another) {
        return Err(unknown);
    }
    let Some(mut answer) = done.answer else {
        return Err(match done.cause {
            Some(cause) if !in_doubt => {
                Refusal::Unreachable { cause, sent: done.sent, alone: before == Before::Untold }
            }
            Some(_) | None => unknown,
        });
    };
    if unchanged {
        return Ok(answer);
    }
    if !is_failure_in_shape(&answer) {
        return Err(if nothing { Refusal::RateLimited } else { unknown });
    }
    answer.headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
    Ok(answer)
}

fn is_failure_in_shape(answer: &Answer) -> bool {
    match &answer.body {
        Held::Whole(body) => answer.status.as_u16() >= 400 && ErrorBody::read(body).is_some(),
        Held::Stream(_) => false,
    }
}

/// Where an answer comes from, if it is an outcome.
pub(super) fn label(way: Way, follows: Follows, done: &Exchanged) -> Label {
    match (way, follows) {
        (_, Follows::Forgotten) => Label::Forgotten,
        (Way::Replay, _) => Label::Replayed,
        (Way::TakeOver { .. }, _) if done.replayed => Label::Replayed,
        // It is not of this exchange, and went no further: an own key, or too many declines.
        (Way::New { .. }, _) if done.replayed && done.first => Label::Replayed,
        (Way::New { repeat: true, .. }, _) => Label::Repeated,
        (Way::New { .. } | Way::TakeOver { .. }, _) => Label::Executed,
    }
}

/// Stripe's id of what was made.
pub(super) fn object(done: &Exchanged) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Object {
        id: Option<String>,
    }
    const LONGEST: usize = 255;
    let Some(Answer { body: Held::Whole(body), .. }) = &done.answer else { return None };
    if done.conclusion != Conclusion::Succeeded {
        return None;
    }
    let id = serde_json::from_slice::<Object>(body).ok()?.id?;
    (id.len() <= LONGEST).then_some(id)
}

/// When that was made whose making the provider replayed, by its own word (in v1). Not of what was
/// there before it was asked for: the path names that.
pub(super) fn made_before(asked: &Asked, done: &Exchanged) -> Option<Timestamp> {
    #[derive(serde::Deserialize)]
    struct Object {
        id: String,
        created: u64,
    }
    let Some(Answer { body: Held::Whole(body), .. }) = &done.answer else { return None };
    if done.conclusion != Conclusion::Succeeded || !done.replayed {
        return None;
    }
    let Object { id, created } = serde_json::from_slice(body).ok()?;
    let named = asked.message.uri.path().split('/').any(|segment| segment == id);
    (!named).then(|| Timestamp::default().plus(Duration::from_secs(created)))
}

/// Stripe's id of the answer.
pub(super) fn request_id_of(done: &Exchanged) -> Option<String> {
    request_id(done.answer.as_ref()?)
}
