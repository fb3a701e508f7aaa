//! `payonce ops resolve --rule`: a person's word on all open operations of a rule.

use std::io::Write;

use super::{Client, OpsFailure, OpsResolve, millis, outcome, show, who};
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
    let left = done.busy.len() + done.saved_500.len() + done.changed.len() + done.failed.len();
    if left > 0 {
        return Err(OpsFailure::Refused(format!("{left} of them were not resolved")));
    }
    Ok(())
}

fn bulk(said: &OpsResolve, rule: &str) -> Result<Bulk, OpsFailure> {
    Ok(Bulk {
        rule: rule.to_owned(),
        older_ms: said.older.map(millis),
        outcome: outcome(said.outcome),
        by: who(said)?,
        why: said.why.clone(),
        expect: said.expect.clone(),
        yes: said.yes,
        next_key: said.next_key,
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
    let Shown { found, set, busy, saved_500 } = &shown;
    let now = Clock::System.now();
    show(out, json, &raw, || super::found_text(found, now))?;
    let count = found.operations.len();
    let busy = match busy {
        0 => String::new(),
        some => format!(" ({some} more are being worked on, and left alone)"),
    };
    let saved = match saved_500 {
        0 => String::new(),
        some => format!("\n{some} more are left alone. {SAVED_500}"),
    };
    if count == 0 && busy.is_empty() && saved.is_empty() {
        return Ok(());
    }
    if count == 0 {
        let why = format!("nothing was changed: nothing would be{busy}{saved}");
        return Err(OpsFailure::Refused(why));
    }
    let mind = if bulk.next_key { NEXT_KEY } else { "" };
    let more = if found.more { "; there are more, which come after these" } else { "" };
    Err(OpsFailure::Refused(format!(
        "nothing was changed: {count} operations would be resolved as {}{busy}{more}{mind}; to resolve \
         these very ones, say the same once more with --expect {set}{saved}",
        bulk.outcome.name()
    )))
}

/// What the next key means for the money.
const NEXT_KEY: &str = ", and whoever asks for one of them again is sent with ANOTHER key: if one did \
                        happen, its customer pays twice";

/// Why a word is not done to those.
const SAVED_500: &str = "\
    Stripe saved an error 500 for their keys, which it also does where the payment HAPPENED. `declined` \
    gives such a key up: whoever asks again is sent with another key, and if it did happen, pays twice. \
    Look for each payment itself at Stripe, by amount, customer and time. Say of one that is there \
    `payonce ops resolve ID --as succeeded`; of one that is not, `--as declined --next-key`. With --rule, \
    --next-key means exactly these.";

fn text(done: &Resolutions) -> String {
    let line = |what: &str, id: &str| vec![what.to_owned(), table::plain(id)];
    let mut rows: Vec<Vec<String>> = done.done.iter().map(|id| line("resolved", id)).collect();
    rows.extend(done.busy.iter().map(|id| line("busy", id)));
    rows.extend(done.saved_500.iter().map(|id| line("saved 500, left alone", id)));
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
    let saved = match done.saved_500.len() {
        0 => String::new(),
        some => format!(", {some} left alone for a saved error 500 (see --next-key)"),
    };
    let counts = format!(
        "{resolved} resolved, {busy} being worked on, {changed} changed meanwhile, {failed} \
         failed{unknown}{saved}\n"
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
            saved_500: vec!["5f3f".to_owned()],
            unknown: vec![Failed { operation_id: "5f3e".to_owned(), why: "no answer".to_owned() }],
            more: true,
        };
        insta::assert_snapshot!(text(&done), @r"
        resolved               5f3a
        resolved               5f3b
        busy                   5f3c
        saved 500, left alone  5f3f
        failed                 5f3d  payonce ends
        not known              5f3e  no answer
        2 resolved, 1 being worked on, 0 changed meanwhile, 1 failed, 1 not known, 1 left alone for a saved error 500 (see --next-key)
        There may be more: ask again.
        ");
    }
}
