//! Where traces go, and which.

use super::Tracing;
use super::reader::Reader;
use crate::webhook::application::Forward;

/// Whether this payonce can export at all.
const CAN_EXPORT: bool = cfg!(feature = "otlp");

const ENDPOINT: &str = "tracing.otlp_endpoint";
const FORM: &str = "a URL such as \"http://127.0.0.1:4318\"; no user name, query or fragment";

/// Reads them, or notes what is wrong.
pub(super) fn read(r: &mut Reader) -> Tracing {
    Tracing {
        collector: collector(r),
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

    #[cfg(not(feature = "otlp"))]
    #[test]
    fn an_endpoint_is_refused_by_a_payonce_that_cannot_export() {
        let [problem] =
            load("OTLP_ENDPOINT", "http://127.0.0.1:4318").unwrap_err().try_into().unwrap();
        assert!(problem.contains("tracing.otlp_endpoint"), "{problem}");
        assert!(problem.contains("feature `otlp`"), "{problem}");
    }
}
