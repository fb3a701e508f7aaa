//! curl's options: those that are understood, and those that change nothing of what is asked. Any
//! other is refused by its name.

/// Options that change nothing of what is asked.
pub(super) const IDLE: [&str; 27] = [
    "-s",
    "--silent",
    "-S",
    "--show-error",
    "-v",
    "--verbose",
    "-i",
    "--include",
    "--show-headers",
    "-k",
    "--insecure",
    "-L",
    "--location",
    "-f",
    "--fail",
    "--fail-with-body",
    "--compressed",
    "-g",
    "--globoff",
    "-N",
    "--no-buffer",
    "--http1.1",
    "--http2",
    "-#",
    "--progress-bar",
    "-4",
    "-6",
];

/// Likewise, with a value.
pub(super) const IDLE_WITH: [&str; 13] = [
    "-o",
    "--output",
    "-m",
    "--max-time",
    "--connect-timeout",
    "--retry",
    "-w",
    "--write-out",
    "--cacert",
    "-x",
    "--proxy",
    "--resolve",
    "--connect-to",
];

/// The options that mean something and take a value.
pub(super) const VALUED: [&str; 17] = [
    "-X",
    "--request",
    "--url",
    "-H",
    "--header",
    "-u",
    "--user",
    "--oauth2-bearer",
    "-A",
    "--user-agent",
    "-d",
    "--data",
    "--data-ascii",
    "--data-raw",
    "--data-binary",
    "--data-urlencode",
    "--json",
];

/// Whether a short option takes no value, so that another may stand right after it.
pub(super) fn takes_none(option: &str) -> bool {
    IDLE.contains(&option) || option == "-G" || option == "-I"
}
