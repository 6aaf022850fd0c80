// The HttpAgent of AG-UI, with its verifier and its schemas.

import assert from "node:assert/strict";
import { library, open, person, run, until, url } from "./support.mjs";
import { blocks, body, inPage } from "./documentation.mjs";

const { HttpAgent } = library("@ag-ui/client");
const { EventSchemas } = library("@ag-ui/core/schemas");

const user = (content) => ({ id: crypto.randomUUID(), role: "user", content });
const agentFor = (headers, text) => new HttpAgent({ url: `${url}/api/agui`, threadId: crypto.randomUUID(), headers, initialMessages: [user(text)] });

/** Runs an agent. Returns its events and its result. */
async function runAgent(agent, parameters) {
  const events = [];
  const result = await agent.runAgent(parameters, { onEvent: ({ event }) => void events.push(event) });
  return { events, result };
}

const custom = (events, name) => events.filter((event) => event.type === "CUSTOM" && event.name === name).map((event) => event.value);

await run("ag-ui", {
  async "a run completes with files"() {
    const headers = await person();
    const agent = agentFor(headers, "page one");
    const { events, result } = await runAgent(agent);
    for (const event of events) EventSchemas.parse(event);
    assert.deepEqual([events[0].type, events[0].threadId, events.at(-1).type], ["RUN_STARTED", agent.threadId, "RUN_FINISHED"]);
    const { outcome, usage } = events.at(-1);
    assert.deepEqual([outcome.type, usage[0].provider, usage[0].outputTokens], ["success", "anthropic", 40]);
    assert.equal(result.result.outcome, "completed");
    const texts = agent.messages.filter((message) => message.role === "assistant" && message.content).map((message) => message.content);
    assert.deepEqual(texts, ["I write a page.", "Done."]);
    const [call] = agent.messages.flatMap((message) => message.toolCalls ?? []);
    assert.deepEqual([call.function.name, JSON.parse(call.function.arguments)], ["write_file", { path: "index.html" }]);
    assert.equal(agent.messages.find((message) => message.role === "tool").toolCallId, call.id);
    assert.equal(agent.messages.find((message) => message.role === "reasoning").content, "A page will do.");
    assert.equal(custom(events, "file-delta").map((value) => value.delta).join(""), "<h1>page one</h1>");
    assert.equal(custom(events, "file").at(-1).status, "applied");
    assert.equal(custom(events, "revision")[0].revision, result.result.revision);

    agent.addMessage(user("page two"));
    const second = await runAgent(agent);
    assert.equal(second.result.result.outcome, "completed");
    assert.equal(new Set(agent.messages.map((message) => message.id)).size, agent.messages.length, "ids are unique in the thread");
  },

  async "the run of docs/chat-clients.md works as written"() {
    const code = (await blocks("js")).find((code) => code.includes("HttpAgent"));
    const headers = await person();
    class InPage extends HttpAgent {
      constructor(config) {
        super({ ...config, fetch: inPage(headers) });
      }
    }
    const events = [];
    const AsyncFunction = (async () => {}).constructor;
    await new AsyncFunction("HttpAgent", "console", body(code))(InPage, { log: (event) => events.push(event) });
    assert.deepEqual([events[0].type, events[0].threadId, events.at(-1).type], ["RUN_STARTED", "my-first-app", "RUN_FINISHED"]);
    assert.equal(events.at(-1).outcome.type, "success");
  },

  async "the same run is the same turn"() {
    const headers = await person();
    const runId = crypto.randomUUID();
    const agent = agentFor(headers, "page one");
    const second = agent.clone();
    const turn = ({ events }) => custom(events, "turn")[0].turnId;
    assert.equal(turn(await runAgent(agent, { runId })), turn(await runAgent(second, { runId })));
    const other = agentFor(headers, "page two");
    other.threadId = agent.threadId;
    await assert.rejects(runAgent(other, { runId }), (error) => error.status === 422 && /KEY_REUSED/.test(error.message));
  },

  async "a stopped run is cancelled"() {
    const headers = await person();
    const gate = crypto.randomUUID();
    const agent = agentFor(headers, `hold ${gate}`);
    let hasStarted = false;
    const events = [];
    const running = agent.runAgent({}, { onEvent: ({ event }) => void (events.push(event), (hasStarted ||= event.type === "TEXT_MESSAGE_CONTENT")) });
    await until("the answer starts", () => hasStarted);
    const stop = await fetch(`${url}/api/chat/${agent.threadId}/stop`, { method: "POST", headers });
    assert.equal(stop.status, 200);
    await running;
    assert.equal(events.at(-1).outcome.type, "cancelled");
    open(gate);
  },

  async "failed and refused runs"() {
    const headers = await person();
    const failing = agentFor(headers, "fail");
    const events = [];
    await failing.runAgent({}, { onEvent: ({ event }) => void events.push(event) }).catch(() => {});
    assert.deepEqual([events.at(-1).type, events.at(-1).code], ["RUN_ERROR", "PROVIDER_REFUSED"]);
    const tools = [{ name: "ask", description: "asks", parameters: {} }];
    await assert.rejects(runAgent(agentFor(headers, "page one"), { tools }), (error) => error.status === 422 && /TOOLS_UNSUPPORTED/.test(error.message));
  },
});
