//! What another policy would have made of recorded requests that are one operation under it, step by
//! step as they arrived and ended.

use std::collections::HashMap;

use super::super::{Line, conclusion};
use super::anew::Anew;
use crate::clock::Timestamp;
use crate::decide::digest::OperationId;
use crate::decide::observe::{self, Ended, Finding, Keep, Opinion};
use crate::decide::operation::record::Record;

/// What the policy would have made of each operation's requests, by the number of their line.
pub(super) struct Merged(pub(super) HashMap<usize, (Opinion, Option<Finding>)>);

impl Merged {
    pub(super) fn under(lines: &[&Line], anew: &[Anew]) -> Self {
        let mut events: Vec<(u64, bool, usize)> = Vec::new();
        for (n, line) in lines.iter().enumerate() {
            events.push((line.at, false, n));
            events.push((line.at.saturating_add(line.took), true, n));
        }
        events.sort_unstable();
        let mut memory: HashMap<OperationId, Record> = HashMap::new();
        let mut open: HashMap<usize, (observe::Request, Opinion)> = HashMap::new();
        let mut found = HashMap::new();
        for (at, ends, n) in events {
            let (Some(line), Some(anew)) = (lines.get(n), anew.get(n)) else { continue };
            let now = Timestamp::from_millis(at);
            if !ends {
                let Some(request) = anew.request(n, line) else { continue };
                let (opinion, keep) =
                    observe::arrive(memory.get(&request.operation), &request, now);
                remember(&mut memory, request.operation, keep);
                open.insert(n, (request, opinion));
            } else if let Some((request, opinion)) = open.remove(&n) {
                let (ended, record) = (ended(line, now), memory.get(&request.operation));
                let (opinion, finding, keep) = observe::end(record, &request, opinion, &ended, now);
                remember(&mut memory, request.operation, keep);
                found.insert(n, (opinion, finding));
            }
        }
        Self(found)
    }
}

fn remember(memory: &mut HashMap<OperationId, Record>, operation: OperationId, keep: Keep) {
    match keep {
        Keep::Same => {}
        Keep::This(record) => {
            memory.insert(operation, *record);
        }
        Keep::Nothing => {
            memory.remove(&operation);
        }
    }
}

fn ended(line: &Line, now: Timestamp) -> Ended {
    let shared = matches!(line.label.as_deref(), Some("joined" | "replayed"));
    let conclusion = conclusion(line.outcome, line.status, line.replayed);
    let delivered = line.delivered.unwrap_or(true);
    Ended { conclusion, replayed: line.replayed || shared, delivered, answered: now }
}
