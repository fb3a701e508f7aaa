//! What is counted, what fails, and what is read of recorded decisions.

use clap::Parser as _;

use super::*;

const POLICY: &str = "version = 1
[[rule]]
name = \"charges\"
match = [\"POST /v1/charges\", \"POST /v1/chages\"]
class = \"critical\"
identity = [\"metadata[order_id]\"]
otherwise = \"content\"
distinguishes = [\"customer\"]
merge = \"twins\"
[[rule]]
name = \"loose\"
match = [\"POST /v1/refunds\"]
class = \"pass\"
";

#[derive(clap::Parser)]
struct CommandLine {
    #[command(flatten)]
    args: Coverage,
}

struct Said {
    exit: Exit,
    out: String,
}

/// Runs `payonce policy coverage` with these arguments; the policy and what was recorded are files.
fn said(args: &[&str], recorded: &str) -> Said {
    let directory = tempfile::tempdir().unwrap();
    let (policy, traffic) = (directory.path().join("p.toml"), directory.path().join("t.ndjson"));
    std::fs::write(&policy, POLICY).unwrap();
    std::fs::write(&traffic, recorded).unwrap();
    let line = ["coverage", "--policy", policy.to_str().unwrap()];
    let observed = [&["--observed", traffic.to_str().unwrap()][..], &[]];
    let observed = observed[usize::from(recorded.is_empty())];
    let line = [&line, args, observed].concat();
    let args = CommandLine::try_parse_from(line).unwrap().args;
    let mut out = Vec::new();
    let exit = run(&args, &Settings::load(None, Vec::new()).unwrap(), &mut out);
    Said { exit, out: String::from_utf8(out).unwrap() }
}

/// The lines of a page that are not about single operations, without names that change.
fn ending(page: &str) -> String {
    let rest = page.split("\n\n").nth(1).unwrap();
    rest.lines().skip(1).collect::<Vec<_>>().join("\n")
}

#[test]
fn every_operation_has_a_line_in_the_order_of_the_table() {
    let Said { exit, out } = said(&[], "");
    assert_eq!(exit, Exit::Done);
    let lines: Vec<Vec<&str>> =
        out.lines().map(|line| line.split_whitespace().collect()).take(706).collect();
    assert_eq!(lines[0][..2], ["METHOD", "PATH"]);
    let charges = lines.iter().find(|cells| cells[..2] == ["POST", "/v1/charges"]).unwrap();
    let cells = ["charges", "critical", "metadata[order_id]", "content", "twins", "takes"];
    assert_eq!(charges[2..], cells);
    let last = lines[705][1];
    assert_eq!(last, "/v2/test_helpers/money_management/recipient_verifications");
}

#[test]
fn the_end_says_what_is_unnamed_and_what_matches_nothing() {
    let Said { out, .. } = said(&["--fail-on", "unmatched-rule"], "");
    insta::assert_snapshot!(ending(&out));
}

#[test]
fn each_condition_fails_on_what_it_names_and_on_nothing_else() {
    let exit = |what| said(&["--fail-on", what], "").exit;
    assert_eq!(exit("unnamed-money-moving"), Exit::Failed);
    assert_eq!(exit("unnamed,unmatched-rule"), Exit::Failed);
    assert_eq!(exit("money-moving-passed"), Exit::Failed);
    assert_eq!(exit("called-unnamed"), Exit::Usage);
    let shipped = |what| {
        let args = Coverage { fail_on: vec![what], ..Coverage::default() };
        run(&args, &Settings::load(None, Vec::new()).unwrap(), &mut Vec::new())
    };
    for what in FailOn::value_variants().iter().filter(|what| !what.needs_observed()) {
        assert_eq!(shipped(*what), Exit::Done, "{what:?}");
    }
}

#[test]
fn what_was_called_is_counted_an_operation() {
    let recorded = concat!(
        "{\"at\":1,\"method\":\"POST\",\"path\":\"/v1/charges\",\"rule\":\"charges\"}\n",
        "{\"method\":\"POST\",\"path\":\"/v1/charges\"}\n\n",
        "{\"method\":\"POST\",\"path\":\"/v1/charges/ch_7/capture\"}\n",
        "{\"method\":\"POST\",\"path\":\"/v1/nothing\"}\n",
        "{\"method\":\"POST\",\"path\":\"//bad\"}\nnonsense\n",
    );
    let Said { exit, out } =
        said(&["--json", "--fail-on", "called-unnamed,called-unknown"], recorded);
    assert_eq!(exit, Exit::Failed);
    let page: serde_json::Value = serde_json::from_str(&out).unwrap();
    let calls = |path: &str| {
        let operations = page["operations"].as_array().unwrap();
        let that = operations.iter().find(|it| it["path"] == path && it["method"] == "POST");
        that.unwrap()["calls"].as_u64().unwrap()
    };
    assert_eq!([calls("/v1/charges"), calls("/v1/charges/{charge}/capture")], [2, 1]);
    assert_eq!(calls("/v1/refunds"), 0);
    assert_eq!(page["observed"]["calls"], 4);
    assert_eq!(page["observed"]["unread_lines"], 2);
    assert_eq!(page["observed"]["unknown"][0]["request"], "POST /v1/nothing");
    assert_eq!(page["failed"][0]["names"][0], "POST /v1/charges/{charge}/capture");
    assert_eq!(page["failed"][1]["what"], "called-unknown");
}

#[test]
fn what_was_recorded_is_read_within_bounds() {
    let mut observed = Observed::default();
    let long = format!("{{\"method\":\"POST\",\"path\":\"/{}\"}}\n", "x".repeat(2_000_000));
    observed.read(long.as_bytes()).unwrap();
    assert_eq!((observed.unread, observed.total), (1, 0));
    for n in 0..1500 {
        let line = format!("{{\"method\":\"POST\",\"path\":\"/v9/{n}\"}}");
        observed.read(line.as_bytes()).unwrap();
    }
    assert_eq!((observed.unknown().count(), observed.unlisted, observed.total), (1000, 500, 1500));
}
