//! JSON bodies. Read again here as a tree of tokens, so that no digit or repeated name is lost.

use payonce::decide::canonical::{self, Canonical, Kind};

use super::choices::Choices;
use super::said::{as_sent, check_bounds, check_different, check_same};

/// White space, the order of members, escapes and needless zeros mean nothing; all else does.
pub fn check(input: &[u8]) {
    let read = read(input);
    check_bounds(&read, input.len());
    if read.kind() != Kind::Json {
        return;
    }
    let text = std::str::from_utf8(input).expect("JSON is UTF-8");
    let tree = Parser { rest: text }.tree();
    let mut choices = Choices::of(input);
    if !as_sent(&read) {
        for _ in 0..4 {
            let other = tree.spelled(&mut Some(&mut choices));
            check_same(&read, &self::read(other.as_bytes()), &other);
        }
        assert!(serde_json::from_slice::<serde_json::Value>(input).is_ok());
    }
    check_changes(&tree, &mut choices);
}

/// One node is changed, removed or added.
fn check_changes(tree: &Tree, choices: &mut Choices) {
    let plain = tree.spelled(&mut None);
    let read_plain = read(plain.as_bytes());
    for _ in 0..4 {
        let mut changed = tree.clone();
        let at = choices.one_of(changed.count());
        changed.node(at).unwrap().change(choices);
        let other = changed.spelled(&mut None);
        check_different(&read_plain, &read(other.as_bytes()), None, &format!("{plain} / {other}"));
    }
}

fn read(body: &[u8]) -> Canonical {
    canonical::read(Some("application/json"), None, None, body)
}

#[derive(Clone, PartialEq)]
enum Tree {
    /// `null`, `true`, `false` or a number, as sent.
    Word(String),
    Text(String),
    Array(Vec<Tree>),
    Object(Vec<(String, Tree)>),
}

impl Tree {
    /// Written without white space, or in any way if there are choices.
    fn spelled(&self, choices: &mut Option<&mut Choices>) -> String {
        let body = match self {
            Tree::Word(word) => spell_word(word, choices),
            Tree::Text(text) => spell_text(text, choices),
            Tree::Array(items) => {
                let items: Vec<String> = items.iter().map(|item| item.spelled(choices)).collect();
                format!("[{}{}]", space(choices), items.join(","))
            }
            Tree::Object(members) => {
                let mut members: Vec<&(String, Tree)> = members.iter().collect();
                if let Some(choices) = choices {
                    for at in (1..members.len()).rev() {
                        members.swap(at, choices.one_of(at + 1));
                    }
                }
                let mut out = Vec::new();
                for (name, value) in members {
                    let name = spell_text(name, choices);
                    out.push(format!(
                        "{}{name}{}:{}",
                        space(choices),
                        space(choices),
                        value.spelled(choices)
                    ));
                }
                format!("{{{}{}}}", out.join(","), space(choices))
            }
        };
        format!("{}{body}{}", space(choices), space(choices))
    }

    fn count(&self) -> usize {
        1 + match self {
            Tree::Word(_) | Tree::Text(_) => 0,
            Tree::Array(items) => items.iter().map(Tree::count).sum(),
            Tree::Object(members) => members.iter().map(|(_, value)| value.count()).sum(),
        }
    }

    /// The node number `at`, this one being 0.
    fn node(&mut self, at: usize) -> Option<&mut Tree> {
        if at == 0 {
            return Some(self);
        }
        let mut before = 1;
        let below: Vec<&mut Tree> = match self {
            Tree::Word(_) | Tree::Text(_) => Vec::new(),
            Tree::Array(items) => items.iter_mut().collect(),
            Tree::Object(members) => members.iter_mut().map(|(_, value)| value).collect(),
        };
        for child in below {
            let size = child.count();
            if at < before + size {
                return child.node(at - before);
            }
            before += size;
        }
        None
    }

    /// Makes it mean something else.
    fn change(&mut self, choices: &mut Choices) {
        match self {
            Tree::Word(word) => *self = changed_word(word, choices),
            Tree::Text(text) if choices.flip() => text.push('x'),
            Tree::Text(text) => *self = Tree::Array(vec![Tree::Text(std::mem::take(text))]),
            Tree::Array(items) if items.is_empty() || choices.flip() => {
                items.push(Tree::Word("null".to_owned()));
            }
            Tree::Array(items) => {
                items.pop();
            }
            Tree::Object(members) if members.is_empty() || choices.flip() => {
                let name = new_name(members);
                members.push((name, Tree::Word("null".to_owned())));
            }
            Tree::Object(members) if choices.flip() => members[0].0 = new_name(members),
            Tree::Object(members) => {
                members.pop();
            }
        }
    }
}

fn new_name(members: &[(String, Tree)]) -> String {
    let longest = members.iter().map(|(name, _)| name.len()).max();
    "x".repeat(longest.unwrap_or_default() + 1)
}

fn changed_word(word: &str, choices: &mut Choices) -> Tree {
    let other = match word {
        "null" => ["{}", "false"],
        "true" => ["false", "1"],
        "false" => ["true", "null"],
        number if number.parse::<f64>() == Ok(1.0) => ["2", "-1"],
        _ => ["1", "null"],
    };
    match choices.one_of(3) {
        0 => Tree::Text(word.to_owned()),
        1 if other[0] == "{}" => Tree::Object(Vec::new()),
        at => Tree::Word(other[at - 1].to_owned()),
    }
}

fn spell_word(word: &str, choices: &mut Option<&mut Choices>) -> String {
    let number = word.starts_with(|c: char| c == '-' || c.is_ascii_digit());
    let zeros = choices.as_mut().is_some_and(|choices| choices.flip());
    match (number && zeros, word.contains('.')) {
        (true, true) => format!("{word}0"),
        (true, false) => format!("{word}.0"),
        (false, _) => word.to_owned(),
    }
}

fn spell_text(text: &str, choices: &mut Option<&mut Choices>) -> String {
    let Some(choices) = choices else { return serde_json::to_string(text).unwrap() };
    let mut out = String::from("\"");
    for char in text.chars() {
        match (char, choices.one_of(6)) {
            ('"' | '\\' | '/', 0..=3) => out.extend(['\\', char]),
            ('\u{20}'.., 0..=3) if char != '"' && char != '\\' => out.push(char),
            (_, way) => {
                for unit in char.encode_utf16(&mut [0; 2]) {
                    let upper = way == 5;
                    let digits = if upper { format!("{unit:04X}") } else { format!("{unit:04x}") };
                    out.extend(["\\u", &digits]);
                }
            }
        }
    }
    out + "\""
}

fn space(choices: &mut Option<&mut Choices>) -> &'static str {
    let Some(choices) = choices else { return "" };
    ["", "", "", " ", "\n", "\t\r "][choices.one_of(6)]
}

/// Reads JSON that is known to be valid and no deeper than the limit.
struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    fn tree(&mut self) -> Tree {
        match self.peek() {
            '"' => Tree::Text(self.text()),
            '[' => Tree::Array(self.items(']', Self::tree)),
            '{' => Tree::Object(self.items('}', |parser| {
                let name = parser.text();
                assert_eq!(parser.take(), ':');
                (name, parser.tree())
            })),
            _ => {
                let is_end = |c: char| c == ',' || c == ']' || c == '}' || c.is_ascii_whitespace();
                let (word, rest) =
                    self.rest.split_at(self.rest.find(is_end).unwrap_or(self.rest.len()));
                self.rest = rest;
                Tree::Word(word.to_owned())
            }
        }
    }

    fn items<T>(&mut self, end: char, item: impl Fn(&mut Self) -> T) -> Vec<T> {
        self.take();
        let mut items = Vec::new();
        if self.peek() == end {
            self.take();
            return items;
        }
        loop {
            items.push(item(self));
            if self.take() == end {
                return items;
            }
        }
    }

    fn text(&mut self) -> String {
        self.peek();
        let mut escaped = false;
        let end = self.rest.char_indices().skip(1).find(|(_, c)| {
            let ends = *c == '"' && !escaped;
            escaped = *c == '\\' && !escaped;
            ends
        });
        let (text, rest) = self.rest.split_at(end.unwrap().0 + 1);
        self.rest = rest;
        serde_json::from_str(text).unwrap()
    }

    fn peek(&mut self) -> char {
        self.rest = self.rest.trim_ascii_start();
        self.rest.chars().next().unwrap()
    }

    fn take(&mut self) -> char {
        let char = self.peek();
        self.rest = &self.rest[char.len_utf8()..];
        char
    }
}
