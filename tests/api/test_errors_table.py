"""`docs/errors.md` is whole: each code that the server can tell has a row, each row is true, and each has a test."""

from __future__ import annotations

import ast
import asyncio
import importlib
import inspect
import re
from functools import cache
from pathlib import Path

import httpx
import openai
import pytest

from api.application import create_app
from api.errors import error_response
from open_responses import errors
from open_responses.errors import Conflict, OpenResponsesError, ProviderError, ServerError
from open_responses.io.settings import Settings
from tests.support.fake_upstream import Fault, Script, Upstream, calls
from tests.support.responses_http import create, is_error
from tests.support.scripts import HOSTED, script
from tests.support.sources import tree_of
from tests.support.stack import Stack, another_api, collect

ROOT = Path(__file__).parents[2]
FOLDERS = ("open_responses", "api", "workflows", "activities")
# Between our own processes: no client is told of these.
INTERNAL = {
    "conversation_changed": "asked again, or told as conversation_busy",
    "conversation_gone": "told as not_found",
    "turn_is_over": "told as the response that had the turn",
    "may_try_again": "an MCP call's own retry",
    "invalid_arguments": "an update that an operator sends by hand",
    "api_key_known": "a key that was made twice, which chance does not do",
    "storage_away": "an ingestion's own retry",
    "foreign_input": "a run that an operator starts by hand with the input of another",
}

# code -> a test in which a client is told of it. Their names are what they are:
# ruff: noqa: E501
TESTS: dict[str, str] = {
    "api_key_in_file": "api.test_admin_keys.test_a_key_of_the_file_is_listed_and_changed_there_alone",
    "api_key_revoked": "api.test_admin_keys.test_a_revoked_key_is_refused_in_every_process_and_stays_refused",
    "api_keys_full": "api.test_admin_keys.test_a_change_that_the_keys_refuse_is_a_409_and_one_without_an_answer_a_503",
    "no_admin_key": "api.test_admin_keys.test_a_server_that_needs_no_key_makes_none",
    "schedules_full": "api.test_schedule_owners.test_a_schedule_of_another_tenant_is_an_unknown_one",
    "no_api_key": "api.test_webhook_endpoints.test_endpoints_that_cannot_be_are_refused",
    "webhook_endpoints_full": "api.test_webhook_endpoints.test_endpoints_that_cannot_be_are_refused",
    "webhook_not_answered": "api.test_webhook_endpoints.test_an_endpoint_that_does_not_answer_its_test_is_a_400_with_the_reason",
    "no_turn_left": "loop.test_steering.test_each_refusal_has_its_code_and_is_told",
    "too_many_pending_steers": "loop.test_steering.test_more_messages_than_may_wait_are_refused",
    "too_many_steers": "loop.test_steering.test_each_refusal_has_its_code_and_is_told",
    "steering_not_supported": "loop.test_steering.test_a_worker_that_knows_no_steering_is_a_conflict",
    "approval_already_answered": "loop.test_approvals.test_a_live_answer_is_the_last_word_even_after_a_flush",
    "approval_not_found": "loop.test_mcp.test_an_approval_for_nothing_is_refused",
    "conflict": "api.test_errors_table.test_errors_that_a_race_alone_can_cause_have_their_body",
    "context_too_large": "api.test_context_bounds.test_a_chain_has_a_bound_and_a_shorter_one_still_goes_on",
    "context_length_exceeded": "unit.test_truncation.test_auto_drops_the_oldest_turns_and_disabled_refuses",
    "conversation_busy": "api.test_conversation_turns.test_of_two_at_once_one_is_told_to_wait_and_the_order_is_right",
    "conversation_full": "unit.test_conversation_state.test_a_full_conversation_cannot_be_locked_until_an_item_is_deleted",
    "duplicate_tool_output": "loop.test_agentic_loop.test_a_clients_call_ends_the_response_once_the_servers_calls_have_run",
    "embedding_model_changed": "durability.test_files_storage.test_a_store_of_another_embedding_model_is_not_searched",
    "vector_store_expired": "api.test_vector_stores.test_a_store_that_has_expired_says_so",
    "container_quota_exceeded": "unit.test_container_files.test_a_tenant_makes_so_many_containers_and_no_more",
    "vector_store_quota_exceeded": "durability.test_files_storage.test_a_tenant_has_so_many_stores_and_a_store_so_many_files",
    "files_folder_differs": "api.test_readiness.test_an_api_with_another_files_folder_uses_none_until_it_has_the_same",
    "file_quota_exceeded": "unit.test_file_store.test_a_tenant_has_so_many_files_and_bytes_and_no_more",
    "forbidden_address": "api.test_errors_table.test_an_address_that_is_not_called_is_refused",
    "idempotency_key_reused": "api.test_idempotency.test_another_body_or_tenant_does_not_get_it",
    "idempotency_key_spent": "api.test_idempotency.test_a_key_of_a_deleted_or_unstored_response_is_spent",
    "insufficient_quota": "providers.test_openai_failures.test_a_refused_request_is_the_right_error",
    "invalid_api_key": "api.test_tenants.test_without_a_known_key_there_is_nothing_but_a_401",
    "invalid_idempotency_key": "api.test_idempotency.test_a_key_that_is_none_is_refused",
    "invalid_json": "api.test_conformance.test_an_error_has_its_status_type_and_body",
    "invalid_output": "loop.test_structured_output.test_an_answer_that_does_not_fit_twice_fails_with_a_code",
    "invalid_request": "api.test_responses.test_input_items_are_listed_in_pages",
    "invalid_type": "support.bad_bodies.BAD_BODIES",
    "invalid_value": "support.bad_bodies.BAD_BODIES",
    "item_id_taken": "api.test_conversations.test_a_bad_request_is_refused_and_changes_nothing",
    "item_in_progress": "api.test_errors_table.test_what_has_not_ended_cannot_be_continued_or_named",
    "item_not_found": "api.test_references.test_what_is_unknown_or_not_stored_is_refused_before_anything_starts",
    "method_not_allowed": "api.test_conformance.test_an_error_has_its_status_type_and_body",
    "missing_required_parameter": "support.bad_bodies.BAD_BODIES",
    "missing_tool": "loop.test_mcp.test_an_approval_for_nothing_is_refused",
    "missing_tool_output": "loop.test_agentic_loop.test_a_clients_call_ends_the_response_once_the_servers_calls_have_run",
    "model_not_found": "api.test_conformance.test_an_error_has_its_status_type_and_body",
    "mutually_exclusive_parameters": "api.test_conversations.test_a_conversation_and_a_chain_exclude_each_other",
    "no_api_keys": "api.test_open_server.test_a_server_without_keys_refuses_the_network_and_says_what_to_do",
    "not_found": "api.test_conformance.test_an_error_has_its_status_type_and_body",
    "origin_not_allowed": "api.test_errors_table.test_a_page_from_elsewhere_reads_no_payloads",
    "overloaded": "api.test_limits.test_nothing_is_accepted_while_too_much_work_waits_and_nothing_accepted_is_lost",
    "permission_denied": "api.test_tenants.test_what_a_key_may_not_have_is_a_403_before_anything_starts",
    "previous_response_in_progress": "api.test_errors_table.test_what_has_not_ended_cannot_be_continued_or_named",
    "previous_response_not_found": "api.test_conformance.test_an_unknown_previous_response_is_an_error_even_with_a_good_looking_id",
    "provider_answer_refused": "loop.test_bounded_answers.test_an_event_that_is_too_large_fails_the_response_once",
    "provider_authentication": "api.test_own_key.test_a_refused_key_is_not_told",
    "provider_error": "api.test_errors_table.test_errors_that_a_race_alone_can_cause_have_their_body",
    "provider_key_missing": "api.test_own_key.test_no_key_anywhere_is_a_400_that_names_the_variable",
    "provider_rejected_request": "durability.test_survival.test_a_provider_that_refuses_ends_in_one_failed_event",
    "provider_stream_broken": "api.test_errors_table.test_a_provider_that_keeps_failing_is_told_by_how_it_failed",
    "provider_timeout": "api.test_errors_table.test_a_provider_that_keeps_failing_is_told_by_how_it_failed",
    "provider_unavailable": "loop.test_fallbacks.test_without_a_fallback_the_response_fails_with_the_providers_code",
    "rate_limit_exceeded": "api.test_limits.test_the_sixth_request_of_a_minute_is_refused_and_says_when_to_come_back",
    "request_timeout": "api.test_bounds.test_a_body_that_comes_too_slowly_is_a_408",
    "request_too_large": "api.test_responses.test_refusals_have_the_specifications_shape",
    "response_ended": "api.test_errors_table.test_an_approval_of_a_response_that_has_ended_is_said_to_be_late",
    "schema_too_complex": "loop.test_schema_bombs.test_a_check_that_does_not_end_fails_its_response_and_no_other",
    "run_deleted": "durability.test_operator_ends.test_a_poll_finds_how_a_run_ended",
    "run_failed": "durability.test_operator_ends.test_a_run_that_failed_ends_its_stream_its_polls_and_its_chain",
    "run_reset": "durability.test_operator_resets.test_a_run_reset_to_before_what_was_shown_fails_and_says_so",
    "run_terminated": "durability.test_operator_ends.test_a_terminated_run_fails_for_every_reader_and_its_sample_stops",
    "run_timed_out": "durability.test_operator_ends.test_a_poll_finds_how_a_run_ended",
    "server_error": "api.test_errors_table.test_errors_that_a_race_alone_can_cause_have_their_body",
    "stream_diverged": "durability.test_repeated_tasks.test_events_that_a_repeated_task_would_not_publish_stand_and_the_response_ends",
    "stream_lost": "durability.test_two_losses.test_a_stream_whose_beginning_is_lost_ends_with_an_error_and_not_with_another_answer",
    "token_budget_exceeded": "api.test_limits.test_a_spent_budget_refuses_what_comes_after",
    "tool_not_allowed": "loop.test_approvals.test_an_approved_call_stays_within_what_its_new_request_allows",
    "unavailable": "api.test_errors_table.test_without_temporal_it_is_a_503_that_says_when_to_come_back",
    "unknown_parameter": "support.bad_bodies.BAD_BODIES",
    "unknown_tool_call": "loop.test_agentic_loop.test_a_clients_call_ends_the_response_once_the_servers_calls_have_run",
    "unsupported_content": "providers.test_provider_cells.test_a_part_is_taken_or_refused_by_its_place_before_the_call",
    "unsupported_content_encoding": "api.test_security.test_a_compressed_body_is_refused",
    "unsupported_item": "providers.test_provider_cells.test_an_item_that_a_provider_has_not_is_refused_by_its_place",
    "unsupported_parameter": "support.bad_bodies.BAD_BODIES",
    "unsupported_tool": "support.bad_bodies.BAD_BODIES",
    "websocket_connection_limit_reached": "api.test_websocket_ends.test_a_connection_ends_after_its_time_and_its_stored_response_goes_on",
    "websocket_queue_full": "api.test_websocket.test_more_turns_than_can_wait_are_refused_and_the_others_run",
}
# How long a provider that fails is tried again.
IMPATIENT = {"OPEN_RESPONSES_RETRY_WINDOW_SECONDS": "3"}
SDK = {
    400: openai.BadRequestError,
    401: openai.AuthenticationError,
    403: openai.PermissionDeniedError,
    404: openai.NotFoundError,
    409: openai.ConflictError,
    429: openai.RateLimitError,
}


@cache
def rows() -> dict[str, tuple[str, str, str]]:
    """code -> (status, type, SDK class), as the table has them."""
    found = {}
    for line in (ROOT / "docs" / "errors.md").read_text().splitlines():
        if line.startswith("| `"):
            code, status, kind, sdk, *rest = (cell.strip() for cell in line.strip("|").split("|"))
            assert len(rest) == 2, line
            assert all(rest), line
            assert code.strip("`") not in found, f"{code} has two rows"
            found[code.strip("`")] = (status, kind, sdk)
    return found


@cache
def trees() -> list[ast.Module]:
    return [tree_of(file) for folder in FOLDERS for file in sorted((ROOT / folder).rglob("*.py"))]


@cache
def codes() -> set[str]:
    """Every code in the source: members of classes, `code=`, and what complaints are made of."""
    named = {
        node.targets[0].id: node.value.value
        for tree in trees()
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Constant)
    }
    found: set[str] = set()
    for node in (node for tree in trees() for node in ast.walk(tree)):
        for value in _told(node):
            text = named.get(value.id) if isinstance(value, ast.Name) else getattr(value, "value", None)
            # A field whose default is no code.
            if isinstance(text, str) and text:
                found.add(text)
    return found


def _told(node: ast.AST) -> list[ast.expr]:
    if isinstance(node, ast.keyword) and node.arg in ("code", "error_code"):
        return [node.value]
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("fault", "_Complaint", "Refused"):
        return node.args[:1]
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "ApplicationError":
        return [keyword.value for keyword in node.keywords if keyword.arg == "type"]
    if isinstance(node, ast.Assign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        for target in targets:
            if isinstance(target, ast.Name) and target.id == "code" and node.value is not None:
                return [node.value]
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                pairs = zip(target.elts, node.value.elts, strict=True)
                return [value for name, value in pairs if getattr(name, "id", "") == "code"]
    return []


def test_the_table_has_every_error_and_nothing_else() -> None:
    assert len(codes()) > 50
    assert codes() - INTERNAL.keys() == rows().keys()
    assert codes() >= INTERNAL.keys()


def classes() -> list[type[OpenResponsesError]]:
    members = (member for _, member in inspect.getmembers(errors, inspect.isclass))
    return [member for member in members if issubclass(member, OpenResponsesError)]


@pytest.mark.parametrize("kind", classes(), ids=lambda kind: kind.__name__)
def test_a_row_says_what_its_class_does(kind: type[OpenResponsesError]) -> None:
    status, told, sdk = rows()[kind.code]
    assert (str(kind.status), kind.type) == (status, told)
    expected = SDK.get(kind.status, openai.InternalServerError if kind.status >= 500 else openai.APIStatusError)
    assert sdk == expected.__name__


def test_every_row_is_of_a_status_that_its_sdk_class_stands_for() -> None:
    for code, (statuses, _, sdks) in rows().items():
        for status, sdk in zip(statuses.split(", "), sdks.split(", "), strict=True):
            number = int(status)
            expected = SDK.get(number, openai.InternalServerError if number >= 500 else openai.APIStatusError)
            assert sdk == expected.__name__, code


@pytest.mark.parametrize("code", sorted(TESTS))
def test_a_row_has_a_test_that_names_its_code(code: str) -> None:
    module, _, name = TESTS[code].rpartition(".")
    found = importlib.import_module(f"tests.{module}")
    assert hasattr(found, name), f"{TESTS[code]} is not there"
    # By its name, or by the constant that has it.
    assert re.search(rf'["\']{code}["\']', inspect.getsource(found)) or code in vars(found).values()


def test_no_row_is_without_a_test() -> None:
    assert rows().keys() == TESTS.keys()


# --- the rows that no other test has


async def test_what_has_not_ended_cannot_be_continued_or_named(client: httpx.AsyncClient, upstream: Upstream) -> None:
    held = upstream.says("has not ended", Script(words=3, hold_after=1))
    running = await create(client, input="has not ended", background=True)
    await asyncio.wait_for(held.held.wait(), 50)
    body = {"model": "fake", "input": "x", "previous_response_id": running["id"]}
    answer = await client.post("/v1/responses", json=body)
    is_error(answer, 400, "previous_response_in_progress", "previous_response_id")
    half = {"type": "message", "role": "user", "content": "x", "id": "msg_half", "status": "in_progress"}
    first = await create(client, input=[half])
    body = {"model": "fake", "input": [{"id": "msg_half"}], "previous_response_id": first["id"]}
    is_error(await client.post("/v1/responses", json=body), 400, "item_in_progress", "input[0].id")
    held.released.set()


async def test_an_approval_of_a_response_that_has_ended_is_said_to_be_late(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    script(upstream, "too late", calls(("a", "delete_all", {"what": "late"})), Script(words=1))
    asked = await create(client, input="too late", tools=HOSTED)
    approval = {"approval_request_id": asked["output"][-1]["id"], "approve": True}
    answer = await client.post(f"/v1/responses/{asked['id']}/approvals", json=approval)
    is_error(answer, 409, "response_ended")


async def test_an_address_that_is_not_called_is_refused(client: httpx.AsyncClient) -> None:
    tool = {"type": "mcp", "server_label": "inside", "server_url": "http://169.254.169.254/mcp"}
    answer = await client.post("/v1/responses", json={"model": "fake", "input": "x", "tools": [tool]})
    is_error(answer, 400, "forbidden_address", "tools[0].server_url")


async def test_a_page_from_elsewhere_reads_no_payloads(client: httpx.AsyncClient) -> None:
    answer = await client.post("/codec/decode", json={"payloads": []}, headers={"Origin": "https://evil.example"})
    is_error(answer, 403, "origin_not_allowed")


@pytest.mark.campaign
async def test_a_provider_that_keeps_failing_is_told_by_how_it_failed(stack: Stack, upstream: Upstream) -> None:
    """Both last as long as the worker tries, at the same time."""
    upstream.says("breaks always", Script(faults=[Fault(drop=True)] * 500))
    upstream.says("hangs always", Script(faults=[Fault(stall=True)] * 500))
    async with another_api(stack, env=IMPATIENT) as client:
        broken, silent = await asyncio.gather(
            collect(client, {"model": "no-resume", "input": "breaks always"}),
            collect(client, {"model": "impatient", "input": "hangs always"}),
        )
    for events, code in ((broken, "provider_stream_broken"), (silent, "provider_timeout")):
        error, failed = events[-2:]
        assert (error["error"]["code"], error["error"]["type"]) == (code, "model_error")
        assert failed["response"]["error"]["code"] == code


@pytest.mark.timeout(60)
async def test_without_temporal_it_is_a_503_that_says_when_to_come_back(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:9")
    app = create_app(Settings(redis_url=stack.redis_url, data_dir=str(stack.data)))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(base_url="http://localhost", transport=transport, timeout=60) as api,
    ):
        answer = await api.get("/v1/responses/resp_" + "0" * 48)
    is_error(answer, 503, "unavailable")
    assert int(answer.headers["retry-after"]) >= 1


def test_errors_that_a_race_alone_can_cause_have_their_body() -> None:
    for kind, code in ((Conflict, "conflict"), (ServerError, "server_error"), (ProviderError, "provider_error")):
        written = error_response(kind("what happened"))
        assert written.status_code == kind.status
        assert f'"code":"{code}"'.encode() in bytes(written.body)


async def test_the_sdk_asks_once_where_another_try_cannot_help(stack: Stack, upstream: Upstream) -> None:
    upstream.says("once and for all", Script(words=1))
    asked: list[str] = []

    async def note(request: httpx.Request) -> None:
        asked.append(request.url.path)

    http = httpx.AsyncClient(event_hooks={"request": [note]}, trust_env=False)
    async with openai.AsyncOpenAI(base_url=f"{stack.api_url}/v1", api_key="none", http_client=http) as sdk:
        headers = {"Idempotency-Key": "once and for all"}
        await sdk.responses.create(model="fake", input="once and for all", extra_headers=headers)
        with pytest.raises(openai.ConflictError) as refused:
            await sdk.responses.create(model="fake", input="something else", extra_headers=headers)
    assert refused.value.code == "idempotency_key_reused"
    assert len(asked) == 2


@pytest.mark.parametrize("kind", classes(), ids=lambda kind: kind.__name__)
def test_what_the_sdk_repeats_says_when_or_that_it_is_of_no_use(kind: type[OpenResponsesError]) -> None:
    """A provider's failure that may pass, and a defect of ours, are repeated after the SDK's own pauses."""
    headers = error_response(kind("what happened")).headers
    assert ("retry-after" in headers) == (kind.status == 503)
    is_final = kind.status == 409 or (kind.status == 429 and not kind.retryable)
    if issubclass(kind, ProviderError):
        is_final = not kind.retryable
    assert (headers.get("x-should-retry") == "false") == is_final
