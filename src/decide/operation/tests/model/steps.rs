//! Which steps a state allows, what they do, and the end that comes without faults.

use std::time::Duration;

use super::provider::Mood;
use super::state::{Caller, Phase, Place, Says, Seated, State, Then};
use super::store::Heard;
use super::{Fault, Model, Outcome, Road, Step};
use crate::decide::identity::Kind;

const HOUR: Duration = Duration::from_hours(1);

impl Model {
    /// Every step that the configuration allows here.
    pub(super) fn steps(&self, state: &State) -> Vec<Step> {
        let mut steps = Self::fair(state);
        self.application(state, &mut steps);
        self.moods(state, &mut steps);
        if let Some(by) = self.config.ticks.get(state.ticks).filter(|by| may_pass(state, **by)) {
            steps.push(Step::Pass { by: *by });
        }
        if state.faults > 0 {
            self.faults(state, &mut steps);
        }
        steps
    }

    /// The steps of proxies, provider and callers that are no fault and no new request.
    fn fair(state: &State) -> Vec<Step> {
        let mut steps = Vec::new();
        for caller in 0..state.callers.len() {
            match state.callers[caller].place {
                Place::At(_) if overdue(state, caller) => steps.push(Step::Overdue { caller }),
                Place::At(_) => steps.push(Step::Enter { caller }),
                Place::Seated(_) if handed(state, caller) => {
                    steps.push(Step::Deliver { caller, got: true });
                }
                Place::Resting | Place::Seated(_) => {}
            }
        }
        for proxy in 0..state.proxies.len() {
            match state.proxies[proxy].turn.as_ref().map(|turn| turn.phase) {
                None | Some(Phase::Wire | Phase::Deliver) => {}
                Some(Phase::Ready) => steps.push(Step::Attempt { proxy, road: Road::Arrives }),
                Some(Phase::Look | Phase::Swap | Phase::Write(_)) => {
                    steps.push(Step::Store { proxy, heard: Heard::Answered });
                }
            }
            if state.proxies[proxy].unwritten.is_some() {
                steps.push(Step::WriteLeft { proxy });
            }
        }
        steps.extend((0..state.provider.delayed.len()).map(|delayed| Step::Late { delayed }));
        let running = 0..state.provider.running.len();
        steps.extend(running.map(|running| Step::Finish { running, mood: Mood::Succeed }));
        steps
    }

    fn application(&self, state: &State, steps: &mut Vec<Step>) {
        let all: usize = state.callers.iter().map(|caller| caller.asks).sum();
        let nobody = all == 0;
        for (caller, it) in state.callers.iter().enumerate() {
            let rests = it.place == Place::Resting && !self.over(it);
            // The first who asks is called 0, and the proxy that it asks is called 0.
            let in_order = caller == 0 || state.callers[caller - 1].asks > 0;
            if !rests || !in_order || it.asks >= 2 || all >= self.config.asks {
                continue;
            }
            for proxy in 0..if nobody { 1 } else { 2 } {
                steps.push(Step::Ask { caller, proxy, fresh: true });
                if it.asks > 0 && self.config.kind != Kind::OwnKey {
                    steps.push(Step::Ask { caller, proxy, fresh: false });
                }
            }
            let declined = it.last == Some(Says::Declined);
            if self.config.other_card && declined && it.content == 0 {
                steps.push(Step::OtherCard { caller });
            }
        }
    }

    fn moods(&self, state: &State, steps: &mut Vec<Step>) {
        if state.moods == 0 {
            return;
        }
        for running in 0..state.provider.running.len() {
            for mood in self.config.moods {
                steps.push(Step::Finish { running, mood: *mood });
            }
        }
    }

    fn faults(&self, state: &State, steps: &mut Vec<Step>) {
        for (caller, it) in state.callers.iter().enumerate() {
            match it.place {
                Place::Resting => {}
                _at if !self.may(Fault::People) => {}
                Place::Seated(_) if handed(state, caller) => {
                    steps.push(Step::Deliver { caller, got: false });
                }
                Place::At(_) | Place::Seated(_) => steps.push(Step::HangUp { caller }),
            }
        }
        for (proxy, it) in state.proxies.iter().enumerate() {
            let phase = it.turn.as_ref().map(|turn| turn.phase);
            match phase {
                Some(Phase::Ready) if self.may(Fault::Roads) => {
                    let roads = [Road::NotSent, Road::Lost, Road::Delayed, Road::Unauthorised];
                    steps.extend(roads.map(|road| Step::Attempt { proxy, road }));
                }
                Some(Phase::Wire) if self.may(Fault::People) => steps.push(Step::TimeOut { proxy }),
                Some(Phase::Look | Phase::Swap | Phase::Write(_)) if self.may(Fault::Silence) => {
                    let ends = matches!(phase, Some(Phase::Write(it)) if it.then == Then::End);
                    let long = ends.then_some(Heard::DownForLong);
                    for heard in [Heard::NotDone, Heard::DoneUnanswered].into_iter().chain(long) {
                        steps.push(Step::Store { proxy, heard });
                    }
                }
                None
                | Some(
                    Phase::Look
                    | Phase::Swap
                    | Phase::Ready
                    | Phase::Wire
                    | Phase::Deliver
                    | Phase::Write(_),
                ) => {}
            }
            if self.may(Fault::Crash) && (phase.is_some() || it.memory.is_some()) {
                steps.push(Step::Crash { proxy });
            }
        }
        if self.may(Fault::Forget) && state.store.held.is_some() {
            steps.push(Step::Forget);
        }
        steps.extend((1..=state.store.before.len()).map(|writes| Step::Restore { writes }));
    }

    /// The state after a step, or the promise that it breaks.
    pub(super) fn apply(&self, state: &State, step: Step) -> Result<State, String> {
        let mut next = state.clone();
        let fault = match step {
            Step::HangUp { .. }
            | Step::TimeOut { .. }
            | Step::Crash { .. }
            | Step::Forget
            | Step::Restore { .. } => true,
            Step::Deliver { got, .. } => !got,
            Step::Attempt { road, .. } => road != Road::Arrives,
            Step::Store { heard, .. } => heard != Heard::Answered,
            Step::Ask { .. }
            | Step::OtherCard { .. }
            | Step::Enter { .. }
            | Step::Overdue { .. }
            | Step::WriteLeft { .. }
            | Step::Late { .. }
            | Step::Pass { .. } => false,
            Step::Finish { mood, .. } => {
                next.moods = next.moods.saturating_sub(usize::from(mood != Mood::Succeed));
                false
            }
        };
        next.faults = next.faults.saturating_sub(usize::from(fault));
        self.take(&mut next, step)?;
        Self::tidy(&mut next);
        Ok(next)
    }

    fn take(&self, state: &mut State, step: Step) -> Outcome {
        match step {
            Step::Ask { caller, proxy, fresh } => {
                self.ask_at(state, caller, proxy, fresh);
                self.enter(state, caller)
            }
            Step::OtherCard { caller } => {
                state.callers[caller].content = 1;
                state.callers[caller].last = Some(Says::Unknown);
                Ok(())
            }
            Step::Enter { caller } => self.enter(state, caller),
            Step::Overdue { caller } => self.say(state, caller, Says::Unknown),
            Step::HangUp { caller } => self.hang_up(state, caller),
            Step::Deliver { caller, got } => self.deliver(state, caller, got),
            Step::Store { proxy, heard } => self.store(state, proxy, heard),
            Step::WriteLeft { proxy } => self.write_left(state, proxy),
            Step::Attempt { proxy, road } => self.attempt(state, proxy, road),
            Step::TimeOut { proxy } => self.time_out(state, proxy),
            Step::Finish { running, mood } => self.finish_running(state, running, mood),
            Step::Late { delayed } => self.late(state, delayed),
            Step::Crash { proxy } => {
                self.crash(state, proxy);
                Ok(())
            }
            Step::Forget => {
                state.store.held = None;
                lost(state);
                Ok(())
            }
            Step::Restore { writes } => {
                state.store.held = state.store.before[writes - 1];
                state.store.before.clear();
                lost(state);
                Ok(())
            }
            Step::Pass { by } => {
                pass(state, by);
                state.ticks += 1;
                Ok(())
            }
        }
    }

    fn store(&self, state: &mut State, proxy: usize, heard: Heard) -> Outcome {
        match state.proxies[proxy].turn.as_ref().map(|turn| turn.phase) {
            Some(Phase::Look) => self.look(state, proxy, heard),
            Some(Phase::Swap) => self.swap(state, proxy, heard),
            Some(Phase::Write(writing)) => self.write_once(state, proxy, writing, heard),
            Some(Phase::Ready | Phase::Wire | Phase::Deliver) | None => Ok(()),
        }
    }

    fn crash(&self, state: &mut State, proxy: usize) {
        let life = state.proxies[proxy].life + 1;
        state.proxies[proxy] = super::state::Proxy { life, ..super::state::Proxy::default() };
        for sent in &mut state.provider.running {
            if sent.from == Some(proxy) {
                sent.from = None;
            }
        }
        for caller in &mut state.callers {
            if matches!(caller.place, Place::At(at) | Place::Seated(at) if at == proxy) {
                caller.place = Place::Resting;
                caller.last = Some(Says::Unknown);
            }
        }
        self.note("all that it remembered is gone");
    }

    /// Nobody works on anything: where the end without faults is tried from.
    pub(super) fn quiet(&self, state: &State) -> bool {
        state.proxies.iter().all(|proxy| proxy.turn.is_none())
            && state.callers.iter().all(|caller| caller.place == Place::Resting)
            && state.callers.iter().any(|caller| caller.asks > 0 && !self.over(caller))
    }

    /// Whether its caller has all that it can get.
    fn over(&self, caller: &Caller) -> bool {
        let declined = caller.last == Some(Says::Declined);
        caller.done().is_some()
            || caller.refused()
            || (self.config.kind == Kind::OwnKey && declined)
    }

    /// P6: without faults, whoever asked comes to an end.
    pub(super) fn ends_well(&self, state: &State) -> Result<(), (String, Vec<Step>)> {
        let mut state = state.clone();
        let mut taken = Vec::new();
        let mut rounds = 0;
        while taken.len() < 400 {
            let waits = |caller: &Caller| caller.asks > 0 && !self.over(caller);
            let Some(caller) = state.callers.iter().position(waits) else { return Ok(()) };
            let mut steps = Self::fair(&state);
            if steps.is_empty() && self.quiet(&state) {
                rounds += 1;
                if rounds % 4 == 0 {
                    steps.push(Step::Pass { by: Duration::from_hours(25) });
                }
                steps.push(Step::Ask { caller, proxy: rounds % 2, fresh: true });
            }
            steps.push(Step::Pass { by: Duration::from_secs(20) });
            let moved = steps.into_iter().find_map(|step| match self.apply(&state, step) {
                Ok(next) if next == state => None,
                other => Some((step, other)),
            });
            let Some((step, next)) = moved else { break };
            taken.push(step);
            match next {
                Ok(next) => state = next,
                Err(what) => return Err((what, taken)),
            }
        }
        Err(("P6: locked out".to_owned(), taken))
    }
}

fn lost(state: &mut State) {
    state.blind = true;
    state.recorded.clear();
}

fn overdue(state: &State, caller: usize) -> bool {
    state.now >= state.callers[caller].arrived + super::claim::DEADLINE
}

/// Whether an answer is on its way to the caller.
fn handed(state: &State, caller: usize) -> bool {
    let Place::Seated(proxy) = state.callers[caller].place else { return false };
    let turn = state.proxies[proxy].turn.as_ref();
    turn.is_some_and(|turn| {
        turn.seats.iter().any(|seat| seat.caller == caller && seat.is == Seated::Handed)
    })
}

/// Nobody is about to send for an hour, and no request is on its way for as long.
fn may_pass(state: &State, by: Duration) -> bool {
    let sends = |turn: &super::state::Turn| matches!(turn.phase, Phase::Ready | Phase::Wire);
    let mut turns = state.proxies.iter().filter_map(|proxy| proxy.turn.as_ref());
    let under_way = !state.provider.running.is_empty() || !state.provider.delayed.is_empty();
    by < HOUR || !(under_way || turns.any(sends))
}

fn pass(state: &mut State, by: Duration) {
    state.now += u64::try_from(by.as_millis()).unwrap();
    let now = state.now;
    state.store.held = state.store.held.filter(|held| now < held.expires);
    for before in &mut state.store.before {
        *before = before.filter(|held| now < held.expires);
    }
    Model::forget_old_calls(state);
}
