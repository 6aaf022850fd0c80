//! The check of projects without a page that a preview shows: servers, frameworks and libraries.

use compiler_client::message::{Answer, Request};

use crate::support::{brief, compile, request};

type Files = &'static [(&'static str, &'static str)];

/// Projects without faults. Whether they are plain follows from the names of the files, as `layout::is_compiled` says.
const PROJECTS: &[(&str, bool, Files)] = &[
    ("a server in JavaScript", true, EXPRESS),
    (
        "a server in TypeScript",
        false,
        &[
            (
                "package.json",
                r#"{"scripts":{"start":"node dist/main.js"},"dependencies":{"express":"5"},"devDependencies":{"typescript":"5"}}"#,
            ),
            ("tsconfig.json", "{ \"compilerOptions\": { \"strict\": true } }"),
            (
                "src/main.ts",
                "import { readFileSync } from 'node:fs';\nimport express from 'express';\nimport { routes } from './routes.js';\nconst app = express();\napp.use(routes, express.static(__dirname), readFileSync('a'));\napp.listen(process.env.PORT);\n",
            ),
            ("src/routes.ts", "import { Router } from 'express';\nexport const routes: Router = Router();\n"),
            ("src/public/site.css", "body { background: url(/img/back.png) }\n"),
        ],
    ),
    ("a server of Bun", false, &[("package.json", r#"{"name":"bun"}"#), ("index.ts", "Bun.serve({ fetch: () => new Response('a') });\n")]),
    ("Next.js", false, NEXT),
    (
        "Next.js in JavaScript",
        false,
        &[
            ("package.json", r#"{"dependencies":{"next":"15","react":"19","react-dom":"19"}}"#),
            (
                "pages/index.jsx",
                "import Head from 'next/head';\nexport default function Home() { return <Head><title>a</title></Head>; }\n",
            ),
        ],
    ),
    (
        "Nuxt",
        false,
        &[
            ("package.json", r#"{"dependencies":{"nuxt":"4"}}"#),
            ("nuxt.config.ts", "export default defineNuxtConfig({});\n"),
            (
                "composables/count.ts",
                "import { useState } from '#imports';\nimport { one } from '~/lib/one';\nimport { two } from '@/lib/two';\nexport const count = ref(one + two + useState());\n",
            ),
        ],
    ),
    (
        "React Router as a framework",
        false,
        &[
            (
                "package.json",
                r#"{"scripts":{"build":"react-router build"},"dependencies":{"react-router":"7","react":"19","react-dom":"19"},"devDependencies":{"@react-router/dev":"7","vite":"7"}}"#,
            ),
            ("vite.config.ts", "import { reactRouter } from '@react-router/dev/vite';\nexport default { plugins: [reactRouter()] };\n"),
            (
                "app/root.tsx",
                "import { Outlet } from 'react-router';\nimport type { Route } from './+types/root';\nexport default function App(props: Route.Props) { return <Outlet {...props} />; }\n",
            ),
        ],
    ),
    (
        "a library with tests",
        false,
        &[
            ("package.json", r#"{"name":"sum","exports":"./dist/index.js","devDependencies":{"vitest":"3","vite":"7"}}"#),
            ("vite.config.ts", "export default { build: { lib: { entry: 'src/index.ts' } }, test: { globals: true } };\n"),
            ("src/index.ts", "export const sum = (a: number, b: number): number => a + b;\n"),
            (
                "test/sum.test.ts",
                "import { sum } from '../src/index';\ndescribe('sum', () => { it('adds', () => expect(sum(1, 2)).toBe(3)); });\n",
            ),
        ],
    ),
    (
        "a library of components",
        false,
        &[
            ("package.json", r#"{"name":"parts","peerDependencies":{"react":"19","react-dom":"19"}}"#),
            ("vite.config.ts", "export default { build: { lib: { entry: 'src/main.tsx' } } };\n"),
            ("src/main.tsx", "export const Part = () => <p>a</p>;\n"),
        ],
    ),
    ("an empty manifest", true, &[("package.json", "{}"), ("index.js", "module.exports = require('fs');\n")]),
    ("an empty manifest with sources", false, &[("package.json", "{}"), ("src/index.js", "module.exports = require('fs');\n")]),
    ("a manifest without scripts", false, &[("package.json", r#"{"name":"a"}"#), ("src/a.ts", "export const a = 1;\n")]),
    (
        "workspaces",
        false,
        &[
            ("package.json", r#"{"private":true,"workspaces":["packages/*"]}"#),
            ("packages/web/package.json", r#"{"name":"@acme/web","dependencies":{"react":"19","react-dom":"19"}}"#),
            ("packages/web/index.html", "<script type=module src=/src/main.tsx></script>"),
            (
                "packages/web/src/main.tsx",
                "import { createRoot } from 'react-dom/client';\nimport { name } from '@acme/shared';\nimport { App } from '@/App';\ncreateRoot(document.body).render(<App name={name} />);\n",
            ),
            ("packages/shared/package.json", r#"{"name":"@acme/shared"}"#),
            ("packages/shared/index.ts", "export const name = 'a';\n"),
        ],
    ),
    (
        "pages of a server in Python",
        true,
        &[
            ("app.py", "app = Flask(__name__)\n"),
            (
                "templates/index.html",
                "<link rel=stylesheet href=\"{{ url_for('static', filename='site.css') }}\"><script src=/static/a.js></script>\n",
            ),
            ("static/site.css", "body { background: url(/static/a.png) }\n"),
            ("static/a.js", "console.log(1);\n"),
        ],
    ),
    (
        "Solid with a page",
        false,
        &[
            ("package.json", r#"{"dependencies":{"solid-js":"1"},"devDependencies":{"vite":"7"}}"#),
            ("vite.config.js", "export default {};\n"),
            ("index.html", "<script type=module src=/src/main.jsx></script>"),
            ("src/main.jsx", "import { render } from 'solid-js/web';\nrender(() => <p>a</p>, document.body);\n"),
        ],
    ),
];

const EXPRESS: Files = &[
    ("package.json", r#"{"scripts":{"start":"node server.js"},"dependencies":{"express":"5"}}"#),
    (
        "server.js",
        "const express = require('express');\nconst app = express();\napp.use(express.static('public'), require('./routes'));\napp.listen(3000);\n",
    ),
    ("routes/index.js", "module.exports = (request, response, next) => next();\n"),
    (
        "public/index.html",
        "<!doctype html>\n<link rel=stylesheet href=/css/site.css>\n<script src=/socket.io/socket.io.js></script>\n<script type=module src=/app.js></script>\n<img src=/api/logo>\n",
    ),
    ("public/css/site.css", "body { background: url(/img/back.png) }\n"),
    ("public/app.js", "import { greet } from './greet.js';\nimport '/lib/made.js';\ngreet();\n"),
    ("public/greet.js", "export const greet = () => console.log(1);\n"),
];

const NEXT: Files = &[
    (
        "package.json",
        r#"{"scripts":{"dev":"next dev"},"dependencies":{"next":"15","react":"19","react-dom":"19"},"devDependencies":{"typescript":"5"}}"#,
    ),
    ("tsconfig.json", r#"{"compilerOptions":{"jsx":"preserve","paths":{"@/*":["./*"]}}}"#),
    ("next.config.mjs", "export default { images: { unoptimized: true } };\n"),
    (
        "app/layout.tsx",
        "import type { Metadata } from 'next';\nimport './globals.css';\nexport const metadata: Metadata = { title: 'a' };\nexport default function Layout({ children }: { children: React.ReactNode }) { return <html><body>{children}</body></html>; }\n",
    ),
    (
        "app/page.tsx",
        "import Image from 'next/image';\nimport { cookies } from 'next/headers';\nimport { Card } from '@/components/card';\nimport logo from '../public/logo.svg';\nexport default async function Page() { return <Card title={String(await cookies())}><Image src={logo} alt='' /></Card>; }\n",
    ),
    ("app/api/route.ts", "import fs from 'fs';\nexport async function GET() { return Response.json(fs.readdirSync(process.cwd())); }\n"),
    ("app/globals.css", "body { margin: 0 }\n"),
    ("app/guide/page.mdx", "# Guide\n"),
    (
        "components/card.tsx",
        "import styles from './card.module.css';\nexport const Card = (props: { title: string; children?: React.ReactNode }) => <div className={styles.card} {...props} />;\n",
    ),
    ("components/card.module.css", ".card { color: red }\n"),
    ("public/logo.svg", "<svg/>"),
];

/// A fault of a project: the file, a text of it, what stands there instead, and the only error.
const FAULTS: &[(Files, bool, &str, &str, &str, &str)] = &[
    (EXPRESS, true, "server.js", "express();", "express(;", "SYNTAX_ERROR server.js:2:"),
    (EXPRESS, true, "package.json", "}}", "}", "INVALID_JSON package.json:1:"),
    (EXPRESS, true, "public/app.js", "./greet.js", "./great.js", "UNRESOLVED_IMPORT public/app.js:1:"),
    (EXPRESS, true, "public/app.js", "{ greet }", "{ meet as greet }", "MISSING_EXPORT public/app.js:1:"),
    (NEXT, false, "next.config.mjs", "unoptimized: true", "unoptimized:", "SYNTAX_ERROR next.config.mjs:1:"),
    (NEXT, false, "app/page.tsx", "@/components/card", "@/components/cart", "UNRESOLVED_IMPORT app/page.tsx:3:"),
    (NEXT, false, "app/page.tsx", "{ Card }", "{ Cart as Card }", "MISSING_EXPORT app/page.tsx:3:"),
    (NEXT, false, "app/api/route.ts", "'fs'", "'fs-extra'", "MISSING_PACKAGE app/api/route.ts:1:"),
    (NEXT, false, "app/api/route.ts", "process.cwd()", "folder", "UNDEFINED_NAME app/api/route.ts:2:"),
    (NEXT, false, "app/globals.css", "0 }", "0", "INVALID_CSS app/globals.css:1:"),
];

fn check(files: &[(&str, &str)], is_plain: bool) -> Answer {
    compile(Request { is_plain, ..request(files) })
}

fn errors(answer: &Answer) -> Vec<String> {
    brief(&answer.findings.iter().filter(|finding| !finding.is_warning).cloned().collect::<Vec<_>>())
}

#[test]
fn a_project_without_a_preview_has_no_errors_of_one() {
    let found: Vec<_> = PROJECTS.iter().map(|(name, is_plain, files)| (*name, errors(&check(files, *is_plain)))).collect();
    let wrong: Vec<_> = found.iter().filter(|(_, errors)| !errors.is_empty()).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_fault_of_such_a_project_is_an_error() {
    let mut wrong = Vec::new();
    for (files, is_plain, path, from, to, expected) in FAULTS {
        let original = files.iter().find(|(at, _)| at == path).unwrap_or_else(|| panic!("no file {path}")).1;
        assert!(original.contains(from), "{from} is not in {path}");
        let text = original.replacen(from, to, 1);
        let faulty: Vec<_> = files.iter().map(|(at, original)| (*at, if at == path { text.as_str() } else { original })).collect();
        let found = errors(&check(&faulty, *is_plain));
        if found.len() != 1 || !found[0].starts_with(expected) {
            wrong.push((expected, found));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn what_concerns_the_preview_is_a_warning_and_in_its_page() {
    let next = check(NEXT, false);
    assert_eq!(brief(&next.findings), ["UNSUPPORTED package.json:1:47"]);
    assert!(next.findings[0].is_warning && next.page.is_empty());
    assert!(next.error_page.contains("Next.js needs a server"), "{}", next.error_page);
    let library = check(&[("package.json", "{}"), ("src/a.ts", "")], false);
    assert_eq!(brief(&library.findings), ["MISSING_PAGE index.html:1:1"]);
    assert!(library.findings[0].is_warning && library.error_page.contains("no index.html"), "{}", library.error_page);
    // The page itself keeps its error, and so has a publication.
    let page = compile(Request { check_all: false, ..request(NEXT) });
    assert!(page.findings.iter().any(|finding| !finding.is_warning), "{:?}", page.findings);
}

#[test]
fn an_app_of_vite_needs_its_page() {
    let files = [
        ("package.json", r#"{"dependencies":{"react":"19","react-dom":"19"},"devDependencies":{"vite":"7"}}"#),
        ("vite.config.ts", "export default {};\n"),
        ("src/main.tsx", "import { createRoot } from 'react-dom/client';\ncreateRoot(document.body).render(<p>a</p>);\n"),
    ];
    assert_eq!(errors(&check(&files, false)), ["MISSING_PAGE index.html:1:1"]);
}
