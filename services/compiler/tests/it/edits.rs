//! Modules that change alone: the answer for all files after an edit is the one before it with other addresses, or the edit says that it is not.

use compiler::edit::edit;
use compiler_client::message::{Answer, Change, EditAnswer, EditRequest, Facts, Independent, Request};
use prost::Message as _;

use crate::support::{brief, compile, file, request, workers};

const PROJECT: [(&str, &str); 19] = [
    (
        "index.html",
        "<!doctype html><head><link rel=stylesheet href=/src/page.css></head><script type=module src=/src/main.tsx></script>\
      <script src=/src/classic.js></script>",
    ),
    ("package.json", r#"{"dependencies": {"react": "19"}}"#),
    ("tsconfig.json", r#"{"compilerOptions": {"jsx": "react-jsx", "baseUrl": ".", "paths": {"@/*": ["src/*"]}}}"#),
    ("vite.config.ts", "export default { resolve: { alias: { '~': '/src' } } };"),
    ("src/main.tsx", MAIN),
    (
        "src/app.tsx",
        "import { name } from '@/name';\nimport styles from './a.module.css';\nexport const App = () => <p className={styles.a}>{name}</p>;\n",
    ),
    ("src/name.ts", "export const name = 'a';\n"),
    ("src/a.module.css", ".a { color: red }\n"),
    ("src/plain.css", "p { color: red }\n"),
    ("src/page.css", "@import './imported.css';\nb { color: red }\n"),
    ("src/imported.css", "i { color: red }\n"),
    ("src/raw.ts", "export const raw = 1;\n"),
    ("src/url.js", "export const url = 1;\n"),
    ("src/classic.js", "window.classic = 1;\n"),
    ("src/pages/one.ts", "export default 1;\n"),
    ("src/pages/two.ts", "export { name as default } from '../name';\n"),
    ("src/cycle.ts", "import { App } from './app';\nexport * from './other';\nexport const cycle = () => App;\n"),
    ("src/other.ts", "import './cycle';\nexport const other = 1;\n"),
    ("src/unused.ts", "export const unused = 1;\n"),
];
const MAIN: &str = "import { App } from './app';\nimport './plain.css';\nimport text from './raw?raw';\nimport './raw';\nimport url from './url.js?url';\n\
                    import { cycle, other } from '~/cycle';\nconst pages = import.meta.glob('./pages/*.ts');\n\
                    console.log(App, text, url, cycle, other, pages, import.meta.env.MODE);\nimport('./pages/one');\n";

/// The files with another text of one of them.
fn with<'f>(files: &[(&'f str, &'f str)], path: &'f str, text: &'f str) -> Vec<(&'f str, &'f str)> {
    files.iter().map(|(other, before)| (*other, if *other == path { text } else { before })).collect()
}

fn answer(files: &[(&str, &str)], check_all: bool) -> Answer {
    let answer = compile(Request { check_all, ..request(files) });
    assert_eq!((answer.wanted.len(), answer.wanted_tools.len()), (0, 0));
    answer
}

/// The request for a changed file, as a caller makes it.
fn changed(before: &Answer, files: &[(&str, &str)], module: &Independent, text: &str) -> EditRequest {
    let content = |path: &str| files.iter().find(|(other, _)| *other == path).expect("a file").1;
    let id = file(&module.path, content(&module.path).as_bytes()).id;
    let mut facts = before.modules.iter().filter_map(|made| made.facts.as_ref());
    let facts = facts.find(|facts| facts.key == module.key).expect("facts").encode_to_vec().into();
    let configuration = before.configuration.iter().map(|path| file(path, content(path).as_bytes()));
    let files = configuration.chain([file(&module.path, text.as_bytes())]).collect();
    EditRequest { files, changes: vec![Change { facts, id }], ..EditRequest::default() }
}

/// The answer without its modules, with other addresses.
fn renamed(answer: &Answer, from: &str, to: &str) -> Answer {
    Answer { page: answer.page.replace(from, to), modules: Vec::new(), independent: Vec::new(), ..answer.clone() }
}

/// Edits a file. Returns whether the caller can use the answer before it, which then is that of all files with another address.
fn is_same(files: &[(&str, &str)], path: &str, text: &str, check_all: bool) -> bool {
    let before = answer(files, check_all);
    let Some(module) = before.independent.iter().find(|module| module.path == path) else { return false };
    let EditAnswer { modules, is_same } = edit(changed(&before, files, module, text), &mut |_| ());
    let after = answer(&with(files, path, text), check_all);
    if is_same {
        let facts = modules[0].facts.as_ref().expect("facts");
        assert_eq!(renamed(&after, "", ""), renamed(&before, &module.url, &facts.url), "{path}: {text}");
        let made: Vec<_> = after.modules.iter().filter(|made| made.facts.as_ref().is_some_and(|made| made.path == path)).collect();
        assert_eq!(made, modules.iter().collect::<Vec<_>>(), "{path}");
        let own = |module: &&Independent| module.path != path;
        assert!(before.independent.iter().filter(own).eq(after.independent.iter().filter(own)), "{path}");
    }
    is_same
}

#[test]
fn an_edit_that_keeps_the_facts_keeps_the_page() {
    for (path, text, expected) in [
        ("src/name.ts", "// A comment.\nexport const name = 'b';\n", true),
        ("src/name.ts", "export const name: string = 'b';\n", true),
        ("src/name.ts", "export const title = 'b';\n", false),
        ("src/name.ts", "export const name = 'b', more = 1;\n", false),
        ("src/name.ts", "export const name = absent;\n", false),
        ("src/name.ts", "export const name = ;\n", false),
        ("src/name.ts", "", false),
        ("src/name.ts", "import './plain.css';\nexport const name = 'b';\n", false),
        ("src/name.ts", "window.shared = 1;\nexport const name = 'b';\n", false),
        (
            "src/app.tsx",
            "import { name } from '@/name';\n\nimport styles from './a.module.css';\nexport const App = () => <b className={styles.a}>{name + 1}</b>;\n",
            true,
        ),
        (
            "src/app.tsx",
            "import { name } from '@/name';\nimport styles from './a.module.css';\nexport const App = () => <p className={styles.b}>{name}</p>;\n",
            false,
        ),
        ("src/app.tsx", "import { name } from '@/name';\nexport const App = () => <p>{name}</p>;\n", false),
        ("src/a.module.css", ".a { color: blue }\n", true),
        ("src/a.module.css", ".a { color: blue } .b { color: red }\n", false),
        ("src/plain.css", "p { color: blue }\n", true),
        ("src/plain.css", "p { color: blue; background: url(./x.png) }\n", false),
        ("src/pages/one.ts", "export default 2;\n", true),
        ("src/pages/two.ts", "export { name as default } from '../name';\nexport {};\n", true),
        ("src/other.ts", "import './cycle';\nexport const other = 2;\n", true),
        ("src/main.tsx", &MAIN.replace("import('./pages/one');", "import('./pages/two');"), false),
        ("src/main.tsx", &MAIN.replace("console.log(", "console.warn("), true),
        // Something else reads these.
        ("src/page.css", "@import './imported.css';\nb { color: blue }\n", false),
        ("src/imported.css", "i { color: blue }\n", false),
        ("src/raw.ts", "export const raw = 2;\n", false),
        ("src/url.js", "export const url = 2;\n", false),
        ("src/classic.js", "window.classic = 2;\n", false),
        ("vite.config.ts", "export default { resolve: { alias: { '~': '/lib' } } };", false),
        ("index.html", "<!doctype html><script type=module src=/src/main.tsx></script>", false),
        ("package.json", r#"{"dependencies": {"react": "18"}}"#, false),
        ("tsconfig.json", r#"{"compilerOptions": {"jsx": "react"}}"#, false),
    ] {
        assert_eq!(is_same(&PROJECT, path, text, false), expected, "the page after {path}: {text}");
        assert_eq!(is_same(&PROJECT, path, text, true), expected, "the check after {path}: {text}");
    }
    assert!(!is_same(&PROJECT, "src/unused.ts", "export const unused = 2;\n", false), "the page does not load it");
    assert!(is_same(&PROJECT, "src/unused.ts", "export const unused = 2;\n", true));
}

#[test]
fn what_is_found_in_a_file_and_what_names_it_keeps_it_from_changing_alone() {
    let files = with(&PROJECT, "src/name.ts", "export const name = absent;\n");
    assert_eq!(brief(&answer(&files, false).findings), ["UNDEFINED_NAME src/name.ts:1:21"]);
    assert!(!is_same(&files, "src/name.ts", "\nexport const name = absent;\n", false), "the place is another one");
    assert!(is_same(&files, "src/app.tsx", &(PROJECT[5].1.to_owned() + "\n"), false), "the error is elsewhere");
    // A file that means something else for one importer has a scope of its own.
    let scoped = [
        ("index.html", "<!doctype html><script type=module src=/src/main.ts></script>"),
        ("tsconfig.json", r#"{"references": [{"path": "./a"}, {"path": "./b"}]}"#),
        ("a/tsconfig.json", r#"{"compilerOptions": {"paths": {"@own": ["./one.ts"]}}}"#),
        ("b/tsconfig.json", r#"{"compilerOptions": {"paths": {"@own": ["./two.ts"]}}}"#),
        ("src/main.ts", "import '../a/main'; import '../b/main';"),
        ("a/main.ts", "import '@own'; export const a = 1;"),
        ("b/main.ts", "import '@own'; export const b = 1;"),
        ("a/one.ts", "export {};"),
        ("b/two.ts", "export {};"),
    ];
    for (path, text, expected) in [
        ("a/main.ts", "import '@own'; export const a = 2;", true),
        ("b/main.ts", "import '@own'; export const b = 2;", false),
        ("a/one.ts", "1; export {};", true),
    ] {
        assert_eq!(is_same(&scoped, path, text, false), expected, "{path}");
    }
    // The scripts of workers are named by what they load.
    let with_worker: Vec<_> = PROJECT.into_iter().chain([("src/w.ts", "import './name';")]).collect();
    let main = format!("import W from './w?worker';\nconsole.log(W);\n{MAIN}");
    assert_eq!(answer(&with(&with_worker, "src/main.tsx", &main), false).independent, []);
    // A page that names an address itself.
    let page = format!("{}<p>@m/0.js</p>", PROJECT[0].1);
    assert_eq!(answer(&with(&PROJECT, "index.html", &page), false).independent, []);
}

#[test]
fn the_options_of_a_module_are_those_of_the_answer_before() {
    let before = answer(&PROJECT, false);
    let module = before.independent.iter().find(|module| module.path == "src/name.ts").expect("an independent module");
    let good = changed(&before, &PROJECT, module, "export const name = 'b';\n");
    assert!(edit(good.clone(), &mut |_| ()).is_same);
    let without = |path: &str| good.files.iter().filter(|file| file.path != path).cloned().collect();
    for (what, bad) in [
        ("another mode", EditRequest { mode: "production".to_owned(), ..good.clone() }),
        ("another release", EditRequest { release: "b".to_owned(), ..good.clone() }),
        ("no package.json", EditRequest { files: without("package.json"), ..good.clone() }),
        ("no file", EditRequest { files: without("src/name.ts"), ..good.clone() }),
        ("no facts", EditRequest { changes: vec![Change::default()], ..good.clone() }),
        ("another content before", EditRequest { changes: vec![Change { id: "0".to_owned(), ..good.changes[0].clone() }], ..good.clone() }),
    ] {
        assert_eq!(edit(bad, &mut |_| ()), EditAnswer::default(), "{what}");
    }
    let facts = Facts::decode(good.changes[0].facts.as_ref()).expect("facts");
    assert_eq!((facts.path.as_str(), facts.key.as_str()), ("src/name.ts", module.key.as_str()));
}

/// In the executable, in its sandbox.
#[test]
fn a_worker_compiles_changed_modules() {
    let before = answer(&PROJECT, false);
    let module = before.independent.iter().find(|module| module.path == "src/app.tsx").expect("an independent module");
    let request = changed(&before, &PROJECT, module, &PROJECT[5].1.replace("<p ", "<b ").replace("</p>", "</b>"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let made = runtime.block_on(workers().edit(&request)).expect("an answer");
    assert_eq!(made, edit(request, &mut |_| ()));
    assert!(made.is_same);
}

/// What is put into a script; `#` is a number.
const LINES: [&str; 13] = [
    "// c\n",
    "\n",
    "export const x# = 1;\n",
    "const y# = 2;\n",
    "absent#();\n",
    "import './plain.css';\n",
    "window.g# = 1;\n",
    "console.log(1);\n",
    "/* b */",
    "export default #;\n",
    "import('./name');\n",
    "const s = import.meta.env.MODE;\n",
    "{",
];

/// Numbers that are the same in each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }
}

/// A text after a random change.
fn mutated(path: &str, text: &str, step: usize, numbers: &mut Numbers) -> String {
    if path.ends_with(".css") {
        return match numbers.below(3) {
            0 => text.replace("red", "blue"),
            1 => format!("{text}.b{step} {{ color: red }}\n"),
            _ => format!("{text}/* a */\n"),
        };
    }
    let mut lines: Vec<_> = text.split_inclusive('\n').map(str::to_owned).collect();
    let line = LINES[numbers.below(LINES.len())].replace('#', &step.to_string());
    lines.insert(numbers.below(lines.len() + 1), line);
    lines.concat()
}

#[test]
fn random_edits_give_the_answer_of_all_files() {
    let mut numbers = Numbers(7);
    let mut texts: Vec<(&str, String)> = PROJECT.iter().map(|(path, text)| (*path, (*text).to_owned())).collect();
    let sources: Vec<usize> = (0..PROJECT.len()).filter(|at| PROJECT[*at].0.starts_with("src/")).collect();
    let mut same = 0;
    for step in 0..200 {
        let at = sources[numbers.below(sources.len())];
        let (path, text) = (PROJECT[at].0, mutated(PROJECT[at].0, &texts[at].1, step, &mut numbers));
        let files: Vec<_> = texts.iter().map(|(path, text)| (*path, text.as_str())).collect();
        // It compares the answers.
        same += usize::from(is_same(&files, path, &text, numbers.below(2) == 0));
        let is_kept = numbers.below(2) == 0 && text.len() < 900;
        texts[at].1 = if is_kept { text } else { PROJECT[at].1.to_owned() };
    }
    assert!(same > 20, "only {same} of the edits keep the facts");
}
