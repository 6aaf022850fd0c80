//! Modules of an answer whose contents have changed. If their facts are the same, the answer for all files is the earlier one with other
//! addresses. The answer before says of which modules that can be true.

use compiler_client::message::{Change, EditAnswer, EditRequest, Facts, Module, facts::Kind};
use prost::Message as _;

use crate::{
    compile::{output, tree},
    graph::is_whole,
    module::{self, Source},
    project::Project,
    tree::{Tree, resolve::Resolver},
};

/// Compiles modules again. `progress` gets the path of each file before it is compiled.
pub fn edit(request: EditRequest, progress: &mut dyn FnMut(&str)) -> EditAnswer {
    let tree = tree(request.files);
    let project = Project::read(&tree, output(&request.mode)).of_release(&request.release);
    let resolver = Resolver::new(&tree, Vec::new());
    let mut answer = EditAnswer { modules: Vec::new(), is_same: true };
    for change in &request.changes {
        let compiled = again(change, &tree, &project, &resolver, progress);
        answer.is_same &= compiled.as_ref().is_some_and(|(_, is_same)| *is_same);
        answer.modules.extend(compiled.map(|(module, _)| module));
    }
    answer
}

/// The new module of a file, and whether only its code is another one. `None` if the request lacks the file, or is for other options.
fn again(change: &Change, tree: &Tree, project: &Project, resolver: &Resolver, progress: &mut dyn FnMut(&str)) -> Option<(Module, bool)> {
    let before = Facts::decode(change.facts.as_ref()).ok()?;
    let (path, kind) = (before.path.as_str(), Kind::Module);
    let entry = tree.get(path).filter(|entry| entry.size <= module::MAX_SOURCE)?;
    let options = project.options(resolver.configuration(path).as_deref());
    if before.kind() != kind || before.key != module::key(path, kind, &change.id, &options) {
        return None;
    }
    let content = tree.source(path)?;
    progress(path);
    let module = module::compile(&Source { path, kind, id: &entry.id, content, options: &options });
    let is_same = module.facts.as_ref().is_some_and(|after| is_whole(&before) && is_whole(after) && unplaced(&before) == unplaced(after));
    Some((module, is_same))
}

/// The facts without what every change of the code changes: places count only for what is found.
fn unplaced(facts: &Facts) -> Facts {
    let mut facts = Facts { key: String::new(), url: String::new(), ..facts.clone() };
    for import in &mut facts.imports {
        import.place = None;
        import.names.iter_mut().for_each(|named| named.place = None);
    }
    facts.undefined.iter_mut().chain(&mut facts.jsx).for_each(|named| named.place = None);
    facts.members.iter_mut().filter_map(|member| member.named.as_mut()).for_each(|named| named.place = None);
    facts
}
