use std::fs;

use super::*;
use crate::audit::entry::{Verdict, Word};

fn entry(event: Event, verdict: Verdict, hash: &str, previous: Option<&str>) -> Entry {
    Entry {
        format: 1,
        prev: String::new(),
        time: "2026-11-23T21:00:00.000Z".to_owned(),
        event,
        verdict,
        file: "policy.toml".to_owned(),
        hash: Some(hash.to_owned()),
        previous: previous.map(str::to_owned),
        rules: Some(1),
        signed_by: None,
        signed_comment: None,
        problems: 0,
        problem: None,
        warnings: None,
        changes: None,
        reidentified: None,
        host: None,
        pid: 7,
        payonce: "0.1.0".to_owned(),
        word: None,
    }
}

fn start(hash: &str) -> Entry {
    entry(Event::Start, Verdict::Taken, hash, None)
}

/// Every line of the log, and whether it is in order.
fn looked_through(log: &[u8]) -> (bool, Vec<Line>) {
    let mut lines = Vec::new();
    let sound = verify(log, |line| {
        lines.push(line.clone());
        Ok(())
    });
    (sound.unwrap(), lines)
}

/// A log of four lines.
fn four() -> (tempfile::TempDir, Vec<u8>) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.ndjson");
    for hash in ["a", "b", "c", "d"] {
        append(&path, start(hash)).unwrap();
    }
    let log = fs::read(&path).unwrap();
    (directory, log)
}

#[test]
fn each_line_follows_the_one_before_and_its_hash_is_given_back() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.ndjson");
    let hashes = ["a", "b", "c"].map(|hash| append(&path, start(hash)).unwrap());
    let (sound, lines) = looked_through(&fs::read(&path).unwrap());
    assert!(sound);
    assert_eq!(lines.iter().map(|line| line.sha256.clone()).collect::<Vec<_>>(), hashes);
    let prev = |index: usize| lines[index].entry.as_ref().unwrap().prev.clone();
    assert_eq!([prev(0), prev(1)], [NOTHING_BEFORE.to_owned(), hashes[0].clone()]);
}

#[test]
fn a_start_knows_from_the_log_what_was_in_force() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.ndjson");
    append(&path, start("a")).unwrap();
    append(&path, entry(Event::Reload, Verdict::Taken, "b", Some("a"))).unwrap();
    append(&path, entry(Event::Reload, Verdict::Refused, "bad", Some("b"))).unwrap();
    append(&path, start("c")).unwrap();
    append(&path, entry(Event::Start, Verdict::Refused, "bad", None)).unwrap();
    append(&path, start("d")).unwrap();
    let (_, lines) = looked_through(&fs::read(&path).unwrap());
    let previous = |line: &Line| line.entry.as_ref().unwrap().previous.clone();
    let found: Vec<_> = lines.iter().map(previous).collect();
    let wanted = [None, Some("a"), Some("b"), Some("b"), Some("c"), Some("c")];
    assert_eq!(found, wanted.map(|hash| hash.map(str::to_owned)));
}

#[test]
fn a_line_that_was_changed_removed_put_in_or_moved_shows() {
    let (_directory, log) = four();
    let text = String::from_utf8(log).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let wrong_at = |lines: &[&str]| {
        let (sound, seen) = looked_through(lines.join("\n").as_bytes());
        assert_eq!(sound, seen.iter().all(|line| line.wrong.is_none()));
        seen.iter().find(|line| line.wrong.is_some()).map(|line| line.number)
    };
    assert_eq!(wrong_at(&lines), None);
    for at in 0..3 {
        let mut removed = lines.clone();
        removed.remove(at);
        assert_eq!(wrong_at(&removed), Some(at + 1));
        let changed = lines[at].replace("policy.toml", "other.toml");
        let mut all = lines.clone();
        all[at] = &changed;
        assert_eq!(wrong_at(&all), Some(at + 2));
        let mut twice = lines.clone();
        twice.insert(at, lines[at]);
        assert_eq!(wrong_at(&twice), Some(at + 2));
        let mut swapped = lines.clone();
        swapped.swap(at, at + 1);
        assert_eq!(wrong_at(&swapped), Some(at + 1));
        let mut damaged = lines.clone();
        damaged[at] = &lines[at][1..];
        assert_eq!(wrong_at(&damaged), Some(at + 1));
    }
}

#[test]
fn a_line_whose_writer_did_not_get_to_its_end_stays_and_the_next_begins_a_new_one() {
    let (directory, log) = four();
    let path = directory.path().join("audit.ndjson");
    let last = log[..log.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    for kept in [1, 5, 30, log.len() - last - 1] {
        fs::write(&path, &log[..last + kept]).unwrap();
        append(&path, start("e")).unwrap();
        append(&path, start("f")).unwrap();
        let (sound, lines) = looked_through(&fs::read(&path).unwrap());
        let wrong: Vec<_> = lines.iter().filter_map(|line| line.wrong.clone()).collect();
        // All but its newline is a whole line all the same.
        let whole = last + kept == log.len() - 1;
        assert_eq!((sound, lines.len()), (whole, 6), "{kept}");
        assert_eq!(wrong, if whole { vec![] } else { vec![Wrong::NoEntry] }, "{kept}");
    }
}

#[test]
fn what_is_no_audit_log_is_not_written_to() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.log");
    for text in ["hello\n", "\n", "a line\nwithout an end", "{\"other\":1}\n"] {
        fs::write(&path, text).unwrap();
        let refused = append(&path, start("a"));
        assert!(matches!(refused, Err(NotWritten::NoAuditLog { .. })), "{refused:?}");
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
    let refused = append(directory.path(), start("a"));
    assert!(matches!(refused, Err(NotWritten::NoAuditLog { .. })), "{refused:?}");
    let nowhere = append(&directory.path().join("not/there"), start("a"));
    assert!(matches!(nowhere, Err(NotWritten::Failed { .. })), "{nowhere:?}");
    // An empty file, such as `touch` makes, is a log without a line.
    fs::write(&path, "").unwrap();
    append(&path, start("a")).unwrap();
}

#[test]
fn nobody_writes_while_another_does() {
    let (directory, _) = four();
    let path = directory.path().join("audit.ndjson");
    let other = fs::File::open(&path).unwrap();
    other.lock().unwrap();
    assert!(matches!(append(&path, start("e")), Err(NotWritten::Locked(_))));
    drop(other);
    append(&path, start("e")).unwrap();
}

#[test]
fn an_endless_line_is_not_read_to_its_end() {
    let (_directory, mut log) = four();
    log.extend(std::iter::repeat_n(b'x', 1 << 20));
    let (sound, lines) = looked_through(&log);
    assert!(!sound);
    assert_eq!(lines.last().unwrap().wrong, Some(Wrong::TooLong));
    assert_eq!(lines.len(), 5);
}

#[test]
fn a_start_after_a_persons_word_knows_the_policy_before_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.ndjson");
    append(&path, start("a")).unwrap();
    let word = Word { by: "ann".to_owned(), ..Word::default() };
    let now = crate::clock::Timestamp::from_millis(1);
    let said = crate::audit::entry_of(word, Verdict::Resolved, ("policy.toml", "a"), now);
    append(&path, said.clone()).unwrap();
    append(&path, start("b")).unwrap();
    let (sound, lines) = looked_through(&fs::read(&path).unwrap());
    let entries: Vec<Entry> = lines.into_iter().map(|line| *line.entry.unwrap()).collect();
    assert!(sound);
    assert_eq!((entries[1].word.clone(), entries[1].format), (said.word, 2));
    assert_eq!(entries[2].previous.as_deref(), Some("a"));
}
