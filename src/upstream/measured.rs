//! Notes how long each request took upstream, and what came of it. Changes nothing of either.

use std::time::Duration;

use http::{Request, Response};

use super::{Body, Host, SendError, Upstream};
use crate::clock::Clock;
use crate::metrics::Metrics;

/// An upstream whose every request is noted: each attempt, also of what is not critical.
#[derive(Debug)]
pub struct Measured<U> {
    upstream: U,
    clock: Clock,
    metrics: Metrics,
}

impl<U: Upstream> Measured<U> {
    /// This upstream, noted in `metrics`.
    pub const fn new(upstream: U, clock: Clock, metrics: Metrics) -> Self {
        Self { upstream, clock, metrics }
    }
}

impl<U: Upstream> Upstream for Measured<U> {
    async fn send(
        &self,
        host: Host,
        request: Request<Body>,
        within: Duration,
    ) -> Result<Response<Body>, SendError> {
        let (method, began) = (request.method().clone(), self.clock.now());
        let sent = self.upstream.send(host, request, within).await;
        let ended = match &sent {
            Ok(response) => Ok(response.status()),
            Err(SendError::NeverSent(_, cause) | SendError::Unknown(cause)) => Err(cause.as_str()),
        };
        let took = self.clock.now().since(began);
        self.metrics.attempt(&method, self.address(host), ended, took);
        sent
    }

    fn address(&self, host: Host) -> &str {
        self.upstream.address(host)
    }
}
