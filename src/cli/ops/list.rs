//! `payonce ops list`: what is open, as far as this payonce knows.

use std::io::Write;

use http::Method;

use super::{Client, OpsFailure, OpsList, show};
use crate::admin::search::{Found, Wanted};
use crate::admin::{Listed, Summary};
use crate::cli::table;
use crate::clock::Clock;

/// Lists it. That the store did not answer is a failure, after what is known without it.
pub(super) async fn run(
    asked: &OpsList,
    json: bool,
    client: &Client,
    out: &mut impl Write,
) -> Result<(), OpsFailure> {
    let now = Clock::System.now();
    if asked.state.is_some() || asked.rule.is_some() {
        let (found, raw): (Found, _) = client.post("/ops/search", &wanted(asked)).await?;
        let summaries: Vec<Summary> = found.operations.into_iter().map(|it| it.summary).collect();
        return show(out, json, &raw, || table::list(&summaries, found.more, now));
    }
    let path = format!("/ops?limit={}", asked.limit);
    let (listed, raw): (Listed, _) = client.ask(Method::GET, &path, None).await?;
    let Listed { operations, more, store, doubt } = listed;
    let nothing = operations.is_empty() && store.is_some();
    if json || !nothing {
        show(out, json, &raw, || {
            let doubt = doubt.map(|why| {
                let why = table::plain(&why);
                format!("Of the store: {why}. What it forgets in doubt stands in the logs alone.\n")
            });
            table::list(&operations, more, now) + &doubt.unwrap_or_default()
        })?;
    }
    store.map_or(Ok(()), |why| {
        Err(OpsFailure::Refused(format!(
            "the store did not answer ({why}): what it holds open is not known. Of the single calls \
             that only this payonce remembers, {} in doubt",
            if nothing { "none is" } else { "those above are" }
        )))
    })
}

fn wanted(asked: &OpsList) -> Wanted {
    Wanted {
        rule: asked.rule.clone(),
        state: asked.state,
        open: true,
        limit: usize::try_from(asked.limit).ok(),
        ..Wanted::default()
    }
}
