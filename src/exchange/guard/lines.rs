//! Which findings are worth a line: a request that comes a hundred times a second would fill the log
//! with one sentence. The counters count them all.

use std::collections::HashMap;
use std::time::Duration;

use crate::clock::Timestamp;

/// A finding is logged once in this time for each rule, with how often it came.
const LINE_EVERY: Duration = Duration::from_mins(1);
/// Rules come and go with the policy; so many of them, times findings, are told apart.
const MAX_LINES: usize = 1_024;

/// When which finding was logged last.
#[derive(Default)]
pub(super) struct Lines(HashMap<(&'static str, String), Line>);

struct Line {
    at: Timestamp,
    unsaid: u64,
}

impl Lines {
    /// How often it came since it was logged last, this time included, if it is to be logged now.
    pub(super) fn due(&mut self, finding: &'static str, rule: &str, now: Timestamp) -> Option<u64> {
        let key = (finding, rule.to_owned());
        if let Some(line) = self.0.get_mut(&key) {
            if now.since(line.at) < LINE_EVERY {
                line.unsaid = line.unsaid.saturating_add(1);
                return None;
            }
            let times = std::mem::take(&mut line.unsaid).saturating_add(1);
            line.at = now;
            return Some(times);
        }
        if self.0.len() >= MAX_LINES {
            // A policy that was edited very often: say some lines once more.
            self.0.clear();
        }
        self.0.insert(key, Line { at: now, unsaid: 0 });
        Some(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_logged_once_a_minute_for_each_rule_with_how_often_it_came() {
        let at = |seconds: u64| Timestamp::from_millis(seconds * 1000);
        let mut lines = Lines::default();
        assert_eq!(lines.due("key_short", "charges", at(0)), Some(1));
        assert_eq!(lines.due("key_short", "refunds", at(1)), Some(1));
        assert_eq!(lines.due("key_plain", "charges", at(1)), Some(1));
        for second in 1..60 {
            assert_eq!(lines.due("key_short", "charges", at(second)), None);
        }
        assert_eq!(lines.due("key_short", "charges", at(60)), Some(60));
        assert_eq!(lines.due("key_short", "charges", at(61)), None);
    }

    #[test]
    fn what_is_remembered_of_lines_is_bounded() {
        let mut lines = Lines::default();
        for n in 0..5_000 {
            lines.due("key_short", &n.to_string(), Timestamp::default());
        }
        assert!(lines.0.len() <= MAX_LINES);
    }
}
