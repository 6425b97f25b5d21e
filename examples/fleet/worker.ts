// A fleet of tools in another language: a Temporal worker with activities, and nothing of open_responses.
//
//   npm ci && TEMPORAL_ADDRESS=127.0.0.1:7233 npm start
//
// The activity's name is the tool's. Its one argument, and what it may return, are in docs/tools.md.

import { ApplicationFailure, Context } from '@temporalio/activity';
import { NativeConnection, Worker } from '@temporalio/worker';

interface ToolCall<Arguments> {
  tool: string;
  arguments: Arguments;
  context: {
    response_id: string;
    call_id: string;
    idempotency_key: string; // the same when the call is run again
    tenant: string;
    metadata: Record<string, string>;
  };
}

async function word_count(call: ToolCall<{ text?: unknown }>) {
  const { text } = call.arguments;
  if (typeof text !== 'string') {
    // The model wrote the arguments. It reads this message, and may try again.
    throw ApplicationFailure.nonRetryable('text: expected a string');
  }
  const counts = new Map<string, number>();
  for (const word of text.toLowerCase().match(/\p{L}+/gu) ?? []) {
    counts.set(word, (counts.get(word) ?? 0) + 1);
  }
  Context.current().heartbeat('counted');
  const top = [...counts].sort((a, b) => b[1] - a[1]).slice(0, 3);
  return { words: [...counts.values()].reduce((a, b) => a + b, 0), top, key: call.context.idempotency_key };
}

const connection = await NativeConnection.connect({ address: process.env.TEMPORAL_ADDRESS ?? '127.0.0.1:7233' });
const worker = await Worker.create({
  connection,
  namespace: process.env.TEMPORAL_NAMESPACE ?? 'default',
  taskQueue: 'typescript',
  activities: { word_count },
});
await worker.run();
