/* gradcheck FILE.cases…: gradients against finite differences, and the emitted C against both. Each case is a network
 * in IR text of f32 with the place to differentiate it at:
 *
 *   case OP[/WHAT] [INPUT in LO..HI | INPUT = NUMBER… | SYMBOL = N], …
 *     input %x : f32[2,3] %y = exp(%x) output %y
 *
 * The loss is the sum of all float outputs, each times an input of random weights. Then
 *   1. in f64, by the evaluator: the gradient of every float input after passes grad and decompose, and again after all
 *      of SIMPLIFY, against central differences of the untouched network: relative error at most 1e-6;
 *   2. in f32, by emitted C within guarded and poisoned memory, twice: every output and gradient against f64: 1e-3.
 * Errors are those of the worst element, relative to the tensor's largest. Floats not said otherwise are from -2..2,
 * all different in each input, so that no two meet at a kink; integers must be said.
 * An op whose gradient column has a rule needs a case. Environment: ONLY=exp runs cases that begin so, CFLAGS,
 * TARGET. */
#include "base/text.h"
#include "codegen/embed.h"
#include "driver/cases.h"
#include "ir/build.h"
#include "ir/differences.h"
#include "passes/grad.h"
#include "passes/pass.h"
#include "passes/pipeline.h"
#include "passes/retype.h"
#include <ctype.h>
#include <dlfcn.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>

enum { BATCH = 40, MAX_CLAUSES = 12 };
static const double limit64 = 1e-6, limit32 = 1e-3;

typedef struct Clause { const char *name; double lo, hi; const char *values; } Clause;

typedef struct GradCase {
  const char *title, *file, *text;       /* text: a whole module */
  Op op;
  int line, nclauses;
  Clause clause[MAX_CLAUSES];
  Arena arena;                           /* of what is known of it: */
  int nin;
  Tensor **in;                           /* the point, in f64 */
  const Tensor **want;                   /* outputs, then gradients, in f64 */
  bool failed;
} GradCase;
typedef VEC(GradCase) GradCases;

static Arena perm;
static const char *work;
static int passed, failed;
static double worst64[OP_COUNT], worst32[OP_COUNT];
static bool seen[OP_COUNT];

static bool complain(GradCase *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static bool complain(GradCase *c, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  printf("%s  %s:%d  ", c->title, c->file, c->line);
  vprintf(fmt, ap);
  printf("  (again: ONLY=%s)\n", c->title);
  va_end(ap);
  c->failed = true;
  return false;
}

static bool complain_diags(GradCase *c, const char *stage, Diags *d) {
  return complain(c, "%s: %s: %s", stage, d->len && d->at[0].where ? d->at[0].where : "", d->len ? d->at[0].text : "?");
}

/* ---- cases ---- */

static bool clause_read(GradCase *c, char *s) {
  while (*s == ' ') s++;
  if (!*s) return true;
  char *end = s + strcspn(s, " =");
  Clause *k = &c->clause[c->nclauses++];
  if (c->nclauses == MAX_CLAUSES || !*end) return false;
  k->name = arena_printf(&perm, "%.*s", (int)(end - s), s);
  s = end + strspn(end, " ");
  if (*s == '=') { k->values = arena_strdup(&perm, s + 1); k->lo = atof(k->values); return true; }
  char *dots = strstr(s, "..");
  if (strncmp(s, "in ", 3) || !dots) return false;
  *dots = 0;
  k->lo = atof(s + 3);
  k->hi = atof(dots + 2);
  return k->hi >= k->lo;
}

/* "case exp/wide x in 0..3, N = 2" */
static bool header_read(GradCase *c, const char *line) {
  char copy[1000], word[100];
  int n = 0;
  if (sscanf(line, "case %99s%n", word, &n) != 1) return false;
  snprintf(copy, sizeof copy, "%s", line + n);
  copy[strcspn(copy, "\n")] = 0;
  c->title = arena_strdup(&perm, word);
  word[strcspn(word, "/")] = 0;
  c->op = op_from_text(word);
  bool ok = c->op != OP_NONE;
  for (char *s = strtok(copy, ","); s; s = strtok(NULL, ",")) ok &= clause_read(c, s);
  return ok;
}

static void cases_load(GradCases *all, const char *path) {
  char why[300];
  size_t n;
  char *text = file_load(path, &n, why, sizeof why);
  if (!text) { fprintf(stderr, "gradcheck: %s\n", why); exit(2); }
  int line = 1;
  for (char *s = text; *s;) {
    char *next = s;
    do next += strcspn(next, "\n") + (next[strcspn(next, "\n")] == '\n'); while (*next && strncmp(next, "case ", 5));
    char *body = s + strcspn(s, "\n");
    if (!strncmp(s, "case ", 5)) {
      GradCase c = {.file = path, .line = line,
                    .text = arena_printf(&perm, "module m {%.*s}\n", (int)(next - body), body)};
      if (!header_read(&c, s)) { fprintf(stderr, "%s:%d: not a case\n", path, line); exit(2); }
      if (!getenv("ONLY") || !strncmp(c.title, getenv("ONLY"), strlen(getenv("ONLY")))) *vec_push(&perm, all) = c;
    }
    for (; s < next; s++) line += *s == '\n';
  }
  free(text);
}

static const Clause *clause_of(const GradCase *c, const char *name) {
  for (int k = 0; k < c->nclauses; k++)
    if (!strcmp(c->clause[k].name, name)) return &c->clause[k];
  return NULL;
}

/* ---- the network and its loss ---- */

/* Output 0 becomes the loss; the network's own follow. */
static ValueId loss_add(Module *m) {
  Graph *g = m->main;
  ValueId loss = 0;
  int outputs = g->outputs.len;
  ValueId *own = arena_dup(&m->perm, g->outputs.at, sizeof *own * (size_t)outputs);
  for (int k = 0; k < outputs; k++) {
    Type t = value_of(m, own[k])->type;
    if (!dtype_is_float(t.dtype)) continue;
    ValueId w = graph_add_input(g, arena_printf(&m->perm, "weight_%d", k), t);
    ValueId part = build_cast(g, build_reduce_all(g, OP_REDUCE_SUM, build_mul(g, own[k], w)), dtype_compute(t.dtype));
    loss = loss ? build_add(g, loss, part) : part;
  }
  if (!loss) return 0;
  g->outputs.len = 0;
  *vec_push(&m->perm, &g->outputs) = loss;
  for (int k = 0; k < outputs; k++) *vec_push(&m->perm, &g->outputs) = own[k];
  return loss;
}

typedef enum { LOSS_ONLY, WITH_GRADIENTS } Ends;

/* The module of a case in type t; NULL after complaining. */
static Module *case_module(GradCase *c, DType t, Ends ends, Diags *d) {
  symbols_reset();
  *d = (Diags){.file = c->file};
  Module *m = module_parse(c->text, NULL, d);
  if (!m || (t != DT_F32 && !module_retype(m, DT_F32, t))) { complain_diags(c, "the network", d); return NULL; }
  ValueId *wrt, loss = loss_add(m);
  if (!loss) { complain(c, "no float output: %s", d->len ? d->at[0].text : ""); return NULL; }
  if (ends == LOSS_ONLY) m->main->outputs.len = 1;
  else if (grad_of_inputs(m, loss, &wrt) <= 0) { complain_diags(c, "gradient", d); return NULL; }
  return m;
}

static bool simplify(Module *m) {
  Arena tmp = {0};
  PassOptions o = {.verify = true, .stop_after = "dce"};
  PassContext pc;
  pass_begin(&pc, m, NULL, &o, &tmp);
  bool ok = passes_run(&pc);
  pass_end(&pc);
  arena_free(&tmp);
  return ok && !m->diags->errors;
}

static void ops_seen(const Module *m) {
  for (int i = 1; i < m->nodes.len; i++) seen[m->nodes.at[i].op] = true;
}

/* ---- the point ---- */

static int64_t symbol_size(const char *name, void *ctx) {
  const Clause *k = clause_of(ctx, name);
  const Symbol *s = symbol_find(name);
  return k ? (int64_t)k->lo : s->lo > 3 ? s->lo : s->hi < 3 ? s->hi : 3;
}

static uint64_t next_random(uint64_t *seed) {
  *seed = *seed * 6364136223846793005u + 1442695040888963407u;
  return *seed >> 33;
}

/* n different numbers from lo to hi, shuffled; no two closer than half of (hi - lo) / n. As f32, for the emitted
 * code. */
static void fill_spread(Tensor *t, double lo, double hi, uint64_t *seed) {
  int64_t n = tensor_count(t);
  double at = 0.3 + 0.4 * (double)(next_random(seed) % 1000) / 1000;
  for (int64_t i = 0; i < n; i++) tensor_set(t, i, (float)(lo + (hi - lo) * ((double)i + at) / (double)n));
  for (int64_t i = n - 1; i > 0; i--) {
    int64_t j = (int64_t)(next_random(seed) % (uint64_t)(i + 1));
    double x = tensor_get(t, i);
    tensor_set(t, i, tensor_get(t, j));
    tensor_set(t, j, x);
  }
}

static void fill_values(Tensor *t, const char *values) {
  const char *s = values;
  for (int64_t i = 0, n = tensor_count(t); i < n; i++) {
    char *end;
    double v = strtod(s, &end);
    if (end == s && s != values) { s = values; v = strtod(s, &end); }           // again from the first
    tensor_set(t, i, dtype_is_float(t->dtype) ? (float)v : v);
    s = end;
  }
}

static bool point_make(GradCase *c, Module *m) {
  Graph *g = m->main;
  uint64_t seed = 88172645463325252u;
  c->nin = g->inputs.len;
  c->in = NEW_N(&c->arena, Tensor *, c->nin + 1);
  for (int i = 0; i < c->nin; i++) {
    const Value *v = value_of(m, g->inputs.at[i]);
    const Clause *k = clause_of(c, v->name);
    int64_t dims[MAX_RANK];
    for (int a = 0; a < v->type.rank; a++) dims[a] = dim_eval(v->type.dims[a], symbol_size, c);
    Tensor *t = c->in[i] = tensor_new(&c->arena, v->type.dtype, v->type.rank, dims);
    if (k && k->values) fill_values(t, k->values);
    else if (dtype_is_float(t->dtype)) fill_spread(t, k ? k->lo : -2, k ? k->hi : 2, &seed);
    else if (!k) return complain(c, "'%s' holds integers: say which", v->name);
    else for (int64_t e = 0, n = tensor_count(t); e < n; e++)
      tensor_set_int(t, e, (int64_t)k->lo + (int64_t)(next_random(&seed) % (uint64_t)(k->hi - k->lo + 1)));
  }
  return true;
}

/* ---- 1. in f64 ---- */

static bool evaluate(GradCase *c, Module *m, const Tensor **out) {
  Eval e;
  eval_begin(&e, m);
  bool ok = true;
  for (int i = 0; ok && i < c->nin; i++) ok = eval_bind_input(&e, i, c->in[i]);
  ok = ok && eval_graph(&e, m->main);
  for (int k = 0; ok && k < m->main->outputs.len; k++) {
    const Tensor *t = eval_value(&e, m->main->outputs.at[k]);
    Tensor *copy = tensor_new(&c->arena, t->dtype, t->rank, t->dims);
    if (tensor_bytes(t)) memcpy(copy->data, t->data, tensor_bytes(t));
    out[k] = copy;
  }
  eval_end(&e);
  return ok;
}

/* Of the worst element, relative to the largest; values under 1e-3 count as 1e-3, so that zeros can be compared. */
static double error_of(const Tensor *got, const Tensor *want, int64_t *at) {
  double largest = 1e-3, worst = 0;
  *at = 0;
  for (int64_t i = 0, n = tensor_count(want); i < n; i++) largest = fmax(largest, fabs(tensor_get(want, i)));
  for (int64_t i = 0, n = tensor_count(want); i < n; i++) {
    double e = fabs(tensor_get(got, i) - tensor_get(want, i)) / largest;
    if (!(e <= worst)) worst = e, *at = i;
    if (isnan(e)) return HUGE_VAL;
  }
  return worst;
}

static bool near(GradCase *c, const char *stage, const char *name, const Tensor *got, const Tensor *want,
                 double limit, double *worst) {
  int64_t at;
  if (tensor_count(got) != tensor_count(want)) return complain(c, "%s: '%s' has another size", stage, name);
  double e = error_of(got, want, &at);
  if (e > worst[c->op]) worst[c->op] = e;
  if (e <= limit) return true;
  return complain(c, "%s: '%s' is wrong by %.2g: element %lld is %.9g, not %.9g", stage, name, e, (long long)at,
                  tensor_get(got, at), tensor_get(want, at));
}

/* Per float input, d loss / d input; NULL after complaining. */
static const Tensor **slopes(GradCase *c) {
  Diags d;
  Module *m = case_module(c, DT_F64, LOSS_ONLY, &d);
  if (m) ops_seen(m);
  bool ok = m && module_expand(m, EXPAND_GRADIENTS) && point_make(c, m);
  Tensor **in = ok ? eval_freeze(m, c->in, &c->arena) : NULL;
  const Tensor **slope = NEW_N(&c->arena, const Tensor *, c->nin + 1);
  int n = 0;
  ok = in != NULL;
  for (int i = 0; ok && i < c->nin; i++) {
    if (!dtype_is_float(c->in[i]->dtype)) continue;
    Tensor *t = tensor_new(&c->arena, DT_F64, c->in[i]->rank, c->in[i]->dims);
    for (int64_t e = 0, all = tensor_count(t); ok && e < all; e++) {
      double v;
      ok = eval_slope(m, in, i, e, 1e-3, &v);
      if (ok) tensor_set(t, e, v);
    }
    slope[n++] = t;
  }
  if (!ok && !c->failed) complain_diags(c, "evaluation", &d);
  if (m) module_free(m);
  diags_free(&d);
  return ok ? slope : NULL;
}

static bool check_doubles(GradCase *c) {
  const Tensor **slope = slopes(c);
  if (!slope) return false;
  static const char *const stage[] = {"f64", "f64, simplified"};
  for (int round = 0; round < 2; round++) {
    Diags d;
    Module *m = case_module(c, DT_F64, WITH_GRADIENTS, &d);
    if (!m) return false;
    if (!(round ? simplify(m) : module_expand(m, EXPAND_ALL))) return complain_diags(c, stage[round], &d);
    int nout = m->main->outputs.len, own = 0;
    const Tensor **out = NEW_N(&c->arena, const Tensor *, nout + 1);
    if (!evaluate(c, m, out)) return complain_diags(c, stage[round], &d);
    while (own < nout && strncmp(value_of(m, m->main->outputs.at[own])->name, "d_", 2)) own++;
    for (int k = own; k < nout; k++)
      near(c, stage[round], value_of(m, m->main->outputs.at[k])->name, out[k], slope[k - own], limit64, worst64);
    if (!round) c->want = out;
    module_free(m);
    diags_free(&d);
  }
  return !c->failed;
}

/* ---- 2. in emitted C ---- */

static const char *prefix_of(int at) { return arena_printf(&perm, "g%d", at); }

static void write_file(const char *name, const char *data, size_t size) {
  char why[300];
  if (file_save(data, size, arena_printf(&perm, "%s/%s", work, name), why, sizeof why)) return;
  fprintf(stderr, "gradcheck: %s\n", why);
  exit(2);
}

static bool emit_case(GradCase *c, int at, const Target *target, bool *runtime_needed) {
  Diags d;
  Module *m = case_module(c, DT_F32, WITH_GRADIENTS, &d);
  if (!m) return false;
  const char *prefix = prefix_of(at);
  Program *p = compile_module(m, target, &(PassOptions){0}, &m->perm);
  EmitOptions eo = {.prefix = prefix, .target = target, .weights = WEIGHTS_ARRAY, .single_file = true,
                    .model_table = true};
  EmitFiles files = {0};
  if (!p || !emit_program(p, &eo, &m->perm, &files, &d) || d.errors) return complain_diags(c, "emit", &d);
  Text unit = {0};
  for (int i = 0; i < files.at.len; i++) {
    const EmitFile *f = &files.at.at[i];
    size_t n = strlen(f->name);
    bool own = !strncmp(f->name, prefix, strlen(prefix));
    for (int k = 0; k < embed_count; k++)
      if (!strcmp(f->name, embed_files[k].name)) runtime_needed[k] = true;
    write_file(f->name, f->data, f->size);
    if (own && f->name[n - 1] == 'c') text_printf(&unit, "#include \"%s\"\n", f->name);
  }
  write_file(arena_printf(&perm, "%s_unit.c", prefix), unit.at, unit.len);
  text_free(&unit);
  module_free(m);
  diags_free(&d);
  return true;
}

static void *compile_batch(const GradCases *all, int from, int to, const Target *t, const bool *runtime_needed) {
  Text cmd = {0};
  const char *flags = t->lanes == 1 ? "-fwrapv"
                                    : "-fno-math-errno -fno-trapping-math -ffp-contract=fast -fwrapv -Wno-psabi";
  text_printf(&cmd, "cd %s && %s -O1 %s %s %s -shared -fPIC -Wall -Wextra -Werror -o b%d.so", work, t->compiler,
              t->cflags, flags, getenv("CFLAGS") ? getenv("CFLAGS") : "", from);
  int n = 0;
  for (int i = from; i < to; i++)
    if (!all->at[i].failed) text_printf(&cmd, " %s_unit.c", prefix_of(i)), n++;
  for (int f = 0; f < embed_count; f++) {
    const char *name = embed_files[f].name;
    if (runtime_needed[f] && !strcmp(name + strlen(name) - 2, ".c")) text_printf(&cmd, " %s", name);
  }
  text_put(&cmd, " -lm 2>>cc.log");
  bool ok = n && !system(cmd.at);
  text_free(&cmd);
  return ok ? dlopen(arena_printf(&perm, "%s/b%d.so", work, from), RTLD_NOW | RTLD_LOCAL) : NULL;
}

static const Tensor *as_f32(Arena *a, const Tensor *x) {
  if (x->dtype != DT_F64) return x;
  Tensor *t = tensor_new(a, DT_F32, x->rank, x->dims);
  for (int64_t i = 0, n = tensor_count(t); i < n; i++) tensor_set(t, i, tensor_get(x, i));
  return t;
}

static bool run_case(GradCase *c, const lt_model *model) {
  Compiled k = {.diags = {.file = c->file}};
  Case x = {.name = c->title, .in = NEW_N(&c->arena, const Tensor *, c->nin + 1)};
  for (int i = 0; i < c->nin; i++) x.in[i] = as_f32(&c->arena, c->in[i]);
  Loaded l = {.model = model, .weights = model->weights ? *model->weights : NULL};
  Call call;
  if (!call_make(&call, &k, &l, &x)) return complain_diags(c, "emitted", &k.diags);
  const Tensor **got = NEW_N(&c->arena, const Tensor *, model->outputs + 1);
  for (int round = 0; round < 2; round++) {
    if (!call_run(&call, &k, round ? 0x3C : 0xFF)) return complain_diags(c, "emitted", &k.diags);
    for (int i = 0; i < model->outputs; i++) {
      const Tensor *t = call_output(&call, &k, i);
      if (round && tensor_bytes(t) && memcmp(t->data, got[i]->data, tensor_bytes(t)))
        complain(c, "emitted: '%s' depends on memory that nobody wrote", model->out[i].name);
      got[i] = t;
    }
  }
  for (int i = 0; i < model->outputs; i++) near(c, "emitted", model->out[i].name, got[i], c->want[i], limit32, worst32);
  call_free(&call);
  arena_free(&k.arena);
  diags_free(&k.diags);
  return !c->failed;
}

static void check_emitted(GradCases *all) {
  const Target *t = target_find(getenv("TARGET") ? getenv("TARGET") : "native");
  if (!t || system(arena_printf(&perm, "mkdir -p %s && rm -f %s/*", work, work))) { fprintf(stderr, "gradcheck: no target, or no %s\n", work); exit(2); }
  for (int from = 0; from < all->len; from += BATCH) {
    int to = from + BATCH < all->len ? from + BATCH : all->len;
    bool *needed = NEW_N(&perm, bool, embed_count + 1);
    for (int i = from; i < to; i++)
      if (!all->at[i].failed) emit_case(&all->at[i], i, t, needed);
    void *lib = compile_batch(all, from, to, t, needed);
    for (int i = from; i < to; i++) {
      GradCase *c = &all->at[i];
      if (c->failed) continue;
      // alone, so that the culprit has a name
      void *h = lib ? lib : compile_batch(all, i, i + 1, t, needed);
      const lt_model *m = h ? dlsym(h, arena_printf(&perm, "lt_model_%s", prefix_of(i))) : NULL;
      if (m) run_case(c, m);
      else complain(c, "the emitted C does not compile without warnings (%s/cc.log)", work);
    }
    if (lib) dlclose(lib);
  }
}

/* ---- all ---- */

static void report(GradCases *all) {
  printf("%-18s %5s  %8s  %8s\n", "op", "cases", "f64", "f32");
  for (int op = OP_NONE + 1; op < OP_COUNT; op++) {
    int n = 0;
    for (int i = 0; i < all->len; i++) n += all->at[i].op == (Op)op;
    if (n) printf("%-18s %5d  %8.1e  %8.1e\n", op_info[op].text, n, worst64[op], worst32[op]);
    if (seen[op] || op_info[op].grad != GRAD_RULE || getenv("ONLY")) continue;
    if (op == OP_CTC_LOSS) continue;                               // of f32 alone: test_train.c has PyTorch's numbers
    if (op == OP_ROI_ALIGN || op == OP_ROI_ALIGN_GRAD) continue;   // of f32 alone: test_grad_kernels.c, test_eval.c
    printf("%s has a gradient rule and no case\n", op_info[op].text);
    failed++;
  }
  for (int i = 0; i < all->len; i++) {
    failed += all->at[i].failed;
    passed += !all->at[i].failed;
    arena_free(&all->at[i].arena);
  }
}

int main(int argc, char **argv) {
  GradCases all = {0};
  if (argc < 3) { fprintf(stderr, "usage: gradcheck WORK-DIR FILE.cases…\n"); return 2; }
  work = argv[1];
  for (int i = 2; i < argc; i++) cases_load(&all, argv[i]);
  for (int i = 0; i < all.len; i++) check_doubles(&all.at[i]);
  check_emitted(&all);
  report(&all);
  arena_free(&perm);
  printf("%d passed, %d failed\n", passed, failed);
  return failed != 0;
}
