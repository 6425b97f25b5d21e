"""All kinds of sessions of a campaign."""

from __future__ import annotations

from tests.campaigns.kinds.agents import agents
from tests.campaigns.kinds.code import code_interpreter
from tests.campaigns.kinds.file_search import file_search
from tests.campaigns.kinds.plain import (
    background_poll,
    background_stream,
    large_input,
    not_stored,
    plain_json,
    stream,
)
from tests.campaigns.kinds.programs import program
from tests.campaigns.kinds.schedules import schedule
from tests.campaigns.kinds.steering import steering
from tests.campaigns.kinds.tools import hosted_tools, mcp, wait, web_search
from tests.campaigns.kinds.turns import chain, conversation, websocket
from tests.campaigns.kinds.webhooks import webhook
from tests.campaigns.sessions import Kind

KINDS = {
    "stream": Kind(5, stream),
    "background stream": Kind(2, background_stream),
    "background poll": Kind(2, background_poll),
    "plain JSON": Kind(2, plain_json),
    "not stored": Kind(2, not_stored),
    "large input": Kind(2, large_input),
    "hosted tools": Kind(4, hosted_tools),
    "MCP": Kind(2, mcp),
    "web search": Kind(2, web_search),
    "code interpreter": Kind(2, code_interpreter),
    "program": Kind(2, program),
    "file search": Kind(2, file_search),
    "chain": Kind(1, chain),
    "WebSocket": Kind(2, websocket),
    "conversation": Kind(1, conversation),
    "webhook": Kind(2, webhook),
    "schedule": Kind(1, schedule),
    "steering": Kind(2, steering),
    "wait": Kind(1, wait),
    "agents": Kind(1, agents),
}
