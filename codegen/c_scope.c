/* C names of a kernel's variables and buffers, and how often each variable is read.
 *
 * Buffers named after graph values get canonical names (in, in1, wt, out, …), so that kernels which do the
 * same for different layers print the same text and are emitted once. Variables keep the names that the
 * lowering gave them, unless C or the maths functions own the word. */
#include "codegen/c.h"
#include "base/intern.h"
#include <ctype.h>

typedef struct Slot {
  const void *key;
  const char *name;
  int reads;
  const Expr *value;           /* a let that is printed where it is read, not as a line of its own */
  int size;                    /* of that value in nodes, values within it included */
} Slot;
struct CScope { Arena *arena; Slot *slot; int cap, len; VEC(const char *) names; };

static const char *const reserved[] = {
  "auto", "break", "case", "char", "const", "continue", "default", "do", "double", "else", "enum", "extern",
  "float", "for", "goto", "if", "inline", "int", "long", "register", "restrict", "return", "short", "signed",
  "sizeof", "static", "struct", "switch", "typedef", "union", "unsigned", "void", "volatile", "while",
  "asm", "bool", "true", "false", "class", "new", "delete", "this", "template", "namespace", "operator",
  "private", "public", "protected", "try", "catch", "throw", "using", "virtual", "typeof", "nullptr",
  "and", "or", "not", "xor", "linux", "unix", "errno", "NULL", "main",
  "exp", "log", "sin", "cos", "tan", "pow", "sqrt", "fabs", "floor", "ceil", "round", "trunc", "erf", "gamma",
  "y0", "y1", "yn", "j0", "j1", "jn", "index", "abs", "div", "io", "weights", "arena",
};

const char *c_identifier(Arena *a, const char *name) {
  size_t n = strlen(name);
  char *s = arena_alloc(a, n + 3);
  char *q = s;
  if (!n || isdigit((unsigned char)name[0])) *q++ = '_';
  for (size_t i = 0; i < n; i++) *q++ = isalnum((unsigned char)name[i]) ? name[i] : '_';
  for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++)
    if (!strcmp(s, reserved[i])) *q++ = '_';
  return intern(s);
}

static Slot *find(CScope *s, const void *key) {
  uint64_t h = (uint64_t)(uintptr_t)key * 0x9e3779b97f4a7c15u;
  for (size_t i = (size_t)(h >> 40);; i++) {
    Slot *x = &s->slot[i & (size_t)(s->cap - 1)];
    if (!x->key || x->key == key) return x;
  }
}

static Slot *slot_of(CScope *s, const void *key) {
  if (s->len * 2 >= s->cap) {
    Slot *old = s->slot;
    int cap = s->cap;
    s->cap = cap ? cap * 2 : 64;
    s->slot = NEW_N(s->arena, Slot, s->cap);
    for (int i = 0; i < cap; i++)
      if (old[i].key) *find(s, old[i].key) = old[i];
  }
  Slot *x = find(s, key);
  if (!x->key) { x->key = key; s->len++; }
  return x;
}

static void name_var(CScope *s, const Var *v) {
  Slot *x = slot_of(s, v);
  if (!x->name) { x->name = c_identifier(s->arena, v->name); *vec_push(s->arena, &s->names) = x->name; }
}

static void see_expr(CScope *s, const Expr *e) {
  if (!e) return;
  if (e->kind == EX_VAR) { name_var(s, e->var); slot_of(s, e->var)->reads++; }
  if (e->kind == EX_LOAD) slot_of(s, e->buf)->reads++;
  for (int i = 0; i < 3; i++) see_expr(s, e->arg[i]);
}

/* Backwards: when a let is reached every read of it has been seen, and one that nobody reads (it will not be
 * printed) does not count as a reader of others. */
static void see_block(CScope *s, const Block *b) {
  for (int i = b ? b->stmts.len - 1 : -1; i >= 0; i--) {
    const Stmt *t = b->stmts.at[i];
    see_block(s, t->other);
    see_block(s, t->body);
    if (t->kind == ST_FOR || t->kind == ST_LET) name_var(s, t->var);
    if (t->kind == ST_LET && !t->var->mutable && !slot_of(s, t->var)->reads) continue;
    if (t->kind == ST_STORE || t->kind == ST_PREFETCH) slot_of(s, t->buf)->reads++;
    see_expr(s, t->lo); see_expr(s, t->hi); see_expr(s, t->cond); see_expr(s, t->index); see_expr(s, t->value);
    for (int k = 0; k < t->nargs; k++) see_expr(s, t->args[k]);
    for (int k = 0; k < t->nbufs; k++) slot_of(s, t->bufs[k])->reads++;
  }
}

/* ---- lets printed in place ----
 *
 * A let that is read once, soon, and is small reads better in place: store(out, relu(acc)) instead of three
 * lines. "Soon": only other lets stand between, so that nothing it reads can have changed. */

enum { SMALL = 16, SOON = 8 };

static int size_of(CScope *s, const Expr *e) {
  if (!e) return 0;
  if (e->kind == EX_VAR) { const Slot *x = slot_of(s, e->var); return x->value ? x->size : 1; }
  return 1 + size_of(s, e->arg[0]) + size_of(s, e->arg[1]) + size_of(s, e->arg[2]);
}

static bool uses(const Expr *e, const Var *v) { return e && expr_uses(e, v); }

static bool read_soon(const Block *b, int i) {
  const Var *v = b->stmts.at[i]->var;
  for (int k = i + 1; k < b->stmts.len && k <= i + SOON; k++) {
    const Stmt *t = b->stmts.at[k];
    if (t->kind != ST_LET && t->kind != ST_SET && t->kind != ST_STORE && t->kind != ST_IF) return false;
    if (uses(t->value, v) || uses(t->index, v) || uses(t->cond, v)) return true;
    if (t->kind != ST_LET) return false;
  }
  return false;
}

static void choose_in_place(CScope *s, const Block *b) {
  for (int i = 0; b && i < b->stmts.len; i++) {
    const Stmt *t = b->stmts.at[i];
    choose_in_place(s, t->body);
    choose_in_place(s, t->other);
    if (t->kind != ST_LET || t->var->mutable || (t->var->elem == DT_BOOL && t->var->lanes > 1)) continue;
    int size = size_of(s, t->value);
    Slot *x = slot_of(s, t->var);
    if (x->reads != 1 || size > SMALL || !read_soon(b, i)) continue;
    x->value = t->value;
    x->size = size;
  }
}

const Expr *c_in_place(CPrinter *p, const Var *v) { return slot_of(p->scope, v)->value; }

static bool taken(CScope *s, const char *name) {
  for (int i = 0; i < s->names.len; i++)
    if (s->names.at[i] == name) return true;
  return false;
}

static void name_bufs(CScope *s, const Kernel *k) {
  int in = 0, wt = 0, out = 0, tmp = 0;
  for (int i = 0; i < k->bufs.len; i++) {
    const Buf *b = k->bufs.at[i];
    bool written = b->role == BUF_OUT || b->role == BUF_INOUT;
    const char *stem = b->is_constant ? "wt" : b->role == BUF_IN ? "in" : written ? "out" : "tmp";
    int *count = b->is_constant ? &wt : b->role == BUF_IN ? &in : written ? &out : &tmp;
    const char *name = b->is_named ? c_identifier(s->arena, b->name) : NULL;
    while (!name || taken(s, name)) {
      char text[32];
      snprintf(text, sizeof text, *count ? "%s%d" : "%s", stem, *count);
      (*count)++;
      name = intern(text);
    }
    slot_of(s, b)->name = name;
    *vec_push(s->arena, &s->names) = name;
  }
}

CScope *c_scope(CPrinter *p, const Kernel *k) {
  CScope *s = NEW(p->arena, CScope);
  s->arena = p->arena;
  see_block(s, k->body);
  choose_in_place(s, k->body);
  for (int i = 0; i < k->dims.len; i++) *vec_push(s->arena, &s->names) = c_identifier(s->arena, k->dims.at[i]);
  name_bufs(s, k);
  return s;
}

const char *c_var(CPrinter *p, const Var *v) {
  Slot *x = slot_of(p->scope, v);
  if (!x->name) x->name = c_identifier(p->arena, v->name);
  return x->name;
}

const char *c_buf(CPrinter *p, const Buf *b) { return slot_of(p->scope, b)->name; }
int c_reads(CPrinter *p, const Var *v) { return slot_of(p->scope, v)->reads; }
bool c_buf_used(CPrinter *p, const Buf *b) { return slot_of(p->scope, b)->reads > 0; }
