// An agent with one tool, `population`, for each client in Node: streamed, and judged by tests/clients/test_survival.py.
//
//   node agents.js http://127.0.0.1:8080/openai/v1 CLIENT MODEL PROMPT [MCP_SERVER TOKEN]
//
// prints one JSON object: the tool's runs, the text and the reasoning as they were streamed, and the final text.

import { createOpenAI } from '@ai-sdk/openai'
import { createOpenResponses } from '@ai-sdk/open-responses'
import { Agent, OpenAIProvider, Runner, setTracingDisabled, tool as agentTool } from '@openai/agents'
import { HumanMessage, SystemMessage, ToolMessage } from '@langchain/core/messages'
import { ChatOpenAI } from '@langchain/openai'
import { generateText, stepCountIs, streamText, tool } from 'ai'
import OpenAI from 'openai'
import { z } from 'zod'

const [baseURL, name, model, prompt, serverUrl, authorization] = process.argv.slice(2)
const INSTRUCTIONS = 'Count people.'
const POPULATIONS = { Oslo: 700_000 }
const cities = z.object({ city: z.string() })
const seen = { asked: [], deltas: '', reasoning: '', text: '' }

function population({ city }) {
  seen.asked.push(city)
  return String(POPULATIONS[city])
}

async function openai() {
  const client = new OpenAI({ baseURL, apiKey: 'none', maxRetries: 0 })
  const offered = {
    type: 'function',
    name: 'population',
    parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'], additionalProperties: false },
    strict: true,
  }
  let turn = { input: prompt }
  for (;;) {
    const stream = client.responses.stream({ model, instructions: INSTRUCTIONS, tools: [offered], ...turn })
    stream.on('response.output_text.delta', (event) => { seen.deltas += event.delta })
    const final = await stream.finalResponse()
    const calls = final.output.filter((item) => item.type === 'function_call')
    if (calls.length === 0) {
      seen.text = final.output_text
      return
    }
    turn = {
      previous_response_id: final.id,
      input: calls.map((call) => (
        { type: 'function_call_output', call_id: call.call_id, output: population(JSON.parse(call.arguments)) })),
    }
  }
}

async function openaiAgents({ useResponsesWebSocket = false } = {}) {
  setTracingDisabled(true)
  const provider = new OpenAIProvider({ baseURL, apiKey: 'none', useResponses: true, useResponsesWebSocket })
  const agent = new Agent({
    name: 'counter',
    instructions: INSTRUCTIONS,
    model,
    tools: [agentTool({ name: 'population', description: 'How many people live there.', parameters: cities, execute: population })],
  })
  const running = await new Runner({ modelProvider: provider, tracingDisabled: true }).run(agent, prompt, { stream: true })
  for await (const event of running) {
    if (event.type === 'raw_model_stream_event' && event.data.type === 'output_text_delta') seen.deltas += event.data.delta
  }
  await running.completed
  seen.text = running.finalOutput
  await provider.close()
}

async function aiSdk(provided, providerOptions) {
  const result = streamText({
    model: provided,
    system: INSTRUCTIONS,
    prompt,
    stopWhen: stepCountIs(3),
    maxRetries: 0,
    providerOptions,
    tools: { population: tool({ description: 'How many people live there.', inputSchema: cities, execute: population }) },
  })
  for await (const part of result.fullStream) {
    if (part.type === 'text-delta') seen.deltas += part.text
    if (part.type === 'reasoning-delta') seen.reasoning += part.text
    if (part.type === 'error') throw part.error
  }
  seen.text = await result.text
}

// What LibreChat asks with.
async function langchain() {
  const chat = new ChatOpenAI({ model, apiKey: 'none', useResponsesApi: true, maxRetries: 0, configuration: { baseURL } })
    .bindTools([{ name: 'population', description: 'How many people live there.', schema: cities }])
  const messages = [new SystemMessage(INSTRUCTIONS), new HumanMessage(prompt)]
  for (;;) {
    let whole
    for await (const piece of await chat.stream(messages)) {
      seen.deltas += piece.text
      whole = whole === undefined ? piece : whole.concat(piece)
    }
    if (!whole.tool_calls?.length) {
      seen.text = whole.text
      return
    }
    messages.push(whole)
    for (const call of whole.tool_calls) {
      messages.push(new ToolMessage({ content: population(call.args), tool_call_id: call.id }))
    }
  }
}

// A tool that the server runs: not streamed, since the AI SDK checks each item of a whole response.
async function aiSdkMcp() {
  const provider = createOpenAI({ baseURL, apiKey: 'none' })
  const calculator = provider.tools.mcp({ serverLabel: 'calculator', serverUrl, authorization, requireApproval: 'never' })
  const result = await generateText({ model: provider.responses(model), prompt, maxRetries: 0, tools: { calculator } })
  seen.asked = result.toolResults.map((one) => one.output)
  seen.text = result.text
}

const clients = {
  openai,
  langchain,
  aiSdkMcp,
  openaiAgents,
  openaiAgentsWebSocket: () => openaiAgents({ useResponsesWebSocket: true }),
  aiSdk: () => aiSdk(
    createOpenResponses({ name: 'here', url: `${baseURL}/responses`, apiKey: 'none' })(model),
    { here: { reasoningEffort: 'low' } }),
  aiSdkOpenAI: () => aiSdk(
    createOpenAI({ baseURL, apiKey: 'none' }).responses(model),
    { openai: { reasoningEffort: 'low', reasoningSummary: 'auto', forceReasoning: true } }),
}

await clients[name]()
console.log(JSON.stringify(seen))
process.exit(0)
