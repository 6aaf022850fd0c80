//! A project in Vite's layout without packages: TypeScript, a CSS module, JSON, an asset, an alias and a file of `public`.

use serde_json::{Value, json};

const FILES: [(&str, &str); 10] = [
    (
        "index.html",
        "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>Fruit</title><link rel=\"icon\" href=\"/icon.svg\"></head>\n\
         <body><div id=\"root\"></div><script type=\"module\" src=\"/src/main.ts\"></script></body>\n</html>\n",
    ),
    ("package.json", "{ \"name\": \"fruit\", \"private\": true, \"type\": \"module\" }\n"),
    ("vite.config.ts", "export default { resolve: { alias: { '@': '/src' } } };\n"),
    ("tsconfig.json", "{ \"compilerOptions\": { \"paths\": { \"@/*\": [\"./src/*\"] }, \"resolveJsonModule\": true } }\n"),
    ("public/icon.svg", "<svg xmlns=\"http://www.w3.org/2000/svg\"/>\n"),
    ("src/logo.svg", "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"8\" height=\"8\"><rect width=\"8\" height=\"8\"/></svg>\n"),
    ("src/fruit.json", "{ \"names\": [\"an apple\", \"a pear\"] }\n"),
    ("src/list.module.css", ".list { color: rgb(0, 128, 128); & li { font-weight: 700 } }\n"),
    ("src/greet.ts", "export const greet = (name: string): string => `Hello, ${name}`;\n"),
    (
        "src/main.ts",
        "import { greet } from '@/greet';\nimport fruit from './fruit.json';\nimport logo from './logo.svg';\nimport styles from './list.module.css';\n\n\
         const root = document.getElementById('root') as HTMLElement;\nconst title = document.createElement('h1');\n\
         title.textContent = greet('Ann');\nconst list = document.createElement('ul');\nlist.className = styles.list;\n\
         for (const name of fruit.names satisfies string[]) {\n  const item = document.createElement('li');\n  item.textContent = name;\n  \
         list.append(item);\n}\nconst image = new Image();\nimage.alt = 'logo';\nimage.src = logo;\nroot.append(title, list, image);\n",
    ),
];

/// The changes of a save that make the project.
#[must_use]
pub fn changes() -> Value {
    FILES.iter().map(|(path, text)| json!({ "path": path, "write": { "text": text } })).collect()
}
