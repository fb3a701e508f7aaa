//! `payonce serve`: from settings to a proxy that runs until it is told to stop.

use std::net::SocketAddr;

use tracing::{error, info};

use super::{Exit, Serve, complain};
use crate::assembly::{Assembly, StartError};
use crate::clock::Clock;
use crate::sandbox;
use crate::server::drain;
use crate::settings::{Settings, StoreKind};

/// Serves until a signal says to stop.
pub async fn run(args: &Serve, mut settings: Settings) -> Exit {
    let clock = Clock::System;
    let sandbox = if args.sandbox {
        let config = sandbox::Config::local(clock.clone(), 1);
        match sandbox::Sandbox::start(config) {
            Ok(sandbox) => {
                toward(&mut settings, sandbox.addr());
                Some(sandbox)
            }
            Err(error) => {
                error!(%error, "the sandbox cannot listen");
                return Exit::Unavailable;
            }
        }
    } else {
        None
    };
    let assembly = match Assembly::build(settings, clock).await {
        Ok(assembly) => assembly,
        Err(error) => return not_started(&error),
    };
    assembly.announce();
    if let Some(sandbox) = &sandbox {
        info!(address = %sandbox.addr(), "the sandbox stands in for Stripe: nothing here is money");
    }
    let shutdown = assembly.shutdown().clone();
    let (first, second) = (shutdown.first.clone(), shutdown.second.clone());
    let signals = async {
        if let Err(error) = drain::signals(first, second).await {
            error!(%error, "signals cannot be awaited; payonce ends only with the process");
        }
        std::future::pending::<std::convert::Infallible>().await
    };
    let summary = tokio::select! {
        summary = assembly.run() => summary,
        never = signals => match never {},
    };
    if let Some(sandbox) = sandbox {
        sandbox.shutdown().await;
    }
    info!(%summary, "payonce has stopped");
    if summary.tasks > 0 || summary.connections > 0 { Exit::Interrupted } else { Exit::Done }
}

/// Sends everything to the sandbox, and keeps what is played with apart from the real store.
fn toward(settings: &mut Settings, sandbox: SocketAddr) {
    let origin = format!("http://{sandbox}");
    let upstream = &mut settings.upstream;
    upstream.api.clone_from(&origin);
    upstream.files.clone_from(&origin);
    upstream.connect.clone_from(&origin);
    upstream.meter_events = origin;
    "sandbox".clone_into(&mut upstream.provider_host);
    settings.store.kind = StoreKind::Memory;
    settings.store.single_instance = true;
}

fn not_started(error: &StartError) -> Exit {
    // On standard error as it stands: a policy's problems have several lines each.
    if error.is_configuration() {
        complain(&format_args!("{error}\npayonce has not started; nothing was bound or sent."));
        Exit::Configuration
    } else {
        complain(&format_args!("{error}\npayonce has not started; nothing was sent."));
        Exit::Unavailable
    }
}
