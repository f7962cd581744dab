/* Values of the network language, names, and messages. */
#include "frontend/lathe_build.h"
#include "base/intern.h"
#include <stdarg.h>
#include <string.h>

/* ---- values ---- */

Val val_error(void) { return (Val){.kind = VAL_ERROR}; }
Val val_none(void) { return (Val){.kind = VAL_NONE}; }
Val val_tensor(ValueId v) { return (Val){.kind = v ? VAL_TENSOR : VAL_ERROR, .v = v}; }
Val val_int(Dim i) { return (Val){.kind = VAL_INT, .i = i, .f = dim_is_const(i) ? (double)i.k : 0}; }
Val val_float(double f) { return (Val){.kind = VAL_FLOAT, .f = f}; }
Val val_bool(bool b) { return (Val){.kind = VAL_BOOL, .b = b}; }
Val val_str(const char *s) { return (Val){.kind = VAL_STR, .s = s}; }
bool val_is_number(const Val *v) { return v->kind == VAL_INT || v->kind == VAL_FLOAT; }

bool val_same(const Val *a, const Val *b) {
  if (a->kind != b->kind) return false;
  switch (a->kind) {
    case VAL_ERROR: case VAL_NONE: return a->kind == VAL_NONE;
    case VAL_TENSOR: return a->v == b->v;
    case VAL_INT: return dim_eq(a->i, b->i);
    case VAL_FLOAT: return a->f == b->f;
    case VAL_BOOL: return a->b == b->b;
    case VAL_STR: return a->s == b->s;
    case VAL_TUPLE: break;
  }
  bool same = a->n == b->n;
  for (int k = 0; same && k < a->n; k++) same = val_same(&a->at[k], &b->at[k]);
  return same;
}

const char *val_text(Module *m, const Val *v) {
  switch (v->kind) {
    case VAL_ERROR: return "something that failed";
    case VAL_NONE: return "nothing";
    case VAL_TENSOR: return type_text(&value_of(m, v->v)->type);
    case VAL_INT: return intern_printf("the number %s", dim_text(v->i));
    case VAL_FLOAT: return intern_printf("the number %g", v->f);
    case VAL_BOOL: return v->b ? "true" : "false";
    case VAL_STR: return intern_printf("the text \"%.60s\"", v->s);
    case VAL_TUPLE: break;
  }
  return intern_printf("a list of %d", v->n);
}

/* ---- names ---- */

const Binding *binding_find(const Bindings *b, const char *name) {
  for (int k = b->len; k-- > 0;) if (!strcmp(b->at[k].name, name)) return &b->at[k];
  return NULL;
}

void lang_bind(Lang *l, Bindings *b, const char *name, Val v, Span at) {
  for (int k = 0; k < b->len; k++) {
    if (strcmp(b->at[k].name, name)) continue;
    b->at[k].v = v;
    b->at[k].at = at;
    return;
  }
  *vec_push(l->a, b) = (Binding){name, v, at};
}

/* Letters to change, add, drop or exchange with their neighbour (Damerau and Levenshtein); long words are far apart. */
static int distance(const char *a, const char *b) {
  enum { MOST = 40 };
  int d[MOST + 1][MOST + 1], n = (int)strlen(a), m = (int)strlen(b);
  if (n > MOST || m > MOST) return 1000;
  for (int i = 0; i <= n; i++) {
    for (int j = 0; j <= m; j++) {
      if (!i || !j) { d[i][j] = i + j; continue; }
      int change = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]), drop = d[i - 1][j] + 1, add = d[i][j - 1] + 1;
      int least = change < drop ? change : drop;
      if (add < least) least = add;
      bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped && d[i - 2][j - 2] + 1 < least) least = d[i - 2][j - 2] + 1;
      d[i][j] = least;
    }
  }
  return d[n][m];
}

const char *name_nearest(const char *s, const char *const *names, int n) {
  const char *best = NULL;
  int least = (int)strlen(s) / 3 + 1;                           // a third of its letters may be wrong
  for (int k = 0; k < n; k++) {
    int d = distance(s, names[k]);
    if (d <= least && (!best || d < least)) { best = names[k]; least = d; }
  }
  return best;
}

/* ---- messages ---- */

static bool told_before(Lang *l, Span at, const char *text) {
  for (int k = 0; k < l->reported.len; k++)
    if (l->reported.at[k].at == at.start && l->reported.at[k].text == text) return true;
  vec_push(l->a, &l->reported);
  l->reported.at[l->reported.len - 1].at = at.start;
  l->reported.at[l->reported.len - 1].text = text;
  return false;
}

void lang_error(Lang *l, const char *kind, Span at, const char *fmt, ...) {
  char text[1000];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  l->failures++;
  l->silent = told_before(l, at, intern(text));
  if (!l->silent) lathe_error(&l->text, kind, at, "%s", text);
}

void lang_hint(Lang *l, const char *fmt, ...) {
  if (l->silent) return;
  char text[500];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  diag_note(l->d, "hint: %s", text);
}

bool lang_check(Lang *l, Span at) {
  bool ok = l->graph_errors.errors == 0;
  for (int k = 0; k < l->graph_errors.len; k++) {
    const Diag *x = &l->graph_errors.at[k];
    if (x->warning) continue;
    const char *text = x->text, *line = strchr(text, '\n');
    int n = line ? (int)(line - text) : (int)strlen(text);
    lang_error(l, x->kind, at, "%.*s", n, text);
    for (; line && !l->silent; line = strchr(line, '\n')) {     // notes: the two shapes, the hint
      line += strspn(line, "\n ");
      n = (int)strcspn(line, "\n");
      diag_note(l->d, "%.*s", n, line);
    }
  }
  l->graph_errors.len = l->graph_errors.errors = 0;
  return ok;
}

void lang_source(Lang *l, Span at, const char *op) {
  graph_set_source(l->m, (Source){lathe_quote(&l->text, at), op, lathe_line(&l->text, at.start)});
}
