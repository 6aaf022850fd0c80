//! Addresses with variables in `import()` and `new URL`, in previews and in sites.

use serde_json::json;

use crate::{
    site::{contents, run, site},
    support::{answer, brief, code, compile, request},
};

const MAIN: &str = "const names: string[] = ['a', 'b', 'deep/c'];\nconst [a, b, deep] = names;\n\
    const [page, sum, old, fixed, text] = await Promise.all([import(`./pages/${a}.ts`), import('./pages/' + b + '.ts'),\n\
    import('./pages/'.concat(a, '.ts')), import(`./fixed.ts`), import(`./notes/${a}.txt?raw`)]);\n\
    const failed = await import(`./pages/${deep}.ts`).catch((error) => error.message);\n\
    const image = new URL(`./img/${a}.png?v=1#x`, import.meta.url).href;\n\
    const plain = new URL('img/' + a + '.png', import.meta.url).href;\n\
    const one = new URL(`./img/a.png`, import.meta.url).href;\n\
    const none = new URL(`./img/${deep}.png`, import.meta.url).href;\n\
    const foreign = [() => import(a), () => import(`https://a.example/${a}.js`), new URL(`https://a.example/${a}`, import.meta.url).href];\n\
    console.log(JSON.stringify({ page: page.default, sum: sum.default, old: old.default, fixed: fixed.default, text: text.default,\n\
    failed, image, plain, one, none, foreign: foreign[2] }));";

const FILES: &[(&str, &str)] = &[
    ("index.html", "<!doctype html><head></head><script type=module src=/src/main.ts></script>"),
    ("src/main.ts", MAIN),
    ("src/pages/a.ts", "const name: string = 'page a'; export default name;"),
    ("src/pages/b.ts", "export default 'page b';"),
    ("src/pages/deep/c.ts", "export default 'page c';"),
    ("src/fixed.ts", "export default 'fixed';"),
    ("src/notes/a.txt", "note a"),
    ("src/img/a.png", "png a"),
    ("src/img/deep/c.png", "png c"),
];

#[test]
fn a_preview_finds_the_files_when_the_code_runs() {
    let answer = compile(request(FILES));
    assert_eq!(brief(&answer.findings), Vec::<String>::new());
    let main = code(&answer, "src/main.ts");
    for part in [
        "(`./pages/${a}.ts`)",
        "(\"./pages/\" + b + \".ts\")",
        "(`./notes/${a}.txt?raw`)",
        "import(a)",
        "import(`https://a.example/${a}.js`)",
    ] {
        assert!(main.contains(part), "{part} is not in {main}");
    }
    assert!(!main.contains("import(`./") && !main.contains("import(\"./"), "{main}");
    assert!(main.contains("Import(\"/src/fixed.ts\")") && main.contains("from \"/src/img/a.png?url\""), "{main}");
    let text = |part: &str| {
        let found = answer.resources.iter().find(|resource| resource.text.contains(part));
        found.unwrap_or_else(|| panic!("{part} is in no module")).text.as_str()
    };
    let pages = text("\"./pages/a.ts\": () => load(\"/src/pages/a.ts\"), \"./pages/b.ts\": () => load(\"/src/pages/b.ts\") }");
    assert!(pages.contains("Unknown variable dynamic import") && pages.contains("function load(specifier)"), "{pages}");
    assert!(text("\"./img/a.png\": file0").contains("import { \"default\" as file0 } from \"/src/img/a.png?url\";"));
    assert!(text("\"./notes/a.txt?raw\": () =>").contains("load(\"/src/notes/a.txt?raw\")"));
    // What only a variable names is compiled, and an image has an address.
    assert!(code(&answer, "src/pages/b.ts").contains("page b") && answer.page.contains("\"/src/pages/b.ts\":\"/@m/"), "{}", answer.page);
    assert!(answer.resources.iter().any(|resource| resource.path == "src/img/a.png"));
    assert!(answer.resources.iter().all(|resource| resource.path != "src/img/deep/c.png"), "a variable stands for no slash");
}

#[test]
fn a_site_finds_the_same_files() {
    let answer = site(FILES);
    assert_eq!(brief(&answer.findings), Vec::<String>::new());
    let contents = contents(&answer, FILES);
    let main = contents.keys().find(|path| path.starts_with("assets/main-")).expect("a script").clone();
    let printed: serde_json::Value = serde_json::from_str(&run(&contents, &main)).expect("JSON");
    let found = ["page", "sum", "old", "fixed", "text"].map(|name| printed[name].as_str().unwrap_or_default());
    assert_eq!(found, ["page a", "page b", "page a", "fixed", "note a"]);
    assert!(printed["failed"].as_str().is_some_and(|message| message.starts_with("Unknown variable dynamic import: ./pages/deep/c.ts")));
    for (name, end) in [("image", "?v=1#x"), ("plain", ""), ("one", "")] {
        let address = printed[name].as_str().and_then(|address| address.strip_suffix(end)).expect("an address");
        assert!(contents.keys().any(|path| path.starts_with("assets/a-") && address.ends_with(path.as_str())), "{name}: {address}");
    }
    assert!(printed["none"].as_str().is_some_and(|address| address.ends_with("/img/deep/c.png")), "{printed}");
    assert_eq!(printed["foreign"], json!("https://a.example/a"));
}

#[test]
fn an_address_that_does_not_say_its_files_has_a_warning() {
    for (line, expected) in [
        ("import(`./${name}`)", Some("with the extension")),
        ("import(`./pages/${name}`)", Some("with the extension")),
        ("import('./pages/' + name)", Some("with the extension")),
        ("import(`./${name}.ts`)", Some("its own folder")),
        ("import(`./a-${name}.ts`)", None),
        ("import(`../${name}.ts`)", None),
        ("import(`/src/pages/${name}.ts`)", Some("neither ./ nor ../")),
        ("import(`@/pages/${name}.ts`)", Some("neither ./ nor ../")),
        ("import(`./pages/*${name}.ts`)", Some("has a *")),
        ("import(`./../src/${name}.ts`)", Some("needless steps")),
        ("import(`./pages/a.ts?${name}`)", Some("has a variable")),
        ("import(/* @vite-ignore */ `./pages/${name}`)", None),
        ("import(/* a name */ /* @vite-ignore */ `./pages/${name}`)", None),
        ("import(name)", None),
        ("import(`${name}/a.ts`)", None),
        ("new URL(`./${name}`, import.meta.url)", Some("neither a folder nor an extension")),
        ("new URL('' + name, import.meta.url)", None),
        ("new URL(`./img/${name}`, import.meta.url)", None),
        ("new URL(`./${name}.png`, import.meta.url)", None),
        ("new URL(/* @vite-ignore */ `./${name}`, import.meta.url)", None),
        ("new URL(`#${name}`, import.meta.url)", None),
        ("new Worker(new URL(`./${name}`, import.meta.url))", Some("neither a folder nor an extension")),
    ] {
        let main = format!("const name = location.hash;\n{line};");
        let answer = answer(&[("src/main.tsx", main.as_str())]);
        let messages: Vec<_> = answer.findings.iter().map(|found| (found.code.as_str(), found.is_warning, found.line)).collect();
        let wanted: Vec<_> = expected.map(|_| ("UNKNOWN_ADDRESS", true, 2)).into_iter().collect();
        assert_eq!(messages, wanted, "{line}");
        if let Some(part) = expected {
            let found = &answer.findings[0];
            assert!(found.message.contains(part) && found.help.contains("@vite-ignore"), "{line}: {found:?}");
        }
        assert!(!answer.page.is_empty(), "{line}");
    }
}

#[test]
fn a_worker_with_a_variable_and_files_that_no_page_loads() {
    let server = "const name = process.argv[2];\nimport(`./commands/${name}`);\nexport default name;";
    let answer = answer(&[
        ("src/main.tsx", "const name = location.hash;\nnew Worker(new URL(`./jobs/${name}.ts`, import.meta.url));"),
        ("src/jobs/a.ts", "const text: string = 'a job'; postMessage(text);"),
        ("server.ts", server),
    ]);
    assert_eq!(brief(&answer.findings), Vec::<String>::new());
    assert!(code(&answer, "src/main.tsx").contains("type: \"module\""), "{}", code(&answer, "src/main.tsx"));
    assert!(answer.page.contains("\"/src/jobs/a.ts?worker&url\":\"/@m/"), "{}", answer.page);
    assert!(answer.resources.iter().any(|resource| resource.text.contains("a job") && !resource.text.contains(": string")));
}

#[test]
fn a_folder_with_brackets_is_no_pattern() {
    let main = "const name = location.hash;\nimport(`./parts/${name}.ts`);\nexport const all = import.meta.glob('./parts/*.ts');";
    let page = "<head></head><script type=module src='/src/[id]/main.ts'></script>";
    let answer = answer(&[
        ("index.html", page),
        ("src/[id]/main.ts", main),
        ("src/[id]/parts/a.ts", "export {}"),
        ("src/i/parts/b.ts", "export {}"),
    ]);
    assert_eq!(brief(&answer.findings), Vec::<String>::new());
    let globs: Vec<_> = answer.resources.iter().filter(|resource| resource.text.contains("\"./parts/a.ts\"")).collect();
    assert_eq!(globs.len(), 2);
    assert!(globs.iter().all(|glob| !glob.text.contains("b.ts")));
}

#[test]
fn a_base_makes_the_keys_of_a_glob_relative() {
    for (call, key) in [
        ("import.meta.glob('./*.ts', { base: './parts' })", "./a.ts"),
        ("import.meta.glob('./parts/*.ts', { base: '/src' })", "./parts/a.ts"),
        ("import.meta.glob('/src/parts/*.ts', { base: './parts' })", "./a.ts"),
        ("import.meta.glob(['./parts/*.ts', '/none/*.ts'])", "/src/parts/a.ts"),
        ("import.meta.glob(['./parts/*.ts', '!**/none.ts'])", "./parts/a.ts"),
    ] {
        let main = format!("console.log({call})");
        let answer = answer(&[("src/main.tsx", main.as_str()), ("src/parts/a.ts", "export {}")]);
        assert_eq!(brief(&answer.findings), Vec::<String>::new(), "{call}");
        let member = format!("{{ \"{key}\": () => load(\"/src/parts/a.ts\") }}");
        assert!(answer.resources.iter().any(|resource| resource.text.contains(&member)), "{call}: {:?}", answer.resources);
    }
}
