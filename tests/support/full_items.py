"""An item of each kind that the server writes."""

from __future__ import annotations

from typing import Any

LOGPROB = {"token": "H", "logprob": -0.5, "bytes": [72], "top_logprobs": []}
CITATION = {"type": "url_citation", "url": "https://x.example", "title": "X", "start_index": 0, "end_index": 1}
# What the server itself sends out: valid as `ItemField`, and accepted back unchanged.
OUR_OUTPUT: list[dict[str, Any]] = [
    {
        "type": "message",
        "id": "msg_1",
        "status": "completed",
        "role": "assistant",
        "phase": "final_answer",
        "content": [
            {"type": "output_text", "text": "Hi", "annotations": [CITATION], "logprobs": [LOGPROB]},
            {"type": "refusal", "refusal": "No."},
        ],
    },
    {"type": "message", "id": "msg_2", "status": "incomplete", "role": "assistant", "content": []},
    {
        "type": "function_call",
        "id": "fc_1",
        "call_id": "call_1",
        "name": "get_weather",
        "arguments": '{"city": "Par',
        "status": "incomplete",
    },
    {
        "type": "reasoning",
        "id": "rs_1",
        "status": "completed",
        "summary": [{"type": "summary_text", "text": "thought"}],
        "content": [{"type": "reasoning_text", "text": "hm"}],
        "encrypted_content": "gAAA",
    },
    {"type": "compaction", "id": "cmp_1", "encrypted_content": "gAAA"},
]
