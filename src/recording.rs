//! The record of decisions: JSON lines in a file of bounded size, written aside.
//!
//! Requests never wait for it: what finds no room in the queue is dropped and counted. A thread of
//! its own writes, so that a slow disk holds up nobody. When the file has reached its size it is
//! renamed, over the one before it, and another is begun. What a line holds is
//! [`traffic`](crate::decide::traffic)'s.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use tokio::sync::{mpsc, oneshot};
use tracing::warn;

use crate::decide::traffic::Line;
use crate::metrics::Metrics;

/// How many lines may wait to be written.
const QUEUE: usize = 4096;
/// How many lines are written at once at most.
const BATCH: usize = 256;
/// A longer line was not written by payonce, in bytes.
const LONGEST_LINE: usize = 1 << 20;

/// The way to the file. Clones share it.
#[derive(Clone, Debug)]
pub struct Recorder {
    queue: mpsc::Sender<Job>,
    metrics: Metrics,
}

#[derive(Debug)]
enum Job {
    Line(Box<Line>),
    Close(oneshot::Sender<()>),
}

impl Recorder {
    /// Opens or makes the file and starts the thread. `max_size` bounds each of the two files, in
    /// bytes, give or take a line.
    ///
    /// # Errors
    /// If the file cannot be opened, or the thread not be started.
    pub fn open(path: &Path, max_size: usize, metrics: Metrics) -> io::Result<Self> {
        let (queue, jobs) = mpsc::channel(QUEUE);
        let max_size = u64::try_from(max_size).unwrap_or(u64::MAX);
        let output = Output::open(path.to_path_buf(), max_size)?;
        let writer = Writer { output, metrics: metrics.clone(), failing: false };
        std::thread::Builder::new()
            .name("payonce-record".to_owned())
            .spawn(move || writer.run(jobs))?;
        Ok(Self { queue, metrics })
    }

    /// Has `line` written, if there is room for it to wait.
    pub fn write(&self, line: Line) {
        if self.queue.try_send(Job::Line(Box::new(line))).is_err() {
            self.metrics.record_lines("dropped", 1);
        }
    }

    /// Waits until all that was handed in before is written.
    pub async fn close(&self) {
        let (written, wait) = oneshot::channel();
        // A thread that is gone has nothing left to write.
        if self.queue.send(Job::Close(written)).await.is_ok() {
            wait.await.unwrap_or_default();
        }
    }
}

/// What the thread owns.
struct Writer {
    output: Output,
    metrics: Metrics,
    failing: bool,
}

impl Writer {
    fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        let mut batch = Vec::with_capacity(BATCH);
        while jobs.blocking_recv_many(&mut batch, BATCH) > 0 {
            let (mut text, mut lines, mut waiting) = (Vec::new(), 0, Vec::new());
            for job in batch.drain(..) {
                match job {
                    Job::Line(line) => match serde_json::to_writer(&mut text, &line) {
                        Ok(()) => {
                            text.push(b'\n');
                            lines += 1;
                        }
                        Err(_unwritable) => self.metrics.record_lines("failed", 1),
                    },
                    Job::Close(written) => waiting.push(written),
                }
            }
            self.write(&text, lines);
            for written in waiting {
                // Whoever waited may have stopped waiting.
                written.send(()).unwrap_or_default();
            }
        }
    }

    fn write(&mut self, text: &[u8], lines: usize) {
        match self.output.append(text) {
            Ok(()) => {
                self.failing = false;
                self.metrics.record_lines("written", lines);
            }
            Err(error) => {
                self.metrics.record_lines("failed", lines);
                // Once for as long as it lasts: a full disk must not fill the log.
                if !self.failing {
                    warn!(file = %self.output.path.display(), %error,
                        "decisions are not recorded; requests are not affected");
                }
                self.failing = true;
            }
        }
    }
}

/// The file that is written to.
struct Output {
    path: PathBuf,
    file: File,
    size: u64,
    max_size: u64,
}

impl Output {
    fn open(path: PathBuf, max_size: u64) -> io::Result<Self> {
        let file = append_to(&path)?;
        let size = file.metadata()?.len();
        Ok(Self { path, file, size, max_size })
    }

    fn append(&mut self, text: &[u8]) -> io::Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        if self.size >= self.max_size {
            std::fs::rename(&self.path, former(&self.path))?;
            *self = Self::open(self.path.clone(), self.max_size)?;
        }
        self.file.write_all(text)?;
        self.size = self.size.saturating_add(u64::try_from(text.len()).unwrap_or(u64::MAX));
        Ok(())
    }
}

/// For its owner's eyes: amounts and callers are nobody else's business.
fn append_to(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Where the file before this one is: `traffic.ndjson.1`.
#[must_use]
pub fn former(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    PathBuf::from(name)
}

/// What a record holds.
#[derive(Debug, Default)]
pub struct Recorded {
    /// Its lines by the time of arrival.
    pub lines: Vec<Line>,
    /// How many lines could not be read, and why the first of them.
    pub unreadable: Option<(usize, String)>,
}

/// Reads a record, the file before it first. A last line that is cut short (a process that was
/// killed) is counted as unreadable like any other.
///
/// # Errors
/// If the file cannot be read, or there is none.
pub fn read(path: &Path) -> io::Result<Recorded> {
    let mut recorded = Recorded::default();
    recorded.add(path)?;
    Ok(recorded)
}

impl Recorded {
    /// Adds the record of another process, and what came before it.
    ///
    /// # Errors
    /// Likewise.
    pub fn add(&mut self, path: &Path) -> io::Result<()> {
        match File::open(former(path)) {
            Ok(file) => self.take(file)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        self.take(File::open(path)?)?;
        self.lines.sort_by_key(|line| line.at);
        Ok(())
    }

    fn take(&mut self, file: File) -> io::Result<()> {
        let mut reader = BufReader::new(file);
        let mut text = Vec::new();
        loop {
            text.clear();
            let most = u64::try_from(LONGEST_LINE).unwrap_or(u64::MAX);
            let read = Read::by_ref(&mut reader).take(most).read_until(b'\n', &mut text)?;
            if read == 0 {
                return Ok(());
            }
            let line = std::str::from_utf8(&text).unwrap_or_default();
            match Line::read(line) {
                Ok(line) => self.lines.push(line),
                Err(bad) => {
                    let (count, _) = self.unreadable.get_or_insert((0, bad.to_string()));
                    *count += 1;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
