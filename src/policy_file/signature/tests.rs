use super::*;

const ONE: &[u8] = include_bytes!("../../../tests/fixtures/signed/one.toml");
const ONE_SIGNED: &[u8] = include_bytes!("../../../tests/fixtures/signed/one.toml.minisig");
const OLD_FORM: &[u8] = include_bytes!("../../../tests/fixtures/signed/one.toml.old-form.minisig");
const TWO: &[u8] = include_bytes!("../../../tests/fixtures/signed/two.toml");
const TWO_SIGNED: &[u8] = include_bytes!("../../../tests/fixtures/signed/two.toml.minisig");
const STRANGER: &[u8] = include_bytes!("../../../tests/fixtures/signed/stranger.toml");
const BY_STRANGER: &[u8] = include_bytes!("../../../tests/fixtures/signed/stranger.toml.minisig");

const FIRST: &str = include_str!("../../../tests/fixtures/signed/first.pub");
const SECOND: &str = include_str!("../../../tests/fixtures/signed/second.pub");

fn line(public: &str) -> &str {
    public.lines().nth(1).unwrap()
}

fn both() -> TrustedKeys {
    TrustedKeys::parse(&format!("{}, {}", line(FIRST), line(SECOND))).unwrap()
}

#[test]
fn a_policy_signed_with_any_of_the_trusted_keys_is_vouched_for() {
    let one = both().verify(ONE, ONE_SIGNED).unwrap();
    // As minisign wrote it into the first line of the public key's file.
    assert!(FIRST.lines().next().unwrap().ends_with(&one.by.to_string()), "{one:?}");
    assert!(one.comment.contains("file:one.toml"), "{one:?}");
    let two = both().verify(TWO, TWO_SIGNED).unwrap();
    assert_eq!(two.comment, "reviewed by two people");
    assert_ne!(one.by, two.by);
}

#[test]
fn a_key_that_is_trusted_no_more_vouches_for_nothing() {
    let second = TrustedKeys::parse(line(SECOND)).unwrap();
    let Err(BadSignature::UnknownKey(by)) = second.verify(ONE, ONE_SIGNED) else { panic!() };
    assert!(FIRST.contains(&by.to_string()));
    let stranger = both().verify(STRANGER, BY_STRANGER);
    assert!(matches!(stranger, Err(BadSignature::UnknownKey(_))), "{stranger:?}");
}

#[test]
fn a_signature_is_for_its_policy_alone_to_the_byte() {
    let does_not_hold = |policy: &[u8], signature: &[u8]| {
        let found = both().verify(policy, signature);
        assert!(matches!(found, Err(BadSignature::DoesNotHold(_))), "{found:?}");
    };
    does_not_hold(TWO, ONE_SIGNED);
    for at in 0..ONE.len() {
        let mut changed = ONE.to_vec();
        changed[at] ^= 1;
        if at % 16 == 0 {
            does_not_hold(&changed, ONE_SIGNED);
        }
    }
    does_not_hold(&ONE[..ONE.len() - 1], ONE_SIGNED);
    does_not_hold(b"", ONE_SIGNED);
    let text = std::str::from_utf8(TWO_SIGNED).unwrap();
    does_not_hold(TWO, text.replace("two people", "ten people").as_bytes());
}

#[test]
fn what_is_no_signature_is_said_to_be_damaged_and_an_old_form_to_be_old() {
    let whole = std::str::from_utf8(ONE_SIGNED).unwrap();
    for cut in 0..whole.len() - 2 {
        let found = both().verify(ONE, &ONE_SIGNED[..cut]);
        assert!(matches!(found, Err(BadSignature::Damaged)), "{cut}: {found:?}");
    }
    for text in [&b"\xff\xfe"[..], b"a\nb\nc\nd\n", FIRST.as_bytes()] {
        assert_eq!(both().verify(ONE, text), Err(BadSignature::Damaged));
    }
    assert_eq!(both().verify(ONE, OLD_FORM), Err(BadSignature::OldForm));
}

#[test]
fn what_is_no_key_is_said_to_be_none() {
    assert_eq!(TrustedKeys::parse("").unwrap_err(), BadKeys::NotAKey(1));
    let text = format!("{},untrusted comment", line(FIRST));
    assert_eq!(TrustedKeys::parse(&text).unwrap_err(), BadKeys::NotAKey(2));
    let many = vec![line(FIRST); MOST_KEYS + 1].join(",");
    assert_eq!(TrustedKeys::parse(&many).unwrap_err(), BadKeys::TooMany);
    // The key's file as it is, with its comment.
    assert!(TrustedKeys::parse(FIRST).is_err());
}
