"""One worker beside two of the same server."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench import scenarios, servers, workers
from bench.measure import Plan

PORTICO = servers.by_names(["portico"])[0]


@pytest.mark.parametrize(
    ("used", "share"),
    [([0.5, 0.0, 0.5], 0.5), ([0.3, 0.1, 0.01], 0.25), ([1.0], 0.0), ([0.0, 0.0], 0.0)],
)
def test_the_share_of_the_lesser_worker(used: list[float], share: float) -> None:
    assert workers.least_share(used) == pytest.approx(share)


def test_a_server_is_measured_with_one_worker_and_with_two(plan: Plan) -> None:
    scenarios.make_files(plan.site, {"page"})
    started: list[tuple[str, str]] = []
    scenario = workers.SCENARIOS[0]
    crew = workers.compare(plan, scenario, PORTICO, lambda *words: started.append(words))
    assert (crew.server, crew.scenario, crew.problem) == ("portico", "small-2", None)
    assert (len(crew.alone), len(crew.together), len(crew.least)) == (1, 1, 1)
    assert crew.failures() == {}
    assert ["--workers 2" in text for _, text in started] == [False, True]
    assert workers.Crew.from_json(crew.to_json()) == crew


def test_a_server_that_does_not_start_has_its_reason(plan: Plan) -> None:
    scenarios.make_files(plan.site, {"page"})
    broken = replace(plan, pythons=replace(plan.pythons, own="/no/python"))
    crew = workers.compare(broken, workers.SCENARIOS[0], PORTICO, lambda *_: None)
    assert crew.problem is not None
    assert "/no/python" in crew.problem
