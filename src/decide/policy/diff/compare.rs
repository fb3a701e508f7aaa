//! What it means that a rule says something else, key by key. How it recognises operations is told
//! by [`recognised`](super::recognised).

use std::time::Duration;

use super::super::{Class, ClientKey, Indeterminate, Mode, Rule, StoreDown, duration};
use super::recognised::{distinguishes, identity, list, merging, set};
use super::whole::mode;
use super::{Change, Gravity};
use crate::decide::canonical::FieldPattern;

/// `what` says something else, and `means` that.
pub(super) fn change(
    what: &'static str,
    (old, new): (impl ToString, impl ToString),
    gravity: Gravity,
    means: &'static str,
) -> Change {
    let (old, new) = (old.to_string(), new.to_string());
    Change { what, old, new, gravity, reidentifies: false, means }
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

pub(super) fn class(both: (Class, Class), recognises: bool) -> Change {
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
