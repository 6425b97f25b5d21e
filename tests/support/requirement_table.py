"""The specification's clauses, and the tests that hold us to them. `test_requirements.py` checks both ways.

A clause that this version does not meet yet is in `LATER`, with what is missing.
"""

from __future__ import annotations

CLAUSES: dict[str, list[str]] = {
    "HTTP-1": [
        "api.test_responses.test_refusals_have_the_specifications_shape",
        "api.test_conformance.test_an_error_has_its_status_type_and_body",
        "api.test_conformance.test_headers_of_ordinary_clients_are_taken",
    ],
    "HTTP-2": [
        "api.test_responses.test_plain_json_is_the_fold_of_the_stream",
        "api.test_conformance.test_a_scenario_conforms_as_json_and_as_a_stream",
    ],
    "HTTP-3": [
        "api.test_responses.test_bad_bodies_are_refused_over_http_before_anything_starts",
        "api.test_conformance.test_a_scenario_conforms_as_json_and_as_a_stream",
        "api.test_conformance.test_every_field_of_the_specifications_request_is_known_here",
    ],
    "SSE-1": ["api.test_responses.test_a_stream_opens_and_closes_in_the_specifications_order"],
    "SSE-2": ["api.test_responses.test_a_stream_opens_and_closes_in_the_specifications_order"],
    "SSE-3": [
        "durability.test_survival.test_a_killed_worker_leaves_no_gap_in_the_stream",
        "api.test_websocket.test_turns_run_one_after_the_other_in_the_order_in_which_they_came",
    ],
    "ERR-1": [
        "api.test_conformance.test_an_error_has_its_status_type_and_body",
        "clients.test_openai_sdk.test_each_status_raises_the_sdks_class",
        "api.test_errors_table.test_the_table_has_every_error_and_nothing_else",
    ],
    "ERR-2": [
        "durability.test_survival.test_a_provider_that_refuses_ends_in_one_failed_event",
        "loop.test_structured_output.test_an_answer_that_does_not_fit_twice_fails_with_a_code",
    ],
    "WS-1": [
        "api.test_websocket.test_bad_messages_get_an_envelope_and_the_socket_stays_usable",
        "api.test_websocket.test_bad_bodies_are_refused_over_a_socket_as_over_http",
    ],
    "WS-2": ["api.test_websocket.test_a_turn_streams_the_events_of_the_http_api"],
    "WS-3": [
        "api.test_websocket.test_turns_run_one_after_the_other_in_the_order_in_which_they_came",
        "api.test_websocket.test_more_turns_than_can_wait_are_refused_and_the_others_run",
    ],
    "WS-4": [
        "api.test_websocket_memory.test_a_response_that_is_not_stored_is_continued_on_its_socket_only",
        "api.test_websocket_memory.test_only_the_newest_response_is_remembered",
        "api.test_websocket_memory.test_older_stored_responses_are_found_in_the_store",
    ],
    "WS-5": ["api.test_websocket_memory.test_a_response_that_is_not_stored_is_continued_on_its_socket_only"],
    "WS-6": ["api.test_websocket_memory.test_a_failed_continuation_makes_the_socket_forget"],
    "WS-7": ["api.test_websocket_memory.test_a_chain_starts_from_compacted_output"],
    "WS-8": ["api.test_websocket_ends.test_a_connection_ends_after_its_time_and_its_stored_response_goes_on"],
    "WS-9": [
        "api.test_websocket.test_bad_messages_get_an_envelope_and_the_socket_stays_usable",
        "api.test_websocket.test_a_refused_turn_does_not_hold_up_the_next_one",
    ],
    "ITEM-1": [
        "unit.test_grammar.test_any_stream_folds_to_its_items_and_replays_from_its_trace",
        "api.test_conformance.test_a_scenario_conforms_as_json_and_as_a_stream",
    ],
    "ITEM-2": [
        "api.test_responses.test_length_ends_in_incomplete",
        "loop.test_agentic_loop.test_a_conversation_goes_on_after_a_turn_that_broke_off_behind_a_hosted_call",
        "api.test_conformance.test_the_budget_of_tokens_holds_for_all_turns_together",
    ],
    "ITEM-3": [
        "api.test_responses.test_cancel_stops_a_silent_provider_and_closes_the_open_item",
        "unit.test_response.test_a_status_changes_only_as_the_table_says",
        "api.test_conformance.test_a_background_response_is_polled_streamed_and_cancelled",
    ],
    "ITEM-4": [
        "api.test_responses.test_a_stream_opens_and_closes_in_the_specifications_order",
        "api.test_conformance.test_a_scenario_conforms_as_json_and_as_a_stream",
    ],
    "ITEM-5": [
        "unit.test_grammar.test_any_stream_folds_to_its_items_and_replays_from_its_trace",
        "api.test_conformance.test_a_scenario_conforms_as_json_and_as_a_stream",
        "unit.test_grammar.test_any_run_is_one_stream_that_folds_to_its_response_and_replays_to_the_byte",
    ],
    "ITEM-6": [
        "durability.test_survival.test_a_killed_worker_leaves_no_gap_in_the_stream",
        "api.test_conformance.test_a_scenario_conforms_as_json_and_as_a_stream",
    ],
    "ITEM-7": [
        "api.test_responses.test_function_calls_stream_interleaved_and_keep_the_models_ids",
        "api.test_conformance.test_a_call_makes_the_round_trip_by_id_and_by_history",
    ],
    "ITEM-8": [
        "api.test_conformance.test_reasoning_and_phase_survive_the_round_trip_as_input",
        "durability.test_vendor_survival.test_what_a_vendor_thought_comes_back_on_the_next_turn_and_along_the_chain",
    ],
    "REQ-1": [
        "api.test_responses.test_a_chain_gives_the_model_the_whole_conversation",
        "api.test_conformance.test_an_unknown_previous_response_is_an_error_even_with_a_good_looking_id",
    ],
    "REQ-2": [
        "loop.test_agentic_loop.test_tools_outside_allowed_tools_are_never_run_and_never_surface_as_calls",
        "loop.test_agentic_loop.test_a_forced_choice_holds_for_the_first_call_only",
        "unit.test_tool_table.test_a_choice_is_told_to_the_provider_and_enforced_here",
    ],
    "REQ-3": [
        "unit.test_truncation.test_auto_drops_the_oldest_turns_and_disabled_refuses",
        "unit.test_truncation.test_no_output_is_ever_without_its_call",
    ],
    "REQ-5": ["loop.test_agentic_loop.test_max_tool_calls_bounds_the_whole_response"],
    "REQ-6": ["loop.test_agentic_loop.test_one_call_a_turn_where_parallel_calls_are_off"],
    "REQ-4": [
        "api.test_responses.test_length_ends_in_incomplete",
        "api.test_conformance.test_the_budget_of_tokens_holds_for_all_turns_together",
        "api.test_conformance.test_a_spent_budget_ends_the_loop_before_another_turn",
    ],
    "REQ-7": [
        "api.test_conformance.test_every_setting_is_echoed_with_its_effective_value",
        "unit.test_response.test_the_response_has_the_specification_s_members_and_no_others",
    ],
    "REQ-9": [
        "api.test_responses.test_what_is_not_stored_cannot_be_fetched_or_continued",
        "api.test_conformance.test_nothing_of_an_unstored_response_is_there_afterwards",
    ],
    "REQ-10": [
        "api.test_responses.test_background_returns_queued_at_once_and_can_be_polled",
        "api.test_conformance.test_a_background_response_is_polled_streamed_and_cancelled",
    ],
    "REQ-13": ["api.test_conformance.test_the_specifications_metadata_bounds_are_taken_and_no_more"],
    "REQ-15": [
        "api.test_responses.test_plain_json_is_the_fold_of_the_stream",
        "api.test_conformance.test_usage_is_summed_over_every_turn",
        "providers.test_openai_chat_stream.test_usage_is_counted_as_the_server_means_it",
    ],
    "EXT-2": [
        "loop.test_agentic_loop.test_a_hosted_tool_runs_inside_the_loop_and_leaves_its_receipt",
        "clients.test_agent_sdks.test_the_openai_sdk_answers_its_own_calls",
        "api.test_conformance.test_a_client_that_ignores_extensions_rebuilds_the_same_response",
    ],
    "EXT-1": [
        "durability.test_survival.test_a_killed_worker_leaves_no_gap_in_the_stream",
        "api.test_conformance.test_a_client_that_ignores_extensions_rebuilds_the_same_response",
    ],
    "ITEM-9": [
        "providers.test_openai_stream.test_phases_and_message_boundaries_are_kept",
        "providers.test_openai_items.test_an_answer_goes_back_with_its_phase_and_without_its_id",
        "api.test_conformance.test_reasoning_and_phase_survive_the_round_trip_as_input",
        "api.test_conformance.test_commentary_and_answer_are_two_messages_over_http",
    ],
    "ITEM-10": [
        "api.test_references.test_a_reference_stands_for_the_stored_item",
        "api.test_references.test_what_is_unknown_or_not_stored_is_refused_before_anything_starts",
    ],
    "REQ-8": ["api.test_conformance.test_a_tier_is_the_priority_of_the_run"],
    "REQ-11": [
        "api.test_conformance.test_a_scenario_conforms_as_json_and_as_a_stream",
        "loop.test_structured_output.test_an_answer_that_does_not_fit_is_asked_for_once_more",
        "loop.test_structured_output.test_json_mode_takes_any_object_and_nothing_else",
    ],
    "REQ-12": [
        "api.test_conformance.test_reasoning_and_phase_survive_the_round_trip_as_input",
        "api.test_conformance.test_logprobs_come_when_they_are_included",
        "providers.test_openai_chat_request.test_logprobs_are_asked_for_by_include",
    ],
    "REQ-14": [
        "api.test_obfuscation.test_streams_are_padded_unless_the_client_says_no",
        "api.test_conformance.test_obfuscation_is_as_asked_for_and_changes_nothing_else",
    ],
    "REQ-16": [
        "api.test_compact.test_a_conversation_is_compacted_and_a_new_chain_goes_on_from_it",
        "api.test_conformance.test_compaction_gives_what_a_new_chain_starts_from",
        "api.test_compact.test_what_cannot_be_compacted_is_refused",
    ],
}

LATER: dict[str, str] = {}
