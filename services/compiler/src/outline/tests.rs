use compiler_client::message::outline::SymbolKind;

use super::*;

fn of(path: &str, text: &str) -> FileOutline {
    let content = text.as_bytes().to_vec();
    let file = File { path: path.to_owned(), id: "id".to_owned(), size: content.len() as u64, content: Some(content.into()) };
    let answer = outline(OutlineRequest { files: vec![file] }, &mut |_| ());
    answer.outlines.into_iter().next().expect("an outline")
}

/// `kind name first-last`, with `+` for an exported symbol.
fn symbols(path: &str, text: &str) -> Vec<String> {
    let brief = |symbol: &compiler_client::message::outline::Symbol| {
        let sign = if symbol.is_exported { "+" } else { "" };
        format!("{sign}{:?} {} {}-{}", symbol.kind(), symbol.name, symbol.first_line, symbol.last_line)
    };
    of(path, text).symbols.iter().map(brief).collect()
}

fn imports(path: &str, text: &str) -> Vec<String> {
    of(path, text).imports.iter().map(|import| format!("{} {}", import.specifier, import.line)).collect()
}

const SCRIPT: &str = "import a from './a';
import type { T } from \"t\";
export * from './all';
export { x } from './from';
export interface Props { a: T }
type Local = string;
export enum Color { Red }
const one = 1, two = () => {
  return one;
};
export function App(props: Props) {
  return <p>{props.a}</p>;
}
export const Card = memo(() => <b />);
function plain() { return require('./later'); }
export default class Cart {
  total = 0;
  add() { import('./lazy'); }
  remove = () => {};
  static get size() { return 1; }
}
const { destructured } = props;
export { plain as renamed };
";

#[test]
fn a_script_declares_and_imports() {
    assert_eq!(
        symbols("src/a.tsx", SCRIPT),
        [
            "+Type Props 5-5",
            "Type Local 6-6",
            "+Class Color 7-7",
            "Variable one 8-8",
            "Function two 8-10",
            "+Component App 11-13",
            "+Component Card 14-14",
            "+Function plain 15-15",
            "+Class Cart 16-21",
            "Method Cart.add 18-18",
            "Method Cart.remove 19-19",
            "Method Cart.size 20-20",
        ]
    );
    assert_eq!(imports("src/a.tsx", SCRIPT), ["./a 1", "t 2", "./all 3", "./from 4", "./later 15", "./lazy 18"]);
    assert_eq!(symbols("a.js", "export default () => <p />"), ["+Component default 1-1"]);
    assert_eq!(symbols("a.ts", "const x = <T,>(a: T) => a; const y = <number>x;"), ["Function x 1-1", "Variable y 1-1"]);
}

#[test]
fn a_script_with_an_error_has_what_could_be_read() {
    assert_eq!(symbols("a.js", "function a() {\n}\nfunction b() {\n  if (\n"), ["Function a 1-2"]);
    assert_eq!(symbols("a.js", "const a = 1;\nconst = 2;\nconst b = 3;\n"), ["Variable a 1-1"]);
    assert_eq!(imports("a.js", "import x from 'x'\nfunction ((("), ["x 1"]);
    assert_eq!(symbols("a.js", "((("), Vec::<String>::new());
}

#[test]
fn pages_and_components_have_scripts_ids_and_headings() {
    let page = "<!doctype html>\n<link rel=stylesheet href=/a.css>\n<h1>The <b>title</b>\n here</h1>\n<main id=root>\n\
        <script type=module>\nimport './x';\nfunction f() {}\n</script>\n\
        <script src=\"/b.js\"></script><script type=importmap>{\"imports\":{}}</script>";
    assert_eq!(symbols("index.html", page), ["Heading The title here 3-4", "ElementId root 5-5", "Function f 8-8"]);
    assert_eq!(imports("index.html", page), ["/a.css 2", "./x 7", "/b.js 10"]);
    let vue = "<script setup lang=\"ts\">\nimport A from './A.vue';\nconst n: number = 1;\n</script>\n\
        <template>\n  <A id=\"a\" :id=\"b\" v-if=\"1 < 2\"/>\n</template>";
    assert_eq!(
        (symbols("A.vue", vue), imports("A.vue", vue)),
        (vec!["Variable n 3-3".to_owned(), "ElementId a 6-6".to_owned()], vec!["./A.vue 2".to_owned()])
    );
    let svelte = "<script>\n  export let name;\n  $: double = name * 2;\n</script>\n{#if name < 3}<p id={name}>{name}</p>{/if}\n<h2>x</h2>";
    assert_eq!(symbols("A.svelte", svelte), ["+Variable name 2-2", "Heading x 6-6"]);
}

#[test]
fn style_sheets_have_classes() {
    let css = "/* .no { */\n.a, .b > .a:hover[x='.no'] {\n  width: .5em;\n  background: url(a.png);\n\
        .inner { color: red }\n}\n@import 'x.css';\n\
        @layer base.no { .md\\:flex { a: b } }\n.open {";
    let expected = ["CssClass a 2-6", "CssClass b 2-6", "CssClass inner 5-5", "CssClass md:flex 8-8", "CssClass open 9-9"];
    assert_eq!(symbols("a.css", css), expected);
    let scss = "// don't .no {\n$a: 'x';\n.a-#{$a} { &:hover { b: c } }\n@include m.no { .z { d: url(https://x.y/z) } }\n";
    assert_eq!(symbols("a.scss", scss), ["CssClass a- 3-3", "CssClass z 4-4"]);
}

#[test]
fn documents_and_data_have_headings_and_keys() {
    let text = "---\ntitle: x\n---\n# One `two`\n\ntext\n\nThree\n*four*\n=====\n```\n# no\n```\n";
    assert_eq!(symbols("a.md", text), ["Heading One two 4-4", "Heading Three four 8-10"]);
    let json = "{\n  \"name\": \"x\",\n  \"scripts\": {\n    \"build\": { \"deep\": 1 }\n  },\n  // comment\n  \"list\": [{ \"a\": 1 }]\n}";
    assert_eq!(symbols("a.json", json), ["JsonKey name 2-2", "JsonKey scripts 3-5", "JsonKey scripts.build 4-4", "JsonKey list 7-7"]);
    assert_eq!(symbols("a.json", "{\"a\": "), Vec::<String>::new());
}

#[test]
fn other_languages_have_declarations() {
    let python = "import os, sys as s\nfrom .models import User\nLIMIT = 3\n@app.get('/')\ndef index():\n    pass\n\
        class A(B):\n    @property\n    def x(self):\n        pass\n";
    let expected = ["Variable LIMIT 3-3", "Function index 4-6", "Class A 7-10", "Method A.x 8-10"];
    assert_eq!(
        (symbols("a.py", python), imports("a.py", python)),
        (expected.map(str::to_owned).to_vec(), ["os 1", "sys 1", ".models 2"].map(str::to_owned).to_vec())
    );
    let rust =
        "use std::fmt;\npub struct A<T>(T);\nimpl<T> A<T> {\n    pub fn get(&self) {}\n}\ntrait B {}\nconst C: u8 = 1;\npub fn main() {}\n";
    let expected = ["+Class A 2-2", "+Method A.get 4-4", "Type B 6-6", "Variable C 7-7", "+Function main 8-8"];
    assert_eq!((symbols("a.rs", rust), imports("a.rs", rust)), (expected.map(str::to_owned).to_vec(), vec!["std::fmt 1".to_owned()]));
    let go = "package a\nimport (\n\t\"fmt\"\n\tb \"x/y\"\n)\ntype (\n\tA struct{}\n\tB interface{}\n)\n\
        func (a *A) Get() {}\nfunc main() {}\nvar x = 1\n";
    let expected = ["+Class A 7-7", "+Type B 8-8", "+Method A.Get 10-10", "Function main 11-11", "Variable x 12-12"];
    assert_eq!(
        (symbols("a.go", go), imports("a.go", go)),
        (expected.map(str::to_owned).to_vec(), ["fmt 3", "x/y 4"].map(str::to_owned).to_vec())
    );
}

#[test]
fn what_is_no_text_or_too_much_has_no_outline() {
    let none = |path: &str, text: &str| of(path, text) == FileOutline { id: "id".to_owned(), ..FileOutline::default() };
    let large = "a".repeat(MAX_BYTES as usize + 1);
    assert!(none("a.png", "x") && none("a.js", "a\0b") && none("a.js", &large) && none("a.min.js", "let a"));
    assert!(none("a.js", &"(".repeat(5_000)) && none("a.json", &"[".repeat(5_000)));
    let bytes = File { path: "a.js".to_owned(), content: Some(vec![0xff, 0xfe].into()), ..File::default() };
    assert_eq!(outline(OutlineRequest { files: vec![bytes] }, &mut |_| ()).outlines, [FileOutline::default()]);
    assert_eq!(of("a.js", "").language, "javascript", "an empty file has an empty outline");
}

#[test]
fn an_outline_has_limits() {
    let many: String = (0..300).map(|n| format!("import './m{n}'; const c{n} = 1;\n")).collect();
    let found = of("a.js", &many);
    assert_eq!((found.symbols.len(), found.imports.len()), (200, 200));
    let long = format!("const {} = 1", "ü".repeat(500));
    assert_eq!(of("a.js", &long).symbols[0].name.chars().count(), 120);
    assert_eq!(of("a.js", &long).symbols[0].kind(), SymbolKind::Variable);
    // One line, whose symbols would cost its length each.
    let line: String = (0..40_000).map(|n| format!("let v{n};")).collect();
    assert_eq!(of("a.js", &line).symbols.len(), 200);
}
