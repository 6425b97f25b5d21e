"""What the table compares: who is asked, and which processes then work."""

from __future__ import annotations

import json
from dataclasses import dataclass

from benchmarks.load.client import Target

CHAT_PATH, RESPONSES_PATH = "/v1/chat/completions", "/v1/responses"
OUR_MODELS = {"ours": "fake", "ours-native": "fake-native"}
LITELLM_MODELS = {"litellm": "native", "litellm-chat": "bridged"}


@dataclass(frozen=True, slots=True)
class Arm:
    """One column of the table. `own` are the processes that a deployment has because of it, `beside` the servers that
    these need."""

    name: str
    label: str
    target: Target
    model: str
    own: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()

    def body(self, prompt: str) -> bytes:
        asked = {"messages": [{"role": "user", "content": prompt}]} if self.name == "direct" else {"input": prompt}
        return json.dumps({"model": self.model, "stream": True, **asked}).encode()


LABELS = {
    "direct": "direct",
    "litellm": "LiteLLM native",
    "litellm-chat": "LiteLLM bridged",
    "ours": "open_responses (chat)",
    "ours-native": "open_responses (native)",
}
"""The columns, in their order."""


def arms_at(
    *, upstream: int, litellm: int, api: int, litellm_key: str, our_key: str, workers: tuple[str, ...]
) -> dict[str, Arm]:
    """The arms by name, at these ports."""
    theirs, ours = Target(litellm, RESPONSES_PATH, litellm_key), Target(api, RESPONSES_PATH, our_key)
    arms = [Arm("direct", LABELS["direct"], Target(upstream, CHAT_PATH), "model-1")]
    arms += [Arm(name, LABELS[name], theirs, model, ("litellm",)) for name, model in LITELLM_MODELS.items()]
    arms += [
        Arm(name, LABELS[name], ours, model, ("api", *workers), ("temporal", "valkey"))
        for name, model in OUR_MODELS.items()
    ]
    return {arm.name: arm for arm in arms}
