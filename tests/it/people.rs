//! A person's word on operations, while the store takes its time or does not answer, and while
//! nobody waits for it any more: what is in the audit log then.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "that is how a test fails, helpers included"
)]

use std::sync::Arc;

use payonce::admin::bulk::{Bulk, Bulked, Resolutions, Shown};
use payonce::admin::{Operations, Outcome, Resolution, Resolved};
use payonce::audit::AuditLog;
use payonce::decide::policy::Policy;
use payonce::ledger::RecordId;
use payonce::people::People;
use payonce::policy_file::PolicyFile;
use payonce::sandbox::{Fault, Kind};
use payonce::server::Tasks;
use payonce::upstream::Direct;
use serde_json::Value;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::harness::{Post, Setup, World, until};

mod store;

use store::{Mood, Moody};

const CHARGES: &str = r#"
[[rule]]
name = "charges"
match = ["POST /v1/charges"]
class = "critical"
identity = "content"
distinguishes = ["source"]
"#;

/// Somebody on call, beside a payonce with some operations in doubt.
struct OnCall {
    world: World<Arc<Moody>>,
    store: Arc<Moody>,
    people: People<Arc<Moody>, Direct>,
    /// Where words are acted on, and whether the process ends.
    tasks: Tasks,
    ending: CancellationToken,
    directory: TempDir,
    /// In doubt, in the order in which they were asked for.
    ids: Vec<String>,
}

impl OnCall {
    async fn beside(doubts: u32) -> Self {
        let mut store = None;
        let setup = Setup::policy(CHARGES).set("RETRY__MAX_ATTEMPTS", 1);
        let world = setup.start_with(|clock| Arc::clone(store.insert(Moody::new(clock)))).await;
        let (store, directory) = (store.unwrap(), tempfile::tempdir().unwrap());
        let exchange = world.payonce().exchange.clone();
        let policy = Policy::parse(&format!("version = 1\n{CHARGES}")).unwrap();
        let policy = Arc::new(PolicyFile::fixed(policy, world.clock.clone()));
        let log = AuditLog::at(&directory.path().join("audit.ndjson"), world.clock.clone());
        let (tasks, ending) = (Tasks::new(), CancellationToken::new());
        let people = People::new(exchange, policy).recorded_in(Some(log), false);
        let people = people.heard_until(tasks.clone(), ending.clone());
        let mut this = Self { world, store, people, tasks, ending, directory, ids: Vec::new() };
        for n in 1..=doubts {
            let id = this.doubt(n).await;
            this.ids.push(id);
        }
        this
    }

    /// A charge of this amount ends in doubt, as often as it is asked for.
    async fn doubt(&self, amount: u32) -> String {
        self.world.faults([Fault::new(Kind::ResetAfterEffect { clean: false })]);
        let body = format!("amount={amount}&currency=usd&source=tok_visa");
        let reply = self.world.done(&Post::charge(&body).sdk(amount)).await;
        reply.refused(504, "payonce_outcome_unknown");
        reply.header("payonce-operation-id").unwrap().to_owned()
    }

    async fn declines(&self, id: &str) -> Result<Resolved, String> {
        let said = self.people.resolve(
            id,
            &Resolution::Declined { next_key: false },
            "ann",
            "asked Stripe",
        );
        said.await.map_err(|error| error.to_string())
    }

    async fn declines_all(&self, expect: Option<&str>, yes: bool) -> Bulked {
        let said = Bulk {
            rule: "charges".to_owned(),
            older_ms: None,
            outcome: Outcome::Declined,
            by: "ann".to_owned(),
            why: "Stripe incident 4711".to_owned(),
            expect: expect.map(str::to_owned),
            yes,
            next_key: false,
        };
        self.people.resolve_all(&said).await.unwrap()
    }

    /// What became of all, by whoever wants them all declined.
    async fn all_declined(&self) -> Resolutions {
        match self.declines_all(None, true).await {
            Bulked::Done(done) => done,
            other @ (Bulked::Shown(_) | Bulked::Unexpected(_)) => panic!("not done: {other:?}"),
        }
    }

    async fn shown(&self) -> Shown {
        match self.declines_all(None, false).await {
            Bulked::Shown(shown) => shown,
            other @ (Bulked::Done(_) | Bulked::Unexpected(_)) => panic!("not shown: {other:?}"),
        }
    }

    /// The lines of the audit log: verdict, operations, how many were not written.
    fn lines(&self) -> Vec<(String, Vec<String>, u64)> {
        let text = std::fs::read_to_string(self.directory.path().join("audit.ndjson"));
        let line = |line: &str| {
            let line: Value = serde_json::from_str(line).unwrap();
            let word = &line["word"];
            let ids = word["operations"].as_array().unwrap().iter();
            let ids = ids.map(|id| id.as_str().unwrap().to_owned()).collect();
            (line["verdict"].as_str().unwrap().to_owned(), ids, word["not_done"].as_u64().unwrap())
        };
        text.unwrap_or_default().lines().map(line).collect()
    }
}

fn line(verdict: &str, ids: &[String], not_done: u64) -> (String, Vec<String>, u64) {
    (verdict.to_owned(), ids.to_vec(), not_done)
}

#[tokio::test]
async fn a_word_is_acted_on_and_written_down_to_its_end_though_its_client_hung_up() {
    let on_call = OnCall::beside(1).await;
    let (store, ids) = (&on_call.store, &on_call.ids);
    store.is(Mood::Slow);
    tokio::select! {
        biased;
        _said = on_call.declines(&ids[0]) => panic!("the store has not answered"),
        () = until("the store is asked", || store.waits() == 1) => {}
    }
    assert_eq!(on_call.lines(), [line("asked", ids, 0)]);
    // The end of the process waits for it.
    on_call.ending.cancel();
    tokio::select! {
        biased;
        () = on_call.tasks.drained() => panic!("it is not over"),
        () = std::future::ready(()) => {}
    }
    store.is(Mood::Willing);
    on_call.tasks.drained().await;
    assert_eq!(on_call.lines(), [line("asked", ids, 0), line("resolved", ids, 0)]);
}

#[tokio::test]
async fn words_that_are_left_behind_are_bounded_in_number() {
    let on_call = OnCall::beside(1).await;
    on_call.store.is(Mood::Slow);
    for n in 1..=16 {
        tokio::select! {
            biased;
            _said = on_call.declines(&on_call.ids[0]) => panic!("the store has not answered"),
            () = until("the store is asked", || on_call.store.waits() == n) => {}
        }
    }
    let why = on_call.declines(&on_call.ids[0]).await.unwrap_err();
    assert!(why.contains("nothing was changed: too many"), "{why}");
    on_call.store.is(Mood::Willing);
    on_call.tasks.drained().await;
    // All were asked, and one of them was done.
    let lines = on_call.lines();
    assert_eq!(lines.iter().filter(|(verdict, ..)| verdict == "asked").count(), 16);
    assert_eq!(lines.iter().filter(|it| **it == line("resolved", &on_call.ids, 0)).count(), 1);
    assert_eq!(lines.iter().filter(|it| **it == line("resolved", &[], 1)).count(), 15);
}

#[tokio::test]
async fn a_word_that_the_store_did_not_answer_is_unknown_to_the_log_and_to_whoever_said_it() {
    let on_call = OnCall::beside(1).await;
    on_call.store.is(Mood::Deaf(None));
    let why = on_call.declines(&on_call.ids[0]).await.unwrap_err();
    let ids = &on_call.ids;
    assert_eq!(on_call.lines(), [line("asked", ids, 0), line("unknown", ids, 0)]);
    assert!(why.contains("not known whether"), "{why}");
}

#[tokio::test]
async fn a_word_that_was_written_unheard_is_found_to_be_written() {
    let on_call = OnCall::beside(1).await;
    on_call.store.is(Mood::Mute(1));
    let said = on_call.declines(&on_call.ids[0]).await;
    assert!(matches!(said, Ok(Resolved::Done(_))), "{said:?}");
    let ids = &on_call.ids;
    assert_eq!(on_call.lines(), [line("asked", ids, 0), line("resolved", ids, 0)]);
}

#[tokio::test]
async fn of_many_each_is_written_down_as_what_came_of_it() {
    let on_call = OnCall::beside(2).await;
    let [one, other] = [&on_call.ids[0], &on_call.ids[1]];
    let mut id = RecordId([0; 32]);
    hex::decode_to_slice(one, &mut id.0).unwrap();
    on_call.store.is(Mood::Deaf(Some(id)));
    let done = on_call.all_declined().await;
    assert_eq!((&done.done, done.unknown.len()), (&vec![other.clone()], 1));
    assert_eq!(done.unknown[0].operation_id, *one);
    let lines = on_call.lines();
    assert_eq!((lines[0].0.as_str(), lines[0].1.len()), ("asked", 2));
    assert_eq!(
        lines[1..],
        [
            line("resolved", std::slice::from_ref(other), 0),
            line("unknown", std::slice::from_ref(one), 0)
        ]
    );
}

#[tokio::test]
async fn what_was_touched_after_the_look_is_not_acted_on() {
    let on_call = OnCall::beside(2).await;
    let shown = on_call.shown().await;
    assert_eq!((shown.found.operations.len(), &shown.set[..2]), (2, "2-"));
    assert_eq!(on_call.shown().await.set, shown.set, "nothing was touched");
    on_call.doubt(1).await;
    let refused = on_call.declines_all(Some(&shown.set), false).await;
    assert_eq!(refused, Bulked::Unexpected(2));
    assert!(on_call.lines().is_empty());
    let shown = on_call.shown().await;
    let Bulked::Done(done) = on_call.declines_all(Some(&shown.set), false).await else {
        panic!("nothing was touched")
    };
    assert_eq!((done.done.len(), done.changed.len()), (2, 0));
}

#[tokio::test]
async fn what_is_asked_for_again_between_look_and_write_is_left_as_it_is() {
    let on_call = OnCall::beside(1).await;
    on_call.store.is(Mood::Slow);
    let touched = async {
        until("the store is asked", || on_call.store.waits() >= 1).await;
        on_call.store.is(Mood::Willing);
    };
    // Both write over the version that they saw: who comes first wins, and the other sees it.
    let (one, other, ()) =
        tokio::join!(on_call.all_declined(), on_call.declines(&on_call.ids[0]), touched);
    let first = one.done.len() == 1;
    let second = matches!(other, Ok(Resolved::Done(_)));
    assert!(first != second, "{one:?} {other:?}");
}

#[tokio::test]
async fn a_store_that_answers_nothing_is_not_asked_for_each_of_many() {
    let on_call = OnCall::beside(40).await;
    on_call.store.is(Mood::Deaf(None));
    let done = on_call.all_declined().await;
    assert_eq!((done.unknown.len(), done.failed.len()), (32, 8));
    let lines = on_call.lines();
    let told: Vec<_> =
        lines.iter().map(|(verdict, ids, left)| (&**verdict, ids.len(), *left)).collect();
    assert_eq!(told, [("asked", 40, 0), ("resolved", 0, 8), ("unknown", 32, 0)]);
}

#[tokio::test]
async fn a_word_on_many_ends_with_the_process_and_says_what_it_left() {
    let on_call = OnCall::beside(40).await;
    on_call.store.is(Mood::Slow);
    let ends = async {
        until("the store is asked", || on_call.store.waits() == 32).await;
        on_call.ending.cancel();
        on_call.store.is(Mood::Willing);
    };
    let (done, ()) = tokio::join!(on_call.all_declined(), ends);
    assert_eq!((done.done.len(), done.failed.len()), (32, 8));
    assert!(done.failed[0].why.contains("nothing was changed"), "{:?}", done.failed);
    let lines = on_call.lines();
    let told: Vec<_> =
        lines.iter().map(|(verdict, ids, left)| (&**verdict, ids.len(), *left)).collect();
    assert_eq!(told, [("asked", 40, 0), ("resolved", 32, 8)]);
}
