//! Which versions of the SDKs were released when: the table `config/sdk-releases.tsv`.
//!
//! Pure: text in, a table or the line that is wrong out. It can only be as new as its last refresh,
//! so that what it does not know is told apart from what it knows to be old.

use super::{Day, Sdk, Version};

/// Lines of a table. More is no table of releases.
const MOST: usize = 20_000;

/// The table.
#[derive(Clone, Debug, Default)]
pub struct Releases {
    /// By SDK and version.
    lines: Vec<Release>,
}

/// One line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Release {
    sdk: Sdk,
    version: Version,
    on: Option<Day>,
}

/// When a version was released, as far as the table tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Released {
    /// On that day.
    On(Day),
    /// It is lower than all that are listed, or comes before the listed release of its number: on
    /// that day at the latest.
    By(Day),
    /// It is higher than all that are listed: fresh.
    SinceTable,
    /// The table does not say.
    Unknown,
}

/// What is wrong with a table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTable {
    /// A line is none.
    #[error(
        "line {0}: must be an SDK, a version, a date such as 2026-10-29 or -, and a source, with tabs between"
    )]
    Line(usize),
    /// Two lines are for one version.
    #[error("{0} {1} is listed twice")]
    Twice(Sdk, Version),
    /// There is nothing in it.
    #[error("it lists no release")]
    Empty,
    /// There is too much in it.
    #[error("it lists more than {MOST} releases")]
    TooLong,
}

impl Releases {
    /// Reads a table.
    ///
    /// # Errors
    /// [`BadTable`], the first that applies.
    pub fn parse(text: &str) -> Result<Self, BadTable> {
        let mut lines = Vec::new();
        for (number, line) in text.lines().enumerate() {
            if line.is_empty() || line.starts_with('#') || line.starts_with("sdk\t") {
                continue;
            }
            if lines.len() >= MOST {
                return Err(BadTable::TooLong);
            }
            lines.push(release(line).ok_or(BadTable::Line(number + 1))?);
        }
        lines.sort_unstable();
        let twice = lines.windows(2).find_map(|pair| match pair {
            [one, other] if (one.sdk, one.version) == (other.sdk, other.version) => Some(*one),
            _different => None,
        });
        match twice {
            Some(Release { sdk, version, .. }) => Err(BadTable::Twice(sdk, version)),
            None if lines.is_empty() => Err(BadTable::Empty),
            None => Ok(Self { lines }),
        }
    }

    /// When this version was released. Does not allocate.
    #[must_use]
    pub fn released(&self, sdk: Sdk, version: Version) -> Released {
        let lines = self.of(sdk);
        let (Some(first), Some(last)) = (lines.first(), lines.last()) else {
            return Released::Unknown;
        };
        let by = |release: &Release| release.on.map_or(Released::Unknown, Released::By);
        match lines.binary_search_by_key(&version, |release| release.version) {
            Ok(at) => {
                let on = lines.get(at).and_then(|release| release.on);
                on.map_or(Released::Unknown, Released::On)
            }
            Err(_) if version > last.version => Released::SinceTable,
            Err(_) if version < first.version => by(first),
            Err(_) => {
                let release = lines.iter().find(|release| release.version == version.release());
                release.map_or(Released::Unknown, by)
            }
        }
    }

    /// The highest version that is a release and is listed, and when that was.
    #[must_use]
    pub fn newest(&self, sdk: Sdk) -> Option<(Version, Option<Day>)> {
        let lines = self.of(sdk);
        let stable = lines.iter().rfind(|line| line.version == line.version.release());
        stable.or_else(|| lines.last()).map(|line| (line.version, line.on))
    }

    /// The latest date in it: it knows nothing of what came after.
    #[must_use]
    pub fn latest(&self) -> Option<Day> {
        self.lines.iter().filter_map(|release| release.on).max()
    }

    /// How many releases of this SDK it lists, and how many of these with a date.
    #[must_use]
    pub fn count(&self, sdk: Sdk) -> (usize, usize) {
        let lines = self.of(sdk);
        (lines.len(), lines.iter().filter(|release| release.on.is_some()).count())
    }

    fn of(&self, sdk: Sdk) -> &[Release] {
        let from = self.lines.partition_point(|release| release.sdk < sdk);
        let to = self.lines.partition_point(|release| release.sdk <= sdk);
        self.lines.get(from..to).unwrap_or_default()
    }
}

fn release(line: &str) -> Option<Release> {
    let mut columns = line.split('\t');
    let name = columns.next()?;
    let (_, sdk) = Sdk::NAMES.iter().find(|(known, _)| *known == name)?;
    let version = Version::parse(columns.next()?)?;
    let on = match columns.next()? {
        "-" => None,
        date => Some(Day::parse(date)?),
    };
    let source = columns.next().filter(|source| !source.is_empty());
    (source.is_some() && columns.next().is_none()).then_some(Release { sdk: *sdk, version, on })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "# a comment\nsdk\tversion\tdate\tsource\n\
        node\t23.0.0\t2026-09-30\tnpm\nnode\t22.0.0\t2026-04-02\tnpm\nnode\t23.1.0\t-\tnpm\n\
        rust\t0.41.0\t2025-04-08\tcrates.io\nrust\t1.0.0-rc.10\t2026-10-26\tcrates.io\n";

    fn day(text: &str) -> Day {
        Day::parse(text).unwrap()
    }

    #[test]
    fn a_version_is_as_old_as_the_table_can_tell() {
        let table = Releases::parse(TABLE).unwrap();
        let released = |version: &str| table.released(Sdk::Node, Version::parse(version).unwrap());
        assert_eq!(released("22.0.0"), Released::On(day("2026-04-02")));
        assert_eq!(released("8.1.0"), Released::By(day("2026-04-02")));
        assert_eq!(released("23.0.0-beta.1"), Released::By(day("2026-09-30")));
        assert_eq!(released("22.7.0"), Released::Unknown);
        assert_eq!(released("23.1.0"), Released::Unknown);
        assert_eq!(released("24.0.0"), Released::SinceTable);
        assert_eq!(table.released(Sdk::Go, Version::parse("1").unwrap()), Released::Unknown);
    }

    #[test]
    fn the_newest_is_a_release_where_there_is_one() {
        let table = Releases::parse(TABLE).unwrap();
        let newest = |sdk| table.newest(sdk).map(|(version, _)| version.to_string());
        assert_eq!(newest(Sdk::Node).as_deref(), Some("23.1.0"));
        assert_eq!(newest(Sdk::Rust).as_deref(), Some("0.41.0"));
        assert_eq!(newest(Sdk::Go), None);
        assert_eq!(table.count(Sdk::Node), (3, 2));
        assert_eq!(table.latest(), Some(day("2026-10-26")));
    }

    #[test]
    fn a_table_with_a_wrong_line_is_refused_with_its_number() {
        for line in [
            "lisp\t1\t-\tx",
            "node\tx\t-\tx",
            "node\t1\t2026-02-30\tx",
            "node\t1\t-",
            "node\t1\t-\t",
            "node\t1\t-\tx\ty",
            "node 1 - x",
        ] {
            let table = format!("{TABLE}{line}\n");
            assert_eq!(Releases::parse(&table).unwrap_err(), BadTable::Line(8), "{line}");
        }
        let twice = Releases::parse(&format!("{TABLE}node\t23.0\t-\tx\n")).unwrap_err();
        assert_eq!(twice.to_string(), "node 23.0.0 is listed twice");
        assert_eq!(Releases::parse("# nothing\n").unwrap_err(), BadTable::Empty);
    }
}
