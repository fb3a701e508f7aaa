//! `exchange::drive` from the last answer on, and `exchange::settle`: what is told and what is learnt.

use super::claim::digest;
use super::drive::meaning;
use super::state::{Answer, Holding, Phase, Rec, Says, Seated, State, Then, Told, Turn, Writing};
use super::{Mistake, Model, Outcome};
use crate::clock::Timestamp;
use crate::decide::digest::ClientKeyDigest;
use crate::decide::identity::Kind;
use crate::decide::operation::change::{Follows, Learnt, forgotten, put_back, settled};
use crate::decide::operation::record::{Outcome as Ended, Record};
use crate::decide::outcome::{Conclusion, Meaning};

impl Model {
    /// An exchange is over. What is learnt is written once the delivery is known; a decline of a
    /// named operation also before it is told.
    pub(super) fn finish(
        &self,
        state: &mut State,
        proxy: usize,
        follows: Follows,
        conclusion: Conclusion,
    ) -> Outcome {
        if follows == Follows::Alarm && self.config.kind != Kind::OwnKey && !state.blind {
            return Err("P1: a saved answer was executed again".to_owned());
        }
        let turn = Self::turn_mut(state, proxy);
        let holding = turn.holding.as_mut().unwrap();
        if matches!(follows, Follows::Forgotten | Follows::Older) {
            self.note("forgotten");
            let record = self.desk.record(holding.record);
            holding.record = self.desk.put(forgotten(Record::clone(&record), &self.operation));
        }
        let declined = matches!(conclusion, Conclusion::Declined { .. });
        let named = matches!(self.config.kind, Kind::Header | Kind::Fields);
        if holding.version.is_none() || !declined || !named {
            return self.tell(state, proxy);
        }
        self.note_decline(state, proxy, conclusion);
        Ok(())
    }

    /// The decline is about to be written; still claimed, for it is settled when it is known
    /// whether the asker got the answer.
    fn note_decline(&self, state: &mut State, proxy: usize, conclusion: Conclusion) {
        let now = self.at(state.now);
        let turn = Self::turn_mut(state, proxy);
        let Holding { record, version, .. } = turn.holding.unwrap();
        let claimed = self.desk.record(record);
        let learnt = self.learnt(turn, conclusion, now);
        let standing = settled(Record::clone(&claimed), &learnt, false, &[], now).standing;
        let target = Some(self.desk.put(Record { standing, ..Record::clone(&claimed) }));
        turn.phase =
            Phase::Write(Writing { target, version, tries: 0, absent: false, then: Then::Tell });
    }

    /// The askers are told.
    pub(super) fn tell(&self, state: &mut State, proxy: usize) -> Outcome {
        let now = state.now;
        let turn = state.proxies[proxy].turn.as_ref().unwrap();
        let conclusion = Self::conclusion(turn);
        let found = turn.holding.unwrap().found.map(|found| self.desk.record(found));
        let says = Self::says(turn, conclusion, found.as_deref())?;
        let told = Told { says, at: now };
        self.check_told(state, proxy, told)?;
        let turn = Self::turn_mut(state, proxy);
        turn.told = Some(told);
        match conclusion {
            Conclusion::NotExecuted => {
                self.answer_all(state, proxy, says, false)?;
                self.put_back_now(state, proxy);
                Ok(())
            }
            Conclusion::InDoubt { .. } => {
                self.answer_all(state, proxy, says, false)?;
                if self.config.mistake == Some(Mistake::ReleaseAfterBytes) {
                    self.put_back_now(state, proxy);
                } else {
                    self.settle_now(state, proxy, false);
                }
                Ok(())
            }
            Conclusion::Succeeded | Conclusion::Declined { .. } => {
                for seat in turn.seats.iter_mut().filter(|seat| seat.is == Seated::Waiting) {
                    seat.is = Seated::Handed;
                }
                turn.phase = Phase::Deliver;
                self.delivery(state, proxy);
                Ok(())
            }
        }
    }

    fn says(turn: &Turn, conclusion: Conclusion, found: Option<&Record>) -> Result<Says, String> {
        let last = *turn.answers.last().unwrap();
        let nothing_before = found
            .is_none_or(|found| found.settled().is_some_and(|it| it.result == Ended::Declined));
        let nothing = match meaning(last) {
            Meaning::NotExecuted | Meaning::Conflict | Meaning::NotSent | Meaning::RateLimited => {
                true
            }
            Meaning::Unknown
            | Meaning::Indeterminate { .. }
            | Meaning::Succeeded
            | Meaning::Declined { .. } => false,
        };
        Ok(match conclusion {
            Conclusion::Succeeded => match last {
                Answer::Read { effect: Some(effect), .. } => Says::Success(effect),
                Answer::Read { .. } | Answer::NotSent | Answer::Unknown => {
                    return Err("P3: a success without an effect".to_owned());
                }
            },
            Conclusion::Declined { .. } => Says::Declined,
            Conclusion::NotExecuted if nothing_before && nothing => Says::Nothing,
            Conclusion::NotExecuted | Conclusion::InDoubt { .. } => Says::Unknown,
        })
    }

    /// Settles once it is known whether the latest asker got the answer.
    pub(super) fn delivery(&self, state: &mut State, proxy: usize) {
        let turn = state.proxies[proxy].turn.as_ref().unwrap();
        if turn.phase != Phase::Deliver {
            return;
        }
        let too_early = self.config.mistake == Some(Mistake::DeliveredTooEarly);
        match turn.last_seat() {
            Seated::Waiting | Seated::Handed => {}
            Seated::Got => self.settle_now(state, proxy, true),
            Seated::Lost => self.settle_now(state, proxy, too_early),
        }
    }

    fn learnt(&self, turn: &Turn, conclusion: Conclusion, answered: Timestamp) -> Learnt {
        Learnt {
            conclusion,
            attempts: 0,
            object: None,
            request_id: None,
            last_sent: self.at(turn.began),
            answered,
            trail: Vec::new(),
        }
    }

    fn settle_now(&self, state: &mut State, proxy: usize, delivered: bool) {
        let now = state.now;
        let turn = Self::turn_mut(state, proxy);
        let holding = turn.holding.unwrap();
        let record = Record::clone(&self.desk.record(holding.record));
        let joined: Vec<ClientKeyDigest> =
            turn.seats.iter().filter_map(|seat| digest(seat.client, seat.content)).collect();
        let answered = self.at(turn.told.map_or(now, |told| told.at));
        let learnt = self.learnt(turn, Self::conclusion(turn), answered);
        let asked = turn.asked;
        let record = settled(record, &learnt, delivered, &joined, self.at(now));
        let key = self.desk.key(&record.key);
        let target = self.desk.put(record);
        state.proxies[proxy].memory = Some((target, now));
        Self::remember_call(state, proxy, &asked, key);
        self.note(if delivered { "known as delivered" } else { "not delivered" });
        Self::end_with(state, proxy, Some(target));
    }

    pub(super) fn put_back_now(&self, state: &mut State, proxy: usize) {
        let holding = Self::now_holding(state, proxy);
        let asked = state.proxies[proxy].turn.as_ref().unwrap().asked;
        if holding.first_call {
            let call = (asked.client, asked.content);
            state.proxies[proxy].calls.retain(|it| (it.client, it.content) != call);
        }
        let found = holding.found.map(|found| Record::clone(&self.desk.record(found)));
        let target = put_back(found).map(|record| self.desk.put(record));
        state.proxies[proxy].memory = target.map(|target| (target, state.now));
        self.note("put back");
        Self::end_with(state, proxy, target);
    }

    fn end_with(state: &mut State, proxy: usize, target: Option<Rec>) {
        let turn = Self::turn_mut(state, proxy);
        let version = turn.holding.unwrap().version;
        turn.phase =
            Phase::Write(Writing { target, version, tries: 0, absent: false, then: Then::End });
    }
}
