//! Where spans come from and go, made of the settings.

use tokio_util::sync::CancellationToken;

use super::StartError;
use crate::chance::Chance;
use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::server::{Shutdown, Tasks};
use crate::settings::Settings;
use crate::trace::Tracer;
use crate::upstream::Origins;
#[cfg(feature = "otlp")]
use crate::{
    trace::{
        Export, Queue, Sampler,
        otlp::{Credentials, Exporter},
    },
    upstream::{self, Direct},
};

/// What takes spans to a collector, if the settings name one.
#[derive(Default)]
pub(super) struct Exporting {
    #[cfg(feature = "otlp")]
    exporter: Option<Exporter<Direct>>,
    tasks: Tasks,
    done: CancellationToken,
}

/// Where spans come from, and what becomes of them.
pub(super) fn tracer(
    settings: &Settings,
    places: Origins,
    clock: &Clock,
    metrics: &Metrics,
) -> Result<(Tracer, Exporting), StartError> {
    let (export, exporting) = export(settings, clock, metrics)?;
    let propagate = settings.tracing.propagate;
    Ok((Tracer::new(Chance::System, export, propagate, places), exporting))
}

#[cfg(feature = "otlp")]
fn export(
    settings: &Settings,
    clock: &Clock,
    metrics: &Metrics,
) -> Result<(Option<Export>, Exporting), StartError> {
    let Some(collector) = &settings.tracing.collector else {
        return Ok((None, Exporting::default()));
    };
    // No egress proxy stands before it: that is for the provider.
    let config = upstream::Config {
        max_connections_per_host: 1,
        http2: false,
        clear: true,
        ca_file: settings.tracing.ca_file.clone(),
        ..upstream::Config::new(Origins::all(&collector.origin))
    };
    let direct = Direct::new(&config, clock.clone()).map_err(StartError::Collector)?;
    let (queue, spans) = Queue::new(metrics.clone());
    let headers = &settings.tracing.headers;
    let exporter = Exporter {
        upstream: direct,
        target: collector.target.clone(),
        credentials: Credentials::new(headers.path.clone(), headers.headers.clone()),
        instance: hex::encode(Chance::System.bytes::<8>()),
        spans,
        clock: clock.clone(),
        metrics: metrics.clone(),
    };
    let sampler = Sampler::ratio(settings.tracing.sample_ratio);
    let export = Export { clock: clock.clone(), sampler, queue };
    Ok((Some(export), Exporting { exporter: Some(exporter), ..Exporting::default() }))
}

/// Without the feature no setting asks for it.
#[cfg(not(feature = "otlp"))]
#[expect(clippy::unnecessary_wraps, reason = "with the feature it can fail")]
fn export(
    _settings: &Settings,
    _clock: &Clock,
    _metrics: &Metrics,
) -> Result<(Option<crate::trace::Export>, Exporting), StartError> {
    Ok((None, Exporting::default()))
}

impl Exporting {
    /// Begins to export.
    #[cfg(feature = "otlp")]
    pub(super) fn start(&mut self, shutdown: &Shutdown, drain: std::time::Duration) {
        if let Some(exporter) = self.exporter.take() {
            exporter.start(&self.tasks, self.done.clone(), shutdown.clone(), drain);
        }
    }

    /// Does nothing without the feature.
    #[cfg(not(feature = "otlp"))]
    #[expect(clippy::unused_self, reason = "with the feature it is")]
    pub(super) const fn start(&mut self, _shutdown: &Shutdown, _drain: std::time::Duration) {}

    /// Sends what is left, within what is left of the drain time.
    pub(super) async fn finish(self) {
        self.done.cancel();
        self.tasks.drained().await;
    }
}
