//! Labels on the left, text on the right, as wide as a terminal.

use crate::refusal::Refusal;

const LABEL: usize = 14;
const WIDTH: usize = 100;

/// A page of text that grows.
#[derive(Default)]
pub(super) struct Page(String);

impl Page {
    /// The request, and an empty line.
    pub(super) fn title(&mut self, text: &str) {
        // What was typed is shown with its control characters made harmless.
        self.0.extend(text.chars().flat_map(|c| {
            let control = c.is_control();
            c.escape_debug().take(usize::from(control) * 16).chain((!control).then_some(c))
        }));
        self.0.push_str("\n\n");
    }

    /// A labelled paragraph; an empty label goes on with the one before.
    pub(super) fn say(&mut self, label: &str, text: &str) {
        let mut line = format!("{label:LABEL$}");
        let mut used = LABEL;
        for word in text.split(' ') {
            let long = word.chars().count();
            if used > LABEL && used + 1 + long > WIDTH {
                self.line(&line);
                line = " ".repeat(LABEL);
                used = LABEL;
            }
            if used > LABEL {
                line.push(' ');
                used += 1;
            }
            line.push_str(word);
            used += long;
        }
        self.line(&line);
    }

    /// What would be answered instead of anything being sent.
    pub(super) fn refused(&mut self, refusal: &Refusal) {
        let (status, code) = (refusal.status().as_u16(), refusal.code());
        self.say("refused", &format!("{status} {code}: {}", refusal.message()));
    }

    pub(super) fn into_text(self) -> String {
        self.0
    }

    fn line(&mut self, line: &str) {
        self.0.push_str(line.trim_end());
        self.0.push('\n');
    }
}
