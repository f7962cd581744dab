/* What dims are made of: atoms, monomials, polynomials and symbols, each stored once (dim_poly.h), and their order.
 * They live until symbols_reset. */
#include "ir/dim_poly.h"
#include "base/intern.h"
#include "base/vec.h"
#define XXH_INLINE_ALL
#include <xxhash.h>

int dim_bounds_age = 1;

static Arena arena;
static VEC(Symbol) symbols;

/* ---- hash-consing ---- */

typedef struct Table { void **at; size_t slots, count; } Table;
static Table atom_table, mono_table, poly_table;

typedef bool (*Same)(const void *item, const void *key);

/* The slot that holds the item equal to `key`, or the free one where it belongs. */
static void **table_slot(Table *t, uint64_t hash, Same same, const void *key, uint64_t (*hash_of)(const void *)) {
  if (t->count * 2 >= t->slots) {
    Table old = *t;
    t->slots = old.slots ? old.slots * 2 : 256;
    t->at = NEW_N(&arena, void *, t->slots);
    for (size_t i = 0; i < old.slots; i++) {
      if (!old.at[i]) continue;
      size_t h = hash_of(old.at[i]) & (t->slots - 1);
      while (t->at[h]) h = (h + 1) & (t->slots - 1);
      t->at[h] = old.at[i];
    }
  }
  size_t h = hash & (t->slots - 1);
  while (t->at[h] && !same(t->at[h], key)) h = (h + 1) & (t->slots - 1);
  return &t->at[h];
}

static uint64_t atom_hash(const void *p) {
  const Atom *a = p;
  uint64_t w[6] = {(uint64_t)a->kind, (uint64_t)a->symbol, (uint64_t)a->x.k, (uintptr_t)a->x.poly,
                   (uint64_t)a->y.k, (uintptr_t)a->y.poly};
  return XXH3_64bits(w, sizeof w);
}
static bool atom_same(const void *p, const void *q) {
  const Atom *a = p, *b = q;
  return a->kind == b->kind && a->symbol == b->symbol && dim_eq(a->x, b->x) && dim_eq(a->y, b->y);
}
const Atom *atom_make(DimKind kind, int symbol, Dim x, Dim y) {
  Atom key = {.kind = kind, .symbol = symbol, .x = x, .y = y};
  void **s = table_slot(&atom_table, atom_hash(&key), atom_same, &key, atom_hash);
  if (!*s) { *s = arena_dup(&arena, &key, sizeof key); atom_table.count++; }
  return *s;
}

static uint64_t mono_hash(const void *p) {
  const Mono *m = p;
  return XXH3_64bits(m->at, (size_t)m->n * sizeof m->at[0]);
}
static bool mono_same(const void *p, const void *q) {
  const Mono *a = p, *b = q;
  return a->n == b->n && !memcmp(a->at, b->at, (size_t)a->n * sizeof a->at[0]);
}
const Mono *mono_make(const Atom *const *at, int n) {
  Mono key = {n, at};
  void **s = table_slot(&mono_table, mono_hash(&key), mono_same, &key, mono_hash);
  if (!*s) {
    key.at = arena_dup(&arena, at, (size_t)n * sizeof *at);
    *s = arena_dup(&arena, &key, sizeof key);
    mono_table.count++;
  }
  return *s;
}

static uint64_t poly_hash(const void *p) {
  const Poly *m = p;
  uint64_t h = (uint64_t)m->n;
  for (int i = 0; i < m->n; i++) {
    uint64_t w[3] = {h, (uint64_t)m->at[i].coef, (uintptr_t)m->at[i].mono};
    h = XXH3_64bits(w, sizeof w);
  }
  return h;
}
static bool poly_same(const void *p, const void *q) {
  const Poly *a = p, *b = q;
  if (a->n != b->n) return false;
  for (int i = 0; i < a->n; i++)
    if (a->at[i].coef != b->at[i].coef || a->at[i].mono != b->at[i].mono) return false;
  return true;
}
const Poly *poly_make(const Term *at, int n) {
  if (!n) return NULL;
  if (n > MAX_TERMS) { dim_overflow = true; return NULL; }
  Poly key = {.n = n, .at = at};
  void **s = table_slot(&poly_table, poly_hash(&key), poly_same, &key, poly_hash);
  if (!*s) {
    key.at = arena_dup(&arena, at, (size_t)n * sizeof *at);
    *s = arena_dup(&arena, &key, sizeof key);
    poly_table.count++;
  }
  return *s;
}

Dim atom_dim(const Atom *a) {
  Term t = {1, mono_make(&a, 1)};
  return (Dim){0, poly_make(&t, 1)};
}

/* ---- the structural order ---- */

int dim_compare(Dim a, Dim b) {
  int na = a.poly ? a.poly->n : 0, nb = b.poly ? b.poly->n : 0;
  for (int i = 0; i < na && i < nb && a.poly != b.poly; i++) {
    int c = mono_compare(a.poly->at[i].mono, b.poly->at[i].mono);
    if (c) return c;
    int64_t x = a.poly->at[i].coef, y = b.poly->at[i].coef;
    if (x != y) return x < y ? -1 : 1;
  }
  if (na != nb) return na > nb ? -1 : 1;
  return a.k < b.k ? -1 : a.k > b.k;
}

int atom_compare(const Atom *a, const Atom *b) {
  if (a == b) return 0;
  if (a->kind != b->kind) return a->kind < b->kind ? -1 : 1;
  if (a->kind == DIM_SYMBOL) return strcmp(symbols.at[a->symbol].name, symbols.at[b->symbol].name);
  int c = dim_compare(a->x, b->x);
  return c ? c : dim_compare(a->y, b->y);
}

int mono_compare(const Mono *a, const Mono *b) {        // higher degree first: a monomial order
  if (a == b) return 0;
  if (a->n != b->n) return a->n > b->n ? -1 : 1;
  for (int i = 0; i < a->n; i++) {
    int c = atom_compare(a->at[i], b->at[i]);
    if (c) return c;
  }
  return 0;
}

/* ---- symbols ---- */

static int symbol_index(const char *name) {
  for (int i = 0; i < symbols.len; i++)
    if (symbols.at[i].name == name) return i;
  return -1;
}

Dim dim_symbol(const char *name, int64_t lo, int64_t hi) {
  name = intern(name);
  int i = symbol_index(name);
  if (i < 0) {
    i = symbols.len;
    *vec_push(&arena, &symbols) = (Symbol){name, lo, hi};
  } else {
    Symbol *s = &symbols.at[i];
    int64_t l = int64_max(s->lo, lo), h = int64_min(s->hi, hi);
    if (l <= h && (l != s->lo || h != s->hi)) {                  // contradictory bounds are the frontend's to report
      s->lo = l;
      s->hi = h;
      dim_bounds_age++;
    }
  }
  return atom_dim(atom_make(DIM_SYMBOL, i, DIM(0), DIM(0)));
}

Dim dim_fresh_symbol(const char *stem, int64_t lo, int64_t hi) {
  for (int i = 0;; i++) {
    const char *name = i ? intern(arena_printf(&arena, "%s_%d", stem, i)) : intern(stem);
    if (symbol_index(name) < 0) return dim_symbol(name, lo, hi);
  }
}

int symbol_count(void) { return symbols.len; }
const Symbol *symbol_at(int i) { return &symbols.at[i]; }
const Symbol *symbol_find(const char *name) {
  int i = symbol_index(intern(name));
  return i < 0 ? NULL : &symbols.at[i];
}

void symbols_reset(void) {
  arena_free(&arena);
  memset(&symbols, 0, sizeof symbols);
  memset(&atom_table, 0, sizeof atom_table);
  memset(&mono_table, 0, sizeof mono_table);
  memset(&poly_table, 0, sizeof poly_table);
  dim_bounds_age++;
  dim_overflow = false;
}
