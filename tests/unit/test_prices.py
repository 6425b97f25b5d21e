"""Prices of model calls: of the configuration, of the table, and where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from open_responses.config import ProviderConfig
from open_responses.deltas import Usage
from open_responses.io.prices.price_table import PriceTable
from open_responses.loop.payloads.sample import SampleResult
from open_responses.loop.payloads.start import StartResponse, Target
from open_responses.loop.payloads.usage import TurnUsage
from open_responses.schema.price import ModelPrice

MILLION = 1_000_000
OWN = ModelPrice(input=2, output=8, cached_input=0.5, cache_write=2.5, reasoning=10)
PROVIDERS = (
    ProviderConfig(name="openai", adapter="openai", base_url="https://api.openai.com/v1"),
    ProviderConfig(name="gateway", adapter="openai", base_url="http://10.0.0.7/v1", price_list="openai"),
    ProviderConfig(name="local", adapter="openai-chat", base_url="http://127.0.0.1:8081/v1"),
    ProviderConfig(name="elsewhere", adapter="openai", base_url="https://models.example.com/v1"),
)


@pytest.mark.parametrize(
    ("usage", "cost"),
    [
        (Usage(input_tokens=MILLION), 2),
        (Usage(output_tokens=MILLION), 8),
        (Usage(input_tokens=MILLION, cached_tokens=MILLION), 0.5),
        (Usage(input_tokens=MILLION, cache_write_tokens=MILLION), 2.5),
        (Usage(input_tokens=MILLION, cached_tokens=MILLION // 2, cache_write_tokens=MILLION // 4), 1.375),
        (Usage(output_tokens=MILLION, reasoning_tokens=MILLION // 2), 9),
        (Usage(input_tokens=10, cached_tokens=20), 0.000005),
        (Usage(), 0),
    ],
)
def test_each_kind_of_token_has_its_own_price(usage: Usage, cost: float) -> None:
    assert OWN.cost_of(usage) == pytest.approx(cost)


def test_a_price_without_further_kinds_prices_them_as_input_and_output() -> None:
    usage = Usage(
        input_tokens=MILLION, output_tokens=MILLION, cached_tokens=9, cache_write_tokens=9, reasoning_tokens=9
    )
    assert ModelPrice(input=1, output=3).cost_of(usage) == 4


@pytest.mark.parametrize("wrong", [{"input": -1, "output": 1}, {"input": 1}, {"input": float("nan"), "output": 1}])
def test_a_price_that_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        ModelPrice.model_validate(wrong)


async def test_the_table_prices_calls_to_addresses_that_it_knows() -> None:
    table = PriceTable(PROVIDERS)
    million = Usage(input_tokens=MILLION, cached_tokens=MILLION // 2, output_tokens=MILLION)
    await table.ready("openai", None)
    dear = table.cost("openai", "gpt-5", million, own=None)
    assert dear is not None
    assert 0 < dear < 100
    assert table.cost("gateway", "gpt-5", million, own=None) == dear
    cheap = table.cost("openai", "gpt-5", million, own=None, tier="flex")
    assert cheap is not None
    assert cheap < dear


async def test_the_configuration_comes_before_the_table() -> None:
    table = PriceTable(PROVIDERS)
    await table.ready("openai", None)
    assert table.cost("openai", "gpt-5", Usage(input_tokens=MILLION), own=OWN) == 2


@pytest.mark.parametrize(
    ("provider", "model"),
    [("openai", "no-such-model"), ("local", "gpt-5"), ("elsewhere", "gpt-5"), ("removed", "gpt-5")],
)
async def test_a_call_without_a_known_price_has_no_cost_and_is_never_free(provider: str, model: str) -> None:
    table = PriceTable(PROVIDERS)
    await table.ready("openai", None)
    priced = table.priced(provider, model, Usage(input_tokens=5), own=None)
    assert (priced.cost_usd, priced.unpriced) == (None, True)


async def test_a_local_provider_loads_no_table() -> None:
    table = PriceTable(PROVIDERS)
    await table.ready("local", None)
    await table.ready("openai", OWN)
    assert table._library.parts is None


async def test_an_error_of_the_library_of_prices_leaves_a_call_without_a_price_and_fails_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = PriceTable(PROVIDERS)
    await table.ready("openai", None)
    used = Usage(input_tokens=10)
    assert table.cost("openai", "gpt-5", used, own=None) is not None

    def broken(*_: object, **__: object) -> object:
        raise ValueError("a tier without a price")

    assert table._library.parts is not None
    monkeypatch.setattr(table._library, "parts", (broken, table._library.parts[1]))
    assert table.cost("openai", "gpt-5", used, own=None) is None
    assert table.priced("openai", "gpt-5", used, own=None).unpriced


def test_a_budget_reserves_the_cost_of_what_is_sent_and_of_the_longest_answer() -> None:
    table = PriceTable(PROVIDERS)
    priced = Target(provider="local", upstream_model="m", price=OWN)
    estimate = table.estimate(priced, sent=MILLION, answer=500_000)
    assert (estimate.sent, estimate.answer, estimate.output_million) == (2 * 10**9, 4 * 10**9, 8 * 10**9)
    unpriced = table.estimate(Target(provider="local", upstream_model="m"), sent=MILLION, answer=MILLION)
    assert (unpriced.sent, unpriced.answer, unpriced.output_million) == (0, 0, 0)
    assert (table.has_price(priced), table.has_price(Target(provider="local", upstream_model="m"))) == (True, False)


def test_a_call_that_used_nothing_needs_no_price() -> None:
    assert PriceTable(PROVIDERS).priced("local", "any", Usage(), own=None) == Usage()


def test_a_cost_that_the_provider_reports_stays() -> None:
    reported = Usage(input_tokens=5, cost_usd=0.25)
    assert PriceTable(PROVIDERS).priced("openai", "gpt-5", reported, own=OWN) == reported


def test_a_sum_keeps_the_known_part_and_says_that_a_part_is_not_known() -> None:
    known, unknown = TurnUsage(input_tokens=1, cost_usd=0.1), TurnUsage(input_tokens=2, unpriced=True)
    total = known.plus(unknown).plus(TurnUsage(input_tokens=4, cost_usd=0.2))
    assert total == TurnUsage(input_tokens=7, cost_usd=0.3, unpriced=True)


def test_payloads_of_earlier_versions_have_no_cost() -> None:
    old = SampleResult.model_validate({"outcome": "done", "usage": {"input_tokens": 3, "output_tokens": 4}})
    assert (old.usage.cost_usd, old.usage.unpriced, old.usage.total) == (None, False, 7)
    assert Target.model_validate({"provider": "openai", "upstream_model": "gpt-5"}).price is None


def test_the_price_of_a_route_travels_with_the_response() -> None:
    start = StartResponse.model_validate(
        {
            "response_id": "resp_1",
            "tenant": "acme",
            "created_at": 1,
            "request": {"model": "m", "input": "Hi"},
            "provider": "p",
            "upstream_model": "m",
            "retry_window": 1,
            "price": {"input": 1, "output": 2},
            "fallbacks": [{"provider": "q", "upstream_model": "n"}],
        }
    )
    again = StartResponse.model_validate_json(start.model_dump_json(exclude_unset=True))
    assert [target.price for target in again.targets] == [ModelPrice(input=1, output=2), None]


def test_the_library_of_prices_is_imported_in_one_place_and_not_as_a_process_starts() -> None:
    root = Path(__file__).parents[2]
    places = [
        path.relative_to(root).as_posix()
        for room in ("open_responses", "activities", "api", "workflows")
        for path in (root / room).rglob("*.py")
        if "genai_prices" in path.read_text()
    ]
    assert places == ["open_responses/io/prices/price_table.py"]
