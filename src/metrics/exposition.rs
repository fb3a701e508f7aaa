//! The page that is scraped, in the form that the scraper asks for.

use std::collections::BTreeSet;

/// The text form that every Prometheus reads since 2.5, and what a scraper gets that does not mind.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// The form before it.
const CLASSIC: &str = "text/plain; version=0.0.4; charset=utf-8";

/// How the page is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `OpenMetrics` 1.0.
    OpenMetrics,
    /// Prometheus's older text form, for scrapers that know no other.
    Classic,
}

impl Format {
    /// By a request's `Accept`: the older form for who asks for plain text and not for
    /// `OpenMetrics`, also not by a wildcard.
    #[must_use]
    pub fn accepted(accept: Option<&str>) -> Self {
        let names = |kind: &str| accept.is_some_and(|accept| lists(accept, kind));
        if names("text/plain") && !names("application/openmetrics-text") {
            Self::Classic
        } else {
            Self::OpenMetrics
        }
    }

    /// The page's `Content-Type`.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => OPEN_METRICS,
            Self::Classic => CLASSIC,
        }
    }

    /// The page in this form, from that of `OpenMetrics`.
    #[must_use]
    pub fn page(self, open_metrics: String) -> String {
        match self {
            Self::OpenMetrics => open_metrics,
            Self::Classic => classic(&open_metrics),
        }
    }
}

/// Whether `accept` lists `kind`, and not with a weight of nothing.
fn lists(accept: &str, kind: &str) -> bool {
    accept.split(',').any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(kind));
        let refused = parts.any(|part| {
            part.strip_prefix("q=").is_some_and(|q| q.parse::<f32>().is_ok_and(|q| q <= 0.0))
        });
        named && !refused
    })
}

/// A counter's metadata bears the name of its samples there, and there are no units and no end.
fn classic(page: &str) -> String {
    let typed = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let counters: BTreeSet<&str> = typed.filter_map(|rest| rest.strip_suffix(" counter")).collect();
    let mut out = String::with_capacity(page.len());
    for line in page.lines() {
        if line.starts_with("# UNIT ") || line == "# EOF" {
            continue;
        }
        let meta = ["# HELP ", "# TYPE "].iter().find_map(|kind| {
            let (name, rest) = line.strip_prefix(kind)?.split_once(' ')?;
            counters.contains(name).then(|| format!("{kind}{name}_total {rest}"))
        });
        out.push_str(meta.as_deref().unwrap_or(line));
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_for_plain_text_alone_gets_the_older_form() {
        let of = |accept| Format::accepted(Some(accept));
        assert_eq!(Format::accepted(None), Format::OpenMetrics);
        assert_eq!(of("*/*"), Format::OpenMetrics);
        assert_eq!(of("text/plain;version=0.0.4;q=0.5,*/*;q=0.1"), Format::Classic);
        assert_eq!(of("text/plain, application/openmetrics-text;q=0"), Format::Classic);
        // As Prometheus 2.42 asks.
        let prometheus = "application/openmetrics-text;version=1.0.0,\
                          application/openmetrics-text;version=0.0.1;q=0.75,\
                          text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert_eq!(of(prometheus), Format::OpenMetrics);
    }

    #[test]
    fn a_counter_is_declared_by_the_name_of_its_samples_in_the_older_form() {
        let page = "# HELP a_b Things.\n# TYPE a_b counter\na_b_total{x=\"1\"} 2\n\
                    # HELP c_seconds Time.\n# TYPE c_seconds gauge\n# UNIT c_seconds seconds\n\
                    c_seconds 3.0\n# EOF\n";
        assert_eq!(
            Format::Classic.page(page.to_owned()),
            "# HELP a_b_total Things.\n# TYPE a_b_total counter\na_b_total{x=\"1\"} 2\n\
             # HELP c_seconds Time.\n# TYPE c_seconds gauge\nc_seconds 3.0\n"
        );
    }
}
