/* Test inputs (stored or random) and guarded calls. See cases.h. */
#include "driver/cases.h"
#include "ir/eval.h"
#include "runtime/lt_memory.h"
#include "runtime/lt_pool.h"
#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { GUARD = 256, GUARD_BYTE = 0xA5 };

/* ---- stored data ---- */

static bool exists(const char *path) {
  struct stat s;
  return stat(path, &s) == 0;
}

static const char *base_name(const char *path) {
  const char *s = strrchr(path, '/');
  return s ? s + 1 : path;
}

static bool same_numbers(const Tensor *a, const Tensor *b) {
  if (tensor_count(a) != tensor_count(b) || a->dtype == DT_STRING || b->dtype == DT_STRING) return true;   // nothing to compare
  for (int64_t i = 0; i < tensor_count(a); i++)
    if (!(tensor_get(a, i) == tensor_get(b, i))) return false;
  return true;
}

bool case_of_data(Compiled *c, const Ports *p, const char *dir, Case *x) {
  const Graph *g = c->m->main;
  *x = (Case){base_name(dir), NEW_N(&c->arena, const Tensor *, g->inputs.len + 1), NEW_N(&c->arena, const Tensor *, g->outputs.len + 1)};
  for (int i = 0; i < g->inputs.len; i++) {
    const char *name = value_of(c->m, g->inputs.at[i])->name;
    x->in[i] = ports_input(p, &c->arena, name);
    if (x->in[i]) continue;
    diag_error(&c->diags, "io", NULL, "%s holds no value for input '%s'", dir, name);
    return false;
  }
  for (int k = 0; k < p->nin; k++) {
    const Tensor *bound = p->in[k].sample.bound;
    if (!p->in[k].value || !bound || same_numbers(p->in[k].value, bound)) continue;
    diag_error(&c->diags, "usage", NULL, "%s/input_%d.pb holds another '%s' than the one that is compiled in", dir,
               k, p->in[k].name);
    return false;
  }
  int at = 0;
  for (int k = 0; k < p->nout; k++) {
    const Port *o = &p->out[k];
    int n = o->kind == KIND_TENSOR || !o->list ? 1 : o->n;
    for (int i = 0; i < n && at < g->outputs.len; i++)
      x->want[at++] = o->kind == KIND_TENSOR ? o->value : o->list ? o->list[i] : NULL;
  }
  return true;
}

static int by_name(const void *x, const void *y) {
  const char *a = *(const char *const *)x, *b = *(const char *const *)y;
  size_t la = strlen(a), lb = strlen(b);
  return la != lb ? (la < lb ? -1 : 1) : strcmp(a, b);         // set_2 before set_10
}

bool data_sets(Arena *a, const char *dir, Strings *out, Diags *diags) {
  if (exists(arena_printf(a, "%s/input_0.pb", dir)) || exists(arena_printf(a, "%s/output_0.pb", dir))) {
    *vec_push(a, out) = dir;
    return true;
  }
  Strings sets = {0};
  DIR *d = opendir(dir);
  for (struct dirent *e; d && (e = readdir(d));)
    if (!strncmp(e->d_name, "set_", 4) || !strncmp(e->d_name, "test_data_set_", 14))
      *vec_push(a, &sets) = arena_strdup(a, e->d_name);
  if (d) closedir(d);
  if (!sets.len) {
    diag_error(diags, "io", NULL, "%s holds neither input_0.pb nor set_K or test_data_set_K folders", dir);
    return false;
  }
  qsort(sets.at, (size_t)sets.len, sizeof *sets.at, by_name);
  for (int i = 0; i < sets.len; i++) *vec_push(a, out) = arena_printf(a, "%s/%s", dir, sets.at[i]);
  return true;
}

/* ---- random data ---- */

static uint64_t next(uint64_t *s) {                            // splitmix64 (Steele, Lea, Flood)
  uint64_t z = *s += 0x9e3779b97f4a7c15u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}

/* A size for every symbol, by its number. */
typedef struct Chosen { int64_t *at; int n; } Chosen;

static int64_t chosen_size(const char *name, void *ctx) {
  const Chosen *c = ctx;
  for (int i = 0; i < c->n; i++)
    if (!strcmp(symbol_at(i)->name, name)) return c->at[i];
  return 1;
}

/* What a case may take at most: inputs and arena are touched whole, and the evaluator does some 500 MFLOP/s. */
static bool is_modest(Compiled *c, Chosen *s, Sizes sizes) {
  const double most_bytes = 512e6, most_flops = sizes == SIZES_FULL ? 1e11 : 4e9;
  double bytes = (double)dim_eval(c->p->arena_bytes, chosen_size, s);
  for (int i = 0; i < c->m->main->inputs.len; i++) {
    const Type *t = &value_of(c->m, c->m->main->inputs.at[i])->type;
    double n = dtype_bytes(t->dtype);
    for (int k = 0; k < t->rank; k++) n *= (double)dim_eval(t->dims[k], chosen_size, s);
    bytes += n;
  }
  return bytes <= most_bytes && (double)dim_eval(program_flops(c->p), chosen_size, s) <= most_flops;
}

static Chosen choose_sizes(Compiled *c, uint64_t seed, Sizes sizes) {
  Chosen s = {NEW_N(&c->arena, int64_t, symbol_count() + 1), symbol_count()};
  for (int i = 0; i < s.n; i++) {
    const Symbol *x = symbol_at(i);
    uint64_t range = (uint64_t)(x->hi - x->lo) + 1;
    if (sizes == SIZES_FEW) s.at[i] = x->lo + 2 < x->hi ? x->lo + 2 : x->hi;
    else
      s.at[i] = sizes == SIZES_LOW                     ? x->lo
          : sizes == SIZES_HIGH || sizes == SIZES_FULL ? x->hi
                                                       : x->lo + (int64_t)(next(&seed) % range);
  }
  for (bool smaller = true; smaller && !is_modest(c, &s, sizes);) {
    smaller = false;
    for (int i = 0; i < s.n; i++)
      if (s.at[i] > symbol_at(i)->lo) {
        s.at[i] = symbol_at(i)->lo + (s.at[i] - symbol_at(i)->lo) / 2;
        smaller = true;
      }
  }
  return s;
}

/* "N=32 W=100": the symbols that are sizes of inputs. */
static const char *sizes_text(Compiled *c, const Chosen *s) {
  Text t = {0};
  for (int i = 0; i < s->n; i++) {
    bool of_input = false;
    for (int k = 0; k < c->m->main->inputs.len && !of_input; k++) {
      const Type *ty = &value_of(c->m, c->m->main->inputs.at[k])->type;
      for (int a = 0; a < ty->rank; a++) of_input |= !strcmp(dim_text(ty->dims[a]), symbol_at(i)->name);
    }
    if (of_input) text_printf(&t, "%s%s=%lld", t.len ? " " : "", symbol_at(i)->name, (long long)s->at[i]);
  }
  const char *r = t.len ? arena_strdup(&c->arena, t.at) : "random";
  text_free(&t);
  return r;
}

static void fill_random(Tensor *t, uint64_t *seed) {
  for (int64_t k = 0, n = tensor_count(t); k < n; k++) {
    uint64_t r = next(seed);
    if (dtype_is_float(t->dtype)) tensor_set(t, k, ((double)(r >> 40) / 8388608.0 - 1.0) * 1.5);
    else tensor_set_int(t, k, (int64_t)(r >> 63));             // 0 or 1: valid as index, length and bool
  }
}

static void fill_like(Tensor *t, const Tensor *like, uint64_t *seed) {
  int64_t from = tensor_count(like), at = (int64_t)(next(seed) % (uint64_t)from);
  for (int64_t k = 0, n = tensor_count(t); k < n; k++, at = (at + 1) % from) {
    if (dtype_is_float(t->dtype)) tensor_set(t, k, tensor_get(like, at));
    else tensor_set_int(t, k, tensor_get_int(like, at));
  }
}

Case case_random(Compiled *c, uint64_t seed, Sizes sizes, const Case *like) {
  Graph *g = c->m->main;
  Chosen s = choose_sizes(c, seed, sizes);
  Case x = {sizes_text(c, &s), NEW_N(&c->arena, const Tensor *, g->inputs.len + 1),
            NEW_N(&c->arena, const Tensor *, g->outputs.len + 1)};
  for (int i = 0; i < g->inputs.len; i++) {
    const Type *ty = &value_of(c->m, g->inputs.at[i])->type;
    int64_t dims[MAX_RANK];
    for (int k = 0; k < ty->rank; k++) dims[k] = dim_eval(ty->dims[k], chosen_size, &s);
    Tensor *t = tensor_new(&c->arena, ty->dtype, ty->rank, dims);
    const Tensor *from = like ? like->in[i] : NULL;
    if (from && from->dtype == t->dtype && tensor_count(from) && t->dtype != DT_STRING) fill_like(t, from, &seed);
    else fill_random(t, &seed);
    x.in[i] = t;
  }
  return x;
}

/* ---- the evaluator ---- */

bool case_evaluate(Module *m, const Tensor *const *in, const Tensor **out, Arena *a) {
  Eval e;
  Graph *g = m->main;
  eval_begin(&e, m);
  bool ok = true;
  for (int i = 0; ok && i < g->inputs.len; i++) ok = eval_bind_input(&e, i, in[i]);
  ok = ok && eval_graph(&e, g);
  for (int i = 0; ok && i < g->outputs.len; i++) {
    const Tensor *t = eval_value(&e, g->outputs.at[i]);
    if (!t) { ok = false; break; }
    Tensor *copy = tensor_new(a, t->dtype, t->rank, t->dims);
    if (tensor_bytes(t)) memcpy(copy->data, t->data, tensor_bytes(t));
    out[i] = copy;
  }
  eval_end(&e);
  return ok;
}

Tensor **case_in_double(Arena *a, const Case *x, int n) {
  Tensor **all = NEW_N(a, Tensor *, n + 1);
  for (int i = 0; i < n; i++) {
    const Tensor *t = x->in[i];
    bool wide = t->dtype == DT_F32;
    all[i] = tensor_new(a, wide ? DT_F64 : t->dtype, t->rank, t->dims);
    if (!wide && tensor_bytes(t)) memcpy(all[i]->data, t->data, tensor_bytes(t));
    for (int64_t k = 0, count = tensor_count(t); wide && k < count; k++) tensor_set(all[i], k, tensor_get(t, k));
  }
  return all;
}

/* ---- calls ---- */

static void *guarded(size_t bytes) {
  char *p = lt_alloc(bytes + 2 * GUARD);
  if (!p) {
    fprintf(stderr, "lathe: no memory for %zu bytes\n", bytes);
    exit(EXIT_FAILED);
  }
  memset(p, GUARD_BYTE, GUARD);
  memset(p + GUARD + bytes, GUARD_BYTE, GUARD);
  return p + GUARD;
}

static void guarded_free(const void *p) {
  if (p) free((char *)(uintptr_t)p - GUARD);
}

void call_free(Call *k) {
  for (int i = 0; i < k->m->inputs; i++) guarded_free(k->in[i]);
  for (int i = 0; i < k->m->outputs; i++) guarded_free(k->out[i]);
  guarded_free(k->arena);
}

static bool guards_hold(const void *p, size_t bytes) {
  const unsigned char *q = p;
  for (int i = 0; i < GUARD; i++)
    if (q[i - GUARD] != GUARD_BYTE || q[bytes + (size_t)i] != GUARD_BYTE) return false;
  return true;
}

bool call_make(Call *k, Compiled *c, const Loaded *l, const Case *x) {
  const lt_model *m = l->model;
  *k = (Call){.m = m, .weights = l->weights, .pool = l->pool};
  k->symbols = NEW_N(&c->arena, int64_t, m->symbols + 1);
  k->in = NEW_N(&c->arena, const void *, m->inputs + 1);
  k->out = NEW_N(&c->arena, void *, m->outputs + 1);
  k->out_bytes = NEW_N(&c->arena, size_t, m->outputs + 1);
  for (int i = 0; i < m->inputs; i++) {
    const lt_port *p = &m->in[i];
    bool fits = !strcmp(dtype_info[x->in[i]->dtype].text, p->dtype) && x->in[i]->rank == p->rank;
    for (int a = 0; fits && a < p->rank; a++) fits = p->dims[a] < 0 || p->dims[a] == x->in[i]->dims[a];
    if (!fits) {
      Dim have[MAX_RANK];
      for (int a = 0; a < x->in[i]->rank; a++) have[a] = DIM(x->in[i]->dims[a]);
      Type t = type_of(x->in[i]->dtype, x->in[i]->rank, have);
      diag_error(&c->diags, "shape", NULL, "%s: input '%s' is %s here, and %s in the compiled model", x->name,
                 p->name, type_text(&t), type_text(&value_of(c->m, c->m->main->inputs.at[i])->type));
      return false;
    }
    size_t bytes = tensor_bytes(x->in[i]);
    void *copy = guarded(bytes);
    if (bytes) memcpy(copy, x->in[i]->data, bytes);
    k->in[i] = copy;
  }
  int64_t *upper = NEW_N(&c->arena, int64_t, m->symbols + 1);
  for (int i = 0; i < m->symbols; i++) {
    const lt_symbol *s = &m->symbol[i];
    k->symbols[i] = s->input >= 0 ? x->in[s->input]->dims[s->axis] : 0;
    upper[i] = s->input >= 0 ? k->symbols[i] : s->hi;
  }
  for (int i = 0; i < m->outputs; i++) {
    int64_t dims[MAX_RANK], n = m->out[i].elem_bytes;
    m->out_dims(upper, i, dims);
    for (int a = 0; a < m->out[i].rank; a++) n *= dims[a];
    k->out_bytes[i] = (size_t)n;
    k->out[i] = guarded((size_t)n);
  }
  k->arena_bytes = m->arena_bytes(k->symbols);
  if (k->pool) k->arena_bytes += (size_t)(k->pool->threads(k->pool->self) - 1) * m->part_bytes;
  k->arena = guarded(k->arena_bytes);
  return true;
}

/* Not all of a huge block: what a data-dependent size could need at most is reserved, but hardly ever touched. */
static void poison_block(void *p, size_t bytes, int poison) {
  size_t most = (size_t)256 << 20;
  memset(p, poison, bytes < most ? bytes : most);
}

int call_go(const Call *k) {
  const lt_model *m = k->m;
  return k->pool ? m->run_parallel(k->weights, k->arena, k->symbols, k->in, k->out, k->pool)
                 : m->run(k->weights, k->arena, k->symbols, k->in, k->out);
}

/* Parts in turn, with what would be saved if they ran at once: all but the longest. */
static struct { int threads; double others, longest, since, saved; } turn;

static int turn_threads(void *self) { (void)self; return turn.threads; }

static void turn_took(double seconds) {
  turn.others += seconds;
  if (seconds > turn.longest) turn.longest = seconds;
}

static void turn_start(void *self, lt_task *task, void *call, int parts) {
  (void)self;
  turn.others = turn.longest = 0;
  for (int part = parts - 1; part > 0; part--) {
    double since = cpu_seconds();
    task(call, part, parts);
    turn_took(cpu_seconds() - since);
  }
  turn.since = cpu_seconds();
}

static void turn_wait(void *self) {
  (void)self;
  turn_took(cpu_seconds() - turn.since);
  turn.saved += turn.others - turn.longest;
}

const struct lt_pool *call_in_turn(int threads) {
  static const lt_pool pool = {NULL, turn_threads, turn_start, turn_wait};
  turn.threads = threads;
  return &pool;
}

double call_clock(void) { return cpu_seconds() - turn.saved; }

bool call_run(Call *k, Compiled *c, int poison) {
  poison_block(k->arena, k->arena_bytes, poison);
  for (int i = 0; i < k->m->outputs; i++) poison_block(k->out[i], k->out_bytes[i], poison);
  int code = call_go(k);
  if (code) {
    diag_error(&c->diags, "run", NULL, "the compiled model refused the call: %s", k->m->error(code));
    return false;
  }
  bool ok = guards_hold(k->arena, k->arena_bytes);
  if (!ok)
    diag_error(&c->diags, "memory", NULL, "the compiled model wrote outside its arena of %zu bytes",
               k->arena_bytes);
  for (int i = 0; i < k->m->outputs; i++)
    if (!guards_hold(k->out[i], k->out_bytes[i])) {
      diag_error(&c->diags, "memory", NULL, "the compiled model wrote outside output '%s' of %zu bytes",
                 k->m->out[i].name, k->out_bytes[i]);
      ok = false;
    }
  return ok;
}

Tensor *call_output(Call *k, Compiled *c, int port) {
  int64_t dims[MAX_RANK];
  k->m->out_dims(k->symbols, port, dims);
  Tensor *t = tensor_new(&c->arena, dtype_from_text(k->m->out[port].dtype), k->m->out[port].rank, dims);
  size_t n = tensor_bytes(t);
  if (n) memcpy(t->data, k->out[port], n < k->out_bytes[port] ? n : k->out_bytes[port]);
  return t;
}
