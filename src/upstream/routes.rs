//! Which of the provider's hosts serves a path (FACTS §1.5).
//!
//! An SDK that was given one base sends the traffic of every host there; this puts it right. Pure,
//! and only about hosts: whether a request is critical is the policy's question.

use http::Method;

use super::Host;

/// The host for a request, from its method and its decoded path segments.
#[must_use]
pub fn host(method: &Method, segments: &[String]) -> Host {
    let reads = method == Method::GET || method == Method::HEAD;
    match segments {
        [v1, files] if method == Method::POST && v1 == "v1" && files == "files" => Host::Files,
        [v1, quotes, _quote, pdf] if reads && v1 == "v1" && quotes == "quotes" && pdf == "pdf" => {
            Host::Files
        }
        [oauth, _, ..] if oauth == "oauth" => Host::Connect,
        [v2, billing, stream]
            if method == Method::POST
                && v2 == "v2"
                && billing == "billing"
                && stream == "meter_event_stream" =>
        {
            Host::MeterEvents
        }
        _elsewhere => Host::Api,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segments(path: &str) -> Vec<String> {
        path.trim_start_matches('/').split('/').map(str::to_owned).collect()
    }

    #[test]
    fn every_listed_operation_goes_to_the_host_it_is_listed_with() {
        let table = include_str!("../../config/operations.tsv");
        let mut rows = 0;
        for row in table.lines().skip(1) {
            let columns: Vec<&str> = row.split('\t').collect();
            let expected = match columns[3] {
                "api.stripe.com" => Host::Api,
                "files.stripe.com" => Host::Files,
                "connect.stripe.com" => Host::Connect,
                "meter-events.stripe.com" => Host::MeterEvents,
                other => panic!("unknown host {other}"),
            };
            let method = columns[0].parse().unwrap();
            assert_eq!(host(&method, &segments(columns[1])), expected, "{row}");
            rows += 1;
        }
        assert_eq!(rows, 705);
    }

    #[test]
    fn a_path_that_only_resembles_a_special_one_stays_with_the_api() {
        for (method, path) in [
            (Method::GET, "/v1/files"),
            (Method::POST, "/v1/files/file_1"),
            (Method::POST, "/v1/quotes/qt_1/pdf"),
            (Method::POST, "/v2/billing/meter_events"),
            (Method::GET, "/oauth"),
        ] {
            assert_eq!(host(&method, &segments(path)), Host::Api, "{method} {path}");
        }
    }
}
