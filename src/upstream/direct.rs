//! The way to the provider over connections of our own: each request is written once.
//!
//! Retrying is not here, with one exception that is none: a request that a stale connection hands
//! back was never written, so it goes to another connection as if nothing had happened.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;

use super::body::Held;
use super::config::{BuildError, Config};
use super::connect::Connector;
use super::origin::Origin;
use super::pool::{Claim, Lease, Pool};
use super::wire::Ended;
use super::{Body, Cause, Host, NeverSent, SendError, Upstream, tls, wire};
use crate::clock::{Clock, Elapsed, Timestamp};

/// Connections that one request is offered to before it is given back as never sent.
const OFFERS: usize = 3;

/// Connections to the provider's four hosts. A clone shares them.
#[derive(Clone)]
pub struct Direct {
    hosts: Arc<Hosts>,
    clock: Clock,
    body_timeout: Duration,
}

struct Hosts {
    api: Arc<Pool>,
    files: Arc<Pool>,
    connect: Arc<Pool>,
    meter_events: Arc<Pool>,
}

impl Direct {
    /// Checks `config` and reads the trusted roots; nothing is connected yet.
    ///
    /// # Errors
    /// [`BuildError`] names the setting at fault.
    pub fn new(config: &Config, clock: Clock) -> Result<Self, BuildError> {
        config.check()?;
        let tls = tls::connector(config.ca_file.as_deref(), config.http2)?;
        let pool = |origin: &Origin| {
            let connector = Connector::new(origin.clone(), &tls, config, &clock)?;
            Ok::<_, BuildError>(Arc::new(Pool::new(connector, config, &clock)))
        };
        let hosts = Hosts {
            api: pool(&config.origins.api)?,
            files: pool(&config.origins.files)?,
            connect: pool(&config.origins.connect)?,
            meter_events: pool(&config.origins.meter_events)?,
        };
        Ok(Self { hosts: Arc::new(hosts), clock, body_timeout: config.body_timeout })
    }

    fn pool(&self, host: Host) -> &Arc<Pool> {
        match host {
            Host::Api => &self.hosts.api,
            Host::Files => &self.hosts.files,
            Host::Connect => &self.hosts.connect,
            Host::MeterEvents => &self.hosts.meter_events,
        }
    }

    async fn lease(
        &self,
        pool: &Arc<Pool>,
        fresh: bool,
        until: Timestamp,
    ) -> Result<Lease, SendError> {
        let lease = self.clock.timeout(self.left(until), pool.checkout(fresh)).await;
        let lease = lease.unwrap_or(Err(Cause::ConnectTimeout));
        // No connection has seen the request yet.
        lease.map_err(|cause| SendError::NeverSent(NeverSent::proven(), cause))
    }

    /// Offers the request to one connection.
    async fn offer(
        &self,
        pool: &Arc<Pool>,
        lease: Lease,
        mut request: Request<Body>,
        left: Duration,
    ) -> Offered {
        let destination = pool.connector().destination();
        match lease {
            Lease::Single(mut single, place) => {
                destination.http1(&mut request);
                let sending = single.sender.try_send_request(request);
                let (ended, mut held) = (single.ended.clone(), Some(single));
                let sending = until_answered(sending, &ended, || drop(held.take()));
                let tried = self.clock.timeout(left, sending).await;
                self.judge(tried, || held.map(|single| pool.give_back(single, place)))
            }
            Lease::Shared(mut shared, claim) => {
                destination.http2(&mut request);
                let sending = shared.sender.try_send_request(request);
                let (ended, mut held) = (shared.ended.clone(), Some(shared));
                let sending = until_answered(sending, &ended, || {
                    drop(held.take());
                    pool.forget_ended();
                });
                self.judge(self.clock.timeout(left, sending).await, || Some(claim))
            }
        }
    }

    /// `claim` is called for an answer alone; in all other cases the connection is let go of.
    fn judge(&self, tried: Tried, claim: impl FnOnce() -> Option<Claim>) -> Offered {
        match tried {
            // Nothing that payonce forwards asks for an upgrade; this is no answer.
            Ok(Ok(answer)) if answer.status() == StatusCode::SWITCHING_PROTOCOLS => {
                Offered::Unknown(Cause::Protocol)
            }
            Ok(Ok(answer)) => {
                let claim = claim();
                Offered::Answered(Box::new(answer.map(|body| self.held(body, claim))))
            }
            Ok(Err(mut error)) => match error.take_message() {
                Some(unwritten) => Offered::HandedBack(Box::new(unwritten)),
                None => Offered::Unknown(wire::cause(error.error())),
            },
            Err(Elapsed) => Offered::Unknown(Cause::AnswerTimeout),
        }
    }

    fn held(&self, body: Incoming, claim: Option<Claim>) -> Body {
        Body::new(Held::new(body, claim, &self.clock, self.body_timeout))
    }

    fn left(&self, until: Timestamp) -> Duration {
        until.since(self.clock.now())
    }
}

impl Upstream for Direct {
    /// As the trait says. A body's trailers are handed on as frames, and written only where the
    /// version of HTTP lets them. [`SendError::Unknown`] also where an HTTP/2 server claims not to
    /// have processed a stream: its word is no evidence.
    async fn send(
        &self,
        host: Host,
        mut request: Request<Body>,
        within: Duration,
    ) -> Result<Response<Body>, SendError> {
        let until = self.clock.now().plus(within);
        let pool = self.pool(host);
        for offer in 0..OFFERS {
            let lease = self.lease(pool, offer > 0, until).await?;
            let left = self.left(until);
            if left.is_zero() {
                return Err(SendError::NeverSent(NeverSent::proven(), Cause::ConnectTimeout));
            }
            match self.offer(pool, lease, request, left).await {
                Offered::Answered(answer) => return Ok(*answer),
                Offered::HandedBack(unwritten) => request = *unwritten,
                Offered::Unknown(cause) => return Err(SendError::Unknown(cause)),
            }
        }
        // Each time the request itself came back.
        Err(SendError::NeverSent(NeverSent::proven(), Cause::Closed))
    }

    fn address(&self, host: Host) -> &str {
        self.pool(host).connector().origin().host()
    }
}

/// What `sending` comes to. Where the connection ends first, `let_go` drops its senders: a request
/// that came into the queue as the connection left is handed back by that, and by nothing else.
async fn until_answered<T>(
    sending: impl Future<Output = T>,
    ended: &Ended,
    let_go: impl FnOnce(),
) -> T {
    let mut sending = pin!(sending);
    tokio::select! {
        biased;
        tried = &mut sending => return tried,
        () = ended.wait() => {}
    }
    let_go();
    sending.await
}

/// What became of a request that was offered to a connection.
enum Offered {
    Answered(Box<Response<Body>>),
    HandedBack(Box<Request<Body>>),
    Unknown(Cause),
}

type Tried = Result<Result<Response<Incoming>, TrySendError<Request<Body>>>, Elapsed>;

#[cfg(test)]
mod tests {
    use tokio::io::{DuplexStream, duplex};

    use super::*;
    use crate::upstream::empty_body;

    /// Connections that end at the very moment at which a request is queued for them.
    const RACES: u32 = 20_000;

    async fn race(theirs: DuplexStream, single: wire::Single) -> Tried {
        let mut single = single;
        // On another thread: whoever closes runs while the request is queued.
        let closing = tokio::task::spawn_blocking(move || drop(theirs));
        let sending = single.sender.try_send_request(request());
        let (ended, mut held) = (single.ended.clone(), Some(single));
        let sending = until_answered(sending, &ended, || drop(held.take()));
        let tried = Clock::System.timeout(Duration::from_secs(20), sending).await;
        closing.await.unwrap();
        tried
    }

    fn request() -> Request<Body> {
        Request::post("/v1/a").header("host", "x").body(empty_body()).unwrap()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_request_queued_while_its_connection_ends_is_not_waited_for() {
        for race_number in 0..RACES {
            let (ours, theirs) = duplex(4096);
            let single = wire::over(ours).await;
            let tried = race(theirs, single).await;
            assert!(matches!(tried, Ok(Err(_))), "race {race_number}: {}", tried.is_err());
        }
    }
}
