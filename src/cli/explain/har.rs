//! A recording of a browser or proxy (HTTP Archive 1.2): its requests that write.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use http::Method;
use http::header::CONTENT_TYPE;
use serde::Deserialize;

use super::asked::{All, Asked};
use crate::cli::HeaderField;

/// Bytes of a recording: their answers make them large.
const MOST_BYTES: u64 = 64 * 1024 * 1024;
/// Requests that are explained.
const MOST_REQUESTS: usize = 200;
/// Requests that are named when they are left out.
const MOST_NAMED: usize = 20;

/// Why a recording is not explained.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadHar {
    #[error("it cannot be read: {0}")]
    Unreadable(std::io::Error),
    #[error("it is no regular file of at most 64 MiB")]
    NoFile,
    /// Where it is wrong, and never what stands there: that may be a key.
    #[error("this is no HTTP Archive: line {0}, column {1}")]
    NotHar(usize, usize),
    #[error("it has no request that writes")]
    Nothing,
}

#[derive(Deserialize)]
struct Har {
    log: Log,
}

#[derive(Deserialize)]
struct Log {
    entries: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    request: Request,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    method: String,
    url: String,
    #[serde(default)]
    headers: Vec<Pair>,
    post_data: Option<PostData>,
}

#[derive(Deserialize)]
struct Pair {
    name: String,
    #[serde(default)]
    value: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PostData {
    #[serde(default)]
    mime_type: String,
    text: Option<String>,
    #[serde(default)]
    params: Vec<Pair>,
}

/// The requests of the recording at `path` but GET, HEAD and OPTIONS.
pub(super) fn read(path: &Path) -> Result<All, BadHar> {
    // Opening a FIFO would block until somebody writes to it.
    let about = std::fs::metadata(path).map_err(BadHar::Unreadable)?;
    if !about.is_file() || about.len() > MOST_BYTES {
        return Err(BadHar::NoFile);
    }
    let file = File::open(path).map_err(BadHar::Unreadable)?;
    let mut text = Vec::new();
    file.take(MOST_BYTES).read_to_end(&mut text).map_err(BadHar::Unreadable)?;
    parse(&text)
}

fn parse(text: &[u8]) -> Result<All, BadHar> {
    // Some programs begin a file with a byte order mark.
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let har: Har = serde_json::from_slice(text)
        .map_err(|error| BadHar::NotHar(error.line(), error.column()))?;
    let mut all = All { requests: Vec::new(), left_out: Vec::new() };
    let mut unnamed = 0;
    for (number, entry) in har.log.entries.into_iter().enumerate() {
        let left_out = match asked(entry.request) {
            Ok(None) => continue,
            Ok(Some(asked)) if all.requests.len() < MOST_REQUESTS => {
                all.requests.push(asked);
                continue;
            }
            Ok(Some(_)) => "there are more than 200 before it",
            Err(why) => why,
        };
        if all.left_out.len() < MOST_NAMED {
            all.left_out.push(format!("request {} of the recording: {left_out}", number + 1));
        } else {
            unnamed += 1;
        }
    }
    if unnamed > 0 {
        all.left_out.push(format!("and {unnamed} more requests"));
    }
    if all.requests.is_empty() && all.left_out.is_empty() {
        return Err(BadHar::Nothing);
    }
    Ok(all)
}

/// `None` for what does not write.
fn asked(request: Request) -> Result<Option<Asked>, &'static str> {
    let method: Method = request.method.parse().map_err(|_bad| "its method is none")?;
    if matches!(method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return Ok(None);
    }
    let rest = request.url.split_once("://").ok_or("its URL is none")?.1;
    let rest = rest.split('#').next().unwrap_or_default();
    let path = rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/");
    let mut notes: Vec<String> = foreign(rest).into_iter().collect();
    let mut headers = Vec::new();
    // HTTP/2 has fields such as `:path`, which say what is known already.
    for pair in request.headers.iter().filter(|pair| !pair.name.starts_with(':')) {
        match (pair.name.parse(), pair.value.parse()) {
            (Ok(name), Ok(value)) => headers.push(HeaderField { name, value }),
            (Err(_), _) | (_, Err(_)) => {
                notes.push("a header field of the recording is ill-formed and left out".to_owned());
            }
        }
    }
    let mut asked = Asked { method, target: path.to_owned(), headers, body: Vec::new(), notes };
    if let Some(data) = request.post_data {
        body(&mut asked, data);
    }
    Ok(Some(asked))
}

fn body(asked: &mut Asked, data: PostData) {
    asked.body = data.text.map_or_else(|| form(&data.params), String::into_bytes);
    if !asked.has(&CONTENT_TYPE)
        && let Ok(value) = data.mime_type.parse()
        && !data.mime_type.is_empty()
    {
        asked.headers.push(HeaderField { name: CONTENT_TYPE, value });
    }
}

/// The body that a program recorded in parts.
fn form(params: &[Pair]) -> Vec<u8> {
    let mut form = form_urlencoded::Serializer::new(String::new());
    for pair in params {
        form.append_pair(&pair.name, &pair.value);
    }
    form.finish().into_bytes()
}

/// What to say of a request that went neither to Stripe nor to this machine: a recording of a browser
/// is full of them. What follows the scheme in.
fn foreign(rest: &str) -> Option<String> {
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let name = host.split(':').next().unwrap_or_default();
    let stripe = name == "stripe.com" || name.ends_with(".stripe.com");
    let here = host.starts_with('[') || name == "localhost" || name.starts_with("127.");
    let said = || {
        let name = name.escape_debug();
        format!("it went to {name}; what follows is for the same request to payonce")
    };
    (!stripe && !here).then(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn har(entries: &str) -> Result<All, BadHar> {
        parse(format!("{{\"log\":{{\"version\":\"1.2\",\"entries\":[{entries}]}}}}").as_bytes())
    }

    fn entry(method: &str, url: &str, more: &str) -> String {
        format!("{{\"time\":1,\"request\":{{\"method\":\"{method}\",\"url\":\"{url}\"{more}}}}}")
    }

    #[test]
    fn what_writes_is_taken_with_its_fields_and_body_and_what_reads_is_not() {
        let headers = r#","headers":[{"name":":path","value":"/v1/charges"},
            {"name":"Authorization","value":"Bearer sk_test_x"},{"name":"bad name","value":"x"}]"#;
        let data = r#","postData":{"mimeType":"application/x-www-form-urlencoded","text":"a=b"}"#;
        let post =
            entry("POST", "https://api.stripe.com/v1/charges?x=1#y", &format!("{headers}{data}"));
        let get = entry("GET", "https://api.stripe.com/v1/charges", "");
        let all = har(&[get, post].join(",")).unwrap();
        assert_eq!((all.requests.len(), all.left_out.len()), (1, 0));
        let asked = &all.requests[0];
        assert_eq!((asked.method.as_str(), asked.target.as_str()), ("POST", "/v1/charges?x=1"));
        assert_eq!((asked.body.as_slice(), asked.notes.len()), (&b"a=b"[..], 1));
        let names: Vec<&str> = asked.headers.iter().map(|field| field.name.as_str()).collect();
        assert_eq!(names, ["authorization", "content-type"]);
    }

    #[test]
    fn a_request_that_went_elsewhere_is_told_apart_by_its_host_alone() {
        let notes = |url: &str| har(&entry("POST", url, "")).unwrap().requests[0].notes.join(" ");
        for url in ["https://api.stripe.com/v1/charges", "http://localhost:8420/", "http://[::1]/x"]
        {
            assert_eq!(notes(url), "");
        }
        for url in ["https://user:sk_test_x@a.example.com:99/v1/x?y", "https://a.example.com"] {
            assert!(notes(url).starts_with("it went to a.example.com; "), "{}", notes(url));
        }
        assert!(!notes("https://notstripe.com/").is_empty());
    }

    #[test]
    fn a_form_without_its_text_is_made_of_its_parameters() {
        let data = r#","postData":{"params":[{"name":"a[b]","value":"c d"},{"name":"e"}]}"#;
        let all = har(&entry("POST", "http://localhost:8420", data)).unwrap();
        assert_eq!(all.requests[0].target, "/");
        assert_eq!(all.requests[0].body, b"a%5Bb%5D=c+d&e=");
    }

    #[test]
    fn what_is_left_out_is_named_and_bounded() {
        let many = vec![entry("POST", "https://x/v1/charges", ""); MOST_REQUESTS + 30];
        let all = har(&many.join(",")).unwrap();
        assert_eq!((all.requests.len(), all.left_out.len()), (MOST_REQUESTS, MOST_NAMED + 1));
        assert!(all.left_out[0].starts_with("request 201 of the recording"));
        assert_eq!(all.left_out[MOST_NAMED], "and 10 more requests");
        let bad = har(&entry("POST", "nowhere", "")).unwrap();
        assert_eq!(bad.left_out, ["request 1 of the recording: its URL is none"]);
    }

    #[test]
    fn what_is_no_recording_is_told_with_its_place_and_without_its_text() {
        let bad = parse(b"{\"log\": \"sk_live_x\"}").unwrap_err().to_string();
        assert!(bad.contains("line 1") && !bad.contains("sk_live"), "{bad}");
        assert!(matches!(har(""), Err(BadHar::Nothing)));
        assert!(matches!(read(Path::new("/")), Err(BadHar::NoFile)));
    }
}
