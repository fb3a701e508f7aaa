//! Multipart bodies: one form whatever the boundary, and none for anything odd.

use proptest::prelude::*;

use super::*;

fn read_with(content_type: &str, body: &[u8]) -> Option<Reading> {
    super::read(&Header::parse(content_type)?, body)
}

type Sent<'a> = (&'a str, Option<&'a str>, Option<&'a str>, &'a [u8]);

fn write_body(boundary: &str, parts: &[Sent<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, file_name, content_type, value) in parts {
        out.extend(
            format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"").bytes(),
        );
        out.extend(file_name.iter().flat_map(|name| format!("; filename=\"{name}\"").into_bytes()));
        out.extend(
            content_type.iter().flat_map(|kind| format!("\r\nContent-Type: {kind}").into_bytes()),
        );
        out.extend_from_slice(b"\r\n\r\n");
        out.extend_from_slice(value);
        out.extend_from_slice(b"\r\n");
    }
    out.extend(format!("--{boundary}--\r\n").bytes());
    out
}

fn whole(boundary: &str, parts: &[Sent<'_>]) -> Vec<u8> {
    let content_type = format!("multipart/form-data; boundary=\"{boundary}\"");
    read_with(&content_type, &write_body(boundary, parts)).unwrap().whole.unwrap()
}

const PURPOSE: Sent<'_> = ("purpose", None, None, b"dispute_evidence");
const FILE: Sent<'_> =
    ("file", Some("a.bin"), Some("application/octet-stream"), b"\x00\r\n--x\xff");

#[test]
fn the_boundary_and_the_order_of_parts_mean_nothing() {
    let one = whole("aaa", &[PURPOSE, FILE]);
    assert_eq!(one, whole("----WebKitFormBoundary1 2", &[PURPOSE, FILE]));
    assert_eq!(one, whole("b", &[FILE, PURPOSE]));
    let list: [Sent<'_>; 2] = [("a[]", None, None, b"1"), ("a[]", None, None, b"2")];
    assert_ne!(whole("b", &list), whole("b", &[list[1], list[0]]));
}

#[test]
fn name_file_name_type_and_bytes_each_count() {
    let (name, file_name, kind, value) = FILE;
    let sent = whole("b", &[FILE]);
    for other in [
        ("file2", file_name, kind, value),
        (name, Some("b.bin"), kind, value),
        (name, None, kind, value),
        (name, file_name, None, value),
        (name, file_name, Some("text/plain"), value),
        (name, file_name, kind, &b"\x00\r\n--x\xfe"[..]),
        (name, file_name, kind, &b""[..]),
    ] {
        assert_ne!(whole("b", &[other]), sent);
    }
}

#[test]
fn parts_are_fields() {
    let body = write_body("b", &[PURPOSE, FILE]);
    let read = read_with("multipart/form-data; boundary=b", &body).unwrap();
    let [file, purpose] = read.fields.as_slice() else { panic!("two fields") };
    assert_eq!((file.name.as_str(), file.marker), ("file", Marker::File));
    assert_eq!(file.value, FILE.3);
    assert_eq!((purpose.value.as_slice(), purpose.marker), (PURPOSE.3, Marker::Text));
}

#[test]
fn unquoted_names_and_a_missing_last_line_end_are_read() {
    let body = b"--b\r\ncontent-disposition: form-data; name=purpose\r\n\r\nx\r\n--b--";
    let read = read_with("multipart/form-data; boundary=b", body).unwrap();
    assert_eq!(read.whole.unwrap(), whole("c", &[("purpose", None, None, b"x")]));
}

#[test]
fn anything_odd_is_not_read() {
    let part = "Content-Disposition: form-data; name=\"a\"";
    for odd in [
        String::new(),
        "--b--\r\n".into(),
        format!("preamble\r\n--b\r\n{part}\r\n\r\nx\r\n--b--\r\n"),
        format!("--b\r\n{part}\r\n\r\nx\r\n--b--\r\nepilogue"),
        format!("--b\r\n{part}\r\n\r\nx\r\n--b\r\n"),
        format!("--b\r\n{part}\r\n\r\nx"),
        format!("--b\r\n{part}\r\n\r\nx\r\n--bb\r\n--b--"),
        format!("--b \r\n{part}\r\n\r\nx\r\n--b--"),
        format!("--b\n{part}\n\nx\n--b--"),
        format!("--b\r\n{part}\n\nx\r\n--b--"),
        format!("--b\r\n{part}\r\nX-Other: 1\r\n\r\nx\r\n--b--"),
        format!("--b\r\n{part}\r\n{part}\r\n\r\nx\r\n--b--"),
        "--b\r\n\r\nx\r\n--b--".into(),
        "--b\r\nContent-Type: text/plain\r\n\r\nx\r\n--b--".into(),
        "--b\r\nContent-Disposition: attachment; name=a\r\n\r\nx\r\n--b--".into(),
        "--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--".into(),
        "--b\r\nContent-Disposition: form-data; name=\"a\\\"b\"\r\n\r\nx\r\n--b--".into(),
        "--b\r\nContent-Disposition: form-data; name=\"a%22b\"\r\n\r\nx\r\n--b--".into(),
        "--b\r\nContent-Disposition: form-data; name=\"?a\"\r\n\r\nx\r\n--b--".into(),
        "--b\r\nContent-Disposition: form-data; name=a; filename*=utf-8''b\r\n\r\nx\r\n--b--"
            .into(),
    ] {
        assert!(read_with("multipart/form-data; boundary=b", odd.as_bytes()).is_none(), "{odd}");
    }
    let good = write_body("b", &[PURPOSE]);
    assert!(read_with("multipart/form-data; boundary=b", &good).is_some());
    assert!(read_with("multipart/form-data", &good).is_none());
    assert!(read_with("multipart/form-data; boundary=\"\"", &good).is_none());
    let long = "b".repeat(BOUNDARY_MAX_BYTES + 1);
    let content_type = format!("multipart/form-data; boundary={long}");
    assert!(read_with(&content_type, &write_body(&long, &[PURPOSE])).is_none());
}

proptest! {
    #[test]
    fn parts_come_back_as_they_were_written(
        values in proptest::collection::vec(("[ab]", proptest::collection::vec(any::<u8>(), 0..20)), 1..5),
    ) {
        let parts: Vec<Sent<'_>> =
            values.iter().map(|(name, value)| (name.as_str(), None, None, value.as_slice())).collect();
        let body = write_body("Bxyz1", &parts);
        let read = read_with("multipart/form-data; boundary=Bxyz1", &body).unwrap();
        let mut sorted = values.clone();
        sorted.sort_by(|a, b| a.0.cmp(&b.0));
        let fields: Vec<_> = read.fields.into_iter().map(|field| (field.name, field.value)).collect();
        prop_assert_eq!(fields, sorted);
        prop_assert_eq!(read.whole.unwrap(), whole("Other2", &parts));
    }

    #[test]
    fn any_bytes_are_read_or_not_without_harm(middle in "[-b\r\n a-z:;=\"]{0,60}") {
        let body = format!("--b\r\n{middle}\r\n--b--");
        if let Some(read) = read_with("multipart/form-data; boundary=b", body.as_bytes()) {
            prop_assert!(!read.fields.is_empty());
        }
    }
}
