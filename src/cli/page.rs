//! Labels on the left, text on the right, as wide as a terminal.

use crate::refusal::Refusal;

const LABEL: usize = 14;
const WIDTH: usize = 100;

/// A page of text that grows.
#[derive(Default)]
pub(in crate::cli) struct Page(String);

impl Page {
    /// The request, and an empty line.
    pub(in crate::cli) fn title(&mut self, text: &str) {
        // What was typed is shown with its control characters made harmless.
        self.0.extend(text.chars().flat_map(|c| {
            let control = c.is_control();
            c.escape_debug().take(usize::from(control) * 16).chain((!control).then_some(c))
        }));
        self.0.push_str("\n\n");
    }

    /// A labelled paragraph; an empty label goes on with the one before.
    pub(in crate::cli) fn say(&mut self, label: &str, text: &str) {
        self.put(label, LABEL, text);
    }

    /// Likewise, with labels of this width.
    pub(in crate::cli) fn put(&mut self, label: &str, width: usize, text: &str) {
        let mut line = format!("{label:width$}");
        let mut used = width;
        for word in text.split(' ') {
            let long = word.chars().count();
            if used > width && used + 1 + long > WIDTH {
                self.line(&line);
                line = " ".repeat(width);
                used = width;
            }
            if used > width {
                line.push(' ');
                used += 1;
            }
            line.push_str(word);
            used += long;
        }
        self.line(&line);
    }

    /// What would be answered instead of anything being sent.
    pub(in crate::cli) fn refused(&mut self, refusal: &Refusal) {
        let (status, code) = (refusal.status().as_u16(), refusal.code());
        self.say("refused", &format!("{status} {code}: {}", refusal.message()));
    }

    pub(in crate::cli) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(in crate::cli) fn into_text(self) -> String {
        self.0
    }

    /// A line as it is; an empty one sets apart.
    pub(in crate::cli) fn line(&mut self, line: &str) {
        self.0.push_str(line.trim_end());
        self.0.push('\n');
    }
}
