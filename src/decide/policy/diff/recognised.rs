//! What it means that a rule recognises operations otherwise: by other fields or content, or for
//! longer. Here lies what can charge twice, or merge two payments.

use std::collections::HashSet;

use super::super::{IdentityRule, Merge, Otherwise, Rule, duration};
use super::compare::change;
use super::{Change, Gravity};
use crate::decide::canonical::FieldPattern;

/// Identity as two questions: by which fields, and by what else.
fn parts(rule: &Rule) -> (&[FieldPattern], Otherwise) {
    match &rule.identity {
        IdentityRule::Call => (&[], Otherwise::Call),
        IdentityRule::Content => (&[], Otherwise::Content),
        IdentityRule::Fields { names, otherwise } => (names, *otherwise),
    }
}

pub(super) fn identity(old: &Rule, new: &Rule) -> Vec<Change> {
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

pub(super) fn distinguishes(was: &[FieldPattern], is: &[FieldPattern]) -> Option<Change> {
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

pub(super) fn merging(old: &Rule, new: &Rule) -> Option<Change> {
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

fn show_identity(rule: &Rule) -> String {
    match &rule.identity {
        IdentityRule::Call => "call".to_owned(),
        IdentityRule::Content => "content".to_owned(),
        IdentityRule::Fields { names, otherwise } => {
            format!("{}, otherwise {otherwise}", list(names))
        }
    }
}

pub(super) fn set(fields: &[FieldPattern]) -> HashSet<&str> {
    fields.iter().map(FieldPattern::as_str).collect()
}

pub(super) fn list(fields: &[FieldPattern]) -> String {
    fields.iter().map(FieldPattern::as_str).collect::<Vec<_>>().join(", ")
}
