"""A folder's entries: read to the end or not, nothing is left open; sorted in steps as at once."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.config.config import Config
from portico.site.origin.entries import WHOLE
from portico.site.origin.folder import Folder
from portico.site.origin.protocol import Directory, Entry
from portico.site.pages import order as module
from portico.site.pages.order import SORTS, STEP, Order, in_order, name_key
from tests.server.clients import descriptors

ENTRIES = st.lists(
    st.builds(
        Entry,
        st.text("ab1290.Äß\udce9", min_size=1, max_size=6),
        st.booleans(),
        st.integers(0, 3),
        st.integers(0, 3).map(float),
    ),
    unique_by=lambda entry: entry.name,
)
ORDERS = st.builds(
    lambda by, down: Order(by, descending=down), st.sampled_from(SORTS), st.booleans()
)


def look(root: Path, *names: str) -> Iterator[Entry]:
    found = Folder(Config.of(root=str(root)), 0, may_wait=False).look_up((*names, ""))
    assert isinstance(found, Directory)
    return found.entries


def made(folder: Path, count: int) -> Path:
    folder.mkdir()
    for number in range(count):
        (folder / str(number)).touch()
    return folder


@given(ENTRIES, ORDERS, st.integers(1, 7))
def test_sorted_in_steps_is_sorted_at_once(entries: list[Entry], order: Order, step: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "STEP", step)
        found = [entry for entry in in_order(iter(entries), order) if entry is not None]
    assert found == sorted(entries, key=order.key, reverse=order.descending)


@given(ENTRIES, st.sampled_from(SORTS))
def test_descending_is_the_reverse_and_folders_come_first(entries: list[Entry], by: str) -> None:
    up = sorted(entries, key=Order(by).key)
    down = sorted(entries, key=Order(by, descending=True).key, reverse=True)
    for is_folder in (True, False):
        assert [entry for entry in up if entry.is_folder is is_folder] == [
            entry for entry in reversed(down) if entry.is_folder is is_folder
        ]
    for ordered in (up, down):
        kinds = [entry.is_folder for entry in ordered]
        assert kinds == sorted(kinds, reverse=True)


def test_what_counts_is_name_size_or_date() -> None:
    entries = [
        Entry("b", False, 1, 3.0),
        Entry("a", False, 2, 2.0),
        Entry("c", False, 2, 1.5),
        Entry("z", True, 9, 0.0),
        Entry("y", True, 8, 7.0),
    ]

    def names(query: str) -> str:
        found = in_order(iter(entries), Order.of(query))
        return "".join(entry.name for entry in found if entry is not None)

    assert names("") == "yzabc"
    assert names("sort=name&order=desc") == "zycba"
    assert names("sort=size") == "yzbac"
    assert names("sort=size&order=desc") == "zycab"
    assert names("sort=date") == "zycab"
    assert names("sort=date&order=desc") == "yzbac"


@given(st.lists(st.text(min_size=1).filter(lambda name: "\0" not in name)))
def test_digits_sort_as_numbers_in_any_name(names: list[str]) -> None:
    """As if the name were cut into texts and numbers, which would take twice the memory."""

    def parts(name: str) -> list[object]:
        key = name_key(name)
        found: list[object] = []
        while key:
            text, mark, rest = key.partition("\0")
            found.append(text)
            if not mark:
                break
            length = ord(rest[0])
            found.append((length, rest[1 : 1 + length]))
            key = rest[1 + length :]
            if not key:
                found.append("")
        return found or [""]

    assert sorted(names, key=name_key) == sorted(names, key=parts)


@pytest.mark.parametrize(
    ("query", "by", "descending"),
    [
        (None, "name", False),
        ("", "name", False),
        ("sort=size", "size", False),
        ("sort=date&order=asc", "date", False),
        ("order=desc&sort=date", "date", True),
        ("order=desc", "name", True),
        ("a=b&sort=size&c&order=desc&=", "size", True),
        ("sort=size&sort=date", "date", False),
        ("sort=Size", "name", False),
        ("sort=none&order=DESC", "name", False),
        ("sort&order", "name", False),
        ("sort==size", "name", False),
        ("%73ort=size", "name", False),
    ],
)
def test_the_query_tells_the_order(query: str | None, by: str, descending: bool) -> None:
    order = Order.of(query)
    assert (order.by, order.descending) == (by, descending)


@given(ORDERS)
def test_an_order_asks_for_itself(order: Order) -> None:
    again = Order.of(order.query.removeprefix("?"))
    assert (again.by, again.descending) == (order.by, order.descending)
    assert (order.query == "") == (order.by == "name" and not order.descending)


@given(st.text())
def test_any_query_is_understood(query: str) -> None:
    assert Order.of(query).by in SORTS


def test_no_step_reads_more_than_it_may(tmp_path: Path) -> None:
    counted = 0

    def counting(entries: Iterator[Entry]) -> Iterator[Entry]:
        nonlocal counted
        for entry in entries:
            counted += 1
            yield entry

    ordered = in_order(counting(look(made(tmp_path / "site", 3 * STEP + 1))), Order())
    seen = []
    for entry in ordered:
        seen.append(counted)
        if entry is not None:
            break
    assert seen == [STEP, 2 * STEP, 3 * STEP, 3 * STEP + 1, 3 * STEP + 1]
    assert len(list(ordered)) == 3 * STEP


ENDS: dict[str, Callable[[Iterator[Entry]], object]] = {
    "read to the end": list,
    "dropped at the beginning": lambda _entries: None,
    "dropped in the middle": next,
}


@pytest.mark.parametrize("how", ENDS)
def test_nothing_has_stopped_open(tmp_path: Path, how: str) -> None:
    root = made(tmp_path / "site", WHOLE)
    before = descriptors()
    reading = look(root)
    assert descriptors() > before
    ENDS[how](reading)
    del reading
    assert descriptors() <= before


def test_a_folder_that_is_removed_meanwhile_is_an_error(tmp_path: Path) -> None:
    folder = made(tmp_path / "site", 1) / "folder"
    reading = look(made(folder, WHOLE).parent, "folder")
    next(reading)
    shutil.rmtree(folder)
    with pytest.raises(FileNotFoundError):
        list(reading)
    assert list(reading) == []


def test_a_folder_that_is_emptied_meanwhile_is_none(tmp_path: Path) -> None:
    root = made(tmp_path / "site", WHOLE)
    reading = look(root)
    for path in root.iterdir():
        path.unlink()
    assert list(reading) == []


def test_what_goes_while_others_are_read_has_stopped_out(tmp_path: Path) -> None:
    root = made(tmp_path / "site", WHOLE)
    reading = look(root)
    seen = next(reading).name
    for path in root.iterdir():
        if path.name not in {seen, "5"}:
            path.unlink()
    assert {seen, *(entry.name for entry in reading)} == {seen, "5"}


def test_rule_files_are_hidden_in_the_root_only(tmp_path: Path) -> None:
    root = made(tmp_path / "site", 0)
    for folder in (root, made(root / "folder", 0)):
        for name in ("_headers", "_redirects", "_headers.txt", "_redirects.gz"):
            (folder / name).touch()
    assert {entry.name for entry in look(root)} == {"folder", "_headers.txt"}
    assert len(list(look(root, "folder"))) == 4


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="no symlinks here")
def test_links_that_lead_out_are_left_out_whenever_they_are_read(tmp_path: Path) -> None:
    root = made(tmp_path / "site", 3)
    (root / "out").symlink_to(tmp_path)
    (root / "in").symlink_to(root / "1")
    folder = Folder(Config.of(root=str(root)), 0, may_wait=False)
    found = folder.look_up(("",))
    assert isinstance(found, Directory)
    folder.freshness.begin_round()
    folder.look_up(("none",))
    assert {entry.name for entry in found.entries} == {"0", "1", "2", "in"}
