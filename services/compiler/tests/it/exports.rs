//! Exports that are types: the code of a module does not have them.

use compiler_client::message::Answer;

use crate::{
    support::{answer, answer_with_tools, brief},
    tools::MANIFEST,
};

const TYPES: &str = "export interface User {}\nexport type Id = string;\nexport declare class Model {}\nexport declare function load(): void;\n\
    export declare const VERSION: string;\nexport declare enum Far { A }\nexport namespace Types { export type A = 1 }\n\
    interface Local {}\nexport { Local };\nexport type { Id as Key };\nexport default interface Main {}\n\
    export enum Color { Red }\nexport const enum Size { Small }\nexport namespace Tools { export const a = 1 }\n\
    export abstract class Shape { abstract draw(): void }\nexport class Circle {}\nexport interface Both {}\nexport const Both = 1;\n\
    export const [first, { second }] = [1, { second: 2 }];\nexport function overloaded(a: string): void;\nexport function overloaded() {}\n\
    const own = 1;\nexport { own as renamed };\nexport * as all from './others';\n";
const VERBATIM: &str = r#"{"compilerOptions":{"verbatimModuleSyntax":true}}"#;

fn with(configuration: &str, main: &str) -> Answer {
    answer(&[
        ("tsconfig.json", configuration),
        ("src/main.tsx", main),
        ("src/t.ts", TYPES),
        ("src/all.ts", "export * from './t';\nexport * from './others';\n"),
        ("src/others.ts", "export const other = 1;\n"),
    ])
}

#[test]
fn an_import_of_a_type_that_stays_has_a_finding() {
    for name in ["User", "Id", "Model", "load", "VERSION", "Far", "Types", "Local", "Key"] {
        for file in ["t", "all"] {
            let answer = with(VERBATIM, &format!("import {{ {name} }} from './{file}';\n"));
            assert_eq!(brief(&answer.findings), ["MISSING_EXPORT src/main.tsx:1:10"], "{name} of {file}");
            assert!(answer.findings[0].help.contains("`import type`") && answer.page.is_empty(), "{:#?}", answer.findings);
        }
    }
    let default = with(VERBATIM, "import Main from './t';\n");
    assert_eq!(brief(&default.findings), ["MISSING_EXPORT src/main.tsx:1:8"]);
    let absent = with(VERBATIM, "import { Absent } from './t';\n");
    assert_eq!(brief(&absent.findings), ["MISSING_EXPORT src/main.tsx:1:10"]);
    let (message, help) = (&absent.findings[0].message, &absent.findings[0].help);
    assert!(message.contains("no export named Absent") && help.contains("Both, Circle, Color") && !help.contains("User"), "{help}");
}

#[test]
fn values_are_exports() {
    for name in ["Color", "Size", "Tools", "Shape", "Circle", "Both", "first", "second", "overloaded", "renamed", "all"] {
        for (configuration, file) in [(VERBATIM, "t"), (VERBATIM, "all"), ("{}", "t")] {
            let answer = with(configuration, &format!("import {{ {name} }} from './{file}';\nconsole.log({name});\n"));
            assert_eq!(brief(&answer.findings), Vec::<String>::new(), "{name} of {file}");
        }
    }
}

#[test]
fn an_import_of_a_type_that_is_removed_has_none() {
    for (configuration, main) in [
        ("{}", "import { User, Id, Color } from './t';\nexport const user: User & Id = Color.Red;\n"),
        ("{}", "import Main from './t';\nexport type Other = Main;\n"),
        ("{}", "export * from './t';\n"),
        (
            VERBATIM,
            "import type { User } from './t';\nimport { type Id, Color } from './t';\nexport type { User, Id };\nexport { Color };\n",
        ),
        (VERBATIM, "export type { User } from './t';\nexport { type Id, Color } from './all';\nexport type * from './t';\n"),
    ] {
        assert_eq!(brief(&with(configuration, main).findings), Vec::<String>::new(), "{main}");
    }
    // A file that the page does not load may be compiled by a tool that knows all files.
    let unused =
        answer(&[("src/main.tsx", ""), ("src/t.ts", TYPES), ("src/others.ts", ""), ("src/unused.ts", "export { User } from './t';\n")]);
    assert_eq!(brief(&unused.findings), Vec::<String>::new());
}

#[test]
fn a_type_that_is_exported_again_has_a_finding_where_that_is_written() {
    let again = with("{}", "export { User } from './t';\n");
    assert_eq!(brief(&again.findings), ["MISSING_EXPORT src/main.tsx:1:10"]);
    assert!(again.findings[0].help.contains("`export type`"), "{:#?}", again.findings);
    let script = answer(&[
        ("src/main.tsx", "import './b';\n"),
        ("src/b.js", "import { User } from './t';\n"),
        ("src/t.ts", "export type User = 1;\n"),
    ]);
    assert_eq!(brief(&script.findings), ["MISSING_EXPORT src/b.js:1:10"]);
}

#[test]
fn types_of_and_in_components_are_no_exports() {
    let svelte = "<script lang=\"ts\">\n  import { User } from './t';\n  const a: User = {};\n</script>\n<p>{a}</p>";
    let vue = "<script lang=\"ts\">\nexport interface Props { a: string }\nexport default {}\n</script>\n<template><p/></template>";
    let answer = answer_with_tools(&[
        MANIFEST,
        ("tsconfig.json", VERBATIM),
        ("src/main.ts", "import './A.svelte';\nimport B, { Props } from './B.vue';\nconsole.log(B);\nexport type P = Props;\n"),
        ("src/A.svelte", svelte),
        ("src/B.vue", vue),
        ("src/t.ts", "export interface User {}\n"),
    ]);
    let errors: Vec<_> = answer.findings.iter().filter(|found| !found.is_warning).cloned().collect();
    assert_eq!(brief(&errors), ["MISSING_EXPORT src/A.svelte:2:12", "MISSING_EXPORT src/main.ts:2:13"]);
    let types = "import './A.svelte';\nimport B, { type Props } from './B.vue';\nconsole.log(B);\nexport type P = Props;\n";
    let answer = answer_with_tools(&[
        MANIFEST,
        ("tsconfig.json", VERBATIM),
        ("src/main.ts", types),
        ("src/A.svelte", &svelte.replace("import {", "import type {")),
        ("src/B.vue", vue),
        ("src/t.ts", "export interface User {}\n"),
    ]);
    assert!(answer.findings.iter().all(|found| found.is_warning) && !answer.page.is_empty(), "{:#?}", answer.findings);
}
