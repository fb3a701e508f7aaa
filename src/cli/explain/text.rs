//! What became of requests, as a page each.

use super::asked::All;
use super::judged::{Judged, Keyed};
use super::{Critical, End, Question, Ruled, Told, words};
use crate::cli::page::Page;

/// All pages, with a line between them, and what was left out.
pub(super) fn of(question: &Question<'_>, all: &All, told: &[Told<'_>]) -> String {
    let mut page = Page::default();
    for (number, one) in told.iter().enumerate() {
        if number > 0 {
            page.line("");
        }
        page.title(&format!("{} {}", one.asked.method, one.asked.target));
        match &one.ruled {
            Err(refusal) => page.refused(refusal),
            Ok(ruled) => of_one(&mut page, question, ruled),
        }
    }
    if !all.left_out.is_empty() {
        page.line("");
    }
    for why in &all.left_out {
        page.say("left out", why);
    }
    page.into_text()
}

fn of_one(page: &mut Page, question: &Question<'_>, ruled: &Ruled<'_>) {
    let (head, rule) = (&ruled.head, ruled.rule);
    page.say("matched as", &format!("{} {}", head.method, words::segments(&head.target)));
    page.say("rule", &words::rule(rule, head, &question.file));
    near(page, ruled);
    page.say("class", words::class(rule.class));
    for note in &ruled.notes {
        page.say("but", note);
    }
    match &ruled.end {
        End::Passed => {}
        End::ByPolicy(refusal) | End::Bad(refusal) => page.refused(refusal),
        End::Critical(critical) => of_critical(page, question, ruled, critical),
    }
}

/// Why not another rule.
fn near(page: &mut Page, ruled: &Ruled<'_>) {
    let near = &ruled.near;
    for passed in &near.passed_over {
        let (name, line) = (&passed.rule.name, passed.rule.line);
        page.say("", &format!("not {name}, line {line}: \"{}\": {}", passed.pattern, passed.why));
    }
    match (near.passed_over.len(), near.others) {
        (_, 0) => {}
        (0, others) => page.say("", &format!("none of the {others} rules before it comes near")),
        (_, others) => {
            page.say("", &format!("and {others} more before it, which do not come near"));
        }
    }
    if let Some(meant) = &near.did_you_mean {
        let meant = words::shown(meant);
        page.say("", &format!("no such operation of Stripe's is known: did you mean {meant}?"));
    }
}

fn of_critical(page: &mut Page, question: &Question<'_>, ruled: &Ruled<'_>, of: &Critical) {
    if of.placeholder {
        page.say(
            "API key",
            "none: such a request passes as it is and is not protected. What follows is for a \
             placeholder; give yours with -H 'Authorization: Bearer …'",
        );
    }
    let judged = Judged { head: &ruled.head, rule: ruled.rule, reading: &of.reading };
    judged.fields(page);
    judged.client_key(page);
    let identified = match &of.identified {
        Err(refusal) => return page.refused(refusal),
        Ok(identified) => identified,
    };
    judged.identity(page, identified.kind);
    judged.merging(page, identified);
    let keyed = Keyed {
        secret: &of.secret,
        configured: of.configured,
        placeholder: of.placeholder,
        now: question.now,
    };
    judged.keys(page, identified, &keyed);
    judged.afterwards(page, identified.kind);
    if let Some(now) = &of.now {
        now.say(page, question, of, identified);
    }
}
