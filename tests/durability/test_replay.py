"""Histories that were recorded from running responses replay with today's workflow code."""

from __future__ import annotations

from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner

from open_responses.io.temporal.codec import DATA_CONVERTER
from tests.support.record_history import HISTORIES
from workflows.api_keys import ApiKeysWorkflow
from workflows.approval import ApprovalWorkflow
from workflows.conversation import ConversationWorkflow
from workflows.ingestion import IngestionWorkflow
from workflows.response import ResponseWorkflow
from workflows.scheduled_response import ScheduledResponseWorkflow
from workflows.webhook import WebhookWorkflow

RECORDED = sorted(HISTORIES.glob("*.json"))


def test_histories_are_there() -> None:
    assert {path.stem for path in RECORDED} >= {
        "completed",
        "worker_killed",
        "cancelled",
        "failed",
        "hosted_tools",
        "killed_in_a_tool",
        "mcp",
        "picture_of_an_mcp_tool",
        "live_approval",
        "halted",
        "broke_off_at_calls",
        "cut_off_at_calls",
        "falls_back",
        "conversation",
        "ingestion",
        "turn_in_a_conversation",
        "operator_cancels_a_sample",
        "operator_cancels_tools",
        "operator_cancels_an_approval",
        "operator_cancels_a_conversation",
        "repeated_end",
        "repeated_cancellation",
        "repeated_progress",
        "repeated_approval",
        "repeated_lists",
        "repeated_approval_before_a_result",
        "repeated_with_other_events",
        "repeated_end_of_a_cut_off_sample",
        "broke_twice_in_one_place",
        "unknown_outcome_of_a_tool",
        "cancelled_in_a_sample",
        "deadline_in_a_sample",
        "deadline_not_reached",
        "hands_over_to_a_new_run",
        "continues_in_a_new_run",
        "provider_down_falls_back",
        "in_a_chain",
        "in_the_background_in_a_conversation",
        "not_stored",
        "response_of_a_schedule",
        "run_of_a_schedule",
        "run_of_a_schedule_cancelled_by_an_earlier_version",
        "run_of_a_schedule_cancelled_in_a_look",
        "run_of_a_schedule_cancelled_in_a_look_by_an_earlier_version",
        "run_of_a_schedule_cancelled_in_its_start",
        "run_of_a_schedule_given_up_by_an_earlier_version",
        "run_of_a_schedule_given_up_in_its_start",
        "webhook_delivery",
        "webhook_of_a_request",
        "webhook_of_an_approval",
        "takes_an_approval",
        "client_tools_beside_a_hosted_tool",
        "approval_with_its_call",
        "approvals_without_markers_of_patches",
        "canceled_run",
        "canceled_run_without_a_timer",
        "failed_run",
        "provider_trouble_is_shown",
        "run_that_an_operator_cancels",
        "search_attributes_of_a_fallback",
        "search_attributes_of_an_approval",
        "approval_without_its_call",
        "live_answers_are_claimed_together",
        "repeated_claim_of_a_live_answer",
        "live_answer_to_a_used_approval",
        "live_claim_that_a_cancel_ends",
        "claim_at_the_start_that_a_deadline_ends",
        "repeated_claim_at_the_start",
        "usage_in_the_memo",
        "usage_with_the_account_of_its_key",
        "api_keys",
        "program_that_calls_tools",
        "program_hands_over_to_a_new_run",
        "program_goes_on_in_a_new_run",
        "program_of_an_earlier_version_whose_call_needs_approval",
        "program_that_takes_an_approval",
        "program_that_waits_a_second_time",
        "program_that_waits_for_a_live_approval",
        "program_that_waits_for_the_client",
        "steered",
        "waits_for_a_time",
        "wait_that_a_message_ends",
        "wait_that_a_cancel_ends",
        "calls_an_agent",
        "calls_an_agent_that_fails",
        "cancelled_with_its_agent",
        "agent_of_a_cancelled_response",
    }


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
async def test_a_recorded_history_replays(path: Path) -> None:
    replayer = Replayer(
        workflows=[
            ResponseWorkflow,
            ConversationWorkflow,
            IngestionWorkflow,
            ApprovalWorkflow,
            ApiKeysWorkflow,
            WebhookWorkflow,
            ScheduledResponseWorkflow,
        ],
        data_converter=DATA_CONVERTER,
        workflow_runner=UnsandboxedWorkflowRunner(),
    )
    await replayer.replay_workflow(WorkflowHistory.from_json(path.stem, path.read_text()))
