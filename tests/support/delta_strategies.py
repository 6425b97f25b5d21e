"""Deltas as hypothesis draws them."""

from __future__ import annotations

from hypothesis import strategies as st

from open_responses.deltas import (
    Delta,
    ItemEnd,
    ProviderItem,
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
DELTAS: st.SearchStrategy[list[Delta]] = st.lists(
    st.one_of(
        st.builds(TextDelta, _TEXT, st.none(), st.sampled_from([None, "commentary", "final_answer"])),
        st.builds(TextAnnotation, st.just(_CITATION)),
        st.builds(ReasoningSeal, _TEXT),
        st.builds(ItemEnd),
        st.builds(ProviderItem, st.just({"type": "web_search_call", "action": {"query": "x"}})),
        st.builds(RefusalDelta, _TEXT),
        st.builds(ReasoningDelta, _TEXT),
        st.builds(ReasoningSummaryDelta, _TEXT, st.integers(0, 2)),
        st.builds(ToolCallDelta, st.integers(0, 2), _TEXT, st.none(), st.just("f")),
    ),
    max_size=25,
)
