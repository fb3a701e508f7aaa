//! Hears of every load of the policy, says what a change means for operations that are open now, and
//! writes it down where the settings name a log.

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tracing::{error, warn};

use super::entry::{Entry, Event, FORMAT, Reidentified, Verdict};
use super::{AuditLog, NotWritten, chain, changes, reidentified};
use crate::clock::Clock;
use crate::decide::operation::codec::decode;
use crate::decide::operation::record::Record;
use crate::decide::policy::Policy;
use crate::decide::shown::masked;
use crate::ledger::Ledger;
use crate::metrics::Metrics;
use crate::policy_file::{self, Load, LoadError, Sound, Why, Witness};

/// Most open operations that are looked at.
const MOST_OPEN: usize = 1_000;

/// How long the store may take to list them: a policy does not wait for it longer.
const LISTING: Duration = Duration::from_secs(5);

/// The longest text of a line that somebody else wrote, in characters.
const LONGEST_TEXT: usize = 400;

/// Says what loads mean, and writes them to an audit log.
#[derive(Debug)]
pub struct Recorder<L> {
    /// Where it writes, if anywhere.
    pub log: Option<AuditLog>,
    /// Whether a policy is taken only once that is written.
    pub required: bool,
    /// Where open operations are counted.
    pub ledger: L,
    /// Where a log that cannot be written shows.
    pub metrics: Metrics,
    /// The time.
    pub clock: Clock,
}

impl<L: Ledger> Witness for Recorder<L> {
    fn hear<'a>(
        &'a self,
        load: &'a Load<'a>,
    ) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>> {
        Box::pin(async move {
            let mut entry = entry(load, &self.clock);
            if let (Some(before), Ok(after)) = (load.before, load.found)
                && entry.verdict == Verdict::Taken
            {
                entry.changes = changed(before, &after.policy).await;
                entry.reidentified = self.concerned(before, &after.policy).await;
                name(before, &after.policy, entry.reidentified.as_ref());
            }
            let Some(log) = &self.log else { return Ok(()) };
            log.append(entry).await.or_else(|why| {
                self.metrics.policy_audit_failed();
                said(&why, self.required)
            })
        })
    }
}

impl<L: Ledger> Recorder<L> {
    /// What a change means for what is open; `None` if the store does not say.
    async fn concerned(&self, before: &Policy, after: &Policy) -> Option<Reidentified> {
        let listed = self.clock.timeout(LISTING, self.ledger.open(MOST_OPEN)).await.ok()?;
        let held = listed.ok()?;
        let records: Vec<Record> =
            held.iter().filter_map(|held| decode(&held.record).ok()).collect();
        Some(reidentified::count(before, after, records.iter(), held.len() == MOST_OPEN))
    }
}

/// What a change does; comparing two large policies takes a while, and is done away from requests.
async fn changed(before: &Arc<Policy>, after: &Arc<Policy>) -> Option<Vec<String>> {
    let (before, after) = (Arc::clone(before), Arc::clone(after));
    tokio::task::spawn_blocking(move || changes::lines(&before, &after)).await.ok()
}

/// Names a change after which operations are recognised otherwise.
fn name(before: &Policy, after: &Policy, found: Option<&Reidentified>) {
    let concerned = found.map(Reidentified::operations);
    if before.way() == after.way() && concerned.unwrap_or(0) == 0 {
        return;
    }
    warn!(
        policy_version = after.version(),
        policy_version_before = before.version(),
        open = found.map(|found| found.open),
        concerned,
        "the new policy recognises requests otherwise. What is open is found by its older identity \
         too; `concerned` of the open operations may be recognised by something else from now on"
    );
}

/// Writes down that payonce did not start, because the policy is not good. Nothing else is done
/// about a log that cannot be written: there is a worse reason to say already.
pub(crate) async fn refused_at_start(log: &AuditLog, path: &Path, error: LoadError, clock: &Clock) {
    let found = Err(error);
    let load = Load { event: policy_file::Event::Start, path, before: None, found: &found };
    if let Err(why) = log.append(entry(&load, clock)).await {
        said(&why, false).unwrap_or_default();
    }
}

fn said(why: &NotWritten, required: bool) -> Result<(), String> {
    if required {
        return Err(format!("policy.audit_log: {why} (policy.audit_required is true)"));
    }
    error!(error = %why, "the load of the policy is not recorded in policy.audit_log");
    Ok(())
}

fn entry(load: &Load<'_>, clock: &Clock) -> Entry {
    let blank = Entry {
        format: FORMAT,
        prev: chain::NOTHING_BEFORE.to_owned(),
        time: clock.now().rfc3339(),
        event: match load.event {
            policy_file::Event::Start => Event::Start,
            policy_file::Event::Reload => Event::Reload,
        },
        verdict: Verdict::Taken,
        file: cut(&masked(&load.path.display().to_string())),
        hash: None,
        previous: load.before.map(|before| before.hash().to_owned()),
        rules: None,
        signed_by: None,
        signed_comment: None,
        problems: 0,
        problem: None,
        warnings: None,
        changes: None,
        reidentified: None,
        host: host(),
        pid: std::process::id(),
        payonce: env!("CARGO_PKG_VERSION").to_owned(),
        word: None,
    };
    match load.found {
        Ok(Sound { policy, signed, warnings }) => Entry {
            verdict: if load.is_in_force() { Verdict::Mended } else { Verdict::Taken },
            hash: Some(policy.hash().to_owned()),
            rules: Some(policy.rules().len()),
            warnings: Some(*warnings),
            signed_by: signed.as_ref().map(|signed| signed.by.to_string()),
            signed_comment: signed.as_ref().map(|signed| cut(&signed.comment)),
            ..blank
        },
        Err(error) => Entry {
            verdict: Verdict::Refused,
            hash: error.hash.clone(),
            problems: match &error.why {
                Why::Problems(problems) => problems.len(),
                Why::Unreadable(_)
                | Why::TooLarge
                | Why::NotText(_)
                | Why::Unfit(_)
                | Why::Signature(_)
                | Why::Unrecorded(_) => 1,
            },
            problem: Some(cut(&error.summary())),
            ..blank
        },
    }
}

/// The machine's or pod's name, where the system tells it in a file.
pub(super) fn host() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(cut(name.trim())).filter(|name| !name.is_empty())
}

fn cut(text: &str) -> String {
    text.chars().take(LONGEST_TEXT).collect()
}
