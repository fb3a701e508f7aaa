"""A bad day on one machine: two pods of a shop on one Redis, a third that only observes, a sandbox
that fails, webhooks, and a real Prometheus that looks at all of it once a second.

What happens is chosen so that (nearly) every metric has series when the day is over. What is asked of
it is in test_alerts_live.py.
"""

import contextlib
import http.server
import json
import pathlib
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

from conftest import ROOT
from processes import Process, Sandbox, free_port, get, until

RULES = ROOT / "deploy/alerts/payonce.rules.yaml"
SECRET = "whsec_0123456789abcdef0123456789abcdef"
PLACEHOLDER = "sk_test_payonce_placeholder"
NODE = "Stripe/v1 NodeBindings/8.0.0"
PYTHON = "Stripe/v1 PythonBindings/16.1.0"

# What the shop's security team puts before the shipped policy's rules, and after them.
STRICT = """
[[rule]]
name = "strict"
match = ["POST /v1/strict"]
class = "critical"
identity = ["metadata[order_id]"]
otherwise = "refuse"
store_down = "refuse"

"""
POLICY = """
[[client]]
name = "node-floor"
sdk = "node"
minimum = "14.0.0"
action = "report"

[guard]
key_weak = "warn"
shortest_key = 12
"""

SETTINGS = """
[listen]
proxy = "127.0.0.1:{proxy}"
admin = "127.0.0.1:0"
health = "127.0.0.1:{health}"
[upstream]
api = "{stripe}"
files = "{stripe}"
connect = "{stripe}"
meter_events = "{stripe}"
provider_host = "api.stripe.com"
connect_timeout = "1s"
[store]
{store}
timeout = "300ms"
[retry]
deadline = "4s"
attempt_timeout = "1s"
max_attempts = 2
backoff = "10ms"
backoff_max = "20ms"
budget_ratio = 0.0
budget_per_second = 0.0
[limits]
body = "64KiB"
[policy]
path = "{folder}/policy/policy.toml"
refresh = "1s"
audit_log = "{folder}/audit/audit.ndjson"
[record]
path = "{record}"
[secret]
file = "{folder}/secret"
[credential]
file = "{folder}/stripe-key"
refresh = "1s"
[metrics]
survey_interval = "5s"
[webhook]
listen = "127.0.0.1:{webhook}"
refresh = "1s"
[webhook.endpoints.orders]
path = "/stripe"
secret_files = ["{folder}/whsec"]
forward = "{application}"
"""

PROMETHEUS = """
global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}
rule_files: ['{rules}']
scrape_configs:
  - job_name: payonce
    static_configs:
      - {{targets: ['{a}', '{b}'], labels: {{namespace: shop}}}}
  - job_name: watcher
    static_configs:
      - {{targets: ['{c}'], labels: {{namespace: shop}}}}
"""


class Pod(Process):
    """A payonce whose ports and files stay as they are when it is started again."""

    def __init__(self, binary, root: pathlib.Path, name: str, day, store: str, mode="enforce"):
        self.folder = root / name
        self.binary, self.name = binary, name
        self.ports = {each: free_port() for each in ["proxy", "health", "webhook"]}
        for each in ["policy", "audit"]:
            (self.folder / each).mkdir(parents=True)
        policy = (ROOT / "config/policy.toml").read_text()
        policy = policy.replace('mode = "enforce"', f'mode = "{mode}"\nrecord = "decisions"', 1)
        policy = policy.replace("[[rule]]", STRICT.lstrip() + "[[rule]]", 1)
        self.policy = self.folder / "policy/policy.toml"
        self.policy.write_text(policy + POLICY)
        (self.folder / "whsec").write_text(SECRET + "\n")
        (self.folder / "stripe-key").write_text("sk_test_shop_1\n")
        (self.folder / "secret").write_text("0123456789abcdef0123456789abcdef0123456789abcdef\n")
        text = SETTINGS.format(
            folder=self.folder,
            stripe=day.sandbox.origin,
            application=day.application.url,
            store=store,
            # The disk of the one that observes is full.
            record="/dev/full" if mode == "observe" else self.folder / "traffic.ndjson",
            **self.ports,
        )
        (self.folder / "payonce.toml").write_text(text)
        self.start()

    def start(self):
        """Starts it, again perhaps, and waits until it serves."""
        settings = self.folder / "payonce.toml"
        env = {"NO_COLOR": "1"}
        super().__init__([self.binary, "serve", "--settings", settings], self.folder, "log", env)
        ready = f"http://{self.target()}/readyz"
        try:
            until(lambda: self.said(), lambda: get(ready)[0] == 200 or self.ended())
            assert not self.ended(), self.said()
        except AssertionError:
            self.__exit__()
            raise

    def target(self) -> str:
        """What Prometheus scrapes."""
        return f"127.0.0.1:{self.ports['health']}"

    def metric(self, start: str) -> float:
        """The sum of all series that begin so."""
        lines = get(f"http://{self.target()}/metrics")[1].splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(start))

    def ask(self, path: str, form=None, *, body=None, agent=PYTHON, **headers) -> int:
        """Sends one request, as an SDK does; its status."""
        data = body if body is not None else urllib.parse.urlencode(form or {}).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.ports['proxy']}{path}",
            data=data if form is not None or body is not None else None,
            headers={
                "Authorization": f"Bearer {PLACEHOLDER}",
                "User-Agent": agent,
                **{name.replace("_", "-"): value for name, value in headers.items()},
            },
        )
        return status(request)

    def ask_and_leave(self, path: str, form: dict) -> None:
        """Sends a request and hangs up with a reset before the answer is read."""
        body = urllib.parse.urlencode(form).encode()
        head = (
            f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {PLACEHOLDER}\r\n"
            f"User-Agent: {PYTHON}\r\nContent-Type: application/x-www-form-urlencoded\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        with socket.create_connection(("127.0.0.1", self.ports["proxy"])) as connection:
            connection.sendall(head.encode() + body)
            connection.recv(1)
            linger = (1).to_bytes(4, "little") + bytes(4)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)


class Application:
    """Takes webhooks; fails at the first, so that it comes again."""

    def __init__(self):
        failures = [500]

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):  # noqa: N802, the name is http.server's
                self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(failures.pop() if failures else 200)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hooks"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


class Prometheus(Process):
    """The real one, with its data in a folder of its own."""

    def __init__(self, folder: pathlib.Path, **targets):
        port = free_port()
        config = folder / "prometheus.yaml"
        config.write_text(PROMETHEUS.format(rules=RULES, **targets))
        self.url = f"http://127.0.0.1:{port}"
        options = {
            "config.file": config,
            "storage.tsdb.path": folder / "tsdb",
            "web.listen-address": f"127.0.0.1:{port}",
        }
        command = ["prometheus", *[f"--{name}={value}" for name, value in options.items()]]
        super().__init__(command, folder, "prometheus")
        until(lambda: self.said(), lambda: get(f"{self.url}/-/ready")[0] == 200 or self.ended())

    def api(self, path: str, **query) -> dict:
        """What its API answers; fails the test on an error, with its text."""
        _, body = get(f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(query)}")
        answer = json.loads(body)
        assert answer["status"] == "success", f"{query or path}: {answer.get('error')}"
        return answer["data"]

    def query(self, expression: str) -> list:
        """The series of an expression, now."""
        found = self.api("query", query=expression)
        return found["result"] if found["resultType"] == "vector" else [found["result"]]


def status(request) -> int:
    """The status of an answer; 0 if there is none."""
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            answer.read()
            return answer.status
    except urllib.error.HTTPError as refused:
        refused.read()
        return refused.code
    except OSError:
        return 0


def charge(order: str, amount=500) -> dict:
    """A charge that is recognised by its content."""
    return {"amount": amount, "currency": "usd", "source": "tok_visa", "description": order}


class Day(contextlib.ExitStack):
    """All of it. `happen` plays the day; afterwards everything still runs."""

    def __init__(self, binary: pathlib.Path, root: pathlib.Path):
        super().__init__()
        self.binary, self.root = binary, root

    def __enter__(self):
        super().__enter__()
        try:
            self.begin()
        except BaseException:
            self.close()
            raise
        return self

    def begin(self) -> None:
        """Starts everything."""
        self.socket = self.root / "redis.sock"
        redis = ["redis-server", "--port", "0", "--unixsocket", self.socket]
        redis += ["--enable-debug-command", "yes", "--save", "", "--appendonly", "yes", "--maxmemory-policy", "noeviction", "--dir", self.root]
        self.redis = self.enter_context(Process(redis, self.root, "redis"))
        self.redis.until_said("ready to accept connections")
        self.sandbox = self.enter_context(Sandbox(self.binary, self.root))
        self.application = self.enter_context(Application())
        shared = f'kind = "redis"\nnodes = "unix://{self.socket}"'
        alone = 'kind = "memory"\nsingle_instance = true'
        self.a = self.enter_context(Pod(self.binary, self.root, "a", self, shared))
        self.b = self.enter_context(Pod(self.binary, self.root, "b", self, shared))
        self.c = self.enter_context(Pod(self.binary, self.root, "c", self, alone, mode="observe"))
        targets = {pod.name: pod.target() for pod in [self.a, self.b, self.c]}
        self.prometheus = self.enter_context(Prometheus(self.root, **targets))

    def stripe(self, what: str, wanted: dict) -> None:
        """Tells the sandbox something."""
        url = f"{self.sandbox.origin}/_sandbox/{what}"
        assert status(urllib.request.Request(url, data=json.dumps(wanted).encode())) == 200, what

    def happen(self) -> None:
        """The day, from good to bad."""
        self.morning()
        self.lost_answers()
        self.stripe_fails()
        self.mistakes_of_the_application()
        self.webhooks()
        self.files_turn_bad()
        self.redis_stands_still()
        self.redis_forgets()
        self.redis_is_emptied()
        self.settle()

    def morning(self) -> None:
        """Payments by several SDKs, at both pods and at the one that observes."""
        for n in range(10):
            pod = [self.a, self.b][n % 2]
            assert pod.ask("/v1/charges", charge(f"cart_{n}")) == 200
            assert pod.ask("/v1/charges?limit=1") == 200
            self.c.ask("/v1/charges", charge("cart_same"))
        assert self.a.ask("/v1/charges", charge("cart_node"), agent=NODE) == 200
        for operation in ["order-7", "order-8", "order-9"]:
            form = charge(operation)
            assert self.b.ask("/v1/charges", form, Payonce_Operation=operation) == 200
        # The same again once it is known that the first answer arrived.
        intent = {"amount": 700, "currency": "usd", "receipt_email": "ann@example.com"}
        assert self.a.ask("/v1/payment_intents", intent) == 200
        until("a repeat", lambda: self.a.ask("/v1/payment_intents", intent) == 200
              and self.a.metric("payonce_repeats_total{") > 0)

    def lost_answers(self) -> None:
        """A caller that hangs up, and its job that runs again."""
        form = charge("cart_lost")
        before = self.a.metric('payonce_deliveries_total{delivered="lost"}')
        self.a.ask_and_leave("/v1/charges", form)
        until("a lost answer", lambda: self.a.metric('payonce_deliveries_total{delivered="lost"}') > before)
        assert self.a.ask("/v1/charges", form) == 200

    def stripe_fails(self) -> None:
        """Retries, what is left in doubt, and a budget that runs out."""
        only = {"path_prefix": "/v1/transfers"}
        faults = [
            {"kind": "status", "code": 503, "effect": "after", "match": only, "times": 16},
            {"kind": "reset_after_effect", "match": only, "times": 16},
        ]
        self.stripe("faults", {"faults": faults})
        for n in range(12):
            transfer = {"amount": 100 + n, "currency": "usd", "destination": "acct_1"}
            assert self.a.ask("/v1/transfers", transfer) in [502, 503, 504]
        assert self.a.metric("payonce_in_doubt_total{") > 0

    def mistakes_of_the_application(self) -> None:
        """One name for two payments, a weak key, a body beyond the limit."""
        assert self.a.ask("/v1/charges", charge("cart_1", 1), Payonce_Operation="order-1") == 200
        assert self.a.ask("/v1/charges", charge("cart_1", 2), Payonce_Operation="order-1") == 400
        self.a.ask("/v1/charges", charge("cart_weak"), Idempotency_Key="1")
        self.a.ask("/v1/something_new", body=b"description=" + b"x" * 100_000)

    def webhooks(self) -> None:
        """Each event with a forged one before it."""
        url = f"http://127.0.0.1:{self.a.ports['webhook']}/stripe"
        self.stripe("webhooks", {"url": url, "secret": SECRET, "bad_signatures": 1})
        assert self.a.ask("/v1/charges", charge("cart_hook")) == 200
        taken = 'events_total{endpoint="orders",result="acknowledged"}'
        for metric in [taken, "rejected_total{", "closed_total{"]:
            until(metric, lambda: self.a.metric(f"payonce_webhook_{metric}") > 0)

    def files_turn_bad(self) -> None:
        """An audit log that cannot be written, a bad policy, a bad key, bad webhook secrets."""
        audit = self.a.folder / "audit/audit.ndjson"
        audit.unlink()
        audit.mkdir()
        good = self.b.policy.read_text()
        self.a.policy.write_text(good + "\n# edited\n")
        until(lambda: self.a.said(), lambda: self.a.metric("payonce_policy_audit_failed_total") > 0)
        self.b.policy.write_text(good.replace("critical", "crucial"))
        (self.b.folder / "stripe-key").write_text("not a key at all\n")
        (self.b.folder / "whsec").write_text("nothing\n")
        for metric in ["policy_refused_total", "credential_reloads_total{", "webhook_stale_secrets"]:
            until(metric, lambda: self.b.metric(f"payonce_{metric}") > 0)

    def redis_stands_still(self) -> None:
        """The store does not answer for a while; payments go on."""
        self.redis.child.send_signal(signal.SIGSTOP)
        for n in range(6):
            assert self.a.ask("/v1/charges", charge(f"cart_down_{n}")) == 200
        for each in ['store_breaker_total{change="opened"}', 'ledger_errors_total{kind="unwritten"}']:
            until(each, lambda: self.a.metric(f"payonce_{each}") > 0)
        assert self.a.metric("payonce_degraded_total{") > 0
        assert self.a.ask("/v1/strict", {"metadata[order_id]": "1"}) == 503
        self.redis.child.send_signal(signal.SIGCONT)
        until("the store again", lambda: self.a.metric('payonce_store_breaker_total{change="closed"}') > 0)

    def redis_is_emptied(self) -> None:
        """FLUSHALL, a restart, and Stripe itself forgetting a key."""
        self.ask_redis("FLUSHALL")
        forgot = 'payonce_store_forgot_total{sign="mark_gone"}'
        both = [self.a, self.b]
        until("the store's forgetting", lambda: sum(pod.metric(forgot) for pod in both) > 0, 60)
        self.b.__exit__()
        for name in ["policy/policy.toml", "stripe-key", "whsec"]:
            (self.b.folder / name).write_text((self.a.folder / name).read_text())
        self.b.start()
        # The same order, and another one under the same name: only Stripe remembers.
        form = charge("order-8")
        assert self.b.ask("/v1/charges", form, Payonce_Operation="order-8") == 200
        other = charge("order-9", 999)
        assert self.b.ask("/v1/charges", other, Payonce_Operation="order-9") == 400
        assert self.b.metric("payonce_forgotten_total{") == 1
        assert self.b.metric('payonce_alarms_total{kind="conflict_at_stripe"}') == 1
        self.stripe("reset", {})
        assert self.b.ask("/v1/charges", form, Payonce_Operation="order-8") == 200
        assert self.b.metric('payonce_alarms_total{kind="fresh_on_replay"}') == 1
        # What went bad before is bad at the end of the day as well.
        self.b.policy.write_text("version = 1\nmode = \"never\"\n")
        (self.b.folder / "whsec").write_text("nothing\n")
        (self.b.folder / "stripe-key").write_text("not a key at all\n")

    def ask_redis(self, *words) -> str:
        """What redis-cli prints."""
        command = ["redis-cli", "-s", self.socket, *words]
        said = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
        return said.stdout

    def redis_forgets(self) -> None:
        """A fail-over, as far as can be seen; then a memory that is too small."""
        self.ask_redis("DEBUG", "CHANGE-REPL-ID")
        sign = 'payonce_store_forgot_total{sign="history_changed"}'
        until("a fail-over", lambda: self.a.metric(sign) > 0, 60)
        # What ends soonest goes first, so that nothing of payonce's is lost by this.
        self.ask_redis("CONFIG", "SET", "maxmemory-policy", "volatile-ttl")
        used = next(line for line in self.ask_redis("INFO", "memory").splitlines()
                    if line.startswith("used_memory:"))
        self.ask_redis("CONFIG", "SET", "maxmemory", str(int(used.split(":")[1]) + 500_000))
        for n in range(10):
            self.ask_redis("SET", f"other:{n}", "x" * 100_000, "EX", "60")
        self.ask_redis("CONFIG", "SET", "maxmemory", "0")
        sign = 'payonce_store_forgot_total{sign="evicted"}'
        until("an eviction", lambda: self.a.metric(sign) > 0, 60)

    def settle(self) -> None:
        """A few more payments, until Prometheus has seen the end of the day."""
        for n in range(3):
            self.a.ask("/v1/charges", charge(f"cart_late_{n}"))
            self.b.ask("/v1/charges", charge(f"cart_late_b_{n}"))
        # Not executed: an event of Stripe's would close it.
        fault = {"kind": "reset_before_effect", "match": {"path_prefix": "/v1/transfers"}, "times": 2}
        self.stripe("faults", fault)
        transfer = {"amount": 1, "currency": "usd", "destination": "acct_1"}
        assert self.a.ask("/v1/transfers", transfer) == 504
        now = time.time()
        seen = {
            "payonce_policy_last_reload_successful == 0",
            'payonce_open_operations{state="in_doubt"} > 0',
            'payonce:alarms:increase1h{kind="fresh_on_replay"} > 0',
            # What was open before the store was emptied must be gone from the numbers by then.
            f'min(payonce_survey_timestamp_seconds{{job="payonce"}}) > {now}',
            "payonce_webhook_stale_secrets_total > 1",
        }
        for each in seen:
            until(each, lambda: self.prometheus.query(each), 60)
