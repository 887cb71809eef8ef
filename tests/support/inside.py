"""The status listener of a gateway, asked from outside."""

import json

from prometheus_client.parser import text_string_to_metric_families

import rawhttp
from gateway import PATIENCE


class Inside:
    """A connection to it: to the one that the banner names, or at `address`."""

    def __init__(self, gateway, address=None, timeout=PATIENCE):
        if address is None:
            url = gateway.err.wait(r"^  status on (.*)$")[1]
            host, _, port = url.removeprefix("http://").rpartition(":")
            address = url.removeprefix("unix:") if url.startswith("unix:") else (host, int(port))
        self.address = address
        self.connection = rawhttp.Connection(address, timeout)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()

    def get(self, path):
        return self.connection.get(path)

    def status(self):
        answer = self.get("/status.json")
        assert (answer.status, answer.get("Content-Type")) == (200, "application/json; charset=utf-8")
        return json.loads(answer.body)

    def app(self, name):
        return next(app for app in self.status()["apps"] if app["name"] == name)

    def metrics(self):
        """{name: {frozenset of labels: value}}, as a real parser reads it."""
        answer = self.get("/metrics")
        assert answer.get("Content-Type") == "text/plain; version=0.0.4; charset=utf-8"
        families = list(text_string_to_metric_families(answer.text))
        assert len({family.name for family in families}) == len(families), "a family in two places"
        found = {}
        for family in families:
            assert family.documentation and family.type in ("counter", "gauge", "histogram"), family
            for sample in family.samples:
                samples = found.setdefault(sample.name, {})
                labels = frozenset(sample.labels.items())
                assert labels not in samples, (sample.name, labels)
                samples[labels] = sample.value
        return found
