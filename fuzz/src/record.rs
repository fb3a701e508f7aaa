//! What a store may hand back: any bytes.

use std::time::Duration;

use payonce::clock::Timestamp;
use payonce::decide::digest::OperationId;
use payonce::decide::operation::change;
use payonce::decide::operation::codec::{CodecError, decode, encode};
use payonce::decide::operation::record::{FORMAT, Record};
use payonce::decide::operation::table::{Ask, Owner, Then, judge};

/// What is read is written as it was read; a newer form is refused; no record makes a decision
/// panic, or sends a key beyond safe retention.
pub fn check(input: &[u8]) {
    let read = decode(input);
    check_newer(input, &read);
    let Ok(record) = read else { return };
    assert!((1..=FORMAT).contains(&record.format));
    assert!((1..=255).contains(&record.key.as_str().len()));
    let written = encode(&record).expect("what was read can be written");
    assert_eq!(decode(&written).as_ref(), Ok(&record), "written otherwise than it was read");
    for cut in [0, 1, written.len() / 2, written.len() - 1] {
        assert_eq!(decode(&written[..cut]), Err(CodecError::Unreadable));
    }
    let newer = encode(&Record { format: FORMAT + 1, ..record.clone() }).unwrap();
    assert_eq!(decode(&newer), Err(CodecError::Newer(FORMAT + 1)));
    check_decisions(&record);
}

/// Whatever else it holds, a newer form is never read and never taken for damage.
fn check_newer(input: &[u8], read: &Result<Record, CodecError>) {
    // A lone surrogate in a member that this form does not have is no JSON to that reader.
    let Ok(text) = serde_json::from_slice::<serde_json::Value>(input) else { return };
    let format = text.get("format").and_then(serde_json::Value::as_u64);
    match format.and_then(|format| u32::try_from(format).ok()) {
        Some(newer) if newer > FORMAT => assert!(
            // A form that is named twice is none.
            matches!(read, Err(CodecError::Newer(it)) if *it == newer)
                || matches!(read, Err(CodecError::Unreadable))
        ),
        Some(_) => {}
        None => assert!(read.is_err()),
    }
}

fn check_decisions(record: &Record) {
    let operation = OperationId([7; 32]);
    let moments = [0, record.last_sent.as_millis(), 1_800_000_000_000, u64::MAX];
    for now in moments.map(Timestamp::from_millis) {
        assert!(change::kept(record, &operation, now) >= Duration::from_secs(1));
        for owner in [Owner::Alive, Owner::Gone] {
            for client_key in [None, record.client_keys.first().map(|seen| seen.digest)] {
                let ask = Ask {
                    kind: record.kind,
                    fingerprint: &record.fingerprint,
                    client_key,
                    twins: true,
                    repeat_window: Duration::from_secs(30),
                    next_after_saved_500: false,
                    epoch: record.occurrence.epoch,
                    arrived: record.first_sent,
                    waited: false,
                    now,
                };
                let verdict = judge(Some(record), owner, &ask);
                assert_eq!(verdict, judge(Some(record), owner, &ask));
                if let Then::Send(send) = verdict.then {
                    // I6, and no occurrence is ever gone back to.
                    let same = send.occurrence == record.occurrence;
                    assert!(!same || !record.beyond_retention(now), "{verdict:?}");
                    assert!(send.occurrence >= record.occurrence, "{verdict:?}");
                }
            }
        }
    }
}
