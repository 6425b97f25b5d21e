"""The file by which a worker shows that it is ready, and the socket on which the API listens."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from open_responses.io.listening import add_options, listening_socket
from open_responses.io.ready_file import ReadyFile


def test_a_ready_file_has_the_state_until_the_worker_leaves(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "worker-1"
    ready = ReadyFile(path)
    ready.write("standby")
    assert path.read_text() == "standby"
    ready.write("serving")
    assert [one.name for one in path.parent.iterdir()] == ["worker-1"], "the new file took the old one's place"
    assert path.read_text() == "serving"
    ready.remove()
    ready.remove()
    assert not path.exists()


def test_without_a_path_nothing_is_written() -> None:
    ready = ReadyFile(None)
    ready.write("serving")
    ready.remove()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_the_api_listens_where_its_options_say_or_on_a_socket_that_is_open(host: str) -> None:
    parser = argparse.ArgumentParser()
    add_options(parser)
    with listening_socket(parser.parse_args(["--host", host, "--port", "0"])) as opened:
        address = opened.getsockname()
        assert address[1] > 0
        with listening_socket(parser.parse_args(["--fd", str(opened.dup().detach())])) as taken:
            assert taken.getsockname() == address
