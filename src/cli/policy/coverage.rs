//! `payonce policy coverage`: every operation that Stripe has, and what the policy makes of it.

use std::fs::File;
use std::io::{self, BufReader, Write};
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::super::{Exit, complain};
use crate::decide::canonical::FieldPattern;
use crate::decide::policy::coverage as decided;
use crate::decide::policy::operations::Money;
use crate::decide::policy::{Class, Policy};
use crate::settings::Settings;

mod json;
mod observed;
mod page;
#[cfg(test)]
mod tests;

use observed::Observed;

/// `payonce policy coverage`
#[derive(Args, Clone, Debug, Default)]
pub struct Coverage {
    /// The policy file; otherwise the one that the settings name, or the shipped one.
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// The settings file.
    #[arg(long, value_name = "FILE")]
    pub settings: Option<PathBuf>,
    /// Print JSON instead of text.
    #[arg(long)]
    pub json: bool,
    /// Exit with 1 if there are any of these; separate several with commas.
    #[arg(long, value_name = "WHAT", value_enum, value_delimiter = ',')]
    pub fail_on: Vec<FailOn>,
    /// Recorded decisions (`record = "decisions"`): adds how often each operation was called. As
    /// often as needed.
    #[arg(long, value_name = "FILE")]
    pub observed: Vec<PathBuf>,
}

impl Coverage {
    /// Shown below the help.
    pub const EXAMPLES: &str = "Examples:
  payonce policy coverage
  payonce policy coverage --policy policy.toml --fail-on unnamed-money-moving,money-moving-passed
  payonce policy coverage --observed traffic.ndjson --fail-on called-unnamed --json";
}

/// What makes `payonce policy coverage` fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FailOn {
    /// An operation that moves money falls to no rule of the file.
    UnnamedMoneyMoving,
    /// Any operation falls to no rule of the file.
    Unnamed,
    /// An operation that moves money is passed: sent as it comes.
    MoneyMovingPassed,
    /// A pattern of the file gets no operation: it matches none, or earlier rules take them all.
    UnmatchedRule,
    /// An operation that was called falls to no rule of the file. Needs --observed.
    CalledUnnamed,
    /// Something was called that is none of the known operations. Needs --observed.
    CalledUnknown,
}

impl FailOn {
    const fn needs_observed(self) -> bool {
        match self {
            Self::CalledUnnamed | Self::CalledUnknown => true,
            Self::UnnamedMoneyMoving
            | Self::Unnamed
            | Self::MoneyMovingPassed
            | Self::UnmatchedRule => false,
        }
    }
}

/// Writes to `out` what `args` asks for; to standard error why that fails.
pub fn run(args: &Coverage, settings: &Settings, out: &mut impl Write) -> Exit {
    let blind = args.fail_on.iter().find(|what| what.needs_observed());
    if let Some(what) = blind.filter(|_| args.observed.is_empty()) {
        complain(&format_args!("--fail-on {} needs --observed", name_of(*what)));
        return Exit::Usage;
    }
    let path = args.policy.as_deref().or(settings.policy.path.as_deref());
    let (policy, file) = match super::policy(path) {
        Ok(read) => read,
        Err(exit) => return exit,
    };
    let observed = match read_observed(&args.observed) {
        Ok(observed) => observed,
        Err(why) => {
            complain(&why);
            return Exit::Unavailable;
        }
    };
    let asked = Asked { file, coverage: decided::Coverage::of(&policy), policy, observed };
    let failures = asked.failures(&args.fail_on);
    let text = if args.json { json::text(&asked, &failures) } else { page::text(&asked) };
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => {}
        // A pipe that its reader closed is no failure worth words.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        Err(error) => {
            complain(&error);
            return Exit::Failed;
        }
    }
    for Failure { what, names } in &failures {
        let first = names.first().map_or("", String::as_str);
        complain(&format_args!(
            "--fail-on {}: {}, the first is {first}",
            name_of(*what),
            names.len()
        ));
    }
    if failures.is_empty() { Exit::Done } else { Exit::Failed }
}

/// What is told.
struct Asked {
    file: String,
    policy: Policy,
    coverage: decided::Coverage,
    observed: Option<Observed>,
}

/// A condition of `--fail-on` that holds.
struct Failure {
    what: FailOn,
    names: Vec<String>,
}

impl Asked {
    fn failures(&self, asked: &[FailOn]) -> Vec<Failure> {
        let named = |what: FailOn| Failure { what, names: self.offending(what) };
        asked.iter().map(|what| named(*what)).filter(|failure| !failure.names.is_empty()).collect()
    }

    fn offending(&self, what: FailOn) -> Vec<String> {
        let lines = self.coverage.lines.iter().enumerate();
        let those = |holds: &dyn Fn(usize, &decided::Line) -> bool| -> Vec<String> {
            let lines = lines.clone().filter(|(index, line)| holds(*index, line));
            lines.map(|(_, line)| line.operation.name()).collect()
        };
        match what {
            FailOn::UnnamedMoneyMoving => {
                those(&|_, line| !line.is_named() && line.operation.money.is_some())
            }
            FailOn::Unnamed => those(&|_, line| !line.is_named()),
            FailOn::MoneyMovingPassed => {
                those(&|_, line| line.rule.class == Class::Pass && line.operation.money.is_some())
            }
            FailOn::CalledUnnamed => {
                those(&|index, line| !line.is_named() && self.calls(index) > Some(0))
            }
            FailOn::UnmatchedRule => {
                let idle = self.coverage.idle.iter();
                idle.map(|idle| format!("{} of {}", idle.pattern, idle.rule.name)).collect()
            }
            FailOn::CalledUnknown => {
                let unknown = self.observed.iter().flat_map(Observed::unknown);
                unknown.map(|(request, _)| request.to_owned()).collect()
            }
        }
    }

    /// How often the operation at this index was called; `None` if nothing was observed.
    fn calls(&self, index: usize) -> Option<u64> {
        self.observed.as_ref().map(|observed| observed.calls(index))
    }

    fn unnamed(&self, money: bool) -> Vec<&decided::Line> {
        let lines = self.coverage.lines.iter();
        lines.filter(|line| !line.is_named() && line.operation.money.is_some() == money).collect()
    }
}

fn read_observed(files: &[PathBuf]) -> Result<Option<Observed>, String> {
    if files.is_empty() {
        return Ok(None);
    }
    let mut observed = Observed::default();
    for path in files {
        File::open(path)
            .and_then(|file| observed.read(BufReader::new(file)))
            .map_err(|error| format!("--observed: {}: {error}", path.display()))?;
    }
    Ok(Some(observed))
}

/// As it is typed.
fn name_of(what: FailOn) -> String {
    what.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

/// A rule's identity, as a word or its fields.
fn identity(line: &decided::Line) -> (String, &'static str) {
    use crate::decide::policy::IdentityRule as Rule;
    match (line.rule.class, &line.rule.identity) {
        (Class::Pass | Class::Refuse, _) => ("-".to_owned(), "-"),
        (Class::Critical, Rule::Call) => ("call".to_owned(), "-"),
        (Class::Critical, Rule::Content) => ("content".to_owned(), "-"),
        (Class::Critical, Rule::Fields { names, otherwise }) => {
            let names: Vec<&str> = names.iter().map(FieldPattern::as_str).collect();
            (names.join(" "), otherwise.as_str())
        }
    }
}

/// With whom its content is merged, if its content can be its identity.
fn merge(line: &decided::Line) -> &'static str {
    let by_content = line.rule.class == Class::Critical && line.rule.uses_content();
    if by_content { line.rule.merge.as_str() } else { "-" }
}

fn money(line: &decided::Line) -> Option<&'static str> {
    line.operation.money.map(Money::as_str)
}
