//! I8: what is secret in the requests of a run shows in no log line and no metric.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use super::chaos::Climate;
use super::run::{Size, play};
use super::work::{CANARY_CARD, CANARY_KEY, ROLLED, SHOPS};

#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn no_secret_of_a_rough_day_shows_in_a_log_line_or_a_metric() {
    let page = Page::default();
    let writer = page.clone();
    let lines = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    // With one subscriber alone, tracing asks the thread that comes to a line first, which may be
    // another test's and have none, whether anybody wants it.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let seed = 6;
    let size = Size { operations: 120, pods: 3 };
    let ran = tracing::subscriber::with_default(lines, || play(seed, Climate::of(seed), size));
    let logged = String::from_utf8(page.0.lock().unwrap().clone()).unwrap();
    assert!(logged.matches("payonce::operation").count() > 100, "{} bytes", logged.len());
    let raw_keys = ran.keys.iter().map(String::as_str);
    let secrets = [CANARY_CARD, CANARY_KEY].into_iter().chain(SHOPS).chain(ROLLED).chain(raw_keys);
    for secret in secrets.filter(|secret| !secret.is_empty()) {
        for text in ran.metrics.iter().chain([&logged]) {
            assert!(!text.contains(secret), "{secret} in {} bytes", text.len());
        }
    }
    assert!(ran.keys.len() > 100, "{} keys", ran.keys.len());
}
