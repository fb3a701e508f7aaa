//! Which rule comes first for a request: a tree of path segments.
//!
//! It asks as many nodes as the path has segments (a few more where `{id}` and a literal both
//! fit), however many rules there are, and allocates nothing.

use std::collections::HashMap;

use http::Method;

use super::template::{Methods, Pattern, Segment};

/// One segment deep in the tree; the root is before the first.
#[derive(Debug, Default)]
pub(super) struct Routes {
    literals: HashMap<Box<str>, Routes>,
    one: Option<Box<Routes>>,
    /// Patterns that end here, in the order of the file.
    here: Vec<(Methods, usize)>,
    /// Patterns with a `**` here, in the order of the file.
    below: Vec<(Methods, usize)>,
}

impl Routes {
    /// Adds `pattern` of the rule with this index. Rules are added in the order of the file.
    pub(super) fn add(&mut self, pattern: &Pattern, rule: usize) {
        let end = pattern.segments.iter().fold(self, |node, segment| match segment {
            Segment::Literal(text) => node.literals.entry(text.clone()).or_default(),
            Segment::One => node.one.get_or_insert_default().as_mut(),
        });
        let entries = if pattern.tail { &mut end.below } else { &mut end.here };
        entries.push((pattern.methods.clone(), rule));
    }

    /// The index of the first rule of the file that matches.
    pub(super) fn first<S: AsRef<str>>(&self, method: &Method, segments: &[S]) -> Option<usize> {
        let Some((segment, rest)) = segments.split_first() else {
            return first_of(&self.here, method);
        };
        let literal = self.literals.get(segment.as_ref()).and_then(|n| n.first(method, rest));
        let one = self.one.as_ref().and_then(|n| n.first(method, rest));
        [first_of(&self.below, method), literal, one].into_iter().flatten().min()
    }
}

fn first_of(entries: &[(Methods, usize)], method: &Method) -> Option<usize> {
    entries.iter().find(|(methods, _)| methods.matches(method)).map(|(_, rule)| *rule)
}
