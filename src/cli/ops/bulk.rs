//! `payonce ops resolve --rule`: a person's word on all open operations of a rule.

use std::io::Write;

use super::{Client, OpsFailure, OpsOpen, OpsResolve, login, millis, outcome, show};
use crate::admin::State;
use crate::admin::bulk::{Bulk, Resolutions, Shown};
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
    let answer = client.post("/ops/resolve", &bulk).await;
    let (done, raw): (Resolutions, _) =
        answer.map_err(|failure| failure.of_a_word("payonce ops list"))?;
    show(out, json, &raw, || text(&done))?;
    if !done.unknown.is_empty() {
        return Err(OpsFailure::Unknown(format!(
            "of {} it is not known whether they were resolved: ask `payonce ops show ID` of each before \
             you say it again",
            done.unknown.len()
        )));
    }
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
        expect: said.expect.clone(),
        yes: said.yes,
    })
}

/// Only shows them; that nothing was done is a failure, for it was asked for.
async fn shown(
    bulk: &Bulk,
    json: bool,
    client: &Client,
    out: &mut impl Write,
) -> Result<(), OpsFailure> {
    let (shown, raw): (Shown, _) = client.post("/ops/resolve", bulk).await?;
    let Shown { found, set, busy } = &shown;
    let now = Clock::System.now();
    show(out, json, &raw, || super::found_text(found, now))?;
    let count = found.operations.len();
    let busy = match busy {
        0 => String::new(),
        some => format!(" ({some} more are being worked on, and left alone)"),
    };
    if count == 0 && busy.is_empty() {
        return Ok(());
    }
    if count == 0 {
        return Err(OpsFailure::Refused(format!("nothing was changed: nothing would be{busy}")));
    }
    let more = if found.more { "; there are more, which come after these" } else { "" };
    Err(OpsFailure::Refused(format!(
        "nothing was changed: {count} operations would be resolved as {}{busy}{more}; to resolve these \
         very ones, say the same once more with --expect {set}",
        bulk.outcome.name()
    )))
}

fn text(done: &Resolutions) -> String {
    let line = |what: &str, id: &str| vec![what.to_owned(), table::plain(id)];
    let mut rows: Vec<Vec<String>> = done.done.iter().map(|id| line("resolved", id)).collect();
    rows.extend(done.busy.iter().map(|id| line("busy", id)));
    rows.extend(done.changed.iter().map(|id| line("changed meanwhile", id)));
    for (what, failed) in [("failed", &done.failed), ("not known", &done.unknown)] {
        rows.extend(failed.iter().map(|failed| {
            let mut row = line(what, &failed.operation_id);
            row.push(table::plain(&failed.why));
            row
        }));
    }
    let mut text = table::columns(&rows);
    let counts = [done.done.len(), done.busy.len(), done.changed.len(), done.failed.len()];
    let [resolved, busy, changed, failed] = counts;
    let unknown = match done.unknown.len() {
        0 => String::new(),
        some => format!(", {some} not known"),
    };
    let counts = format!(
        "{resolved} resolved, {busy} being worked on, {changed} changed meanwhile, {failed} \
         failed{unknown}\n"
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
        let failed = Failed { operation_id: "5f3d".to_owned(), why: "payonce ends".to_owned() };
        let done = Resolutions {
            done: vec!["5f3a".to_owned(), "5f3b".to_owned()],
            busy: vec!["5f3c".to_owned()],
            changed: Vec::new(),
            failed: vec![failed],
            unknown: vec![Failed { operation_id: "5f3e".to_owned(), why: "no answer".to_owned() }],
            more: true,
        };
        insta::assert_snapshot!(text(&done), @r"
        resolved   5f3a
        resolved   5f3b
        busy       5f3c
        failed     5f3d  payonce ends
        not known  5f3e  no answer
        2 resolved, 1 being worked on, 0 changed meanwhile, 1 failed, 1 not known
        There may be more: ask again.
        ");
    }
}
