//! `[[client]]`: clients that are reported, warned and refused, through a whole payonce.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper of tests may fail the test"
)]

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use payonce::decide::agent::{Releases, Sdk};
use payonce::decide::policy::Policy;

use super::harness::{Post, Reply, Setup, World};

const OLD: &str = "Stripe/v1 PythonBindings/7.14.1";
const NEW: &str = "Stripe/v1 PythonBindings/16.1.0";
const CHARGES: &str = "[[rule]]\nname = \"charges\"\nmatch = [\"POST /v1/charges\"]\n\
                       class = \"critical\"\nidentity = \"content\"\ndistinguishes = [\"metadata[order]\"]\n";

fn client(name: &str, action: &str) -> String {
    format!(
        "[[client]]\nname = \"{name}\"\nsdk = \"python\"\nminimum = \"15.0\"\n\
         action = \"{action}\"\nmessage = \"Änderung: ask platform\"\n"
    )
}

fn charge(agent: &str) -> Post {
    Post::charge("amount=500&currency=usd&source=tok_visa").with("User-Agent", agent)
}

fn warning(reply: &Reply) -> Option<&str> {
    reply.header("payonce-warning")
}

fn rule(world: &World, name: &str, done: &str) -> u64 {
    world.count(&format!("payonce_client_rules_total{{rule=\"{name}\",done=\"{done}\"}}"))
}

#[tokio::test]
async fn a_refused_client_sends_nothing_and_is_told_why() {
    let world = Setup::policy(&[client("warned", "warn"), client("old", "refuse")].concat());
    let world = world.start().await;
    for post in [charge(OLD), charge(OLD).method("GET")] {
        let reply = world.done(&post).await;
        reply.refused(403, "payonce_client_refused");
        assert_eq!(reply.header("stripe-should-retry"), Some("false"));
        assert_eq!(
            reply.message(),
            "The policy's [[client]] \"old\" refuses this client: python 7.14.1: at least 15.0.0 is \
             wanted; Änderung: ask platform. Nothing was sent to Stripe."
        );
    }
    assert!(world.sandbox.requests().is_empty(), "nothing was sent");
    assert_eq!((rule(&world, "old", "refuse"), rule(&world, "warned", "warn")), (2, 2));
    let reply = world.done(&charge(NEW)).await;
    reply.is(200, "executed");
    assert_eq!(warning(&reply), None);
}

#[tokio::test]
async fn a_warned_client_is_served_and_told_with_every_answer() {
    let world = Setup::policy(&client("old", "warn")).start().await;
    for (post, status) in [(charge(OLD), 200), (charge(OLD).method("GET"), 200)] {
        let reply = world.done(&post).await;
        assert_eq!(reply.status, status);
        assert_eq!(
            warning(&reply),
            Some("old: python 7.14.1: at least 15.0.0 is wanted; ?nderung: ask platform")
        );
    }
    let wrong = world.done(&charge(OLD).key(&"k".repeat(256))).await;
    wrong.refused(400, "payonce_bad_idempotency_key");
    assert!(warning(&wrong).is_some(), "{wrong:?}");
    assert_eq!(warning(&world.done(&charge(NEW)).await), None);
}

#[tokio::test]
async fn report_observe_and_bypass_change_nothing() {
    let refuse = client("old", "refuse");
    for (policy, bypass, done) in [
        (client("old", "report"), "false", "report"),
        (format!("mode = \"observe\"\n{refuse}"), "false", "observed"),
        (refuse, "true", "observed"),
    ] {
        let world = Setup::policy(&policy).set("POLICY__BYPASS", bypass).start().await;
        let reply = world.done(&charge(OLD)).await;
        assert_eq!((reply.status, warning(&reply)), (200, None), "{policy}");
        assert_eq!(rule(&world, "old", done), 1, "{policy}");
        let sdks = "payonce_sdk_requests_total{sdk=\"python\",major=\"7\"}";
        assert_eq!(world.count(sdks), 1);
    }
}

#[tokio::test]
async fn a_reloaded_rule_holds_for_a_client_that_was_seen_before() {
    let world = Setup::policy("").start().await;
    world.done(&charge(OLD)).await.is(200, "executed");
    world.reload(&client("old", "refuse")).await;
    world.done(&charge(OLD)).await.refused(403, "payonce_client_refused");
    world.reload("").await;
    world.done(&charge(OLD)).await.is(200, "executed");
}

#[tokio::test]
async fn a_caller_alone_can_be_refused() {
    let policy =
        "[[client]]\nname = \"jobs\"\nsdk = \"*\"\ncaller = [\"jobs\"]\naction = \"refuse\"";
    let world = Setup::policy(policy).start().await;
    let jobs = charge(NEW).with("Payonce-Caller", "jobs");
    world.done(&jobs).await.refused(403, "payonce_client_refused");
    world.done(&charge(NEW).with("Payonce-Caller", "web")).await.is(200, "executed");
    world
        .done(&charge("jobs/1.2 (https://jobs.example)"))
        .await
        .refused(403, "payonce_client_refused");
}

/// An application's name in another alphabet must not hide whose key it is: the second charge would
/// count as one that the application means by a key of its own, and be made again.
#[tokio::test]
async fn an_sdk_key_is_known_though_the_application_has_a_name_beyond_ascii() {
    let world = Setup::policy(CHARGES).start().await;
    let charge = |n: u32| {
        Post::charge("amount=500&currency=usd&source=tok_visa&metadata[order]=42")
            .sdk(n)
            .instead("User-Agent", "Stripe/v1 NodeBindings/23.1.0 Läden/1.2")
    };
    world.lose(&charge(1)).await;
    world.done(&charge(2)).await.is(200, "replayed");
    assert_eq!(world.effects().len(), 1);
}

/// `config/sdk-releases.py` with programs of the test's instead of the registries' clients.
fn refresh(directory: &Path, only: &str) -> (Option<i32>, String) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/config/sdk-releases.py");
    let output = Command::new("python3")
        .args([script, "--only", only])
        .arg(directory.join("table.tsv"))
        .env("PATH", format!("{}:{}", directory.display(), std::env::var("PATH").unwrap()))
        .output()
        .unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

fn program(directory: &Path, name: &str, text: &str) {
    let path = directory.join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn the_table_of_releases_is_refreshed_and_what_cannot_be_asked_keeps_its_lines() {
    let directory = tempfile::tempdir().unwrap();
    let (at, table) = (directory.path(), directory.path().join("table.tsv"));
    std::fs::write(&table, "go\t86.2.0\t-\tfacts\nnode\t1.0.0\t2022-01-01\tnpm\n").unwrap();
    let changelog = "## <a id=\"23-1-0\"></a>23.1.0 - 2026-10-29\n## 23.2.0-beta.1 - 2026-11-01\n\
                     ## 22.10.0 - 2026-09-01\n## 22.9.0 - 2026-08-01\n## 8.0.0 - 2019-01-01\n";
    std::fs::create_dir(at.join("package")).unwrap();
    std::fs::write(at.join("package/CHANGELOG.md"), changelog).unwrap();
    // What it is to pack it into is the last argument.
    let pack = format!(
        "for last; do :; done; tar czf $last/stripe-23.1.0.tgz -C {} package",
        at.display()
    );
    program(at, "npm", &pack);
    program(at, "go", "echo no network >&2; exit 1");

    let (code, said) = refresh(at, "node,go");
    assert_eq!(code, Some(1), "go could not be asked: {said}");
    assert!(said.contains("go: not asked") && said.contains("node: 3 releases"), "{said}");
    let text = std::fs::read_to_string(&table).unwrap();
    let lines: Vec<&str> = text.lines().skip_while(|line| !line.starts_with("sdk\t")).collect();
    let node = ["node\t22.9.0", "node\t22.10.0", "node\t23.1.0"];
    assert_eq!(lines.len(), 5, "{text}");
    assert!(lines[1..4].iter().zip(node).all(|(line, begins)| line.starts_with(begins)), "{text}");
    assert_eq!(lines[4], "go\t86.2.0\t-\tfacts");
    let read = Releases::parse(&text).unwrap();
    assert_eq!((read.count(Sdk::Node), read.count(Sdk::Go)), ((3, 3), (1, 0)));
    assert_eq!(refresh(at, "node").0, Some(0));
}

#[test]
fn what_the_guide_to_updates_shows_is_a_policy_and_what_it_ships_is_well_formed() {
    let guide = include_str!("../../deploy/sdk-updates.md");
    let blocks: Vec<&str> = guide.split("```toml\n").skip(1).collect();
    assert!(!blocks.is_empty());
    for block in blocks {
        let block = block.split("```").next().unwrap();
        let policy = Policy::parse(&format!("version = 1\n{block}"));
        assert!(policy.is_ok_and(|policy| !policy.clients().is_empty()), "{block}");
    }
    let renovate: serde_json::Value =
        serde_json::from_str(include_str!("../../deploy/renovate.json")).unwrap();
    assert_eq!(renovate["packageRules"][0]["enabled"], false);
    let dependabot = include_str!("../../deploy/dependabot.yml");
    let ecosystems = dependabot.matches("- package-ecosystem:").count();
    assert_eq!(dependabot.matches("- dependency-name:").count(), ecosystems);
    // Dependabot refuses YAML aliases.
    assert!(!dependabot.contains(": &") && !dependabot.contains(": *"), "{dependabot}");
}
