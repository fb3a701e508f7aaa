//! Who asks: a line with the `User-Agent`, then the `X-Stripe-Client-User-Agent`.

use payonce::clients::profile::Profile;
use payonce::decide::agent::{Version, ascii};
use payonce::decide::key::sdk_named;

/// Characters that are kept of anything a client says.
const LONGEST: usize = 64;

/// Any bytes make a profile, bounded and fit for a terminal, of the SDK whose keys are known.
pub fn check(input: &[u8]) {
    let mut halves = input.splitn(2, |byte| *byte == b'\n');
    let (agent, said) = (halves.next().unwrap_or_default(), halves.next().unwrap_or_default());
    let profile = Profile::read(agent, said);
    assert_eq!(profile, Profile::read(agent, said));
    let short = agent.get(..4096).unwrap_or(agent);
    if sdk_named(ascii(short)).is_some() {
        assert!(profile.sdk.is_some(), "its keys are known, and it is not");
        assert_eq!(profile.sdk, Profile::read(agent, b"").sdk, "the JSON changed who it is");
    }
    let Profile { sdk, version, written, language, platform, app, ai_agent } = profile;
    assert!(sdk.is_some() || (version.is_none() && written.is_none()));
    for text in [written, language, platform, app, ai_agent].into_iter().flatten() {
        assert!((1..=LONGEST).contains(&text.chars().count()), "{text:?}");
        assert!(!text.contains(char::is_control), "{text:?}");
    }
    if let Some(version) = version {
        let shown = version.to_string();
        assert!(shown.len() > 40 || Version::parse(&shown) == Some(version), "{shown}");
        assert!(version <= version.release());
    }
}
