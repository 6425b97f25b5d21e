"""A port that was given is not given again before its server has bound it."""

from __future__ import annotations

import socket

import pytest

from open_responses.io import ports


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> range:
    monkeypatch.setattr(ports, "_given", set())
    first = ports.free_port()
    monkeypatch.setattr(ports, "_given", set())
    monkeypatch.setenv("FREE_PORTS", f"{first}-{first + 40}")
    return range(first, first + 40)


def test_no_port_is_given_twice_until_half_of_them_were_given(few: range) -> None:
    given = [ports.free_port() for _ in range(20)]
    assert len(set(given)) == 20
    assert set(given) <= set(few)
    assert ports.free_port() in few, "there is always one"


def test_a_port_that_is_taken_is_not_given(few: range) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", few[0]))
        assert ports.is_taken(few[0])
        assert few[0] not in {ports.free_port() for _ in range(19)}
