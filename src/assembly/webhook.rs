//! The webhook listener, made of the settings.

use std::sync::Arc;

use super::StartError;
use super::parts::limits;
use crate::clock::Clock;
use crate::exchange::Exchange;
use crate::ledger::AnyLedger;
use crate::request::InFlightBytes;
use crate::server::{Address, Listen, Server, ServerConfig};
use crate::settings::{Settings, WebhookEndpoint};
use crate::upstream::{self, Direct, Origins};
use crate::webhook::application::Application;
use crate::webhook::ranges::Ranges;
use crate::webhook::secrets::Secrets;
use crate::webhook::{Config, Endpoint, Gate, Rooms};

/// Bodies of the largest size that may be held at one time.
const BODIES: usize = 32;

/// Times that the store may be asked after the application's answer.
const WRITES: u32 = 3;

/// A webhook listener that is bound, and its gate.
pub(super) struct Webhooks {
    pub(super) server: Server,
    pub(super) gate: Gate<Arc<AnyLedger>, Direct>,
}

/// Builds and binds it, if the settings say so.
pub(super) async fn webhooks(
    settings: &Settings,
    exchange: &Exchange<Arc<AnyLedger>, Direct>,
    clock: &Clock,
) -> Result<Option<Webhooks>, StartError> {
    let from = &settings.webhook;
    let Some(address) = from.listen else { return Ok(None) };
    let changed = |setting: String, why: String| StartError::Webhook { setting, why };
    let mut endpoints = Vec::with_capacity(from.endpoints.len());
    for endpoint in &from.endpoints {
        let setting = || format!("webhook.endpoints.{}", endpoint.name);
        let secrets = Secrets::open(&endpoint.name, endpoint.secret_files.clone());
        endpoints.push(Endpoint {
            name: endpoint.name.clone(),
            path: endpoint.path.clone(),
            secrets: secrets.map_err(|why| changed(setting(), why.to_string()))?,
            application: application(settings, endpoint, clock)?,
            account: endpoint.account.clone(),
            api_keys: endpoint.api_keys.clone(),
        });
    }
    let ranges = from.source_ranges_file.as_deref().map(Ranges::open).transpose();
    let setting = || "webhook.source_ranges_file".to_owned();
    let ranges = ranges.map_err(|why| changed(setting(), why.to_string()))?;
    let config = Config {
        tolerance: from.tolerance,
        body_bytes: from.body,
        timeout: from.timeout,
        grace: settings.store.timeout.saturating_mul(WRITES),
        remember: from.remember,
        refresh: from.refresh,
    };
    let bytes = InFlightBytes::new(from.body.saturating_mul(BODIES));
    let gate = Gate::new(Rooms::new(endpoints, ranges, exchange.clone(), bytes, config));
    let listen = vec![Listen { setting: "webhook.listen", at: Address::Tcp(address) }];
    let config = ServerConfig { listen, limits: limits(settings), drain: settings.shutdown.drain };
    let server = Server::bind(config, clock.clone()).await?;
    Ok(Some(Webhooks { server, gate }))
}

/// The way to an endpoint's application. No egress proxy stands before it: that is for the provider.
fn application(
    settings: &Settings,
    endpoint: &WebhookEndpoint,
    clock: &Clock,
) -> Result<Application<Direct>, StartError> {
    let from = &settings.webhook;
    let config = upstream::Config {
        ca_file: from.ca_file.clone(),
        connect_timeout: from.connect_timeout,
        body_timeout: settings.limits.body_timeout,
        http2: false,
        clear: true,
        ..upstream::Config::new(Origins::all(&endpoint.forward.origin))
    };
    let direct = Direct::new(&config, clock.clone()).map_err(|why| StartError::Webhook {
        setting: format!("webhook.endpoints.{}.forward", endpoint.name),
        why: why.to_string(),
    })?;
    Ok(Application::new(direct, endpoint.forward.target.clone(), from.timeout))
}
