"""The reference in `docs/configuration.md` is that of the code."""

from __future__ import annotations

from dev.settings_reference import PAGE, reference, with_reference


def test_the_reference_is_current() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert with_reference(page) == page, "run `make reference`"


def test_the_reference_names_every_table_and_what_a_number_means() -> None:
    found = reference()
    for table in ("[[providers]]", "[[routes]]", "[routes.price]", "[[tools]]", "[[mcp_servers]]", "[[api_keys]]"):
        assert f"### `{table}`" in found
    assert "| `OPEN_RESPONSES_MAX_BODY_BYTES` | integer | `67108864` (64 MiB) | The longest body" in found
    assert "| `sha256` | string | required | The SHA-256 of the key" in found
