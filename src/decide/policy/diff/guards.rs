//! What changes for API keys and own keys, whatever rule a request falls to.

use super::compare::change;
use super::{Change, Gravity};
use crate::decide::policy::{Action, Guard};

const REFUSED: &str = "what this guard finds is answered with an error and not sent";
const STRONGER: &str = "what this guard finds is counted and logged";
const WEAKER: &str = "what this guard found before is let through";

/// What changes from one `[guard]` to another.
pub(super) fn guards(old: &Guard, new: &Guard) -> Vec<Change> {
    // Destructured, so that a guard that is added is compared.
    let Guard {
        api_keys,
        environment,
        key_with_email,
        key_with_card,
        key_weak,
        shortest_key,
        key_reused,
    } = new;
    let mut changes = Vec::new();
    if old.api_keys != *api_keys {
        let show = |it: &Option<(Vec<_>, Action)>| match it {
            Some((kinds, action)) => {
                let kinds: Vec<String> = kinds.iter().map(ToString::to_string).collect();
                format!("{} ({action})", kinds.join(", "))
            }
            None => "all".to_owned(),
        };
        let action = api_keys.as_ref().map_or(Action::Off, |(_, action)| *action);
        let both = (show(&old.api_keys), show(api_keys));
        changes.push(told("guard.api_keys", both, Action::Off, action));
    }
    if old.environment != *environment {
        let show = |it: &Option<(_, Action)>| match it {
            Some((environment, action)) => format!("{environment} ({action})"),
            None => "either".to_owned(),
        };
        let action = environment.map_or(Action::Off, |(_, action)| action);
        let both = (show(&old.environment), show(environment));
        changes.push(told("guard.environment", both, Action::Off, action));
    }
    for (what, was, is) in [
        ("guard.key_with_email", old.key_with_email, *key_with_email),
        ("guard.key_with_card", old.key_with_card, *key_with_card),
        ("guard.key_weak", old.key_weak, *key_weak),
        ("guard.key_reused", old.key_reused, *key_reused),
    ] {
        if was != is {
            changes.push(told(what, (was.to_string(), is.to_string()), was, is));
        }
    }
    if old.shortest_key != *shortest_key {
        let longer = old.shortest_key < *shortest_key;
        let (was, is) =
            if longer { (Action::Off, *key_weak) } else { (Action::Refuse, Action::Off) };
        let both = (old.shortest_key.to_string(), shortest_key.to_string());
        changes.push(told("guard.shortest_key", both, was, is));
    }
    changes
}

fn told(what: &'static str, both: (String, String), was: Action, is: Action) -> Change {
    let (gravity, means) = match (was, is) {
        (Action::Off | Action::Warn, Action::Refuse) => (Gravity::Refused, REFUSED),
        (Action::Off, Action::Warn) => (Gravity::Stronger, STRONGER),
        (_, Action::Off) | (Action::Warn | Action::Refuse, Action::Warn | Action::Refuse) => {
            (Gravity::Weaker, WEAKER)
        }
    };
    change(what, both, gravity, means)
}
