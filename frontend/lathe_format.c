/* The text in its usual form: `lathe fmt`.
 *
 * Works on tokens, so that nothing is lost: comments stay where they are, line breaks stay but for runs of blank lines,
 * which become one. Indentation is four spaces for each open brace or bracket, and for a line that goes on with what the
 * line before began: it starts with an operator, over or with, or that one ends in an operator, a comma or such a word.
 * Formatting twice gives the same: the result depends on tokens and line breaks only, and keeps both. */
#include "frontend/language.h"
#include "frontend/lathe_ast.h"
#include <string.h>

enum { DEEP = 256 };

typedef struct Format {
  Tokens k;
  Text *out;
  int depth;
  struct { char open; bool typed; int line; } at[DEEP];         /* brackets; typed: a ':' since the last ',' */
} Format;

static bool is(const Token *k, const char *s) {
  return (k->kind == TOKEN_MARK || k->kind == TOKEN_NAME) && !strcmp(k->text, s);
}
static bool is_one_of(const Token *k, const char *const *s) {
  for (; *s; s++) if (is(k, *s)) return true;
  return false;
}

static bool is_word_of_language(const Token *k) {
  static const char *const words[] = {"return", "repeat", "report", "minimize", "over", "with", "as", "freeze",
      "new", "let", NULL};
  return k->kind == TOKEN_NAME && is_one_of(k, words);
}

static bool is_operator(const Token *k) {
  static const char *const marks[] = {"|>", "->", "==", "!=", "<=", ">=", "**", "=", "+", "-", "*", "/", "<", ">",
      "@", NULL};
  return k->kind == TOKEN_MARK && is_one_of(k, marks);
}

/* A minus that has nothing on its left to be taken from. */
static bool is_sign(const Format *f, int i) {
  static const char *const before[] = {"(", "[", "{", ",", ":", NULL};
  const Token *prev = i ? &f->k.at[i - 1] : NULL;
  return is(&f->k.at[i], "-") && (!prev || is_operator(prev) || is_one_of(prev, before) || is_word_of_language(prev));
}

static char innermost(const Format *f) { return f->depth ? f->at[f->depth - 1].open : 0; }

/* kernel=5 in a call, but x = 5 in a statement and width: int = 5 in a declaration */
static bool is_tight_equal(const Format *f, const Token *k) {
  return is(k, "=") && innermost(f) == '(' && !f->at[f->depth - 1].typed;
}

static bool space_between(const Format *f, int i) {
  static const char *const none_before[] = {")", "]", ",", ":", ".", "%", NULL};
  static const char *const none_after[] = {"(", "[", ".", NULL};
  const Token *a = &f->k.at[i - 1], *b = &f->k.at[i];
  if (is_one_of(b, none_before) || is_one_of(a, none_after)) return false;
  if (is(a, ":")) return innermost(f) != '[';
  if (is_tight_equal(f, a) || is_tight_equal(f, b) || is_sign(f, i - 1)) return false;
  bool opens = is(b, "(") || is(b, "[");
  if (opens && a->kind == TOKEN_NAME) return is_word_of_language(a);
  return !(opens && (is(a, "]") || is(a, ")")));
}

/* Does the line of token i go on with the one before? */
static bool goes_on(const Format *f, int i) {
  const Token *k = &f->k.at[i];
  int before = i - 1;
  if (is(k, "|>") || is(k, "over") || is(k, "with")) return true;
  while (before >= 0 && f->k.at[before].kind == TOKEN_COMMENT) before--;
  const Token *prev = before >= 0 ? &f->k.at[before] : NULL;
  if (!prev || innermost(f) == '(' || innermost(f) == '[' || k->kind == TOKEN_COMMENT) return false;
  return is_operator(prev) || is_word_of_language(prev) || is(prev, ",") || (is_operator(k) && !is_sign(f, i));
}

static void put_break(Format *f, int i) {
  const Token *k = &f->k.at[i];
  bool closes = is(k, "}") || is(k, ")") || is(k, "]");
  int levels = 0, line = -1;
  for (int d = 0; d < f->depth - closes; d++) {                  // brackets opened on one line indent once
    levels += f->at[d].line != line;
    line = f->at[d].line;
  }
  if (closes && f->depth > 1 && f->at[f->depth - 1].line == f->at[f->depth - 2].line && levels) levels--;
  levels += goes_on(f, i);
  if (i) text_put(f->out, k->breaks > 1 && !is(k, "}") && !is(&f->k.at[i - 1], "{") ? "\n\n" : "\n");
  for (int d = 0; d < levels; d++) text_put(f->out, "    ");
}

static void track(Format *f, const Token *k, int line) {
  if ((is(k, "(") || is(k, "[") || is(k, "{")) && f->depth < DEEP) {
    f->at[f->depth].open = k->text[0];
    f->at[f->depth].typed = false;
    f->at[f->depth++].line = line;
  }
  if (f->depth && (is(k, ")") || is(k, "]") || is(k, "}"))) f->depth--;
  if (!f->depth) return;
  if (is(k, ":")) f->at[f->depth - 1].typed = true;
  if (is(k, ",")) f->at[f->depth - 1].typed = false;
}

bool lathe_language_format(const char *path, const char *text, size_t size, Text *out, Diags *d) {
  Arena tmp = {0};
  LatheText t = {path, text, size, &tmp, d};
  int errors = d->errors, line = 0;
  lathe_parse(&t);
  Format f = {.out = out};
  if (d->errors == errors) f.k = lathe_lex(&t, true);
  for (int i = 0; i < f.k.len && f.k.at[i].kind != TOKEN_END; i++) {
    const Token *k = &f.k.at[i];
    line += k->breaks;
    if (k->breaks || !i) put_break(&f, i);
    else if (k->kind == TOKEN_COMMENT) text_put(out, "  ");
    else if (space_between(&f, i)) text_put(out, " ");
    text_bytes(out, text + k->at.start, (size_t)(k->at.end - k->at.start));
    track(&f, k, line);
  }
  if (out->len) text_put(out, "\n");
  arena_free(&tmp);
  return d->errors == errors;
}
