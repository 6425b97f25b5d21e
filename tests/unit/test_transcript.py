"""The conversation as a model reads it: every call has an output that says what became of it."""

from __future__ import annotations

from open_responses.context.transcript import NOT_RUN, as_model_reads
from open_responses.json_types import JsonObject
from open_responses.models.capabilities import ADAPTERS
from open_responses.schema.items import INPUT_ITEMS, FunctionCall, FunctionCallOutput
from open_responses.tool_use.tool_output import without_parts

UNFINISHED = "The call was interrupted before it gave a result."


def call(call_id: str, status: str = "completed") -> JsonObject:
    return {"type": "function_call", "call_id": call_id, "name": "f", "arguments": "{}", "status": status}


def output(call_id: str, said: object = "x", status: str = "completed") -> JsonObject:
    return {"type": "function_call_output", "call_id": call_id, "output": said, "status": status}


def read(*items: JsonObject) -> list[tuple[str, str]]:
    told = as_model_reads(INPUT_ITEMS.validate_python(items), lambda _, tool: tool)
    pairs = []
    for item in told:
        assert isinstance(item, FunctionCall | FunctionCallOutput)
        pairs.append((item.call_id, str(item.output) if isinstance(item, FunctionCallOutput) else "called"))
    return pairs


def test_a_call_without_an_output_gets_one_also_where_its_id_comes_back() -> None:
    said = read(call("a"), call("b"), output("b"), call("a"), output("a"))
    assert said == [("a", "called"), ("a", UNFINISHED), ("b", "called"), ("b", "x"), ("a", "called"), ("a", "x")]


def test_calls_in_front_of_one_that_was_cut_off_were_not_run_unless_an_output_says_what_became_of_them() -> None:
    said = read(call("a"), call("b"), call("c", "incomplete"), output("b"))
    assert said == [("a", "called"), ("a", NOT_RUN), ("b", "called"), ("b", "x")]
    assert read(call("a"), call("b", "incomplete"), call("c"))[-1] == ("c", UNFINISHED)


def test_an_output_that_was_cut_off_says_so_and_one_that_had_begun_stays() -> None:
    assert read(call("a"), output("a", "", "incomplete")) == [("a", "called"), ("a", UNFINISHED)]
    assert read(call("a"), output("a", "half", "incomplete")) == [("a", "called"), ("a", "half")]


def test_each_provider_gets_the_parts_that_it_takes_and_words_about_the_others() -> None:
    parts = [
        {"type": "input_text", "text": "look"},
        {"type": "input_image", "image_url": "data:image/png;base64,aGk="},
        {"type": "input_file", "filename": "a.txt", "file_data": "aGk="},
        {"type": "input_file", "file_url": "https://example.com/a.pdf"},
    ]
    items = INPUT_ITEMS.validate_python([output("a", parts)])
    for adapter in (*ADAPTERS, "my_package:Adapter"):
        (item,) = without_parts(items, adapter)
        assert isinstance(item, FunctionCallOutput)
        kinds = [part.type for part in item.output if not isinstance(part, str)]
        takes = ADAPTERS[adapter].output_parts if adapter in ADAPTERS else {"image_data", "file_data", "file_url"}
        wanted = [("input_image", "image_data"), ("input_file", "file_data"), ("input_file", "file_url")]
        assert kinds == ["input_text", *(kind if able in takes else "input_text" for kind, able in wanted)]
    (told,) = without_parts(items, "ollama")
    assert isinstance(told, FunctionCallOutput)
    assert "kind file (a.txt)" in str(told.output)


def test_a_program_that_waited_for_the_client_is_one_call_with_the_output_of_its_end() -> None:
    caller = {"type": "program", "caller_id": "call_p"}

    def program(item_id: str, said: str | None) -> JsonObject:
        made = {"function": "run_program", "arguments": "{}", "output": said}
        return {"type": "program", "id": item_id, "call_id": "call_p", "code": "x", "open_responses_call": made}

    first, again, ended = program("prog_1", None), program("prog_2", None), program("prog_3", "the end")
    asks = {**call("a"), "caller": caller}, {**call("b"), "caller": caller}
    result = {"type": "program_output", "id": "prog_4", "call_id": "call_p", "result": "the end", "status": "completed"}
    items = [call("before"), output("before"), first, asks[0], output("a"), again, asks[1]]
    assert read(*items)[2:] == [("prog_1", "called"), ("prog_1", UNFINISHED)]
    assert read(*items, {**output("b"), "caller": caller}, ended, result, call("after"), output("after"))[2:] == [
        ("prog_1", "called"),
        ("prog_1", "the end"),
        ("after", "called"),
        ("after", "x"),
    ]
