"""The configuration of a server whose providers are the fake vendors."""

from __future__ import annotations

from collections.abc import Iterator

VENDORS = ("anthropic", "gemini", "openai", "ollama")

_MODELS = {
    # model: (vendor, upstream model, settings of the provider)
    "anthropic": ("anthropic", "claude-sonnet-4-6", ""),
    "anthropic-prefill": ("anthropic", "claude-haiku-4-5", ""),
    "gemini": ("gemini", "gemini-3-flash-preview", ""),
    "openai": ("openai", "gpt-5", ""),
    "openai-background": ("openai", "gpt-5", 'resume = "background"'),
    "ollama": ("ollama", "qwen3", ""),
}


def _tables(port: int) -> Iterator[str]:
    for model, (vendor, upstream_model, settings) in _MODELS.items():
        url = f"http://127.0.0.1:{port}/{vendor}"
        for name, patience in ((f"{model}-fake", "60"), (f"{model}-hasty", "0.5")):
            yield (
                f'[[providers]]\nname = "{name}"\nadapter = "{vendor}"\nbase_url = "{url}"\n'
                f"timeout_seconds = {patience}\n{settings}\n"
            )
        for route, name in ((f"{model}-fake", f"{model}-fake"), (f"{model}-hasty", f"{model}-hasty")):
            yield f'[[routes]]\nmodel = "{route}"\nprovider = "{name}"\nupstream_model = "{upstream_model}"\n'


def configuration(port: int, llama: int) -> str:
    """Providers and routes `{model}-fake` and, patient for half a second only, `{model}-hasty`; routes to what each
    lists, `{vendor}-lists-*`; and adapters that the real model is asked by: `smollm2-anthropic`, `smollm2-openai`."""
    real = "".join(f'[[routes]]\nmodel = "{name}-lists-*"\nprovider = "{name}-fake"\n' for name in VENDORS)
    for adapter, path, settings in (("anthropic", "", 'resume = "prefill"'), ("openai", "/v1", "")):
        name = f"smollm2-{adapter}"
        real += (
            f'[[providers]]\nname = "{name}"\nadapter = "{adapter}"\nbase_url = "http://127.0.0.1:{llama}{path}"\n'
            f'{settings}\n[[routes]]\nmodel = "{name}"\nprovider = "{name}"\nupstream_model = "smollm2"\n'
        )
    return "\n".join(_tables(port)) + real
