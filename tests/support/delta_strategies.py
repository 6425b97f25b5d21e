"""Deltas as hypothesis draws them."""

from __future__ import annotations

from hypothesis import strategies as st

from open_responses.deltas import (
    Delta,
    ItemEnd,
    ProviderItem,
    ProviderItemProgress,
    ProviderItemStart,
    ReasoningDelta,
    ReasoningSeal,
    ReasoningSummaryDelta,
    RefusalDelta,
    TextAnnotation,
    TextDelta,
    ToolCallDelta,
)

_TEXT = st.text(max_size=6)
_CITATION = {"type": "url_citation", "url": "http://x", "title": "x", "start_index": 0, "end_index": 1}
_KEYS = st.integers(0, 2)
BUILT_IN: st.SearchStrategy[Delta] = st.one_of(
    st.builds(ProviderItemStart, _KEYS, st.sampled_from([{"type": "web_search_call"}, {"type": "file_search_call"}])),
    st.builds(ProviderItemStart, _KEYS, st.just({"type": "code_interpreter_call", "code": "", "container_id": "c"})),
    st.builds(ProviderItemProgress, _KEYS, st.just("response.web_search_call.searching")),
    st.builds(
        ProviderItemProgress,
        _KEYS,
        st.just("response.code_interpreter_call_code.delta"),
        st.builds(dict, delta=_TEXT),
    ),
    st.builds(ProviderItemProgress, _KEYS, st.just("response.code_interpreter_call_code.done")),
    st.builds(ProviderItem, st.just({"type": "code_interpreter_call", "code": "x = 1", "container_id": "c"}), _KEYS),
)
"""Calls of built-in tools, with progress. Only some are in an order that a provider could send."""

DELTAS: st.SearchStrategy[list[Delta]] = st.lists(
    st.one_of(
        st.builds(TextDelta, _TEXT, st.none(), st.sampled_from([None, "commentary", "final_answer"])),
        st.builds(TextAnnotation, st.just(_CITATION)),
        st.builds(ReasoningSeal, _TEXT),
        st.builds(ItemEnd),
        st.builds(ProviderItem, st.just({"type": "web_search_call", "action": {"query": "x"}})),
        BUILT_IN,
        st.builds(RefusalDelta, _TEXT),
        st.builds(ReasoningDelta, _TEXT),
        st.builds(ReasoningSummaryDelta, _TEXT, st.integers(0, 2)),
        st.builds(ToolCallDelta, st.integers(0, 2), _TEXT, st.none(), st.just("f")),
    ),
    max_size=25,
)
