import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createElement } from "react";
import { renderToStaticMarkup } from "react-dom/server";
import { RichText } from "@/components/rich-text";
import { type ChatAction, chatReducer, type ChatState, emptyChat } from "@/lib/client/chat-state";

const event = (name: string, data: object): ChatAction => ({ type: "event", event: { event: name, data: JSON.stringify(data) } });
const after = (...actions: ChatAction[]): ChatState => actions.reduce(chatReducer, emptyChat);
const asked: ChatAction = { type: "asked", key: "1", text: "add a task: buy milk" };

describe("chatReducer", () => {
  test("builds an answer from its events", () => {
    const pending = after(asked, event("conversation", { conversation_id: "c" }), event("tool_call", { id: "a", name: "add_task", arguments: { title: "buy milk" } }));
    assert.equal(pending.conversationId, "c");
    assert.deepEqual(pending.messages[1]?.toolCalls, [{ id: "a", name: "add_task", arguments: { title: "buy milk" } }]);

    const done = [event("tool_result", { id: "a", name: "add_task", result: { id: "t" } }), event("delta", { text: "I added " }), event("delta", { text: "it." })].reduce(chatReducer, pending);
    assert.equal(done.messages[1]?.text, "I added it.");
    assert.deepEqual(done.messages[1]?.toolCalls[0]?.result, { id: "t" });
    assert.equal(done.messages[1]?.state, "pending");
    assert.equal(chatReducer(done, event("done", { conversation_id: "c", reply: "I added it.", tool_calls: [] })).messages[1]?.state, "done");
  });

  test("the whole reply counts for more than its pieces", () => {
    assert.equal(after(asked, event("delta", { text: "I ad" }), event("done", { reply: "I added it." })).messages[1]?.text, "I added it.");
  });

  test("an error event fails the answer, with the problem's words", () => {
    const { state, error } = after(asked, event("error", { title: "Service Unavailable", detail: "The model is away." })).messages[1] ?? {};
    assert.deepEqual({ state, error }, { state: "failed", error: "The model is away." });
  });

  test("asking again replaces the failed answer under the same key", () => {
    const again = after(asked, { type: "failed", error: "no" }, { type: "asked-again" });
    assert.deepEqual(again.messages.map(({ key, state }) => [key, state]), [["1", "done"], ["1-answer", "pending"]]);
  });

  test("what comes after the end of an answer changes nothing", () => {
    const stopped = after(asked, { type: "stopped" });
    assert.equal(chatReducer(stopped, event("delta", { text: "late" })), stopped);
    assert.equal(chatReducer(stopped, { type: "failed", error: "late" }), stopped);
  });

  test("ignores unknown events and data that is no JSON", () => {
    const pending = after(asked);
    assert.equal(chatReducer(pending, event("usage", { tokens: 3 })), pending);
    assert.equal(chatReducer(pending, { type: "event", event: { event: "delta", data: "{" } }).messages[1]?.text, "");
  });

  test("opens a stored conversation", () => {
    const conversation = {
      id: "c", title: "buy milk", created_at: "", updated_at: "", truncated: false,
      messages: [
        { role: "user" as const, content: "hello", tool_calls: [], created_at: "" },
        { role: "assistant" as const, content: "hi", tool_calls: [{ name: "list_tasks", arguments: {}, result: [] }], created_at: "" },
      ],
    };
    const state = after(asked, { type: "opened", conversation });
    assert.equal(state.conversationId, "c");
    assert.deepEqual(state.messages.map(({ text, state: each }) => [text, each]), [["hello", "done"], ["hi", "done"]]);
  });
});

describe("RichText", () => {
  const html = (text: string) => renderToStaticMarkup(createElement(RichText, { text })).replace(/^<div class="rich-text">|<\/div>$|<\/?span>/g, "");

  for (const [text, expected] of [
    ["one\ntwo\n\nthree", "<p>one\ntwo</p><p>three</p>"],
    ["- milk\n- **bread**", '<ul class="bullets"><li>milk</li><li><strong>bread</strong></li></ul>'],
    ["2. two\n3) three", '<ol start="2"><li>two</li><li>three</li></ol>'],
    ["You have:\n[ ] buy milk\n- [x] call", '<p>You have:</p><ul class="checks"><li>buy milk</li><li data-done="true">call</li></ul>'],
    ["## Title", "<p><strong>Title</strong></p>"],
    ["use `a * b * c`, *really*", "<p>use <code>a * b * c</code>, <em>really</em></p>"],
    ["```\n- no list\n", '<pre tabindex="0">- no list\n</pre>'],
    ['<img src=x onerror="alert(1)"> [a](javascript:alert(1))', "<p>&lt;img src=x onerror=&quot;alert(1)&quot;&gt; [a](javascript:alert(1))</p>"],
    ["2 * 3 * 4 and snake_case_name", "<p>2 * 3 * 4 and snake_case_name</p>"],
  ] as const) {
    test(JSON.stringify(text), () => assert.equal(html(text), expected));
  }
});
