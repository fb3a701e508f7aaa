//! One call with its fault: what happens before the effect, and what is made of the answer.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::Shared;
use super::answer::{Answer, Fail, api_error, key_in_use, lock_timeout, rate_limited};
use super::call::Call;
use super::faults::{Fault, Kind, Strike};
use super::state::{Begun, Forced, Ticket, dress};

/// What a call came to, before anything is written.
#[derive(Debug)]
pub(crate) enum Played {
    /// This answer is to be given.
    Answered(Answer),
    /// The connection is to be broken instead.
    Broken { clean: bool },
}

/// Plays a call with the fault that was chosen for it.
pub(crate) async fn play(shared: &Arc<Shared>, call: Call, fault: Option<&Fault>) -> Played {
    let Some(fault) = fault else { return Played::Answered(shared.execute(&call)) };
    let mut answer = match &fault.kind {
        Kind::ResetBeforeEffect { clean } => {
            shared.struck(&fault.kind);
            return Played::Broken { clean: *clean };
        }
        Kind::ResetAfterEffect { clean } => {
            shared.struck(&fault.kind);
            drop(shared.execute(&call));
            return Played::Broken { clean: *clean };
        }
        Kind::Refuse | Kind::Mark | Kind::CutAfterBytes { .. } | Kind::Drip { .. } => {
            shared.struck(&fault.kind);
            shared.execute(&call)
        }
        Kind::Stall { millis, effect } => {
            shared.struck(&fault.kind);
            match stall(shared, call, *millis, *effect).await {
                Some(answer) => answer,
                None => return Played::Broken { clean: true },
            }
        }
        Kind::Delay { millis, effect } => {
            shared.struck(&fault.kind);
            match stall(shared, call, Some(*millis), *effect).await {
                Some(answer) => answer,
                None => return Played::Broken { clean: true },
            }
        }
        Kind::Saved500 { effect } => saved(shared, &call, &fault.kind, *effect),
        Kind::InUse
        | Kind::RateLimited { .. }
        | Kind::LockTimeout
        | Kind::Unsaved500 { .. }
        | Kind::Status { .. }
        | Kind::Redirect { .. } => made_up(shared, &call, fault),
    };
    mark(&mut answer, fault);
    Played::Answered(answer)
}

/// An answer that did not come of executing the call.
fn made_up(shared: &Shared, call: &Call, fault: &Fault) -> Answer {
    let (effect, fail) = match &fault.kind {
        Kind::InUse => (Strike::Before, key_in_use()),
        Kind::LockTimeout => (Strike::Before, lock_timeout()),
        Kind::RateLimited { .. } => (Strike::Before, rate_limited()),
        Kind::Unsaved500 { effect } => (*effect, api_error(500)),
        Kind::Status { code, effect } => (*effect, api_error(*code)),
        Kind::Redirect { .. }
        | Kind::Refuse
        | Kind::ResetBeforeEffect { .. }
        | Kind::ResetAfterEffect { .. }
        | Kind::CutAfterBytes { .. }
        | Kind::Stall { .. }
        | Kind::Delay { .. }
        | Kind::Drip { .. }
        | Kind::Saved500 { .. }
        | Kind::Mark => (Strike::Before, api_error(302)),
    };
    match effect {
        Strike::Before => {}
        Strike::After => drop(shared.execute(call)),
    }
    let mut answer = shape(shared, call, fault, fail);
    match &fault.kind {
        Kind::RateLimited { reason } => {
            let reason = reason.as_deref().unwrap_or("global-rate");
            answer.set("stripe-rate-limited-reason", reason);
        }
        Kind::LockTimeout => answer.set("stripe-should-retry", "true"),
        Kind::Redirect { location } => answer.set("location", location.clone()),
        Kind::InUse
        | Kind::Unsaved500 { .. }
        | Kind::Status { .. }
        | Kind::Refuse
        | Kind::ResetBeforeEffect { .. }
        | Kind::ResetAfterEffect { .. }
        | Kind::CutAfterBytes { .. }
        | Kind::Stall { .. }
        | Kind::Delay { .. }
        | Kind::Drip { .. }
        | Kind::Saved500 { .. }
        | Kind::Mark => {}
    }
    shared.struck(&fault.kind);
    answer
}

/// Stripe's JSON, or what a balancer says that knows nothing of Stripe.
fn shape(shared: &Shared, call: &Call, fault: &Fault, fail: Fail) -> Answer {
    if !fault.html {
        let request = shared.lock().state.request_id();
        return dress(fail.into(), call, request);
    }
    let status = fail.status;
    let page = format!("<html><head><title>{status}</title></head><body>{status}</body></html>");
    Answer { status, headers: Vec::new(), body: page.into() }.with("content-type", "text/html")
}

/// A replay is no execution: it stays as it is, and the fault does not count.
fn saved(shared: &Shared, call: &Call, kind: &Kind, effect: Strike) -> Answer {
    let now = shared.now();
    let mut inner = shared.lock();
    match inner.state.begin(call, now) {
        Begun::Answered(answer) => answer,
        Begun::Running(ticket) => {
            inner.plan.struck(kind);
            let executed = match effect {
                Strike::Before => false,
                Strike::After => true,
            };
            inner.state.end(ticket, call, now, Forced::Saved500 { executed })
        }
    }
}

/// `None`: the sandbox closes.
async fn stall(
    shared: &Arc<Shared>,
    call: Call,
    millis: Option<u64>,
    effect: Strike,
) -> Option<Answer> {
    let answer = match effect {
        Strike::After => shared.execute(&call),
        Strike::Before => match shared.begin(&call) {
            Begun::Answered(answer) => answer,
            Begun::Running(ticket) => {
                let held = Held { shared: Arc::clone(shared), call, ticket: Some(ticket) };
                return late(held, millis).await;
            }
        },
    };
    pause(shared, millis).await.then_some(answer)
}

/// Executes the held call after the pause, in a task of its own: Stripe goes on when its client has
/// hung up. A stall for ever is bound to the connection instead, so that it ends.
async fn late(mut held: Held, millis: Option<u64>) -> Option<Answer> {
    let shared = Arc::clone(&held.shared);
    if millis.is_none() {
        pause(&shared, None).await;
        drop(held);
        return None;
    }
    let (tell, told) = oneshot::channel();
    shared.tasks.spawn(async move {
        if !pause(&held.shared, millis).await {
            return;
        }
        let Some(ticket) = held.ticket.take() else { return };
        let answer = held.shared.end(ticket, &held.call);
        // A client that hung up hears nothing, which is the point of the fault.
        drop(tell.send(answer));
    });
    told.await.ok()
}

/// Waits; `false`: the sandbox closes.
async fn pause(shared: &Shared, millis: Option<u64>) -> bool {
    let over = async {
        match millis {
            Some(millis) => shared.clock.sleep(Duration::from_millis(millis)).await,
            None => pending().await,
        }
    };
    tokio::select! {
        () = over => true,
        () = shared.closing.cancelled() => false,
    }
}

/// A call that has begun; its key is free again if this is dropped before it was executed.
struct Held {
    shared: Arc<Shared>,
    call: Call,
    ticket: Option<Ticket>,
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.shared.lock().state.abandon(ticket, &self.call);
        }
    }
}

fn mark(answer: &mut Answer, fault: &Fault) {
    if let Some(retry) = fault.should_retry {
        answer.set("stripe-should-retry", retry.to_string());
    }
    if let Some(after) = &fault.retry_after {
        answer.set("retry-after", after.clone());
    }
    match fault.replayed {
        Some(true) => answer.set("idempotent-replayed", "true"),
        Some(false) => answer.headers.retain(|(name, _)| *name != "idempotent-replayed"),
        None => {}
    }
}
