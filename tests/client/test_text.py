"""What the client changes in texts that the API would refuse."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from missions_client import Entry, text, transport

ANY = st.text(st.characters(codec=None, categories=None)) | st.binary()


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("plain", "plain"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("a\0b", "a␀b"),
        ("half \ud83d of a pair", "half � of a pair"),
        (b"not utf-8: \xff\xfe", "not utf-8: ��"),
        (b"\x1b[31mred\x1b[0m", "\x1b[31mred\x1b[0m"),
        ("👍🏽 ﷽ 日本", "👍🏽 ﷽ 日本"),
    ],
)
def test_a_text_is_changed_only_where_the_api_would_refuse_it(given: str | bytes, sent: str) -> None:
    assert text.pieces(given) == [sent]


@pytest.mark.parametrize("nothing", ["", b""])
def test_an_empty_message_becomes_a_space(nothing: str | bytes) -> None:
    assert text.pieces(nothing) == [" "]


@pytest.mark.parametrize("character", ["x", "ü", "日", "😀"])
def test_a_long_message_is_cut_between_characters(character: str) -> None:
    message = "-" + character * 20_000
    cut = text.pieces(message)
    assert "".join(cut) == message
    assert all(8192 - 3 <= len(each.encode()) <= 8192 for each in cut[:-1])


def test_a_message_of_exactly_the_limit_stays_one() -> None:
    assert len(text.pieces("x" * 8192)) == 1
    assert len(text.pieces("x" * 8193)) == 2


@given(ANY)
def test_every_text_becomes_messages_that_the_api_takes(message: str | bytes) -> None:
    for each in text.pieces(message):
        assert 1 <= len(each.encode()) <= 8192
        assert "\0" not in each


@given(ANY)
def test_every_text_becomes_a_note_and_a_reason_that_the_api_takes(anything: str | bytes) -> None:
    given = anything if isinstance(anything, str) else anything.decode(errors="replace")
    assert 1 <= len(text.reason(given)) <= 1000
    note = text.note(given)
    assert note is None or (note.strip() and len(note) <= 200 and not set(note) & {"\n", "\r", "\0", "\u2028"})
    text.reason(given).encode()


@pytest.mark.parametrize("message", ["x", "\x01" * 8192, "\\" * 8192, "日" * 2730, "x" * 300_000])
def test_batches_keep_within_100_entries_and_256_kib(message: str) -> None:
    bodies = list(transport.batches(Entry(message) for _ in range(250)))
    assert all(len(body) <= 256 * 1024 for body in bodies)
    assert all(1 <= len(json.loads(body)["entries"]) <= 100 for body in bodies)
    assert "".join(each["message"] for body in bodies for each in json.loads(body)["entries"]) == message * 250


def test_data_stays_with_the_first_piece_of_a_message() -> None:
    (body,) = transport.batches([Entry("x" * 10_000, "error", {"n": 1})])
    assert [(each["level"], each.get("data")) for each in json.loads(body)["entries"]] == [
        ("error", {"n": 1}),
        ("error", None),
    ]
