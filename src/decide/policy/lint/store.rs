//! A policy and a store that do not go together.

use super::super::code::Code;
use super::super::operations::Operation;
use super::super::problem::Report;
use super::super::{Class, StoreDown};
use super::{Finding, Place, Ruled, Store, some};

pub(super) fn look(rule: &Ruled<'_>, store: Option<Store>, report: &mut Report<'_>) {
    let v2 = |operation: &&&Operation| operation.path.starts_with("/v2/");
    let v2: Vec<&Operation> = rule.operations.iter().filter(v2).copied().collect();
    if rule.rule.class != Class::Critical || !rule.rule.uses_content() || v2.is_empty() {
        return;
    }
    let name = &rule.rule.name;
    if rule.place.text("store_down") == Some(StoreDown::Derive.as_str()) {
        let finding = Finding {
            code: Code::StoreDownIgnored,
            at: rule.place.value("store_down"),
            what: format!(
                "store_down = \"derive\" does not hold for what rule `{name}` recognises by \
                 content in v2: {}",
                some(&v2)
            ),
            mend: "write \"refuse\", which is what happens, or give v2 a rule without content"
                .to_owned(),
        };
        rule.place.note(report, None, finding);
    }
    if store.is_some_and(|store| !store.survives) {
        let finding = Finding {
            code: Code::StoreForgets,
            at: rule.place.value("identity"),
            what: format!(
                "rule `{name}` recognises v2 requests by content, and the settings' store forgets \
                 when payonce ends: {}",
                some(&v2)
            ),
            mend: "set store.kind = \"redis\", or \"embedded\" with store.single_instance = true"
                .to_owned(),
        };
        rule.place.note(report, None, finding);
    }
}

/// What `serve` refuses to start with.
pub(super) fn of_the_file(rules: &[Ruled<'_>], store: Option<Store>, report: &mut Report<'_>) {
    if store.is_none_or(|store| store.one_for_all) {
        return;
    }
    let mut recognising = rules.iter().filter(|rule| rule.rule.recognises());
    let Some(first) = recognising.next() else { return };
    let others = match recognising.count() {
        0 => String::new(),
        1 => ", and so does one more rule".to_owned(),
        more => format!(", and so do {more} more rules"),
    };
    let finding = Finding {
        code: Code::OneStoreNeeded,
        at: first.place.value("identity"),
        what: format!(
            "rule `{}` recognises operations by content or fields{others}, and the settings' store \
             is one process's own",
            first.rule.name
        ),
        mend: "set store.single_instance = true if this is the only payonce for its application, \
               or store.kind = \"redis\""
            .to_owned(),
    };
    first.place.note(report, None, finding);
}

/// Likewise, where the file names API keys of one account.
pub(super) fn of_scopes(whole: &Place<'_>, store: Option<Store>, report: &mut Report<'_>) {
    if store.is_none_or(|store| store.secret) || whole.table.get("scope").is_none() {
        return;
    }
    let finding = Finding {
        code: Code::SecretNeeded,
        at: whole.value("scope"),
        what: "a [[scope]] makes several API keys one, and the settings have no secret".to_owned(),
        mend: "set secret.file to one made by `payonce keygen`".to_owned(),
    };
    whole.note(report, None, finding);
}
