//! `payonce ops watch`: looks at what is open again and again, and tells what changed.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use serde::Serialize;

use super::{Client, OpsFailure, OpsWatch};
use crate::admin::search::{Found, MOST_FOUND, MOST_IDS, Wanted};
use crate::admin::{Detail, State};
use crate::cli::table;
use crate::clock::{Clock, Timestamp};
use crate::settings::Settings;

/// An operation that is in flight for longer is told of: nearly all end before.
const SLOW: Duration = Duration::from_secs(10);
/// Operations that are followed at a time.
const MOST_FOLLOWED: usize = 4 * MOST_FOUND;

/// Tells what changes until the time is over or somebody presses Ctrl-C.
pub(super) async fn run(
    args: &OpsWatch,
    json: bool,
    settings: &Settings,
    mut client: Client,
    out: &mut impl Write,
) -> Result<(), OpsFailure> {
    let clock = Clock::System;
    let until = args.time.map(|time| clock.now().plus(time));
    let mut followed = Followed { all: args.all, ..Followed::default() };
    // Nobody there to begin with is an error; later it is news.
    let changes = look(&client, &mut followed, &clock).await?;
    tell(out, json, &changes)?;
    let mut away = false;
    loop {
        let now = clock.now();
        let left = until.map_or(args.every, |until| until.since(now).min(args.every));
        if left.is_zero() {
            return Ok(());
        }
        tokio::select! {
            () = clock.sleep(left) => {}
            _pressed = tokio::signal::ctrl_c() => return Ok(()),
        }
        match look(&client, &mut followed, &clock).await {
            Ok(changes) => {
                if std::mem::take(&mut away) {
                    tell(out, json, &[Change::of("reachable", clock.now())])?;
                }
                tell(out, json, &changes)?;
            }
            Err(OpsFailure::Output(failed)) => return Err(failed.into()),
            Err(failure) => {
                if !std::mem::replace(&mut away, true) {
                    let why = Some(failure.to_string());
                    tell(out, json, &[Change { why, ..Change::of("unreachable", clock.now()) }])?;
                }
                // One that was started again has made another token.
                client = Client::of(settings).unwrap_or(client);
            }
        }
    }
}

async fn look(
    client: &Client,
    followed: &mut Followed,
    clock: &Clock,
) -> Result<Vec<Change>, OpsFailure> {
    let open = Wanted { open: true, limit: Some(MOST_FOUND), ..Wanted::default() };
    let (found, _raw): (Found, _) = client.post("/ops/search", &open).await?;
    let (mut changes, missing) = followed.open(found.operations, clock.now());
    for ids in missing.chunks(MOST_IDS) {
        let those = Wanted { ids: ids.to_vec(), ..Wanted::default() };
        let (found, _raw): (Found, _) = client.post("/ops/search", &those).await?;
        changes.extend(followed.missing(ids, found.operations, clock.now()));
    }
    Ok(changes)
}

/// The operations that were told of, and what was told last.
#[derive(Default)]
struct Followed {
    told: BTreeMap<String, State>,
    looked: bool,
    all: bool,
}

impl Followed {
    /// What is new about what is open, and which of those told of are not among it.
    fn open(&mut self, open: Vec<Detail>, now: Timestamp) -> (Vec<Change>, Vec<String>) {
        let mut missing = self.told.clone();
        let mut changes = Vec::new();
        let first = !std::mem::replace(&mut self.looked, true);
        for detail in open {
            let (id, state) = (detail.summary.operation_id.clone(), detail.summary.state);
            missing.remove(&id);
            let known = self.told.get(&id).copied();
            let new = known.is_none() && self.told.len() < MOST_FOLLOWED;
            let worth = state != State::InFlight || self.all || is_slow(&detail, now);
            if (known.is_some_and(|known| known != state)) || (new && worth) {
                let change = if first { "already" } else { state.name() };
                self.told.insert(id, state);
                changes.push(Change { operation: Some(detail), ..Change::of(change, now) });
            }
        }
        (changes, missing.into_keys().collect())
    }

    /// What became of those that are not open any more; `found` is what is known of them.
    fn missing(&mut self, ids: &[String], found: Vec<Detail>, now: Timestamp) -> Vec<Change> {
        let mut found: BTreeMap<String, Detail> =
            found.into_iter().map(|it| (it.summary.operation_id.clone(), it)).collect();
        let mut changes = Vec::new();
        for id in ids {
            let change = match found.remove(id) {
                // Open as before: there are more than are looked at.
                Some(detail) if detail.summary.state.is_open() => continue,
                Some(detail) => {
                    let change = Change::of(detail.summary.state.name(), now);
                    Change { operation: Some(detail), ..change }
                }
                None => Change { operation_id: Some(id.clone()), ..Change::of("gone", now) },
            };
            self.told.remove(id);
            changes.push(change);
        }
        changes
    }
}

fn is_slow(detail: &Detail, now: Timestamp) -> bool {
    now.since(detail.last_sent.unwrap_or(detail.summary.since)) >= SLOW
}

/// One line.
#[derive(Serialize)]
struct Change {
    at: Timestamp,
    #[serde(rename = "change")]
    what: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<Detail>,
    #[serde(skip_serializing_if = "Option::is_none")]
    operation_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

impl Change {
    const fn of(what: &'static str, at: Timestamp) -> Self {
        Self { at, what, operation: None, operation_id: None, why: None }
    }

    fn text(&self) -> String {
        let mut words = vec![table::moment(self.at.as_millis()), format!("{:<11}", self.what)];
        if let Some(detail) = &self.operation {
            words.push(table::line(detail, self.at));
        }
        if let Some(id) = &self.operation_id {
            words.push(table::plain(id));
            words.push(
                "nothing of it is remembered: nothing was executed, or a person has looked"
                    .to_owned(),
            );
        }
        words.extend(self.why.as_deref().map(table::plain));
        words.join("  ").trim_end().to_owned()
    }
}

fn tell(out: &mut impl Write, json: bool, changes: &[Change]) -> Result<(), OpsFailure> {
    for change in changes {
        if json {
            serde_json::to_writer(&mut *out, change).map_err(io::Error::from)?;
        } else {
            out.write_all(change.text().as_bytes())?;
        }
        out.write_all(b"\n")?;
    }
    Ok(out.flush()?)
}

#[cfg(test)]
mod tests;
