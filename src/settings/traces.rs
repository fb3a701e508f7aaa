//! Where traces go, and which.

use std::path::PathBuf;

use super::checked::ca_file;
use super::reader::Reader;
use crate::trace::headers::Headers;
use crate::upstream::origin::Scheme;
use crate::webhook::application::Forward;

/// Where traces go.
#[derive(Clone, Debug)]
pub struct Tracing {
    /// The collector's URL for traces; `None`: nothing is exported. Only where payonce can export.
    pub collector: Option<Forward>,
    /// What it wants to see.
    pub headers: TracingHeaders,
    /// Trusted instead of the platform's authorities. PEM; it could be read.
    pub ca_file: Option<PathBuf>,
    /// The share of the traces that begin here that are kept, 0 to 1.
    pub sample_ratio: f64,
    /// Whether the provider is told the id of each attempt.
    pub propagate: bool,
}

/// Header fields for the collector. With any, nothing goes to it in clear but on this machine.
#[derive(Clone, Debug, Default)]
pub struct TracingHeaders {
    /// The file that they are in; read again as spans are sent.
    pub path: Option<PathBuf>,
    /// What that file, or the environment, held at start.
    pub headers: Headers,
}

/// Whether this payonce can export at all.
const CAN_EXPORT: bool = cfg!(feature = "otlp");

const ENDPOINT: &str = "tracing.otlp_endpoint";
const HEADERS: &str = "tracing.headers_file";
const HEADERS_VALUE: &str = "tracing.headers";
const FORM: &str = "a URL such as \"http://127.0.0.1:4318\"; no user name, query or fragment";

/// Reads them, or notes what is wrong.
pub(super) fn read(r: &mut Reader) -> Tracing {
    let collector = collector(r);
    Tracing {
        headers: headers(r, collector.as_ref()),
        collector,
        ca_file: ca_file(r, "tracing.ca_file"),
        sample_ratio: r.ratio("tracing.sample_ratio", 0.0..=1.0),
        propagate: r.flag("tracing.propagate"),
    }
}

fn collector(r: &mut Reader) -> Option<Forward> {
    let text = r.optional(ENDPOINT, FORM)?;
    if !CAN_EXPORT {
        let why = "cannot be used: this payonce is built without traces (cargo feature `otlp`)";
        r.refuse(ENDPOINT, why);
        return None;
    }
    let collector = traces_at(&text);
    if collector.is_none() {
        // What stands there is not quoted: a password may be in it.
        r.refuse(ENDPOINT, format!("must be {FORM}"));
    }
    collector
}

/// What the collector wants to see. A credential crosses no network in clear: a collector that asks for
/// one can speak TLS, with an authority of one's own if need be, and a warning at start nobody reads.
fn headers(r: &mut Reader, collector: Option<&Forward>) -> TracingHeaders {
    let path = r.path(HEADERS);
    let set = if r.is_set(HEADERS_VALUE) { HEADERS_VALUE } else { HEADERS };
    let Some(text) = r.password(HEADERS, HEADERS_VALUE) else { return TracingHeaders::default() };
    let headers = Headers::parse(&text).unwrap_or_else(|why| {
        r.refuse(set, format!("holds no headers for a collector: {why}"));
        Headers::default()
    });
    let used = "is of no use without tracing.otlp_endpoint".to_owned();
    r.require(set, &[ENDPOINT], collector.is_some(), used);
    if let Some(Forward { origin, .. }) = collector {
        let safe = origin.scheme() == Scheme::Https || origin.is_loopback();
        let what = format!(
            "would send credentials to {origin} in clear: say https:// in tracing.otlp_endpoint \
             (tracing.ca_file names an authority of your own), or send to a collector of this machine"
        );
        r.require(set, &[ENDPOINT], safe, what);
    }
    TracingHeaders { path, headers }
}

/// Where traces go of what goes to `text`, as OTLP/HTTP has it.
fn traces_at(text: &str) -> Option<Forward> {
    if text.contains(['?', '#']) {
        return None;
    }
    let base = text.trim_end_matches('/');
    Forward::parse(&format!("{base}/v1/traces")).ok()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::settings::Settings;

    fn load(name: &str, value: &str) -> Result<Settings, Vec<String>> {
        let name = OsString::from(format!("PAYONCE_TRACING__{name}"));
        Settings::load(None, [(name, OsString::from(value))])
            .map_err(|problems| problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn traces_go_below_the_endpoint_whatever_its_path() {
        for (text, shown) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
            ("https://otel.example/", "https://otel.example/v1/traces"),
            ("https://otel.example/team/a", "https://otel.example/team/a/v1/traces"),
        ] {
            assert_eq!(traces_at(text).unwrap().to_string(), shown);
        }
        for text in
            ["otel:4318", "grpc://otel", "http://u:hunter2@otel", "http://otel?a=b", "http:///"]
        {
            assert_eq!(traces_at(text), None, "{text}");
        }
    }

    #[test]
    fn by_default_nothing_is_exported_and_nothing_is_told_the_provider() {
        let tracing = Settings::load(None, []).unwrap().tracing;
        assert!(tracing.collector.is_none() && !tracing.propagate);
        assert!((tracing.sample_ratio - 1.0).abs() < f64::EPSILON);
    }

    #[test]
    fn a_share_beyond_all_is_refused() {
        let [problem] = load("SAMPLE_RATIO", "1.5").unwrap_err().try_into().unwrap();
        assert!(problem.contains("tracing.sample_ratio"), "{problem}");
    }

    #[cfg(feature = "otlp")]
    #[test]
    fn a_bad_endpoint_is_refused_and_not_quoted() {
        let [problem] =
            load("OTLP_ENDPOINT", "http://u:hunter2@otel").unwrap_err().try_into().unwrap();
        assert!(problem.contains("tracing.otlp_endpoint"), "{problem}");
        assert!(!problem.contains("hunter2"), "{problem}");
    }

    /// What is said of these settings; nothing if they are sound.
    fn said(settings: &[(&str, &str)]) -> String {
        let variable = |(name, value): &(&str, &str)| {
            (OsString::from(format!("PAYONCE_TRACING__{name}")), OsString::from(value))
        };
        let loaded = Settings::load(None, settings.iter().map(variable).collect::<Vec<_>>());
        let problems = loaded.err().unwrap_or_default();
        let told = problems.iter().map(|problem| format!("{}: {}", problem.path, problem.what));
        told.collect::<Vec<_>>().join("\n")
    }

    #[cfg(feature = "otlp")]
    #[test]
    fn credentials_cross_no_network_in_clear() {
        let headers = ("HEADERS", "authorization: Bearer canary");
        for (endpoint, wanted) in [
            ("http://127.0.0.1:4318", ""),
            ("http://[::1]:4318", ""),
            ("http://localhost:4318", ""),
            ("https://otel.example", ""),
            ("http://otel.monitoring:4318", "tracing.headers: would send credentials to http://"),
            ("http://10.0.0.1:4318", "tracing.headers: would send credentials to http://10.0.0.1"),
        ] {
            let said = said(&[("OTLP_ENDPOINT", endpoint), headers]);
            assert!(said.starts_with(wanted) && said.is_empty() == wanted.is_empty(), "{said}");
            assert!(!said.contains("canary"), "{said}");
        }
    }

    #[test]
    fn headers_that_are_none_or_are_sent_nowhere_are_refused_and_not_quoted() {
        for (settings, wanted) in [
            (
                vec![("HEADERS", "canary")],
                "tracing.headers: holds no headers for a collector: line",
            ),
            (vec![("HEADERS", "a: canary")], "tracing.headers: is of no use without tracing.otlp_"),
            (vec![("HEADERS", "")], "tracing.headers: is empty"),
            (vec![("HEADERS_FILE", "/nowhere")], "tracing.headers_file: names a file that cannot"),
            (
                vec![("HEADERS_FILE", "/nowhere"), ("HEADERS", "a: canary")],
                "tracing.headers: is set, and tracing.headers_file too",
            ),
            (vec![("CA_FILE", "/nowhere")], "tracing.ca_file: cannot be read"),
        ] {
            let said = said(&settings);
            assert!(said.starts_with(wanted) && !said.contains("canary"), "{said}");
        }
    }

    #[cfg(not(feature = "otlp"))]
    #[test]
    fn an_endpoint_is_refused_by_a_payonce_that_cannot_export() {
        let [problem] =
            load("OTLP_ENDPOINT", "http://127.0.0.1:4318").unwrap_err().try_into().unwrap();
        assert!(problem.contains("tracing.otlp_endpoint"), "{problem}");
        assert!(problem.contains("feature `otlp`"), "{problem}");
    }
}
