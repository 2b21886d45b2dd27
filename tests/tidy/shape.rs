//! Owns: the limits on functions: length, parameters, nesting. Must never look at text: it sees the
//! syntax tree.
//!
//! Nesting of a function is how many of these enclose a construct, itself included: `if` (an `else
//! if` is on the level of its `if`), `match`, `for`, `while`, `loop`, and a closure whose body is a
//! block. Plain, `async` and `let … else` blocks do not count. A function inside a function begins
//! anew. Code inside a macro call is not seen.

use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use crate::{FUNCTION_LINES_MAX, NESTING_MAX, PARAMETERS_MAX, Violation};

/// Everything in `file` that crosses a limit on functions.
pub fn functions(path: &str, file: &syn::File) -> Vec<Violation> {
    let mut shape = Shape { path, depth: 0, found: Vec::new() };
    shape.visit_file(file);
    shape.found
}

struct Shape<'a> {
    path: &'a str,
    depth: usize,
    found: Vec<Violation>,
}

impl Shape<'_> {
    fn report(&mut self, line: usize, rule: &'static str, text: String) {
        self.found.push(Violation { path: self.path.to_owned(), line, rule, text });
    }

    fn function(&mut self, signature: &syn::Signature, body: Option<&syn::Block>) {
        let line = signature.span().start().line;
        let name = &signature.ident;
        let is_typed = |input: &&syn::FnArg| matches!(input, syn::FnArg::Typed(_));
        let parameters = signature.inputs.iter().filter(is_typed).count();
        // What C calls has the parameters that C gives it.
        if parameters > PARAMETERS_MAX && signature.abi.is_none() {
            let text = format!("`{name}` has {parameters} parameters, at most {PARAMETERS_MAX}");
            self.report(line, "parameters", text);
        }
        let last = body.map_or(line, |body| body.brace_token.span.close().end().line);
        let lines = last - line + 1;
        if lines > FUNCTION_LINES_MAX {
            let text = format!("`{name}` has {lines} lines, at most {FUNCTION_LINES_MAX}");
            self.report(line, "function length", text);
        }
    }

    fn deeper(&mut self, span: proc_macro2::Span, inside: impl FnOnce(&mut Self)) {
        self.depth += 1;
        // Only the first level too many is told; what it encloses moves with it.
        if self.depth == NESTING_MAX + 1 {
            let text = format!("nested {} deep, at most {NESTING_MAX}", self.depth);
            self.report(span.start().line, "nesting", text);
        }
        inside(self);
        self.depth -= 1;
    }

    fn afresh(&mut self, inside: impl FnOnce(&mut Self)) {
        let depth = std::mem::take(&mut self.depth);
        inside(self);
        self.depth = depth;
    }
}

impl<'ast> Visit<'ast> for Shape<'_> {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.function(&item.sig, Some(&item.block));
        self.afresh(|shape| visit::visit_item_fn(shape, item));
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.function(&item.sig, Some(&item.block));
        self.afresh(|shape| visit::visit_impl_item_fn(shape, item));
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        self.function(&item.sig, item.default.as_ref());
        self.afresh(|shape| visit::visit_trait_item_fn(shape, item));
    }

    fn visit_expr_if(&mut self, item: &'ast syn::ExprIf) {
        self.visit_expr(&item.cond);
        self.deeper(item.if_token.span, |shape| shape.visit_block(&item.then_branch));
        match item.else_branch.as_ref().map(|(_, branch)| &**branch) {
            Some(syn::Expr::If(next)) => self.visit_expr_if(next),
            // The block of `else` is as deep as that of its `if`, which has been told already.
            Some(branch) => {
                self.depth += 1;
                self.visit_expr(branch);
                self.depth -= 1;
            }
            None => {}
        }
    }

    fn visit_expr_match(&mut self, item: &'ast syn::ExprMatch) {
        self.visit_expr(&item.expr);
        self.deeper(item.match_token.span, |shape| {
            item.arms.iter().for_each(|arm| shape.visit_arm(arm));
        });
    }

    fn visit_expr_for_loop(&mut self, item: &'ast syn::ExprForLoop) {
        self.visit_expr(&item.expr);
        self.deeper(item.for_token.span, |shape| shape.visit_block(&item.body));
    }

    fn visit_expr_while(&mut self, item: &'ast syn::ExprWhile) {
        self.visit_expr(&item.cond);
        self.deeper(item.while_token.span, |shape| shape.visit_block(&item.body));
    }

    fn visit_expr_loop(&mut self, item: &'ast syn::ExprLoop) {
        self.deeper(item.loop_token.span, |shape| shape.visit_block(&item.body));
    }

    fn visit_expr_closure(&mut self, item: &'ast syn::ExprClosure) {
        if matches!(&*item.body, syn::Expr::Block(_) | syn::Expr::Async(_)) {
            self.deeper(item.or1_token.span, |shape| shape.visit_expr(&item.body));
        } else {
            self.visit_expr(&item.body);
        }
    }
}
