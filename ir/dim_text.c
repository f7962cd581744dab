/* The text of dims: "2*N + 1", "(N + 1) floordiv 2 - 3", "min(N, 5)". dim_parse reads what dim_print writes.
 *
 *   sum    := term (("+" | "-") term)*
 *   term   := factor (("*" | "floordiv" | "ceildiv" | "mod") factor)*      left to right
 *   factor := number | name | 'any name' | "(" sum ")" | ("min" | "max") "(" sum ("," sum)* ")" | "-" factor */
#include "ir/dim_poly.h"
#include "base/intern.h"
#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static bool is_plain_name(const char *s) {
  static const char *const taken[] = {"min", "max", "floordiv", "ceildiv", "mod", "in"};
  for (size_t i = 0; i < sizeof taken / sizeof *taken; i++)
    if (!strcmp(s, taken[i])) return false;
  if (!isalpha((unsigned char)*s) && *s != '_') return false;
  for (; *s; s++)
    if (!isalnum((unsigned char)*s) && *s != '_' && *s != '.') return false;
  return true;
}

void dim_print_symbol(Text *t, const char *name) {
  if (is_plain_name(name)) { text_put(t, name); return; }
  text_put(t, "'");
  for (const char *s = name; *s; s++) {
    if (*s == '\'' || *s == '\\') text_put(t, "\\");
    text_bytes(t, s, 1);
  }
  text_put(t, "'");
}

static void print_operand(Text *t, Dim d) {                      // of floordiv and mod: parentheses unless simple
  bool simple = !d.poly ? d.k >= 0 : d.poly->n == 1 && !d.k && d.poly->at[0].coef == 1 &&
                d.poly->at[0].mono->n == 1 && d.poly->at[0].mono->at[0]->kind != DIM_FLOORDIV &&
                d.poly->at[0].mono->at[0]->kind != DIM_MOD;
  if (!simple) text_put(t, "(");
  dim_print(t, d);
  if (!simple) text_put(t, ")");
}

/* The first operands of a flat min or max, which is kept as min(min(x, y), z). */
static void print_operands(Text *t, DimKind kind, Dim d) {
  const Atom *a = d.poly && d.poly->n == 1 && !d.k && d.poly->at[0].coef == 1 && d.poly->at[0].mono->n == 1
      ? d.poly->at[0].mono->at[0] : NULL;
  if (!a || a->kind != kind) { dim_print(t, d); return; }
  print_operands(t, kind, a->x);
  text_put(t, ", ");
  dim_print(t, a->y);
}

static void print_atom(Text *t, const Atom *a, bool alone) {
  switch (a->kind) {
    case DIM_SYMBOL: dim_print_symbol(t, symbol_at(a->symbol)->name); break;
    case DIM_FLOORDIV: case DIM_MOD:
      if (!alone) text_put(t, "(");
      print_operand(t, a->x);
      text_put(t, a->kind == DIM_MOD ? " mod " : " floordiv ");
      print_operand(t, a->y);
      if (!alone) text_put(t, ")");
      break;
    case DIM_MIN: case DIM_MAX:
      text_put(t, a->kind == DIM_MIN ? "min(" : "max(");
      print_operands(t, a->kind, a->x);
      text_put(t, ", ");
      dim_print(t, a->y);
      text_put(t, ")");
      break;
    case DIM_CONST: case DIM_ADD: case DIM_MUL: break;           // never atoms
  }
}

void dim_print(Text *t, Dim d) {
  for (int i = 0; d.poly && i < d.poly->n; i++) {
    const Term *m = &d.poly->at[i];
    int64_t c = m->coef;
    if (i) text_put(t, c < 0 && c != INT64_MIN ? " - " : " + ");
    else if (c < 0 && c != INT64_MIN) text_put(t, "-");
    if (c < 0 && c != INT64_MIN) c = -c;
    if (c != 1) text_printf(t, "%" PRId64 "*", c);
    for (int j = 0; j < m->mono->n; j++) {
      if (j) text_put(t, "*");
      print_atom(t, m->mono->at[j], m->mono->n == 1 && m->coef == 1);
    }
  }
  if (!d.poly) text_printf(t, "%" PRId64, d.k);
  else if (d.k < 0 && d.k != INT64_MIN) text_printf(t, " - %" PRId64, -d.k);
  else if (d.k) text_printf(t, " + %" PRId64, d.k);
}

const char *dim_text(Dim a) {
  Text t = {0};
  dim_print(&t, a);
  const char *s = intern(t.at);
  text_free(&t);
  return s;
}

/* ---- parsing ---- */

enum { MAX_DEPTH = 200 };

static bool parse_sum(const char **s, Dim *out, int depth);

static void skip(const char **s) {
  while (**s == ' ' || **s == '\t') ++*s;
}

static bool eat(const char **s, const char *word) {
  skip(s);
  size_t n = strlen(word);
  if (strncmp(*s, word, n)) return false;
  if (isalpha((unsigned char)word[0]) && (isalnum((unsigned char)(*s)[n]) || (*s)[n] == '_' || (*s)[n] == '.'))
    return false;
  *s += n;
  return true;
}

static const char *parse_name(const char **s) {
  if (**s == '\'') {
    Text t = {0};
    const char *p = *s + 1;
    for (; *p && *p != '\''; p++) {
      if (*p == '\\' && p[1]) p++;
      text_bytes(&t, p, 1);
    }
    const char *name = *p == '\'' && t.len ? intern(t.at) : NULL;
    text_free(&t);
    if (name) *s = p + 1;
    return name;
  }
  const char *p = *s;
  if (!isalpha((unsigned char)*p) && *p != '_') return NULL;
  while (isalnum((unsigned char)*p) || *p == '_' || *p == '.') p++;
  const char *name = intern_n(*s, (size_t)(p - *s));
  *s = p;
  return name;
}

const char *dim_parse_symbol(const char **s) {
  skip(s);
  return parse_name(s);
}

static bool parse_number(const char **s, Dim *out, int sign) {
  int64_t v = 0;
  for (; isdigit((unsigned char)**s); ++*s)
    if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, sign * (**s - '0'), &v)) return false;
  *out = DIM(v);
  return true;
}

static bool parse_factor(const char **s, Dim *out, int depth) {
  if (depth > MAX_DEPTH) return false;
  skip(s);
  bool minus = eat(s, "-");
  if (isdigit((unsigned char)**s)) return parse_number(s, out, minus ? -1 : 1);
  if (minus) {
    if (!parse_factor(s, out, depth + 1)) return false;
    *out = dim_sub(DIM(0), *out);
    return true;
  }
  if (eat(s, "(")) return parse_sum(s, out, depth + 1) && eat(s, ")");
  bool min = eat(s, "min");
  if (min || eat(s, "max")) {
    Dim y;
    if (!eat(s, "(") || !parse_sum(s, out, depth + 1)) return false;
    while (eat(s, ",")) {
      if (!parse_sum(s, &y, depth + 1)) return false;
      *out = min ? dim_min(*out, y) : dim_max(*out, y);
    }
    return eat(s, ")");
  }
  const char *name = parse_name(s);
  if (!name) return false;
  const Symbol *known = symbol_find(name);
  *out = known ? dim_symbol(name, known->lo, known->hi) : dim_symbol(name, 0, INT32_MAX);
  return true;
}

static bool parse_term(const char **s, Dim *out, int depth) {
  if (!parse_factor(s, out, depth)) return false;
  static const struct { const char *text; Dim (*make)(Dim, Dim); } ops[] = {
    {"*", dim_mul}, {"floordiv", dim_floordiv}, {"ceildiv", dim_ceildiv}, {"mod", dim_mod}};
  enum { N = sizeof ops / sizeof *ops };
  for (;;) {
    int k = 0;
    while (k < N && !eat(s, ops[k].text)) k++;
    if (k == N) return true;
    Dim y;
    if (!parse_factor(s, &y, depth)) return false;
    if (k > 0 && dim_is_const(y) && y.k <= 0) return false;
    *out = ops[k].make(*out, y);
  }
}

static bool parse_sum(const char **s, Dim *out, int depth) {
  if (!parse_term(s, out, depth)) return false;
  for (;;) {
    bool plus = eat(s, "+");
    if (!plus && !eat(s, "-")) return true;
    Dim y;
    if (!parse_term(s, &y, depth)) return false;
    *out = plus ? dim_add(*out, y) : dim_sub(*out, y);
  }
}

bool dim_parse(const char **s, Dim *out) { return parse_sum(s, out, 0); }
