//! Source maps of components: an error in a browser points to the line of the file.

use compiler_client::message::{Answer, facts::Kind};
use oxc_sourcemap::SourceMap;

use crate::support::{answer_with_tools, brief};

/// Line and column of the file for a text in the code of its module; both begin at 1.
fn place_of(answer: &Answer, path: &str, text: &str) -> (u32, u32) {
    let is_it = |facts: &compiler_client::message::Facts| facts.path == path && facts.kind() == Kind::Module;
    let module = answer.modules.iter().find(|module| module.facts.as_ref().is_some_and(is_it)).expect("a module");
    let at = module.code.find(text).unwrap_or_else(|| panic!("{text} is not in {}", module.code));
    let (line, column) = (module.code[..at].matches('\n').count(), at - module.code[..at].rfind('\n').map_or(0, |line| line + 1));
    assert!(module.code.trim_end().ends_with(".js.map"), "the module names its map: {}", module.code);
    let map = SourceMap::from_json_string(&module.map).expect("a map");
    assert_eq!(map.get_sources().collect::<Vec<_>>(), [format!("/{path}")]);
    let token = map.lookup_token(&map.generate_lookup_table(), line as u32, column as u32).expect("a place");
    (token.get_src_line() + 1, token.get_src_col() + 1)
}

/// The place of a text in a file.
fn place_in(file: &str, text: &str) -> (u32, u32) {
    let at = file.find(text).expect("the text");
    let line = file[..at].matches('\n').count() as u32 + 1;
    (line, (at - file[..at].rfind('\n').map_or(0, |line| line + 1)) as u32 + 1)
}

const SVELTE: &str = "<script lang=\"ts\">
  interface Props { start: number }
  let { start }: Props = $props();
  function fail(value: number): never {
    const text: string = `${value}`;

    throw new Error(text);
  }
</script>

<button onclick={() => fail(start)}>fail</button>
<p>{fail(start + 1)}</p>

<style lang=\"scss\">
  p { &:hover { color: red } }
</style>
";

const STORE: &str = "type Shared = {
  value: number;
};
export const shared: Shared = $state({ value: 1 });
export function stop(): never {
  throw new TypeError('stop');
}
";

const SETUP: &str = "<template>
  <p>above</p>
  <button @click=\"fail(missing.value)\">fail</button>
</template>

<style lang=\"scss\">
p {
  i { color: red }
}
</style>

<script setup lang=\"ts\">
import { ref } from 'vue'
interface Missing { value: number }
const missing = ref<number>(1) as unknown as Missing
function fail(value: number): never {
  throw new Error(String(value))
}
</script>
";

const OPTIONS: &str = "<template><p @click=\"fail\">a</p></template>
<script lang=\"ts\">
type Never = never

export default {
  methods: {
    fail(): Never { throw new RangeError('options') },
  },
}
</script>
";

#[test]
fn errors_in_components_point_to_the_line_of_the_file() {
    let answer = answer_with_tools(&[
        ("package.json", r#"{"dependencies": {"vue": "3", "svelte": "5"}}"#),
        ("src/main.ts", "import './A.svelte'; import './store.svelte'; import './B.vue'; import './C.vue';"),
        ("src/A.svelte", SVELTE),
        ("src/store.svelte.ts", STORE),
        ("src/B.vue", SETUP),
        ("src/C.vue", OPTIONS),
    ]);
    assert_eq!(brief(&answer.findings), Vec::<String>::new(), "{:#?}", answer.findings);
    for (path, file, text) in [
        ("src/A.svelte", SVELTE, "throw new Error"),
        ("src/store.svelte.ts", STORE, "throw new TypeError"),
        ("src/B.vue", SETUP, "throw new Error"),
        ("src/C.vue", OPTIONS, "throw new RangeError"),
    ] {
        assert_eq!(place_of(&answer, path, text), place_in(file, text), "{path}: {text}");
    }
    // An expression of a template.
    assert_eq!(place_of(&answer, "src/B.vue", "missing.value").0, 3);
}
