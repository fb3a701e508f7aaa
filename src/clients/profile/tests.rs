use proptest::prelude::*;

use super::*;

fn read(user_agent: &str, client: &str) -> Profile {
    Profile::read(user_agent.as_bytes(), client.as_bytes())
}

fn shown(profile: &Profile) -> String {
    let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let sdk = profile.sdk.map_or("-", Sdk::as_str);
    let (written, language) = (text(&profile.written), text(&profile.language));
    let (platform, app) = (text(&profile.platform), text(&profile.app));
    format!("{sdk} | {written} | {language} | {platform} | {app} | {}", text(&profile.ai_agent))
}

/// Captured on the wire from the installed SDKs (16.1.0, 7.14.1, 23.1.0), others as their sources
/// write them.
#[test]
fn every_sdk_tells_its_version_its_language_and_its_application() {
    let all = [
        read(
            "Stripe/v1 PythonBindings/16.1.0",
            r#"{"bindings_version": "16.1.0", "lang": "python", "httplib": "requests", "telemetry_id": "dd85d36fdb8fb09d1584b8c7204c7f20", "lang_version": "3.11.7", "platform": "Linux-6.18.44-x86_64-with-glibc2.36"}"#,
        ),
        read(
            "Stripe/v1 PythonBindings/16.1.0 My Shop/1.2 (https://shop.example) AIAgent/claude_code",
            r#"{"bindings_version": "16.1.0", "lang": "python", "httplib": "requests", "lang_version": "3.11.7", "platform": "Linux-6.18.44-x86_64-with-glibc2.36", "application": {"name": "My Shop", "partner_id": "pp_1", "url": "https://shop.example", "version": "1.2"}, "ai_agent": "claude_code"}"#,
        ),
        read(
            "Stripe/v1 PythonBindings/7.14.1 My Shop/1.2 (https://shop.example)",
            r#"{"bindings_version": "7.14.1", "lang": "python", "publisher": "stripe", "httplib": "requests", "lang_version": "3.11.7", "platform": "Linux-6.18.44-x86_64-with-glibc2.36", "uname": "Linux host-7 6.18.44 #1 SMP x86_64 "}"#,
        ),
        read(
            "Stripe/v1 NodeBindings/23.1.0 Mein Läden/1/1.2 (https://shop.example)",
            r#"{"bindings_version":"23.1.0","lang":"node","typescript":"false","lang_version":"v20.20.2","platform":"linux%206.18.44%20x64","httplib":"node","application":{"name":"Mein Läden/1","version":"1.2","url":"https://shop.example"}}"#,
        ),
        read("Stripe/v1 NodeBindings/23.1.0 Läden/1.2 (https://shop.example)", ""),
        read(
            "Stripe/v1 GoBindings/86.2.0",
            r#"{"application":null,"bindings_version":"86.2.0","lang":"go","lang_version":"go1.25.1","publisher":"stripe","uname":"Linux host-7 6.18.44"}"#,
        ),
        read(
            "Stripe/v1 RubyBindings/19.5.0 MyAwesomePlugin/1.2.34",
            r#"{"application":{"name":"MyAwesomePlugin","version":"1.2.34"},"bindings_version":"19.5.0","lang":"ruby","lang_version":"3.4.5 p51 (2025-07-16)","platform":"x86_64-linux","engine":"ruby","publisher":"stripe","uname":"Linux host-7","hostname":"host-7"}"#,
        ),
        read(
            "Stripe/v1 PhpBindings/21.0.0",
            r#"{"bindings_version":"21.0.0","lang":"php","lang_version":"8.4.1","publisher":"stripe","uname":"Linux host-7","httplib":"curl 8.14.1"}"#,
        ),
        read(
            "Stripe/v1 JavaBindings/29.1-beta",
            r#"{"bindings.version":"29.1-beta","lang":"Java","publisher":"Stripe","java.version":"21.0.8","os.name":"Linux","os.version":"6.18","application":"{\"name\":\"MyAwesomePlugin\",\"version\":\"1.2.34\"}"}"#,
        ),
        read(
            "Stripe/V1 .NetBindings/52.2.0",
            r#"{"bindings_version":"52.2.0","lang":".net","publisher":"stripe","lang_version":".NET 9.0.8","os_version":"Linux 6.18"}"#,
        ),
        read("Stripe/v1 RustBindings/1.0.0-rc.6 shop", ""),
        read("", r#"{"bindings_version":"23.1.0","lang":"node"}"#),
        read(
            "WooCommerce Stripe Gateway/9.1 (https://woocommerce.com/products/stripe/)",
            r#"{"lang":"php","lang_version":"8.3.1","publisher":"woocommerce","application":{"name":"WooCommerce Stripe Gateway","version":"9.1"}}"#,
        ),
        read("curl/8.14.1", ""),
        read("", ""),
    ];
    insta::assert_snapshot!(all.map(|profile| shown(&profile)).join("\n"), @r"
    python | 16.1.0 | 3.11.7 | Linux-6.18.44-x86_64-with-glibc2.36 | - | -
    python | 16.1.0 | 3.11.7 | Linux-6.18.44-x86_64-with-glibc2.36 | My Shop/1.2 | claude_code
    python | 7.14.1 | 3.11.7 | Linux-6.18.44-x86_64-with-glibc2.36 | My Shop/1.2 | -
    node | 23.1.0 | v20.20.2 | linux 6.18.44 x64 | Mein Läden/1/1.2 | -
    node | 23.1.0 | - | - | Läden/1.2 | -
    go | 86.2.0 | go1.25.1 | - | - | -
    ruby | 19.5.0 | 3.4.5 p51 (2025-07-16) | x86_64-linux | MyAwesomePlugin/1.2.34 | -
    php | 21.0.0 | 8.4.1 | - | - | -
    java | 29.1-beta | 21.0.8 | Linux 6.18 | MyAwesomePlugin/1.2.34 | -
    dotnet | 52.2.0 | .NET 9.0.8 | Linux 6.18 | - | -
    rust | 1.0.0-rc.6 | - | - | shop | -
    node | 23.1.0 | - | - | - | -
    - | - | 8.3.1 | - | WooCommerce Stripe Gateway/9.1 | -
    - | - | - | - | curl/8.14.1 | -
    - | - | - | - | - | -
    ");
}

#[test]
fn nothing_that_names_a_machine_is_kept() {
    let profile = read(
        "Stripe/v1 RubyBindings/19.5.0",
        r#"{"lang":"ruby","uname":"Linux host-7","hostname":"host-7","telemetry_id":"host-7"}"#,
    );
    assert!(!format!("{profile:?}").contains("host-7"), "{profile:?}");
}

#[test]
fn what_is_not_json_or_too_long_says_nothing() {
    let long = format!("{{\"lang_version\":\"3\",\"x\":\"{}\"}}", "x".repeat(MOST_BYTES));
    for json in ["[1]", "{\"lang_version\":3}", "{", "\u{0}", &long] {
        let profile = read("Stripe/v1 PythonBindings/16.1.0", json);
        assert_eq!((profile.sdk, profile.language), (Some(Sdk::Python), None), "{json}");
    }
}

#[test]
fn a_terminal_gets_no_control_characters_and_no_long_lines() {
    let profile = read(&format!("\u{1b}[2Jevil{}", "x".repeat(9_000)), "");
    let app = profile.app.unwrap();
    assert!(app.starts_with("?[2Jevil") && app.chars().count() == LONGEST, "{app}");
}

proptest! {
    #[test]
    fn any_bytes_make_a_profile(agent: Vec<u8>, client: Vec<u8>) {
        let named = [b"Stripe/v1 NodeBindings/".as_slice(), &agent].concat();
        let profile = Profile::read(&named, &client);
        prop_assert!(agent.contains(&b' ') || profile.sdk == Some(Sdk::Node));
        prop_assert!(profile.app.as_ref().is_none_or(|app| app.chars().count() <= LONGEST));
        let _any = Profile::read(&agent, &client);
    }

    #[test]
    fn any_members_make_a_profile(lang in "[a-zA-Z.]{0,8}", value in ".{0,80}", app in ".{0,80}") {
        let json = serde_json::json!({
            "lang": lang, "lang_version": value, "bindings_version": value, "platform": value,
            "application": {"name": app, "version": value},
        });
        let profile = Profile::read(b"", json.to_string().as_bytes());
        prop_assert!(profile.sdk == Sdk::of_language(&lang) || value.trim().is_empty());
    }
}
