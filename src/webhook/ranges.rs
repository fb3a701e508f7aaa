//! Where webhooks may come from: address ranges out of a file, read again as it changes.
//!
//! The signature is what proves an event; this only keeps strangers from having it computed. Stripe
//! publishes its addresses (`ips_webhooks.txt`), one a line. Behind a load balancer the source is
//! the balancer: what a header says of the address before it is not believed.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use ipnet::IpNet;

use crate::server::Peer;
use crate::settings::read_file;

/// Bytes of the file.
const LARGEST: u64 = 1024 * 1024;
/// Most ranges; each is looked at for every event.
const MOST: usize = 10_000;

/// What keeps a file of ranges from being used.
#[derive(Debug, thiserror::Error)]
pub enum BadRanges {
    /// It cannot be read.
    #[error("{}: {why}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        why: io::Error,
    },
    /// A line is no range.
    #[error("{}: line {line} is neither an address nor a range such as 192.0.2.0/24", path.display())]
    NotOne {
        /// The file.
        path: PathBuf,
        /// Its line, from 1.
        line: usize,
    },
    /// There is none: nobody could send anything.
    #[error("{}: holds no address", .0.display())]
    Empty(PathBuf),
    /// There are too many.
    #[error("{}: holds more than {MOST} ranges", .0.display())]
    TooMany(PathBuf),
}

/// Reads the file: an address or a range a line; what follows a `#` is for people.
///
/// # Errors
/// [`BadRanges`], the first thing that is wrong.
pub fn read(path: &Path) -> Result<Vec<IpNet>, BadRanges> {
    let bytes = read_file(path, LARGEST)
        .map_err(|why| BadRanges::Unreadable { path: path.to_owned(), why })?;
    let text = String::from_utf8_lossy(&bytes);
    let mut ranges = Vec::new();
    for (n, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let range = line.parse().or_else(|_bad| line.parse::<IpAddr>().map(IpNet::from));
        let bad = |_bad| BadRanges::NotOne { path: path.to_owned(), line: n + 1 };
        ranges.push(range.map_err(bad)?);
    }
    match ranges.len() {
        0 => Err(BadRanges::Empty(path.to_owned())),
        1..=MOST => Ok(ranges),
        _more => Err(BadRanges::TooMany(path.to_owned())),
    }
}

/// The ranges in force.
#[derive(Debug)]
pub struct Ranges {
    path: PathBuf,
    current: ArcSwap<Vec<IpNet>>,
    wrong: Mutex<Option<String>>,
}

impl Ranges {
    /// Those of the file at `path`.
    ///
    /// # Errors
    /// [`BadRanges`]; later such a file leaves the ranges in force as they are.
    pub fn open(path: &Path) -> Result<Self, BadRanges> {
        let current = ArcSwap::from_pointee(read(path)?);
        Ok(Self { path: path.to_owned(), current, wrong: Mutex::default() })
    }

    /// Whether somebody there may send events. A process on this machine may.
    #[must_use]
    pub fn contain(&self, peer: Peer) -> bool {
        match peer {
            Peer::Unix => true,
            Peer::Tcp(address) => {
                // A socket for both families shows an IPv4 address as ::ffff:192.0.2.1.
                let address = address.ip().to_canonical();
                self.current.load().iter().any(|range| range.contains(&address))
            }
        }
    }

    /// Reads the file again.
    pub fn refresh(&self) {
        let read = read(&self.path);
        let now = read.as_ref().err().map(ToString::to_string);
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        if *wrong != now {
            if let Some(error) = &now {
                tracing::error!(
                    error,
                    "webhook.source_ranges_file cannot be used; the ranges read before stay"
                );
            } else {
                tracing::info!("webhook.source_ranges_file is sound again");
            }
            *wrong = now;
        }
        drop(wrong);
        if let Ok(read) = read
            && read != **self.current.load()
        {
            tracing::info!(ranges = read.len(), "new source ranges for webhooks");
            self.current.store(Arc::new(read));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(address: &str) -> Peer {
        Peer::Tcp(std::net::SocketAddr::new(address.parse().unwrap(), 1))
    }

    #[test]
    fn addresses_and_ranges_of_both_families_are_read_and_matched() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = "# Stripe\n192.0.2.7\n198.51.100.0/24 # all\n2001:db8::/32\n\n";
        std::fs::write(file.path(), text).unwrap();
        let ranges = Ranges::open(file.path()).unwrap();
        for inside in ["192.0.2.7", "198.51.100.200", "2001:db8::9", "::ffff:192.0.2.7"] {
            assert!(ranges.contain(peer(inside)), "{inside}");
        }
        for outside in ["192.0.2.8", "127.0.0.1", "2001:db9::", "::1"] {
            assert!(!ranges.contain(peer(outside)), "{outside}");
        }
        std::fs::write(file.path(), "127.0.0.1").unwrap();
        ranges.refresh();
        assert!(ranges.contain(peer("127.0.0.1")) && !ranges.contain(peer("192.0.2.7")));
        std::fs::write(file.path(), "nonsense").unwrap();
        ranges.refresh();
        assert!(ranges.contain(peer("127.0.0.1")));
    }

    #[test]
    fn what_is_no_range_is_named_by_its_line_and_an_empty_file_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "127.0.0.1\n10.0.0.0/33\n").unwrap();
        let error = Ranges::open(file.path()).unwrap_err().to_string();
        assert!(error.contains("line 2 is neither"), "{error}");
        std::fs::write(file.path(), "# nothing\n").unwrap();
        assert!(matches!(Ranges::open(file.path()), Err(BadRanges::Empty(_))));
        assert!(Ranges::open(Path::new("/nowhere/ips")).is_err());
    }
}
