//! How a value stands in a store: the version in decimal, a newline, the record.
//!
//! A person with the store's own tools can read it. The record is not looked into, and when it
//! expires is not in here: each kind of store has its own place for that.

use bytes::{BufMut, Bytes, BytesMut};

use super::{Held, RecordId, Version};

/// The bytes under which a record is stored.
pub(super) fn encode(version: Version, record: &[u8]) -> Bytes {
    let head = format!("{}\n", version.0);
    let mut value = BytesMut::with_capacity(head.len() + record.len());
    value.put_slice(head.as_bytes());
    value.put_slice(record);
    value.freeze()
}

/// Reads what [`encode`] wrote, or says what is wrong with it (never what stands in it).
pub(super) fn decode(id: RecordId, value: &[u8]) -> Result<Held, String> {
    let wrong = || format!("the value of record {id} does not begin with a version");
    let newline = value.iter().position(|byte| *byte == b'\n').ok_or_else(wrong)?;
    let (head, rest) = value.split_at_checked(newline).ok_or_else(wrong)?;
    let version = std::str::from_utf8(head).ok().and_then(|head| head.parse().ok());
    let record = Bytes::copy_from_slice(rest.strip_prefix(b"\n").unwrap_or(rest));
    Ok(Held { id, version: Version(version.ok_or_else(wrong)?), record })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: RecordId = RecordId([7; 32]);

    #[test]
    fn a_value_reads_as_version_newline_record() {
        assert_eq!(encode(Version(12), b"{\"a\":1}").as_ref(), b"12\n{\"a\":1}");
    }

    #[test]
    fn a_record_with_newlines_comes_back_whole() {
        let held = decode(ID, &encode(Version(u64::MAX), b"{\n}\n")).unwrap();
        assert_eq!((held.version, held.record.as_ref()), (Version(u64::MAX), &b"{\n}\n"[..]));
    }

    #[test]
    fn a_value_without_a_version_is_an_error_that_does_not_show_it() {
        for value in [&b""[..], b"{}", b"secret\n{}", b"\n{}", b"-1\n{}", b"\xff\n{}"] {
            let wrong = decode(ID, value).unwrap_err();
            assert!(wrong.contains("version") && !wrong.contains("secret"), "{wrong}");
        }
    }
}
