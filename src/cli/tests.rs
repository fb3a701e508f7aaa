//! What can be typed, and what is said of it.

use clap::CommandFactory as _;
use clap::error::ErrorKind;

use super::*;

fn parse(line: &[&str]) -> Result<Command, clap::Error> {
    Cli::try_parse_from([&["payonce"], line].concat()).map(|cli| cli.command)
}

#[test]
fn the_help_names_every_command_and_exit_code() {
    let help = Cli::command().render_help().to_string();
    let words = [
        "serve", "sandbox", "demo", "check", "explain", "policy", "report", "keygen", "ops",
        "clients", "health",
    ];
    for word in words {
        assert!(help.contains(&format!("\n  {word} ")), "no {word} in\n{help}");
    }
    let exits = [
        Exit::Done,
        Exit::Failed,
        Exit::Usage,
        Exit::Configuration,
        Exit::Unavailable,
        Exit::Bug,
        Exit::Interrupted,
    ];
    for exit in exits {
        assert!(help.contains(&format!("\n  {} ", exit.code())), "no {exit:?} in\n{help}");
    }
    Cli::command().debug_assert();
}

#[test]
fn the_help_of_every_command_has_an_example() {
    fn examine(command: &mut clap::Command, path: &str) {
        let help = command.render_long_help().to_string();
        assert!(path == "payonce" || help.contains("Example"), "{path}:\n{help}");
        assert!(!help.contains("  payonce  "), "{help}");
        for inner in command.get_subcommands_mut().filter(|inner| inner.get_name() != "help") {
            let path = format!("{path} {}", inner.get_name());
            examine(inner, &path);
        }
    }
    examine(&mut Cli::command(), "payonce");
}

#[test]
fn explain_takes_a_request_as_curl_does() {
    let line = [
        "explain",
        "POST /v1/charges?x=1",
        "-d",
        "amount=5",
        "-d",
        "a[b]=c d",
        "-H",
        "Idempotency-Key: a: b",
    ];
    let Command::Explain(explain) = parse(&line).unwrap() else { panic!("not explain") };
    let request = explain.request.unwrap();
    assert_eq!(request.method, Method::POST);
    assert_eq!(request.target, "/v1/charges?x=1");
    assert_eq!(explain.data, ["amount=5", "a[b]=c d"]);
    assert_eq!(explain.headers[0].name, "idempotency-key");
    assert_eq!(explain.headers[0].value, "a: b");
    assert_eq!(format!("{:?}", explain.headers), "[idempotency-key: (4 bytes)]");
    for wrong in ["/v1/charges", "post /v1/charges", "POST v1/charges", "POST", "POST /a b", ""] {
        let error = parse(&["explain", wrong]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ValueValidation, "{wrong}");
    }
    assert!(parse(&["explain", "GET /", "-H", "no colon"]).is_err());
    assert!(parse(&["explain"]).is_err());
    assert!(parse(&["explain", "GET /", "--curl", "curl x"]).is_err());
    assert!(parse(&["explain", "--har", "x", "--curl", "curl x"]).is_err());
    let shown = format!("{:?}", parse(&["explain", "--curl", "curl -u sk_live_x:"]).unwrap());
    assert!(!shown.contains("sk_live"), "{shown}");
}

#[test]
fn ops_show_wants_an_id_or_a_key_and_prints_no_key() {
    assert!(parse(&["ops", "show"]).is_err());
    assert!(parse(&["ops", "show", "abc", "--key", "k"]).is_err());
    let shown = format!("{:?}", parse(&["ops", "show", "--key", "order-42"]).unwrap());
    assert!(!shown.contains("order-42"), "{shown}");
    let Command::Ops(ops) = parse(&["ops", "list", "--json", "--settings", "p.toml"]).unwrap()
    else {
        panic!("not ops")
    };
    assert!(ops.json && ops.settings.is_some());
}

#[test]
fn ops_resolve_wants_an_outcome_and_a_reason() {
    assert!(parse(&["ops", "resolve", "abc", "--as", "succeeded"]).is_err());
    assert!(parse(&["ops", "resolve", "abc", "--why", "x"]).is_err());
    assert!(parse(&["ops", "resolve", "abc", "--as", "perhaps", "--why", "x"]).is_err());
    assert!(parse(&["ops", "resolve", "abc", "--as", "declined", "--why", "x"]).is_ok());
}

#[test]
fn a_wrong_command_line_exits_with_the_code_for_that() {
    let error = parse(&["serv"]).unwrap_err();
    assert_eq!(error.exit_code(), i32::from(Exit::Usage.code()));
    assert!(error.to_string().contains("serve"), "{error}");
}
