use super::*;

fn facts(api_key: &str) -> Facts<'_> {
    Facts { api_key: Some(api_key.as_bytes()), ..Facts::default() }
}

#[test]
fn an_api_key_is_told_by_what_it_begins_with() {
    for (key, kind) in [
        ("sk_live_51abc", ApiKeyKind::SkLive),
        ("rk_test_51abc", ApiKeyKind::RkTest),
        ("sk_org_live_1", ApiKeyKind::SkOrg),
        ("pk_live_51abc", ApiKeyKind::PkLive),
        ("ek_test_YWNj", ApiKeyKind::EkTest),
        ("sk_livelihood", ApiKeyKind::Other),
        ("SK_LIVE_51abc", ApiKeyKind::Other),
        ("", ApiKeyKind::Other),
        ("eyJhbGciOi", ApiKeyKind::Other),
    ] {
        assert_eq!(kind_of(Some(key.as_bytes())), kind, "{key}");
    }
    assert_eq!(kind_of(None), ApiKeyKind::None);
}

#[test]
fn a_list_of_kinds_is_closed_and_no_list_is_open() {
    let open = Guard::default();
    let kinds = vec![ApiKeyKind::RkLive, ApiKeyKind::Other];
    let closed = Guard { api_keys: Some((kinds, Action::Refuse)), ..Guard::default() };
    for key in [None, Some("rk_live_1"), Some("sk_live_1"), Some("token")] {
        let facts = Facts { api_key: key.map(str::as_bytes), ..Facts::default() };
        assert_eq!(findings(&open, &facts), [], "{key:?}");
        let kept_out = matches!(key, None | Some("sk_live_1"));
        assert_eq!(findings(&closed, &facts).len(), usize::from(kept_out), "{key:?}");
    }
}

#[test]
fn a_key_of_the_other_environment_is_found_and_one_that_does_not_say_is_not() {
    for (wanted, key, wrong) in [
        (Environment::Test, "sk_live_1", true),
        (Environment::Test, "sk_org_live_1", true),
        (Environment::Test, "rk_test_1", false),
        (Environment::Live, "sk_test_1", true),
        (Environment::Live, "sk_live_1", false),
        (Environment::Live, "sk_org_1", false),
        (Environment::Live, "token", false),
    ] {
        let guard = Guard { environment: Some((wanted, Action::Warn)), ..Guard::default() };
        let found = findings(&guard, &facts(key));
        assert_eq!(found.len(), usize::from(wrong), "{wanted} {key}");
        assert!(found.iter().all(|(_, action)| *action == Action::Warn));
    }
}

#[test]
fn own_keys_are_looked_at_without_being_asked_for_and_what_is_off_is_not_found() {
    let own_key = Some("jane@example.com 4242424242424242");
    let facts = Facts { own_key, reused: true, ..Facts::default() };
    let kinds: Vec<_> = findings(&Guard::default(), &facts).iter().map(|it| it.0.kind()).collect();
    assert_eq!(kinds, ["key_with_email", "key_with_card", "key_reused"]);
    let off = Guard {
        key_with_email: Action::Off,
        key_with_card: Action::Off,
        key_weak: Action::Off,
        key_reused: Action::Off,
        ..Guard::default()
    };
    assert_eq!(findings(&off, &facts), []);
    assert_eq!(findings(&off, &Facts { own_key: Some("a"), ..Facts::default() }), []);
}
