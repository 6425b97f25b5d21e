"""Settings: a misspelt name is refused with the right one, in the file and in the environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from dev.settings import DevSettings
from open_responses.io.settings import ConfigError, Settings, check_names, environment_names, load_config


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[[routes]]\nmodel = "x"\nprovidr = "openai"\n', "routes[0].providr: unknown key: did you mean 'provider'?"),
        ("max_turn = 3\n", "max_turn: unknown key: did you mean 'max_turns'?"),
        ('[[provider]]\nname = "x"\n', "provider: unknown key: did you mean 'providers'?"),
        ('[[mcp_servers]]\nlabel = "x"\nurl = "http://x"\nheader_env = {}\n', "did you mean 'headers_env'?"),
        ('[[routes]]\nmodel = "x"\nprovider = "openai"\n[routes.price]\ninputs = 1\n', "did you mean 'input'?"),
        ("colour = 1\n", "colour: unknown key: correct or remove it. Known are max_turns, "),
    ],
)
def test_a_misspelt_key_of_the_file_is_refused_with_the_right_one(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "open_responses.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as raised:
        load_config(str(file))
    assert said in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


def test_a_misspelt_variable_is_refused_with_the_right_one() -> None:
    with pytest.raises(ConfigError, match=r"ENCRYPTON_KEYS: .* did you mean OPEN_RESPONSES_ENCRYPTION_KEYS"):
        check_names({"OPEN_RESPONSES_ENCRYPTON_KEYS": "x"}, Settings)
    with pytest.raises(ConfigError, match="did you mean OPEN_RESPONSES_WORKERS"):
        check_names({"OPEN_RESPONSES_WORKER": "2"}, Settings, DevSettings)


def test_containers_that_the_daily_sweep_would_remove_in_use_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "c.toml"
    monkeypatch.setenv("OPEN_RESPONSES_CONFIG", str(file))
    file.write_text("[code_interpreter]\nidle_hours = 1440\n")
    Settings().read_config()
    file.write_text("[code_interpreter]\nidle_hours = 1441\n")
    with pytest.raises(ConfigError, match=r"Set idle_hours to at most 1440, or raise OPEN_RESPONSES_BLOB_TTL_SECONDS"):
        Settings().read_config()
    monkeypatch.setenv("OPEN_RESPONSES_BLOB_TTL_SECONDS", "8640000")
    Settings().read_config()


def test_no_setting_is_taken_for_a_misspelt_other_one() -> None:
    """The server does not know the variables of `make dev`, which are in its environment."""
    names = {
        name: "x"
        for model in (Settings, DevSettings)
        for field in model.model_fields
        for name in environment_names(model, field)
    }
    check_names({**names, "OPEN_RESPONSES_FUZZ_SECONDS": "1", "PATH": "x", "REDIS_ULR": "of somebody else"}, Settings)
