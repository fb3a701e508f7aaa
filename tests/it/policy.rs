//! The policy file on a real disk: checked, edited, swapped, broken, mended, removed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use payonce::cli::{Check, Exit, check};
use payonce::clock::Clock;
use payonce::decide::policy::coverage::{Coverage, Line};
use payonce::decide::policy::{Class, Mode, Policy, version_of};
use payonce::policy_file::{PolicyFile, Reloaded, SHIPPED, Status, Why};
use payonce::settings::Settings;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

const ONE: &str = "version = 1\n";
const TWO: &str = "version = 1\nmode = \"observe\"\n";
const BROKEN: &str = "version = 1\nmode = \"watch\"\n";

/// No change is ever this long in coming, unless it never comes.
const PATIENCE: Duration = Duration::from_secs(20);

/// A timer that never ticks within a test: what is seen was heard of.
const NEVER: Duration = Duration::from_hours(1);

/// A directory with a policy in it, and a payonce that watches it.
struct Watched {
    directory: TempDir,
    file: Arc<PolicyFile>,
    stop: CancellationToken,
    task: AbortOnDropHandle<()>,
}

impl Watched {
    fn start(every: Duration) -> Self {
        let directory = TempDir::new().unwrap();
        fs::write(directory.path().join("policy.toml"), ONE).unwrap();
        Self::over(directory, every)
    }

    fn over(directory: TempDir, every: Duration) -> Self {
        let file = Arc::new(load(&directory.path().join("policy.toml")));
        let (stop, watching) = (CancellationToken::new(), Arc::clone(&file));
        let until = stop.clone();
        let task = tokio::spawn(async move { watching.watch(every, until).await });
        Self { directory, file, stop, task: AbortOnDropHandle::new(task) }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("policy.toml")
    }

    async fn until(&self, what: &str, holds: impl FnMut(&Status) -> bool) -> Status {
        let mut status = self.file.subscribe();
        let seen = tokio::time::timeout(PATIENCE, status.wait_for(holds)).await;
        let Ok(status) = seen else { panic!("waited for {what}, and there is {:?}", self.file) };
        status.unwrap().clone()
    }

    async fn until_version(&self, text: &str) {
        let version = version_of(text.as_bytes());
        self.until(text, |status| status.version == version && status.refused.is_none()).await;
        assert_eq!(self.file.current().version(), version);
    }

    async fn until_watching(&self) {
        self.until("the watcher", |status| status.watching).await;
    }
}

fn load(path: &Path) -> PolicyFile {
    PolicyFile::load(path, Clock::System, Box::new(|_policy| Ok(()))).unwrap()
}

fn checked(path: &Path) -> (Exit, String) {
    let args = Check { policy: Some(path.to_owned()), ..Check::default() };
    let mut out = Vec::new();
    let exit = check::run(&args, &Settings::load(None, Vec::new()).unwrap(), &mut out).unwrap();
    (exit, String::from_utf8(out).unwrap())
}

#[tokio::test]
async fn an_edit_in_place_is_taken() {
    let watched = Watched::start(NEVER);
    watched.until_watching().await;
    fs::write(watched.path(), TWO).unwrap();
    watched.until_version(TWO).await;
}

#[tokio::test]
async fn a_file_renamed_over_the_old_one_is_taken_again_and_again() {
    let watched = Watched::start(NEVER);
    watched.until_watching().await;
    for text in [TWO, ONE, TWO] {
        let fresh = watched.directory.path().join(".policy.toml.swp");
        fs::write(&fresh, text).unwrap();
        fs::rename(&fresh, watched.path()).unwrap();
        watched.until_version(text).await;
    }
}

#[tokio::test]
async fn a_config_map_is_followed_through_every_swap() {
    let directory = TempDir::new().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::create_dir(at("..1")).unwrap();
    fs::write(at("..1/policy.toml"), ONE).unwrap();
    symlink("..1", at("..data")).unwrap();
    symlink("..data/policy.toml", at("policy.toml")).unwrap();
    let root = directory.path().to_owned();
    let watched = Watched::over(directory, NEVER);
    watched.until_watching().await;
    for (turn, text) in [(2, TWO), (3, ONE), (4, TWO)] {
        let fresh = format!("..{turn}");
        fs::create_dir(root.join(&fresh)).unwrap();
        fs::write(root.join(&fresh).join("policy.toml"), text).unwrap();
        symlink(&fresh, root.join("..data_tmp")).unwrap();
        fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
        fs::remove_dir_all(root.join(format!("..{}", turn - 1))).unwrap();
        watched.until_version(text).await;
    }
}

#[tokio::test]
async fn a_broken_edit_is_kept_out_and_its_mending_is_taken() {
    let watched = Watched::start(NEVER);
    watched.until_watching().await;
    fs::write(watched.path(), BROKEN).unwrap();
    let status = watched.until("the refusal", |status| status.refused.is_some()).await;
    assert_eq!(status.version, version_of(ONE.as_bytes()));
    assert_eq!(watched.file.current().version(), status.version);
    let refused = status.refused.unwrap();
    assert_eq!(refused.error.version(), Some(&*version_of(BROKEN.as_bytes())));
    assert!(refused.error.to_string().contains("line 2, column 8: unknown `mode` \"watch\""));
    fs::write(watched.path(), TWO).unwrap();
    watched.until_version(TWO).await;
}

#[tokio::test]
async fn a_file_that_is_removed_leaves_the_policy_in_force() {
    let watched = Watched::start(NEVER);
    watched.until_watching().await;
    fs::remove_file(watched.path()).unwrap();
    let status = watched.until("the refusal", |status| status.refused.is_some()).await;
    assert_eq!(watched.file.current().version(), version_of(ONE.as_bytes()));
    assert!(matches!(status.refused.unwrap().error.why, Why::Unreadable(_)));
    fs::write(watched.path(), ONE).unwrap();
    watched.until_version(ONE).await;
}

#[tokio::test]
async fn the_timer_finds_a_change_that_no_event_tells_of() {
    let elsewhere = TempDir::new().unwrap();
    fs::write(elsewhere.path().join("real.toml"), ONE).unwrap();
    let directory = TempDir::new().unwrap();
    symlink(elsewhere.path().join("real.toml"), directory.path().join("policy.toml")).unwrap();
    let watched = Watched::over(directory, Duration::from_millis(50));
    watched.until_watching().await;
    fs::write(elsewhere.path().join("real.toml"), TWO).unwrap();
    watched.until_version(TWO).await;
}

#[tokio::test]
async fn the_watch_ends_when_it_is_told_to() {
    let Watched { stop, task, .. } = Watched::start(NEVER);
    stop.cancel();
    tokio::time::timeout(PATIENCE, task).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_reload_says_what_it_did() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("policy.toml");
    fs::write(&path, ONE).unwrap();
    let file = load(&path);
    assert_eq!(file.reload().await, Reloaded::Unchanged);
    fs::write(&path, BROKEN).unwrap();
    assert_eq!(file.reload().await, Reloaded::Refused);
    assert_eq!(file.reload().await, Reloaded::Unchanged);
    fs::write(&path, ONE).unwrap();
    assert_eq!(file.reload().await, Reloaded::Mended);
    fs::write(&path, TWO).unwrap();
    assert_eq!(file.reload().await, Reloaded::Taken);
}

/// What an editor that writes in place has written so far may be a sound policy, and a laxer one.
#[tokio::test]
async fn half_a_policy_is_never_in_force() {
    const HALF: &str = "version = 1\nmode = \"observe\"\n";
    const WHOLE: &str = "version = 1\nmode = \"observe\"\ndefault_writes = \"refuse\"\n";
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("policy.toml");
    fs::write(&path, ONE).unwrap();
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let list = Arc::clone(&seen);
    let accept = Box::new(move |policy: &Policy| {
        list.lock().unwrap().push(policy.version().to_owned());
        Ok(())
    });
    let file = PolicyFile::load(&path, Clock::System, accept).unwrap();
    fs::write(&path, HALF).unwrap();
    let writes_the_rest = async {
        // Due before the second look, and polled first: never late, however slow the machine.
        tokio::time::sleep(Duration::from_millis(50)).await;
        fs::write(&path, WHOLE).unwrap();
    };
    let ((), reloaded) = tokio::join!(biased; writes_the_rest, file.reload());
    assert_eq!(reloaded, Reloaded::Taken);
    let expected = [ONE, WHOLE].map(|text| version_of(text.as_bytes()));
    assert_eq!(*seen.lock().unwrap(), expected);
}

#[tokio::test]
async fn a_request_keeps_the_policy_it_began_with() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("policy.toml");
    fs::write(&path, ONE).unwrap();
    let file = load(&path);
    let began_with = file.current();
    fs::write(&path, TWO).unwrap();
    assert_eq!(file.reload().await, Reloaded::Taken);
    assert_eq!(began_with.version(), version_of(ONE.as_bytes()));
    assert_eq!(file.current().version(), version_of(TWO.as_bytes()));
}

#[tokio::test]
async fn a_policy_that_the_process_cannot_serve_is_refused_at_start_and_at_reload() {
    let no_observing = || {
        Box::new(|policy: &Policy| {
            let observes = policy.mode() == Mode::Observe;
            if observes { Err("this process enforces".to_owned()) } else { Ok(()) }
        })
    };
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("policy.toml");
    fs::write(&path, TWO).unwrap();
    let error = PolicyFile::load(&path, Clock::System, no_observing()).unwrap_err();
    assert!(error.to_string().ends_with("cannot be served: this process enforces"));
    fs::write(&path, ONE).unwrap();
    let file = PolicyFile::load(&path, Clock::System, no_observing()).unwrap();
    fs::write(&path, TWO).unwrap();
    assert_eq!(file.reload().await, Reloaded::Refused);
    assert_eq!(file.current().version(), version_of(ONE.as_bytes()));
}

#[test]
fn what_is_no_policy_at_all_is_refused_without_reading_it_to_the_end() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("policy.toml");
    let refused = |expected: &str| {
        let (exit, said) = checked(&path);
        assert!(exit == Exit::Configuration && said.contains(expected), "{said}");
    };
    refused("cannot be read: No such file");
    fs::write(&path, vec![b'#'; 1024 * 1024 + 1]).unwrap();
    refused("is larger than 1 MiB");
    fs::write(&path, b"version = 1\n# \xff\n").unwrap();
    refused("is not UTF-8 text, from line 2");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    refused("cannot be read: it is not a regular file");
}

#[test]
fn check_tells_every_problem_and_says_no() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("policy.toml");
    fs::write(&path, "version = 1\nmode = \"watch\"\n[[rule]]\nname = \"a\"\nclass = \"pass\"\n")
        .unwrap();
    let (exit, said) = checked(&path);
    assert_eq!(exit, Exit::Configuration);
    let mode = "policy.toml, line 2, column 8: error[unknown-value]: unknown `mode`";
    assert!(said.contains(mode), "{said}");
    let missing = "policy.toml, line 3, column 1: error[missing-key]: a [[rule]] without `match`";
    assert!(said.contains(missing), "{said}");
    assert!(said.trim_end().ends_with(&format!("2 problems in the policy {}", path.display())));
}

#[test]
fn check_warns_of_a_path_that_stripe_does_not_have_and_says_yes() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("policy.toml");
    let text = "version = 1\n[[rule]]\nname = \"a\"\n\
                match = [\"POST /v1/charges/{id}\", \"POST /v1/chages\"]\nclass = \"critical\"\n";
    fs::write(&path, text).unwrap();
    let (exit, said) = checked(&path);
    assert_eq!(exit, Exit::Done);
    let warnings: Vec<&str> = said.lines().filter(|line| line.contains("warning[")).collect();
    assert_eq!(warnings.len(), 1, "{said}");
    let what = "\"POST /v1/chages\" of rule `a` matches none of the 705";
    assert!(warnings[0].contains("line 4") && warnings[0].contains(what), "{said}");
}

#[test]
fn the_shipped_policy_is_in_order_without_a_warning() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/policy.toml");
    let (exit, said) = checked(&path);
    assert!(exit == Exit::Done && said.contains("warnings 0, and 2 accepted"), "{said}");
    assert_eq!(fs::read_to_string(path).unwrap(), SHIPPED);
}

/// The table of who falls to what, for people to review when the policy changes.
#[test]
fn every_operation_that_stripe_has_falls_to_a_named_rule_of_the_shipped_policy() {
    let coverage = Coverage::of(&Policy::parse(SHIPPED).unwrap());
    let mut judged = Vec::new();
    for Line { operation, rule } in &coverage.lines {
        assert_ne!(rule.line, 0, "{operation:?} falls to {}", rule.name);
        let write = operation.method == Method::POST
            || operation.path.starts_with("/v2/") && operation.method != Method::GET;
        assert_eq!(["reads", "deletes"].contains(&rule.name.as_str()), !write, "{operation:?}");
        if write {
            let how = if rule.uses_content() { "content" } else { "call" };
            let how = if rule.class == Class::Critical { how } else { "" };
            let (name, class) = (&rule.name, rule.class);
            judged.push(format!("{name:<26} {class:<8} {how:<8} {}", operation.name()));
        }
    }
    assert!(coverage.idle.is_empty(), "{:?}", coverage.idle);
    judged.sort();
    insta::assert_snapshot!(judged.join("\n"));
}
