//! The table of SDK releases that a setting names.

use std::path::Path;

use super::files;
use super::reader::Reader;
use crate::clients::SHIPPED;
use crate::decide::agent::Releases;

/// What is known of clients.
#[derive(Clone, Debug)]
pub struct Clients {
    /// The table of SDK releases; without a file, the one that payonce is shipped with.
    pub releases: Releases,
}

/// The shipped table has 14 KiB.
const MOST: u64 = 2 << 20;

/// Reads the table, or notes what is wrong with it.
pub(super) fn read(r: &mut Reader) -> Clients {
    const PATH: &str = "clients.releases";
    let read = match r.path(PATH) {
        Some(path) => file(&path),
        None => Releases::parse(SHIPPED).map_err(|bad| bad.to_string()),
    };
    let releases = read.unwrap_or_else(|why| {
        r.refuse(PATH, why);
        Releases::default()
    });
    Clients { releases }
}

fn file(path: &Path) -> Result<Releases, String> {
    let shown = path.display();
    let bytes = files::read(path, MOST).map_err(|why| format!("cannot be read: {shown}: {why}"))?;
    let text = str::from_utf8(&bytes).map_err(|why| format!("is no text: {shown}: {why}"))?;
    Releases::parse(text).map_err(|bad| format!("is no table of releases: {shown}: {bad}"))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use crate::decide::agent::{Released, Sdk, Version};
    use crate::settings::Settings;

    #[test]
    fn a_newer_table_is_read_from_a_file_and_a_broken_one_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let load = |table: &str| {
            std::fs::write(file.path(), table).unwrap();
            let variable = OsString::from("PAYONCE_CLIENTS__RELEASES");
            Settings::load(None, [(variable, file.path().as_os_str().to_owned())])
        };
        let settings = load("go\t99.0.0\t2026-11-02\tgo\n").unwrap();
        let released = settings.clients.releases.released(Sdk::Go, Version::of(99, 0, 0));
        assert!(matches!(released, Released::On(_)), "{released:?}");
        let [problem] = load("go 99\n").unwrap_err().try_into().unwrap();
        assert!(problem.to_string().contains("line 1"), "{problem}");
    }
}
