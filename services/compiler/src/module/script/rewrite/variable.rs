//! Addresses with variables: a function that is generated for the page finds the file when the code runs.

use compiler_client::message::{Finding, finding::code};
use oxc::{
    allocator::{ArenaVec, TakeIn as _},
    ast::ast::{Argument, Expression},
    span::{GetSpan as _, SPAN, Span},
    str::Str,
};

use super::{
    super::partial::{self, Use},
    Rewriter,
};

const HELP: &str = "Begin the address with a fixed folder and end it with the extension, as in import(`./pages/${name}.tsx`), where a \
    variable stands for a part of one name. /* @vite-ignore */ before the address leaves it as it is.";

impl<'a> Rewriter<'a, '_> {
    /// A text that the code always has becomes a literal.
    pub(super) fn make_literal(&self, expression: &mut Expression<'a>) {
        if matches!(expression, Expression::StringLiteral(_)) {
            return;
        }
        if let Some(text) = partial::known(expression) {
            let text = Str::from(self.allocator.alloc_str(&text));
            *expression = Expression::new_string_literal(expression.span(), text, None, &self.builder);
        }
    }

    /// Replaces an `import()` with variables.
    pub(super) fn replace_variable_import(&mut self, expression: &mut Expression<'a>) {
        let Expression::ImportExpression(import) = expression else { return };
        let Some(function) = self.function(&import.source, Use::Import) else { return };
        let source = import.source.take_in(&self.allocator);
        *expression = self.call_with(function, source);
    }

    /// Replaces the path with variables in the arguments of `new URL(…, import.meta.url)`.
    pub(super) fn variable_address(&mut self, arguments: &mut [Argument<'a>], query: &'static str) -> bool {
        let [first, _] = arguments else { return false };
        let Some(source) = first.as_expression_mut() else { return false };
        let Some(function) = self.function(source, Use::Address(query)) else { return false };
        let source = source.take_in(&self.allocator);
        *first = Argument::from(self.call_with(function, source));
        true
    }

    /// The function that finds the files. A browser finds those of a page that it gets as it is, and those of a package are not known.
    fn function(&mut self, source: &Expression<'a>, wanted: Use) -> Option<Expression<'a>> {
        let span = source.span();
        if self.source.options.is_plain || self.source.path.starts_with("node_modules/") || self.is_ignored(span) {
            return None;
        }
        match partial::read(self.source.path, source, wanted) {
            Ok(glob) => glob.map(|glob| self.files_of(glob)),
            Err(message) => {
                let place = self.lines.place(span.start as usize);
                let found = self.lines.finding(code::UNKNOWN_ADDRESS, self.source.path, &place, message);
                self.facts.findings.push(Finding { is_warning: true, help: HELP.to_owned(), ..found });
                None
            }
        }
    }

    fn call_with(&self, function: Expression<'a>, argument: Expression<'a>) -> Expression<'a> {
        let arguments = ArenaVec::from_value_in(Argument::from(argument), &self.allocator);
        Expression::new_call_expression(SPAN, function, None, arguments, false, &self.builder)
    }

    /// Whether the comment before an expression says so.
    fn is_ignored(&self, span: Span) -> bool {
        let before = self.lines.before(span.start as usize).and_then(|text| text.trim_end().strip_suffix("*/"));
        before.and_then(|text| text.rsplit_once("/*")).is_some_and(|(_, comment)| comment.trim() == "@vite-ignore")
    }
}
