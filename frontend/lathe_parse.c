/* Tokens of the network language -> tree: recursive descent, one function per rule of docs/language.md.
 *
 * The first mistake of a declaration is reported; reading goes on at the next line that starts, without indentation,
 * with a word that starts a declaration. What the tree holds after errors may be incomplete, and is not used. */
#include "frontend/lathe_ast.h"
#include "base/intern.h"
#include "frontend/optimize.h"
#include <stdarg.h>
#include <string.h>

enum { DEPTH = 100 };                                           /* of expressions and blocks */

typedef struct Parser {
  const LatheText *t;
  Arena *a;
  Tokens tokens;
  int at, depth, repeats;                                       /* repeats: how many we are in */
  bool failed;                                                  /* in this declaration */
  LatheFile *file;
} Parser;

/* ---- tokens ---- */

static const Token *here(const Parser *p) { return &p->tokens.at[p->at]; }
static const Token *ahead(const Parser *p, int n) {
  int at = p->at + n < p->tokens.len ? p->at + n : p->tokens.len - 1;
  return &p->tokens.at[at];
}
static int last_end(const Parser *p) { return p->at ? p->tokens.at[p->at - 1].at.end : 0; }
static Span since(const Parser *p, int start) { return (Span){start, last_end(p) > start ? last_end(p) : start}; }

static bool token_is(const Token *k, const char *text) {
  return (k->kind == TOKEN_MARK || k->kind == TOKEN_NAME) && !strcmp(k->text, text);
}
static bool at_text(const Parser *p, const char *text) { return token_is(here(p), text); }

static void advance(Parser *p) { if (here(p)->kind != TOKEN_END) p->at++; }

static bool eat(Parser *p, const char *text) {
  if (p->failed || !at_text(p, text)) return false;
  advance(p);
  return true;
}

static void fail(Parser *p, Span at, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static void fail(Parser *p, Span at, const char *fmt, ...) {
  if (p->failed) return;
  p->failed = true;
  char text[400];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  lathe_error(p->t, "parse", at, "%s", text);
}

static const char *shown(const Parser *p) {
  return here(p)->kind == TOKEN_END ? "the end of the text" : intern_printf("'%.60s'", here(p)->text);
}

static bool want(Parser *p, const char *text, const char *after) {
  if (eat(p, text)) return true;
  fail(p, here(p)->at, "%s expected %s, not %s", text, after, shown(p));
  return false;
}

static const char *const keywords[] = {"net", "let", "data", "train", "eval", "return", "repeat", "report", "minimize",
    "freeze", "new", "over", "with", "as", "true", "false"};

static bool is_keyword(const char *s) {
  for (size_t i = 0; i < sizeof keywords / sizeof *keywords; i++) if (!strcmp(keywords[i], s)) return true;
  return false;
}

static Word want_name(Parser *p, const char *what) {
  const Token *k = here(p);
  if (k->kind != TOKEN_NAME || is_keyword(k->text)) {
    fail(p, k->at, "%s expected, not %s%s", what, shown(p), k->kind == TOKEN_NAME ? ", a word of the language" : "");
    return (Word){intern(""), k->at};
  }
  advance(p);
  return (Word){k->text, k->at};
}

/* net.layer.weight, or "layer1.0/weight" where the name of a tensor is no word of the language. */
static Word want_path(Parser *p, const char *what) {
  const Token *k = here(p);
  if (k->kind == TOKEN_STRING) {
    advance(p);
    return (Word){k->text, k->at};
  }
  Word w = want_name(p, what);
  while (eat(p, ".")) {
    Word next = want_name(p, "a name after '.'");
    w = (Word){intern_printf("%s.%s", w.text, next.text), {w.at.start, next.at.end}};
  }
  return w;
}

/* ---- expressions ---- */

static Term *parse_term(Parser *p);

static Term *term_new(Parser *p, TermKind kind, Span at) {
  Term *e = NEW(p->a, Term);
  *e = (Term){.kind = kind, .at = at, .text = intern("")};
  return e;
}

static void parse_args(Parser *p, Term *call) {
  while (!p->failed && !at_text(p, ")")) {
    int start = here(p)->at.start;
    Arg a = {0};
    if (here(p)->kind == TOKEN_NAME && token_is(ahead(p, 1), "=")) {
      a.name = want_name(p, "the name of an argument").text;
      advance(p);
    }
    a.value = parse_term(p);
    a.at = since(p, start);
    *vec_push(p->a, &call->args) = a;
    if (!eat(p, ",")) break;
  }
  want(p, ")", "after the arguments");
}

static Term *parse_tuple(Parser *p, const char *close) {
  int start = here(p)->at.start;
  advance(p);
  Term *e = term_new(p, TERM_TUPLE, here(p)->at);
  bool comma = false;
  while (!p->failed && !at_text(p, close)) {
    *vec_push(p->a, &e->items) = parse_term(p);
    if (!eat(p, ",")) break;
    comma = true;
  }
  want(p, close, "at the end of the list");
  e->at = since(p, start);
  bool group = !strcmp(close, ")") && e->items.len == 1 && !comma;       // (a): just parentheses
  if (group) e->items.at[0]->at = e->at;
  return group ? e->items.at[0] : e;
}

static Term *parse_call(Parser *p, bool fresh, int start) {
  Word w = want_name(p, fresh ? "the name of a net after 'new'" : "a value");
  bool call = at_text(p, "(") && here(p)->breaks == 0;
  Term *e = term_new(p, call || fresh ? TERM_CALL : TERM_NAME, w.at);
  e->text = w.text;
  e->fresh = fresh;
  if (call) {
    advance(p);
    parse_args(p, e);
  }
  e->at = since(p, start);
  return e;
}

static Term *parse_primary(Parser *p) {
  const Token *k = here(p);
  Term *e = term_new(p, TERM_NUMBER, k->at);
  if (k->kind == TOKEN_NUMBER) {
    advance(p);
    e->number = k->number;
    e->integral = k->integral;
    e->text = k->text;
    return e;
  }
  if (k->kind == TOKEN_STRING || at_text(p, "true") || at_text(p, "false")) {
    advance(p);
    e->kind = k->kind == TOKEN_STRING ? TERM_STRING : TERM_BOOL;
    e->text = k->text;
    e->truth = k->kind != TOKEN_STRING && k->text[0] == 't';
    return e;
  }
  if (at_text(p, "(")) return parse_tuple(p, ")");
  if (at_text(p, "[")) return parse_tuple(p, "]");
  if (eat(p, "new")) return parse_call(p, true, k->at.start);
  return parse_call(p, false, k->at.start);
}

static Term *parse_index_item(Parser *p) {
  int start = here(p)->at.start;
  Term *a = at_text(p, ":") ? NULL : parse_term(p);
  if (!eat(p, ":")) return a;
  Term *e = term_new(p, TERM_SLICE, here(p)->at);
  e->a = a;
  if (!at_text(p, ",") && !at_text(p, "]")) e->b = parse_term(p);
  e->at = since(p, start);
  return e;
}

static Term *parse_postfix(Parser *p) {
  int start = here(p)->at.start;
  Term *e = parse_primary(p);
  while (!p->failed && at_text(p, "[") && here(p)->breaks == 0) {
    advance(p);
    Term *x = term_new(p, TERM_INDEX, e->at);
    x->a = e;
    do *vec_push(p->a, &x->items) = parse_index_item(p); while (!p->failed && eat(p, ","));
    want(p, "]", "after the index");
    x->at = since(p, start);
    e = x;
  }
  return e;
}

static Term *parse_unary(Parser *p);

static Term *binary(Parser *p, const char *op, Term *a, Term *b) {
  Term *e = term_new(p, TERM_BINARY, (Span){a->at.start, b->at.end});
  e->text = intern(op);
  e->a = a;
  e->b = b;
  return e;
}

static Term *parse_power(Parser *p) {
  Term *a = parse_postfix(p);
  if (!eat(p, "**")) return a;
  p->depth++;
  Term *e = binary(p, "**", a, parse_unary(p));                       // binds to the right: a ** -b, a ** b ** c
  p->depth--;
  return e;
}

static Term *parse_unary(Parser *p) {
  int start = here(p)->at.start;
  if (p->depth >= DEPTH) fail(p, here(p)->at, "more than %d levels of nesting", DEPTH);
  if (p->failed || !eat(p, "-")) return parse_power(p);
  p->depth++;
  Term *e = term_new(p, TERM_UNARY, here(p)->at);
  e->text = intern("-");
  e->a = parse_unary(p);
  e->at = since(p, start);
  p->depth--;
  return e;
}

/* From what binds least. Comparisons do not chain. */
static const char *const levels[][7] = {{"==", "!=", "<=", ">=", "<", ">", NULL}, {"+", "-", NULL},
    {"*", "/", "@", NULL}};
enum { LEVELS = sizeof levels / sizeof *levels };

static Term *parse_level(Parser *p, int level) {
  if (level == LEVELS) return parse_unary(p);
  Term *a = parse_level(p, level + 1);
  for (bool more = true; more && !p->failed;) {
    more = false;
    for (int k = 0; levels[level][k]; k++) {
      if (!eat(p, levels[level][k])) continue;
      a = binary(p, levels[level][k], a, parse_level(p, level + 1));
      more = level > 0;
      break;
    }
  }
  return a;
}

/* a |> f(b) is f(a, b). The stage is where errors point. */
static Term *parse_term(Parser *p) {
  p->depth++;
  if (p->depth >= DEPTH) fail(p, here(p)->at, "more than %d levels of nesting", DEPTH);
  Term *e = p->failed ? term_new(p, TERM_NUMBER, here(p)->at) : parse_level(p, 0);
  while (eat(p, "|>")) {
    int start = here(p)->at.start;
    Term *f = parse_call(p, eat(p, "new"), start);
    Term *call = term_new(p, TERM_CALL, f->at);
    call->text = f->text;
    call->fresh = f->fresh;
    call->piped = true;
    *vec_push(p->a, &call->args) = (Arg){NULL, e, e->at};
    for (int k = 0; k < f->args.len; k++) *vec_push(p->a, &call->args) = f->args.at[k];
    e = call;
  }
  p->depth--;
  return e;
}

/* ---- types ---- */

static TypeTerm *parse_type(Parser *p) {
  static const char *const plain[] = {[TYPE_INT] = "int", [TYPE_FLOAT] = "float", [TYPE_BOOL] = "bool",
      [TYPE_STR] = "str"};
  TypeTerm *t = NEW(p->a, TypeTerm);
  Word w = want_name(p, "a type such as f32[N, 10]");
  bool dims = at_text(p, "[");
  for (int k = TYPE_INT; k <= TYPE_STR; k++) if (!strcmp(plain[k], w.text) && !dims) t->kind = (TypeKind)k;
  t->dtype = t->kind == TYPE_TENSOR ? dtype_from_text(w.text) : DT_NONE;
  if (t->kind == TYPE_TENSOR && t->dtype == DT_NONE)
    fail(p, w.at, "'%s' is no element type; f32, i64, u8, bool … are, and int, float, bool, str for plain values",
        w.text);
  if (eat(p, "[")) {
    while (!p->failed && !at_text(p, "]")) {
      *vec_push(p->a, &t->dims) = parse_term(p);
      if (!eat(p, ",")) break;
    }
    want(p, "]", "after the dims");
    if (t->dims.len > MAX_RANK)
      fail(p, since(p, w.at.start), "%d dims; tensors have at most %d", t->dims.len, MAX_RANK);
  }
  t->at = since(p, w.at.start);
  return t;
}

/* ---- statements ---- */

static void parse_block(Parser *p, Statements *out, bool step);

/* [NAME =] value */
static Arg parse_named(Parser *p) {
  int start = here(p)->at.start;
  Arg a = {0};
  if (token_is(ahead(p, 1), "=")) {
    a.name = want_name(p, "a name").text;
    want(p, "=", "after it");
  }
  a.value = parse_term(p);
  a.at = since(p, start);
  return a;
}

/* `with adam(lr=1e-3) clip_norm=1` would set a variable that nobody reads, and clip nothing. */
static void refuse_option(Parser *p, const Term *with) {
  const Token *t = here(p);
  OptimizerKind kind;
  if (p->failed || t->kind != TOKEN_NAME || t->breaks || !token_is(ahead(p, 1), "=")) return;
  if (!optimizer_find(with->text, &kind)) return;
  OptimizeSpec spec = optimizer_default(kind);
  if (!optimizer_set(&spec, t->text, 0) && strcmp(t->text, "ema")) return;
  fail(p, t->at, "options of %s stand within its parentheses: %s(..., %s=...)", with->text, with->text, t->text);
}

static void parse_minimize(Parser *p, Statement *s) {
  s->value = parse_term(p);
  do {
    Group g = {0};
    if (eat(p, "over")) do *vec_push(p->a, &g.over) = want_path(p, "the name of a net"); while (eat(p, ","));
    if (want(p, "with", "and an optimizer, such as adam(lr=1e-3),")) g.with = parse_term(p);
    if (g.with) refuse_option(p, g.with);
    *vec_push(p->a, &s->groups) = g;
  } while (!p->failed && at_text(p, "over"));
}

static void parse_assign(Parser *p, Statement *s) {
  if (here(p)->kind != TOKEN_NAME || is_keyword(here(p)->text)) {
    fail(p, here(p)->at, "a statement expected, not %s", shown(p));
    return;
  }
  do *vec_push(p->a, &s->names) = want_name(p, "a name"); while (eat(p, ","));
  if (!p->failed && !at_text(p, "=")) {
    fail(p, s->names.at[0].at, "'%s' starts no statement; a name is followed by =", s->names.at[0].text);
    return;
  }
  advance(p);
  s->value = parse_term(p);
  if (s->names.len < 2 || !at_text(p, ",")) return;
  Term *all = term_new(p, TERM_TUPLE, s->value->at);            // a, b = f(x), g(x)
  *vec_push(p->a, &all->items) = s->value;
  while (eat(p, ",")) *vec_push(p->a, &all->items) = parse_term(p);
  all->at = since(p, s->value->at.start);
  s->value = all;
}

static Statement *parse_statement(Parser *p, bool step, Statements *out) {
  Statement *s = NEW(p->a, Statement);
  int start = here(p)->at.start;
  const Token *k = here(p);
  *s = (Statement){.kind = STATEMENT_ASSIGN};
  if (!step && eat(p, "return")) {
    s->kind = STATEMENT_RETURN;
    do *vec_push(p->a, &s->results) = parse_term(p); while (eat(p, ","));
  } else if (eat(p, "repeat")) {
    s->kind = STATEMENT_REPEAT;
    s->value = parse_term(p);
    if (eat(p, "as")) *vec_push(p->a, &s->names) = want_name(p, "the counter's name");
    p->repeats++;
    parse_block(p, &s->body, step);
    p->repeats--;
  } else if (step && p->repeats && (at_text(p, "report") || at_text(p, "minimize") || at_text(p, "freeze"))) {
    fail(p, k->at, "'%s' has no place in repeat: a step does it once", k->text);
  } else if (step && eat(p, "report")) {
    for (bool more = true; more;) {                             // report a, b: a statement each
      Arg a = parse_named(p);
      s->kind = STATEMENT_REPORT;
      s->value = a.value;
      if (a.name) *vec_push(p->a, &s->names) = (Word){a.name, a.at};
      s->at = a.at;
      more = eat(p, ",");
      if (!more) break;
      *vec_push(p->a, out) = s;
      s = NEW(p->a, Statement);
    }
    return s;
  } else if (step && eat(p, "minimize")) {
    s->kind = STATEMENT_MINIMIZE;
    parse_minimize(p, s);
  } else if (step && eat(p, "freeze")) {
    s->kind = STATEMENT_FREEZE;
    do *vec_push(p->a, &s->names) = want_path(p, "the name of a net or layer"); while (eat(p, ","));
  } else if (is_keyword(k->text) && k->kind == TOKEN_NAME)
    fail(p, k->at, "'%s' has no place %s", k->text, step ? "in a step" : "in a net: it belongs in a step");
  else parse_assign(p, s);
  s->at = since(p, start);
  return s;
}

static void parse_block(Parser *p, Statements *out, bool step) {
  if (++p->depth >= DEPTH) fail(p, here(p)->at, "more than %d levels of nesting", DEPTH);
  Span open = here(p)->at;
  want(p, "{", "before the statements");
  while (!p->failed && !at_text(p, "}")) {
    if (here(p)->kind == TOKEN_END) { fail(p, open, "this { has no }"); break; }
    Statement *s = parse_statement(p, step, out);
    *vec_push(p->a, out) = s;
  }
  advance(p);
  p->depth--;
}

/* ---- declarations ---- */

static void parse_net(Parser *p) {
  NetDecl *n = NEW(p->a, NetDecl);
  int start = last_end(p) - 3;
  n->name = want_name(p, "the net's name");
  if (eat(p, "=")) n->from = parse_term(p);
  else {
    want(p, "(", "after the net's name");
    while (!p->failed && !at_text(p, ")")) {
      ParamDecl *x = vec_push(p->a, &n->params);
      ParamDecl d = {.name = want_name(p, "an argument's name")};
      if (want(p, ":", "and its type after an argument's name")) d.type = parse_type(p);
      if (eat(p, "=")) d.value = parse_term(p);
      *x = d;
      if (!eat(p, ",")) break;
    }
    want(p, ")", "after the arguments");
    n->at = since(p, start);
    if (eat(p, "->")) {
      bool many = eat(p, "(");
      do *vec_push(p->a, &n->results) = parse_type(p); while (many && eat(p, ","));
      if (many) want(p, ")", "after the types of the results");
      n->at = since(p, start);
    }
    parse_block(p, &n->body, false);
  }
  if (n->from) n->at = since(p, start);
  *vec_push(p->a, &p->file->nets) = n;
}

static void parse_step(Parser *p, bool trains) {
  StepDecl *s = NEW(p->a, StepDecl);
  int start = p->tokens.at[p->at - 1].at.start;
  s->trains = trains;
  if (!want(p, "step", trains ? "after 'train'" : "after 'eval'")) return;
  s->named = here(p)->kind == TOKEN_NAME;
  s->name = s->named ? want_name(p, "the step's name") : (Word){intern(trains ? "step" : "eval"), since(p, start)};
  s->at = since(p, start);
  parse_block(p, &s->body, true);
  *vec_push(p->a, &p->file->steps) = s;
}

static void parse_setting(Parser *p, DataDecl *d) {
  Setting s = {.name = want_name(p, "a column (NAME = …) or a setting (batch 64)")};
  if (here(p)->breaks == 0 && (here(p)->kind == TOKEN_NUMBER || at_text(p, "("))) {
    s.value = parse_primary(p);
    if (eat(p, "%")) {
      s.value->number /= 100;
      s.value->integral = false;
    }
  }
  *vec_push(p->a, &d->settings) = s;
}

static void parse_data(Parser *p) {
  DataDecl *d = &p->file->data;
  Span at = p->tokens.at[p->at - 1].at;
  if (d->there) fail(p, at, "there is a data block already");
  *d = (DataDecl){.there = true, .at = at};
  want(p, "{", "after 'data'");
  while (!p->failed && !at_text(p, "}")) {
    if (here(p)->kind == TOKEN_END) { fail(p, at, "the data block has no }"); break; }
    if (here(p)->kind != TOKEN_NAME || !(token_is(ahead(p, 1), "=") ||
        token_is(ahead(p, 1), ":"))) { parse_setting(p, d); continue; }
    ParamDecl c = {.name = want_name(p, "a column's name")};
    if (eat(p, ":")) c.type = parse_type(p);
    if (want(p, "=", "after a column's name")) c.value = parse_term(p);
    *vec_push(p->a, &d->columns) = c;
  }
  advance(p);
}

static bool starts_declaration(const Parser *p) {
  static const char *const words[] = {"net", "let", "data", "train", "eval"};
  const Token *k = here(p);
  if (k->at.start > 0 && p->t->at[k->at.start - 1] != '\n') return false;
  for (size_t i = 0; i < sizeof words / sizeof *words; i++) if (token_is(k, words[i])) return true;
  return false;
}

static void parse_declaration(Parser *p) {
  const Token *k = here(p);
  if (eat(p, "let")) {
    LetDecl l = {.name = want_name(p, "a name after 'let'")};
    if (want(p, "=", "after the name")) l.value = parse_term(p);
    *vec_push(p->a, &p->file->lets) = l;
  } else if (eat(p, "net")) parse_net(p);
  else if (eat(p, "data")) parse_data(p);
  else if (eat(p, "train")) parse_step(p, true);
  else if (eat(p, "eval")) parse_step(p, false);
  else fail(p, k->at, "net, let, data, train step or eval step expected, not %s", shown(p));
}

LatheFile *lathe_parse(const LatheText *t) {
  Parser p = {.t = t, .a = t->arena, .file = NEW(t->arena, LatheFile)};
  int errors = t->d->errors;
  p.tokens = lathe_lex(t, false);
  if (t->d->errors > errors) return p.file;
  while (here(&p)->kind != TOKEN_END) {
    int at = p.at;
    parse_declaration(&p);
    if (!p.failed) continue;
    if (p.at == at) advance(&p);
    while (here(&p)->kind != TOKEN_END && !starts_declaration(&p)) advance(&p);
    p.failed = false;
    p.depth = p.repeats = 0;
  }
  return p.file;
}
