"""`langchain-openai` with `use_responses_api`: text, streams, tools and structured output, as LangChain has them."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from tests.support.fake_upstream import Script, Upstream, calls
from tests.support.scripts import script
from tests.support.stack import Stack

pytestmark = pytest.mark.campaign

pytest.importorskip("langchain_openai", reason="langchain-openai is not installed: it is in the dev extra")


class City(BaseModel):
    """A city, and how many live there."""

    city: str
    people: int


def chat(stack: Stack, **settings: Any) -> Any:
    from langchain_openai import ChatOpenAI

    return ChatOpenAI(
        model="fake",
        base_url=f"{stack.api_url}/v1",
        api_key="none",  # type: ignore[arg-type]
        use_responses_api=True,
        max_retries=0,
        **settings,
    )


async def test_text_comes_whole_and_in_pieces(stack: Stack, upstream: Upstream) -> None:
    made = upstream.says("langchain", Script(words=6))
    answer = await chat(stack).ainvoke([("system", "Be brief."), ("human", "langchain")])
    assert answer.text == made.text
    assert answer.response_metadata["status"] == "completed"
    assert (answer.usage_metadata["input_tokens"], answer.usage_metadata["output_tokens"]) == (10, 6)
    assert [m["role"] for m in upstream.requests[-1]["messages"]] == ["system", "user"]
    pieces = [piece.text async for piece in chat(stack).astream("langchain")]
    assert "".join(pieces) == made.text
    # An event may bring several deltas that came while Redis was busy.
    assert 1 < len([piece for piece in pieces if piece]) <= 6


async def test_a_conversation_goes_on_by_its_last_response(stack: Stack, upstream: Upstream) -> None:
    upstream.says("remember me", Script(words=2))
    upstream.says("who am I", Script(words=1))
    model = chat(stack, use_previous_response_id=True)
    first = await model.ainvoke("remember me")
    await model.ainvoke([("human", "remember me"), first, ("human", "who am I")])
    said = [(m["role"], m["content"]) for m in upstream.requests[-1]["messages"]]
    assert said == [("user", "remember me"), ("assistant", "w0 w1 "), ("user", "who am I")]


async def test_tools_are_called_and_answered(stack: Stack, upstream: Upstream) -> None:
    from langchain_core.messages import HumanMessage, ToolMessage
    from langchain_core.tools import tool

    @tool
    def population(city: str) -> int:
        """How many people live there."""
        return {"Oslo": 700_000}[city]

    script(upstream, "how many", calls(("lc1", "population", {"city": "Oslo"})), Script(literal="700 thousand."))
    model = chat(stack).bind_tools([population])
    asked = await model.ainvoke("how many")
    (call,) = asked.tool_calls
    assert (call["name"], call["args"]) == ("population", {"city": "Oslo"})
    result = ToolMessage(str(population.invoke(call["args"])), tool_call_id=call["id"])
    answer = await model.ainvoke([HumanMessage("how many"), asked, result])
    assert answer.text == "700 thousand."
    assert upstream.requests[-1]["messages"][-1]["content"] == "700000"


async def test_structured_output_is_parsed(stack: Stack, upstream: Upstream) -> None:
    upstream.says("a city for langchain", Script(literal='{"city":"Rome","people":2800000}'))
    parsed = await chat(stack).with_structured_output(City, method="json_schema").ainvoke("a city for langchain")
    assert parsed == City(city="Rome", people=2800000)


async def test_a_refusal_is_the_openai_sdks_error(stack: Stack) -> None:
    import openai

    with pytest.raises(openai.BadRequestError):
        await chat(stack, temperature=9.0).ainvoke("x")
