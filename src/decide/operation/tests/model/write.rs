//! `exchange::write`, step by step: a write over a claim, made, reconciled, or kept for later.

use super::state::{Held, Phase, Rec, Says, Seated, State, Then, Told, Unwritten, Writing};
use super::store::{Down, Heard, Op, Reply};
use super::{Model, Outcome, Road};
use crate::decide::operation::change::{Follows, says_more};
use crate::decide::operation::record::{Outcome as Ended, Settled, Standing};

const WRITES: usize = 3;

impl Model {
    /// One operation of a write over the claim.
    pub(super) fn write_once(
        &self,
        state: &mut State,
        proxy: usize,
        writing: Writing,
        heard: Heard,
    ) -> Outcome {
        let op = match (writing.version, writing.target, writing.absent) {
            (Some(version), Some(target), _) => Op::Replace(Some(version), target),
            (Some(version), None, _) => Op::Remove(version),
            (None, Some(target), true) => Op::Claim(target),
            (None, _, _) => Op::Get,
        };
        let again = Writing { version: None, absent: false, tries: writing.tries + 1, ..writing };
        match self.operate(state, op, heard)? {
            Err(Down) => self.unanswered(state, proxy, again, heard),
            Ok(Reply::Fresh(version)) => self.written(state, proxy, writing, Some(version)),
            Ok(Reply::Done(version)) => self.written(state, proxy, writing, version),
            Ok(Reply::Got(None)) if writing.target.is_none() => {
                self.written(state, proxy, writing, None)
            }
            Ok(Reply::Got(None)) => {
                Self::turn_mut(state, proxy).phase =
                    Phase::Write(Writing { absent: true, ..writing });
                Ok(())
            }
            // It forgot the claim. What is known is written all the same.
            Ok(Reply::Moved(None)) => self.write_again(state, proxy, again),
            Ok(Reply::Got(Some(held)) | Reply::Found(held) | Reply::Moved(Some(held))) => {
                if writing.target == Some(held.record) {
                    return self.written(state, proxy, writing, Some(held.version));
                }
                let kept = Self::kept(state, proxy, writing.target);
                if self.is_ours(held, kept) {
                    let version = Some(held.version);
                    self.write_again(state, proxy, Writing { version, ..again })
                } else {
                    self.not_written(state, proxy, writing.then, "taken over")
                }
            }
        }
    }

    /// What is kept of a write of this turn.
    fn kept(state: &State, proxy: usize, target: Option<Rec>) -> Unwritten {
        let holding = Self::now_holding(state, proxy);
        Unwritten { claimed: holding.record, found: holding.found, target }
    }

    /// Whether what stands bears the claim of a write, or is what it found, or knows less.
    fn is_ours(&self, held: Held, write: Unwritten) -> bool {
        let token =
            |record: Rec| self.desk.record(record).claim.as_ref().map(|claim| claim.token.clone());
        let stands = token(held.record);
        let more = |it| says_more(&self.desk.record(it), &self.desk.record(held.record));
        write.target.is_some_and(more)
            || write.found == Some(held.record)
            || stands.is_some() && stands == token(write.claimed)
    }

    fn unanswered(&self, state: &mut State, proxy: usize, again: Writing, heard: Heard) -> Outcome {
        match again.then {
            // Its derived key keeps it safe.
            Then::Advance { declined } => {
                if let Some(next) = again.target {
                    self.go_on(state, proxy, declined, next, None);
                }
                Ok(())
            }
            // As with a claim that was not answered.
            Then::Renew => self.send(state, proxy, Road::Arrives),
            Then::Tell => self.tell(state, proxy),
            Then::End if heard == Heard::DownForLong => self.keep(state, proxy, again.target),
            Then::End => self.write_again(state, proxy, again),
        }
    }

    fn write_again(&self, state: &mut State, proxy: usize, again: Writing) -> Outcome {
        if again.tries < WRITES {
            Self::turn_mut(state, proxy).phase = Phase::Write(again);
            return Ok(());
        }
        match again.then {
            Then::End => self.keep(state, proxy, again.target),
            then @ (Then::Advance { .. } | Then::Renew | Then::Tell) => {
                self.not_written(state, proxy, then, "not written")
            }
        }
    }

    /// The store does not take it: it is tried again later.
    fn keep(&self, state: &mut State, proxy: usize, target: Option<Rec>) -> Outcome {
        self.note("kept for later");
        state.proxies[proxy].unwritten = Some(Self::kept(state, proxy, target));
        self.end_turn(state, proxy)
    }

    /// Another has the operation.
    fn not_written(&self, state: &mut State, proxy: usize, then: Then, why: &str) -> Outcome {
        self.note(why);
        match then {
            Then::Advance { .. } => {
                let conclusion = Self::conclusion(state.proxies[proxy].turn.as_ref().unwrap());
                self.finish(state, proxy, Follows::Advance, conclusion)
            }
            Then::Renew => {
                Self::claim_anew(state, proxy);
                Ok(())
            }
            Then::Tell => self.tell(state, proxy),
            Then::End => self.end_turn(state, proxy),
        }
    }

    fn written(
        &self,
        state: &mut State,
        proxy: usize,
        writing: Writing,
        version: Option<usize>,
    ) -> Outcome {
        let Writing { target, then, .. } = writing;
        match (then, target) {
            (Then::Advance { declined }, Some(next)) => {
                self.go_on(state, proxy, declined, next, version);
                Ok(())
            }
            (Then::Renew, Some(renewed)) => {
                self.note("its lease begins anew");
                let turn = Self::turn_mut(state, proxy);
                let holding = turn.holding.as_mut().unwrap();
                (holding.record, holding.version) = (renewed, version);
                turn.phase = Phase::Ready;
                Ok(())
            }
            (Then::Tell, Some(noted)) => {
                self.note("noted before it is told");
                let holding = Self::turn_mut(state, proxy).holding.as_mut().unwrap();
                (holding.record, holding.version) = (noted, version);
                self.tell(state, proxy)
            }
            (Then::End, target) => self.settled(state, proxy, target),
            (Then::Advance { .. } | Then::Renew | Then::Tell, None) => {
                Err("nothing is written".to_owned())
            }
        }
    }

    /// What was kept is written at last. Each of its operations is compared with what it read, so
    /// that all of them are one step.
    pub(super) fn write_left(&self, state: &mut State, proxy: usize) -> Outcome {
        let Some(write) = state.proxies[proxy].unwritten.take() else { return Ok(()) };
        let op = match (state.store.held, write.target) {
            (None, None) => return Ok(()),
            (None, Some(target)) => Op::Claim(target),
            (Some(held), target) if target == Some(held.record) => return Ok(()),
            (Some(held), _) if !self.is_ours(held, write) => {
                self.note("taken over");
                return Ok(());
            }
            (Some(held), Some(target)) => Op::Replace(Some(held.version), target),
            (Some(held), None) => Op::Remove(held.version),
        };
        self.operate(state, op, Heard::Answered).map(|_reply| ())
    }

    /// Answers that are still on their way, to others than the latest asker, arrive.
    fn end_turn(&self, state: &mut State, proxy: usize) -> Outcome {
        let Some(turn) = state.proxies[proxy].turn.take() else { return Ok(()) };
        for seat in turn.seats.iter().filter(|seat| seat.is == Seated::Handed) {
            if let Some(told) = turn.told {
                self.say(state, seat.caller, told.says)?;
            }
        }
        Ok(())
    }

    /// What was learnt stands.
    fn settled(&self, state: &mut State, proxy: usize, target: Option<Rec>) -> Outcome {
        let told = state.proxies[proxy].turn.as_ref().unwrap().told;
        self.end_turn(state, proxy)?;
        let standing = target.map(|target| self.desk.record(target).standing);
        let delivered = matches!(
            standing,
            Some(Standing::Settled(Settled { result: Ended::Succeeded, delivered: true, .. }))
        );
        if let (true, Some(Told { says: Says::Success(effect), .. })) = (delivered, told)
            && !state.recorded.contains(&effect)
        {
            state.recorded.push(effect);
            state.recorded.sort_unstable();
        }
        Ok(())
    }
}
