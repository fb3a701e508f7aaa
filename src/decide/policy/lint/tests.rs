//! Every kind of finding, once as it is told, and what keeps silent where it should.

use super::super::code::Severity;
use super::*;

const SHIPPED: &str = include_str!("../../../../config/policy.toml");

const SHARED: Store = Store { one_for_all: true, survives: true, secret: true };

fn found(text: &str, store: Option<Store>) -> Vec<Problem> {
    match Policy::parse(text) {
        Ok(policy) => findings(text, &policy, store),
        Err(problems) => problems,
    }
}

/// A policy of one rule for these operations, with these lines in it.
fn rule(matched: &str, lines: &str) -> String {
    format!("version = 1\n[[rule]]\nname = \"a\"\nmatch = [{matched}]\n{lines}\n")
}

fn critical(matched: &str, lines: &str) -> String {
    rule(matched, &format!("class = \"critical\"\n{lines}"))
}

fn codes(text: &str) -> Vec<&'static str> {
    found(text, Some(SHARED)).iter().map(|problem| problem.code.as_str()).collect()
}

/// A policy, and the store that it is checked with.
type Case = (Code, String, Option<Store>);

/// One policy for each kind of finding, in the order of the codes.
fn cases() -> Vec<Case> {
    let case = |code, text| (code, text, None);
    let content =
        |matched, lines: &str| critical(matched, &format!("identity = \"content\"\n{lines}"));
    let fields = |matched, fields: &str| {
        critical(matched, &format!("identity = [{fields}]\notherwise = \"call\""))
    };
    let charge = "\"POST /v1/charges\"";
    vec![
        case(Code::NotToml, "version = 1\nmode = enforce\n".to_owned()),
        case(Code::UnknownKey, critical(charge, "identty = \"call\"")),
        case(Code::MissingKey, rule(charge, "")),
        case(Code::WrongType, rule("1", "class = \"critical\"")),
        case(Code::UnknownValue, rule(charge, "class = \"critcal\"")),
        case(Code::Invalid, critical("\"POST v1/charges\"", "")),
        case(Code::NoEffect, critical(charge, "merge = \"twins\"")),
        case(
            Code::ShadowedRule,
            critical(
                "\"POST /v1/**\"",
                "[[rule]]\nname = \"b\"\nmatch = [\"POST /v1/charges\"]\nclass = \"pass\"",
            ),
        ),
        case(Code::KeylessMethod, critical("\"GET /v1/charges\"", "")),
        case(Code::MissingDistinguishes, content(charge, "")),
        case(
            Code::WindowBeyondRetention,
            content(
                charge,
                "distinguishes = [\"customer\"]\nmerge = \"twins\"\nrepeat_window = \"30h\"",
            ),
        ),
        case(
            Code::FailingTest,
            critical(
                charge,
                "[[test]]\nrequest = \"POST /v1/charges\"\nexpect = { class = \"pass\" }",
            ),
        ),
        (
            Code::OneStoreNeeded,
            content(charge, "distinguishes = [\"customer\"]"),
            Some(Store { one_for_all: false, survives: true, secret: true }),
        ),
        (
            Code::SecretNeeded,
            format!("version = 1\n[[scope]]\nname = \"a\"\nkeys = [\"{}\"]\n", "0a".repeat(32)),
            Some(Store { one_for_all: true, survives: true, secret: false }),
        ),
        case(
            Code::SecretInPolicy,
            critical(charge, "allow = [\"next-on-money: see sk_live_4242424242424242\"]"),
        ),
        case(Code::UnknownOperation, critical("\"POST /v1/chages\"", "")),
        case(
            Code::NothingLeft,
            critical(
                charge,
                "[[rule]]\nname = \"b\"\nmatch = [\"POST /v1/{x}\"]\nclass = \"refuse\"\n\
                 [[rule]]\nname = \"c\"\nmatch = [\"POST /{v}/payouts\"]\nclass = \"critical\"",
            ),
        ),
        case(Code::UnknownField, content(charge, "distinguishes = [\"custmer\"]")),
        case(
            Code::FieldMissingOnOperation,
            content(
                "\"POST /v1/refunds\", \"POST /v1/payouts\", \"POST /v1/topups\"",
                "distinguishes = [\"charge\", \"destination\"]",
            ),
        ),
        case(
            Code::RefusedAlways,
            critical(
                "\"POST /v1/charges\", \"POST /v1/payment_intents/{intent}/cancel\"",
                "identity = [\"metadata[order_id]\"]\notherwise = \"refuse\"",
            ),
        ),
        case(Code::FieldWithoutValue, fields(charge, "\"metadata\", \"transfer_group\"")),
        case(Code::IdentityTooWide, fields(charge, "\"customer\", \"amount\"")),
        case(
            Code::WeakDistinguishingField,
            content(charge, "distinguishes = [\"customer\", \"metadata[*]\"]"),
        ),
        case(
            Code::TwinsOnBatch,
            content("\"POST /v1/payouts\"", "distinguishes = [\"destination\"]\nmerge = \"twins\""),
        ),
        case(
            Code::LongRepeatWindow,
            content(
                charge,
                "distinguishes = [\"customer\"]\nmerge = \"twins\"\nrepeat_window = \"1h\"",
            ),
        ),
        case(
            Code::RecognisedUpdate,
            content("\"POST /v1/customers/{customer}\"", "distinguishes = [\"email\"]"),
        ),
        case(Code::NextOnMoney, critical(charge, "indeterminate = \"next\"")),
        case(
            Code::MoneyPassed,
            rule("\"POST /v1/charges/**\", \"POST /v1/refunds/{id}\"", "class = \"pass\""),
        ),
        case(Code::ObserveMode, "version = 1\nmode = \"observe\"\n".to_owned()),
        case(
            Code::DefaultWritesPass,
            format!("default_writes = \"pass\"\n{}", critical("\"POST /v1/**\"", "")),
        ),
        case(
            Code::StoreDownIgnored,
            content(
                "\"POST /v2/core/accounts\"",
                "distinguishes = [\"contact_email\"]\nstore_down = \"derive\"",
            ),
        ),
        (
            Code::StoreForgets,
            content("\"POST /v2/core/accounts\"", "distinguishes = [\"contact_email\"]"),
            Some(Store { one_for_all: true, survives: false, secret: true }),
        ),
        case(Code::FinishIgnored, critical(charge, "finish = \"30m\"")),
        case(
            Code::FinishIgnored,
            critical(
                "\"POST /v2/core/accounts\"",
                "identity = [\"contact_email\"]\notherwise = \"refuse\"\nfinish = \"5m\"",
            ),
        ),
        case(
            Code::DuplicateTest,
            critical(
                charge,
                &"[[test]]\nrequest = \"POST /v1/charges\"\nexpect = { rule = \"a\" }\n".repeat(2),
            ),
        ),
        case(
            Code::TestOfUnknownOperation,
            critical(
                "\"POST /v1/**\"",
                "[[test]]\nrequest = \"POST /v1/chages\"\nexpect = { rule = \"a\" }",
            ),
        ),
        case(Code::UnusedAllow, critical(charge, "allow = [\"twins-on-bach: never two\"]")),
    ]
}

/// `mode` of a rule is read from its table, so that it is told whether or not this payonce has it.
fn has_mode_of_a_rule() -> Option<Case> {
    let text = critical("\"POST /v1/charges\"", "mode = \"observe\"");
    Policy::parse(&text).is_ok().then_some((Code::MoneyObserved, text, None))
}

#[test]
fn every_kind_of_finding_is_told_with_what_it_costs_and_how_to_mend_it() {
    let mut told = Vec::new();
    for (code, text, store) in cases() {
        let found = found(&text, store);
        let these: Vec<String> =
            found.iter().filter(|problem| problem.code == code).map(Problem::told).collect();
        assert!(!these.is_empty(), "no {code} in\n{text}\nbut {found:#?}");
        assert_eq!(these.len(), found.len(), "more than {code}: {found:#?}");
        told.extend(these);
    }
    insta::assert_snapshot!(told.join("\n\n"));
}

#[test]
fn there_is_a_case_for_every_code() {
    let mut tried: Vec<Code> = cases().into_iter().map(|(code, _, _)| code).collect();
    tried.extend(has_mode_of_a_rule().map(|(code, _, _)| code).or(Some(Code::MoneyObserved)));
    for code in Code::ALL {
        assert!(tried.contains(&code), "{code}");
        assert_eq!(Code::named(code.as_str()), Some(code));
        assert!(code.why().len() > 20 && !code.why().ends_with('.'), "{code}");
    }
    assert!(Code::ALL.is_sorted_by_key(|code| std::cmp::Reverse(code.severity())));
}

#[test]
fn a_rule_that_only_observes_money_is_told() {
    let Some((code, text, store)) = has_mode_of_a_rule() else { return };
    let found = found(&text, store);
    assert_eq!(found.iter().map(|problem| problem.code).collect::<Vec<_>>(), [code]);
}

#[test]
fn the_shipped_policy_has_no_warning_that_it_does_not_accept() {
    let found = found(SHIPPED, Some(SHARED));
    let open: Vec<String> =
        found.iter().filter(|finding| finding.accepted.is_none()).map(Problem::told).collect();
    assert!(open.is_empty(), "{}", open.join("\n\n"));
}

#[test]
fn the_shipped_policy_wants_one_store_for_all_processes() {
    let found = found(SHIPPED, Some(Store { one_for_all: false, survives: true, secret: true }));
    let errors: Vec<&Problem> = found.iter().filter(|finding| finding.is_error()).collect();
    assert_eq!(errors.len(), 1);
    assert!(errors[0].what.contains("rule `charges`"), "{}", errors[0].what);
    assert!(errors[0].what.contains("and so do 22 more rules"), "{}", errors[0].what);
}

mod accepting {
    use super::*;

    fn twins(allow: &str) -> Vec<Problem> {
        let lines = "identity = \"content\"\ndistinguishes = [\"destination\", \"nix\", \"nox\"]\n\
                     merge = \"twins\"\n";
        let text = critical("\"POST /v1/payouts\"", &format!("{lines}{allow}"));
        found(&text, Some(SHARED))
    }

    #[test]
    fn a_rule_accepts_a_warning_by_its_code_and_tells_why() {
        let found = twins("allow = [\"twins-on-batch: one payout a day: never two\"]");
        let accepted: Vec<_> =
            found.iter().filter_map(|finding| finding.accepted.as_deref()).collect();
        assert_eq!(accepted, ["one payout a day: never two"]);
        assert_eq!(found.len(), 3, "{found:#?}");
    }

    #[test]
    fn a_field_is_accepted_alone_and_another_one_still_warned_of() {
        let found = twins("allow = [\"unknown-field nix: Stripe has it since May\"]");
        let open: Vec<_> =
            found.iter().filter(|it| it.is_open_warning()).map(|it| &it.what).collect();
        assert_eq!(open.len(), 2, "{found:#?}");
        assert!(open.iter().any(|what| what.contains("`nox`")), "{open:?}");
    }

    #[test]
    fn what_accepts_nothing_is_warned_of_itself() {
        for allow in
            ["twins-on-bach: x", "next-on-money: x", "shadowed-rule: x", "unknown-field a: x"]
        {
            let found = twins(&format!("allow = [\"{allow}\"]"));
            let unused = found.iter().filter(|finding| finding.code == Code::UnusedAllow);
            assert_eq!(unused.count(), 1, "{found:#?}");
            assert_eq!(found.len(), 4, "{found:#?}");
        }
    }

    #[test]
    fn a_warning_of_no_rule_is_accepted_before_all_rules() {
        let text = "version = 1\nmode = \"observe\"\nallow = [\"observe-mode: until May\"]\n";
        assert!(found(text, None).iter().all(|finding| finding.accepted.is_some()));
    }

    #[test]
    fn an_acceptance_without_a_reason_is_an_error() {
        for allow in ["\"twins-on-batch\"", "\"twins-on-batch: \"", "\": why\"", "7"] {
            let found = twins(&format!("allow = [{allow}]"));
            assert!(found.iter().all(Problem::is_error) && found.len() == 1, "{found:#?}");
        }
        let error = found("version = 1\nallow = [\"x\"]\n", None);
        assert_eq!(error[0].code.severity(), Severity::Error);
    }
}

mod keeping_silent {
    use super::*;

    #[test]
    fn a_field_is_no_mistake_where_the_operation_may_be_unknown_to_this_table() {
        // Neither the SDK nor its types know these paths.
        let lines = "identity = \"content\"\ndistinguishes = [\"anything\"]";
        assert_eq!(codes(&critical("\"POST /v1/terminal/refunds\"", lines)), [""; 0]);
        let both = "\"POST /v1/refunds\", \"POST /v1/terminal/refunds\"";
        assert_eq!(codes(&critical(both, lines)), ["field-missing-on-operation"]);
    }

    #[test]
    fn an_amount_tells_apart_where_the_path_names_what_is_refunded() {
        let lines = "identity = \"content\"\ndistinguishes = [\"amount\"]";
        let by_path = "\"POST /v1/transfers/{id}/reversals\"";
        assert_eq!(codes(&critical(by_path, lines)), [""; 0]);
        let by_body = "\"POST /v1/transfers\"";
        assert_eq!(codes(&critical(by_body, lines)), ["weak-distinguishing-field"]);
    }

    #[test]
    fn two_minutes_are_no_long_window() {
        let lines = "identity = \"content\"\ndistinguishes = [\"customer\"]\nmerge = \"twins\"\n\
                     repeat_window = \"2m\"";
        assert_eq!(codes(&critical("\"POST /v1/charges\"", lines)), [""; 0]);
    }

    #[test]
    fn what_passes_without_moving_money_is_nobodys_matter() {
        let reads = "\"GET /**\", \"HEAD /v1/**\", \"DELETE /v1/**\", \"POST /v1/files\"";
        assert_eq!(codes(&rule(reads, "class = \"pass\"")), [""; 0]);
        assert_eq!(codes(&rule("\"POST /v1/charges\"", "class = \"refuse\"")), [""; 0]);
    }

    #[test]
    fn an_order_number_beside_the_payer_is_narrow_enough() {
        let lines = "identity = [\"customer\", \"metadata[order_id]\"]\notherwise = \"call\"";
        assert_eq!(codes(&critical("\"POST /v1/charges\"", lines)), [""; 0]);
    }

    #[test]
    fn a_field_of_the_query_is_not_judged() {
        let lines = "identity = [\"?order\"]\notherwise = \"call\"";
        assert_eq!(codes(&critical("\"POST /v1/charges\"", lines)), [""; 0]);
    }
}
