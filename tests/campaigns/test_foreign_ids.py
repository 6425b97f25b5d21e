"""An id of another tenant takes as long as one that nobody has: medians of the same run, of small and large records."""

from __future__ import annotations

import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from open_responses.ids import member_id, new_id
from tests.support.api_with_keys import api_of_the_module, bearer, key_block
from tests.support.fake_upstream import Script, Upstream

pytestmark = pytest.mark.campaign

ROUNDS = 200
OWNER, STRANGER = bearer("timed-owner"), bearer("timed-stranger")
Probe = Callable[[httpx.AsyncClient, str], Awaitable[httpx.Response]]


def post(api: httpx.AsyncClient, path: str, **body: Any) -> Awaitable[httpx.Response]:
    return api.post(path, json=body, headers=STRANGER)


PROBES: dict[str, Probe] = {
    "get": lambda api, id: api.get(f"/v1/responses/{id}", headers=STRANGER),
    "reference": lambda api, id: post(api, "/v1/responses", model="fake", input=[{"id": member_id("msg_", id, 0)}]),
    "previous": lambda api, id: post(api, "/v1/responses", model="fake", input="x", previous_response_id=id),
    "approval": lambda api, id: post(api, f"/v1/responses/{id}/approvals", approval_request_id="x", approve=True),
    "conversation": lambda api, id: api.get(f"/v1/conversations/{id}", headers=STRANGER),
}


api = api_of_the_module(
    key_block("timed-owner", "timed-owner"),
    key_block("timed-stranger", "timed-stranger"),
    MAX_BODY_BYTES="10000000",
)


@pytest.mark.parametrize("size", [0, 6_000_000], ids=["small", "large"])
@pytest.mark.parametrize("name", PROBES)
async def test_a_foreign_id_takes_as_long_as_an_unknown_one(
    api: httpx.AsyncClient, upstream: Upstream, name: str, size: int
) -> None:
    upstream.says("timed", Script(words=1))
    prefix, items = ("conv_", {"items": []}) if name == "conversation" else ("resp_", {})
    if items:
        body: dict[str, Any] = {"items": [{"role": "user", "content": "x" * size}] if size else []}
        foreign = (await api.post("/v1/conversations", json=body, headers=OWNER)).json()["id"]
    else:
        body = {"model": "fake", "input": [{"role": "user", "content": "timed" + " " * size}]}
        foreign = (await api.post("/v1/responses", json=body, headers=OWNER)).json()["id"]
    times: dict[bool, list[float]] = {True: [], False: []}
    for number in range(2 * ROUNDS):
        is_foreign = number % 2 == 0
        id = foreign if is_foreign else new_id(prefix)
        begun = time.perf_counter()
        answer = await PROBES[name](api, id)
        times[is_foreign].append(time.perf_counter() - begun)
        assert answer.status_code in (400, 404), answer.text
    medians = {is_foreign: statistics.median(taken) for is_foreign, taken in times.items()}
    low, _, high = statistics.quantiles(times[False], n=4)
    print(f"{name}, {size} bytes: foreign {medians[True] * 1e3:.2f} ms, unknown {medians[False] * 1e3:.2f} ms")
    assert abs(medians[True] - medians[False]) < max(high - low, medians[False] / 10)
