//! The store: compare and swap that may lose, step back, expire, or not answer.

use super::state::{Held, Phase, Rec, State, Writing};
use super::{Fault, Mistake, Model, Outcome};
use crate::decide::operation::change::kept;

/// What comes of asking the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Answered,
    /// No answer, and nothing was written.
    NotDone,
    /// No answer, and it was written.
    DoneUnanswered,
    /// No answer to any try of a write, and nothing was written.
    DownForLong,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Op {
    Claim(Rec),
    Get,
    Replace(Option<usize>, Rec),
    Remove(usize),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Reply {
    Fresh(usize),
    Found(Held),
    Got(Option<Held>),
    Done(Option<usize>),
    Moved(Option<Held>),
}

/// The store did not answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Down;

/// The version of a write, until [`Model::tidy`] gives it the number of its place.
const NEW: usize = 1000;

impl Model {
    pub(super) fn operate(
        &self,
        state: &mut State,
        op: Op,
        heard: Heard,
    ) -> Result<Result<Reply, Down>, String> {
        match heard {
            Heard::Answered => self.perform(state, op).map(Ok),
            Heard::NotDone | Heard::DownForLong => {
                state.blind = true;
                Ok(Err(Down))
            }
            Heard::DoneUnanswered => {
                self.perform(state, op)?;
                state.blind = true;
                Ok(Err(Down))
            }
        }
    }

    fn perform(&self, state: &mut State, op: Op) -> Result<Reply, String> {
        let held = state.store.held;
        let mistake = self.config.mistake;
        let blindly = |wanted| mistake == Some(wanted);
        Ok(match (op, held) {
            (Op::Claim(_), Some(held)) if !blindly(Mistake::ClaimOverAll) => Reply::Found(held),
            (Op::Claim(fresh), _) => {
                self.write(state, Some(fresh), held.is_none())?;
                Reply::Fresh(NEW)
            }
            (Op::Get, held) => Reply::Got(held),
            (Op::Replace(seen, record), _) => {
                let matches = held.is_some() && held.map(|held| held.version) == seen;
                let over_all = held.is_some() && blindly(Mistake::SettleWithoutCompare);
                if !(matches || over_all) {
                    return Ok(Reply::Moved(held));
                }
                self.write(state, Some(record), matches)?;
                Reply::Done(Some(NEW))
            }
            (Op::Remove(seen), Some(held)) if held.version == seen => {
                self.write(state, None, true)?;
                Reply::Done(None)
            }
            (Op::Remove(_), held) => Reply::Moved(held),
        })
    }

    fn write(&self, state: &mut State, record: Option<Rec>, seen: bool) -> Outcome {
        self.check_write(state, state.store.held.map(|held| held.record), record, seen)?;
        if self.may(Fault::StepBack) {
            let was = state.store.held;
            state.store.before.insert(0, was);
            state.store.before.truncate(2);
        }
        state.store.held = record.map(|record| {
            let ttl = kept(&self.desk.record(record), &self.operation, self.at(state.now));
            let expires = state.now + u64::try_from(ttl.as_millis()).unwrap();
            Held { record, version: NEW, expires }
        });
        Ok(())
    }

    /// Numbers the versions anew: all that counts is which of them stands, or stood lately.
    pub(super) fn tidy(state: &mut State) {
        if state.faults == 0 {
            state.store.before.clear();
        }
        let known: Vec<usize> = std::iter::once(state.store.held)
            .chain(state.store.before.iter().copied())
            .map(|held| held.map_or(usize::MAX, |held| held.version))
            .collect();
        let place = |version: usize| {
            known.iter().position(|known| *known == version).map_or(0, |place| place + 1)
        };
        for held in state.store.held.iter_mut().chain(state.store.before.iter_mut().flatten()) {
            held.version = place(held.version);
        }
        for turn in state.proxies.iter_mut().filter_map(|proxy| proxy.turn.as_mut()) {
            if let Some(version) = turn.holding.as_mut().and_then(|it| it.version.as_mut()) {
                *version = place(*version);
            }
            if let Phase::Write(Writing { version: Some(version), .. }) = &mut turn.phase {
                *version = place(*version);
            }
        }
    }
}
