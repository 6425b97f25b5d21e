"""The table "what survives the translation" of docs/providers.md, and the tests that hold each cell to its word.

`test_provider_table.py` checks both ways. A bare name is a test in the vendor's own files (`test_<vendor>*.py`); one
with a module before it may be about all vendors.
"""

from __future__ import annotations

VENDORS = ("openai", "openai-chat", "anthropic", "gemini", "ollama")

_PART = "test_provider_cells.test_a_part_is_taken_or_refused_by_its_place_before_the_call"
_SETTING = "test_provider_cells.test_a_setting_is_passed_on_or_refused_before_the_call"
_NO_WORD = "test_provider_cells.test_what_a_provider_has_no_word_for_changes_nothing"
_PHASE = "test_provider_cells.test_the_phase_of_an_earlier_answer_is_openais_alone"
_BUILT_IN = "test_provider_cells.test_a_built_in_tool_is_left_out_where_the_provider_has_it_not"
_NATIVE_TOOLS = "test_client_tools.test_openai_gets_the_tools_and_the_items_as_they_were_sent"
_FUNCTIONS = "test_client_tools.test_a_vendor_with_functions_alone_reads_functions"
_CODEX = "test_client_tools.test_codex_is_understood_by_every_adapter"
_COMPUTER = "test_client_tools.test_a_computer_is_refused_where_no_vendors_form_exists"
_CONTAINER = "test_client_tools.test_a_shell_in_a_container_is_refused_where_no_vendor_has_one"
_FOREIGN = "test_provider_cells.test_what_another_providers_tools_left_is_left_out"
_EMPTY = "test_provider_cells.test_an_empty_answer_without_usage_is_an_estimated_finish"
_STRICT = "test_provider_cells.test_strict_is_passed_on_where_the_provider_knows_it"
_EFFORT = "test_provider_cells.test_an_effort_reaches_every_provider"
_WORDS = "test_provider_cells.test_verbosity_is_native_or_said_in_words"
_TEXTS = "test_provider_cells.test_texts_of_a_message_keep_their_order_and_none_is_lost"
_ONE_CALL = "test_agentic_loop.test_one_call_a_turn_where_parallel_calls_are_off"


def _kit(check: str) -> tuple[str, ...]:
    """The same check of the contract kit, on each of our adapters."""
    kits = ("TestOpenAIResponses", "TestOpenAIChat", "TestAnthropic", "TestGemini", "TestOllama")
    return tuple(f"test_provider_contract.{kit}.{check}" for kit in kits)


# Each row: openai, openai-chat, anthropic, gemini, ollama; one name, or several behind each other.
ROWS: dict[str, tuple[str, ...]] = {
    # --- what a request holds
    "text, in several parts": (_TEXTS,) * 5,
    "image by URL": (_PART,) * 5,
    "image as data URL": (_PART,) * 5,
    "image by `file_id`": (_PART,) * 5,
    "file (PDF) as data": (_PART,) * 5,
    "file by URL": (_PART,) * 5,
    "file by `file_id`": (_PART,) * 5,
    "audio": (_PART,) * 5,
    "images and files in a tool's output": (
        f"{_PART} test_a_tools_output_may_be_text_or_parts",
        f"{_PART} test_what_is_not_text_in_an_output_comes_behind_all_outputs",
        f"{_PART} test_images_and_files_go_along_in_messages_and_in_outputs",
        f"{_PART} test_media_of_a_tool_are_inside_its_answer_on_gemini_3_where_they_may "
        "test_media_of_a_tool_are_behind_all_answers_on_older_models",
        f"{_PART} test_images_of_an_output_come_behind_all_outputs",
    ),
    "`instructions`, system and developer messages at the beginning": (
        "test_messages_of_all_roles_stand_where_they_stood test_settings_are_passed_on_under_their_own_names",
        "test_roles_are_merged_and_a_system_message_in_the_middle_is_the_users",
        "test_the_systems_words_at_the_beginning_go_to_system",
        "test_instructions_and_leading_system_messages_are_the_system_instruction",
        "test_roles_are_merged_and_system_messages_keep_their_place",
    ),
    "system and developer messages in the middle": (
        "test_messages_of_all_roles_stand_where_they_stood",
        "test_a_system_message_stays_where_the_server_takes_it "
        "test_roles_are_merged_and_a_system_message_in_the_middle_is_the_users",
        "test_the_systems_words_in_the_middle_follow_the_users_where_the_model_has_that_role "
        "test_the_systems_words_in_the_middle_are_a_reminder_where_it_has_not",
        "test_a_system_message_in_the_middle_stays_in_its_place",
        "test_roles_are_merged_and_system_messages_keep_their_place",
    ),
    "messages of one role in a row": (
        "test_messages_of_all_roles_stand_where_they_stood",
        "test_roles_are_merged_and_a_system_message_in_the_middle_is_the_users",
        "test_consecutive_roles_are_one_message_and_blank_text_is_left_out",
        "test_consecutive_roles_are_one_turn",
        "test_roles_are_merged_and_system_messages_keep_their_place",
    ),
    "`phase` of an earlier answer": ("test_an_answer_goes_back_with_its_phase_and_without_its_id", *(_PHASE,) * 4),
    "functions and their schemas": (
        "test_a_schema_is_an_object_without_unions_at_its_top",
        "test_tools_have_a_schema_even_without_parameters",
        "test_functions_are_tools_with_a_schema",
        "test_functions_are_declared_with_their_json_schema test_json_schema_is_put_in_geminis_dialect",
        "test_tools_have_a_schema_even_without_parameters",
    ),
    "`strict` functions": (
        f"{_STRICT} test_a_function_is_not_strict_unless_the_client_asks_for_it",
        _STRICT,
        f"{_STRICT} test_strict_is_left_out_where_the_model_has_it_not_or_not_for_so_many",
        f"{_STRICT} test_strict_functions_are_validated_by_google",
        _STRICT,
    ),
    "`tool_choice`": (
        "test_the_tool_choice_is_openais_own",
        "test_every_tool_choice_is_sent",
        "test_tool_choice_in_every_form test_what_the_model_cannot_do_is_refused_by_name",
        "test_tool_choice_in_every_form_leaves_the_tools_as_they_are",
        "test_a_tool_choice_is_said_in_words test_where_no_tool_may_be_called_none_is_offered",
    ),
    "`parallel_tool_calls: false`": (
        "test_settings_are_passed_on_under_their_own_names",
        "test_mistral_has_its_own_names",
        "test_tool_choice_in_every_form",
        f"{_NO_WORD} {_ONE_CALL}",
        f"{_NO_WORD} {_ONE_CALL}",
    ),
    "calls with empty or broken arguments": (
        "test_empty_and_broken_arguments_of_an_earlier_call_go_back",
        "test_arguments_are_always_an_object",
        "test_arguments_that_are_no_object_are_shown_as_they_are",
        "test_broken_arguments_go_back_as_the_model_wrote_them",
        "test_broken_arguments_keep_their_text",
    ),
    "`reasoning.effort`": (
        _EFFORT,
        f"{_EFFORT} test_effort_is_said_in_the_servers_words",
        f"{_EFFORT} test_effort_is_a_budget_or_adaptive_thinking_as_the_model_has_it",
        f"{_EFFORT} test_an_effort_is_a_level_or_a_budget",
        f"{_EFFORT} test_effort_becomes_think",
    ),
    "`reasoning.summary`": (
        "test_settings_are_passed_on_under_their_own_names",
        _NO_WORD,
        "test_effort_is_a_budget_or_adaptive_thinking_as_the_model_has_it",
        "test_thoughts_are_shown_where_a_summary_is_asked_for_and_there_are_any",
        _NO_WORD,
    ),
    "reasoning on its way back": (
        "test_reasoning_comes_back_on_the_next_turn_as_it_was",
        "test_reasoning_goes_back_under_its_name",
        "test_a_signature_comes_back_on_the_next_turn",
        "test_the_signature_of_a_call_comes_back_on_that_call",
        "test_a_turn_with_tools_goes_back_with_its_thinking",
    ),
    "reasoning of another provider": _kit("test_reasoning_of_another_provider_stays_away"),
    "`text.format` `json_schema`": (
        "test_the_text_format_is_openais_own",
        "test_a_schema_is_sent_as_it_is test_a_schema_is_said_in_words_where_there_is_only_json",
        "test_a_schema_goes_in_the_models_own_dialect test_a_schema_that_cannot_be_told_natively_is_said_in_words",
        "test_a_schema_for_the_answer_is_native test_beside_tools_the_form_is_said_in_words_before_gemini_3",
        "test_a_schema_is_the_format test_beside_tools_a_schema_is_said_in_words",
    ),
    "`text.format` `json_object`": (
        "test_the_text_format_is_openais_own",
        "test_json_without_a_schema_is_json_object",
        "test_any_json_object_is_asked_for_in_words",
        "test_a_json_object_is_asked_for_by_its_type_alone",
        "test_a_schema_is_the_format",
    ),
    "`text.verbosity`": (
        _WORDS,
        f"{_WORDS} test_openais_own_settings_go_to_openai_alone",
        _WORDS,
        _WORDS,
        _WORDS,
    ),
    "`temperature`, `top_p`": (
        "test_settings_are_passed_on_under_their_own_names",
        "test_settings_are_those_of_the_api",
        "test_settings_are_translated test_what_the_model_cannot_do_is_refused_by_name",
        "test_settings_have_googles_names",
        "test_settings_become_options",
    ),
    "`stop`": (_SETTING,) * 5,
    "`seed`": (_SETTING,) * 5,
    "`top_k`": (_SETTING, f"{_SETTING} test_top_k_is_refused_where_there_is_none", _SETTING, _SETTING, _SETTING),
    "`presence_penalty`, `frequency_penalty`": (_SETTING,) * 5,
    "`top_logprobs`, and the answer's logprobs": (
        f"{_SETTING} test_logprobs_have_the_specifications_shape",
        f"{_SETTING} test_logprobs_have_the_shape_of_the_specification",
        _SETTING,
        f"{_SETTING} test_logprobs_have_the_shape_of_the_specification",
        f"{_SETTING} test_logprobs_have_the_shape_of_the_specification",
    ),
    "`prompt_cache_key`": (
        "test_settings_are_passed_on_under_their_own_names",
        f"{_NO_WORD} test_openais_own_settings_go_to_openai_alone",
        _NO_WORD,
        _NO_WORD,
        _NO_WORD,
    ),
    "`safety_identifier`": (
        "test_settings_are_passed_on_under_their_own_names",
        f"{_NO_WORD} test_openais_own_settings_go_to_openai_alone",
        "test_settings_are_translated",
        _NO_WORD,
        _NO_WORD,
    ),
    "`service_tier`": (
        "test_settings_are_passed_on_under_their_own_names",
        f"{_NO_WORD} test_openais_own_settings_go_to_openai_alone",
        f"{_NO_WORD} test_settings_are_translated",
        f"{_NO_WORD} test_settings_have_googles_names",
        _NO_WORD,
    ),
    "a prefix that stays the same from turn to turn": tuple(
        f"{kit} {own}"
        for kit, own in zip(
            _kit("test_each_request_begins_as_the_one_before"),
            (
                "test_the_request_of_the_next_turn_begins_with_the_bytes_of_the_last",
                "test_the_prefix_of_a_loop_and_of_a_chain_stays_the_same",
                "test_each_turns_request_begins_as_the_one_before_ended",
                "test_the_prefix_of_each_request_is_the_one_before_byte_for_byte",
                "test_the_prefix_of_a_loop_stays_the_same",
            ),
            strict=True,
        )
    ),
    "custom tools, namespaces, `tool_search`, shells, `apply_patch`": (_NATIVE_TOOLS, *(_FUNCTIONS,) * 4),
    "`additional_tools`, and calls of these tools on their way back": (_CODEX,) * 5,
    "a computer, and a shell in a container": (_NATIVE_TOOLS, *(f"{_COMPUTER} {_CONTAINER}",) * 4),
    "the provider's built-in tools": (
        f"{_BUILT_IN} test_built_in_tools_are_handed_on_as_they_are "
        "test_the_progress_of_a_built_in_tool_precedes_its_whole_item",
        _BUILT_IN,
        f"{_BUILT_IN} test_built_in_tools_are_handed_on test_what_a_built_in_tool_did_is_sent_back_in_its_place",
        f"{_BUILT_IN} test_built_in_tools_have_googles_names_and_keep_their_settings",
        _BUILT_IN,
    ),
    "what another provider's built-in tools left": (_FOREIGN,) * 5,
    # --- what an answer holds
    "text, streamed as it comes": tuple(
        f"{cut} {closed}"
        for cut, closed in zip(
            _kit("test_an_answer_cut_at_every_byte_is_the_same"),
            _kit("test_closing_the_stream_closes_the_connection"),
            strict=True,
        )
    ),
    "an empty answer": (_EMPTY,) * 5,
    "`phase` of the answer": (
        "test_phases_and_message_boundaries_are_kept",
        *_kit("test_a_plain_answer_is_text_and_one_finish")[1:],
    ),
    "parallel calls": (
        "test_parallel_calls_may_interleave",
        "test_every_servers_pieces_become_the_calls_that_were_meant",
        "test_calls_may_interleave",
        "test_parallel_calls_have_indices_of_their_own_and_only_the_ids_that_google_gave",
        "test_parallel_calls_come_whole_with_ids_or_without",
    ),
    "reasoning, streamed and sealed": (
        "test_a_reasonings_summary_has_parts_and_its_seal_is_the_last_word",
        "test_reasoning_is_sealed_with_the_name_it_came_under",
        "test_thinking_is_a_summary_on_claude_from_4_on_and_raw_elsewhere",
        "test_thoughts_are_a_summary_of_the_reasoning",
        "test_thinking_is_reasoning_sealed_as_ours",
    ),
    "citations": (
        "test_annotations_come_once_each",
        "test_a_refusal_and_citations_are_told",
        "test_a_search_is_items_of_the_vendors_types_and_a_citation",
        "test_citations_count_characters_where_google_counts_bytes",
        "test_unknown_members_and_empty_lines_are_ignored",
    ),
    "a refusal, as a part of its own": (
        "test_a_refusal_is_no_text",
        "test_a_refusal_and_citations_are_told",
        "test_a_refusal_says_why",
        "test_finish_reasons_are_ours",
        "test_every_done_reason_has_its_finish",
    ),
    "cut off by the limit: `incomplete`, `max_output_tokens`": (
        "test_an_answer_that_breaks_off_says_why_and_stays_open",
        "test_every_finish_reason_has_its_own",
        "test_every_stop_reason_has_its_meaning",
        "test_finish_reasons_are_ours",
        "test_every_done_reason_has_its_finish",
    ),
    "held back by a filter: `incomplete`, `content_filter`": (
        "test_an_answer_that_breaks_off_says_why_and_stays_open",
        "test_every_finish_reason_has_its_own",
        "test_every_stop_reason_has_its_meaning",
        "test_finish_reasons_are_ours test_a_blocked_prompt_is_a_content_filter_with_its_usage",
        "test_every_done_reason_has_its_finish",
    ),
    "a turn that pauses (`pause_turn`) and goes on": (
        "test_an_answer_that_breaks_off_says_why_and_stays_open",
        "test_every_finish_reason_has_its_own",
        "test_every_stop_reason_has_its_meaning test_a_paused_turn_is_handed_back_as_it_stands",
        "test_finish_reasons_are_ours",
        "test_every_done_reason_has_its_finish",
    ),
    "usage: input from a cache": (
        "test_text_comes_as_it_is_spoken_and_once",
        "test_usage_is_counted_as_the_server_means_it",
        "test_everything_in_one_answer",
        "test_text_comes_as_it_streams_and_the_last_counts_are_the_usage",
        "test_text_comes_as_it_is_said_and_usage_counts_what_was_cached",
    ),
    "usage: input written to a cache": (
        "test_text_comes_as_it_is_spoken_and_once",
        "test_usage_is_counted_as_the_server_means_it",
        "test_everything_in_one_answer",
        "test_text_comes_as_it_streams_and_the_last_counts_are_the_usage",
        "test_text_comes_as_it_is_said_and_usage_counts_what_was_cached",
    ),
    "usage: reasoning": (
        "test_text_comes_as_it_is_spoken_and_once",
        "test_usage_is_counted_as_the_server_means_it",
        "test_everything_in_one_answer",
        "test_text_comes_as_it_streams_and_the_last_counts_are_the_usage",
        "test_text_comes_as_it_is_said_and_usage_counts_what_was_cached",
    ),
    "usage that the provider does not report": (_EMPTY,) * 5,
    "an error in the middle of the stream": _kit("test_an_error_in_the_stream_is_an_error"),
    "half an answer is continued after a crash": (
        "test_an_answer_is_kept_nowhere_unless_the_configuration_says_so "
        "test_a_background_answer_is_read_again_from_its_beginning",
        "test_an_answer_is_continued_where_that_is_safe",
        "test_an_answer_goes_on_by_prefill_where_nothing_stands_against_it",
        "test_an_answer_is_continued_only_where_the_configuration_says_so",
        "test_only_plain_answers_are_continued",
    ),
}

TABLE: dict[tuple[str, str], list[str]] = {
    (row, vendor): names.split() for row, cells in ROWS.items() for vendor, names in zip(VENDORS, cells, strict=True)
}
