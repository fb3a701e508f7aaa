//! A person's word on operations for whose keys Stripe saved an error 500: it is no word about the
//! payment, and `declined` gives their key up.

use std::sync::Arc;

use serde_json::json;

use super::super::running::{CHARGE, Running, effects, fault, post};
use super::{found, id, ids, is_known_as, ops, said};

const BY: [&str; 4] = ["--by", "ann", "--why", "looked for the payment"];

/// A charge that happened, and of which Stripe says nothing but a saved error 500: the second
/// attempt shows that it is saved.
fn saved(payonce: &Running, key: &str) -> String {
    fault(payonce.sandbox(), &json!({ "kind": "saved500", "effect": "after" }));
    let answer = post(payonce.proxy(), "/v1/charges", &[("Payonce-Operation", key)], CHARGE);
    assert_eq!(answer.status, 500, "{}", answer.body);
    let id = id(&answer);
    is_known_as(payonce.admin(), &id, "in_doubt");
    id
}

fn payonce() -> Running {
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let env = [("PAYONCE_RETRY__MAX_ATTEMPTS", "2")];
    Running::serve_in(directory, &["--sandbox"], &env)
}

#[test]
fn declined_is_not_taken_for_it_unless_the_next_key_is_meant() {
    let payonce = payonce();
    let admin = payonce.admin();
    let id = saved(&payonce, "order-1");
    assert!(said(admin, &["list"]).contains("in_doubt (saved 500)"));
    assert!(found(admin, &["show", &id])["advice"].as_str().unwrap().contains("pays twice"));

    let declined = [&["resolve", &id[..8], "--as", "declined"][..], &BY].concat();
    ops(admin, &declined).failed(1, &["nothing was changed", "pays twice", "--next-key"]);
    assert_eq!(ids(admin, &["--state", "in_doubt"]), [id.as_str()]);
    // Whoever follows that advice finds the payment, and nobody is charged again.
    said(admin, &[&["resolve", &id[..8], "--as", "succeeded"][..], &BY].concat());
    let again = post(payonce.proxy(), "/v1/charges", &[("Payonce-Operation", "order-1")], CHARGE);
    assert!(again.status >= 400, "{}", again.body);
    assert_eq!(effects(payonce.sandbox()), 1);

    let other = saved(&payonce, "order-2");
    let sure = [&["resolve", &other, "--as", "declined", "--next-key"][..], &BY].concat();
    said(admin, &sure);
    let next = post(payonce.proxy(), "/v1/charges", &[("Payonce-Operation", "order-2")], CHARGE);
    assert_eq!(next.status, 200, "{}", next.body);
    assert_eq!(effects(payonce.sandbox()), 3, "the word was wrong, and this is what it cost");
}

#[test]
fn a_word_on_many_leaves_them_alone_and_with_the_next_key_means_them_only() {
    let payonce = payonce();
    let admin = payonce.admin();
    let saved = saved(&payonce, "order-1");
    let plain = super::doubtful(&payonce, 2, &[("Payonce-Operation", "order-2")], CHARGE);
    let bulk = |line: &[&'static str]| {
        [&["resolve", "--rule", "charges", "--as", "declined"][..], line, &BY].concat()
    };
    let shown = ops(admin, &bulk(&[]));
    shown.failed(1, &["1 operations would be resolved", "1 more are left alone", "pays twice"]);
    assert!(shown.out.contains(&plain) && !shown.out.contains(&saved), "{}", shown.out);
    let next = ops(admin, &bulk(&["--next-key"]));
    next.failed(1, &["1 operations would be resolved", "ANOTHER key", "pays twice"]);
    assert!(next.out.contains(&saved) && !next.out.contains(&plain), "{}", next.out);

    let done = ops(admin, &bulk(&["--yes"]));
    done.failed(1, &["1 of them were not resolved"]);
    assert!(done.out.contains("1 resolved") && done.out.contains("1 left alone"), "{}", done.out);
    assert_eq!(ids(admin, &["--state", "in_doubt"]), [saved.as_str()]);
    assert!(said(admin, &bulk(&["--next-key", "--yes"])).contains("1 resolved"));
    assert!(ids(admin, &["--open"]).is_empty());
}
