//! Signatures of the real SDKs pass, payonce's own pass there, and a real SDK gets the answer of
//! what a webhook closed.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use payonce::clock::Clock;
use payonce::sandbox::{Fault, Kind};
use payonce::webhook::signature::sign;
use serde_json::json;

use super::{App, SECRET, Site, event, unsigned};
use crate::harness::{Post, until};
use crate::running;
use crate::sdk::app::{App as SdkApp, Call, Sdk};

fn tests() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests")
}

/// What a program of the SDK's language prints for these arguments.
fn python(program: &str, args: &[&str]) -> String {
    let python = tests().join(".tools/python-newest/bin/python");
    assert!(python.exists(), "{} is missing: ./tests/run installs it", python.display());
    said(Command::new(python).arg("-c").arg(program).args(args))
}

fn node(program: &str, args: &[&str]) -> String {
    assert!(tests().join("sdk/node_modules/stripe").exists(), "./tests/run installs stripe-node");
    let mut node = Command::new("node");
    node.current_dir(tests().join("sdk")).args(["--input-type=module", "-e", program, "--"]);
    said(node.args(args))
}

fn said(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// The header that an SDK makes for a body.
type Signs = fn(&str) -> String;

const PYTHON_SIGNS: &str = "import sys, stripe
print(stripe.WebhookSignature.generate_signature_header(sys.argv[1], sys.argv[2]))";
const PYTHON_READS: &str = "import sys, stripe
print(stripe.Webhook.construct_event(sys.argv[1], sys.argv[3], sys.argv[2]).id)";
const NODE_SIGNS: &str = "import Stripe from 'stripe';
const [payload, secret] = process.argv.slice(-2);
console.log(new Stripe('sk_test_x').webhooks.generateTestHeaderString({ payload, secret }));";
const NODE_READS: &str = "import Stripe from 'stripe';
const [payload, secret, header] = process.argv.slice(-3);
console.log(new Stripe('sk_test_x').webhooks.constructEvent(payload, header, secret).id);";

#[tokio::test]
async fn signatures_of_the_real_sdks_are_verified() {
    let app = App::saying(200).await;
    let site = Site::start(&app).await;
    let by: [(&str, Signs); 2] = [
        ("evt_python", |body| python(PYTHON_SIGNS, &[body, SECRET])),
        ("evt_node", |body| node(NODE_SIGNS, &[body, SECRET])),
    ];
    for (id, signs) in by {
        let body = event(id);
        let header = tokio::task::spawn_blocking({
            let body = body.clone();
            move || signs(&body)
        });
        let header = header.await.unwrap();
        let reply = site.send(&unsigned(&body).with("Stripe-Signature", &header)).await;
        assert_eq!(reply.status, 200, "{header}");
        let other = unsigned(&event("evt_x")).with("Stripe-Signature", &header);
        assert_eq!(site.send(&other).await.status, 400);
    }
    assert_eq!(app.count(), 2);
}

#[test]
fn payonces_signatures_are_taken_by_the_real_sdks_and_by_itself() {
    let body = event("evt_payonce");
    let dir = tempfile::tempdir().unwrap();
    running::write(dir.path(), "whsec", SECRET);
    running::write(dir.path(), "event.json", &body);
    let secret = ["--secret-file", "whsec"];
    let made = running::run_in(
        dir.path(),
        &[&["webhook", "sign"], &secret[..], &["event.json"]].concat(),
        &[],
    );
    assert_eq!(made.code, Some(0), "{}", made.err);
    let header = made.out.trim();
    assert_eq!(python(PYTHON_READS, &[&body, SECRET, header]), "evt_payonce");
    assert_eq!(node(NODE_READS, &[&body, SECRET, header]), "evt_payonce");
    let verify = |header: &str| {
        let args = [&["webhook", "verify", "--signature", header], &secret[..], &["event.json"]];
        running::run_in(dir.path(), &args.concat(), &[])
    };
    let verified = verify(header);
    assert_eq!(verified.code, Some(0), "{}", verified.err);
    assert!(verified.out.contains("evt_payonce"), "{}", verified.out);
    verify("t=1,v1=00").failed(1, &["no v1 signature was made of these bytes"]);
    let old = sign(body.as_bytes(), [SECRET.as_bytes()], Clock::System.now().minus(OLD));
    verify(&old).failed(1, &["more than the tolerance"]);
}

const OLD: std::time::Duration = std::time::Duration::from_secs(400);

#[tokio::test]
async fn an_sdk_asks_again_for_what_a_webhook_closed_and_there_is_one_effect() {
    let app = App::saying(200).await;
    let site = Site::start(&app).await;
    let hook = json!({ "url": format!("http://{}/stripe", site.gate), "secret": SECRET });
    let register = Post::new("/_sandbox/webhooks", &hook.to_string());
    assert_eq!(super::send(site.sandbox.addr(), &register).await.status, 200);
    let base = format!("http://{}", site.proxy);
    let start = || SdkApp::start_at(Sdk::PythonModule, &base, "sk_test_shop_1", site.dir.path());
    let call = Call::new(
        "charges.create",
        json!({"amount": 900, "currency": "usd", "source": "tok_visa", "description": "order 7"}),
    );
    site.sandbox.set_faults(vec![Fault::new(Kind::ResetAfterEffect { clean: false }).times(4)]);
    let mut job = start();
    job.fails(&call.clone().retries(0), "APIError", 504).await;
    job.kill().await;
    let closed = "payonce_webhook_closed_total{result=\"closed\"}";
    until("the webhook closes it", || site.count(closed) == 1).await;
    // The job is run again by another process: a fresh key, the same operation.
    let mut again = start();
    let charge = again.done(&call).await;
    let effects = site.sandbox.effects();
    assert_eq!((charge["id"].as_str(), effects.len()), (Some(effects[0].object.as_str()), 1));
    assert_eq!((&charge["outcome"], &charge["amount"]), (&json!("replayed"), &json!(900)));
    again.kill().await;
}
