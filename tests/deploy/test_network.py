"""What may reach payonce and what it may reach: no values close a way that its settings need."""

import socket

import pytest
import yaml
from helm_python import errors

import manifests
from conftest import mounted
from manifests import CHART, NATIVE, one, render, values_of
from processes import Payonce, free_port, get

REDIS = CHART / "ci/redis-values.yaml"
SENTINEL = CHART / "ci/sentinel-values.yaml"
SINGLE = CHART / "ci/single-values.yaml"
THERE = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "there"}}}]
OTLP = "http://collector.monitoring.svc:4318"
PROXY = "http://user:hunter2@proxy.internal:3128"
STRIPE = {"0.0.0.0/0", "::/0"}


def egress(path=REDIS, more=None, **of):
    """Values with egress closed, the store's place named, and `of` beside it."""
    closed = {"enabled": True, "egress": {"enabled": True, "storeTo": THERE, **of}}
    values = values_of(path, networkPolicy=closed)
    if "storeTo" in of:
        values["networkPolicy"]["egress"]["storeTo"] = of["storeTo"]
    return manifests.merged(values, more or {})


def rules(values, serves=()):
    """The rules for what leaves, by where they lead to: (peers, ports)."""
    said = one(render(values, serves=serves), "NetworkPolicy")["spec"]["egress"]
    return [(each.get("to"), [(p["port"], p["protocol"]) for p in each["ports"]]) for each in said]


def ports_to(values, peers):
    """The TCP ports that are open to some peers."""
    return [port for to, ports in rules(values) if to == peers for port, _ in ports]


def cidrs(values):
    """The blocks that port 443 is open to."""
    blocks = [to for to, ports in rules(values) if to and "ipBlock" in to[0] and ports[0][0] == 443]
    return {peer["ipBlock"]["cidr"] for to in blocks for peer in to}


def variable(name, value=None):
    """An item of extraEnv, with a value or from a Secret."""
    source = {"secretKeyRef": {"name": "payonce", "key": "proxy"}}
    return {"name": name, **({"value": value} if value else {"valueFrom": source})}


# --- What is derived -----------------------------------------------------------------------------


@pytest.mark.parametrize("kubernetes", NATIVE)
def test_kubernetes_takes_every_rule_there_is(kubernetes):
    more = {
        "settings": {"tracing": {"otlp_endpoint": OTLP}, "upstream": {"egress_proxy": PROXY}},
        "webhook": {"endpoints": {"orders": {"forward": "http://shop.payments.svc/hooks"}}},
    }
    values = egress(more=more, collectorTo=THERE, proxyTo=THERE, forwardTo=THERE)
    objects = render(values, kubernetes)
    manifests.validate(objects, kubernetes)
    policy = one(objects, "NetworkPolicy")["spec"]
    ports = [[p["port"] for p in each["ports"]] for each in policy["egress"]]
    assert ports == [[53, 53], [6379], [4318], [3128], [80]]


@pytest.mark.parametrize(
    ("nodes", "topology", "more", "open_to"),
    [
        ("rediss://redis.internal:6380", "single", [], [6380]),
        ("redis://redis.internal", "single", [], [6379]),
        ("redis://[fd00::5]:7000", "single", [], [7000]),
        ("redis://a:7000,redis://b:7001,redis://c:7000", "cluster", [], [7000, 7001]),
        ("redis://redis.internal:80", "single", [6379], [80, 6379]),
        ("redis://s0:26379,redis://s1:26379", "sentinel", [6379], [26379, 6379]),
    ],
)
def test_the_store_s_ports_are_those_of_its_addresses_and_more(nodes, topology, more, open_to):
    master = "mymaster" if topology == "sentinel" else ""
    store = {"store": {"redis": {"nodes": nodes, "topology": topology, "master": master}}}
    values = egress(more=store, storePorts=more)
    assert ports_to(values, THERE) == open_to


@pytest.mark.parametrize("path", [SINGLE, REDIS], ids=["a file", "a socket"])
def test_a_store_within_the_pod_needs_no_way_out(path):
    nodes = {"store": {"redis": {"nodes": "unix:///run/redis.sock"}}} if path == REDIS else {}
    values = egress(path, more=nodes, storeTo=[])
    assert [ports for _, ports in rules(values)] == [[(53, "UDP"), (53, "TCP")], [(443, "TCP")]]


def test_stripe_is_reached_by_both_families_and_private_networks_by_neither():
    (peers,) = [to for to, ports in rules(egress()) if ports == [(443, "TCP")]]
    blocks = {peer["ipBlock"]["cidr"]: peer["ipBlock"]["except"] for peer in peers}
    assert blocks.keys() == STRIPE
    assert "10.0.0.0/8" in blocks["0.0.0.0/0"]
    assert blocks["::/0"] == ["fc00::/7", "fe80::/10"]


def test_a_proxy_elsewhere_takes_stripe_s_place():
    values = egress(more={"settings": {"upstream": {"egress_proxy": PROXY}}}, proxyTo=THERE)
    assert 3128 in ports_to(values, THERE)
    assert not cidrs(values)


def test_a_proxy_in_the_pod_goes_to_stripe_from_there():
    local = {"settings": {"upstream": {"egress_proxy": "http://127.0.0.1:3128"}}}
    assert cidrs(egress(more=local)) == STRIPE


def test_a_gateway_for_one_host_leaves_the_others_to_stripe():
    gateway = {"settings": {"upstream": {"api": "https://gateway.internal:8443"}}}
    values = egress(more=gateway, upstreamTo=THERE)
    assert 8443 in ports_to(values, THERE)
    assert cidrs(values) == STRIPE
    hosts = ["api", "files", "connect", "meter_events"]
    all_of_them = dict.fromkeys(hosts, "https://gateway.internal:8443")
    values = egress(more={"settings": {"upstream": all_of_them}}, upstreamTo=THERE)
    assert not cidrs(values)


@pytest.mark.parametrize("url", ["http://$(HOST_IP):4318", "http://127.0.0.1:4318"])
def test_a_collector_on_the_node_or_in_the_pod_can_stand_in_a_variable(url):
    more = {"sidecar": {"extraEnv": [variable("PAYONCE_TRACING__OTLP_ENDPOINT", url)]}}
    values = egress(more=more, collectorTo=[{"ipBlock": {"cidr": "10.0.0.0/8"}}])
    wanted = [] if "127" in url else [4318]
    assert ports_to(values, [{"ipBlock": {"cidr": "10.0.0.0/8"}}]) == wanted


def test_names_are_looked_up_where_openshift_s_servers_listen():
    openshift = ["v1/Pod", "config.openshift.io/v1"]
    assert rules(egress(), openshift)[0] == (
        None,
        [(53, "UDP"), (53, "TCP"), (5353, "UDP"), (5353, "TCP")],
    )


# --- What is refused -----------------------------------------------------------------------------

UNFIT = [
    (egress(storeTo=[]), "cut payonce off from its store (store.redis.nodes), which is at redis.pay"),
    (egress(SENTINEL), "networkPolicy.egress.storePorts must be set: the Sentinels tell"),
    (egress(more={"settings": {"tracing": {"otlp_endpoint": OTLP}}}), "networkPolicy.egress.collectorTo"),
    (egress(more={"settings": {"upstream": {"egress_proxy": PROXY}}}), "networkPolicy.egress.proxyTo"),
    (
        egress(more={"settings": {"upstream": {"api": "https://gateway.internal"}}}),
        "networkPolicy.egress.upstreamTo",
    ),
    (
        egress(more={"settings": {"upstream": {"files": "http://api.stripe.com"}}}),
        "networkPolicy.egress.upstreamTo",
    ),
    (
        egress(more={"webhook": {"endpoints": {"orders": {"forward": "http://shop:80/hooks"}}}}),
        "networkPolicy.egress.forwardTo",
    ),
    (
        egress(more={"sidecar": {"extraEnv": [variable("PAYONCE_UPSTREAM__EGRESS_PROXY")]}}),
        "networkPolicy.egress.proxyTo",
    ),
    (
        egress(
            more={"sidecar": {"extraEnv": [variable("PAYONCE_UPSTREAM__EGRESS_PROXY")]}},
            proxyTo=THERE,
        ),
        "networkPolicy.egress.proxyPorts must be set",
    ),
    (egress(exceptFromStripe=["64:ff9b::/96"]), "a pod without IPv4 reaches Stripe by it"),
    (
        values_of(REDIS, networkPolicy={"enabled": False}),
        "closes nothing while networkPolicy.enabled is false",
    ),
    (values_of(REDIS, networkPolicy={"webhookFrom": []}), "networkPolicy.webhookFrom is empty"),
    (
        values_of(REDIS, networkPolicy={"monitoringFrom": []}),
        "networkPolicy.monitoringFrom is empty",
    ),
    (
        values_of(
            SINGLE,
            networkPolicy={"enabled": True, "monitoringFrom": []},
            monitoring={"alerts": {"enabled": True}},
        ),
        "networkPolicy.monitoringFrom is empty",
    ),
]


@pytest.mark.parametrize(("values", "why"), UNFIT, ids=[why for _, why in UNFIT])
def test_what_would_cut_payonce_off_is_refused_with_what_to_set(values, why):
    with pytest.raises(errors.HelmRenderError) as refused:
        render(values)
    assert why in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_metrics_can_be_closed_where_nothing_reads_them():
    values = values_of(SINGLE, networkPolicy={"enabled": True, "monitoringFrom": []})
    assert "ingress" in one(render(values), "NetworkPolicy")["spec"]


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("PAYONCE_LISTEN__HEALTH", "sidecar.listenOn"),
        ("PAYONCE_LISTEN__PROXY", "leave it out"),
        ("PAYONCE_WEBHOOK__LISTEN", "webhook.enabled"),
        ("PAYONCE_STORE__NODES", "store.redis.nodes"),
        ("PAYONCE_UPSTREAM__API", "settings.upstream.api"),
        ("PAYONCE_SHUTDOWN__DRAIN", "set settings.shutdown.drain instead"),
        ("PAYONCE_RETRY__DEADLINE", "settings.retry.deadline"),
    ],
)
def test_a_variable_that_the_chart_would_not_see_is_refused(name, instead):
    values = values_of(REDIS, sidecar={"extraEnv": [variable(name, "1")]})
    with pytest.raises(errors.HelmRenderError) as refused:
        render(values)
    assert name in str(refused.value) and instead in str(refused.value)


def test_a_variable_for_all_else_is_not():
    values = values_of(REDIS, sidecar={"extraEnv": [variable("PAYONCE_LISTEN__CALLER", "shop")]})
    assert render(values)


# --- Where payonce listens -----------------------------------------------------------------------


def settings_of(values):
    """The rendered settings' text."""
    return one(render(values), "ConfigMap", "settings")["data"]["payonce.toml"]


@pytest.mark.parametrize("on", ["[::]", "0.0.0.0"])
def test_the_ports_for_others_listen_where_the_values_say_and_the_application_s_on_loopback(on):
    text = settings_of(values_of(REDIS, sidecar={"listenOn": on}))
    for line in [
        f'health = "{on}:8422"',
        f'listen = "{on}:8423"',
        'proxy = "127.0.0.1:8420"',
        'admin = "127.0.0.1:8421"',
    ]:
        assert f"\n{line}\n" in text


def loopbacks():
    """The addresses of loopback that this machine has, with what a URL calls them."""
    found = []
    for family, address, named in [
        (socket.AF_INET, "127.0.0.1", "127.0.0.1"),
        (socket.AF_INET6, "::1", "[::1]"),
    ]:
        try:
            with socket.socket(family) as probe:
                probe.bind((address, 0))
            found.append(named)
        except OSError:
            pass
    return found


@pytest.mark.parametrize("address", loopbacks())
def test_what_listens_by_default_is_reached_by_each_family_that_there_is(payonce, tmp_path, address):
    on = yaml.safe_load((CHART / "values.yaml").read_text())["sidecar"]["listenOn"]
    port = free_port()
    settings = mounted(render(values_of(SINGLE)), tmp_path)
    env = {"PAYONCE_LISTEN__HEALTH": f"{on}:{port}"}
    with Payonce(payonce, settings, tmp_path, **env) as running:
        assert not running.ended()
        assert get(f"http://{address}:{port}/livez")[0] == 200
