use super::*;

#[test]
fn what_stripe_calls_a_secret_is_masked_wherever_it_stands_and_its_kind_is_not() {
    for (text, shown) in [
        ("\"sk_live_4242424242424242\" is", "\"sk_live_••••••••••••••••\" is"),
        ("rk_test_51abc", "rk_test_•••••"),
        ("sk_org_live_51abc", "sk_org_live_•••••"),
        ("SK_LIVE_51ABC", "SK_LIVE_•••••"),
        ("whsec_ab/c+d=", "whsec_•••••••"),
        ("`sk_4eC39HqLyjWDarjtT1zdp7dc`", "`sk_••••••••••••••••••••••••`"),
        // An escaped line break.
        ("\"a\\nsk_live_51abc\"", "\"a\\nsk_live_•••••\""),
        ("/v1/sk_live_51abc/x y", "/v1/sk_live_••••••• y"),
        ("PAYONCE_sk_live_51abc", "PAYONCE_sk_live_•••••"),
    ] {
        assert_eq!(masked(text), shown);
        assert_eq!(without_keys(text), shown);
    }
}

#[test]
fn a_login_in_a_url_is_masked_up_to_its_last_at_sign() {
    for (text, shown) in [
        ("is \"redis://u:hunter2@h:1\" (x)", "is \"redis://•••••••••@h:1\" (x)"),
        ("redis://:p@ss@h", "redis://•••••@h"),
        ("http://token@h/a", "http://•••••@h/a"),
        ("\"redis://u:a\\\"b@h\"", "\"redis://••••••@h\""),
    ] {
        assert_eq!(masked(text), shown);
        assert_eq!(without_keys(text), shown);
    }
    assert_eq!(masked("is \"redis://u:a b@h\""), "is \"redis://•••••@h\"");
    assert_eq!(masked("is \"u:hunter2@h\""), "is \"u:•••••••@h\"");
    let form = "\"http://user:password@host:port\"";
    assert_eq!(masked(form), form);
    // Of a log line, the URL ends with its word.
    let line = "upstream=https://api.stripe.com caller=me@shop";
    assert_eq!(without_keys(line), line);
}

#[test]
fn a_word_that_nobody_would_make_up_is_masked_in_messages_and_shown_where_ids_are() {
    for secret in [
        "c2VjcmV0LW9mLXRoZS1jYW5hcnkxMjM0",
        "4nV-b_Kq0rT7xYw2Z8pLmQ9sD1fGhJkA3uEoIiRtSvX",
        "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0",
        "hunter2Hunter",
    ] {
        let shown = masked(&format!("is \"{secret}\" (from X)"));
        assert_eq!(shown, format!("is \"{}\" (from X)", "•".repeat(secret.len())));
        assert_eq!(without_keys(secret), secret);
    }
}

#[test]
fn words_that_people_write_into_settings_and_policies_are_shown() {
    for text in [
        "unknown key `modde` in the policy file (did you mean `mode`?)",
        "\"rk_lives\" is no kind of API key (did you mean \"rk_live\"?)",
        "the kinds are \"sk_live\", \"rk_test\", \"sk_org\" or \"other\"",
        "write whsec_… into /etc/payonce/payment-service-2026-11/whsec.txt",
        "/var/run/secrets/..2026_11_24_03_54_16.123456789/policy.toml",
        "it is signed with the key 0123456789ABCDEF, which policy.trusted_keys does not name",
        "\"POST /v1/payment_methods/{id}/attach\" and `metadata[order_id]`, disk_test, 99999s",
        "3c0a1b9e-6f57-4b0e-9d57-0f6b2a1c4d5e and version c860b32ab397",
        "text that stands for the API key, such as \"sk_test_payonce_placeholder\"",
        "must be visible; me@shop.example: see https://toml.io",
    ] {
        assert_eq!(masked(text), text);
        assert_eq!(without_keys(text), text);
    }
}

#[test]
fn only_what_is_a_secret_beyond_doubt_is_held_to_be_one() {
    for text in ["sk_live_4242424242424242", "a whsec_0123456789ab", "x/SK_TEST_0123456789"] {
        assert!(holds_key(text), "{text}");
    }
    for text in [
        "pk_live_4242424242424242",
        "sk_live",
        "sk_test_x",
        "sk_test_payonce_placeholder",
        "task_live_captured_payments",
        "redis://u:p@h",
    ] {
        assert!(!holds_key(text), "{text}");
    }
}

#[test]
fn a_message_says_how_a_value_without_end_begins_and_what_is_wrong_with_it() {
    let long = "a".repeat(1_000_000);
    let shown = Shown::from(format!("unknown `mode` \"{long}\": write \"observe\""));
    assert!(shown.chars().count() < 300, "{shown}");
    assert!(shown.starts_with("unknown `mode` \"aaa") && shown.ends_with(": write \"observe\""));
    let words = Shown::from("a ".repeat(500_000) + "is wrong");
    assert!(words.chars().count() <= LONGEST + 1 && words.ends_with("a is wrong"));
    // A line of a file keeps its length, for carets to stand under it.
    assert_eq!(Shown::whole(&long).len(), long.len());
}

#[test]
fn nothing_of_a_secret_comes_back_by_masking_twice_or_by_debug() {
    let once = masked("sk_live_51abc redis://u:p@h hunter2Hunter");
    assert_eq!(masked(&once), once);
    let debug = format!("{:?}", Shown::from("sk_live_51abc"));
    assert_eq!(debug, "\"sk_live_•••••\"");
}
