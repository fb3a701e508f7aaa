//! The guide for application developers: its table of errors is the code's, its commands run, and
//! its lines for the SDKs that are installed here do what they say.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "that is how a test fails"
)]

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use super::running::{Running, effects};

const GUIDE: &str = include_str!("../../config/for-applications.md");
const FORM: &str = include_str!("../../src/refusal/form.rs");
const GUARD: &str = include_str!("../../src/decide/guard.rs");
/// What every line of the guide listens to.
const PORT: &str = "127.0.0.1:12111";

/// Code and status, as the guide's table has them.
fn told() -> BTreeSet<(String, String)> {
    let rows = GUIDE.lines().filter(|line| line.starts_with("| `payonce_"));
    rows.map(|row| {
        let mut cells = row.split('|').skip(1).map(|cell| cell.trim().trim_matches('`'));
        (cells.next().unwrap().to_owned(), cells.next().unwrap().to_owned())
    })
    .collect()
}

/// The text between the quotes that begin with `payonce_`.
fn code(line: &str) -> Option<String> {
    let (_, rest) = line.split_once("\"payonce_")?;
    Some(format!("payonce_{}", rest.split_once('"')?.0))
}

/// Code and status, as the code has them.
fn answered() -> BTreeSet<(String, String)> {
    let forms = FORM.lines().filter_map(|line| {
        let (_, form) = line.split_once("=> (")?;
        Some((code(line)?, form.split_once(',')?.0.to_owned()))
    });
    // What is about the API key is a 403; the rest is a 400 (`Finding::status`).
    let of_guards = GUARD.lines().filter_map(code).map(|code| {
        let about_api_key = code.contains("api_key") || code == "payonce_environment";
        (code, if about_api_key { "403" } else { "400" }.to_owned())
    });
    let guards_are_looked_up = "(finding.status(), INVALID, finding.code(), NO)";
    assert!(FORM.contains(guards_are_looked_up));
    forms.filter(|(code, _)| code.starts_with("payonce_")).chain(of_guards).collect()
}

#[test]
fn the_table_of_errors_is_what_payonce_answers_and_nothing_else() {
    assert!(answered().len() > 30);
    assert_eq!(told(), answered());
}

#[test]
fn every_command_of_the_guide_works_at_the_sandbox_and_through_payonce() {
    let payonce = Running::serve(&["--sandbox"], &[]);
    for at in [payonce.sandbox(), payonce.proxy()] {
        let mut commands = 0;
        for line in GUIDE.lines().filter(|line| line.starts_with("curl ")) {
            let line = line.replace(PORT, &at.to_string()).replace("curl ", "curl -sSf ");
            let done = Command::new("sh").arg("-c").arg(&line).output().unwrap();
            let said = String::from_utf8_lossy(&done.stderr);
            assert!(done.status.success(), "{line}: {said}");
            commands += 1;
        }
        assert!(commands >= 8);
    }
}

/// The code of the guide's row for an SDK.
fn line_of(sdk: &str) -> &'static str {
    let row = GUIDE.lines().find(|line| line.starts_with(&format!("| {sdk} |"))).unwrap();
    row.split('`').nth(1).unwrap()
}

fn base(at: SocketAddr) -> (String, String) {
    (at.ip().to_string(), at.port().to_string())
}

/// The same name again is the same operation; another name is another.
fn names_work(charge: &str, run: impl Fn(SocketAddr, &str)) {
    let payonce = Running::serve(&["--sandbox"], &[]);
    run(payonce.proxy(), charge);
    run(payonce.proxy(), charge);
    assert_eq!(effects(payonce.sandbox()), 1);
    run(payonce.proxy(), &charge.replace("order-42", "order-43"));
    assert_eq!(effects(payonce.sandbox()), 2);
}

fn ended_well(mut command: Command) {
    let done = command.output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

#[test]
fn the_guides_line_for_python_names_the_work() {
    let charge = line_of("Python").replace('…', "amount=500, currency='usd', source='tok_visa'");
    names_work(&charge, |at, charge| {
        let tools = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/.tools");
        let mut command = Command::new(tools.join("python-newest/bin/python"));
        let (ip, port) = base(at);
        command.arg("-c").arg(format!(
            "import stripe\nstripe.api_base = 'http://{ip}:{port}'\n\
             stripe.api_key = 'sk_test_x'\n{charge}\n"
        ));
        ended_well(command);
    });
}

#[test]
fn the_guides_line_for_node_names_the_work() {
    let charge = line_of("Node").replace('…', "amount: 500, currency: 'usd', source: 'tok_visa'");
    names_work(&charge, |at, charge| {
        let mut command = Command::new("node");
        command.current_dir(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/sdk"));
        let (host, port) = base(at);
        command.arg("-e").arg(format!(
            "const Stripe = require('stripe');\n\
             const stripe = new Stripe('sk_test_x', {{host: '{host}', port: {port}, protocol: \
             'http'}});\n{charge}.catch(e => {{ console.error(e); process.exit(1); }});\n"
        ));
        ended_well(command);
    });
}
