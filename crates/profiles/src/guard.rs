//! What a template may look like.
//!
//! Steps and output are counted while a template is rendered, but a value that is built up is seen by neither: a dozen
//! lines that each double a text make more than any machine holds. So before anything is compiled, each expression gets
//! the most that its value can be, in units of all that comes in, and one that is above a small number of them is refused.
//! Inside loops, and where templates include each other, values are not built up at all.

use std::collections::HashMap;

use minijinja::machinery::ast::{BinOpKind, CallArg, Expr, ForLoop, Stmt};
use minijinja::machinery::parse;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::ValueKind;

use crate::ProfileError;

/// The most that one value may be, in units of all variables together.
const UNITS_MAX: u32 = 16;
/// What a filter, a method or a function gives at most, in the same units.
const FILTERED_UNITS: u32 = 4;
/// Names that one expression may mention.
const MENTIONS_MAX: u32 = 32;
/// Names that reach the text of a block, which could be built up.
const REFUSED_NAMES: &[&str] = &["self", "super", "caller", "varargs", "kwargs"];

/// Checks a template's form and shape.
pub(crate) fn check(name: &str, text: &str) -> Result<(), ProfileError> {
    let parsed = parse(text, name, SyntaxConfig::default()).map_err(|error| ProfileError::Template {
        name: name.to_owned(),
        line: error.line().and_then(|line| u32::try_from(line).ok()).unwrap_or(0),
        why: error.detail().map_or_else(|| error.kind().to_string(), str::to_owned),
    })?;
    let mut guard = Guard::default();
    let checked = guard.statement(&parsed);
    let both = || Refusal { line: guard.joins, why: BOTH.to_owned() };
    checked.and_then(|()| if guard.joins > 0 && guard.builds { Err(both()) } else { Ok(()) }).map_err(|refusal| ProfileError::Template {
        name: name.to_owned(),
        line: refusal.line,
        why: refusal.why,
    })
}

/// The names of the templates that a template brings in, where they stand in it as texts. One that cannot be read brings
/// in none.
#[must_use]
pub fn included(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    if let Ok(parsed) = parse(text, "", SyntaxConfig::default()) {
        bring_in(&parsed, &mut names);
    }
    names
}

fn bring_in(statement: &Stmt<'_>, names: &mut Vec<String>) {
    let mut add = |expr: &Expr<'_>| {
        if let Expr::Const(one) = expr {
            names.extend(one.value.as_str().map(str::to_owned));
        }
    };
    let bodies: &[&[Stmt<'_>]] = match statement {
        Stmt::Include(one) => return add(&one.name),
        Stmt::Extends(one) => return add(&one.name),
        Stmt::Template(one) => &[&one.children],
        Stmt::ForLoop(one) => &[&one.body, &one.else_body],
        Stmt::IfCond(one) => &[&one.true_body, &one.false_body],
        Stmt::WithBlock(one) => &[&one.body],
        Stmt::Block(one) => &[&one.body],
        _ => &[],
    };
    for statement in bodies.iter().flat_map(|body| body.iter()) {
        bring_in(statement, names);
    }
}

const BOTH: &str = "a template that includes or extends another may not put texts together with `~` or `+` in `set`, `with` or `for`";

#[derive(Default)]
struct Guard<'a> {
    /// What names that the template gives can be at most; what comes from outside is 1.
    names: HashMap<&'a str, u32>,
    /// How many loops are around.
    loops: u32,
    /// The line that brings in another template; 0 for none.
    joins: u32,
    /// Whether a name is given a value that is more than what it came from.
    builds: bool,
}

struct Refusal {
    line: u32,
    why: String,
}

/// What is known of an expression.
#[derive(Default)]
struct Size {
    units: u32,
    /// Its value can be more than any of what it is made of.
    grows: bool,
    mentions: u32,
    repeats: u32,
}

impl Size {
    fn beside(self, other: Size) -> Size {
        Size { units: self.units.max(other.units), ..self.and(other) }
    }

    fn and(self, other: Size) -> Size {
        Size {
            units: self.units.saturating_add(other.units),
            grows: self.grows || other.grows,
            mentions: self.mentions + other.mentions,
            repeats: self.repeats + other.repeats,
        }
    }
}

fn refuse<T>(line: u32, why: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal { line, why: why.into() })
}

impl<'a> Guard<'a> {
    fn statements(&mut self, statements: &[Stmt<'a>]) -> Result<(), Refusal> {
        statements.iter().try_for_each(|statement| self.statement(statement))
    }

    fn statement(&mut self, statement: &Stmt<'a>) -> Result<(), Refusal> {
        match statement {
            Stmt::Template(template) => self.statements(&template.children),
            Stmt::EmitRaw(_) | Stmt::Continue(_) | Stmt::Break(_) => Ok(()),
            Stmt::EmitExpr(emit) => self.expression(&emit.expr).map(drop),
            Stmt::ForLoop(one) => self.for_loop(one, u32::from(one.span().start_line)),
            Stmt::IfCond(one) => {
                self.expression(&one.expr)?;
                self.statements(&one.true_body)?;
                self.statements(&one.false_body)
            }
            Stmt::WithBlock(one) => {
                for (target, value) in &one.assignments {
                    self.give(target, value)?;
                }
                self.statements(&one.body)
            }
            Stmt::Set(one) => self.give(&one.target, &one.expr),
            Stmt::SetBlock(one) => {
                let line = u32::from(one.span().start_line);
                let mut units = self.capture(line, &one.body)?;
                if let Some(filter) = &one.filter {
                    units = units.max(self.expression(filter)?.units);
                }
                self.builds = true;
                self.name(&one.target, units, line)
            }
            Stmt::FilterBlock(one) => {
                self.capture(u32::from(one.span().start_line), &one.body)?;
                self.expression(&one.filter).map(drop)
            }
            Stmt::Block(one) => self.statements(&one.body),
            Stmt::Extends(one) => {
                self.joins = u32::from(one.span().start_line);
                self.expression(&one.name).map(drop)
            }
            Stmt::Include(one) => {
                self.joins = u32::from(one.span().start_line);
                self.expression(&one.name).map(drop)
            }
            Stmt::Import(one) => refuse(u32::from(one.span().start_line), "`import` is not known here"),
            Stmt::FromImport(one) => refuse(u32::from(one.span().start_line), "`import` is not known here"),
            Stmt::AutoEscape(one) => refuse(u32::from(one.span().start_line), "`autoescape` is not known here: prompts are no web pages"),
            Stmt::Do(one) => refuse(u32::from(one.span().start_line), "`do` is not known here"),
        }
    }

    fn for_loop(&mut self, one: &ForLoop<'a>, line: u32) -> Result<(), Refusal> {
        if one.recursive {
            return refuse(line, "a loop may not be `recursive`");
        }
        self.give(&one.target, &one.iter)?;
        self.loops += 1;
        if let Some(filter) = &one.filter_expr {
            self.expression(filter)?;
        }
        self.statements(&one.body)?;
        self.loops -= 1;
        self.statements(&one.else_body)
    }

    /// A block whose text becomes a value: how much it can be.
    fn capture(&mut self, line: u32, body: &[Stmt<'a>]) -> Result<u32, Refusal> {
        if self.loops > 0 {
            return refuse(line, "a block that is captured may not stand in a loop");
        }
        let units = self.captured(line, body)?.saturating_add(1);
        if units > UNITS_MAX { refuse(line, "a block that is captured puts too much together") } else { Ok(units) }
    }

    fn captured(&mut self, line: u32, body: &[Stmt<'a>]) -> Result<u32, Refusal> {
        let mut units = 0_u32;
        for statement in body {
            units = units.saturating_add(match statement {
                Stmt::EmitRaw(_) => 0,
                Stmt::EmitExpr(one) => self.expression(&one.expr)?.units,
                Stmt::IfCond(one) => {
                    self.expression(&one.expr)?;
                    self.captured(line, &one.true_body)?.saturating_add(self.captured(line, &one.false_body)?)
                }
                _ => return refuse(line, "a block that is captured holds text, expressions and `if` only"),
            });
        }
        Ok(units)
    }

    /// Gives a value to a name.
    fn give(&mut self, target: &Expr<'a>, value: &Expr<'a>) -> Result<(), Refusal> {
        let line = u32::from(value.span().start_line);
        let size = self.expression(value)?;
        if size.repeats > 0 {
            return refuse(line, "a product is not given to a name");
        }
        if size.grows && self.loops > 0 {
            return refuse(line, "texts are not put together in a loop and given to a name");
        }
        self.builds |= size.grows;
        self.name(target, size.units, line)
    }

    fn name(&mut self, target: &Expr<'a>, units: u32, line: u32) -> Result<(), Refusal> {
        match target {
            Expr::Var(var) if var.id == "loop" || REFUSED_NAMES.contains(&var.id) => {
                refuse(line, format!("`{}` is not a name to give", var.id))
            }
            Expr::Var(var) => {
                let before = self.names.entry(var.id).or_insert(1);
                *before = units.max(*before);
                Ok(())
            }
            Expr::List(list) => list.items.iter().try_for_each(|item| self.name(item, units, line)),
            Expr::Tuple(list) => list.items.iter().try_for_each(|item| self.name(item, units, line)),
            _ => refuse(line, "only a name can be given a value"),
        }
    }

    /// Checks a whole expression.
    fn expression(&mut self, expr: &Expr<'a>) -> Result<Size, Refusal> {
        let line = u32::from(expr.span().start_line);
        let size = self.size(expr)?;
        if size.mentions > MENTIONS_MAX {
            return refuse(line, format!("an expression mentions more than {MENTIONS_MAX} names"));
        }
        if size.units > UNITS_MAX {
            return refuse(line, "an expression puts too much together");
        }
        if size.repeats > 1 || (size.repeats > 0 && self.loops > 0) {
            return refuse(line, "a product stands once in an expression, and in no loop");
        }
        Ok(size)
    }

    fn all<'e>(&mut self, exprs: impl IntoIterator<Item = &'e Expr<'a>>) -> Result<Size, Refusal>
    where
        'a: 'e,
    {
        exprs.into_iter().try_fold(Size::default(), |sum, expr| Ok(sum.and(self.size(expr)?)))
    }

    fn arguments(&mut self, args: &[CallArg<'a>], line: u32) -> Result<Size, Refusal> {
        let mut sum = Size::default();
        for arg in args {
            match arg {
                CallArg::Pos(expr) | CallArg::Kwarg(_, expr) => sum = sum.and(self.size(expr)?),
                CallArg::PosSplat(_) | CallArg::KwargSplat(_) => return refuse(line, "arguments are given one by one"),
            }
        }
        Ok(sum)
    }

    fn size(&mut self, expr: &Expr<'a>) -> Result<Size, Refusal> {
        let line = u32::from(expr.span().start_line);
        Ok(match expr {
            Expr::Var(var) if REFUSED_NAMES.contains(&var.id) => return refuse(line, format!("`{}` is not known here", var.id)),
            Expr::Var(var) => Size { units: self.names.get(var.id).copied().unwrap_or(1), mentions: 1, ..Size::default() },
            Expr::Const(_) => Size::default(),
            Expr::Slice(one) => self.all([&one.expr].into_iter().chain(&one.start).chain(&one.stop).chain(&one.step))?,
            Expr::UnaryOp(one) => self.size(&one.expr)?,
            Expr::BinOp(one) => {
                let (left, right) = (self.size(&one.left)?, self.size(&one.right)?);
                match one.op {
                    BinOpKind::Concat => Size { grows: true, ..left.and(right) },
                    BinOpKind::Add if is_number(&one.left) || is_number(&one.right) => left.and(right),
                    BinOpKind::Add => Size { grows: true, ..left.and(right) },
                    BinOpKind::Mul => times(&one.left, &one.right, left.and(right), line)?,
                    _ => left.beside(right),
                }
            }
            Expr::Compare(one) => {
                let others = self.all(one.ops.iter().map(|op| &op.expr))?;
                self.size(&one.expr)?.and(others)
            }
            Expr::IfExpr(one) => {
                let tested = self.size(&one.test_expr)?;
                let mut either = self.size(&one.true_expr)?;
                if let Some(other) = &one.false_expr {
                    either = either.beside(self.size(other)?);
                }
                either.beside(tested)
            }
            Expr::Filter(one) => {
                let args = self.arguments(&one.args, line)?;
                let input = one.expr.as_ref().map_or_else(|| Ok(Size::default()), |expr| self.size(expr))?;
                let all = input.and(args);
                Size { units: all.units.max(FILTERED_UNITS), ..all }
            }
            Expr::Test(one) => {
                let args = self.arguments(&one.args, line)?;
                self.size(&one.expr)?.and(args)
            }
            Expr::GetAttr(one) => self.size(&one.expr)?,
            Expr::GetItem(one) => self.all([&one.expr, &one.subscript_expr])?,
            Expr::Call(one) => {
                let args = self.arguments(&one.args, line)?;
                let all = self.size(&one.expr)?.and(args);
                Size { units: all.units.max(FILTERED_UNITS), ..all }
            }
            Expr::List(one) => self.all(&one.items)?,
            Expr::Tuple(one) => self.all(&one.items)?,
            Expr::Map(one) => self.all(one.keys.iter().chain(&one.values))?,
        })
    }
}

fn is_number(expr: &Expr<'_>) -> bool {
    matches!(expr, Expr::Const(one) if one.value.kind() == ValueKind::Number)
}

/// A product. Texts and lists can be multiplied too, so one side is a number that stands there, and the other is no text
/// or list that stands there.
fn times(left: &Expr<'_>, right: &Expr<'_>, size: Size, line: u32) -> Result<Size, Refusal> {
    let other = match (is_number(left), is_number(right)) {
        (true, _) => right,
        (false, true) => left,
        (false, false) => return refuse(line, "one side of a product is a number that stands there"),
    };
    match other {
        Expr::Var(_) | Expr::GetAttr(_) | Expr::GetItem(_) => Ok(Size { repeats: size.repeats + 1, ..size }),
        other if is_number(other) => Ok(size),
        _ => refuse(line, "only a name is multiplied"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_templates_pass() {
        for good in [
            "Hello {{ name }}, {{ timeout | default(\"3600\") }}s",
            "{% if role %}\n## Role\n{{ role }}\n{% endif %}",
            "{% for key, value in things.items() %}{{ loop.index + 1 }}. {{ key }}: {{ value ~ \"!\" }}\n{% endfor %}",
            "{% set title = name ~ \" of \" ~ place %}{{ title | upper }}",
            "{% for x in xs %}{% set n = loop.index + 1 %}{{ n }}{% endfor %}",
            "{% include \"prompts/part.md.j2\" %}",
            "{% set text %}a {{ b }}{% endset %}{{ text | trim }}",
            "{{ timeout * 1000 }} {{ 2 * 3 }} {{ a if b else c }} {{ {\"a\": b}.a }} {{ xs[1:3] | join(\", \") }}",
            "{% extends \"base\" %}{% block body %}{{ a }}{% endblock %}",
            "{% raw %}{{ untouched }}{% endraw %}{# a remark #}",
        ] {
            assert_eq!(check("t", good), Ok(()), "{good}");
        }
    }

    #[test]
    fn what_builds_up_or_reaches_out_is_refused() {
        let doubled = "{% set a = a ~ a %}".repeat(6);
        let captured = "{% set a %}{{ a }}{{ a }}{% endset %}".repeat(3) + "{{ a ~ a ~ a ~ a ~ a }}";
        let mentions = format!("{{{{ {} }}}}", vec!["a"; 33].join(" ~ "));
        for bad in [
            "{{ \"x\" * 100000000 }}",
            "{{ [1] * 100000000 }}",
            "{{ x * y }}",
            "{{ (x * 3) * 3 }}",
            "{% for i in xs %}{{ x * 1000 }}{% endfor %}",
            "{% set x = x * 1000 %}",
            &doubled,
            &captured,
            &mentions,
            "{% for i in xs %}{% set a = a ~ a %}{% endfor %}",
            "{% for i in xs %}{% set a = a + a %}{% endfor %}",
            "{% set a %}{% for i in xs %}text{% endfor %}{% endset %}",
            "{% for i in xs %}{% set a %}text{% endset %}{% endfor %}",
            "{% for i in xs recursive %}{{ loop(xs) }}{% endfor %}",
            "{% set ns.a = 1 %}",
            "{{ self.body() }}",
            "{% block a %}{{ super() }}{% endblock %}",
            "{% import \"x\" as y %}",
            "{% from \"x\" import y %}",
            "{% macro m() %}{{ m() }}{% endmacro %}",
            "{% include \"x\" %}{% set a = a ~ a %}",
            "{% with a = a ~ a %}{% include \"x\" %}{% endwith %}",
            "{% autoescape true %}{% endautoescape %}",
            "{% do f() %}",
            "{{ f(*args) }}",
            "{{ unclosed",
            "{% if x %}",
            &format!("{{{{ {}1{} }}}}", "(".repeat(1000), ")".repeat(1000)),
        ] {
            let error = check("t", bad).expect_err(bad);
            assert!(matches!(error, ProfileError::Template { .. }), "{bad}");
        }
    }
}
