"""An application that uses the real stripe-python, told what to do line by line.

    app.py module|client BASE API_KEY

Reads one JSON command a line: {"call": "charges.create", "id": null, "params": {}, "intent": null,
"operation": null, "key": null, "retries": null}; writes one JSON result a line: {"ok": {...}} or {"error": {...}}.
"""

import json
import sys

import stripe

RESOURCES = {
    "charges": "Charge",
    "customers": "Customer",
    "payment_intents": "PaymentIntent",
    "payment_methods": "PaymentMethod",
    "refunds": "Refund",
}


def shown(method, result):
    if method == "list":
        return {"ids": [one.id for one in result.auto_paging_iter()]}
    headers = result.last_response.headers if result.last_response else {}
    fields = ["id", "object", "status", "amount", "description", "latest_charge"]
    found = {name: getattr(result, name, None) for name in fields}
    return {**found, "outcome": headers.get("payonce-outcome")}


class Module:
    """The classic style: stripe.Charge.create(...)."""

    def __init__(self, base, key):
        stripe.api_base = base
        stripe.api_key = key

    def call(self, resource, method, at, params, options, retries):
        if retries is not None:
            stripe.max_network_retries = retries
        function = getattr(getattr(stripe, RESOURCES[resource]), method)
        return function(*at, **params, **options)


class Client:
    """The newer style: client.v1.charges.create(params=..., options=...)."""

    def __init__(self, base, key):
        self.client = stripe.StripeClient(key, base_addresses={"api": base})

    def call(self, resource, method, at, params, options, retries):
        if retries is not None:
            options["max_network_retries"] = retries
        function = getattr(getattr(self.client.v1, resource), method)
        return function(*at, params=params, options=options)


def run(style, command):
    resource, method = command["call"].split(".")
    at = [command["id"]] if command.get("id") else []
    options = {}
    headers = {"Sandbox-Intent": "intent", "Payonce-Operation": "operation"}
    headers = {name: command[field] for name, field in headers.items() if command.get(field)}
    if headers:
        options["headers"] = headers
    if command.get("key"):
        options["idempotency_key"] = command["key"]
    params, retries = command.get("params") or {}, command.get("retries")
    try:
        return {"ok": shown(method, style.call(resource, method, at, params, options, retries))}
    except stripe.error.StripeError if hasattr(stripe, "error") else stripe.StripeError as error:
        return {
            "error": {
                "type": type(error).__name__,
                "status": error.http_status,
                "code": error.code,
                "message": str(error),
            }
        }


def main():
    _, style, base, key = sys.argv
    style = {"module": Module, "client": Client}[style](base, key)
    for line in sys.stdin:
        print(json.dumps(run(style, json.loads(line))), flush=True)


main()
