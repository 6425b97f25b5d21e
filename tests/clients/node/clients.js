// The clients that people use from Node: `openai`, and the AI SDK with its Open Responses and its OpenAI provider, against
// a running server.
//
//   node clients.js http://127.0.0.1:8080/v1     prints one JSON object: what each of them made of the answers
//
// tests/clients/test_node.py has scripted the model, and judges.

import { createOpenAI } from '@ai-sdk/openai'
import { createOpenResponses } from '@ai-sdk/open-responses'
import { generateObject, generateText, stepCountIs, streamText, tool } from 'ai'
import OpenAI, { APIError } from 'openai'
import { z } from 'zod'

const baseURL = process.argv[2]
const client = new OpenAI({ baseURL, apiKey: 'none', maxRetries: 0 })
const providers = {
  aiSdk: createOpenResponses({ name: 'here', url: `${baseURL}/responses`, apiKey: 'none' }),
  aiSdkOpenAI: createOpenAI({ baseURL, apiKey: 'none' }).responses,
}

const weather = {
  type: 'function',
  name: 'node_weather',
  parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'], additionalProperties: false },
  strict: true,
}

async function raised(work) {
  try {
    await work()
  } catch (error) {
    return {
      name: error.constructor.name,
      isApiError: error instanceof APIError,
      status: error.status ?? error.statusCode,
      code: error.code ?? JSON.parse(error.responseBody ?? '{}').error?.code,
      message: error.message,
    }
  }
  return null
}

async function collected(stream, pick) {
  const kept = []
  for await (const part of stream) {
    const found = pick(part)
    if (found !== undefined) kept.push(found)
  }
  return kept
}

const openai = {
  async text() {
    const response = await client.responses.create({ model: 'fake', input: 'node text' })
    const stored = await client.responses.retrieve(response.id)
    return { text: response.output_text, stored: stored.output_text, requestId: response._request_id }
  },
  async stream() {
    const events = await collected(
      await client.responses.create({ model: 'fake', input: 'node text', stream: true }), (event) => event)
    const id = events[0].response.id
    const rest = await collected(
      await client.responses.retrieve(id, { stream: true, starting_after: 5 }), (event) => event.sequence_number)
    return { events, rest }
  },
  async helper() {
    const stream = client.responses.stream({ model: 'fake', input: 'node text' })
    const deltas = []
    stream.on('response.output_text.delta', (event) => deltas.push(event.delta))
    const final = await stream.finalResponse()
    return { deltas: deltas.join(''), text: final.output_text }
  },
  async tools() {
    const first = await client.responses.create({ model: 'fake', input: 'node tools', tools: [weather] })
    const call = first.output.find((item) => item.type === 'function_call')
    const output = { type: 'function_call_output', call_id: call.call_id, output: `sunny in ${JSON.parse(call.arguments).city}` }
    const second = await client.responses.create({
      model: 'fake', previous_response_id: first.id, input: [output], tools: [weather],
    })
    return { name: call.name, text: second.output_text }
  },
  async background() {
    let job = await client.responses.create({ model: 'fake', input: 'node text', background: true })
    const first = job.status
    for (let i = 0; i < 400 && ['queued', 'in_progress'].includes(job.status); i++) {
      await new Promise((resolve) => setTimeout(resolve, 25))
      job = await client.responses.retrieve(job.id)
    }
    return { first, status: job.status, text: job.output_text }
  },
  async errors() {
    return {
      invalid: await raised(() => client.responses.create({ model: 'fake', input: 'x', temperature: 9 })),
      model: await raised(() => client.responses.create({ model: 'nobody', input: 'x' })),
      unknown: await raised(() => client.responses.retrieve('resp_' + '0'.repeat(48))),
      failed: await raised(async () => collected(
        await client.responses.create({ model: 'fake', input: 'node fails', stream: true }), () => undefined)),
    }
  },
}

const aiSdk = (modelOf, model = modelOf('fake')) => ({
  async text() {
    const result = await generateText({ model, system: 'Be brief.', prompt: 'node text' })
    return { text: result.text, finish: result.finishReason, usage: result.usage.totalTokens }
  },
  async stream() {
    const result = streamText({ model, prompt: 'node text' })
    const pieces = await collected(result.textStream, (piece) => piece)
    return { pieces: pieces.length, text: pieces.join(''), finish: await result.finishReason }
  },
  async tools() {
    const asked = []
    const result = await generateText({
      model,
      prompt: 'node tools',
      stopWhen: stepCountIs(3),
      tools: {
        node_weather: tool({
          inputSchema: z.object({ city: z.string() }),
          execute: async ({ city }) => { asked.push(city); return `sunny in ${city}` },
        }),
      },
    })
    return { asked, text: result.text, steps: result.steps.length }
  },
  async streamedTools() {
    const result = streamText({
      model,
      prompt: 'node tools',
      tools: { node_weather: tool({ inputSchema: z.object({ city: z.string() }) }) },
    })
    const calls = await collected(result.fullStream, (part) => (part.type === 'tool-call' ? part.input : undefined))
    return { calls, finish: await result.finishReason }
  },
  async object() {
    const result = await generateObject({
      model, prompt: 'node object', schema: z.object({ city: z.string(), people: z.number() }),
    })
    return result.object
  },
  async errors() {
    return {
      model: await raised(() => generateText({ model: modelOf('nobody'), prompt: 'x', maxRetries: 0 })),
      invalid: await raised(() => generateText({ model, prompt: 'x', maxOutputTokens: 1, maxRetries: 0 })),
      // One provider has a part for it, the other ends with it.
      streamed: await collected(
        streamText({ model, prompt: 'node fails', maxRetries: 0, onError: () => undefined }).fullStream,
        (part) => (part.type === 'error' || part.finishReason === 'error' ? 'error' : undefined)),
    }
  },
})

const found = {}
const suites = { openai }
for (const [name, modelOf] of Object.entries(providers)) suites[name] = aiSdk(modelOf)
for (const [name, suite] of Object.entries(suites)) {
  found[name] = {}
  for (const [test, run] of Object.entries(suite)) {
    try {
      found[name][test] = await run()
    } catch (error) {
      found[name][test] = { thrown: String(error?.stack ?? error) }
    }
  }
}
console.log(JSON.stringify(found))
