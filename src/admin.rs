//! For people and platforms: the admin port and the health port.
//!
//! The admin port serves `payonce ops`: it lists what is open, finds operations and takes a person's
//! word for an outcome. It listens on loopback, asks for a bearer token ([`token`]) and takes only requests for
//! a loopback host, so that a page in a browser on the same machine cannot reach it by a name of
//! its own (DNS rebinding). The health port answers probes and scrapes, read-only. What both say is
//! decided elsewhere, behind [`Operations`] and [`Health`].

pub mod bulk;
pub mod health;
mod http1;
pub mod judge;
pub mod operations;
mod routes;
pub mod search;
pub mod token;

use std::future::Future;
use std::sync::Arc;

use http::{HeaderMap, Request, StatusCode, header};
use hyper::body::Incoming;
use subtle::ConstantTimeEq;
use tokio::net::TcpListener;

use crate::settings::Secret;
pub use health::{Health, Readiness};
pub use http1::Answer;
pub use operations::{Detail, Moment, Operations, OpsError, Resolution, Resolved, State, Summary};
pub use routes::Outcome;
pub(crate) use routes::{List, Resolve, UNKNOWN};

/// Connections to the admin port at a time.
const MOST_CONNECTIONS: usize = 16;

/// Serves the admin port on `listener` until `until` is done; connections still open then are
/// closed once their request is answered.
pub async fn serve<O: Operations>(
    listener: TcpListener,
    operations: O,
    token: Secret,
    until: impl Future<Output = ()> + Send,
) {
    let token = Arc::new(token);
    let handle = move |request| answer(operations.clone(), Arc::clone(&token), request);
    http1::serve(listener, MOST_CONNECTIONS, handle, until).await;
}

async fn answer<O: Operations>(
    operations: O,
    token: Arc<Secret>,
    request: Request<Incoming>,
) -> Answer {
    if !is_for_loopback(request.headers()) {
        let why = "ask for this port as 127.0.0.1, [::1] or localhost";
        return http1::error(StatusCode::MISDIRECTED_REQUEST, "wrong_host", why);
    }
    if !is_allowed(request.headers(), &token) {
        let why = "show the admin token: `Authorization: Bearer …`";
        let mut answer = http1::error(StatusCode::UNAUTHORIZED, "token", why);
        let bearer = header::HeaderValue::from_static("Bearer");
        answer.headers_mut().insert(header::WWW_AUTHENTICATE, bearer);
        return answer;
    }
    routes::answer(&operations, request).await
}

/// Whether the one `Host` is a loopback address or `localhost`, with or without a port.
fn is_for_loopback(headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
    let Ok(authority) = http::uri::Authority::try_from(host.as_bytes()) else { return false };
    let name = authority.host().trim_start_matches('[').trim_end_matches(']');
    let address = name.parse::<std::net::IpAddr>();
    name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

fn is_allowed(headers: &HeaderMap, token: &Secret) -> bool {
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(given), None) = (given.next(), given.next()) else { return false };
    let given = given.as_bytes().strip_prefix(b"Bearer ").unwrap_or_default();
    // Takes as long for a wrong token as for the right one; how long a token is, is no secret.
    !token.is_empty() && bool::from(given.ct_eq(token.expose()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let field =
            |(name, value): &(&'static str, &str)| (name.parse().unwrap(), value.parse().unwrap());
        fields.iter().map(field).fold(HeaderMap::new(), |mut all, (name, value)| {
            all.append::<http::HeaderName>(name, value);
            all
        })
    }

    #[test]
    fn only_a_loopback_host_is_served() {
        for host in ["localhost", "LocalHost:8421", "127.0.0.1:8421", "127.9.9.9", "[::1]:8421"] {
            assert!(is_for_loopback(&headers(&[("host", host)])), "{host}");
        }
        let others = [
            "evil.example",
            "localhost.evil.example",
            "10.0.0.1",
            "127.0.0.1.evil.example",
            "[::2]",
            "",
        ];
        for host in others {
            assert!(!is_for_loopback(&headers(&[("host", host)])), "{host}");
        }
        assert!(!is_for_loopback(&headers(&[])));
        assert!(!is_for_loopback(&headers(&[("host", "localhost"), ("host", "localhost")])));
    }

    #[test]
    fn only_the_whole_token_is_allowed() {
        let token = Secret::new(b"a-token-of-some-length".to_vec());
        let allowed = |value: &str| is_allowed(&headers(&[("authorization", value)]), &token);
        assert!(allowed("Bearer a-token-of-some-length"));
        for wrong in [
            "Bearer ",
            "Bearer a-token",
            "a-token-of-some-length",
            "Basic a-token-of-some-length",
            "",
        ] {
            assert!(!allowed(wrong), "{wrong}");
        }
        assert!(!is_allowed(&headers(&[("authorization", "Bearer ")]), &Secret::new(Vec::new())));
        let twice = "Bearer a-token-of-some-length";
        assert!(!is_allowed(
            &headers(&[("authorization", twice), ("authorization", twice)]),
            &token
        ));
    }
}
