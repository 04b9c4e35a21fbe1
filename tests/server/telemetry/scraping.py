"""What a scraper reads out of the metrics."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from tests.server.clients import Client, get

Key = tuple[str, frozenset[tuple[str, str]]]


class Samples:
    """The samples of one scrape."""

    def __init__(self, text: str) -> None:
        self._values: dict[Key, float] = {}
        self._counters: set[Key] = set()
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                key = (sample.name, frozenset(sample.labels.items()))
                assert key not in self._values, "a sample came twice"
                self._values[key] = sample.value
                if family.type in {"counter", "histogram"}:
                    self._counters.add(key)

    def __getitem__(self, name: str) -> float:
        """The value of the only sample of that name."""
        (value,) = [value for (own, _), value in self._values.items() if own == name]
        return value

    def by(self, name: str, label: str) -> dict[str, float]:
        """The values of that name, by a label of theirs."""
        return {
            dict(labels)[label]: value
            for (own, labels), value in self._values.items()
            if own == name
        }

    def grown_since(self, before: Samples) -> None:
        """Each counter is at least what it was."""
        for key in before._counters:
            assert self._values[key] >= before._values[key], key


def scrape_text(url: str, *lines: str) -> tuple[str, str]:
    """The text at the address of the metrics, and its media type."""
    with Client(url) as client:
        answer = client.ask(get("/metrics", "Connection: close", *lines))
    assert answer.status == 200
    assert answer.fields["cache-control"] == "no-store"
    return answer.content.decode(), answer.fields["content-type"]


def scrape(url: str) -> Samples:
    return Samples(scrape_text(url)[0])
