//! Who asks, for people: in the order in which it is most likely meant.
//!
//! `Payonce-Caller`; what the application told its SDK about itself (FACTS §1.8: a suffix
//! ` App/1.2 (url)` of the `User-Agent`, or `application` in `X-Stripe-Client-User-Agent`); the name
//! that the settings give to this payonce's callers. A name and no version, so that reports do not
//! fall apart at each release.

use http::HeaderMap;
use http::header::USER_AGENT;
use percent_encoding::percent_decode_str;

use crate::decide::key;

/// In characters.
const LONGEST: usize = 64;
/// No SDK's is nearly as long, in bytes.
const LONGEST_AGENT: usize = 8 * 1024;

/// Who asks, as `headers` say; else `listener`, the name from the settings.
pub(crate) fn caller(headers: &HeaderMap, listener: Option<&str>) -> Option<String> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    text("payonce-caller")
        .and_then(plain)
        .or_else(|| app_of_agent(text(USER_AGENT.as_str())?))
        .or_else(|| app_of_client(text("x-stripe-client-user-agent")?))
        .or_else(|| listener.map(ToOwned::to_owned))
}

/// `Stripe/v1 PythonBindings/16.1.0 payments-worker/1.2 (url) AIAgent/x`: what follows the SDK.
fn app_of_agent(agent: &str) -> Option<String> {
    key::sdk_named(agent)?;
    let suffix = agent.splitn(3, ' ').nth(2)?;
    let app = suffix.split("AIAgent/").next().unwrap_or_default();
    name(app)
}

/// `{"application": {"name": "payments-worker", …}}`, or a text of the same form as above.
fn app_of_client(client: &str) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Client {
        application: Application,
    }
    #[derive(serde::Deserialize)]
    #[serde(untagged)]
    enum Application {
        Parts { name: String },
        Text(String),
    }
    let client: Client =
        serde_json::from_str(client).ok().filter(|_| client.len() <= LONGEST_AGENT)?;
    let (Application::Parts { name: app } | Application::Text(app)) = client.application;
    // Node percent-encodes values.
    name(&percent_decode_str(&app).decode_utf8_lossy())
}

fn name(app: &str) -> Option<String> {
    let bare = app.split(" (").next().unwrap_or_default();
    plain(bare.split('/').next().unwrap_or_default())
}

fn plain(text: &str) -> Option<String> {
    let text: String = text.trim().chars().filter(|c| !c.is_control()).take(LONGEST).collect();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PYTHON: &str = "Stripe/v1 PythonBindings/16.1.0";

    fn of(headers: &[(&'static str, &str)], listener: Option<&str>) -> Option<String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        caller(&map, listener)
    }

    #[test]
    fn the_header_comes_before_the_sdk_and_the_sdk_before_the_settings() {
        let agent = format!("{PYTHON} shop-web/1.2 (https://shop.test)");
        let all = [("payonce-caller", "payments-worker"), ("user-agent", agent.as_str())];
        assert_eq!(of(&all, Some("here")).as_deref(), Some("payments-worker"));
        assert_eq!(of(&all[1..], Some("here")).as_deref(), Some("shop-web"));
        assert_eq!(of(&[("user-agent", PYTHON)], Some("here")).as_deref(), Some("here"));
        assert_eq!(of(&[], None), None);
    }

    #[test]
    fn an_agent_of_an_sdk_alone_names_no_caller() {
        for agent in [PYTHON.to_owned(), format!("{PYTHON} AIAgent/helper"), "curl/8 x/1".into()] {
            assert_eq!(of(&[("user-agent", &agent)], None), None, "{agent}");
        }
        let both = format!("{PYTHON} shop web (https://shop.test) AIAgent/helper");
        assert_eq!(of(&[("user-agent", &both)], None).as_deref(), Some("shop web"));
    }

    #[test]
    fn the_client_header_names_the_application_as_each_sdk_writes_it() {
        for client in [
            r#"{"lang":"python","application":{"name":"shop web","version":"1"}}"#,
            r#"{"lang":"node","application":{"name":"shop%20web"}}"#,
            r#"{"lang":"go","application":"shop web/1.2 (https://shop.test)"}"#,
        ] {
            let named = of(&[("x-stripe-client-user-agent", client)], None);
            assert_eq!(named.as_deref(), Some("shop web"), "{client}");
        }
        let none = [("x-stripe-client-user-agent", r#"{"lang":"go"}"#)];
        assert_eq!(of(&none, None), None);
    }
}
