//! The JSON Schema of the policy says what the parser says: the same keys, the same words, no false
//! alarm. What the parser knows is asked of the parser itself, by a wrong key and a wrong word.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "that is how a test fails"
)]

use std::collections::BTreeSet;

use boon::{Compiler, SchemaIndex, Schemas};
use payonce::decide::policy::{Policy, Problem};
use payonce::policy_file::SHIPPED;
use serde_json::Value;

use super::running::run;

const SCHEMA: &str = include_str!("../../config/policy.schema.json");

/// Every table of a policy: where its schema stands, and a policy that ends within such a table.
const TABLES: [(&str, &str); 6] = [
    ("", "version = 1\n"),
    ("/$defs/client", "version = 1\n[[client]]\n"),
    ("/$defs/rule", "version = 1\n[[rule]]\n"),
    ("/$defs/scope", "version = 1\n[[scope]]\n"),
    ("/$defs/test", "version = 1\n[[test]]\n"),
    (
        "/$defs/test/properties/expect",
        "version = 1\n[[test]]\nrequest = \"GET /\"\n[test.expect]\n",
    ),
];

pub(crate) struct Schema {
    schemas: Schemas,
    index: SchemaIndex,
}

impl Schema {
    pub(crate) fn compiled() -> Self {
        let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
        compiler.add_resource("policy.json", json()).unwrap();
        let index = compiler.compile("policy.json", &mut schemas).unwrap();
        Self { schemas, index }
    }

    /// What the schema has against `policy`; `None` if nothing.
    pub(crate) fn refuses(&self, policy: &str) -> Option<String> {
        let value: Value = toml::from_str(policy).unwrap();
        let found = self.schemas.validate(&value, self.index);
        found.err().map(|error| format!("{error:#}"))
    }
}

fn json() -> Value {
    serde_json::from_str(SCHEMA).unwrap()
}

fn problems(text: &str) -> Vec<Problem> {
    Policy::parse(text).unwrap_err()
}

/// What stands between marks in a message: "`a`, `b` or `c`".
fn quoted(text: &str, mark: char) -> BTreeSet<String> {
    text.split(mark).skip(1).step_by(2).map(str::to_owned).collect()
}

fn keys_of(schema: &Value) -> BTreeSet<String> {
    schema["properties"].as_object().unwrap().keys().cloned().collect()
}

#[test]
fn the_keys_of_each_table_are_those_that_the_parser_reads() {
    let schema = json();
    for (at, before) in TABLES {
        let found = problems(&format!("{before}no_such_key = 1\n"));
        let unknown = found.iter().find(|problem| problem.what.contains("no_such_key"));
        let mend = &unknown.unwrap_or_else(|| panic!("{found:?}")).mend;
        let known = quoted(mend, '`');
        assert_eq!(keys_of(schema.pointer(at).unwrap()), known, "of the table at {at:?}");
    }
}

/// No table of the schema is left out above.
#[test]
fn every_table_of_the_schema_is_held_against_the_parser() {
    fn tables(at: &str, schema: &Value, found: &mut BTreeSet<String>) {
        if schema["additionalProperties"] == false {
            found.insert(at.to_owned());
        }
        for part in ["properties", "$defs"] {
            for (name, inner) in schema[part].as_object().into_iter().flatten() {
                tables(&format!("{at}/{part}/{name}"), inner, found);
            }
        }
    }
    let mut found = BTreeSet::new();
    tables("", &json(), &mut found);
    assert_eq!(found, TABLES.map(|(at, _)| at.to_owned()).into());
}

#[test]
fn the_words_of_each_key_are_those_that_the_parser_reads() {
    let schema = json();
    let mut words = 0;
    for (at, before) in TABLES {
        let table = schema.pointer(at).unwrap();
        for (key, inner) in table["properties"].as_object().unwrap() {
            // Some words are read only beside others.
            let beside = if key == "otherwise" { "identity = [\"a\"]\n" } else { "" };
            let found = problems(&format!("{before}{beside}{key} = \"no such word\"\n"));
            let unknown = format!("unknown `{key}`");
            let asked = found.iter().find(|problem| problem.what.contains(&unknown));
            let known = asked.map(|problem| quoted(&problem.mend, '"')).unwrap_or_default();
            let listed = [&inner["enum"], &inner["oneOf"][0]["enum"]];
            let listed: BTreeSet<String> = listed
                .iter()
                .filter_map(|words| words.as_array())
                .flatten()
                .map(|word| word.as_str().unwrap().to_owned())
                .collect();
            assert_eq!(listed, known, "{key} of the table at {at:?}");
            words += known.len();
        }
    }
    assert!(words > 20, "{words}");
}

#[test]
fn the_shipped_policy_is_one() {
    assert_eq!(Schema::compiled().refuses(SHIPPED), None);
}

const CLIENT: &str = "version = 1\n[[client]]\nname = \"a\"\naction = \"warn\"\n";

const SCOPE: &str = "version = 1\n[[scope]]\nname = \"acme\"\n";

/// A policy of one rule with these lines in it.
fn rule(lines: &str) -> String {
    format!("version = 1\n[[rule]]\nname = \"a\"\nmatch = [\"POST /v1/charges\"]\n{lines}\n")
}

/// Both say no: an editor marks what `check` would refuse.
#[test]
fn what_an_editor_can_see_is_marked() {
    let schema = Schema::compiled();
    let content = "class = \"critical\"\nidentity = \"content\"\n";
    for wrong in [
        "mode = \"enforce\"".to_owned(),
        "version = 2".to_owned(),
        "version = 1\nallow = [\"twins-on-batch\"]".to_owned(),
        "version = 1\nmode = \"watch\"".to_owned(),
        "version = 1\n[rule]\nname = \"a\"".to_owned(),
        "version = 1\n[[rule]]\nname = \"a\"\nclass = \"pass\"".to_owned(),
        "version = 1\n[[test]]\nrequest = \"POST /v1/charges\"\nexpect = {}".to_owned(),
        rule("class = \"important\""),
        rule("class = \"pass\"\nmode = \"observe\""),
        rule("class = \"pass\"\nmerge = \"twins\""),
        rule("class = \"critical\"\nmerge = \"twins\""),
        rule("class = \"critical\"\notherwise = \"call\""),
        rule("class = \"critical\"\nidentity = []\notherwise = \"call\""),
        rule("class = \"critical\"\nidentity = [\"metadata[*]\"]\notherwise = \"call\""),
        rule("class = \"critical\"\nidentity = [\"customer\"]"),
        rule(content),
        rule(&format!("{content}distinguishes = []")),
        rule(&format!("{content}distinguishes = [\"a\", \"a\"]")),
        rule(&format!("{content}distinguishes = [\"a\"]\nclient_key = \"required\"")),
        rule(&format!(
            "{content}distinguishes = [\"a\"]\nmerge = \"twins\"\nrepeat_window = \"1d\""
        )),
        format!("{CLIENT}sdk = \"phyton\"\n"),
        format!("{CLIENT}sdk = \"go\"\nolder_than = \"1y\"\n"),
        format!("{SCOPE}keys = []\n"),
        format!("{SCOPE}keys = [\"sk_live_1\"]\n"),
        format!("{SCOPE}keys = [\"{0}\", \"{0}\"]\n", "0a".repeat(32)),
        rule("class = \"critical\"").replace("\"a\"", "\"A\""),
        rule("class = \"critical\"").replace("\"a\"", "\"not_critical\""),
        rule("class = \"critical\"").replace("[\"POST /v1/charges\"]", "[]"),
        rule("class = \"critical\"").replace("POST /v1", "POST v1"),
    ] {
        assert!(Policy::parse(&wrong).is_err(), "{wrong}");
        assert!(schema.refuses(&wrong).is_some(), "{wrong}");
    }
}

/// What the parser takes, the schema takes: an editor cries no wolf.
#[test]
fn what_is_in_order_is_not_marked() {
    let schema = Schema::compiled();
    let mut right = vec!["version = 1".to_owned(), rule("class = \"refuse\"\nmode = \"observe\"")];
    let identities = [
        "",
        "identity = \"call\"",
        "identity = \"content\"\ndistinguishes = [\"customer\", \"metadata[*]\"]",
        "identity = \"content\"\ndistinguishes = [\"a\"]\nmerge = \"twins\"\nrepeat_window = \"22h\"",
        "identity = [\"metadata[order_id]\"]\notherwise = \"call\"",
        "identity = [\"a\", \"b\"]\notherwise = \"content\"\ndistinguishes = [\"c\"]\nmerge = \"lost\"",
        "identity = [\"a\"]\notherwise = \"refuse\"\nclient_key = \"required\"",
    ];
    for identity in identities {
        for more in ["", "store_down = \"refuse\"", "indeterminate = \"next\""] {
            right.push(rule(&format!("class = \"critical\"\n{identity}\n{more}")));
        }
    }
    for about in
        ["\"go\"\nfrom = \"80\"\nbelow = \"82.1\"", "[\"go\", \"php\"]", "\"*\"\ncaller = \"a\""]
    {
        right.push(format!("{CLIENT}sdk = {about}\nmessage = \"update it\"\n"));
    }
    right.push(format!("{CLIENT}sdk = \"unknown\"\nolder_than = \"1 year\"\ncaller = [\"a\"]\n"));
    right.push(format!("{SCOPE}keys = [\"{}\", \"{}\"]\n", "0a".repeat(32), "0B".repeat(32)));
    right.push(rule("class = \"pass\"\nallow = [\"unknown-path POST /v1/x: Stripe has it\"]"));
    right.push(rule("class = \"pass\"").replace("POST /v1/charges", "* /v1/{a}/**"));
    let tested = "[[test]]\nrequest = \"POST /v1/charges?a=b\"\n";
    for expect in ["rule = \"a\"", "class = \"critical\"", "identity = \"call\""] {
        right.push(rule(&format!("class = \"critical\"\n{tested}expect = {{ {expect} }}")));
    }
    for text in right {
        assert!(Policy::parse(&text).is_ok(), "{text}\n{:?}", Policy::parse(&text));
        assert_eq!(schema.refuses(&text), None, "{text}");
    }
}

#[test]
fn the_command_prints_the_schema_that_is_shipped() {
    let printed = run(&["policy", "schema"], &[]);
    assert_eq!((printed.code, printed.out.as_str()), (Some(0), SCHEMA));
}
