//! Python, Rust and Go, by their grammars for tree-sitter. Only declarations on the outermost level are read, and the methods of classes.

use compiler_client::message::outline::SymbolKind::{Class, Function, Method, Type, Variable};
use tree_sitter::{Language, Node, Parser};

use crate::symbols::Found;

pub(super) fn read(language: &str, text: &str, found: &mut Found) {
    type Rule = fn(&Source, Node, &mut Found);
    let (grammar, rule): (Language, Rule) = match language {
        "python" => (tree_sitter_python::LANGUAGE.into(), python),
        "rust" => (tree_sitter_rust::LANGUAGE.into(), rust),
        "go" => (tree_sitter_go::LANGUAGE.into(), go),
        _ => return,
    };
    let mut parser = Parser::new();
    let Some(tree) = parser.set_language(&grammar).ok().and_then(|()| parser.parse(text, None)) else { return };
    for node in children(tree.root_node()) {
        rule(&Source(text), node, found);
    }
}

struct Source<'t>(&'t str);

impl<'t> Source<'t> {
    fn text(&self, node: Node) -> &'t str {
        self.0.get(node.byte_range()).unwrap_or_default()
    }

    fn field(&self, node: Node, field: &str) -> &'t str {
        node.child_by_field_name(field).map_or("", |child| self.text(child))
    }
}

fn children(node: Node) -> Vec<Node> {
    let mut cursor = node.walk();
    node.named_children(&mut cursor).collect()
}

fn python(source: &Source, node: Node, found: &mut Found) {
    let inner = node.child_by_field_name("definition").filter(|_| node.kind() == "decorated_definition").unwrap_or(node);
    let name = source.field(inner, "name");
    match inner.kind() {
        "function_definition" => drop(found.add(Function, name, node.byte_range(), false)),
        "class_definition" => {
            found.add(Class, name, node.byte_range(), false);
            for part in inner.child_by_field_name("body").map(children).unwrap_or_default() {
                let method = part.child_by_field_name("definition").filter(|_| part.kind() == "decorated_definition").unwrap_or(part);
                if method.kind() == "function_definition" {
                    found.add(Method, &format!("{name}.{}", source.field(method, "name")), part.byte_range(), false);
                }
            }
        }
        "import_from_statement" => found.import(source.field(inner, "module_name"), node.start_byte()),
        "import_statement" => {
            for part in children(inner) {
                let module = part.child_by_field_name("name").unwrap_or(part);
                found.import(source.text(module), part.start_byte());
            }
        }
        "expression_statement" => {
            let target = children(inner).into_iter().find_map(|part| part.child_by_field_name("left"));
            if let Some(target) = target.filter(|target| target.kind() == "identifier") {
                found.add(Variable, source.text(target), node.byte_range(), false);
            }
        }
        _ => {}
    }
}

fn rust(source: &Source, node: Node, found: &mut Found) {
    let is_public = |node: Node| children(node).first().is_some_and(|first| first.kind() == "visibility_modifier");
    let kind = match node.kind() {
        "function_item" | "macro_definition" => Function,
        "struct_item" | "enum_item" | "union_item" => Class,
        "trait_item" | "type_item" => Type,
        "const_item" | "static_item" => Variable,
        "use_declaration" => return found.import(source.field(node, "argument"), node.start_byte()),
        "impl_item" => {
            let owner = source.field(node, "type").split('<').next().unwrap_or_default();
            let parts = node.child_by_field_name("body").map(children).unwrap_or_default();
            for method in parts.into_iter().filter(|part| part.kind() == "function_item") {
                found.add(Method, &format!("{owner}.{}", source.field(method, "name")), method.byte_range(), is_public(method));
            }
            return;
        }
        _ => return,
    };
    found.add(kind, source.field(node, "name"), node.byte_range(), is_public(node));
}

fn go(source: &Source, node: Node, found: &mut Found) {
    let is_public = |name: &str| name.starts_with(char::is_uppercase);
    let name = source.field(node, "name");
    match node.kind() {
        "function_declaration" => drop(found.add(Function, name, node.byte_range(), is_public(name))),
        "method_declaration" => {
            let receiver = source.field(node, "receiver").trim_matches(['(', ')']);
            let owner = receiver.split(['*', ' ']).next_back().unwrap_or_default().split('[').next().unwrap_or_default();
            found.add(Method, &format!("{owner}.{name}"), node.byte_range(), is_public(name));
        }
        "type_declaration" | "const_declaration" | "var_declaration" => {
            for part in children(node).into_iter().flat_map(|part| if part.kind().ends_with("_list") { children(part) } else { vec![part] })
            {
                let name = source.field(part, "name");
                let is_struct = part.child_by_field_name("type").is_some_and(|inner| inner.kind() == "struct_type");
                let kind = match part.kind() {
                    "type_spec" if is_struct => Class,
                    "type_spec" | "type_alias" => Type,
                    _ => Variable,
                };
                found.add(kind, name, part.byte_range(), is_public(name));
            }
        }
        "import_declaration" => {
            for part in children(node).into_iter().flat_map(|part| if part.kind().ends_with("_list") { children(part) } else { vec![part] })
            {
                found.import(source.field(part, "path").trim_matches(['"', '`']), part.start_byte());
            }
        }
        _ => {}
    }
}
