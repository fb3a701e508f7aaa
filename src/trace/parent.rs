//! What a request says of the trace that it belongs to: `traceparent` and `tracestate`, read
//! strictly (W3C Trace Context §3.2, §3.3, levels 1 and 2). Pure.
//!
//! What is not well-formed counts as absent: the request begins a trace of its own, and is served
//! all the same.

use std::fmt;

use http::header::HeaderName;
use http::{HeaderMap, HeaderValue};

use super::Ids;

/// `traceparent`.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// `tracestate`.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// `00-` and 32, 16 and 2 digits.
const LENGTH: usize = 55;
/// Members of a `tracestate`.
const MEMBERS: usize = 32;
/// Bytes of a `tracestate` that are handed on at least, and here at most.
const STATE_BYTES: usize = 512;
/// Members longer than this go first.
const LONG_MEMBER: usize = 128;

/// `trace-flags`, as far as they are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(u8);

impl Flags {
    const SAMPLED: u8 = 1;
    const RANDOM: u8 = 2;

    /// Of a trace that begins here: the last 7 bytes of its id are random (level 2).
    #[must_use]
    pub const fn fresh(sampled: bool) -> Self {
        Self(if sampled { Self::RANDOM | Self::SAMPLED } else { Self::RANDOM })
    }

    /// Whether the trace is kept by whoever began it.
    #[must_use]
    pub const fn sampled(self) -> bool {
        self.0 & Self::SAMPLED != 0
    }

    /// As in the field.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }
}

/// The caller's span, of which a request is a part.
#[derive(Clone, PartialEq, Eq)]
pub struct Parent {
    /// Its trace and span.
    pub ids: Ids,
    /// Its flags.
    pub flags: Flags,
    /// Its `tracestate`, empty where there is none.
    pub state: String,
}

/// A `tracestate` is another's: its length will do.
impl fmt::Debug for Parent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ids, flags, state } = self;
        write!(f, "Parent({ids:?}, {flags:?}, {} bytes of state)", state.len())
    }
}

impl Parent {
    /// What the fields of a request say; `None` where they say nothing that can be gone on with.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut fields = headers.get_all(TRACEPARENT).iter();
        let (one, another) = (fields.next()?, fields.next());
        let (ids, flags) = traceparent(one.as_bytes()).filter(|_| another.is_none())?;
        let states = headers.get_all(TRACESTATE).iter().map(HeaderValue::to_str);
        let state = states.collect::<Result<Vec<_>, _>>().ok().map(|all| all.join(","));
        let state = state.and_then(|state| tracestate(&state)).unwrap_or_default();
        Some(Self { ids, flags, state })
    }
}

/// What goes on as `traceparent` from this span.
pub(super) fn written(ids: Ids, flags: Flags) -> String {
    format!("00-{}-{}-{:02x}", hex::encode(ids.trace), hex::encode(ids.span), flags.bits())
}

fn traceparent(text: &[u8]) -> Option<(Ids, Flags)> {
    let version = *digits::<1>(text.get(..2)?)?.first()?;
    let more = text.get(LENGTH..)?;
    // A version to come may go on after another dash, and one of its flags is known.
    let (fits, known) = match version {
        0xff => return None,
        0 => (more.is_empty(), Flags::SAMPLED | Flags::RANDOM),
        _later => (more.is_empty() || more.starts_with(b"-"), Flags::SAMPLED),
    };
    let dashes = [2, 35, 52].into_iter().all(|at| text.get(at) == Some(&b'-'));
    let trace = digits::<16>(text.get(3..35)?)?;
    let span = digits::<8>(text.get(36..52)?)?;
    let [flags] = digits::<1>(text.get(53..LENGTH)?)?;
    let named = trace != [0; 16] && span != [0; 8];
    (fits && dashes && named).then_some((Ids { trace, span }, Flags(flags & known)))
}

/// Hexadecimal digits in lower case, and no others.
fn digits<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let lower = text.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let mut bytes = [0; N];
    hex::decode_to_slice(text, &mut bytes).ok().filter(|()| lower)?;
    Some(bytes)
}

/// A `tracestate` that is well-formed as a whole, cut down to [`STATE_BYTES`].
fn tracestate(text: &str) -> Option<String> {
    let members: Vec<&str> =
        text.split(',').map(|member| member.trim_matches([' ', '\t'])).collect();
    let mut members: Vec<&str> = members.into_iter().filter(|member| !member.is_empty()).collect();
    let mut keys = members.iter().map(|member| key_of(member)).collect::<Option<Vec<_>>>()?;
    keys.sort_unstable();
    let twice = keys.windows(2).any(|pair| matches!(pair, [one, another] if one == another));
    if members.len() > MEMBERS || twice {
        return None;
    }
    let length = |members: &[&str]| members.iter().map(|it| it.len() + 1).sum::<usize>();
    if length(&members) > STATE_BYTES + 1 {
        members.retain(|member| member.len() <= LONG_MEMBER);
    }
    while length(&members) > STATE_BYTES + 1 {
        members.pop();
    }
    Some(members.join(","))
}

/// The key of a member that is well-formed.
fn key_of(member: &str) -> Option<&str> {
    let (key, value) = member.split_once('=')?;
    let first = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let rest = |c: &u8| first(*c) || matches!(c, b'_' | b'-' | b'*' | b'/' | b'@');
    let key_fits = key.len() <= 256
        && key.bytes().next().is_some_and(first)
        && key.as_bytes().iter().all(rest);
    let printable = |c: u8| matches!(c, 0x20..=0x2b | 0x2d..=0x3c | 0x3e..=0x7e);
    let value_fits = value.len() <= 256 && !value.is_empty() && value.bytes().all(printable);
    (key_fits && value_fits).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn fields(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        map
    }

    fn parent(text: &str) -> Option<Parent> {
        Parent::of(&fields(&[("traceparent", text)]))
    }

    fn state(all: &[&str]) -> String {
        let states = all.iter().map(|state| ("tracestate", *state));
        let all: Vec<_> = states.chain([("traceparent", GOOD)]).collect();
        Parent::of(&fields(&all)).unwrap().state
    }

    #[test]
    fn a_well_formed_parent_is_gone_on_with_as_it_came() {
        let Parent { ids, flags, state } = parent(GOOD).unwrap();
        assert_eq!((written(ids, flags).as_str(), state.as_str()), (GOOD, ""));
        assert!(flags.sampled());
        assert!(!parent(&GOOD.replace("-01", "-02")).unwrap().flags.sampled());
    }

    #[test]
    fn an_ill_formed_parent_is_none() {
        for bad in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-011",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0x",
            "0x-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.what",
        ] {
            assert_eq!(parent(bad), None, "{bad}");
        }
        let twice = fields(&[("traceparent", GOOD), ("traceparent", GOOD)]);
        assert_eq!(Parent::of(&twice), None);
    }

    #[test]
    fn unknown_flags_are_not_handed_on() {
        let flags = |text: &str| parent(text).unwrap().flags.bits();
        assert_eq!(flags(&GOOD.replace("-01", "-ff")), 3);
        assert_eq!(flags(&GOOD.replace("-01", "-fc")), 0);
    }

    #[test]
    fn a_version_to_come_is_read_as_far_as_it_is_known() {
        let later = GOOD.replacen("00", "cc", 1);
        for text in [later.clone(), format!("{later}-what-the-future-brings")] {
            let Parent { ids, flags, .. } = parent(&text).unwrap();
            assert_eq!(written(ids, flags), GOOD, "{text}");
        }
    }

    #[test]
    fn a_state_is_joined_and_its_empty_members_are_left_out() {
        assert_eq!(state(&["a=1, b=2 ,", "", "\tt@v/x=3 !"]), "a=1,b=2,t@v/x=3 !");
    }

    #[test]
    fn an_ill_formed_state_is_dropped_and_its_parent_stays() {
        let many: Vec<String> = (0..33).map(|n| format!("k{n}=1")).collect();
        for bad in ["a", "a=", "=1", "A=1", "a=1,a=2", "a=1=2", "a b=1", "-a=1", &many.join(",")] {
            assert_eq!(state(&[bad]), "", "{bad}");
        }
    }

    #[test]
    fn a_long_state_loses_its_long_members_first_and_then_its_last() {
        let long = format!("long={}", "x".repeat(200));
        let short: Vec<String> = (0..10).map(|n| format!("k{n}={}", "x".repeat(50))).collect();
        let kept = state(&[&long, &short.join(",")]);
        assert_eq!(kept, short[..9].join(","));
        assert_eq!(state(&[&long, "a=1"]), format!("{long},a=1"));
    }
}
