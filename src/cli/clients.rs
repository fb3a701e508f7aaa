//! `payonce clients`: which SDKs ask, how old they are, what they do wrong and what the policy says.

use std::fmt::Write as _;
use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use http::Method;

use super::ops::{Client, OpsFailure, show};
use super::table::{ago, columns, plain};
use crate::clients::list::{List, Seen};
use crate::clock::{Clock, Timestamp};
use crate::settings::Settings;

/// `payonce clients`
#[derive(Args, Clone, Debug)]
pub struct Clients {
    /// The settings file of the payonce to ask: its port and token are found there.
    #[arg(long, value_name = "FILE")]
    pub settings: Option<PathBuf>,
    /// Print JSON instead of text.
    #[arg(long)]
    pub json: bool,
}

impl Clients {
    pub(super) const EXAMPLES: &str = "Examples:
  payonce clients
  payonce clients --json | jq '.clients[] | select(.keyless_posts > 0)'
What was seen since payonce started. How old a release is comes from the table of releases, which
config/sdk-releases.py refreshes; deploy/sdk-updates.md is the monthly routine.";
}

/// Asks the payonce that has these `settings` for its clients, and writes them to `out`.
///
/// # Errors
/// See [`OpsFailure`]; nothing is ever changed.
pub async fn run(
    args: &Clients,
    settings: &Settings,
    out: &mut impl Write,
) -> Result<(), OpsFailure> {
    let client = Client::of(settings)?;
    let (list, raw): (List, _) = client.ask(Method::GET, "/clients", None).await?;
    show(out, args.json, &raw, || text(&list, Clock::System.now()))
}

fn text(list: &List, now: Timestamp) -> String {
    if list.clients.is_empty() {
        return "Nobody has asked since payonce started.\n".to_owned();
    }
    let head = [
        "SDK",
        "VERSION",
        "RELEASED",
        "AGE",
        "NEWEST",
        "LANGUAGE",
        "CALLER",
        "FIRST SEEN",
        "LAST SEEN",
        "REQUESTS",
        "KEYLESS POSTS",
    ];
    let mut rows = vec![head.map(str::to_owned)];
    rows.extend(list.clients.iter().map(|seen| row(seen, now)));
    let table = columns(&rows);
    let mut text = String::new();
    // The first line is the head's.
    for (line, seen) in
        table.lines().zip(std::iter::once(None).chain(list.clients.iter().map(Some)))
    {
        text.push_str(line);
        text.push('\n');
        notes(&mut text, seen);
    }
    if list.other_requests > 0 {
        // Writing to a string cannot fail.
        writeln!(text, "and {} requests of clients beyond this list", list.other_requests)
            .unwrap_or_default();
    }
    let until = list.table_until.as_deref().unwrap_or("-");
    writeln!(
        text,
        "\nThe table of releases ends on {}; policy {}.",
        plain(until),
        plain(&list.policy_version)
    )
    .unwrap_or_default();
    text
}

fn row(seen: &Seen, now: Timestamp) -> [String; 11] {
    let or_dash = |text: &Option<String>| plain(text.as_deref().unwrap_or("-"));
    [
        plain(&seen.sdk),
        // Of a client without an SDK, what it calls itself stands in the caller's column.
        or_dash(&seen.version),
        plain(&seen.released),
        age(seen),
        or_dash(&seen.newest),
        or_dash(&seen.language),
        or_dash(if seen.caller.is_some() { &seen.caller } else { &seen.app }),
        ago(seen.first_seen, now),
        ago(seen.last_seen, now),
        seen.requests.to_string(),
        format!("{} of {}", seen.keyless_posts, seen.posts),
    ]
}

/// In months where it is that long, as policies say it.
fn age(seen: &Seen) -> String {
    match seen.age_days {
        None => "-".to_owned(),
        Some(days @ 0..61) => format!("{days} days"),
        Some(days) => format!("{} months", u64::from(days) * 12 / 365),
    }
}

/// What is known of it, what applies to it and what was done, a line each.
fn notes(text: &mut String, seen: Option<&Seen>) {
    let Some(seen) = seen else { return };
    let known = seen.known.iter().map(|what| format!("known: {}", plain(what)));
    let rules = seen.rules.iter().map(|rule| {
        format!("policy: {} by {}: {}", plain(&rule.action), plain(&rule.name), plain(&rule.why))
    });
    let refused = (seen.refused > 0).then(|| format!("refused: {} requests", seen.refused));
    for line in known.chain(rules).chain(refused) {
        writeln!(text, "    {line}").unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients::list::Applying;

    fn seen() -> Seen {
        Seen {
            sdk: "python".to_owned(),
            version: Some("7.14.1".to_owned()),
            released: "2024-02-15".to_owned(),
            age_days: Some(1012),
            newest: Some("16.1.0".to_owned()),
            language: Some("3.11.7".to_owned()),
            platform: None,
            app: Some("Shop/1.2".to_owned()),
            ai_agent: None,
            caller: Some("jobs".to_owned()),
            first_seen: Timestamp::from_millis(0),
            last_seen: Timestamp::from_millis(7_000_000),
            requests: 12,
            posts: 10,
            keyless_posts: 3,
            refused: 2,
            known: vec!["by default it does not retry".to_owned()],
            rules: vec![Applying {
                name: "old".to_owned(),
                action: "refuse".to_owned(),
                why: "python 7.14.1, released 2024-02-15, is older than 12 months".to_owned(),
            }],
        }
    }

    #[test]
    fn a_client_is_a_line_with_what_there_is_to_say_below_it() {
        let unknown = Seen {
            sdk: "unknown".to_owned(),
            version: None,
            released: "unknown".to_owned(),
            age_days: None,
            newest: None,
            language: None,
            caller: None,
            app: Some("curl\u{1b}[2J/8".to_owned()),
            keyless_posts: 0,
            refused: 0,
            known: Vec::new(),
            rules: Vec::new(),
            ..seen()
        };
        let list = List {
            clients: vec![seen(), unknown],
            other_requests: 4,
            table_until: Some("2026-10-29".to_owned()),
            policy_version: "abc".to_owned(),
        };
        insta::assert_snapshot!(text(&list, Timestamp::from_millis(7_200_000)), @r"
        SDK      VERSION  RELEASED    AGE        NEWEST  LANGUAGE  CALLER      FIRST SEEN  LAST SEEN  REQUESTS  KEYLESS POSTS
        python   7.14.1   2024-02-15  33 months  16.1.0  3.11.7    jobs        2h ago      3m ago     12        3 of 10
            known: by default it does not retry
            policy: refuse by old: python 7.14.1, released 2024-02-15, is older than 12 months
            refused: 2 requests
        unknown  -        unknown     -          -       -         curl?[2J/8  2h ago      3m ago     12        0 of 10
        and 4 requests of clients beyond this list

        The table of releases ends on 2026-10-29; policy abc.
        ");
    }

    #[test]
    fn an_empty_list_is_a_sentence() {
        assert!(text(&List::default(), Timestamp::default()).starts_with("Nobody has asked"));
    }
}
