//! Files of Svelte and Vue in packages.

use compiler::packages::bundle;
use compiler_client::message::{
    PackagesAnswer, PackagesRequest,
    tools::{SVELTE, VUE},
};

use crate::{
    packages::{THREADS, small_packages, text},
    support::{brief, file},
    tools,
};

const ROUTER: &str = "<script module>
  import { state } from './state.svelte.js';
  export const push = (to) => { state.at = to; };
</script>
<script lang=\"ts\">
  import Part from './Part.svelte';
  let { base = '/' }: { base?: string } = $props();
</script>
<p><Part text={base + state.at} /></p>
<style>
  p { color: red; background: url('./a.png') }
</style>
";

const UI: &[(&str, &str)] = &[
    (
        "package.json",
        r#"{"type": "module", "exports": {".": {"types": "./x.d.ts", "svelte": "./Router.svelte"}, "./card": "./Card.vue", "./broken": "./Broken.svelte"}}"#,
    ),
    ("Router.svelte", ROUTER),
    ("Part.svelte", "<script>let { text } = $props();</script>\n<p>part {text}</p>\n<style>p { margin: 7px }</style>"),
    ("state.svelte.js", "export const state = $state({ at: '' });"),
    (
        "Card.vue",
        "<script setup lang=\"ts\">defineProps<{ name: string }>()</script>\n<template><p>card {{ name }}</p></template>\n<style scoped>p { padding: 9px }</style>",
    ),
    ("Broken.svelte", "<p>{#if}</p>"),
    ("a.png", "png"),
];

fn bundled(specifiers: &[&str], mode: &str, has_tools: bool) -> PackagesAnswer {
    let mut files = small_packages();
    files.extend(UI.iter().map(|(path, text)| file(&format!("node_modules/ui/{path}"), text.as_bytes())));
    let specifiers = specifiers.iter().map(|specifier| (*specifier).to_owned()).collect();
    let tools = if has_tools { tools::all() } else { Vec::new() };
    bundle(PackagesRequest { files, specifiers, mode: mode.to_owned(), tools, ..PackagesRequest::default() }, &THREADS)
}

fn code(answer: &PackagesAnswer) -> String {
    answer.modules.iter().map(text).collect()
}

#[test]
fn a_bundle_asks_for_the_tools_that_it_needs() {
    let answer = bundled(&["ui", "ui/card", "svelte"], "", false);
    assert_eq!(answer, PackagesAnswer { wanted_tools: vec![SVELTE.to_owned(), VUE.to_owned()], ..PackagesAnswer::default() });
    assert_eq!(bundled(&["svelte", "vue"], "", false).wanted_tools, Vec::<String>::new());
}

#[test]
fn components_of_packages_are_scripts_and_style_sheets() {
    for mode in ["", "production"] {
        let answer = bundled(&["ui", "ui/card", "svelte", "vue"], mode, true);
        assert_eq!(brief(&answer.findings), Vec::<String>::new(), "{mode}");
        let specifiers: Vec<_> = answer.packages.iter().map(|package| package.specifier.as_str()).collect();
        assert_eq!(specifiers, ["svelte", "ui", "ui/card", "vue"]);
        let code = code(&answer);
        for part in ["part ", "card ", "7px", "9px", "data-v-", "url(", "@a/"] {
            assert!(code.contains(part), "{mode}: {part}");
        }
        for source in ["= $state({", "defineProps<", "lang=\"ts\""] {
            assert!(!code.contains(source), "{mode}: {source}");
        }
        let router = answer.packages.iter().find(|package| package.specifier == "ui").expect("ui");
        let entry = answer.modules.iter().find(|module| module.url == router.url).expect("its module");
        let entry = text(entry);
        assert!(entry.contains("push") && entry.contains("default"), "{entry}");
        assert_eq!(answer.resources.len(), 1, "{:?}", answer.resources);
        assert_eq!(bundled(&["ui", "ui/card", "svelte", "vue"], mode, true), answer, "the same files have the same answer");
    }
}

#[test]
fn a_broken_component_of_a_package_has_a_finding() {
    let answer = bundled(&["ui/broken"], "", true);
    assert_eq!(brief(&answer.findings), ["SVELTE_SYNTAX node_modules/ui/Broken.svelte:1:1"]);
}
