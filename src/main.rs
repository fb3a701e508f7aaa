//! payonce: from the command line to an exit code.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use payonce::cli::policy::PolicyAction;
use payonce::cli::{self, Cli, Command, Exit};
use payonce::decide::shown::without_keys;
use payonce::settings::{self, Settings};
use payonce::{clock, sandbox, telemetry};

fn main() -> ExitCode {
    #[cfg(feature = "seams")]
    if let Err(why) = payonce::seams::arm(std::env::vars_os()) {
        cli::complain(&why);
        return Exit::Configuration.into();
    }
    let command = match Cli::read() {
        Ok(cli) => cli.command,
        Err(exit) => return exit.into(),
    };
    let exit = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(run(command)),
        Err(error) => {
            cli::complain(&format_args!("the runtime cannot be started: {error}"));
            Exit::Bug
        }
    };
    exit.into()
}

async fn run(command: Command) -> Exit {
    match command {
        Command::Serve(args) => match load(args.settings.as_deref()) {
            Ok(settings) => {
                if let Err(error) = telemetry::start(settings.log) {
                    cli::complain(&format_args!("logs cannot be written: {error}"));
                    return Exit::Bug;
                }
                Box::pin(cli::serve::run(&args, settings)).await
            }
            Err(exit) => exit,
        },
        Command::Sandbox(args) => sandbox(&args).await,
        Command::Demo(args) => {
            match Box::pin(payonce::demo::run(&args, &mut io::stdout())).await {
                Ok(true) => Exit::Done,
                // The table says what is not as promised.
                Ok(false) => Exit::Failed,
                Err(error) => done(&Err(error)),
            }
        }
        Command::Check(args) => check(&args),
        Command::Policy(args) => policy(&args),
        Command::Explain(args) => match load(args.settings.as_deref()) {
            Ok(settings) => cli::explain::run(&args, &settings, &mut io::stdout()).await,
            Err(exit) => exit,
        },
        Command::Report(args) => match load(args.settings.as_deref()) {
            Ok(settings) => {
                let now = clock::Clock::System.now();
                cli::report::run(&args, &settings, now, &mut io::stdout())
            }
            Err(exit) => exit,
        },
        Command::Keygen(_) => done(&cli::keygen::run(&mut io::stdout(), &mut io::stderr())),
        Command::Clients(args) => match load(args.settings.as_deref()) {
            Ok(settings) => told(cli::clients::run(&args, &settings, &mut io::stdout()).await),
            Err(exit) => exit,
        },
        Command::Ops(args) => match load(args.settings.as_deref()) {
            Ok(settings) => told(cli::ops::run(&args, &settings, &mut io::stdout()).await),
            Err(exit) => exit,
        },
        Command::Health(args) => match load(args.settings.as_deref()) {
            Ok(settings) => match cli::health::run(&args, &settings, &mut io::stdout()).await {
                Ok(true) => Exit::Done,
                // The answer says what it is not ready for.
                Ok(false) => Exit::Failed,
                Err(failure) => {
                    eprintln!("{}", without_keys(&failure.to_string()));
                    failure.exit()
                }
            },
            Err(exit) => exit,
        },
        Command::Webhook(args) => cli::webhook::run(&args, &mut io::stdout()),
    }
}

/// What a running payonce answered, or why it did not.
fn told(asked: Result<(), cli::ops::OpsFailure>) -> Exit {
    match asked {
        Ok(()) => Exit::Done,
        Err(failure) => {
            eprintln!("{}", without_keys(&failure.to_string()));
            failure.exit()
        }
    }
}

/// The settings, or every problem with them on standard error.
fn load(file: Option<&Path>) -> Result<Settings, Exit> {
    Settings::load(file, settings::environment()).map_err(|problems| {
        for problem in &problems {
            cli::complain(problem);
        }
        eprintln!("{} problem(s) in the settings; nothing was started.", problems.len());
        Exit::Configuration
    })
}

async fn sandbox(args: &cli::Sandbox) -> Exit {
    let config = sandbox::Config {
        listen: args.listen,
        seed: args.seed,
        ..sandbox::Config::local(clock::Clock::System, args.seed)
    };
    let until = tokio_util::sync::CancellationToken::new();
    match sandbox::Sandbox::start(config) {
        Ok(sandbox) => {
            println!("sandbox listens on http://{}", sandbox.addr());
            let ended = payonce::server::drain::signals(until.clone(), until.clone());
            tokio::select! {
                () = until.cancelled() => {}
                _ended = ended => {}
            }
            sandbox.shutdown().await;
            Exit::Done
        }
        Err(error) => {
            eprintln!("--listen: {} cannot be listened on: {error}", args.listen);
            Exit::Unavailable
        }
    }
}

fn check(args: &cli::Check) -> Exit {
    let settings = match load(args.settings.as_deref()) {
        Ok(settings) => settings,
        Err(exit) => return exit,
    };
    match cli::check::run(args, &settings, &mut io::stdout()) {
        Ok(exit) => exit,
        Err(error) => done(&Err(error)),
    }
}

fn policy(args: &cli::policy::Policy) -> Exit {
    let needed = match &args.action {
        PolicyAction::Coverage(args) => args.settings.as_deref(),
        PolicyAction::Replay(args) => args.settings.as_deref(),
        PolicyAction::Audit(_) | PolicyAction::Diff(_) | PolicyAction::Schema(_) => None,
    };
    match load(needed) {
        Ok(settings) => cli::policy::run(args, &settings, &mut io::stdout()),
        Err(exit) => exit,
    }
}

fn done(result: &io::Result<()>) -> Exit {
    match result {
        Ok(()) => Exit::Done,
        Err(error) => {
            // A pipe that its reader closed is no failure worth words.
            if error.kind() != io::ErrorKind::BrokenPipe {
                cli::complain(error);
            }
            io::stdout().flush().unwrap_or_default();
            Exit::Failed
        }
    }
}
