// A React project, and what its open preview does after each change.

import assert from "node:assert/strict";

export const name = "react";

const COUNTER = `import { useState } from 'react';
import { format } from './format';
export function Counter() {
  const [count, setCount] = useState(0);
  return <button onClick={() => setCount(count + 1)}>{format('count', count)}</button>;
}
`;
const LABEL = `import { TITLE } from './mixed';
export default function Label() {
  return <h1>first label {TITLE}</h1>;
}
`;
const MIXED = "export const TITLE = 'one';\nexport const Mixed = () => <p>mixed {TITLE}</p>;\n";
const FORMAT = "export const format = (name: string, count: number): string => `${name} ${count}`;\n";
const LATE = "export default function Late() {\n  return <p>late one</p>;\n}\n";
const CLASSES = ".a { color: rgb(1, 2, 3) }\n";

export const files = {
  "index.html": '<!doctype html>\n<html><head><title>Counter</title></head><body><div id="root"></div><script type="module" src="/src/main.tsx"></script></body></html>\n',
  "package.json": '{ "private": true, "type": "module", "dependencies": { "react": "19.3.1", "react-dom": "19.3.1", "tailwindcss": "4.3.5" } }\n',
  "tsconfig.json": '{ "compilerOptions": { "jsx": "react-jsx" } }\n',
  "src/index.css": '@import "tailwindcss";\n',
  "src/main.tsx": "import { createRoot } from 'react-dom/client';\nimport './index.css';\nimport { App } from './App';\ncreateRoot(document.getElementById('root')!).render(<App />);\n",
  "src/App.tsx": `import { lazy, Suspense, useState } from 'react';
import { Counter } from './Counter';
import Label from './Label';
import { Mixed } from './mixed';
import styles from './a.module.css';
const Late = lazy(() => import('./Late'));
export function App() {
  const [isLate, setLate] = useState(false);
  return <main className={styles.a}><Label /><Counter /><Mixed /><button onClick={() => setLate(true)}>load</button><Suspense>{isLate && <Late />}</Suspense></main>;
}
`,
  "src/Counter.tsx": COUNTER,
  "src/Label.tsx": LABEL,
  "src/mixed.tsx": MIXED,
  "src/format.ts": FORMAT,
  "src/Late.tsx": LATE,
  "src/a.module.css": CLASSES,
};

export async function steps({ frame, shows, click, save }) {
  await click("count 0");
  await shows("count 1");

  // Another file, then the file with the state, and then its first text, which the browser has already evaluated.
  assert.equal(await save({ "src/Label.tsx": LABEL.replace("first", "second") }), "modules");
  await shows("second label one");
  await shows("count 1");
  assert.equal(await save({ "src/Counter.tsx": COUNTER.replaceAll("'count'", "'total'") }), "modules");
  await shows("total 1");
  assert.equal(await save({ "src/Counter.tsx": COUNTER, "src/Label.tsx": LABEL }), "modules");
  await shows("count 1");
  await shows("first label one");

  // A module without components: those that import it are exchanged.
  assert.equal(await save({ "src/format.ts": FORMAT.replace("${name} ${count}", "${name}: ${count}") }), "modules");
  await shows("count: 1");
  assert.equal(await save({ "src/format.ts": FORMAT }), "modules");
  await shows("count 1");

  // A component and a value: the value reaches the other module.
  assert.equal(await save({ "src/mixed.tsx": MIXED.replace("'one'", "'two'") }), "modules");
  await shows("first label two");
  await shows("mixed two");
  await shows("count 1");

  // A module that is not loaded yet is loaded in its newest form.
  assert.equal(await save({ "src/Late.tsx": LATE.replace("one", "two") }), "none");
  assert.equal(await save({ "src/Late.tsx": "import { format } from './format';\n" + LATE.replace("late one", "{format('late', 3)}") }), "none");
  await click("load");
  await shows("late 3");
  assert.equal(await save({ "src/Late.tsx": LATE.replace("one", "four") }), "modules");
  await shows("late four");
  await shows("count 1");

  // A class that a style sheet adds.
  assert.equal(await save({ "src/a.module.css": ".a { color: rgb(4, 5, 6) }\n" }), "styles");
  const color = () => frame.locator("main").evaluate((element) => getComputedStyle(element).color);
  assert.equal(await color(), "rgb(4, 5, 6)");
  assert.equal(await save({ "src/a.module.css": ".a { color: rgb(7, 8, 9) }\n.b { margin: 0 }\n" }), "modules");
  assert.equal(await color(), "rgb(7, 8, 9)");
  assert.equal(await frame.locator('style[data-file="src/a.module.css"]').count(), 1);
  await shows("count 1");

  // A class of Tailwind: the component and the style sheet change.
  assert.equal(await save({ "src/Label.tsx": LABEL.replace("<h1>", '<h1 className="mt-[7px]">') }), "modules");
  assert.equal(await frame.locator("h1").evaluate((element) => getComputedStyle(element).marginTop), "7px");
  assert.equal(await frame.locator('style[data-file="src/index.css"]').count(), 1);
  await shows("count 1");

  // A new file.
  assert.equal(await save({ "src/New.tsx": "export const New = () => <i>new</i>;\n", "src/Label.tsx": "import { New } from './New';\n" + LABEL.replace("first", "<New />") }), "modules");
  await shows("new");
  await shows("count 1");

  // A syntax error covers the page until it is mended.
  assert.equal(await save({ "src/Counter.tsx": COUNTER.replace("return", "return (") }), "errors");
  await frame.frameLocator("backlot-overlay iframe").getByText(/src\/Counter\.tsx/).first().waitFor();
  assert.equal(await save({ "src/Counter.tsx": COUNTER.replaceAll("'count'", "'sum'") }), "modules");
  await shows("sum 1");
  assert.equal(await frame.locator("backlot-overlay").count(), 0);

  // Other hooks: the state begins anew.
  const hooks = COUNTER.replace("const [count", "useState('x');\n  const [count");
  assert.equal(await save({ "src/Counter.tsx": hooks }), "modules");
  await shows("count 0");
  await click("count 0");
  await shows("count 1");

  // Nobody accepts the entry.
  assert.equal(await save({ "src/main.tsx": files["src/main.tsx"].replace("<App />", "<><App /><b>again</b></>") }), "reload");
  await shows("again");
  await shows("count 0");
}
