//! Defaults, file and environment, one upon the other; and names that mean nothing.
//!
//! The `config` crate merges. By itself it ignores a misspelt variable and turns "no" into 0, so
//! names are checked here, and the values are read by [`reader`](super::reader) without its
//! conversions.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use config::{Config, Environment, File, FileFormat, Value, ValueKind};

use super::problem::{Origin, Problem};

/// The file that `config/` ships: every setting's default and explanation.
pub(super) const DEFAULTS: &str = include_str!("../../config/payonce.toml");

/// What every variable of payonce begins with.
const PREFIX: &str = "PAYONCE_";

/// Largest settings file, in bytes.
const MAX_FILE: u64 = 1024 * 1024;

/// Every setting there is. The first part is the section, and each has exactly two.
pub(super) const KNOWN: &[&str] = &[
    "listen.proxy",
    "listen.unix_socket",
    "listen.admin",
    "listen.health",
    "listen.caller",
    "upstream.api",
    "upstream.files",
    "upstream.connect",
    "upstream.meter_events",
    "upstream.provider_host",
    "upstream.ca_file",
    "upstream.egress_proxy",
    "upstream.connect_timeout",
    "upstream.idle_timeout",
    "upstream.max_connections_per_host",
    "upstream.http2",
    "store.kind",
    "store.path",
    "store.single_instance",
    "store.timeout",
    "store.lease",
    "store.cache",
    "store.max_records",
    "store.nodes",
    "store.topology",
    "store.master",
    "store.user",
    "store.password_file",
    "store.password",
    "store.sentinel_user",
    "store.sentinel_password_file",
    "store.sentinel_password",
    "store.database",
    "store.ca_file",
    "store.prefix",
    "store.connect_timeout",
    "retry.deadline",
    "retry.attempt_timeout",
    "retry.max_attempts",
    "retry.backoff",
    "retry.backoff_max",
    "retry.budget_ratio",
    "retry.budget_per_second",
    "limits.body",
    "limits.answer",
    "limits.bytes_in_flight",
    "limits.connections",
    "limits.header_timeout",
    "limits.idle_timeout",
    "limits.body_timeout",
    "limits.headers",
    "limits.head_bytes",
    "limits.waiters",
    "limits.operations",
    "finishing.max_operations",
    "finishing.max_bytes",
    "policy.path",
    "policy.refresh",
    "policy.bypass",
    "policy.trusted_keys",
    "policy.audit_log",
    "policy.audit_required",
    "clients.releases",
    "record.path",
    "record.max_size",
    "secret.file",
    "secret.other_files",
    "secret.other_api_key",
    "secret.value",
    "credential.file",
    "credential.value",
    "credential.placeholder",
    "credential.only",
    "credential.refresh",
    "admin.token_file",
    "admin.token",
    "webhook.listen",
    "webhook.tolerance",
    "webhook.body",
    "webhook.timeout",
    "webhook.connect_timeout",
    "webhook.remember",
    "webhook.refresh",
    "webhook.source_ranges_file",
    "webhook.ca_file",
    "webhook.endpoints",
    "metrics.survey_interval",
    "log.format",
    "log.level",
    "tracing.otlp_endpoint",
    "tracing.headers_file",
    "tracing.headers",
    "tracing.ca_file",
    "tracing.sample_ratio",
    "tracing.propagate",
    "shutdown.drain",
];

/// The merged settings, flat: dotted path → value.
pub(super) struct Layers {
    values: BTreeMap<String, ValueKind>,
    file: Option<PathBuf>,
    in_file: Vec<String>,
    variables: HashMap<String, String>,
}

impl Layers {
    /// Merges the layers, and names whatever in them is no setting.
    pub(super) fn merge(
        file: Option<&Path>,
        env: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> (Self, Vec<Problem>) {
        let mut problems = Vec::new();
        let text = file.and_then(|path| read(path).map_err(|problem| problems.push(problem)).ok());
        let text = text.unwrap_or_default();
        let variables = variables(env, &mut problems);
        let mut layers = Self {
            values: BTreeMap::new(),
            file: file.map(Path::to_path_buf),
            in_file: Vec::new(),
            variables: HashMap::new(),
        };
        match layers.build(&text, &variables) {
            Ok(values) => layers.values = values,
            Err(problem) => problems.push(problem),
        }
        layers.variables = variables.into_keys().map(|name| (path_of(&name), name)).collect();
        problems.extend(layers.strangers());
        (layers, problems)
    }

    /// What is set at `path`, if anything is.
    pub(super) fn value(&self, path: &str) -> Option<&ValueKind> {
        self.values.get(path)
    }

    /// Whether `path` was given as a table of values where one value is expected.
    pub(super) fn is_table(&self, path: &str) -> bool {
        self.values.keys().any(|key| is_below(key, path))
    }

    /// Everything that is set below `path`, without it.
    pub(super) fn below(&self, path: &str) -> impl Iterator<Item = (&str, &ValueKind)> {
        self.values
            .iter()
            .filter_map(move |(key, kind)| Some((key.strip_prefix(path)?.strip_prefix('.')?, kind)))
    }

    /// Where the value at `path` came from.
    pub(super) fn origin(&self, path: &str) -> Origin {
        let in_file = || self.in_file.iter().any(|key| key == path || is_below(key, path));
        match (self.variables.get(path), &self.file) {
            (Some(name), _) => Origin::Variable(name.clone()),
            (None, Some(file)) if in_file() => Origin::File(file.clone()),
            (None, Some(_) | None) => Origin::Default,
        }
    }

    fn build(
        &mut self,
        text: &str,
        variables: &HashMap<String, String>,
    ) -> Result<BTreeMap<String, ValueKind>, Problem> {
        let failed = |error: config::ConfigError| Problem {
            path: "settings".to_owned(),
            origin: self.file.clone().map_or(Origin::Default, Origin::File),
            what: format!("cannot be merged: {error}"),
        };
        let user = Config::builder().add_source(File::from_str(text, FileFormat::Toml));
        let user = user.build().map_err(failed)?;
        let all = Config::builder()
            .add_source(File::from_str(DEFAULTS, FileFormat::Toml))
            .add_source(user.clone())
            .add_source(
                Environment::with_prefix(PREFIX.trim_end_matches('_'))
                    .prefix_separator("_")
                    .separator("__")
                    .source(Some(variables.clone())),
            );
        let all = all.build().map_err(failed)?;
        self.in_file = flat(&user.cache).into_keys().collect();
        Ok(flat(&all.cache))
    }

    /// Names in the file that are no settings, and sections that are no tables.
    fn strangers(&self) -> Vec<Problem> {
        let known = |key: &str| KNOWN.iter().any(|k| *k == key || is_below(key, k));
        let section = |key: &str| KNOWN.iter().any(|k| is_below(k, key));
        let empty = |kind: &ValueKind| matches!(kind, ValueKind::Table(table) if table.is_empty());
        let strangers = self.values.iter().filter(|(key, _)| !known(key));
        strangers
            .filter(|(key, kind)| !(section(key) && empty(kind)))
            .map(|(key, _)| Problem {
                path: key.clone(),
                origin: self.origin(key),
                what: if section(key) {
                    format!("is a section of settings, written [{key}], not a value")
                } else {
                    format!("is no setting of payonce{}", meant(key, ToOwned::to_owned))
                },
            })
            .collect()
    }
}

fn is_below(key: &str, parent: &str) -> bool {
    key.strip_prefix(parent).is_some_and(|rest| rest.starts_with('.'))
}

/// Tables become dotted paths; everything else, and an empty table, is a value.
fn flat(root: &Value) -> BTreeMap<String, ValueKind> {
    fn walk(path: &str, value: &Value, out: &mut BTreeMap<String, ValueKind>) {
        if let ValueKind::Table(table) = &value.kind
            && !table.is_empty()
        {
            for (name, child) in table {
                let dot = if path.is_empty() { "" } else { "." };
                walk(&format!("{path}{dot}{name}"), child, out);
            }
        } else if !path.is_empty() {
            out.insert(path.to_owned(), value.kind.clone());
        }
    }
    let mut out = BTreeMap::new();
    walk("", root, &mut out);
    out
}

/// Reads the file and checks its syntax. The message never quotes the file: a broken line may hold
/// a secret.
fn read(path: &Path) -> Result<String, Problem> {
    let problem = |what: String| Problem {
        path: "settings file".to_owned(),
        origin: Origin::File(path.to_path_buf()),
        what,
    };
    let unreadable = |error: &dyn std::error::Error| problem(format!("cannot be read: {error}"));
    let bytes = super::files::read(path, MAX_FILE).map_err(|error| unreadable(&error))?;
    let text = str::from_utf8(&bytes).map_err(|error| unreadable(&error))?;
    match text.parse::<toml::Table>() {
        Ok(_table) => Ok(text.to_owned()),
        Err(error) => {
            let before = text.get(..error.span().map_or(0, |span| span.start)).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
            let what = error.message();
            Err(problem(format!("line {line}, column {column}: is not valid TOML: {what}")))
        }
    }
}

/// Those of the environment that are settings, by variable name.
fn variables(
    env: impl IntoIterator<Item = (OsString, OsString)>,
    problems: &mut Vec<Problem>,
) -> HashMap<String, String> {
    let mut found = HashMap::new();
    for (name, value) in env {
        let name = name.to_string_lossy().into_owned();
        if !name.starts_with(PREFIX) || is_service_link(&name, &value) {
            continue;
        }
        let origin = Origin::Variable(name.clone());
        let known = KNOWN.iter().find(|known| variable_of(known) == name);
        match (known, value.to_str()) {
            (Some(_), Some(value)) => {
                found.insert(name, value.to_owned());
            }
            (Some(known), None) => {
                let what = "must be UTF-8 text".to_owned();
                problems.push(Problem { path: (*known).to_owned(), origin, what });
            }
            (None, _) => {
                let meant = meant(&path_of(&name), variable_of);
                let what = format!("is no setting of payonce{meant}");
                problems.push(Problem { path: name, origin, what });
            }
        }
    }
    found
}

/// Kubernetes puts `PAYONCE_SERVICE_HOST`, `PAYONCE_PORT=tcp://…` and the like into every pod
/// beside a Service called "payonce", and `PAYONCE_PROXY_…` for one called "payonce-proxy": not
/// ours, and no mistake.
fn is_service_link(name: &str, value: &OsStr) -> bool {
    let url = value.to_str().is_some_and(|value| value.contains("://"));
    let of_port = |rest: &str| rest.starts_with(|c: char| c.is_ascii_digit());
    !name.contains("__")
        && (name.ends_with("_SERVICE_HOST")
            || name.ends_with("_SERVICE_PORT")
            || name.contains("_SERVICE_PORT_")
            || (name.ends_with("_PORT") && url)
            || name.split_once("_PORT_").is_some_and(|(_, rest)| of_port(rest)))
}

/// `retry.deadline` → `PAYONCE_RETRY__DEADLINE`
pub(super) fn variable_of(path: &str) -> String {
    format!("{PREFIX}{}", path.to_uppercase().replace('.', "__"))
}

fn path_of(variable: &str) -> String {
    let rest = variable.strip_prefix(PREFIX).unwrap_or(variable);
    rest.to_lowercase().replace("__", ".")
}

/// The setting that was probably meant, if one is near.
fn meant(path: &str, show: impl Fn(&str) -> String) -> String {
    // A lone underscore between section and name is the likeliest slip.
    let plain = |path: &str| path.to_lowercase().replace(['.', '-'], "_");
    let distance = |known: &str| strsim::damerau_levenshtein(&plain(known), &plain(path));
    let nearest = KNOWN.iter().map(|known| (distance(known), known)).min();
    match nearest {
        Some((distance, known)) if distance * 4 <= path.len() => {
            format!("; did you mean {}?", show(known))
        }
        Some(_) | None => "; config/payonce.toml lists them all".to_owned(),
    }
}
