use super::*;
use crate::decide::agent::Sdk;
use crate::decide::policy::Policy;
use crate::policy_file;

const NOW: Timestamp = Timestamp::from_millis(1_795_392_000_000);

fn clients() -> Clients {
    Clients::shipped(Metrics::new()).unwrap()
}

fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
    fields.iter().fold(HeaderMap::new(), |mut map, (name, value)| {
        map.append(HeaderName::from_static(name), value.parse().unwrap());
        map
    })
}

fn meet(clients: &Clients, agent: &str, now: Timestamp) -> Arc<Client> {
    clients.meet(&Method::POST, &headers(&[("user-agent", agent)]), || None, now)
}

fn policy(text: &str) -> Policy {
    Policy::parse(&format!("version = 1\n{text}")).unwrap()
}

#[test]
fn the_shipped_table_is_in_order_and_knows_every_sdk() {
    let table = Releases::parse(SHIPPED).unwrap();
    for (name, sdk) in Sdk::NAMES {
        let (lines, dated) = table.count(sdk);
        assert!(lines > 0, "{name} is not in it");
        assert!(dated == 0 || dated == lines, "{name}: {dated} of {lines} have dates");
        assert!(table.newest(sdk).is_some(), "{name}");
    }
    for sdk in [Sdk::Python, Sdk::Node, Sdk::Rust] {
        assert!(table.count(sdk).1 > 50, "{sdk} has dates");
    }
}

#[test]
fn the_shipped_rules_only_report_and_name_what_is_known_to_be_bad() {
    let policy = Policy::parse(policy_file::SHIPPED).unwrap();
    assert!(!policy.clients().is_empty());
    let only_reports = |rule: &crate::decide::policy::ClientRule| {
        rule.action == crate::decide::policy::ClientAction::Report
    };
    assert!(policy.clients().iter().all(only_reports), "what is shipped changes nothing");
    let clients = clients();
    let today = crate::decide::agent::Day::of(NOW);
    for (agent, applying) in [
        ("Stripe/v1 NodeBindings/22.5.0", vec!["node-keyless-resend"]),
        ("Stripe/v1 NodeBindings/22.6.0", vec![]),
        ("Stripe/v1 PhpBindings/6.34.1", vec!["php-keyless", "php-overwritten-keys"]),
        ("Stripe/v1 PythonBindings/7.14.0", vec!["python-no-retries", "older-than-two-years"]),
        // A patch of last month for an old version is no old release.
        ("Stripe/v1 PythonBindings/7.14.1", vec!["python-no-retries"]),
        ("Stripe/v1 PythonBindings/16.1.0", vec![]),
        ("Stripe/v1 RustBindings/1.0.0-rc.10", vec!["rust-keyless"]),
        ("Stripe/v1 RubyBindings/19.5.0", vec![]),
        ("curl/8", vec![]),
    ] {
        let client = meet(&clients, agent, NOW);
        let rules = policy.clients().iter().filter(|rule| rule.applies(&client.asker(), today));
        let names: Vec<&str> = rules.map(|rule| rule.name.as_str()).collect();
        assert_eq!(names, applying, "{agent}");
    }
}

#[test]
fn a_client_is_listed_once_with_what_it_did() {
    let clients = clients();
    let policy = policy(
        "[[client]]\nname = \"old\"\nsdk = \"python\"\nolder_than = \"12 months\"\naction = \"warn\"",
    );
    let later = NOW.plus(Duration::from_mins(1));
    for (host, key, now) in [("one", None, NOW), ("two", Some("k"), later)] {
        let said = format!(r#"{{"lang":"python","lang_version":"3.11.7","uname":"Linux {host}"}}"#);
        let mut fields = vec![
            ("user-agent", "Stripe/v1 PythonBindings/7.14.0 Shop/1.2"),
            ("x-stripe-client-user-agent", said.as_str()),
        ];
        fields.extend(key.map(|key| ("idempotency-key", key)));
        clients.meet(&Method::POST, &headers(&fields), || None, now);
    }
    clients.meet(&Method::GET, &headers(&[]), || Some("jobs".to_owned()), NOW);
    let list = clients.list(&policy, later);
    let [python, unknown] = list.clients.as_slice() else { panic!("{list:?}") };
    assert_eq!((python.sdk.as_str(), python.version.as_deref()), ("python", Some("7.14.0")));
    assert_eq!((python.first_seen, python.last_seen), (NOW, later));
    assert_eq!((python.requests, python.posts, python.keyless_posts), (2, 2, 1));
    assert_eq!(python.caller.as_deref(), Some("Shop"));
    assert!(python.age_days.is_some_and(|days| days > 365), "{python:?}");
    assert_eq!(python.known, ["by default it does not retry"]);
    assert_eq!(python.rules[0].name, "old");
    assert_eq!((unknown.sdk.as_str(), unknown.caller.as_deref()), ("unknown", Some("jobs")));
    assert_eq!((unknown.requests, unknown.posts), (1, 0));
    assert!(unknown.rules.is_empty() && unknown.known.is_empty());
}

#[test]
fn clients_beyond_the_limits_are_judged_and_counted_among_the_others() {
    let clients = clients();
    let agents = (0..MOST_HEADS + 10).map(|n| format!("Stripe/v1 NodeBindings/{n}.0.0"));
    for agent in agents {
        let client = meet(&clients, &agent, NOW);
        assert_eq!(client.asker().sdk, Some(Sdk::Node));
    }
    let list = clients.list(&policy(""), NOW);
    assert_eq!(list.clients.len(), MOST_LISTED);
    let others = u64::try_from(MOST_HEADS + 10 - MOST_LISTED).unwrap();
    assert_eq!(list.other_requests, others);
    let kept = clients.0.seen.lock().unwrap().by_bytes.len();
    assert!(kept <= MOST_HEADS, "{kept}");
}

#[test]
fn a_client_is_logged_once_an_hour() {
    let client = meet(&clients(), "curl/8", NOW);
    let after = |minutes| client.may_be_logged(NOW.plus(Duration::from_mins(minutes)));
    assert_eq!(
        [after(0), after(0), after(59), after(60), after(61)],
        [true, false, false, true, false]
    );
}
