//! `payonce ops resolve --rule`: a person's word on all open operations of a rule.

use std::io::Write;

use super::{Client, OpsFailure, OpsOpen, OpsResolve, login, millis, outcome, show};
use crate::admin::State;
use crate::admin::bulk::{Bulk, Resolutions};
use crate::admin::search::Found;
use crate::cli::table;
use crate::clock::Clock;

/// Shows what would be resolved, or has it resolved and shows what came of each.
pub(super) async fn run(
    said: &OpsResolve,
    rule: &str,
    json: bool,
    client: Client,
    out: &mut impl Write,
) -> Result<(), OpsFailure> {
    let bulk = bulk(said, rule)?;
    let client = client.patient();
    if !said.yes && said.expect.is_none() {
        return shown(&bulk, json, &client, out).await;
    }
    let (done, raw): (Resolutions, _) = client.post("/ops/resolve", &bulk).await?;
    show(out, json, &raw, || text(&done))?;
    let left = done.busy.len() + done.changed.len() + done.failed.len();
    if left > 0 {
        return Err(OpsFailure::Refused(format!("{left} of them were not resolved")));
    }
    Ok(())
}

fn bulk(said: &OpsResolve, rule: &str) -> Result<Bulk, OpsFailure> {
    let by = said.by.clone().or_else(login);
    let by = by.ok_or_else(|| OpsFailure::Input("say who you are, with --by".to_owned()))?;
    Ok(Bulk {
        rule: rule.to_owned(),
        state: match said.state {
            OpsOpen::InDoubt => State::InDoubt,
            OpsOpen::InFlight => State::InFlight,
        },
        older_ms: said.older.map(millis),
        outcome: outcome(said.outcome),
        by,
        why: said.why.clone(),
        expect: said.expect,
    })
}

/// Only shows them; that nothing was done is a failure, for it was asked for.
async fn shown(
    bulk: &Bulk,
    json: bool,
    client: &Client,
    out: &mut impl Write,
) -> Result<(), OpsFailure> {
    let (found, raw): (Found, _) = client.post("/ops/search", &bulk.wanted()).await?;
    let now = Clock::System.now();
    show(out, json, &raw, || super::found_text(&found, now))?;
    let count = found.operations.len();
    if count == 0 {
        return Ok(());
    }
    let more = if found.more { ", and there are more" } else { "" };
    Err(OpsFailure::Refused(format!(
        "nothing was changed: {count} operations would be resolved as {}{more}; add --expect {count}, \
         or --yes for however many there are then",
        bulk.outcome.name()
    )))
}

fn text(done: &Resolutions) -> String {
    let line = |what: &str, id: &str| vec![what.to_owned(), table::plain(id)];
    let mut rows: Vec<Vec<String>> = done.done.iter().map(|id| line("resolved", id)).collect();
    rows.extend(done.busy.iter().map(|id| line("busy", id)));
    rows.extend(done.changed.iter().map(|id| line("changed meanwhile", id)));
    rows.extend(done.failed.iter().map(|failed| {
        let mut row = line("failed", &failed.operation_id);
        row.push(table::plain(&failed.why));
        row
    }));
    let mut text = table::columns(&rows);
    let counts = [done.done.len(), done.busy.len(), done.changed.len(), done.failed.len()];
    let [resolved, busy, changed, failed] = counts;
    let counts = format!(
        "{resolved} resolved, {busy} being worked on, {changed} changed meanwhile, {failed} failed\n"
    );
    text.push_str(&counts);
    if done.more {
        text.push_str("There may be more: ask again.\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::bulk::Failed;

    #[test]
    fn what_became_of_each_is_told_and_added_up() {
        let failed = Failed { operation_id: "5f3d".to_owned(), why: "no answer in 2s".to_owned() };
        let done = Resolutions {
            done: vec!["5f3a".to_owned(), "5f3b".to_owned()],
            busy: vec!["5f3c".to_owned()],
            changed: Vec::new(),
            failed: vec![failed],
            more: true,
        };
        insta::assert_snapshot!(text(&done), @r"
        resolved  5f3a
        resolved  5f3b
        busy      5f3c
        failed    5f3d  no answer in 2s
        2 resolved, 1 being worked on, 0 changed meanwhile, 1 failed
        There may be more: ask again.
        ");
    }
}
