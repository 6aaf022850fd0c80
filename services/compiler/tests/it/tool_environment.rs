//! What the code of a tool finds.

use compiler::packages::bundle;
use compiler_client::message::{
    PackagesRequest, Request,
    tools::{SVELTE, Tool},
};

use crate::{
    packages::THREADS,
    support::{brief, file, request, workers},
    tools::MANIFEST,
};

#[tokio::test(flavor = "multi_thread")]
async fn the_meta_object_of_a_tool_is_empty() {
    let files = [
        ("package.json", r#"{"name": "svelte", "version": "5.0.0", "exports": {"./compiler": "./compiler.js"}}"#),
        (
            "compiler.js",
            "const { meta = import.meta } = {};
            const found = [typeof meta, import.meta.url, import.meta.env?.SSR, import.meta.env?.MODE, Object.keys(import.meta).length];
            export const VERSION = '5';
            export const compile = () => { throw new Error(`found ${found}`) };
            export const compileModule = compile;",
        ),
    ];
    let files = files.map(|(name, text)| file(&format!("node_modules/svelte/{name}"), text.as_bytes())).to_vec();
    let specifiers = vec![SVELTE.to_owned()];
    let packages = PackagesRequest { files, specifiers, mode: "production".to_owned(), ..PackagesRequest::default() };
    let answer = std::thread::spawn(|| bundle(packages, &THREADS)).join().expect("a bundle");
    assert_eq!(brief(&answer.findings), Vec::<String>::new());
    let module = answer.modules[0].clone();
    let tools = vec![Tool { specifier: SVELTE.to_owned(), id: module.url, code: module.code }];
    let page = [
        ("index.html", "<script type=module src=/src/main.ts></script>"),
        MANIFEST,
        ("src/main.ts", "import './A.svelte';"),
        ("src/A.svelte", "<p>a</p>"),
    ];
    let answer = workers().compile(&Request { tools, ..request(&page) }).await.expect("an answer");
    let messages: Vec<_> = answer.findings.iter().map(|finding| finding.message.as_str()).collect();
    assert!(messages.iter().any(|message| message.contains("found object,,,production,0")), "{messages:?}");
}
