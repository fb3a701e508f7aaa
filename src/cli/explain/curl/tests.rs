use super::*;

fn told(command: &str) -> (String, String, String) {
    let asked = read(command).unwrap_or_else(|why| panic!("{why}: {command}"));
    let line = format!("{} {}", asked.method, asked.target);
    (line, fields(&asked), String::from_utf8(asked.body).unwrap())
}

fn fields(asked: &Asked) -> String {
    let show = |it: &HeaderField| format!("{}: {}", it.name, it.value.to_str().unwrap());
    asked.headers.iter().map(show).collect::<Vec<_>>().join("\n")
}

const TYPE: &str = "content-type: application/x-www-form-urlencoded";

#[test]
fn a_command_of_stripes_documentation_is_the_request_that_curl_sends() {
    let (line, fields, body) = told(
        "curl https://api.stripe.com/v1/payment_intents \\\n  -u \"sk_test_x:\" \\\n  -d amount=2000 \\\n  \
         -d currency=usd \\\n  -d \"automatic_payment_methods[enabled]\"=true \\\n  \
         -H \"Idempotency-Key: order-42\"",
    );
    assert_eq!(line, "POST /v1/payment_intents");
    assert_eq!(body, "amount=2000&currency=usd&automatic_payment_methods[enabled]=true");
    // printf sk_test_x: | base64
    let basic = "authorization: Basic c2tfdGVzdF94Og==";
    assert_eq!(fields, format!("idempotency-key: order-42\n{basic}\n{TYPE}"));
}

#[test]
fn lines_go_on_as_in_a_shell_and_not_within_single_quotes() {
    let (line, _, body) =
        told("curl 'https://x/v1/a' \\\r\n -d am\\\nount=1 -d 'b=\\\n' -d \"it's\" -d c=\\'");
    assert_eq!((line.as_str(), body.as_str()), ("POST /v1/a", "amount=1&b=\\\n&it's&c='"));
}

#[test]
fn every_spelling_of_data_is_the_body_that_curl_makes_of_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("body");
    std::fs::write(&path, "a=1\r\n&b=2\n").unwrap();
    let file = path.to_str().unwrap();
    for (data, body) in [
        ("-d a=1 --data b=2 --data-ascii c=3".to_owned(), "a=1&b=2&c=3"),
        ("-da=1 -sSd b=2".to_owned(), "a=1&b=2"),
        ("--data-raw @x --data-raw 'y z'".to_owned(), "@x&y z"),
        (format!("-d @{file}"), "a=1&b=2"),
        (format!("--data-binary @{file}"), "a=1\r\n&b=2\n"),
        (
            "--data-urlencode 'a=b c&d' --data-urlencode =e= --data-urlencode 'f g'".to_owned(),
            "a=b%20c%26d&e%3D&f%20g",
        ),
        (format!("--data-urlencode a@{file}"), "a=a%3D1%0D%0A%26b%3D2%0A"),
    ] {
        let (line, fields, found) = told(&format!("curl {data} api.stripe.com/v1/x"));
        assert_eq!((line.as_str(), fields.as_str(), found.as_str()), ("POST /v1/x", TYPE, body));
    }
}

#[test]
fn json_says_so_and_get_moves_data_into_the_query() {
    let (line, fields, body) = told("curl --json '{\"a\":' --json '1}' https://x/v2/core/accounts");
    assert_eq!((line.as_str(), body.as_str()), ("POST /v2/core/accounts", "{\"a\":1}"));
    assert_eq!(fields, "content-type: application/json");
    let (line, fields, body) = told("curl -G 'https://x/v1/charges?a=b' -d limit=3 -d c=d");
    assert_eq!((line.as_str(), body.as_str()), ("GET /v1/charges?a=b&limit=3&c=d", ""));
    assert_eq!(fields, "");
}

#[test]
fn methods_hosts_and_fields_are_read_as_curl_reads_them() {
    for (command, line, fields) in [
        ("curl http://localhost:8420/v1/charges#x", "GET /v1/charges", ""),
        (
            "curl -X DELETE --url https://api.stripe.com/v1/customers/cus_1",
            "DELETE /v1/customers/cus_1",
            "",
        ),
        ("/usr/bin/curl -XPOST api.stripe.com", "POST /", ""),
        ("curl -I 'https://x?a=b'", "HEAD /?a=b", ""),
        ("curl -v -o out -m10 --max-time 3 https://x/v1/a", "GET /v1/a", ""),
        ("curl https://x/v1/a -H 'A: b' -H 'Empty;' -H 'Accept:'", "GET /v1/a", "a: b\nempty: "),
        (
            "curl https://x/v1/a --oauth2-bearer t -A 'Stripe/v1 Go'",
            "GET /v1/a",
            "authorization: Bearer t\nuser-agent: Stripe/v1 Go",
        ),
        (
            "curl https://x/v1/a -u c -H 'Authorization: Bearer b' -u c",
            "GET /v1/a",
            "authorization: Bearer b",
        ),
    ] {
        let (found, shown, _) = told(command);
        assert_eq!((found.as_str(), shown.as_str()), (line, fields), "{command}");
    }
}

#[test]
fn what_is_not_understood_is_named_and_no_value_is_shown() {
    for (command, why) in [
        ("wget https://x", "does not begin with `curl`"),
        ("curl https://x -d 'sk_live_x", "do not pair up"),
        ("curl https://x --data $'sk_live_x'", "$'…'"),
        ("curl https://x --digest", "--digest"),
        ("curl https://x -F file=@sk_live_x", "-F"),
        ("curl -sZ https://x", "-Z"),
        ("curl https://x -d", "-d wants a value"),
        ("curl -d sk_live_x", "no URL"),
        ("curl https://x https://sk_live_x", "more than one URL"),
        ("curl ftp://sk_live_x", "scheme"),
        ("curl 'https://x/a sk_live_x'", "blank"),
        ("curl https:///v1/sk_live_x", "without a host"),
        ("curl https://x -H sk_live_x", "'Name: value'"),
        ("curl https://x -X 'P OST'", "no method"),
        ("curl https://x -d @/nowhere/at/all", "/nowhere/at/all cannot be read"),
        ("curl https://x -d @-", "standard input"),
    ] {
        let said = read(command).unwrap_err().to_string();
        assert!(said.contains(why) && !said.contains("sk_live"), "{command}: {said}");
    }
}

#[test]
fn a_variable_that_no_shell_has_filled_in_is_told() {
    let notes = |command: &str| read(command).unwrap().notes.len();
    assert_eq!(notes("curl https://x/v1/a -u $STRIPE_KEY:"), 1);
    assert_eq!(notes("curl https://x/v1/a -u ${STRIPE_KEY}:"), 1);
    assert_eq!(notes("curl https://x/v1/a -d description='5$'"), 0);
}
