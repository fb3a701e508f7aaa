//! The rows A1–A16, each with its branches.

use std::collections::BTreeSet;
use std::time::Duration;

use super::some::{DAY, EPOCH, NOW, ago, at, key, record};
use super::world::{client_key, fingerprint};
use crate::decide::identity::Kind;
use crate::decide::operation::record::{ClientKeySeen, Outcome, Past, Record, Settled, Standing};
use crate::decide::operation::table::Row::{
    A1, A2, A3, A4, A5, A6, A7, A8, A9, A10, A11, A12, A13, A14, A15, A16,
};
use crate::decide::operation::table::{Ask, Owner, Refused, Row, Send, Then, Way, judge};
use crate::decide::path::Api;

/// What the table looks at in a request.
#[derive(Clone, Copy, Debug)]
struct Asking {
    kind: Kind,
    content: u8,
    key: Option<u16>,
    twins: bool,
    window: Duration,
    next_after_saved_500: bool,
    epoch: u64,
    /// How many seconds ago it arrived.
    waited: u64,
}

struct Case {
    says: &'static str,
    row: Row,
    found: Option<Record>,
    owner: Owner,
    asking: Asking,
    then: Then,
}

const fn by(kind: Kind) -> Asking {
    Asking {
        kind,
        content: 0,
        key: None,
        twins: false,
        window: Duration::ZERO,
        next_after_saved_500: false,
        epoch: EPOCH,
        waited: 0,
    }
}

const CONTENT: Asking = by(Kind::Content);
const TWINS: Asking = Asking { twins: true, window: Duration::from_secs(30), ..CONTENT };

fn settled(kind: Kind, result: Outcome, spent: bool, delivered: bool) -> Record {
    Record {
        standing: Standing::Settled(Settled { result, spent, delivered }),
        claim: None,
        first_delivered: (result == Outcome::Succeeded && delivered).then(|| ago(10)),
        ..record(kind)
    }
}

fn succeeded(kind: Kind, delivered: bool) -> Record {
    settled(kind, Outcome::Succeeded, true, delivered)
}

fn declined(kind: Kind, spent: bool, delivered: bool) -> Record {
    settled(kind, Outcome::Declined, spent, delivered)
}

fn in_doubt(kind: Kind, saved_500: bool) -> Record {
    Record { standing: Standing::InDoubt { saved_500 }, claim: None, ..record(kind) }
}

fn old(record: Record) -> Record {
    let first_sent = ago(23 * 3600);
    Record { first_sent, last_sent: first_sent, occurrence: at(EPOCH - 1, 1), ..record }
}

fn seen_by(key: u16, n: u32, record: Record) -> Record {
    let seen = ClientKeySeen { digest: client_key(key, 0), occurrence: at(EPOCH, n) };
    Record { client_keys: vec![seen], ..record }
}

fn with_past(spent: bool, seconds_ago: u64, record: Record) -> Record {
    let past = Past { occurrence: at(EPOCH, 0), key: key(0), spent, first_sent: ago(seconds_ago) };
    Record { past: vec![past], ..record }
}

fn earlier(record: &Record) -> Then {
    Then::ReplayEarlier(record.past[0].clone())
}

fn send(epoch: u64, n: u32, way: Way) -> Then {
    Then::Send(Send { occurrence: at(epoch, n), way })
}

const REPLAY: Way = Way::Replay;
const TAKE_OVER: Way = Way::TakeOver { next_if_replayed: false };
const NEW: Way = Way::New { repeat: false, abandoned: false };
const REPEAT: Way = Way::New { repeat: true, abandoned: false };
const ABANDONED: Way = Way::New { repeat: false, abandoned: true };

const ALL: [Kind; 4] = [Kind::Header, Kind::Fields, Kind::OwnKey, Kind::Content];
const NAMED: [Kind; 3] = [Kind::Header, Kind::Fields, Kind::OwnKey];
const ADVANCING: [Kind; 3] = [Kind::Header, Kind::Fields, Kind::Content];

/// The cases of all rows. Occurrence 1 of the current epoch is what is found.
#[derive(Default)]
struct Cases(Vec<Case>);

impl Cases {
    fn add(
        &mut self,
        row: Row,
        says: &'static str,
        found: Option<Record>,
        asking: Asking,
        then: Then,
    ) {
        self.0.push(Case { says, row, found, owner: Owner::Gone, asking, then });
    }

    fn alive(&mut self, row: Row, says: &'static str, found: Record, asking: Asking, then: Then) {
        let owner = Owner::Alive;
        self.0.push(Case { says, row, found: Some(found), owner, asking, then });
    }

    fn all() -> Vec<Case> {
        let mut cases = Self::default();
        cases.nothing_found();
        cases.client_keys_seen();
        cases.beyond_retention();
        cases.other_content();
        cases.in_flight();
        cases.open();
        cases.joined();
        cases.declined();
        cases.succeeded();
        cases.0
    }

    fn nothing_found(&mut self) {
        for kind in ALL {
            self.add(A1, "nothing is known", None, by(kind), send(EPOCH, 0, NEW));
        }
    }

    fn client_keys_seen(&mut self) {
        let asking = Asking { key: Some(7), ..CONTENT };
        let superseded = || Then::Refuse(Refused::Superseded);
        let seen =
            |spent, age| seen_by(7, 0, with_past(spent, age, succeeded(Kind::Content, true)));
        let found = seen(true, 3600);
        let then = earlier(&found);
        self.add(A2, "the earlier one is held by the provider", Some(found), asking, then);
        let found = seen(true, 23 * 3600);
        self.add(A2, "its key is too old", Some(found), asking, superseded());
        let found = seen(false, 3600);
        self.add(A2, "the provider holds nothing of it", Some(found), asking, superseded());
        let found = seen_by(7, 0, succeeded(Kind::Content, true));
        self.add(A2, "it is not remembered any more", Some(found), asking, superseded());
        let found = seen_by(7, 0, with_past(true, 60, record(Kind::Content)));
        let then = earlier(&found);
        self.alive(A2, "even while the next one is in flight", found, asking, then);
        let found = seen_by(7, 0, with_past(true, 60, declined(Kind::Header, false, true)));
        let then = earlier(&found);
        let header = Asking { kind: Kind::Header, ..asking };
        self.add(A2, "also where an own key stands beside the header", Some(found), header, then);

        let again = send(EPOCH, 1, REPLAY);
        for kind in ALL {
            let asking = Asking { kind, ..asking };
            let found = seen_by(7, 1, succeeded(kind, true));
            self.add(A3, "a delivered success is replayed", Some(found), asking, again.clone());
            let found = seen_by(7, 1, declined(kind, true, true));
            self.add(A3, "a delivered decline is replayed", Some(found), asking, again.clone());
            let found = seen_by(7, 1, declined(kind, false, true));
            let take_over = send(EPOCH, 1, TAKE_OVER);
            self.add(A3, "an unspent decline: the same key", Some(found), asking, take_over);
            let asking = Asking { next_after_saved_500: true, ..asking };
            let found = seen_by(7, 1, in_doubt(kind, true));
            self.add(A3, "a saved 500 is replayed, never next", Some(found), asking, again.clone());
        }
        let found = seen_by(7, 1, in_doubt(Kind::Content, false));
        let then = send(EPOCH, 1, TAKE_OVER);
        self.add(A11, "a seen key of one in doubt takes over", Some(found), asking, then);
        let found = seen_by(7, 1, old(succeeded(Kind::Content, true)));
        let found = Record { occurrence: at(EPOCH, 1), ..found };
        let then = send(EPOCH, 2, NEW);
        self.add(A6, "a seen key beyond retention is not replayed", Some(found), asking, then);
    }

    fn beyond_retention(&mut self) {
        for kind in NAMED {
            let elapsed = Then::Refuse(Refused::WindowElapsed);
            let done = Then::Refuse(Refused::AlreadyDone);
            let found = old(in_doubt(kind, false));
            self.add(A4, "in doubt for too long", Some(found), by(kind), elapsed.clone());
            let found = old(in_doubt(kind, true));
            let asking = Asking { next_after_saved_500: true, ..by(kind) };
            self.add(A4, "a saved 500 for too long", Some(found), asking, elapsed.clone());
            let found = Record { claim: None, ..old(record(kind)) };
            self.add(A4, "begun, and its owner died", Some(found), by(kind), elapsed.clone());
            let asking = Asking { content: 9, ..by(kind) };
            let found = old(in_doubt(kind, false));
            self.add(A4, "whatever the content is", Some(found), asking, elapsed);
            for delivered in [true, false] {
                let found = old(succeeded(kind, delivered));
                self.add(A5, "done long ago", Some(found), by(kind), done.clone());
            }
            let found = old(declined(kind, true, true));
            let then = send(EPOCH, 0, NEW);
            self.add(A6, "declined long ago", Some(found), by(kind), then);
        }
        let then = send(EPOCH, 0, NEW);
        for delivered in [true, false] {
            let found = Some(old(succeeded(Kind::Content, delivered)));
            self.add(A6, "content that succeeded long ago", found, CONTENT, then.clone());
            let found = Some(old(declined(Kind::Content, false, delivered)));
            self.add(A6, "content that was declined long ago", found, CONTENT, then.clone());
        }
        let then = send(EPOCH, 0, ABANDONED);
        let found = Some(old(in_doubt(Kind::Content, false)));
        self.add(A6, "content in doubt is given up, and counted", found, CONTENT, then);
        let found = Record { occurrence: at(EPOCH + 1, 3), ..old(succeeded(Kind::Content, true)) };
        let then = send(EPOCH + 1, 4, NEW);
        self.add(A6, "a clock that stepped back reuses no key", Some(found), CONTENT, then);
        let v2 = |seconds_ago| Record {
            api: Api::V2,
            first_sent: ago(seconds_ago),
            ..in_doubt(Kind::Header, false)
        };
        let then = send(EPOCH, 1, TAKE_OVER);
        let header = by(Kind::Header);
        self.add(A11, "v2 remembers for 29 days", Some(v2(29 * DAY - 1)), header, then);
        let then = Then::Refuse(Refused::WindowElapsed);
        self.add(A4, "and no longer", Some(v2(29 * DAY)), header, then);
    }

    fn other_content(&mut self) {
        for kind in [Kind::Header, Kind::Fields] {
            let other = Asking { content: 9, ..by(kind) };
            for (spent, delivered) in [(true, true), (true, false), (false, true)] {
                let found = Some(declined(kind, spent, delivered));
                let then = send(EPOCH, 2, NEW);
                self.add(A7, "another card after a decline", found, other, then);
            }
        }
        let conflict = || Then::Refuse(Refused::Conflict(Vec::new()));
        for kind in NAMED {
            let other = Asking { content: 9, ..by(kind) };
            for delivered in [true, false] {
                let found = Some(succeeded(kind, delivered));
                self.add(A8, "after a success", found, other, conflict());
            }
            let found = Some(in_doubt(kind, false));
            self.add(A8, "while the outcome is not known", found, other, conflict());
            let found = Some(in_doubt(kind, true));
            self.add(A8, "after a saved 500", found, other, conflict());
            self.alive(A8, "while it is in flight", record(kind), other, conflict());
        }
        let other = Asking { content: 9, ..by(Kind::OwnKey) };
        let found = Some(declined(Kind::OwnKey, true, true));
        self.add(A8, "an own key has no next occurrence", found, other, conflict());
    }

    fn in_flight(&mut self) {
        let share = |share| Then::Wait { share };
        for kind in NAMED {
            self.alive(A9, "a named operation shares", record(kind), by(kind), share(true));
        }
        self.alive(A9, "twins share", record(Kind::Content), TWINS, share(true));
        self.alive(A9, "content alone does not", record(Kind::Content), CONTENT, share(false));
        let found = seen_by(7, 1, record(Kind::Content));
        let asking = Asking { key: Some(7), ..CONTENT };
        self.alive(A9, "nor a client key that is in flight", found, asking, share(false));
        let claim = record(Kind::Content).claim;
        let found = Record { claim: claim.clone(), ..succeeded(Kind::Content, true) };
        self.alive(A9, "while a replay is under way", found, TWINS, share(true));
        let found = Record { claim, ..old(record(Kind::Header)) };
        let header = by(Kind::Header);
        self.alive(A9, "an owner at the edge of retention will say", found, header, share(true));
    }

    fn open(&mut self) {
        for kind in ADVANCING {
            let asking = Asking { next_after_saved_500: true, ..by(kind) };
            let then = send(EPOCH, 2, NEW);
            let found = Some(in_doubt(kind, true));
            self.add(A10, "the rule says next", found.clone(), asking, then.clone());
            let asking = Asking { key: Some(8), ..asking };
            self.add(A10, "a new client key", found, asking, then);
        }
        let asking = Asking { next_after_saved_500: true, ..by(Kind::OwnKey) };
        let found = Some(in_doubt(Kind::OwnKey, true));
        self.add(A10, "an own key is replayed", found, asking, send(EPOCH, 1, REPLAY));
        for kind in ALL {
            let then = send(EPOCH, 1, TAKE_OVER);
            let found = Some(in_doubt(kind, false));
            self.add(A11, "in doubt: the same key", found, by(kind), then.clone());
            let found = Some(in_doubt(kind, true));
            self.add(A11, "a saved 500 that is held", found, by(kind), then.clone());
            let found = Some(record(kind));
            self.add(A11, "begun, and its lease is over", found, by(kind), then.clone());
            let found = Record { claim: None, ..record(kind) };
            self.alive(A11, "nobody holds it", found, by(kind), then);
        }
        let asking = Asking { next_after_saved_500: true, ..CONTENT };
        let found = Some(in_doubt(Kind::Content, false));
        let then = send(EPOCH, 1, TAKE_OVER);
        self.add(A11, "next is for saved ones alone", found, asking, then);
    }

    fn joined(&mut self) {
        let told = |record| Some(Record { answered: Some(ago(5)), ..record });
        let late = |asking| Asking { waited: 5, ..asking };
        let early = |asking| Asking { waited: 6, window: Duration::ZERO, ..asking };
        let replay = || send(EPOCH, 1, REPLAY);
        let done = || told(succeeded(Kind::Content, true));
        self.add(A9, "a twin that was there before the answer", done(), early(TWINS), replay());
        let window = Duration::ZERO;
        let asking = late(Asking { window, ..TWINS });
        self.add(A16, "a twin that came after it", done(), asking, send(EPOCH, 2, REPEAT));
        self.add(A16, "no twin", done(), early(CONTENT), send(EPOCH, 2, REPEAT));
        for kind in [Kind::Header, Kind::Fields] {
            let found = || told(declined(kind, true, true));
            self.add(A9, "its decline is shared", found(), early(by(kind)), replay());
            self.add(A13, "a new try after it", found(), late(by(kind)), send(EPOCH, 2, NEW));
        }
        let found = told(declined(Kind::Content, false, true));
        let then = send(EPOCH, 1, TAKE_OVER);
        self.add(A9, "a decline that is not kept is asked again", found, early(TWINS), then);
        let found = told(in_doubt(Kind::Content, false));
        let then = send(EPOCH, 1, TAKE_OVER);
        self.add(A11, "there was no outcome to share", found, early(TWINS), then);
    }

    fn declined(&mut self) {
        for kind in ALL {
            for delivered in [true, false] {
                let then = send(EPOCH, 1, Way::TakeOver { next_if_replayed: delivered });
                let found = Some(declined(kind, false, delivered));
                self.add(A12, "unspent: the same key", found, by(kind), then);
            }
            let found = Some(declined(kind, true, false));
            self.add(A13, "spent and lost", found, by(kind), send(EPOCH, 1, REPLAY));
            let claim = record(kind).claim;
            let found = Record { claim, ..declined(kind, true, true) };
            let then = send(EPOCH, 1, REPLAY);
            self.add(A13, "a dead owner's replay was not delivered", Some(found), by(kind), then);
        }
        for kind in ADVANCING {
            let found = Some(declined(kind, true, true));
            let then = send(EPOCH, 2, NEW);
            self.add(A13, "spent and delivered", found.clone(), by(kind), then);
            let later = Asking { epoch: EPOCH + 1, ..by(kind) };
            self.add(A13, "0 of a later epoch", found, later, send(EPOCH + 1, 0, NEW));
        }
        let found = Some(declined(Kind::OwnKey, true, true));
        let then = send(EPOCH, 1, REPLAY);
        self.add(A13, "an own key is replayed", found, by(Kind::OwnKey), then);
    }

    fn succeeded(&mut self) {
        let replay = || send(EPOCH, 1, REPLAY);
        for kind in ALL {
            let found = Some(succeeded(kind, false));
            self.add(A14, "the answer was lost", found, by(kind), replay());
            let claim = record(kind).claim;
            let found = Some(Record { claim, ..succeeded(kind, true) });
            self.add(A14, "its replayer died before delivery", found, by(kind), replay());
        }
        for kind in [Kind::Header, Kind::Fields] {
            let found = Some(succeeded(kind, true));
            self.add(A15, "a named operation is done once", found, by(kind), replay());
        }
        let delivered = |seconds| {
            let first_delivered = Some(ago(seconds));
            Some(Record { first_delivered, ..succeeded(Kind::Content, true) })
        };
        let next = send(EPOCH, 2, REPEAT);
        self.add(A15, "a twin within the window", delivered(29), TWINS, replay());
        self.add(A16, "a twin after the window", delivered(30), TWINS, next.clone());
        let asking = Asking { twins: false, ..TWINS };
        self.add(A16, "content that is no twin", delivered(1), asking, next.clone());
        let asking = Asking { window: Duration::ZERO, ..TWINS };
        self.add(A16, "twins without a window", delivered(0), asking, next.clone());
        self.add(A16, "content, delivered", delivered(1), CONTENT, next);
        let later = Asking { epoch: EPOCH + 1, ..CONTENT };
        self.add(A16, "0 of a later epoch", delivered(1), later, send(EPOCH + 1, 0, REPEAT));
        let found = Some(succeeded(Kind::OwnKey, true));
        self.add(A16, "an own key is replayed", found, by(Kind::OwnKey), replay());
    }
}

impl Case {
    fn holds(&self) {
        let fingerprint = fingerprint(self.asking.content);
        let ask = Ask {
            kind: self.asking.kind,
            fingerprint: &fingerprint,
            client_key: self.asking.key.map(|key| client_key(key, self.asking.content)),
            twins: self.asking.twins,
            repeat_window: self.asking.window,
            next_after_saved_500: self.asking.next_after_saved_500,
            epoch: self.asking.epoch,
            arrived: ago(self.asking.waited),
            waited: self.asking.waited > 0,
            now: NOW,
        };
        let verdict = judge(self.found.as_ref(), self.owner, &ask);
        let Self { says, row, asking, .. } = self;
        assert_eq!(
            (verdict.row, &verdict.then),
            (*row, &self.then),
            "{says} ({row:?}, {asking:?})"
        );
    }
}

#[test]
fn every_row_and_branch_decides_as_the_table_says() {
    for case in Cases::all() {
        case.holds();
    }
}

#[test]
fn no_row_is_left_untried() {
    let tried: BTreeSet<Row> = Cases::all().iter().map(|case| case.row).collect();
    let missing: Vec<Row> = Row::ALL.into_iter().filter(|row| !tried.contains(row)).collect();
    println!("rows covered (pure): {}/{}", tried.len(), Row::ALL.len());
    assert!(missing.is_empty(), "rows without a case: {missing:?}");
}

#[test]
fn each_row_has_a_name_of_its_own() {
    let names: BTreeSet<&str> = Row::ALL.iter().map(|row| row.as_str()).collect();
    assert_eq!(names.len(), Row::ALL.len());
    assert!(Row::ALL.iter().all(|row| row.as_str() == format!("{row:?}")));
}
