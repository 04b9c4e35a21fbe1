"""What a scraper reads out of the metrics."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from tests.server.clients import Client, get

Key = tuple[str, frozenset[tuple[str, str]]]


class Samples:
    """The samples of one scrape."""

    def __init__(self, text: str) -> None:
        self._values: dict[Key, float] = {}
        self.counters: set[Key] = set()
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                key = (sample.name, frozenset(sample.labels.items()))
                assert key not in self._values, "a sample came twice"
                self._values[key] = sample.value
                if family.type in {"counter", "histogram"}:
                    self.counters.add(key)

    def __getitem__(self, name: str) -> float:
        """The value of the only sample of that name."""
        (value,) = [value for (own, _), value in self._values.items() if own == name]
        return value

    def __contains__(self, name: str) -> bool:
        return any(own == name for own, _ in self._values)

    def by(self, name: str, label: str) -> dict[str, float]:
        """The values of that name, by a label of theirs."""
        return {
            dict(labels)[label]: value
            for (own, labels), value in self._values.items()
            if own == name
        }

    def grown_since(self, before: Samples) -> None:
        """Each counter is at least what it was."""
        for key in before.counters:
            assert self._values[key] >= before._values[key], key


def samples_of(text: str) -> Samples:
    return Samples(text)


def scrape(url: str) -> Samples:
    """What is shown at the address of the metrics."""
    with Client(url) as client:
        answer = client.ask(get("/metrics", "Connection: close"))
    assert answer.status == 200
    return Samples(answer.content.decode())
