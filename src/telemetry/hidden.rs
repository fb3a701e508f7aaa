//! Keys are taken out of each line as it is written, whoever put them there: what is quoted in an error
//! of a library, or was written by people, is nobody's to foresee.

use std::io::{self, Write};

use tracing::Metadata;
use tracing_subscriber::fmt::MakeWriter;

use crate::decide::shown::without_keys;

/// Makes writers of lines without keys. A line comes in one piece.
pub(super) struct Keys<W>(pub(super) W);

impl<'a, W: MakeWriter<'a>> MakeWriter<'a> for Keys<W> {
    type Writer = Line<W::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        Line(self.0.make_writer())
    }

    fn make_writer_for(&'a self, of: &Metadata<'_>) -> Self::Writer {
        Line(self.0.make_writer_for(of))
    }
}

/// Where a line is written.
pub(super) struct Line<W>(W);

impl<W: Write> Write for Line<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.write_all(without_keys(&String::from_utf8_lossy(line)).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
