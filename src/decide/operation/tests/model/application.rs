//! The application: it asks, asks again, goes away, and takes another card.

use std::time::Duration;

use super::state::{Asked, Place, Says, Seat, Seated, State, Told};
use super::{Model, Outcome};
use crate::decide::identity::Kind;
use crate::decide::operation::record::Record;
use crate::decide::operation::table::{Owner, Refused, Then, judge};

/// As `exchange` has it: how long an answered success is shared with those who name it.
const NAMED_SHARE: Duration = Duration::from_secs(5);

impl Model {
    pub(super) fn ask_at(&self, state: &mut State, caller: usize, proxy: usize, fresh: bool) {
        let now = state.now;
        let recorded = state.recorded.clone();
        let it = &mut state.callers[caller];
        if it.asks == 0 {
            it.after = recorded;
        }
        it.asks += 1;
        if self.config.kind == Kind::OwnKey {
            it.client = 1;
        } else if fresh || it.client == 0 {
            it.client = u16::try_from(caller * 100 + it.asks).unwrap();
        }
        it.arrived = now;
        it.last = None;
        it.place = Place::At(proxy);
        it.recalled = state.proxies[proxy]
            .calls
            .iter()
            .find(|call| (call.client, call.content) == (it.client, it.content))
            .map(|call| call.key);
    }

    /// It takes the turn at its proxy, or comes to one that is taken.
    pub(super) fn enter(&self, state: &mut State, caller: usize) -> Outcome {
        let it = &state.callers[caller];
        let Place::At(proxy) = it.place else { return Ok(()) };
        let asked = Asked {
            caller,
            client: it.client,
            content: it.content,
            arrived: it.arrived,
            token: caller * 100 + it.asks,
            recalled: it.recalled,
        };
        let seat = Seat { caller, client: it.client, content: it.content, is: Seated::Waiting };
        let Some(turn) = &state.proxies[proxy].turn else {
            state.proxies[proxy].turn = Some(Self::turn(asked, seat));
            state.callers[caller].place = Place::Seated(proxy);
            self.note("it has the turn");
            return Ok(());
        };
        let (Some(shown), false) = (turn.shown, turn.closed()) else { return Ok(()) };
        self.visit(state, proxy, asked, seat, shown)
    }

    /// `exchange::turn`, a visit.
    fn visit(
        &self,
        state: &mut State,
        proxy: usize,
        asked: Asked,
        seat: Seat,
        shown: usize,
    ) -> Outcome {
        let record = self.desk.record(shown);
        let turn = state.proxies[proxy].turn.as_ref().unwrap();
        let told = turn.told;
        let verdict = self.with_ask(state, &asked, |ask| judge(Some(&record), Owner::Alive, ask));
        match verdict.then {
            Then::Wait { share: true } if self.shareable(state, &record, told, &asked) => {
                self.note("it joins");
                let mut seat = seat;
                if told.is_some() {
                    seat.is = Seated::Handed;
                }
                state.proxies[proxy].turn.as_mut().unwrap().seats.push(seat);
                state.callers[asked.caller].place = Place::Seated(proxy);
                let key = self.desk.key(&record.key);
                Self::remember_call(state, proxy, &asked, key);
            }
            Then::ReplayEarlier(past) => {
                let says = self.earlier(state, &asked, &past)?;
                return self.say(state, asked.caller, says);
            }
            Then::Refuse(Refused::Conflict(_)) if told.is_some() => {}
            Then::Refuse(refused) => {
                return self.say(state, asked.caller, Self::refusal(&refused));
            }
            Then::Wait { .. } | Then::Send(_) => {}
        }
        Ok(())
    }

    /// `exchange::turn`, what is shareable.
    fn shareable(&self, state: &State, record: &Record, told: Option<Told>, asked: &Asked) -> bool {
        let key = self.desk.key(&record.key);
        if asked.recalled.is_some_and(|sent| sent != key) {
            return false;
        }
        let Some(told) = told else { return true };
        let window = if self.named() { NAMED_SHARE } else { self.config.window };
        let age = Duration::from_millis(state.now - told.at);
        matches!(told.says, Says::Success(_)) && age < window
    }

    /// The caller is answered, and gone from its place.
    pub(super) fn say(&self, state: &mut State, caller: usize, says: Says) -> Outcome {
        self.note(&format!("caller {caller} is told {says:?}"));
        let it = &mut state.callers[caller];
        it.place = Place::Resting;
        it.last = Some(says);
        if says == Says::Conflict {
            it.content = 0;
        }
        self.check_got(state, caller)
    }

    /// The answer on its way to the caller arrives, or not.
    pub(super) fn deliver(&self, state: &mut State, caller: usize, got: bool) -> Outcome {
        let Place::Seated(proxy) = state.callers[caller].place else { return Ok(()) };
        let turn = state.proxies[proxy].turn.as_mut().unwrap();
        let told = turn.told;
        let waits = |seat: &&mut Seat| seat.caller == caller && seat.is == Seated::Handed;
        if let Some(seat) = turn.seats.iter_mut().find(waits) {
            seat.is = if got { Seated::Got } else { Seated::Lost };
        }
        let says = told.filter(|_told| got).map_or(Says::Unknown, |told| told.says);
        self.say(state, caller, says)?;
        self.delivery(state, proxy);
        Ok(())
    }

    pub(super) fn hang_up(&self, state: &mut State, caller: usize) -> Outcome {
        let place = state.callers[caller].place;
        self.say(state, caller, Says::Unknown)?;
        let Place::Seated(proxy) = place else { return Ok(()) };
        let turn = state.proxies[proxy].turn.as_mut().unwrap();
        let waits = |seat: &&mut Seat| {
            seat.caller == caller && matches!(seat.is, Seated::Waiting | Seated::Handed)
        };
        if let Some(seat) = turn.seats.iter_mut().find(waits) {
            seat.is = Seated::Lost;
        }
        self.delivery(state, proxy);
        Ok(())
    }

    pub(super) fn refusal(refused: &Refused) -> Says {
        match refused {
            Refused::Superseded => Says::Superseded,
            Refused::WindowElapsed => Says::WindowElapsed,
            Refused::AlreadyDone => Says::AlreadyDone,
            Refused::Conflict(_fields) => Says::Conflict,
        }
    }
}
