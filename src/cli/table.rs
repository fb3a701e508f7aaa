//! Text for people: columns of a list, lines of a detail.

use std::fmt::Write as _;

use crate::admin::{Detail, Moment, Summary};
use crate::clock::Timestamp;

/// An empty list is not yet good news.
const NOTHING: &str = "Nothing is open, as far as this payonce and its store know. They do not know: \
                       single calls in doubt at other pods (ask each of them), and what a store held \
                       before it was flushed or restored. Such doubts stand in the logs: state is \
                       in_doubt.\n";

/// A list with one line an operation, or a sentence if there is none.
pub(super) fn list(operations: &[Summary], more: bool, now: Timestamp) -> String {
    if operations.is_empty() {
        return NOTHING.to_owned();
    }
    let head = ["OPERATION", "RULE", "STATE", "SINCE", "SENT", "AMOUNT", "OBJECT"];
    let mut rows = vec![head.map(str::to_owned)];
    rows.extend(operations.iter().map(|operation| {
        [
            plain(&operation.operation_id),
            plain(&operation.rule),
            state(operation),
            ago(operation.since, now),
            operation.attempts.to_string(),
            amount(operation),
            plain(operation.object_id.as_deref().unwrap_or("-")),
        ]
    }));
    let mut text = columns(&rows);
    if more {
        text.push_str("There may be more: ask with a higher --limit.\n");
    }
    text
}

/// Everything about one operation, one fact a line; what is not known is left out.
pub(super) fn detail(detail: &Detail, now: Timestamp) -> String {
    let summary = &detail.summary;
    let when = |time: Option<Timestamp>| time.map(|time| ago(time, now));
    // What the story tells is not told twice.
    let untold = detail.timeline.is_empty();
    let lines = [
        ("operation", Some(plain(&summary.operation_id))),
        ("state", Some(state(summary))),
        ("request", detail.request.as_deref().map(plain)),
        ("rule", Some(plain(&summary.rule))),
        ("identity", Some(plain(&detail.identity))),
        ("occurrence", Some(format!("{} of epoch {}", detail.occurrence, detail.epoch))),
        ("amount", Some(amount(summary)).filter(|amount| amount != "-")),
        ("object", summary.object_id.as_deref().map(plain)),
        ("request id", summary.request_id.as_deref().map(plain)),
        ("caller", summary.caller.as_deref().map(plain)),
        ("since", Some(ago(summary.since, now))),
        ("sent", Some(sent(detail))),
        ("asked by", asked_by(detail)),
        ("first sent", untold.then(|| when(detail.first_sent)).flatten()),
        ("last sent", untold.then(|| when(detail.last_sent)).flatten()),
        ("key safe", detail.safe_until.map(|until| safe(until, now))),
        ("held", untold.then(|| when(detail.lease_until)).flatten()),
        ("delivered", detail.delivery.as_deref().map(plain)),
        ("policy", Some(plain(&summary.policy_version))),
        ("api key", detail.api_key.as_deref().map(|hint| format!("sha256 {}…", plain(hint)))),
        ("event", detail.event.as_deref().map(plain)),
        ("resolved", detail.resolved.as_deref().map(plain)),
        ("advice", detail.advice.as_deref().map(plain)),
    ];
    let mut text = String::new();
    for (name, fact) in lines.iter().filter_map(|(name, fact)| Some((name, fact.as_ref()?))) {
        // Writing to a string cannot fail.
        writeln!(text, "{name:<11} {fact}").unwrap_or_default();
    }
    if !detail.timeline.is_empty() {
        text.push('\n');
        text.push_str(&story(&detail.timeline, now));
    }
    text
}

/// What happened and will, in order.
fn story(moments: &[Moment], now: Timestamp) -> String {
    let rows: Vec<_> = moments
        .iter()
        .map(|it| {
            let request = it.request_id.as_deref().map(|id| format!(" ({})", plain(id)));
            let text = plain(&it.text) + &request.unwrap_or_default();
            [moment(it.at.as_millis()), ago(it.at, now), text]
        })
        .collect();
    columns(&rows)
}

/// What a person must know before a word is said of it stands beside its state.
fn state(summary: &Summary) -> String {
    let saved = if summary.saved_500 { " (saved 500)" } else { "" };
    format!("{}{saved}", summary.state.name())
}

/// What a process that is gone had sent is not known.
fn sent(detail: &Detail) -> String {
    let times = match detail.summary.attempts {
        1 => "once".to_owned(),
        some => format!("{some} times"),
    };
    let gone = detail.timeline.iter().any(|moment| moment.what == "taken_over");
    if gone { format!("{times}, and perhaps by a process that is gone") } else { times }
}

/// `for 22h more`
fn safe(until: Timestamp, now: Timestamp) -> String {
    if until > now {
        format!("for {} more", span(until, now))
    } else {
        format!("no more, since {} ago", span(now, until))
    }
}

fn asked_by(detail: &Detail) -> Option<String> {
    match detail.client_keys {
        0 => None,
        1 => Some("1 idempotency key".to_owned()),
        some => Some(format!("{some} idempotency keys")),
    }
}

/// An operation in one line.
pub(super) fn line(detail: &Detail, now: Timestamp) -> String {
    let summary = &detail.summary;
    let mut words = vec![plain(&summary.operation_id), plain(&summary.rule)];
    words.push(state(summary));
    words.push(format!("since {}", ago(summary.since, now)));
    words.push(format!("sent {}", summary.attempts));
    words.extend(Some(amount(summary)).filter(|amount| amount != "-"));
    words.extend(summary.object_id.as_deref().map(plain));
    words.extend(detail.resolved.as_deref().map(|word| format!("by {}", plain(word))));
    words.join("  ")
}

/// What is remembered of an operation, in one line.
pub(super) fn sentence(detail: &Detail, now: Timestamp) -> String {
    let summary = &detail.summary;
    let object = summary.object_id.as_deref().map(|object| format!(", object {}", plain(object)));
    let delivery =
        detail.delivery.as_deref().map(|it| format!(", answer delivered: {}", plain(it)));
    format!(
        "remembered: {} since {}, sent {} times, occurrence {} of epoch {}{}{}",
        summary.state.name(),
        ago(summary.since, now),
        summary.attempts,
        detail.occurrence,
        detail.epoch,
        delivery.unwrap_or_default(),
        object.unwrap_or_default(),
    )
}

/// Lines of cells, each column as wide as its widest cell.
pub(super) fn columns(lines: &[impl AsRef<[String]>]) -> String {
    let mut widths: Vec<usize> = Vec::new();
    for line in lines {
        let line = line.as_ref();
        widths.resize(widths.len().max(line.len()), 0);
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for line in lines {
        let cells =
            line.as_ref().iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn amount(summary: &Summary) -> String {
    match (summary.amount, &summary.currency) {
        (Some(amount), Some(currency)) => format!("{amount} {}", plain(currency)),
        (Some(amount), None) => amount.to_string(),
        (None, _) => "-".to_owned(),
    }
}

/// `3m ago`, or `in 3m` for what lies ahead.
pub(super) fn ago(time: Timestamp, now: Timestamp) -> String {
    if time > now { format!("in {}", span(time, now)) } else { format!("{} ago", span(now, time)) }
}

fn span(later: Timestamp, earlier: Timestamp) -> String {
    let seconds = later.since(earlier).as_secs();
    match seconds {
        0..=119 => format!("{seconds}s"),
        120..=7199 => format!("{}m", seconds / 60),
        7200..=172_799 => format!("{}h", seconds / 3600),
        _longer => format!("{}d", seconds / 86_400),
    }
}

/// A terminal obeys control characters: none gets there from a store or a file.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// `2026-11-23 21:12:05 UTC`, of milliseconds since the Unix epoch.
pub(super) fn moment(millis: u64) -> String {
    let seconds = millis / 1000;
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Days since 1 March 0000, in eras of 400 years; years begin in March, after the leap day.
    let day = days.saturating_add(719_468);
    let (era, day) = (day / 146_097, day % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let march = (5 * of_year + 2) / 153;
    let date = of_year - (153 * march + 2) / 5 + 1;
    let month = if march < 10 { march + 3 } else { march - 9 };
    let year = year + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{date:02} {hour:02}:{minute:02}:{second:02} UTC")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::State;

    fn summary() -> Summary {
        Summary {
            operation_id: "5f3a".to_owned(),
            rule: "charges".to_owned(),
            state: State::InDoubt,
            saved_500: false,
            since: Timestamp::from_millis(1_000_000),
            attempts: 3,
            amount: Some(500),
            currency: Some("usd".to_owned()),
            object_id: None,
            request_id: Some("req_1".to_owned()),
            caller: None,
            policy_version: "abc".to_owned(),
        }
    }

    #[test]
    fn a_list_has_aligned_columns() {
        let other = Summary {
            rule: "a_longer_name".to_owned(),
            amount: None,
            saved_500: true,
            ..summary()
        };
        let text = list(&[summary(), other], false, Timestamp::from_millis(1_300_000));
        insta::assert_snapshot!(text, @r"
        OPERATION  RULE           STATE                 SINCE   SENT  AMOUNT   OBJECT
        5f3a       charges        in_doubt              5m ago  3     500 usd  -
        5f3a       a_longer_name  in_doubt (saved 500)  5m ago  3     -        -
        ");
    }

    #[test]
    fn a_moment_is_written_as_people_in_utc_do() {
        for (seconds, shown) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_399, "2000-02-28 23:59:59 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (1_735_689_599, "2024-12-31 23:59:59 UTC"),
            (1_790_000_000, "2026-09-21 14:13:20 UTC"),
        ] {
            assert_eq!(moment(seconds * 1000), shown);
        }
    }

    #[test]
    fn an_empty_list_is_a_sentence() {
        assert!(list(&[], false, Timestamp::default()).starts_with("Nothing is open"));
    }

    #[test]
    fn a_terminal_gets_no_control_characters() {
        let bad = Summary { rule: "x\u{1b}[2Jy\n".to_owned(), ..summary() };
        let text = list(&[bad], true, Timestamp::default());
        assert!(text.contains("x?[2Jy?") && !text.contains('\u{1b}'), "{text}");
    }
}
