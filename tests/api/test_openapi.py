"""The served OpenAPI document is true: of the routes, of every answer in a run, and beside the specification."""

from __future__ import annotations

import json
import re
import warnings
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from api.application import create_app
from api.openapi.document import SPECIFICATION, document
from open_responses import __version__
from open_responses.io.settings import Settings
from tests.support import spec
from tests.support.bad_bodies import BAD_BODIES, body
from tests.support.conformance_scenarios import ECHOED, IMAGE, SCENARIOS, WEATHER
from tests.support.event_models import event_models
from tests.support.fake_upstream import Fault, Script, Upstream, calls
from tests.support.fake_vendors import Vendors
from tests.support.openapi_document import operations, problem
from tests.support.scripts import HOSTED, script
from tests.support.stack import Stack, until
from tests.support.vendor_scripts import Spoken
from tests.support.webhook_receiver import WebhookReceiver
from tests.support.webhooks import delivery_of, new_path, new_secret, with_webhook

EVENTS = event_models()


def event_name(kind: str) -> str:
    return EVENTS[kind].__name__


# --- the document itself


async def test_it_is_served_with_its_version_and_without_a_key(client: httpx.AsyncClient) -> None:
    served = await client.get("/openapi.json")
    assert served.json() == json.loads(json.dumps(document()))
    assert served.headers["content-type"] == "application/json"
    assert served.json()["info"]["version"] == __version__
    assert served.json()["openapi"].startswith("3.1")
    assert spec.document()["info"]["version"] == SPECIFICATION


async def test_the_page_needs_nothing_from_elsewhere(client: httpx.AsyncClient) -> None:
    page = await client.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert not re.search(r"""(src|href|url)\s*[=(]\s*["']?(https?:)?//""", page.text)
    assert 'fetch("openapi.json")' in page.text


def test_its_schemas_are_schemas_and_its_references_lead_somewhere() -> None:
    schemas = document()["components"]["schemas"]
    for schema in schemas.values():
        Draft202012Validator.check_schema(schema)
    named = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(document())))
    assert named <= schemas.keys()
    reached, waiting = (
        set[str](),
        {"StreamEvent"} | set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(document()["paths"]))),
    )
    while waiting:
        name = waiting.pop()
        reached.add(name)
        waiting |= set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(schemas[name]))) - reached
    assert schemas.keys() == reached, "a schema that nothing uses"


def test_it_has_every_route_and_no_other() -> None:
    routes = {
        (method.upper(), re.sub(r":\w+}", "}", path))
        for path, methods in create_app(Settings()).openapi()["paths"].items()
        for method in methods
    }
    assert operations().keys() == routes
    names = [told["operationId"] for told in operations().values()]
    assert len(names) == len(set(names))
    for (_, path), told in operations().items():
        given = {p["name"] for p in told.get("parameters", ()) if p["in"] == "path"}
        assert given == set(re.findall(r"{(\w+)}", path)), path


def test_no_two_routes_have_the_same_operation_id() -> None:
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        create_app(Settings()).openapi()
    assert [str(warning.message) for warning in warned if "Operation ID" in str(warning.message)] == []


def test_the_schemas_have_the_names_of_their_models() -> None:
    # pydantic lengthens the names of two models that are called the same, and adds the mode of one that is used twice.
    assert [name for name in document()["components"]["schemas"] if not re.fullmatch(r"[A-Z][A-Za-z]+", name)] == []
    for kind, model in EVENTS.items():
        assert document()["components"]["schemas"][model.__name__]["properties"]["type"]["const"] == kind
    assert document()["components"]["schemas"]["StreamEvent"]["discriminator"]["mapping"].keys() == EVENTS.keys()


# --- beside the specification

PAIRS = {
    "ResponseResource": "Response",
    "Usage": "Usage",
    "Message": "Message",
    "FunctionCall": "FunctionCallItem",
    "FunctionCallOutput": "FunctionCallOutputItem",
    "ReasoningBody": "ReasoningItem",
    "CompactionBody": "CompactionItem",
    "CompactResource": "Compacted",
    "LogProb": "LogProb",
    "OutputTextContent": "OutputTextPart",
    "RefusalContent": "RefusalPart",
    "ReasoningTextContent": "ReasoningTextPart",
    "SummaryTextContent": "SummaryTextPart",
}


@pytest.mark.parametrize(("theirs", "ours"), PAIRS.items())
def test_what_the_specification_requires_is_promised(theirs: str, ours: str) -> None:
    wanted = spec.document()["components"]["schemas"][theirs]
    told = document()["components"]["schemas"][ours]
    assert set(wanted["required"]) <= set(told["required"])
    assert wanted["properties"].keys() <= told["properties"].keys()


def test_every_event_of_the_specification_is_there_with_its_members() -> None:
    for kind, name in spec.event_schemas().items():
        wanted = spec.document()["components"]["schemas"][name]
        told = document()["components"]["schemas"][event_name(kind)]
        assert set(wanted["required"]) <= set(told["required"]), kind
        assert wanted["properties"].keys() <= told["properties"].keys(), kind
    beyond = EVENTS.keys() - spec.event_schemas().keys()
    assert all(kind in spec.FOREIGN_EVENTS or kind.startswith(spec.SLUG) for kind in beyond)
    assert EVENTS.keys() >= spec.FOREIGN_EVENTS


def test_the_request_has_the_specifications_fields_and_values() -> None:
    theirs = spec.document()["components"]["schemas"]
    ours = document()["components"]["schemas"]["CreateResponse"]
    assert theirs["CreateResponseBody"]["properties"].keys() <= ours["properties"].keys()
    for name, value in (
        *(("truncation", v) for v in theirs["TruncationEnum"]["enum"]),
        *(("service_tier", v) for v in theirs["ServiceTierEnum"]["enum"]),
        *(("include", [v]) for v in theirs["IncludeEnum"]["enum"]),
        *(("text", {"verbosity": v}) for v in theirs["VerbosityEnum"]["enum"]),
        *(("reasoning", {"effort": v}) for v in theirs["ReasoningEffortEnum"]["enum"]),
        *(("reasoning", {"summary": v}) for v in theirs["ReasoningSummaryEnum"]["enum"]),
        *(("tool_choice", v) for v in theirs["ToolChoiceValueEnum"]["enum"]),
    ):
        assert problem({"$ref": "/CreateResponse"}, {"model": "m", "input": "x", name: value}) is None, (name, value)


# --- beside the requests of the suite


def test_every_body_that_is_taken_fits() -> None:
    taken = [{"model": "fake", **scenario.body} for scenario in SCENARIOS.values()]
    taken += [{"model": "fake", "input": "x", **sent} for sent, _ in ECHOED]
    for sent in taken:
        assert problem({"$ref": "/CreateResponse"}, sent) is None


# What a schema of this size does not say: between fields, or where pydantic's own checks go on.
UNSAID = {
    "unique names, and choices that name a tool": ("tools", "tool_choice"),
    "fields that exclude or need each other": ("background", "stream_options", "conversation"),
    "text that is blank, or has control characters": ("model",),
    "numbers beyond 64 bits": ("max_output_tokens", "seed"),
    "a source for an image or a file": ("input",),
    "an option that asks for no answer": ("prompt_cache_options",),
}


def test_a_body_that_is_refused_does_not_fit_unless_it_is_listed() -> None:
    fits = [changes for changes, _, _ in BAD_BODIES if problem({"$ref": "/CreateResponse"}, body(**changes)) is None]
    unsaid = {name for names in UNSAID.values() for name in names}
    assert [changes for changes in fits if not changes.keys() & unsaid] == []
    assert len(fits) < len(BAD_BODIES) / 5


# --- beside every answer


class Told:
    """A client that holds each answer to what the document says of its route, status and media type."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self.seen: set[tuple[str, str, int]] = set()

    async def __call__(self, method: str, path: str, **request: Any) -> Any:
        """`path` may have a value in its braces: `/v1/responses/{response_id=resp_…}`."""
        template = re.sub(r"=[^}]*}", "}", path)
        answer = await self._client.request(method, re.sub(r"{\w+=([^}]*)}", r"\1", path), **request)
        told = operations()[method, template]["responses"].get(str(answer.status_code))
        assert told is not None, f"{method} {template} does not say that it may answer {answer.status_code}"
        media = answer.headers["content-type"].partition(";")[0]
        self.seen.add((method, template, answer.status_code))
        schema = told["content"][media]["schema"]
        if media == "application/json":
            assert (found := problem(schema, answer.json())) is None, f"{method} {path}: {found}"
            return answer.json()
        events = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]
        for event in events:
            named = {"$ref": f"/{event_name(event['type'])}"}
            assert (found := problem(named, event)) is None, f"{event['type']}: {found}"
            assert problem(schema, event) is None
        return events


# Keys, and the endpoints of webhooks that belong to one, can be made only where there are keys. `test_admin_keys.py`
# and `test_webhook_endpoints.py` have what is answered there.
_WITH_KEYS = ("/v1/admin/keys", "/v1/webhook_endpoints")
_OF_LONG_LIVED_AGENTS = ("/v1/files", "/v1/vector_stores", "/v1/containers", "/v1/schedules", "/v1/webhook")


@pytest.mark.campaign
async def test_every_answer_about_files_stores_schedules_and_webhooks_fits(
    client: httpx.AsyncClient, receiver: WebhookReceiver
) -> None:
    told = Told(client)
    file = await told("POST", "/v1/files", files={"file": ("cats.txt", b"Cats sleep.")}, data={"purpose": "assistants"})
    of_file = f"/v1/files/{{file_id={file['id']}}}"
    await told("GET", "/v1/files")
    await told("GET", of_file)
    await told("GET", f"{of_file}/content")
    await told("GET", "/v1/files/{file_id=file-none}")
    store = await told("POST", "/v1/vector_stores", json={"name": "cats"})
    of_store = f"/v1/vector_stores/{{vector_store_id={store['id']}}}"
    in_store = f"{of_store}/files/{{file_id={file['id']}}}"
    await told("GET", "/v1/vector_stores")
    await told("GET", of_store)
    await told("POST", of_store, json={"metadata": {"a": "b"}})
    await told("POST", f"{of_store}/files", json={"file_id": file["id"]})

    async def is_read() -> bool:
        return bool((await told("GET", in_store))["status"] == "completed")

    await until(is_read, 100)
    await told("GET", f"{of_store}/files")
    await told("POST", in_store, json={"attributes": {"kind": "animal"}})
    await told("GET", f"{in_store}/content")
    await told("POST", f"{of_store}/search", json={"query": "cats"})
    batch = await told("POST", f"{of_store}/file_batches", json={"file_ids": [file["id"]]})
    of_batch = f"{of_store}/file_batches/{{batch_id={batch['id']}}}"
    await told("GET", of_batch)
    await told("GET", f"{of_batch}/files")
    await told("POST", f"{of_batch}/cancel")
    container = await told("POST", "/v1/containers", json={"name": "cats", "file_ids": [file["id"]]})
    of_container = f"/v1/containers/{{container_id={container['id']}}}"
    await told("GET", "/v1/containers")
    await told("GET", of_container)
    await told("GET", f"{of_container}/files")
    added = await told("POST", f"{of_container}/files", files={"file": ("dogs.txt", b"Dogs bark.")})
    in_container = f"{of_container}/files/{{file_id={added['id']}}}"
    await told("GET", in_container)
    await told("GET", f"{in_container}/content")
    await told("DELETE", in_container)
    await told("GET", in_container)
    await told("DELETE", of_container)
    await told("GET", of_container)
    await told("POST", "/v1/containers", json={})

    await told("DELETE", in_store)
    await told("DELETE", of_store)
    await told("DELETE", of_file)
    await told("GET", of_store)

    request = {"model": "fake", "input": "x"}
    schedule = await told("POST", "/v1/schedules", json={"cron": "0 0 1 1 *", "request": request})
    of_schedule = f"/v1/schedules/{{schedule_id={schedule['id']}}}"
    await told("GET", "/v1/schedules")
    await told("GET", of_schedule)
    await told("POST", of_schedule, json={"cron": "0 0 2 1 *"})
    for act in ("pause", "resume", "trigger"):
        await told("POST", f"{of_schedule}/{act}")
    await told("GET", f"{of_schedule}/runs")
    await told("DELETE", of_schedule)
    await told("GET", of_schedule)

    path = new_path()
    response = await with_webhook(client, receiver.url(path), new_secret())
    done = await delivery_of(client, response["id"], "delivered")
    delivery = f"/v1/webhook_deliveries/{{delivery_id={done['id']}}}"
    await told("GET", "/v1/webhook_deliveries")
    await told("GET", delivery)
    await told("POST", f"{delivery}/replay")
    await told("GET", "/v1/webhook_event_types")

    answered = {(method, path) for method, path, status in told.seen if status < 300}
    wanted = {(method, path) for method, path in operations() if path.startswith(_OF_LONG_LIVED_AGENTS)}
    assert answered == {one for one in wanted if not one[1].startswith(_WITH_KEYS)}, "every operation was answered"


@pytest.mark.campaign
async def test_every_answer_of_a_run_fits(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream, vendors: Vendors
) -> None:
    told = Told(client)

    async def create(**asked: Any) -> Any:
        return await told("POST", "/v1/responses", json={"model": "fake", "input": "x", **asked})

    mcp = {"type": "mcp", "server_label": "calc", "require_approval": "never"}
    script(
        upstream,
        "openapi loop",
        calls(("a", "get_weather", {"city": "Bern"}), ("b", "add", {"a": 1, "b": 2})),
        calls(("c", "slow", {"seconds": 1}), ("d", "nothing", {})),
        Script(words=3),
    )
    loop = {"input": "openapi loop", "tools": [*HOSTED, mcp]}
    first = await create(**loop)
    events = await create(**loop, stream=True)
    assert {e["type"] for e in events} >= {"response.mcp_call.completed", "open_responses:tool_progress"}
    vendors.says("openapi thoughts", Spoken(words=3, thoughts=3))
    thinking = {"model": "openai-fake", "input": "openapi thoughts", "reasoning": {"summary": "auto"}, "stream": True}
    assert "response.reasoning_summary_text.delta" in {e["type"] for e in await create(**thinking)}
    vendors.says("openapi thoughts", Spoken(words=3, thoughts=3))
    await create(**{**thinking, "model": "ollama-fake"})
    await stack.start_local_model()
    logprobs = {"include": ["message.output_text.logprobs"], "top_logprobs": 1, "max_output_tokens": 16}
    await create(model="smollm2", input="Say yes.", **logprobs, stream=True)
    upstream.says("openapi fails", Script(faults=[Fault(status=400), Fault(drop=True, after=2)]))
    assert (await create(input="openapi fails", stream=True))[-1]["type"] == "response.failed"
    assert "open_responses:attempt" in {e["type"] for e in await create(input="openapi fails", stream=True)}
    script(upstream, "openapi approval", calls(("a", "delete_all", {"what": "openapi"})), Script(words=1))
    waiting = await create(input="openapi approval", tools=HOSTED, background=True)
    by_id = f"/v1/responses/{{response_id={waiting['id']}}}"

    async def asks() -> bool:
        return bool((await told("GET", by_id))["output"])

    await until(asks)
    request = (await told("GET", by_id))["output"][-1]["id"]

    async def is_listed() -> bool:
        return request in [one["id"] for one in (await told("GET", "/v1/approvals"))["data"]]

    await until(is_listed, 30)
    await told("GET", f"{by_id}/timeline")
    for query in ({}, {"status": "failed"}, {"waiting": "true"}, {"limit": "0"}, {"after": "x"}):
        await told("GET", "/v1/responses", params=query)
    await told("GET", "/v1/approvals", params={"limit": "0"})
    await told("GET", "/v1/admin/health")
    for query in ({}, {"hours": "0"}):
        await told("GET", "/v1/admin/refusals", params=query)
    for path in ("/v1/admin/keys", "/v1/admin/keys/audit", "/v1/admin/keys/{key_id=key_x}"):
        await told("GET", path)
    await told("POST", "/v1/admin/keys", json={"tenant": "acme"})
    await told("POST", "/v1/admin/keys/{key_id=key_x}", json={"name": "mine"})
    await told("DELETE", "/v1/admin/keys/{key_id=key_x}")
    await told("POST", f"{by_id}/steer", json={"input": "be brief"})
    await told("POST", f"{by_id}/steer", json={"input": []})
    await told("POST", f"{by_id}/approvals", json={"approval_request_id": request, "approve": False})
    await told("POST", f"{by_id}/approvals", json={"approval_request_id": request, "approve": True})
    await told("POST", f"{by_id}/approvals", json={"approval_request_id": "mcpr_x", "approve": True})
    await told("POST", f"{by_id}/approvals", json={"approve": 1})
    await told("POST", f"{by_id}/cancel")
    await told("POST", f"{by_id}/steer", json={"input": "too late"})
    await told("GET", by_id, params={"stream": "true", "starting_after": "0"})
    await told("GET", by_id, params={"starting_after": "0"})
    await told("GET", f"{by_id}/input_items", params={"limit": "1"})
    await told("GET", f"{by_id}/input_items", params={"limit": "0"})
    rich = await create(
        input=[
            {
                "role": "user",
                "content": [{"type": "input_text", "text": "x"}, {"type": "input_image", "image_url": IMAGE}],
            },
            *first["output"],
            {"role": "user", "content": "x"},
        ],
        tools=[*HOSTED, mcp, {**WEATHER, "name": "mine"}],
    )
    await told("GET", f"/v1/responses/{{response_id={rich['id']}}}/input_items")
    await told("DELETE", by_id)
    for method, path in (
        ("GET", by_id),
        ("DELETE", by_id),
        ("POST", f"{by_id}/cancel"),
        ("GET", f"{by_id}/input_items"),
        ("GET", "/v1/models/{model=none}"),
        ("GET", "/v1/models/{model=fake}"),
        ("GET", "/v1/models"),
        ("GET", "/v1/usage"),
        ("GET", "/healthz"),
        ("GET", "/readyz"),
    ):
        await told(method, path)
    await told("POST", "/v1/responses/input_tokens", json={"model": "fake", "input": "x"})
    await told("POST", "/v1/responses/compact", json={"model": "fake", "input": [{"role": "user", "content": "x"}]})
    for path in ("/v1/responses", "/v1/responses/compact", "/v1/responses/input_tokens"):
        await told("POST", path, content=b"{")
        await told("POST", path, json={"model": "none", "input": "x", "metadata": None} if path[-1] == "s" else {})
        await told("POST", path, content=b'{"input": "' + b"x" * 1_100_000 + b'"}')
    conversation = await told("POST", "/v1/conversations", json={"items": [{"role": "user", "content": "hi"}]})
    at = f"/v1/conversations/{{conversation_id={conversation['id']}}}"
    await told("GET", at)
    await told("POST", at, json={"metadata": {"a": "b"}})
    await create(conversation=conversation["id"])
    items = await told("POST", f"{at}/items", json={"items": [{"role": "user", "content": "more"}]})
    await told("GET", f"{at}/items", params={"limit": "2"})
    item = items["data"][0]["id"]
    await told("GET", f"{at}/items/{{item_id={item}}}")
    await told("DELETE", f"{at}/items/{{item_id={item}}}")
    await told("GET", f"{at}/items/{{item_id={item}}}")
    await told("POST", f"{at}/items", json={"items": []})
    await told("DELETE", at)
    await told("GET", at)
    answered = {(method, path) for method, path, status in told.seen if status == 200 or path.startswith(_WITH_KEYS)}
    # An answer to HEAD has no body to be judged.
    wanted = {
        (method, path)
        for method, path in operations()
        if method != "HEAD" and not path.startswith(_OF_LONG_LIVED_AGENTS)
    }
    assert answered == wanted, "every operation was answered"
    assert {status for _, _, status in told.seen} >= {200, 400, 404, 409, 413}
