import tempfile
import threading
import time
from pathlib import Path

import pytest
from missions_client.spool import GAP, INFO, WARNING, Line, Spool


def numbered(first: int, count: int) -> list[bytes]:
    return [f"line {number}".encode() for number in range(first, first + count)]


def all_of(spool: Spool, most: int = 100) -> list[tuple[bytes, bytes]]:
    spool.close()
    found = []
    while lines := spool.take(most, 0, 0):
        found += lines
    return found


def test_lines_are_taken_in_the_order_in_which_they_were_added() -> None:
    spool = Spool()
    spool.add(INFO, [b"one", b"", b"three"])
    spool.add(WARNING, [b"four"])
    assert spool.waiting == 4
    assert spool.take(2, 0, 0) == [(INFO, b"one"), (INFO, b"")]
    assert all_of(spool) == [(INFO, b"three"), (WARNING, b"four")]
    assert spool.waiting == spool.left_out == 0


def test_the_order_is_kept_when_the_ring_begins_again() -> None:
    spool = Spool(limit=1000)
    spool.add(INFO, numbered(0, 30))
    found = []
    for step in range(1, 50):
        found += spool.take(17, 0, 0)
        spool.add(INFO, numbered(step * 30, 17))
    expected = [line for step in range(1, 50) for line in numbered(step * 30, 17)]
    assert [line for _, line in found + all_of(spool)] == numbered(0, 30) + expected
    assert spool.left_out == 0


def test_when_it_is_full_new_lines_are_left_out_and_one_line_says_how_many() -> None:
    spool = Spool(limit=1000)
    for number in range(200):
        spool.add(INFO, numbered(number, 1))
    kept = spool.waiting
    assert 90 < kept < 130
    first = spool.take(kept // 4, 0, 0)
    spool.add(INFO, [b"too early: less than half of it is free"])
    first += spool.take(kept // 2, 0, 0)
    spool.add(INFO, [b"after the gap"])
    rest = all_of(spool)
    assert [line for _, line in first + rest[:-2]] == numbered(0, kept)
    assert rest[-2] == (GAP, f"Left out here: {201 - kept} lines that could not be sent in time".encode())
    assert rest[-1] == (INFO, b"after the gap")
    assert spool.left_out == 201 - kept


def test_a_gap_at_the_end_is_told_too() -> None:
    spool = Spool(limit=100)
    spool.add(INFO, [b"kept"])
    spool.add(INFO, [b"x" * 60, b"y" * 60])
    assert all_of(spool) == [
        (INFO, b"kept"),
        (GAP, b"Left out here: 2 lines that could not be sent in time"),
    ]


def test_the_file_never_exceeds_its_limit_and_has_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    spool = Spool(limit=10_000)
    for number in range(10_000):
        spool.add(INFO, numbered(number, 1))
        if number % 3 == 0:
            spool.take(1, 0, 0)
    assert list(tmp_path.iterdir()) == []
    assert Path(f"/proc/self/fd/{spool._file}").stat().st_size <= 10_000


def test_a_disk_that_takes_nothing_leaves_lines_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "not there"))
    spool = Spool()
    spool.add(INFO, [b"one", b"two"])
    assert spool.left_out == 2
    assert all_of(spool) == [(GAP, b"Left out here: 2 lines that could not be sent in time")]


def test_taking_waits_for_the_first_line_and_then_for_others() -> None:
    spool = Spool()
    begin = time.monotonic()
    assert spool.take(100, begin + 0.2, 5) == []
    assert 0.2 <= time.monotonic() - begin < 2

    def add() -> None:
        for number in range(4):
            time.sleep(0.05)
            spool.add(INFO, numbered(number, 1))

    threading.Thread(target=add).start()
    assert [line for _, line in spool.take(4, time.monotonic() + 10, 10)] == numbered(0, 4)


def test_closing_ends_the_waiting() -> None:
    spool = Spool()
    threading.Timer(0.1, spool.close).start()
    begin = time.monotonic()
    assert spool.take(100, begin + 30, 30) == []
    assert time.monotonic() - begin < 10


def test_what_is_discarded_or_comes_later_counts_as_left_out() -> None:
    spool = Spool()
    spool.add(INFO, numbered(0, 5))
    assert spool.discard() == 5
    spool.add(INFO, numbered(5, 2))
    assert spool.left_out == 7
    assert spool.waiting == 0


def test_several_threads_add_at_once_and_nothing_is_lost() -> None:
    spool = Spool()

    def add(kind: bytes) -> None:
        for number in range(300):
            spool.add(kind, numbered(number * 10, 10))

    threads = [threading.Thread(target=add, args=(kind,)) for kind in (INFO, WARNING)]
    for each in threads:
        each.start()
    found: list[Line] = []
    while len(found) < 6000 and (lines := spool.take(100, time.monotonic() + 5, 0.01)):
        found += lines
    for kind in (INFO, WARNING):
        assert [line for which, line in found if which == kind] == numbered(0, 3000)
