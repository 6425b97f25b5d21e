"""The paths of schedules in the OpenAPI document."""

from __future__ import annotations

from api.openapi.operation import newest_first, operation, parameter
from api.openapi.schemas import ref
from api.schedules.bodies import CreateSchedule, UpdateSchedule
from open_responses.json_types import JsonObject


def schedule_paths() -> JsonObject:
    schedule_id, schedule = parameter("schedule_id", "path"), ref("Schedule")
    acts = {
        "pause": ("pauseSchedule", "Pause a schedule", 200),
        "resume": ("resumeSchedule", "Resume a schedule", 200),
        "trigger": ("triggerSchedule", "Run a schedule's request now", 202),
    }
    return {
        "/v1/schedules": {
            "get": operation(
                "listSchedules",
                "List the schedules of your tenant, newest first (an extension)",
                {200: ("", ref("SchedulePage"), {})},
                parameters=newest_first(),
                errors=(400, 404),
            ),
            "post": operation(
                "createSchedule",
                "Create a schedule: a request that runs at a time or on a cron expression (an extension)",
                {200: ("", schedule, {})},
                request=CreateSchedule,
                errors=(404, 409, 429),
            ),
        },
        "/v1/schedules/{schedule_id}": {
            "get": operation(
                "getSchedule",
                "Get a schedule (an extension)",
                {200: ("", schedule, {})},
                parameters=[schedule_id],
                errors=(404,),
            ),
            "post": operation(
                "updateSchedule",
                "Change a schedule: what is not given stays as it is (an extension)",
                {200: ("", schedule, {})},
                parameters=[schedule_id],
                request=UpdateSchedule,
                errors=(404, 409, 429),
            ),
            "delete": operation(
                "deleteSchedule",
                "Delete a schedule. Its responses stay (an extension)",
                {200: ("", ref("DeletedSchedule"), {})},
                parameters=[schedule_id],
                errors=(404,),
            ),
        },
        **{
            f"/v1/schedules/{{schedule_id}}/{act}": {
                "post": operation(
                    name,
                    f"{summary} (an extension)",
                    {status: ("", schedule, {})},
                    parameters=[schedule_id],
                    errors=(404,),
                )
            }
            for act, (name, summary, status) in acts.items()
        },
        "/v1/schedules/{schedule_id}/runs": {
            "get": operation(
                "listScheduleRuns",
                "List the runs of a schedule with their responses, newest first (an extension)",
                {200: ("", ref("ScheduleRunPage"), {})},
                parameters=[schedule_id, *newest_first()],
                errors=(400, 404),
            )
        },
    }
