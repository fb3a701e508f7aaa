//! Files that are written, turned over and read again.

use super::*;
use crate::decide::traffic::{Came, FORMAT};

fn line(at: u64) -> Line {
    Line {
        v: FORMAT,
        at,
        took: 1,
        policy: "p".to_owned(),
        method: "POST".to_owned(),
        path: "/v1/charges".to_owned(),
        rule: "charges".to_owned(),
        class: "critical".to_owned(),
        mode: "observe".to_owned(),
        kind: None,
        operation: None,
        sdk: None,
        caller: None,
        said: None,
        amount: Some(5),
        currency: None,
        outcome: Came::Succeeded,
        status: Some(200),
        label: None,
        replayed: false,
        delivered: None,
        would: None,
    }
}

fn written(recorded: &Recorded) -> Vec<u64> {
    recorded.lines.iter().map(|line| line.at).collect()
}

#[tokio::test]
async fn what_was_handed_in_before_the_close_is_in_the_file_and_reads_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("traffic.ndjson");
    let recorder = Recorder::open(&path, 1 << 20, Metrics::new()).unwrap();
    for at in [3, 1, 2] {
        recorder.write(line(at));
    }
    recorder.close().await;
    let all = read(&path).unwrap();
    assert_eq!(written(&all), [1, 2, 3]);
    assert_eq!(all.lines[0], line(1));
    assert!(all.unreadable.is_none());
}

#[tokio::test]
async fn the_file_is_turned_over_and_one_before_it_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("traffic.ndjson");
    let recorder = Recorder::open(&path, 600, Metrics::new()).unwrap();
    for at in 0..12 {
        recorder.write(line(at));
        recorder.close().await;
    }
    let kept = written(&read(&path).unwrap());
    assert!(kept.len() < 12 && kept.contains(&11), "{kept:?}");
    assert!(kept.windows(2).all(|pair| pair[1] == pair[0] + 1), "{kept:?}");
    let files = std::fs::read_dir(directory.path()).unwrap().count();
    assert_eq!(files, 2);
    // A process that starts again goes on where the last one was.
    Recorder::open(&path, 600, Metrics::new()).unwrap().close().await;
    assert_eq!(written(&read(&path).unwrap()), kept);
}

#[tokio::test]
async fn a_disk_that_takes_nothing_is_counted_and_said_and_stops_nobody() {
    let metrics = Metrics::new();
    let recorder = Recorder::open(Path::new("/dev/full"), 1 << 20, metrics.clone()).unwrap();
    recorder.write(line(1));
    recorder.close().await;
    let text = metrics.encode();
    assert!(text.contains("payonce_record_lines_total{result=\"failed\"} 1"), "{text}");
}

#[test]
fn lines_that_nobody_can_read_are_counted_and_the_others_are_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("traffic.ndjson");
    let good = serde_json::to_string(&line(1)).unwrap();
    let newer = good.replacen("\"v\":1", "\"v\":2", 1);
    std::fs::write(&path, format!("{newer}\n{good}\n{}", &good[..40])).unwrap();
    let recorded = read(&path).unwrap();
    assert_eq!(written(&recorded), [1]);
    let (lines, why) = recorded.unreadable.unwrap();
    assert_eq!((lines, why.as_str()), (2, "it has form 2, and this payonce reads form 1"));
}

#[test]
fn a_directory_that_is_not_there_is_told_at_once() {
    assert!(Recorder::open(Path::new("/nowhere/traffic"), 1, Metrics::new()).is_err());
    assert!(read(Path::new("/nowhere/traffic")).is_err());
}
