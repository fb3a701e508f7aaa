//! A policy file that must be signed, before payonce and while it runs.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use payonce::clock::Clock;
use payonce::decide::policy::hash_of;
use payonce::policy_file::signature::{BadSignature, TrustedKeys, beside};
use payonce::policy_file::{PolicyFile, Reloaded, Why};
use tempfile::TempDir;

use super::{BROKEN, ONE, TWO, fixture, key, put, refused, sign};

fn signed(path: &Path, keys: &[&str]) -> Result<PolicyFile, Why> {
    let keys: Vec<String> = keys.iter().map(|name| key(name)).collect();
    let trusted = TrustedKeys::parse(&keys.join(",")).unwrap();
    PolicyFile::load_signed(path, trusted, Clock::System, Box::new(|_policy| Ok(())))
        .map_err(|error| error.why)
}

#[tokio::test]
async fn a_policy_is_taken_only_with_its_signature_by_a_trusted_key() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("policy.toml");
    put(&path, "one.toml");
    let file = signed(&path, &["first.pub", "second.pub"]).unwrap();
    assert!(file.status().signed.unwrap().comment.contains("file:one.toml"));
    // The policy comes before its signature, as with a plain copy of both.
    fs::copy(fixture("two.toml"), &path).unwrap();
    assert_eq!(file.reload().await, Reloaded::Refused);
    assert!(matches!(refused(&file), Why::Signature(BadSignature::DoesNotHold(_))));
    assert_eq!(file.current().hash(), hash_of(ONE.as_bytes()));
    sign(&path, "two.toml");
    assert_eq!(file.reload().await, Reloaded::Taken);
    assert_eq!(file.current().hash(), hash_of(TWO.as_bytes()));
    assert_eq!(file.status().signed.unwrap().comment, "reviewed by two people");
    put(&path, "stranger.toml");
    assert_eq!(file.reload().await, Reloaded::Refused);
    assert!(matches!(refused(&file), Why::Signature(BadSignature::UnknownKey(_))));
    fs::remove_file(beside(&path)).unwrap();
    assert_eq!(file.reload().await, Reloaded::Refused);
    let Why::Signature(BadSignature::Missing { at, .. }) = refused(&file) else { panic!() };
    assert_eq!(at, beside(&path));
    put(&path, "two.toml");
    assert_eq!(file.reload().await, Reloaded::Mended);
    assert!(file.status().refused.is_none());
}

#[tokio::test]
async fn the_policy_in_force_is_shown_when_it_loses_its_signature() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("policy.toml");
    put(&path, "one.toml");
    let file = signed(&path, &["first.pub"]).unwrap();
    fs::remove_file(beside(&path)).unwrap();
    assert_eq!(file.reload().await, Reloaded::Refused);
    assert_eq!(file.current().hash(), hash_of(ONE.as_bytes()));
    sign(&path, "one.toml");
    assert_eq!(file.reload().await, Reloaded::Mended);
}

#[test]
fn no_start_without_a_signature_and_none_is_asked_for_without_keys() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("policy.toml");
    put(&path, "one.toml");
    for keys in [&["first.pub"][..], &["second.pub", "first.pub"]] {
        assert!(signed(&path, keys).is_ok());
    }
    let by_another = signed(&path, &["second.pub"]).unwrap_err();
    assert!(matches!(by_another, Why::Signature(BadSignature::UnknownKey(_))));
    fs::remove_file(beside(&path)).unwrap();
    let missing = signed(&path, &["first.pub"]).unwrap_err();
    assert!(matches!(missing, Why::Signature(BadSignature::Missing { .. })));
    // Nothing is said of what nobody vouches for.
    fs::write(&path, BROKEN).unwrap();
    let missing = signed(&path, &["first.pub"]).unwrap_err();
    assert!(matches!(missing, Why::Signature(BadSignature::Missing { .. })));
    // A pipe in place of the signature would hold up the start.
    fs::create_dir(beside(&path)).unwrap();
    assert!(signed(&path, &["first.pub"]).is_err());
    fs::copy(fixture("one.toml"), &path).unwrap();
    assert!(PolicyFile::load(&path, Clock::System, Box::new(|_policy| Ok(()))).is_ok());
}

#[tokio::test]
async fn a_config_map_that_holds_policy_and_signature_is_followed() {
    let directory = TempDir::new().unwrap();
    let at = |name: &str| directory.path().join(name);
    for (turn, name) in [("..1", "one.toml"), ("..2", "two.toml")] {
        fs::create_dir(at(turn)).unwrap();
        put(&at(turn).join("policy.toml"), name);
    }
    symlink("..1", at("..data")).unwrap();
    for name in ["policy.toml", "policy.toml.minisig"] {
        symlink(Path::new("..data").join(name), at(name)).unwrap();
    }
    let file = signed(&at("policy.toml"), &["first.pub", "second.pub"]).unwrap();
    symlink("..2", at("..data_tmp")).unwrap();
    fs::rename(at("..data_tmp"), at("..data")).unwrap();
    assert_eq!(file.reload().await, Reloaded::Taken);
    assert_eq!(file.current().hash(), hash_of(TWO.as_bytes()));
}
