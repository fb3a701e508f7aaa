use super::*;

fn found(method: &Method, path: &str) -> Option<String> {
    find(method, &Target::parse(path).unwrap()).map(|index| all()[index].name())
}

#[test]
fn every_line_of_the_table_is_an_operation() {
    assert_eq!(all().len(), TABLE.lines().count() - 1);
    assert_eq!(all().len(), 705);
}

#[test]
fn every_line_of_the_fields_belongs_to_an_operation() {
    let known = all().iter().filter(|operation| operation.parameters().is_some()).count();
    assert_eq!(known, fields::read().len());
    assert!(known > 300, "{known}");
    let charge = &all()[find(&Method::POST, &Target::parse("/v1/charges").unwrap()).unwrap()];
    assert_eq!(charge.parameter("customer").unwrap().shape, Shape::Value);
    assert_eq!(charge.parameter("metadata").unwrap().shape, Shape::Map);
    assert_eq!(charge.parameter("shipping").unwrap().shape, Shape::Object);
    assert_eq!(charge.parameter("expand").unwrap().shape, Shape::Array);
    assert_eq!(charge.parameter("order_id"), None);
}

#[test]
fn every_operation_finds_itself() {
    for operation in all() {
        let sent = operation.path.replace(['{', '}'], "_");
        assert_eq!(found(&operation.method, &sent), Some(operation.name()));
    }
    assert_eq!(found(&Method::HEAD, "/v1/charges"), Some("GET /v1/charges".to_owned()));
    assert_eq!(found(&Method::POST, "/v1/chages"), None);
    assert_eq!(found(&Method::PUT, "/v1/charges"), None);
}

/// For people to review: what is missing here is not warned of.
#[test]
fn these_operations_move_money() {
    let money = |operation: &&Operation| operation.money.is_some();
    let lines = all().iter().filter(money).map(|operation| {
        let how = operation.money.map(Money::as_str).unwrap_or_default();
        format!("{how:<8} {:<6} {}", if operation.batch { "batch" } else { "" }, operation.name())
    });
    let lines: Vec<String> = lines.collect();
    assert_eq!(lines.len(), money::table().count(), "a name in the table is no operation");
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn a_step_that_may_be_meant_again_is_a_known_one() {
    for step in money::REPEATABLE_STEPS {
        assert!(all().iter().any(|operation| operation.path == *step), "{step}");
    }
    let again = |name: &str| {
        all().iter().find(|operation| operation.name() == name).unwrap().may_be_meant_again()
    };
    assert!(again("POST /v1/subscriptions/{subscription_exposed_id}"));
    assert!(again("POST /v1/payment_intents/{intent}/confirm"));
    assert!(!again("POST /v1/payment_intents/{intent}/capture"));
    assert!(!again("POST /v1/charges") && !again("GET /v1/charges/{charge}"));
}
