// The chat and the transport of the AI SDK without React. The argument selects the major version: `chat.mjs ai7`.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { get, library, open, person, run, startNetwork, until, url } from "./support.mjs";
import { browserFetch, documentedChat, documentedLoad } from "./documentation.mjs";

const major = process.argv[2];
const { AbstractChat, DefaultChatTransport, generateId, lastAssistantMessageIsCompleteWithToolCalls, validateUIMessages } = library(major);
const level = major.slice(2);

/** The state of a chat, which the SDK keeps in React or Vue. */
class State {
  status = "ready";
  error = undefined;
  constructor(messages) {
    this.messages = messages;
  }
  pushMessage = (message) => void (this.messages = [...this.messages, message]);
  popMessage = () => void (this.messages = this.messages.slice(0, -1));
  replaceMessage = (index, message) => void (this.messages = this.messages.with(index, structuredClone(message)));
  snapshot = (thing) => structuredClone(thing);
}

class Chat extends AbstractChat {
  posts = 0;
  data = [];
  finishes = [];
  constructor({ id, messages = [], headers, at = url, answers = fetch, prepareSendMessagesRequest, transport, ...options }) {
    const counted = (...args) => {
      if (args[1]?.method === "POST") this.posts += 1;
      return answers(...args);
    };
    transport ??= new DefaultChatTransport({
      api: `${at}/api/chat`,
      headers: { ...headers, "x-backlot-ui-stream-level": level },
      fetch: counted,
      prepareSendMessagesRequest,
    });
    const onData = (part) => this.data.push(part);
    const onFinish = (finish) => this.finishes.push(finish);
    super({ id, transport, state: new State(messages), onData, onFinish, onError: () => {}, ...options });
  }
  get answer() {
    return this.messages.findLast((message) => message.role === "assistant");
  }
  get text() {
    return textOf(this.answer);
  }
  get problem() {
    return JSON.parse(this.error.message);
  }
}

const textOf = (message) => (message?.parts ?? []).filter((part) => part.type === "text").map((part) => part.text).join("");
/** A replacement of the hook: a chat that resumes a running turn. */
function useChat({ id, messages, transport, resume }) {
  const chat = new Chat({ id, messages, transport });
  const resumed = resume ? chat.resumeStream() : undefined;
  return Object.assign(chat, { resumed });
}
const roles = (chat) => chat.messages.map((message) => message.role).join(" ");
/** The relevant properties of a message. */
const shape = (message) => message.parts.map(({ type, text, state, data, input, output }) => ({ type, text, state, data, input, output }));
const one = async (more = {}) => new Chat({ id: generateId(), headers: await person(), ...more });

/** A chat whose turn waits in the middle of its answer. */
async function heldChat(kind = "hold", more = {}) {
  const gate = crypto.randomUUID();
  const headers = await person();
  const chat = new Chat({ id: generateId(), headers, ...more });
  const sent = chat.sendMessage({ text: `${kind} ${gate}` });
  const hasStarted = {
    hold: () => chat.text,
    "hold-tool": () => chat.answer?.parts.some((part) => part.type === "data-file"),
    "hold-later": () => chat.text.length > "I write a page.".length,
  };
  await until("the answer starts", hasStarted[kind]);
  return { chat, headers, sent, gate };
}

const stored = async (chat, headers) => {
  const { projectId } = chat.answer.metadata;
  return (await get(headers, `/api/projects/${projectId}/messages?order=MESSAGE_ORDER_OLDEST_FIRST`)).messages;
};

await run(major, {
  async "a message is answered with files"() {
    const chat = await one({ sendAutomaticallyWhen: lastAssistantMessageIsCompleteWithToolCalls });
    await chat.sendMessage({ text: "page one" });
    assert.equal(chat.status, "ready", chat.error?.message);
    assert.equal(roles(chat), "user assistant");
    const { id, metadata, parts } = chat.answer;
    assert.equal(id, metadata.turnId);
    assert.deepEqual([metadata.outcome, metadata.finishReason, metadata.usage.outputTokens], ["completed", "stop", 40]);
    const of = (type) => parts.filter((part) => part.type === type);
    assert.deepEqual([of("step-start").length, textOf(chat.answer)], [2, "I write a page.Done."]);
    assert.equal(of("reasoning")[0].text, "A page will do.");
    const [call] = of("tool-write_file");
    assert.deepEqual([call.state, call.input, call.providerExecuted], ["output-available", { path: "index.html" }, true]);
    assert.deepEqual(of("data-file").map((part) => [part.id, part.data.op, part.data.status]), [["index.html", "write", "applied"]]);
    assert.equal(of("data-revision")[0].data.revision, metadata.revision);
    assert.ok(parts.every((part) => part.state === undefined || ["done", "output-available"].includes(part.state)), JSON.stringify(parts));
    const content = chat.data.filter((part) => part.type === "data-file-delta").map((part) => part.data.delta);
    assert.equal(content.join(""), "<h1>page one</h1>");
    assert.equal(chat.posts, 1, "the client does not answer tools that run on the server");
    if (level > 5) assert.equal(chat.finishes[0].finishReason, "stop");
    await chat.sendMessage({ text: "page two" });
    assert.deepEqual([roles(chat), chat.posts], ["user assistant user assistant", 2]);
  },

  async "a reloaded page resumes after the user's message"() {
    const { chat, headers, sent, gate } = await heldChat();
    const again = new Chat({ id: chat.id, headers, messages: structuredClone(chat.messages.slice(0, 1)) });
    const resumed = again.resumeStream();
    await until("the received text is shown", () => again.text === chat.text);
    assert.equal(again.status, "streaming");
    open(gate);
    await Promise.all([sent, resumed]);
    assert.deepEqual([again.status, roles(again), again.text], ["ready", "user assistant", "This takes a while, but then it is done."]);
    assert.deepEqual([again.answer.id, shape(again.answer)], [chat.answer.id, shape(chat.answer)]);
    assert.deepEqual(again.answer.metadata, chat.answer.metadata);
  },

  async "a resume within an answer duplicates nothing"() {
    for (const kind of ["hold", "hold-tool"]) {
      const { chat, headers, sent, gate } = await heldChat(kind);
      const again = new Chat({ id: chat.id, headers, messages: structuredClone(chat.messages) });
      const resumed = again.resumeStream();
      await until("the stream starts", () => again.status === "streaming");
      open(gate);
      await Promise.all([sent, resumed]);
      assert.deepEqual([again.status, roles(again)], ["ready", "user assistant"], kind);
      assert.deepEqual(shape(again.answer), shape(chat.answer), kind);
    }
  },

  async "nothing to resume"() {
    const fresh = await one();
    await fresh.resumeStream();
    assert.deepEqual([fresh.status, fresh.messages], ["ready", []]);
    const chat = await one();
    await chat.sendMessage({ text: "page one" });
    const before = structuredClone(chat.messages);
    await chat.resumeStream();
    assert.deepEqual([chat.status, chat.error, chat.messages], ["ready", undefined, before]);
  },

  async "a second message during a turn is refused with the id of the turn"() {
    const { chat, headers, sent, gate } = await heldChat();
    const other = new Chat({ id: chat.id, headers });
    await other.sendMessage({ text: "page two" });
    assert.deepEqual([other.status, other.problem.status, other.problem.reason], ["error", 409, "TURN_ACTIVE"]);
    assert.equal(other.problem.metadata.turn_id, chat.answer.id);
    open(gate);
    await sent;
    assert.equal(chat.status, "ready");
    // A message that did not start a turn replaces no other message.
    await other.regenerate();
    assert.deepEqual([other.status, other.text], ["ready", "I write a page.Done."]);
    assert.deepEqual((await stored(other, headers)).map((message) => message.role), Array(2).fill(["MESSAGE_ROLE_USER", "MESSAGE_ROLE_ASSISTANT"]).flat());
  },

  async "too many streams are refused"() {
    const headers = await person();
    const gate = crypto.randomUUID();
    const many = Array.from({ length: 3 }, () => new Chat({ id: generateId(), headers }));
    const sent = many.map((chat) => chat.sendMessage({ text: `hold ${gate}` }));
    await until("all answers start", () => many.every((chat) => chat.text));
    const over = new Chat({ id: generateId(), headers });
    await over.sendMessage({ text: "page one" });
    assert.deepEqual([over.status, over.problem.status, over.problem["violated-policies"]], ["error", 429, ["streams"]]);
    open(gate);
    await Promise.all(sent);
    await over.regenerate();
    assert.deepEqual([over.status, over.text], ["ready", "I write a page.Done."]);
  },

  async "a cut connection is an error, and a resume continues"() {
    const network = await startNetwork();
    for (const kind of ["hold", "hold-tool"]) {
      const { chat, sent, gate } = await heldChat(kind, { at: network.url });
      network.cut();
      await sent;
      assert.equal(chat.status, "error", "a cut connection is an error");
      assert.ok(chat.error instanceof TypeError, chat.error);
      const resumed = chat.resumeStream();
      await until("the resumed stream starts", () => chat.status === "streaming");
      open(gate);
      await resumed;
      assert.deepEqual([chat.status, roles(chat), chat.answer.metadata.outcome], ["ready", "user assistant", "completed"], chat.error?.message);
      const whole = kind === "hold" ? "This takes a while, but then it is done." : "Done.";
      assert.equal(chat.text, whole);
      assert.equal(chat.answer.parts.filter((part) => part.type === "tool-write_file").length, kind === "hold" ? 0 : 1);
    }
    network.close();
  },

  async "a cut connection in a browser is an error, and a resume duplicates nothing"() {
    const { fetchAnew } = await documentedChat({ DefaultChatTransport, useChat, level });
    // The wrapper is needed only for version 5 and must not affect the others.
    for (const wrap of level === "5" ? [fetchAnew] : [fetchAnew, (fetch) => fetch]) {
      for (const kind of ["hold", "hold-tool", "hold-later"]) {
        const network = await startNetwork();
        const { chat, sent, gate } = await heldChat(kind, { at: network.url, answers: wrap(browserFetch) });
        network.cut();
        await sent;
        assert.equal(chat.status, "error", "a cut connection is an error");
        // A second cut during the resumed answer.
        const half = chat.resumeStream();
        await until("the resumed stream starts", () => chat.status === "streaming");
        network.cut();
        await half;
        assert.equal(chat.status, "error");
        const resumed = chat.resumeStream();
        await until("the resumed stream starts", () => chat.status === "streaming");
        open(gate);
        await resumed;
        assert.deepEqual([chat.status, roles(chat), chat.answer.metadata.outcome], ["ready", "user assistant", "completed"], chat.error?.message);
        const whole = { hold: "This takes a while, but then it is done.", "hold-tool": "Done.", "hold-later": "I write a page.Done." };
        assert.equal(chat.text, whole[kind]);
        const of = (type) => chat.answer.parts.filter((part) => part.type === type).length;
        const steps = kind === "hold" ? 1 : 2;
        assert.deepEqual([of("step-start"), of("tool-write_file"), of("data-file")], [steps, steps - 1, steps - 1], kind);
        network.close();
      }
    }
  },

  async "the chat of docs/chat-clients.md works as written"() {
    const headers = await person();
    const { component } = await documentedChat({ DefaultChatTransport, useChat, level, headers });
    const id = generateId();
    const chat = component({ id, initial: [] });
    await chat.resumed;
    assert.deepEqual([chat.status, chat.error], ["ready", undefined], "nothing to resume");
    await chat.sendMessage({ text: "page one" });
    assert.deepEqual([chat.status, chat.text], ["ready", "I write a page.Done."], chat.error?.message);
    assert.equal(chat.answer.metadata.outcome, "completed");

    const gate = crypto.randomUUID();
    const sent = chat.sendMessage({ text: `hold ${gate}` });
    await until("the answer starts", () => chat.text.startsWith("This"));
    const again = component({ id, initial: structuredClone(chat.messages.slice(0, -1)) });
    await until("the received text is shown", () => again.text === chat.text);
    assert.equal((await again.stop()).status, 200);
    await Promise.all([sent, again.resumed]);
    assert.deepEqual([chat.answer.metadata.outcome, again.answer.metadata.outcome], ["cancelled", "cancelled"]);
    open(gate);
    await chat.regenerate();
    assert.equal(roles(chat), "user assistant user assistant");

    const [second, last] = [crypto.randomUUID(), component({ id, initial: structuredClone(chat.messages) })];
    await last.resumed;
    const running = chat.sendMessage({ text: `hold ${second}` });
    await until("the answer starts", () => chat.messages.length === 6 && chat.text);
    const waiting = last.sendMessage({ text: "page two" }, { body: { ifActive: "IF_ACTIVE_QUEUE" } });
    await until("the second turn waits", async () => {
      const { turns } = await get(headers, `/api/turns?projectId=${chat.answer.metadata.projectId}&openOnly=true`);
      return turns.length === 2;
    });
    open(second);
    await Promise.all([running, waiting]);
    assert.deepEqual([chat.answer.metadata.outcome, last.status, last.text], ["completed", "ready", "I write a page.Done."], last.error?.message);

    await chat.sendMessage({ text: "fail" });
    assert.deepEqual([chat.status, JSON.parse(chat.error.message).reason], ["error", "PROVIDER_REFUSED"]);
  },

  async "an edited message replaces the first one"() {
    const headers = await person();
    const chat = new Chat({ id: generateId(), headers });
    await chat.sendMessage({ text: "page one" });
    await chat.sendMessage({ text: "page two" });
    const [first] = chat.messages;
    const turns = [chat.answer.id];
    await chat.sendMessage({ text: "page three", messageId: first.id });
    assert.deepEqual([chat.status, roles(chat), textOf(chat.messages[0])], ["ready", "user assistant", "page three"], chat.error?.message);
    assert.ok(!turns.includes(chat.answer.id));
    const shown = async () => (await stored(chat, headers)).map((message) => message.text);
    assert.deepEqual(await shown(), ["page three", "I write a page.\n\nDone."]);
    const turn = chat.answer.id;
    await chat.sendMessage({ text: "page three", messageId: first.id });
    assert.deepEqual([chat.status, chat.answer.id], ["ready", turn], "the same message returns the same turn");
    await chat.sendMessage({ text: "page one", messageId: first.id });
    assert.deepEqual([chat.status, roles(chat), textOf(chat.messages[0])], ["ready", "user assistant", "page one"]);
    assert.deepEqual(await shown(), ["page one", "I write a page.\n\nDone."]);
    assert.ok(![turn, ...turns].includes(chat.answer.id), "a return to the first text is an edit");
  },

  async "a chat that is loaded from the server is edited by its listed ids"() {
    const headers = await person();
    const first = new Chat({ id: generateId(), headers });
    await first.sendMessage({ text: "page one" });
    await first.sendMessage({ text: "page two" });
    const { projectId } = first.answer.metadata;
    // An answer has the id of its turn or of its message.
    for (const idOf of [(message) => message.turnId, (message) => message.id]) {
      const load = (await stored(first, headers)).map((message) => {
        const isAnswer = message.role === "MESSAGE_ROLE_ASSISTANT";
        const parts = [{ type: "text", text: message.text }];
        return { id: isAnswer ? idOf(message) : message.id, role: isAnswer ? "assistant" : "user", parts };
      });
      const agrees = async (words) => {
        assert.deepEqual([chat.status, roles(chat), textOf(chat.messages[0])], ["ready", "user assistant", words], chat.error?.message);
        const listed = await stored(first, headers);
        assert.deepEqual(listed.map(({ role, text }) => [role, text]), [
          ["MESSAGE_ROLE_USER", words],
          ["MESSAGE_ROLE_ASSISTANT", "I write a page.\n\nDone."],
        ]);
      };
      const chat = new Chat({ id: projectId, headers, messages: load });
      await chat.sendMessage({ text: "page three", messageId: load[0].id });
      await agrees("page three");
      const turn = chat.answer.id;
      await chat.sendMessage({ text: "page three", messageId: load[0].id });
      await agrees("page three");
      assert.equal(chat.answer.id, turn, "the same text returns the same turn");
      await chat.sendMessage({ text: "page four", messageId: load[0].id });
      await agrees("page four");
      const again = new Chat({ id: projectId, headers, messages: [{ ...load[0], parts: [{ type: "text", text: "page four" }] }] });
      await again.regenerate();
      assert.deepEqual([again.status, (await stored(first, headers)).length], ["ready", 2], again.error?.message);
      await again.sendMessage({ text: "page five" });
      assert.equal((await stored(first, headers)).length, 4, "a new message is not an edit");
    }
  },

  async "a loaded answer has the parts of the streamed one"() {
    const headers = await person();
    const load = await documentedLoad(headers);
    const chat = new Chat({ id: generateId(), headers });
    await chat.sendMessage({ text: "page one" });
    const { projectId } = chat.answer.metadata;
    const loaded = await load(projectId);
    await validateUIMessages({ messages: loaded });
    const [question, answer] = loaded;
    assert.deepEqual([question.id, question.role, textOf(question)], [(await stored(chat, headers))[0].id, "user", "page one"]);
    assert.deepEqual([answer.id, answer.role], [chat.answer.id, "assistant"]);
    const spoken = ({ parts }) => parts
      .filter(({ type }) => type === "text" || type.startsWith("tool-"))
      .map(({ type, text, state, toolCallId, input, output, providerExecuted }) => ({ type, text, state, toolCallId, input, output, providerExecuted }));
    assert.deepEqual(spoken(answer), spoken(chat.answer));
    const files = ({ parts }) => parts
      .filter(({ type }) => type === "data-file")
      .map(({ id, data: { path, op, status, from } }) => ({ id, path, op, status, from }));
    assert.deepEqual(files(answer), files(chat.answer));
    const { revision, usage } = chat.answer.metadata;
    assert.deepEqual(answer.metadata.revision, revision);
    assert.deepEqual([answer.metadata.usage.inputTokens, answer.metadata.usage.outputTokens], [usage.inputTokens, usage.outputTokens]);
    assert.equal(answer.parts.at(-1).data.revision, revision);
    // The hook continues with the loaded messages.
    const again = new Chat({ id: projectId, headers, messages: loaded });
    await again.sendMessage({ text: "page two" });
    assert.deepEqual([again.status, roles(again)], ["ready", "user assistant user assistant"], again.error?.message);
    assert.deepEqual((await load(projectId)).map((message) => message.id).slice(0, 2), loaded.map((message) => message.id));
  },

  async "a regenerated answer replaces the first one"() {
    const headers = await person();
    const chat = new Chat({ id: generateId(), headers });
    await chat.sendMessage({ text: "page one" });
    const answers = [chat.answer.id];
    for (const options of [undefined, "named"]) {
      await chat.regenerate(options && { messageId: chat.answer.id });
      assert.deepEqual([chat.status, roles(chat)], ["ready", "user assistant"], chat.error?.message);
      assert.ok(!answers.includes(chat.answer.id));
      answers.push(chat.answer.id);
      assert.equal((await stored(chat, headers)).length, 2, "the conversation has only the new answer");
    }
  },

  async "a step that restarts after its process was lost"() {
    const known = level === "7" ? 7 : 5;
    const body = await readFile(new URL(`../../../gateway/src/chat/ai_sdk/stream/restarted-${known}.txt`, import.meta.url));
    const chat = await one({ answers: () => new Response(body, { headers: { "content-type": "text/event-stream" } }) });
    await chat.sendMessage({ text: "any" });
    assert.deepEqual([chat.status, roles(chat)], ["ready", "user assistant"], chat.error?.message);
    const of = (type) => chat.answer.parts.filter((part) => part.type === type);
    const files = of("data-file").map(({ data }) => [data.path, data.status, data.bytes]);
    assert.ok(chat.answer.parts.every((part) => part.state === undefined || /^(done|output-.*)$/.test(part.state)), "all parts have ended");
    if (known === 7) {
      assert.deepEqual([chat.text, of("data-notice").length, of("step-start").length], ["anew", 0, 2]);
      assert.deepEqual(files, [["a.js", "applied", 3]]);
    } else {
      assert.deepEqual([chat.text, of("data-notice")[0].data.code, of("step-start").length], ["half aanew", "STEP_SUPERSEDED", 3]);
      assert.deepEqual(files, [["a.js", "applied", 3], ["b.js", "failed", undefined]]);
    }
  },

  async "only the last message has to be sent"() {
    const prepareSendMessagesRequest = ({ id, messages, trigger, messageId, body }) => ({
      body: { ...body, id, message: messages.at(-1), trigger, messageId },
    });
    const chat = await one({ prepareSendMessagesRequest });
    await chat.sendMessage({ text: "page one" });
    await chat.sendMessage({ text: "page two" }, { body: { agent: "builder" } });
    assert.deepEqual([chat.status, roles(chat), chat.answer.metadata.agent], ["ready", "user assistant user assistant", "builder"], chat.error?.message);
    await chat.sendMessage({ text: "page three" }, { body: { agent: "nobody" } });
    assert.deepEqual([chat.status, chat.problem.reason], ["error", "AGENT_NOT_FOUND"]);
  },

  async "a stop ends the turn"() {
    const { chat, headers, sent } = await heldChat();
    const body = JSON.stringify({ activeStreamId: chat.answer.id, assistantMessage: chat.answer });
    const answer = await fetch(`${url}/api/chat/${chat.id}/stop`, { method: "POST", headers: { ...headers, "content-type": "application/json" }, body });
    assert.deepEqual([answer.status, await answer.json()], [200, { success: true }]);
    await sent;
    assert.deepEqual([chat.status, chat.answer.metadata.outcome], ["ready", "cancelled"]);
    assert.ok(chat.answer.parts.every((part) => part.state === undefined || part.state === "done"));
    await chat.sendMessage({ text: "page one" });
    assert.equal(chat.answer.metadata.outcome, "completed");
  },

  async "a failed turn shows its reason"() {
    const chat = await one();
    await chat.sendMessage({ text: "fail" });
    assert.deepEqual([chat.status, chat.problem.reason], ["error", "PROVIDER_REFUSED"]);
    assert.ok(chat.problem.detail && chat.problem.metadata.turnId);
  },

  async "an answer is not continued"() {
    const chat = await one();
    await chat.sendMessage({ text: "page one" });
    await chat.sendMessage();
    assert.deepEqual([chat.status, chat.problem.status, chat.problem.reason], ["error", 422, "CONTINUATION_UNSUPPORTED"]);
  },
});
