//! What it means that a policy says something else for all of its rules: mode, guards, scopes.

use std::collections::{BTreeSet, HashSet};

use super::super::{Mode, Policy, ScopeAlias, Scopes, Uuid4Keys};
use super::compare::{change, class};
use super::guards::guards;
use super::{Change, Gravity};

/// What changes for a file as a whole.
pub(super) fn files(old: &Policy, new: &Policy) -> Vec<Change> {
    let mut changes = Vec::new();
    if old.mode() != new.mode() {
        changes.push(mode(old.mode(), new.mode()));
    }
    if old.default_writes() != new.default_writes() {
        let both = (old.default_writes(), new.default_writes());
        changes.push(Change { what: "default_writes", ..class(both, false) });
    }
    if old.uuid4_keys() != new.uuid4_keys() {
        changes.push(uuid4_keys(old.uuid4_keys(), new.uuid4_keys()));
    }
    changes.extend(guards(old.guard(), new.guard()));
    changes.extend(scopes(old.scopes(), new.scopes()));
    if old.rules().len() != new.rules().len() {
        let means = "what that comes to is told by operation";
        let both = (old.rules().len(), new.rules().len());
        changes.push(change("rules", both, Gravity::Renamed, means));
    }
    changes
}

pub(super) fn mode(old: Mode, new: Mode) -> Change {
    let (gravity, means) = match new {
        Mode::Observe => (
            Gravity::Unprotected,
            "every request is forwarded as it is: payonce only counts what it would have done, and a \
             job that runs again pays again",
        ),
        Mode::Enforce => (Gravity::Stronger, "what was only counted is done from now on"),
    };
    change("mode", (old, new), gravity, means)
}

fn uuid4_keys(old: Uuid4Keys, new: Uuid4Keys) -> Change {
    let (gravity, means) = match new {
        Uuid4Keys::Own => (
            Gravity::Weaker,
            "a UUID counts as the application's own key: where an SDK mints one for each call, a job \
             that runs again has another key, is not recognised by its content, and pays again",
        ),
        Uuid4Keys::Sdk => (
            Gravity::Merged,
            "a UUID from an SDK counts as minted for one call: where the application chose it, two \
             requests with two such keys can be one operation by their content",
        ),
    };
    Change { reidentifies: true, ..change("uuid4_keys", (old, new), gravity, means) }
}

/// Which API keys count as one. Keys are told by how many they are.
fn scopes(old: &Scopes, new: &Scopes) -> Option<Change> {
    let keys = |scopes: &Scopes| -> HashSet<(String, [u8; 32])> {
        let of = |alias: &ScopeAlias| {
            alias.keys.iter().map(|key| (alias.name.clone(), key.0)).collect::<Vec<_>>()
        };
        scopes.aliases().iter().flat_map(of).collect()
    };
    let together = |scopes: &Scopes| -> HashSet<BTreeSet<[u8; 32]>> {
        let of = |alias: &ScopeAlias| alias.keys.iter().map(|key| key.0).collect();
        scopes.aliases().iter().map(of).collect()
    };
    let (was, is) = (keys(old), keys(new));
    let (gravity, means) = match (is.is_subset(&was), was.is_subset(&is)) {
        (true, true) => return None,
        _renamed if together(old) == together(new) => {
            (Gravity::Reidentified, "the name is part of what their operations are, and no more")
        }
        (true, false) => (
            Gravity::Weaker,
            "keys count as one no longer: a job that runs again with another of them pays again",
        ),
        (false, true) => (
            Gravity::Merged,
            "more keys count as one: what was asked with one of them is replayed to another",
        ),
        (false, false) => (
            Gravity::Weaker,
            "other keys count as one: a job that runs again with another key can pay again, and what \
             was asked with one can be replayed to another",
        ),
    };
    let show = |scopes: &Scopes| {
        let one = |alias: &ScopeAlias| format!("{} ({} keys)", alias.name, alias.keys.len());
        let all: Vec<String> = scopes.aliases().iter().map(one).collect();
        if all.is_empty() { "none".to_owned() } else { all.join(", ") }
    };
    let both = (show(old), show(new));
    Some(Change { reidentifies: true, ..change("scope", both, gravity, means) })
}
