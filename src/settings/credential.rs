//! The API key that payonce holds for its application, and what the application sends instead.

use std::path::PathBuf;
use std::time::Duration;

use super::reader::Reader;
use super::secret::Secret;

const FILE: &str = "credential.file";
const VALUE: &str = "credential.value";
const PLACEHOLDER: &str = "credential.placeholder";
const ONLY: &str = "credential.only";

/// Most characters of an API key, or of what stands for one.
const LONGEST: usize = 512;

/// The API key that payonce holds, if it holds one.
#[derive(Clone, Debug)]
pub struct Credential {
    /// The file that it is in; read again when it changes.
    pub path: Option<PathBuf>,
    /// What that file, or the environment, held at start.
    pub key: Option<Secret>,
    /// What the application sends in its place. No secret.
    pub placeholder: String,
    /// Whether requests with any other key are refused.
    pub only: bool,
    /// How often the file is read again unasked.
    pub refresh: Duration,
}

/// Why something is no API key. Shows nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// There is nothing.
    #[error("it is empty")]
    Empty,
    /// It is longer than any API key.
    #[error("it is longer than an API key")]
    TooLong,
    /// A line break, perhaps between two keys.
    #[error("it has a line break inside: it must hold one API key and nothing else")]
    LineBreak,
    /// Something that a header cannot carry as it is.
    #[error("it holds a character that no API key has")]
    Character,
    /// The application's placeholder, of which there would be no end.
    #[error("it is the placeholder itself (credential.placeholder)")]
    Placeholder,
}

/// Whether `key` can be an API key.
///
/// # Errors
/// [`Unfit`] says why not.
pub fn fit(key: &Secret, placeholder: &str) -> Result<(), Unfit> {
    let bytes = key.expose();
    if bytes.is_empty() {
        Err(Unfit::Empty)
    } else if bytes.contains(&b'\n') || bytes.contains(&b'\r') {
        Err(Unfit::LineBreak)
    } else if bytes.len() > LONGEST {
        Err(Unfit::TooLong)
    } else if !bytes.iter().copied().all(is_plain) {
        Err(Unfit::Character)
    } else if bytes == placeholder.as_bytes() {
        Err(Unfit::Placeholder)
    } else {
        Ok(())
    }
}

/// As a bearer token and as a user name it must mean the same; the latter ends at a colon.
const fn is_plain(byte: u8) -> bool {
    byte.is_ascii_graphic() && byte != b':'
}

/// Reads and checks it.
pub(super) fn read(r: &mut Reader) -> Credential {
    let path = r.path(FILE);
    let placeholder = placeholder(r);
    let inline = r.is_set(VALUE);
    let key = r.password(FILE, VALUE);
    if let Some(key) = &key
        && let Err(unfit) = fit(key, &placeholder)
    {
        r.refuse(if inline { VALUE } else { FILE }, format!("is no API key: {unfit}"));
    }
    let only = r.flag(ONLY);
    let held = path.is_some() || inline;
    let what = "needs credential.file: without an API key of its own payonce would refuse all";
    r.require(ONLY, &[FILE, VALUE], !only || held, what.to_owned());
    let refresh =
        r.duration("credential.refresh", Duration::from_secs(1)..=Duration::from_hours(1));
    Credential { path, key, placeholder, only, refresh }
}

fn placeholder(r: &mut Reader) -> String {
    let form = "text that stands for the API key, such as \"sk_test_payonce_placeholder\"";
    let Some(text) = r.hidden(PLACEHOLDER, form) else { return String::new() };
    let plain = text.len() >= 8 && text.len() <= LONGEST && text.bytes().all(is_plain);
    if !plain {
        r.refuse(PLACEHOLDER, "must be 8 to 512 visible ASCII characters without a colon");
    } else if is_real(&text) {
        let what = "looks like a real API key: it must be one that nobody has, since whoever sends \
                    it is given the real one";
        r.refuse(PLACEHOLDER, what);
    }
    text
}

/// Stripe's keys have 24 or more letters and digits after their kind, and nothing else.
fn is_real(text: &str) -> bool {
    text.rsplit_once('_').is_some_and(|(_, rest)| {
        rest.len() >= 24 && rest.bytes().all(|byte| byte.is_ascii_alphanumeric())
    })
}

/// What should be said aloud of it.
///
/// `exposed`: others than this machine's processes reach the proxy.
pub(super) fn warnings(s: &Credential, exposed: bool) -> Vec<String> {
    let secret = s.key.as_ref().is_some_and(|key| key.expose().starts_with(b"sk_live_"));
    let known = [
        (
            secret,
            "credential: the API key is a secret key, which may do everything; a restricted one \
             (rk_live_…) is safer",
        ),
        (
            s.key.is_some() && exposed,
            "credential: listen.proxy is not loopback: whoever reaches it can use the API key",
        ),
    ];
    known.iter().filter(|(holds, _)| *holds).map(|(_, text)| (*text).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

    /// What is said of these settings; nothing if they are sound.
    fn said(settings: &[(&str, &str)]) -> String {
        let variable = |(name, value): &(&str, &str)| {
            (format!("PAYONCE_CREDENTIAL__{name}").into(), (*value).into())
        };
        let loaded = Settings::load(None, settings.iter().map(variable).collect::<Vec<_>>());
        let problems = loaded.err().unwrap_or_default();
        let told = problems.iter().map(|problem| format!("{}: {}", problem.path, problem.what));
        told.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn what_is_no_credential_is_told_with_its_setting_and_never_shown() {
        let real = "sk_test_4eC39HqLyjWDarjtT1zdp7dc";
        for (settings, wanted) in [
            (vec![("VALUE", "rk_live_51abc")], ""),
            (vec![("VALUE", "canary key")], "credential.value: is no API key: it holds a char"),
            (vec![("VALUE", "")], "credential.value: is empty"),
            (vec![("FILE", "/nowhere")], "credential.file: names a file that cannot be read"),
            (vec![("FILE", "/nowhere"), ("VALUE", "canary")], "credential.value: is set, and cred"),
            (vec![("ONLY", "true")], "credential.only: needs credential.file"),
            (vec![("ONLY", "true"), ("VALUE", "canary_key")], ""),
            (vec![("PLACEHOLDER", "canary")], "credential.placeholder: must be 8 to 512"),
            (vec![("PLACEHOLDER", "canary canary")], "credential.placeholder: must be 8 to 512"),
            (vec![("PLACEHOLDER", real)], "credential.placeholder: looks like a real API key"),
            (
                vec![("PLACEHOLDER", "the_stand_in"), ("VALUE", "the_stand_in")],
                "credential.value: ",
            ),
        ] {
            let said = said(&settings);
            assert!(said.starts_with(wanted) && said.is_empty() == wanted.is_empty(), "{said}");
            assert!(!said.contains("canary") && !said.contains(real), "{said}");
        }
    }

    #[test]
    fn what_makes_the_key_easier_to_misuse_is_said_aloud() {
        for (key, warned) in [("sk_live_51abc", true), ("rk_live_51abc", false)] {
            let value = ("PAYONCE_CREDENTIAL__VALUE".into(), key.into());
            let said = Settings::load(None, [value]).unwrap().warnings.join("\n");
            assert_eq!(said.contains("a restricted one"), warned, "{said}");
            assert!(!said.contains("51abc"));
        }
        let exposed = [
            ("PAYONCE_CREDENTIAL__VALUE".into(), "rk_live_51abc".into()),
            ("PAYONCE_LISTEN__PROXY".into(), "0.0.0.0:8420".into()),
        ];
        let said = Settings::load(None, exposed).unwrap().warnings.join("\n");
        assert!(said.contains("whoever reaches it can use the API key"), "{said}");
    }

    #[test]
    fn only_what_a_header_can_carry_as_one_key_is_an_api_key() {
        let held = |text: &str| fit(&Secret::new(text.as_bytes().to_vec()), "sk_test_stand_in");
        assert_eq!(held("rk_live_51abc"), Ok(()));
        assert_eq!(held(""), Err(Unfit::Empty));
        assert_eq!(held("rk_live_1\nrk_live_2"), Err(Unfit::LineBreak));
        assert_eq!(held("rk_live_1\n"), Err(Unfit::LineBreak));
        assert_eq!(held("rk_live 1"), Err(Unfit::Character));
        assert_eq!(held("rk_live_1:"), Err(Unfit::Character));
        assert_eq!(held("rk_live_\u{e9}"), Err(Unfit::Character));
        assert_eq!(held("sk_test_stand_in"), Err(Unfit::Placeholder));
        assert_eq!(held(&"x".repeat(513)), Err(Unfit::TooLong));
    }
}
