//! Faults planted into a project that has none. The tests of the role compile use them, too.

/// A project without a fault.
pub(crate) const PROJECT: &[(&str, &str)] = &[
    (
        "index.html",
        "<!doctype html>\n<html><head><link rel=\"icon\" href=\"/icon.svg\" /></head>\n<body><div id=\"root\"></div>\n<script type=\"module\" src=\"/src/main.tsx\"></script></body></html>\n",
    ),
    ("package.json", "{\n  \"name\": \"shop\",\n  \"dependencies\": { \"react\": \"19\", \"react-dom\": \"19\" }\n}\n"),
    (
        "tsconfig.json",
        "{ \"include\": [\"src\"], \"compilerOptions\": { \"jsx\": \"react-jsx\", \"paths\": { \"@/*\": [\"./src/*\"] } } }\n",
    ),
    ("public/icon.svg", "<svg/>"),
    (
        "src/main.tsx",
        "import { createRoot } from 'react-dom/client';\nimport App from './App';\nimport './index.css';\ncreateRoot(document.getElementById('root')!).render(<App />);\n",
    ),
    (
        "src/App.tsx",
        "import { lazy, useState } from 'react';\nimport { Button } from '@/components/Button';\nimport { price } from './lib/format';\nimport items from './items.json';\nimport styles from './App.module.css';\nconst Later = lazy(() => import('./pages/Later'));\n\nexport default function App() {\n  const [count, setCount] = useState(0);\n  return (\n    <main className={styles.main}>\n      <Button onClick={() => setCount(count + 1)}>{price(items.length)}</Button>\n      <Later />\n    </main>\n  );\n}\n",
    ),
    (
        "src/components/Button.tsx",
        "import type { ButtonHTMLAttributes } from 'react';\n\nexport function Button(props: ButtonHTMLAttributes<HTMLButtonElement>) {\n  return <button {...props} />;\n}\n",
    ),
    ("src/pages/Later.tsx", "export default function Later() {\n  return <p>later</p>;\n}\n"),
    ("src/lib/format.ts", "export function price(value: number): string {\n  return `${value} €`;\n}\n"),
    ("src/items.json", "[1, 2, 3]\n"),
    ("src/index.css", "body {\n  margin: 0;\n}\n"),
    ("src/App.module.css", ".main {\n  color: red;\n}\n"),
];

/// A fault: its name, the file, a text of it, what stands there instead, and the finding that must be first. It is empty if the fault is not
/// found: types are not checked. Exports of packages are known when they are bundled.
pub(crate) type Fault = (&'static str, &'static str, &'static str, &'static str, &'static str);

/// What people and models do wrong most often.
pub(crate) const FAULTS: &[Fault] = &[
    ("missing relative file", "src/App.tsx", "./lib/format", "./lib/formats", "UNRESOLVED_IMPORT src/App.tsx:3:23"),
    ("missing aliased file", "src/App.tsx", "@/components/Button", "@/components/Knob", "UNRESOLVED_IMPORT src/App.tsx:2:24"),
    ("missing dynamic import", "src/App.tsx", "./pages/Later", "./pages/Sooner", "UNRESOLVED_IMPORT src/App.tsx:6:33"),
    ("missing npm dependency", "src/main.tsx", "'react-dom/client'", "'@scope/dom/client'", "MISSING_PACKAGE src/main.tsx:1:28"),
    ("unknown component", "src/App.tsx", "<Later />", "<Latest />", "UNDEFINED_NAME src/App.tsx:13:8"),
    ("undefined variable", "src/App.tsx", "price(items.length)", "price(item.length)", "UNDEFINED_NAME src/App.tsx:12:58"),
    ("hook not imported", "src/App.tsx", "{ lazy, useState }", "{ lazy }", "UNDEFINED_NAME src/App.tsx:9:29"),
    ("no such export", "src/App.tsx", "{ price }", "{ prices as price }", "MISSING_EXPORT src/App.tsx:3:10"),
    ("no default export", "src/App.tsx", "export default function App", "export function App", "MISSING_EXPORT src/main.tsx:2:8"),
    ("unclosed tag", "src/App.tsx", "</main>", "", "SYNTAX_ERROR src/App.tsx:"),
    ("unclosed brace", "src/lib/format.ts", "€`;\n}", "€`;\n", "SYNTAX_ERROR src/lib/format.ts:"),
    (
        "duplicate declaration",
        "src/lib/format.ts",
        "export function price",
        "const price = 1;\nexport function price",
        "SYNTAX_ERROR src/lib/format.ts:",
    ),
    (
        "file cut",
        "src/App.tsx",
        "setCount(count + 1)}>{price(items.length)}</Button>\n      <Later />\n    </main>\n  );\n}\n",
        "",
        "SYNTAX_ERROR src/App.tsx:",
    ),
    ("broken data", "src/items.json", "[1, 2, 3]", "[1, 2, 3", "INVALID_JSON src/items.json:2:"),
    ("broken manifest", "package.json", "\"shop\",", "\"shop\"", "INVALID_JSON package.json:3:3"),
    ("broken style sheet", "src/index.css", "margin: 0;\n}", "margin: 0;\n", "INVALID_CSS src/index.css:1:6"),
    ("script that is not there", "index.html", "/src/main.tsx", "/src/index.tsx", "MISSING_FILE index.html:4:1"),
    ("icon that is not there", "index.html", "/icon.svg", "/logo.svg", "MISSING_FILE index.html:2:13"),
    ("missing class", "src/App.tsx", "styles.main", "styles.mian", "MISSING_CLASS src/App.tsx:11:29"),
    ("no such export of a library", "src/main.tsx", "{ createRoot }", "{ createRoots as createRoot }", "MISSING_EXPORT src/main.tsx:1:10"),
    ("a property that the type lacks", "src/lib/format.ts", "${value}", "${value.none}", ""),
];

/// Others.
pub(crate) const MORE: &[Fault] = &[
    ("a property without a colon", "src/index.css", "margin: 0;", "margin 0;", "INVALID_CSS src/index.css:2:"),
    ("image of a style sheet", "src/index.css", "margin: 0;", "background: url(./none.png);", "MISSING_FILE src/index.css:2:"),
];

/// The project with a fault.
pub(crate) fn planted(file: &str, from: &str, to: &str) -> Vec<(&'static str, String)> {
    let found = PROJECT.iter().find(|(path, _)| *path == file).unwrap_or_else(|| panic!("no file {file}"));
    assert!(found.1.contains(from), "{from} is not in {file}");
    let changed = |path: &str, text: &str| if path == file { text.replacen(from, to, 1) } else { text.to_owned() };
    PROJECT.iter().map(|(path, text)| (*path, changed(path, text))).collect()
}
