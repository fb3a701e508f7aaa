//! What is open: shown as the last [`survey`](crate::survey) found it.

use std::collections::BTreeMap;
use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::family::{Level, Levels};
use super::{Metrics, gauge, seconds};
use crate::clock::Timestamp;

/// Most rules with numbers of their own; the survey adds up the others under one name.
pub const MOST_RULES: usize = 100;

/// What is open of one rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Open {
    /// Somebody works on these.
    pub in_flight: Group,
    /// Of these nobody knows what became.
    pub in_doubt: Group,
    /// The least time until one of those in doubt can no longer be asked for again with its key;
    /// nothing where none is.
    pub horizon: Option<Duration>,
}

/// Operations in one state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// How many.
    pub count: u32,
    /// How long ago the first byte of the oldest left; nothing where there is none.
    pub oldest: Duration,
}

pub(super) struct Counts {
    open: Levels<2>,
    oldest: Levels<2>,
    horizon: Levels<1>,
    at: Level,
    complete: Gauge,
}

impl Counts {
    pub(super) fn register(r: &mut Registry) -> Self {
        let open = "Operations that the store holds open, by rule and state";
        let oldest = "How long ago the oldest of them was first sent; 0 where there is none";
        let horizon = "Least time in which an operation in doubt can still be asked for again \
                       with its key, by rule; absent where none is";
        let at = Level::default();
        let when = "When the store was last asked what is open";
        r.register_with_unit("survey_timestamp", when, Unit::Seconds, at.clone());
        let complete = "Whether that was read whole: 0 if more is open than is looked at";
        let labels = ["rule", "state"];
        let unit = Some(Unit::Seconds);
        Self {
            open: Levels::register(r, "open_operations", open, None, labels),
            oldest: Levels::register(r, "oldest_open_age", oldest, unit.clone(), labels),
            horizon: Levels::register(r, "horizon", horizon, unit, ["rule"]),
            at,
            complete: gauge(r, "survey_complete", complete),
        }
    }
}

impl Metrics {
    /// This is open, by rule, as found at `at`; `complete` unless there was more.
    pub fn open_operations(&self, found: &BTreeMap<String, Open>, at: Timestamp, complete: bool) {
        let (mut open, mut oldest, mut horizon) =
            (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for (rule, it) in found {
            for (state, group) in [("in_flight", it.in_flight), ("in_doubt", it.in_doubt)] {
                let labels = [rule.clone(), state.to_owned()];
                oldest.insert(labels.clone(), group.oldest.as_secs_f64());
                open.insert(labels, f64::from(group.count));
            }
            if let Some(left) = it.horizon {
                horizon.insert([rule.clone()], left.as_secs_f64());
            }
        }
        let all = &self.0.open;
        all.open.show(open);
        all.oldest.show(oldest);
        all.horizon.show(horizon);
        all.at.set(seconds(at));
        all.complete.set(i64::from(complete));
    }
}
