//! From a name to addresses, by the machine's resolver.
//!
//! A resolver tries its search domains first on names with few dots, and in Kubernetes (`ndots:5`)
//! `api.stripe.com` has few: it is asked for below three cluster domains and the node's own before
//! it is asked for itself. What one of those answers must not stop payments. glibc goes on to the
//! next after any answer; musl ends at the first that is not "no such name" (an empty answer,
//! SERVFAIL, REFUSED: measured, deploy/image/README.md). So a name that is not found as it is
//! written, or not soon, is asked for once more as absolute. As it is written comes first, since
//! `/etc/hosts` and the aliases of a pod know no absolute names.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use super::Cause;
use crate::clock::Clock;

/// Most addresses of one name that are tried.
const MAX_ADDRESSES: usize = 8;
/// How long a name may be looked up before the absolute one is looked up beside it: longer than a
/// resolver at work takes, and well within the time for making a connection.
const SOON: Duration = Duration::from_secs(1);

/// The addresses of `host`, at least one, at most eight. No time limit of its own.
pub(super) async fn resolve(
    host: &str,
    port: u16,
    clock: &Clock,
) -> Result<Vec<SocketAddr>, Cause> {
    match absolute(host) {
        None => look_up(host, port).await,
        Some(whole) => either(look_up(host, port), look_up(&whole, port), clock).await,
    }
}

/// The name that no search domain is added to. Names of one label are a search domain's own.
fn absolute(host: &str) -> Option<String> {
    let has_dots = host.contains('.') && !host.ends_with('.');
    (has_dots && !host.contains(':')).then(|| format!("{host}."))
}

async fn look_up(host: &str, port: u16) -> Result<Vec<SocketAddr>, Cause> {
    let found = tokio::net::lookup_host((host, port)).await.map_err(|_unknown| Cause::Dns)?;
    let found: Vec<_> = found.take(MAX_ADDRESSES).collect();
    if found.is_empty() { Err(Cause::Dns) } else { Ok(found) }
}

/// What `first` finds; `second` is asked once that has failed, or has taken long.
async fn either<T>(
    first: impl Future<Output = Result<T, Cause>>,
    second: impl Future<Output = Result<T, Cause>>,
    clock: &Clock,
) -> Result<T, Cause> {
    let mut first = pin!(first);
    match clock.timeout(SOON, first.as_mut()).await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(_not_found)) => second.await,
        Err(_elapsed) => tokio::select! {
            Ok(found) = first => Ok(found),
            Ok(found) = second => Ok(found),
            else => Err(Cause::Dns),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;
    use crate::clock::Timestamp;

    fn clock() -> Clock {
        Clock::driven(Timestamp::default(), 1)
    }

    async fn after<T>(wait: Duration, then: T) -> T {
        clock().sleep(wait).await;
        then
    }

    #[test]
    fn only_a_name_with_dots_has_an_absolute_form() {
        assert_eq!(absolute("api.stripe.com").as_deref(), Some("api.stripe.com."));
        for host in ["api.stripe.com.", "localhost", "stripe-mock", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(absolute(host), None, "{host}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_that_is_found_is_asked_for_once() {
        let second = async { panic!("asked again") };
        assert_eq!(either(ready(Ok(1)), second, &clock()).await, Ok(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_search_domain_that_fails_does_not_hide_the_name() {
        let first = ready(Err(Cause::Dns));
        assert_eq!(either(first, ready(Ok(2)), &clock()).await, Ok(2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_search_domain_that_is_silent_does_not_hide_the_name() {
        assert_eq!(either(pending(), ready(Ok(2)), &clock()).await, Ok(2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_name_is_still_found_where_the_absolute_one_is_not() {
        let first = after(SOON * 2, Ok(1));
        assert_eq!(either(first, ready(Err(Cause::Dns)), &clock()).await, Ok(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_that_nobody_knows_is_not_found() {
        for first in [Duration::ZERO, SOON * 2] {
            let first = after(first, Err::<u8, _>(Cause::Dns));
            let second = after(SOON, Err(Cause::Dns));
            assert_eq!(either(first, second, &clock()).await, Err(Cause::Dns));
        }
    }
}
