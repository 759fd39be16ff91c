// What OpenAI's own Node client makes of a server: `node client.mjs BASE_URL` prints one JSON object.
// The test beside it says what must be in it.

import OpenAI from "openai";

const client = new OpenAI({ baseURL: process.argv[2], apiKey: "none", maxRetries: 0, timeout: 60_000 });
const model = "toy";
const messages = [{ role: "user", content: "How is the weather in Zürich?" }];
const parameters = { type: "object", properties: { city: { type: "string" }, days: { type: "integer" } } };
const tools = ["weather", "clock"].map((name) => ({ type: "function", function: { name, parameters } }));
const flatTools = ["weather", "clock"].map((name) => ({ type: "function", name, parameters, strict: null }));

async function chatInOnePiece() {
  const { choices, usage } = await client.chat.completions.create({ model, messages });
  return { content: choices[0].message.content, finishReason: choices[0].finish_reason, usage };
}

async function chatStreamed() {
  const stream = await client.chat.completions.create({
    model,
    messages,
    stream: true,
    stream_options: { include_usage: true },
  });
  let content = "";
  let numChunks = 0;
  let usage = null;
  for await (const chunk of stream) {
    content += chunk.choices[0]?.delta.content ?? "";
    numChunks += 1;
    usage = chunk.usage ?? usage;
  }
  return { content, numChunks, usage };
}

async function toolsStreamed() {
  const stream = client.chat.completions.stream({ model, messages, tools });
  let content = "";
  const calls = [];
  for await (const chunk of stream) {
    content += chunk.choices[0].delta.content ?? "";
    for (const call of chunk.choices[0].delta.tool_calls ?? []) {
      calls[call.index] ??= { name: call.function.name, arguments: "" };
      calls[call.index].arguments += call.function.arguments;
    }
  }
  const final = await stream.finalChatCompletion();
  return {
    content,
    calls,
    finalCalls: final.choices[0].message.tool_calls.map((call) => call.function),
    finishReason: final.choices[0].finish_reason,
  };
}

async function responseStreamed() {
  const stream = client.responses.stream({ model, input: "Weather?", tools: flatTools });
  const types = [];
  let text = "";
  for await (const event of stream) {
    types.push(event.type);
    if (event.type === "response.output_text.delta") text += event.delta;
  }
  const final = await stream.finalResponse();
  const calls = final.output.filter((item) => item.type === "function_call");
  return {
    first: types[0],
    last: types.at(-1),
    text,
    finalText: final.output_text,
    calls: calls.map((call) => ({ name: call.name, arguments: call.arguments })),
  };
}

async function errors() {
  const found = {};
  try {
    await client.chat.completions.create({ model: "other", messages });
  } catch (error) {
    found.model = [error instanceof OpenAI.NotFoundError, error.code];
  }
  try {
    await client.responses.create({ model, input: "Hi", store: true });
  } catch (error) {
    found.store = [error instanceof OpenAI.BadRequestError, error.param];
  }
  return found;
}

async function abandonedStream() {
  const stream = await client.chat.completions.create({ model, messages, stream: true });
  for await (const _ of stream) break;
  stream.controller.abort();
  return true;
}

const report = {};
for (const probe of [chatInOnePiece, chatStreamed, toolsStreamed, responseStreamed, errors, abandonedStream]) {
  report[probe.name] = await probe();
}
report.models = (await client.models.list()).data.map((entry) => entry.id);
console.log(JSON.stringify(report));
