//! Reading the small files that settings name, with a limit: one of them may be a device or a pipe.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use zeroize::Zeroizing;

/// The bytes of the file at `path`, of which there may be `most`; wiped when dropped.
///
/// # Errors
/// What kept it from being read, or that it is larger.
pub(crate) fn read(path: &Path, most: u64) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::new());
    File::open(path)?.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > most) {
        let what = format!("it is larger than {}", super::show_size(most));
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, what));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_up_to_its_limit_and_no_further() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), [b'x'; 1024]).unwrap();
        assert_eq!(read(file.path(), 1024).unwrap().len(), 1024);
        let error = read(file.path(), 1023).unwrap_err();
        assert_eq!(error.to_string(), "it is larger than 1023B");
        assert!(read(Path::new("/dev/zero"), 1024).is_err());
    }
}
