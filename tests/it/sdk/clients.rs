//! What real SDKs say of themselves, and what `payonce clients` makes of it.

use payonce::clients::list::List;
use serde_json::json;

use super::app::{App, Call, Sdk};
use super::world::World;

#[tokio::test]
async fn real_sdks_are_listed_by_name_version_age_and_language() {
    let world = World::start().await;
    for sdk in [Sdk::PythonModule, Sdk::Python7, Sdk::Node] {
        let mut app = App::start(sdk, &world);
        let charge = json!({"amount": 900, "currency": "usd", "source": "tok_visa"});
        app.done(&Call::new("charges.create", charge)).await;
        app.kill().await;
    }
    let printed = world.payonce.prints(&["clients", "--json"]).await;
    let list: List = serde_json::from_str(&printed).unwrap_or_else(|e| panic!("{e}: {printed}"));
    let found = |sdk: &str, version: &str| {
        let found = list.clients.iter().find(|seen| {
            seen.sdk == sdk && seen.version.as_deref().is_some_and(|it| it.starts_with(version))
        });
        found.unwrap_or_else(|| panic!("no {sdk} {version} in {printed}"))
    };
    let (new, old, node) = (found("python", "16."), found("python", "7."), found("node", "23."));
    for seen in [new, old, node] {
        assert!(seen.released.starts_with("20"), "{seen:?}");
        assert!(seen.language.is_some() && seen.platform.is_some(), "{seen:?}");
        assert_eq!((seen.requests, seen.posts), (1, 1), "{seen:?}");
    }
    assert_eq!((new.keyless_posts, node.keyless_posts), (0, 0));
    assert_eq!(old.known, ["by default it does not retry"]);
    let rules: Vec<&str> = old.rules.iter().map(|rule| rule.name.as_str()).collect();
    assert_eq!(rules, ["python-no-retries"]);
    assert!(new.rules.is_empty() && node.rules.is_empty(), "{printed}");
    let text = world.payonce.prints(&["clients"]).await;
    assert!(text.contains("policy: report by python-no-retries"), "{text}");
}
