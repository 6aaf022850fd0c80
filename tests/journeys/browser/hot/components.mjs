// Projects of Vue, Svelte and Preact, one whose code accepts itself, and one of plain files.

import assert from "node:assert/strict";

const page = (entry) =>
  `<!doctype html>\n<html><head><title>Counter</title></head><body><div id="app"></div><script type="module" src="/src/${entry}"></script></body></html>\n`;

const VUE_COUNTER = `<script setup lang="ts">
import { ref } from 'vue'
const count = ref<number>(0)
</script>
<template><button @click="count++">{{ 'count ' + (count as number) }}</button></template>
<style scoped>button { color: rgb(1, 2, 3) }</style>
`;
const VUE_LABEL = "<script>\nexport default { data: () => ({ text: 'first' }) }\n</script>\n<template><h1>{{ text }} label</h1></template>\n";

export const vue = {
  name: "vue",
  files: {
    "index.html": page("main.ts"),
    "package.json": '{ "private": true, "type": "module", "dependencies": { "vue": "3.5.45" } }\n',
    "src/main.ts": "import { createApp } from 'vue';\nimport App from './App.vue';\ncreateApp(App).mount('#app');\n",
    "src/App.vue": `<script setup lang="ts">
import { ref } from 'vue'
import Counter from './Counter.vue'
import Label from './Label.vue'
const open = ref(0)
</script>
<template><Label /><Counter /><button @click="open++">{{ 'open ' + open }}</button></template>
`,
    "src/Counter.vue": VUE_COUNTER,
    "src/Label.vue": VUE_LABEL,
  },
  async steps({ frame, shows, click, save }) {
    await click("count 0");
    await click("open 0");
    await shows("count 1");

    // The template of the component with the state, and another component.
    assert.equal(await save({ "src/Counter.vue": VUE_COUNTER.replace("'count '", "'total '") }), "modules");
    await shows("total 1");
    assert.equal(await save({ "src/Label.vue": VUE_LABEL.replace("label", "title") }), "modules");
    await shows("first title");
    await shows("total 1");

    // A script: the component begins anew, and the others keep their state.
    assert.equal(await save({ "src/Label.vue": VUE_LABEL.replace("first", "second") }), "modules");
    await shows("second label");
    await shows("total 1");
    assert.equal(await save({ "src/Counter.vue": VUE_COUNTER.replace("(0)", "(5)") }), "modules");
    await shows("count 5");
    await shows("open 1");

    assert.equal(await save({ "src/Counter.vue": VUE_COUNTER.replace("(0)", "(5)").replace("1, 2, 3", "4, 5, 6") }), "styles");
    assert.equal(await frame.getByText("count 5").evaluate((element) => getComputedStyle(element).color), "rgb(4, 5, 6)");

    assert.equal(await save({ "src/Counter.vue": "<template><p></template>\n" }), "errors");
    assert.equal(await save({ "src/Counter.vue": VUE_COUNTER.replace("(0)", "(5)").replace("'count '", "'sum '") }), "modules");
    await shows("sum 5");
    await shows("open 1");
  },
};

const SVELTE_CHILD = "<script lang=\"ts\">\n  let { text }: { text: string } = $props();\n</script>\n<h1>first {text}</h1>\n<style>h1 { color: rgb(1, 2, 3) }</style>\n";
const SVELTE_APP = `<script lang="ts">
  import Child from './Child.svelte';
  let count: number = $state(0);
</script>
<Child text="label" />
<p>a   b</p>
<button onclick={() => (count += 1)}>count {count}</button>
`;

export const svelte = {
  name: "svelte",
  files: {
    "index.html": page("main.ts"),
    "package.json": '{ "private": true, "type": "module", "devDependencies": { "svelte": "5.57.3" } }\n',
    "svelte.config.js": "export default { compilerOptions: { preserveWhitespace: true } };\n",
    "src/main.ts": "import { mount } from 'svelte';\nimport App from './App.svelte';\nmount(App, { target: document.getElementById('app')! });\n",
    "src/App.svelte": SVELTE_APP,
    "src/Child.svelte": SVELTE_CHILD,
  },
  async steps({ frame, shows, click, save }) {
    await click("count 0");
    await shows("count 1");
    await frame.locator("body").evaluate((body) => body.setAttribute("data-kept", "yes"));
    assert.equal(await frame.locator("p").evaluate((element) => element.textContent), "a   b", "the option of svelte.config.js");

    // Another component. Svelte makes the one that has changed anew.
    assert.equal(await save({ "src/Child.svelte": SVELTE_CHILD.replace("first", "second") }), "modules");
    await shows("second label");
    await shows("count 1");
    assert.equal(await save({ "src/Child.svelte": SVELTE_CHILD.replace("first", "third").replace("1, 2, 3", "4, 5, 6") }), "modules");
    await shows("third label");
    assert.equal(await frame.getByText("third label").evaluate((element) => getComputedStyle(element).color), "rgb(4, 5, 6)");
    await shows("count 1");

    assert.equal(await save({ "src/Child.svelte": "<p>{#if}</p>\n" }), "errors");
    assert.equal(await save({ "src/Child.svelte": SVELTE_CHILD }), "modules");
    await shows("first label");
    await shows("count 1");

    assert.equal(await save({ "src/App.svelte": SVELTE_APP.replace("count {count}", "total {count}") }), "modules");
    await shows("total 0");
    assert.equal(await frame.locator("body").getAttribute("data-kept"), "yes", "the page was not loaded again");
  },
};

const PREACT_COUNTER = `import { useState } from 'preact/hooks';
export function Counter() {
  const [count, setCount] = useState(0);
  return <button onClick={() => setCount(count + 1)}>{'count ' + count}</button>;
}
`;
const PREACT_LABEL = "export const Label = () => <h1>first label</h1>;\n";

export const preact = {
  name: "preact",
  files: {
    "index.html": page("main.tsx"),
    "package.json": '{ "private": true, "type": "module", "dependencies": { "preact": "11.2.0" } }\n',
    "tsconfig.json": '{ "compilerOptions": { "jsx": "react-jsx", "jsxImportSource": "preact" } }\n',
    "src/main.tsx": "import { render } from 'preact';\nimport { App } from './App';\nrender(<App />, document.getElementById('app')!);\n",
    "src/App.tsx": "import { Counter } from './Counter';\nimport { Label } from './Label';\nexport const App = () => <><Label /><Counter /></>;\n",
    "src/Counter.tsx": PREACT_COUNTER,
    "src/Label.tsx": PREACT_LABEL,
  },
  async steps({ shows, click, save }) {
    await click("count 0");
    await shows("count 1");
    assert.equal(await save({ "src/Label.tsx": PREACT_LABEL.replace("first", "second") }), "modules");
    await shows("second label");
    await shows("count 1");
    assert.equal(await save({ "src/Counter.tsx": PREACT_COUNTER.replace("'count '", "'total '") }), "modules");
    await shows("total 1");
    assert.equal(await save({ "src/Counter.tsx": PREACT_COUNTER.replace("return", "return (") }), "errors");
    assert.equal(await save({ "src/Counter.tsx": PREACT_COUNTER }), "modules");
    await shows("count 1");
  },
};

const VALUE = "export const value = 'one';\n";
const OWN = `import { value } from './value';
const hot = import.meta.hot;
const count = (hot?.data.count ?? 0) + 1;
const element = document.createElement('p');
element.textContent = \`\${value} \${count}\`;
document.body.append(element);
if (hot) {
  hot.data.count = count;
  hot.dispose(() => element.remove());
  hot.accept();
}
`;
const OTHER = "export const other = 'a';\n";

export const own = {
  name: "own",
  files: {
    "index.html": page("main.ts"),
    "package.json": '{ "private": true, "type": "module" }\n',
    "src/main.ts": `import './own';
import { other } from './other';
const element = document.createElement('h1');
element.textContent = \`other \${other}\`;
document.body.append(element);
if (import.meta.hot) import.meta.hot.accept('./other', (module) => { element.textContent = \`new \${module?.other}\`; });
`,
    "src/own.ts": OWN,
    "src/value.ts": VALUE,
    "src/other.ts": OTHER,
  },
  async steps({ frame, shows, save }) {
    await shows("one 1");
    assert.equal(await save({ "src/value.ts": VALUE.replace("one", "two") }), "modules");
    await shows("two 2");
    assert.equal(await save({ "src/own.ts": OWN.replace("${count}", "is ${count}") }), "modules");
    await shows("two is 3");
    assert.equal(await frame.locator("p").count(), 1, "the former element is gone");

    // One module accepts another.
    assert.equal(await save({ "src/other.ts": OTHER.replace("'a'", "'b'") }), "modules");
    await shows("new b");
    assert.equal(await save({ "src/other.ts": OTHER.replace("'a'", "'c'") }), "modules");
    await shows("new c");
    await shows("two is 3");

    // It refuses after it was evaluated: the page is loaded again.
    assert.equal(await save({ "src/own.ts": OWN.replace("hot.accept()", "hot.accept(() => hot.invalidate())") }), "modules");
    await shows("two 4");
    assert.equal(await save({ "src/value.ts": VALUE.replace("one", "three") }), "reload");
    await shows("three 1");
  },
};

const SHEET = "h1 { color: rgb(0, 0, 255) }\n";
const COUNTED = `import './style.css';
// The name of a frame survives a new load, also without storage.
window.name = String(Number(window.name) + 1);
const element = document.createElement('h1');
element.textContent = \`loads \${window.name}\`;
document.body.append(element);
import.meta.hot?.accept();
import.meta.hot?.invalidate();
`;

// A browser that ignores import maps besides the first one.
export const oneMap = {
  name: "one-map",
  init: () => {
    const append = Element.prototype.append;
    Element.prototype.append = function (...nodes) {
      return append.apply(this, nodes.filter((node) => node.type !== "importmap"));
    };
  },
  files: {
    "index.html": page("main.ts"),
    "package.json": '{ "private": true, "type": "module" }\n',
    "src/main.ts": COUNTED,
    "src/style.css": SHEET,
  },
  async steps({ frame, shows, save }) {
    await shows("loads 1");
    const color = () => frame.locator("h1").evaluate((element) => getComputedStyle(element).color);
    assert.equal(await color(), "rgb(0, 0, 255)");
    assert.equal(await save({ "src/style.css": SHEET.replace("255", "128") }), "styles");
    assert.equal(await color(), "rgb(0, 0, 128)");
    await shows("loads 1");
    assert.equal(await save({ "src/main.ts": COUNTED + "console.log(1);\n" }), "reload");
    await shows("loads 2");
  },
};

const SCRIPT = "const title = document.createElement('h1');\ntitle.textContent = 'one';\ntitle.onclick = () => {\n  missing();\n};\ndocument.body.append(title);\n";

// Files that are not compiled.
export const plain = {
  name: "plain",
  files: {
    "index.html": '<!doctype html>\n<html>\n<head><title>Plain</title></head>\n<body><script src="app.js"></script></body>\n</html>\n',
    "app.js": SCRIPT,
  },
  async steps({ frame, shows, save, forget, reported }) {
    await shows("one");
    assert.equal(await save({ "app.js": SCRIPT.replace("one", "two") }), "reload");
    await shows("two");
    await reported("backlot:ready");
    await frame.getByText("two").click();
    const error = await reported("backlot:error");
    assert.match(error.message, /^ReferenceError: missing/);
    assert.equal(`${error.file}:${error.line}`, "app.js:4");
    await forget();
  },
};
