//! What it means that a rule says something else, key by key.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use super::super::{
    Class, ClientKey, IdentityRule, Indeterminate, Merge, Mode, Otherwise, Policy, Rule,
    ScopeAlias, Scopes, StoreDown, Uuid4Keys, duration,
};
use super::guards::guards;
use super::{Change, Gravity};
use crate::decide::canonical::FieldPattern;

pub(super) fn change(
    what: &'static str,
    (old, new): (impl ToString, impl ToString),
    gravity: Gravity,
    means: &'static str,
) -> Change {
    let (old, new) = (old.to_string(), new.to_string());
    Change { what, old, new, gravity, reidentifies: false, means }
}

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

fn mode(old: Mode, new: Mode) -> Change {
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

/// What it means that a rule has another mode of its own, or none any more.
fn own_mode(old: Option<Mode>, new: Option<Mode>) -> Change {
    const FILES: &str = "the file's";
    let words = |mode: Option<Mode>| mode.map_or(FILES, Mode::as_str);
    let both = (words(old), words(new));
    match (old, new) {
        (_, Some(mode_now)) => {
            let Change { gravity, means, .. } = mode(Mode::Enforce, mode_now);
            change("mode", both, gravity, means)
        }
        (Some(Mode::Observe), None) => {
            change("mode", both, Gravity::Stronger, "it follows the file's mode again")
        }
        (Some(Mode::Enforce) | None, None) => change(
            "mode",
            both,
            Gravity::Weaker,
            "it follows the file's mode: if that is \"observe\", it is only counted",
        ),
    }
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

/// What changes for a request that fell to `old` and falls to `new`.
pub(super) fn rules(old: &Rule, new: &Rule) -> Vec<Change> {
    // Every part of a rule is named here, so that a new one is not forgotten.
    let Rule {
        name,
        class: _,
        client_key: _,
        require_field: _,
        identity: _,
        distinguishes: _,
        merge: _,
        repeat_window: _,
        store_down: _,
        indeterminate: _,
        finish: _,
        patterns: _,
        line: _,
        mode,
    } = new;
    let mut changes = match (old.class, new.class) {
        (Class::Critical, Class::Critical) => critical(old, new),
        (was, is) if was == is => Vec::new(),
        both => vec![class(both, new.recognises())],
    };
    if old.mode != *mode {
        changes.push(own_mode(old.mode, *mode));
    }
    if old.name != *name {
        let means = "logs, metrics and answers call it otherwise";
        changes.push(change("rule", (&old.name, name), Gravity::Renamed, means));
    }
    changes
}

fn class(both: (Class, Class), recognises: bool) -> Change {
    let (gravity, means) = match both {
        (Class::Critical | Class::Refuse, Class::Pass) => (
            Gravity::Unprotected,
            "it is streamed through and gets no key: a retry after a lost answer, or a job that runs \
             again, pays again",
        ),
        (Class::Refuse, Class::Critical) => {
            (Gravity::Weaker, "what was refused is sent now, and happens once")
        }
        (Class::Pass, Class::Critical) if recognises => (
            Gravity::Merged,
            "it is protected now, and can be merged with an equal request before it",
        ),
        (Class::Pass, Class::Critical) => {
            (Gravity::Stronger, "it gets a key and safe retries now; nothing is merged")
        }
        (Class::Critical | Class::Pass, Class::Refuse) => (
            Gravity::Refused,
            "it is answered with 403 and not sent; what is open cannot be asked for again",
        ),
        (Class::Critical, Class::Critical)
        | (Class::Pass, Class::Pass)
        | (Class::Refuse, Class::Refuse) => (Gravity::Renamed, "nothing changes"),
    };
    change("class", both, gravity, means)
}

fn critical(old: &Rule, new: &Rule) -> Vec<Change> {
    let mut changes = identity(old, new);
    if old.uses_content() && new.uses_content() {
        changes.extend(distinguishes(&old.distinguishes, &new.distinguishes));
        changes.extend(merging(old, new));
    }
    if old.client_key != new.client_key {
        changes.push(client_key(old.client_key, new.client_key));
    }
    changes.extend(require_field(&old.require_field, &new.require_field));
    if old.store_down != new.store_down {
        changes.push(store_down(old.store_down, new.store_down));
    }
    if old.indeterminate != new.indeterminate {
        changes.push(indeterminate(old.indeterminate, new.indeterminate));
    }
    changes.extend(finish(old.finish, new.finish));
    changes
}

/// Identity as two questions: by which fields, and by what else.
fn parts(rule: &Rule) -> (&[FieldPattern], Otherwise) {
    match &rule.identity {
        IdentityRule::Call => (&[], Otherwise::Call),
        IdentityRule::Content => (&[], Otherwise::Content),
        IdentityRule::Fields { names, otherwise } => (names, *otherwise),
    }
}

fn identity(old: &Rule, new: &Rule) -> Vec<Change> {
    let ((was, was_else), (is, is_else)) = (parts(old), parts(new));
    let mut changes = Vec::new();
    if let Some((gravity, means)) = fields(was, is) {
        let both = (show_identity(old), show_identity(new));
        let change = change("identity", both, gravity, means);
        changes.push(Change { reidentifies: true, ..change });
    }
    if was_else != is_else {
        let what = if was.is_empty() && is.is_empty() { "identity" } else { "otherwise" };
        let (gravity, means) = otherwise(was_else, is_else);
        // Who is sent by call, or refused, has no operation to come back to.
        let reidentifies = was_else == Otherwise::Content || is_else == Otherwise::Content;
        changes.push(Change { reidentifies, ..change(what, (was_else, is_else), gravity, means) });
    }
    changes
}

fn fields(was: &[FieldPattern], is: &[FieldPattern]) -> Option<(Gravity, &'static str)> {
    if was == is {
        return None;
    }
    let (before, after) = (set(was), set(is));
    Some(if before == after {
        (
            Gravity::Reidentified,
            "the same fields in another order give another operation id, and nothing else",
        )
    } else if was.is_empty() {
        (
            Gravity::Merged,
            "all requests with one value of these fields are one operation: two payments that are \
             meant for it need values of their own",
        )
    } else if is.is_empty() {
        (
            Gravity::Weaker,
            "the fields name the operation no longer: a job that runs again after it was answered, or \
             says anything else otherwise, pays again",
        )
    } else if after.is_subset(&before) {
        (
            Gravity::Merged,
            "fewer fields name the operation: requests that differ in the others alone are one now",
        )
    } else if before.is_subset(&after) {
        (
            Gravity::Weaker,
            "more fields name the operation: a request that lacks one, or has another value there, is \
             not recognised and can pay again",
        )
    } else {
        (
            Gravity::Merged,
            "other fields name the operation: requests that were two can be one, and a request that \
             was recognised can pay again",
        )
    })
}

const fn otherwise(was: Otherwise, is: Otherwise) -> (Gravity, &'static str) {
    match (was, is) {
        (Otherwise::Content, Otherwise::Call) => (
            Gravity::Weaker,
            "it is not recognised by its content any more: a job that runs again with a fresh key pays \
             again",
        ),
        (Otherwise::Call | Otherwise::Refuse, Otherwise::Content) => (
            Gravity::Merged,
            "it is recognised by its content now: of two equal requests that are meant, one may be \
             lost",
        ),
        (Otherwise::Refuse, Otherwise::Call) => (
            Gravity::Weaker,
            "what was refused for want of fields is sent now, and a job that runs again pays again",
        ),
        (Otherwise::Content | Otherwise::Call, Otherwise::Refuse) => {
            (Gravity::Refused, "a request without all the fields is answered with 400 and not sent")
        }
        (Otherwise::Content, Otherwise::Content)
        | (Otherwise::Call, Otherwise::Call)
        | (Otherwise::Refuse, Otherwise::Refuse) => (Gravity::Renamed, "nothing changes"),
    }
}

fn distinguishes(was: &[FieldPattern], is: &[FieldPattern]) -> Option<Change> {
    let (before, after) = (set(was), set(is));
    let (gravity, means) = match (after.is_subset(&before), before.is_subset(&after)) {
        (true, true) => return None,
        (true, false) => (
            Gravity::Weaker,
            "a request with none of the fields that are left is not recognised by its content any \
             more: a job that runs again pays again",
        ),
        (false, true) => (
            Gravity::Merged,
            "a request with one of the new fields is recognised by its content now: of two equal ones \
             that are meant, one may be lost",
        ),
        (false, false) => (
            Gravity::Weaker,
            "some requests are not recognised by their content any more and can pay again; some are \
             now, and of two equal ones that are meant, one may be lost",
        ),
    };
    let both = (list(was), list(is));
    Some(Change { reidentifies: true, ..change("distinguishes", both, gravity, means) })
}

fn merging(old: &Rule, new: &Rule) -> Option<Change> {
    if old.merge != new.merge {
        let (gravity, means) = match new.merge {
            Merge::Twins => (
                Gravity::Merged,
                "an equal request shares an answer on its way or fresh: of two that are meant within \
                 that time, one is lost",
            ),
            Merge::Lost => (
                Gravity::Weaker,
                "an equal request is a payment of its own as soon as the first was answered, or while \
                 it is on its way: a double click pays twice",
            ),
        };
        return Some(change("merge", (old.merge, new.merge), gravity, means));
    }
    let (was, is) = (old.repeat_window, new.repeat_window);
    if was == is {
        return None;
    }
    let (gravity, means) = if is > was {
        (
            Gravity::Merged,
            "an equal request is the same payment for longer: of two that are meant within that time, \
             one is lost",
        )
    } else {
        (
            Gravity::Weaker,
            "an equal request is a payment of its own sooner: a double click or a job that runs again \
             after that pays twice",
        )
    };
    Some(change("repeat_window", (duration::show(was), duration::show(is)), gravity, means))
}

fn client_key(old: ClientKey, new: ClientKey) -> Change {
    let (gravity, means) = match new {
        ClientKey::Required => (
            Gravity::Refused,
            "a request without a key of the application's own is answered with 400 and not sent",
        ),
        ClientKey::Optional => (
            Gravity::Weaker,
            "a request without a key of the application's own is sent now: it is recognised only by \
             what else the rule names",
        ),
    };
    change("client_key", (old, new), gravity, means)
}

fn require_field(was: &[FieldPattern], is: &[FieldPattern]) -> Option<Change> {
    let (before, after) = (set(was), set(is));
    let (gravity, means) = if !after.is_subset(&before) {
        (Gravity::Refused, "a request without the new fields is answered with 400 and not sent")
    } else if before == after {
        return None;
    } else {
        (Gravity::Weaker, "a request without the fields that are gone is sent now")
    };
    let show =
        |fields: &[FieldPattern]| if fields.is_empty() { "none".to_owned() } else { list(fields) };
    Some(change("require_field", (show(was), show(is)), gravity, means))
}

fn store_down(old: StoreDown, new: StoreDown) -> Change {
    let (gravity, means) = match new {
        StoreDown::Refuse => (
            Gravity::Refused,
            "while the store does not answer, it is answered with 503 and not sent",
        ),
        StoreDown::Derive => (
            Gravity::Weaker,
            "while the store does not answer, it is sent with the key of the occurrence that this \
             process remembers: safe against doubles, and what was meant again may be merged",
        ),
    };
    change("store_down", (old, new), gravity, means)
}

fn indeterminate(old: Indeterminate, new: Indeterminate) -> Change {
    let (gravity, means) = match new {
        Indeterminate::Next => (
            Gravity::Weaker,
            "after a saved error 500, of which nobody knows whether it paid, the next request pays \
             under another key, perhaps again",
        ),
        Indeterminate::Hold => (
            Gravity::Stronger,
            "after a saved error 500 it is held in doubt until a person resolves it",
        ),
    };
    change("indeterminate", (old, new), gravity, means)
}

fn finish(old: Option<Duration>, new: Option<Duration>) -> Option<Change> {
    let (gravity, means) = match (old, new) {
        (was, is) if was == is => return None,
        (_, None) => {
            (Gravity::Stronger, "after an end in doubt nothing is sent before somebody asks again")
        }
        (Some(was), Some(is)) if is < was => {
            (Gravity::Stronger, "after an end in doubt it is asked for again for less long")
        }
        (_, Some(_)) => (
            Gravity::Weaker,
            "after an end in doubt it is asked for again for so long though nobody waits: it can \
             still happen after the application was told that its outcome is unknown",
        ),
    };
    let show = |time: Option<Duration>| time.map_or_else(|| "never".to_owned(), duration::show);
    Some(change("finish", (show(old), show(new)), gravity, means))
}

fn set(fields: &[FieldPattern]) -> HashSet<&str> {
    fields.iter().map(FieldPattern::as_str).collect()
}

fn list(fields: &[FieldPattern]) -> String {
    fields.iter().map(FieldPattern::as_str).collect::<Vec<_>>().join(", ")
}

fn show_identity(rule: &Rule) -> String {
    match &rule.identity {
        IdentityRule::Call => "call".to_owned(),
        IdentityRule::Content => "content".to_owned(),
        IdentityRule::Fields { names, otherwise } => {
            format!("{}, otherwise {otherwise}", list(names))
        }
    }
}
