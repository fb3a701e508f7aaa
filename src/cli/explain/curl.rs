//! A curl command, as documentation and Stripe's dashboard give it, read as the request that curl
//! would send. What it is not understood to mean is an error with its name, never left out.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue, USER_AGENT};

use super::asked::Asked;
use crate::cli::HeaderField;

mod data;
mod options;

use data::{at, file, urlencoded};
use options::{IDLE, IDLE_WITH, VALUED, takes_none};

const FORM: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Why a curl command is not explained. None of them shows a value: it may be an API key.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadCurl {
    #[error("the quotes or backslashes do not pair up, as a shell reads them")]
    Quotes,
    #[error("$'…' is not understood: write the text between plain quotes")]
    Ansi,
    #[error("it does not begin with `curl`")]
    NoCurl,
    #[error("the option {0} is not understood; leave it out if it does not change the request")]
    Option(String),
    #[error("the option {0} wants a value")]
    NoValue(String),
    #[error("no URL")]
    NoUrl,
    #[error("more than one URL; explain one request at a time")]
    Urls,
    #[error("{0} is no URL with a path such as https://api.stripe.com/v1/charges")]
    Url(&'static str),
    #[error("-X names no method")]
    Method,
    #[error("-H wants 'Name: value'")]
    Header,
    #[error("the file {0} cannot be read: {1}")]
    File(String, String),
}

/// Reads a command; a path in it (`-d @file`) is read from the disk.
pub(super) fn read(command: &str) -> Result<Asked, BadCurl> {
    if command.contains(" $'") || command.contains("\t$'") {
        return Err(BadCurl::Ansi);
    }
    let words = shlex::split(&on_one_line(command)).ok_or(BadCurl::Quotes)?;
    let mut words = words.into_iter();
    if words.next().is_none_or(|first| first != "curl" && !first.ends_with("/curl")) {
        return Err(BadCurl::NoCurl);
    }
    let mut curl = Curl::default();
    while let Some(word) = words.next() {
        curl.word(&word, &mut words)?;
    }
    let mut asked = curl.finish()?;
    if command.contains('$') && variables(command) {
        asked.notes.push(
            "the command has a $VARIABLE between quotes that a shell does not look into; here it \
             stands for itself, so that ids and keys are not those of the real request"
                .to_owned(),
        );
    }
    Ok(asked)
}

/// Without the line ends that a backslash takes back, of which shlex makes empty words.
fn on_one_line(command: &str) -> String {
    let mut line = String::with_capacity(command.len());
    let mut within = None;
    let mut rest = command.chars();
    while let Some(c) = rest.next() {
        if c == '\\' && within != Some('\'') {
            let ends = rest.as_str().strip_prefix('\r').unwrap_or(rest.as_str());
            if let Some(after) = ends.strip_prefix('\n') {
                rest = after.chars();
            } else {
                // What it escapes is no quote.
                line.push(c);
                line.extend(rest.next());
            }
            continue;
        }
        within = match (c, within) {
            ('"' | '\'', None) => Some(c),
            (quote, Some(open)) if quote == open => None,
            (_, within) => within,
        };
        line.push(c);
    }
    line
}

fn variables(command: &str) -> bool {
    command.split('$').skip(1).any(|rest| rest.starts_with(|c: char| c.is_alphabetic() || c == '{'))
}

#[derive(Default)]
struct Curl {
    method: Option<Method>,
    url: Option<String>,
    headers: Vec<HeaderField>,
    /// What other options than `-H` stand for; `-H` wins over it.
    implied: Vec<HeaderField>,
    removed: Vec<HeaderName>,
    /// `-d` and its like, and whether one is `--json`.
    data: Option<Vec<u8>>,
    json: bool,
    get: bool,
    head: bool,
}

type Words<'a> = &'a mut dyn Iterator<Item = String>;

impl Curl {
    fn word(&mut self, word: &str, more: Words<'_>) -> Result<(), BadCurl> {
        if word == "-" || !word.starts_with('-') {
            return self.url(word.to_owned());
        }
        if word.starts_with("--") {
            return self.option(word, None, more);
        }
        // Short options stand together, and the value of the last may stand with it.
        for (at, letter) in word.get(1..).unwrap_or_default().char_indices() {
            let option = format!("-{letter}");
            let value = word.get(1 + at + letter.len_utf8()..).unwrap_or_default();
            if takes_none(&option) {
                self.option(&option, None, more)?;
            } else {
                let value = (!value.is_empty()).then(|| value.to_owned());
                return self.option(&option, value, more);
            }
        }
        Ok(())
    }

    fn option(
        &mut self,
        option: &str,
        joined: Option<String>,
        more: Words<'_>,
    ) -> Result<(), BadCurl> {
        if IDLE.contains(&option) {
            return Ok(());
        }
        match option {
            "-G" | "--get" => {
                self.get = true;
                return Ok(());
            }
            "-I" | "--head" => {
                self.head = true;
                return Ok(());
            }
            _valued => {}
        }
        if !VALUED.contains(&option) && !IDLE_WITH.contains(&option) {
            return Err(BadCurl::Option(option.escape_debug().to_string()));
        }
        let value = joined.or_else(|| more.next());
        let value = value.ok_or_else(|| BadCurl::NoValue(option.to_owned()))?;
        match option {
            "-X" | "--request" => {
                self.method = Some(value.parse().map_err(|_bad| BadCurl::Method)?);
            }
            "--url" => self.url(value)?,
            "-H" | "--header" => self.header(&value)?,
            "-u" | "--user" => {
                let pair = if value.contains(':') { value } else { format!("{value}:") };
                self.set(AUTHORIZATION, &format!("Basic {}", STANDARD.encode(pair)))?;
            }
            "--oauth2-bearer" => self.set(AUTHORIZATION, &format!("Bearer {value}"))?,
            "-A" | "--user-agent" => self.set(USER_AGENT, &value)?,
            "-d" | "--data" | "--data-ascii" => {
                let data = match value.strip_prefix('@') {
                    // curl takes the lines of a file as one.
                    Some(path) => {
                        file(path)?.into_iter().filter(|it| !b"\r\n\0".contains(it)).collect()
                    }
                    None => value.into_bytes(),
                };
                self.add(data, b"&");
            }
            "--data-raw" => self.add(value.into_bytes(), b"&"),
            "--data-binary" => self.add(at(value)?, b"&"),
            "--data-urlencode" => self.add(urlencoded(&value)?.into_bytes(), b"&"),
            "--json" => {
                self.json = true;
                self.add(at(value)?, b"");
            }
            // Of those that change nothing, the value was taken along.
            _idle => {}
        }
        Ok(())
    }

    fn url(&mut self, url: String) -> Result<(), BadCurl> {
        if self.url.replace(url).is_some() { Err(BadCurl::Urls) } else { Ok(()) }
    }

    fn header(&mut self, text: &str) -> Result<(), BadCurl> {
        let (name, value) = match (text.split_once(':'), text.strip_suffix(';')) {
            (Some((name, value)), _) => (name, value.trim()),
            (None, Some(name)) => {
                let name = name.parse().map_err(|_bad| BadCurl::Header)?;
                self.headers.push(HeaderField { name, value: HeaderValue::from_static("") });
                return Ok(());
            }
            (None, None) => return Err(BadCurl::Header),
        };
        let name: HeaderName = name.trim().parse().map_err(|_bad| BadCurl::Header)?;
        if value.is_empty() {
            // curl's way of not sending a field that it would add by itself.
            self.removed.push(name);
            return Ok(());
        }
        let value = value.parse().map_err(|_bad| BadCurl::Header)?;
        self.headers.push(HeaderField { name, value });
        Ok(())
    }

    /// The last of its kind counts.
    fn set(&mut self, name: HeaderName, value: &str) -> Result<(), BadCurl> {
        let value = value.parse().map_err(|_bad| BadCurl::Header)?;
        self.implied.retain(|field| field.name != name);
        self.implied.push(HeaderField { name, value });
        Ok(())
    }

    fn add(&mut self, data: Vec<u8>, joint: &[u8]) {
        match &mut self.data {
            None => self.data = Some(data),
            Some(all) => {
                all.extend_from_slice(joint);
                all.extend(data);
            }
        }
    }

    fn finish(mut self) -> Result<Asked, BadCurl> {
        let mut target = target(&self.url.take().ok_or(BadCurl::NoUrl)?)?;
        let data = self.data.take();
        let usual = match (&data, self.get, self.head) {
            (_, _, true) => Method::HEAD,
            (Some(_), false, false) => Method::POST,
            (Some(_), true, false) | (None, _, false) => Method::GET,
        };
        let mut body = Vec::new();
        match data {
            Some(data) if self.get || self.head => {
                let joint = if target.contains('?') { '&' } else { '?' };
                target = format!("{target}{joint}{}", String::from_utf8_lossy(&data));
            }
            Some(data) => {
                body = data;
                let value = if self.json { JSON } else { FORM };
                self.implied.push(HeaderField { name: CONTENT_TYPE, value });
            }
            None => {}
        }
        for field in self.implied {
            let named = self.headers.iter().any(|other| other.name == field.name);
            if !named && !self.removed.contains(&field.name) {
                self.headers.push(field);
            }
        }
        let method = self.method.unwrap_or(usual);
        Ok(Asked { method, target, headers: self.headers, body, notes: Vec::new() })
    }
}

/// Path and query of a URL; its host is not part of what is asked.
fn target(url: &str) -> Result<String, BadCurl> {
    let url = url.split('#').next().unwrap_or_default();
    let rest = match url.split_once("://") {
        Some(("http" | "https", rest)) => rest,
        Some(_) => return Err(BadCurl::Url("a scheme other than https")),
        None => url,
    };
    let at = rest.find(['/', '?']).unwrap_or(rest.len());
    let (host, path) = rest.split_at(at);
    if host.is_empty() {
        return Err(BadCurl::Url("a URL without a host"));
    }
    if path.contains([' ', '\n', '\t']) {
        return Err(BadCurl::Url("a URL with a blank"));
    }
    Ok(if path.starts_with('/') { path.to_owned() } else { format!("/{path}") })
}

#[cfg(test)]
mod tests;
