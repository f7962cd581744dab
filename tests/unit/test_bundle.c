/* A bundle with a hand-made training step: linear regression with momentum, an average, two tensors that change places
 * and one that is read transposed after its update. Emitted C, the loop interpreter and the evaluator must leave the
 * same state after every step; so is seen that an update never comes before a reader of the old value. */
#include "codegen/emit.h"
#include "ir/build.h"
#include "ir/eval.h"
#include "passes/pipeline.h"
#include "runtime/lt_state.h"
#include "runtime/lt_train.h"
#include <criterion/criterion.h>
#include <dlfcn.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

enum { B = 8, I = 5, O = 3, STEPS = 3 };
static Diags diags;
static Bundle bundle;

static Type f32(int rank, int64_t a, int64_t b) { return type_of(DT_F32, rank, (Dim[]){DIM(a), DIM(b)}); }

static const struct { const char *name; int rank; int64_t a, b;
} tensors[] = {
    {"w", 2, I, O}, {"b", 1, O, 0}, {"momentum/w", 2, I, O}, {"average/w", 2, I, O},
    {"here", 1, 4, 0}, {"there", 1, 4, 0}, {"square", 2, 3, 3},
};
enum { TENSORS = sizeof tensors / sizeof *tensors };

static void add_function(const char *name, FunctionKind kind, Module *m) {
  *vec_push(&bundle.arena, &bundle.fn) = (Function){.name = name, .kind = kind, .m = m};
}

static ValueId state(Module *m, const char *name) { return graph_state(m, name, bundle_find(&bundle, name)->type); }

static Module *init_module(void) {
  Module *m = module_new("init", &diags);
  ValueId seed = graph_add_input(m->main, "seed", type_of(DT_I64, 1, (Dim[]){DIM(1)}));
  for (int k = 0; k < TENSORS; k++) {
    const Type *t = &bundle.state.at[k].type;
    if (t->rank == 1 && k != 4) {
      graph_state_next(m, tensors[k].name, build_fill(m->main, DT_F32, k * 0.25, t->dims, t->rank));
      continue;
    }
    Attr a[] = {attr_dims(m, "shape", t->dims, t->rank),
                attr_str("kind", "normal"),
                attr_int("seed", 0),
                attr_int("stream", k),
                attr_float("scale", 0.5),
                attr_float("shift", 0.1)};
    graph_state_next(m, tensors[k].name, build_op(m->main, OP_RANDOM, &seed, 0, a, 6));
  }
  return m;
}

static Module *step_module(void) {
  Module *m = module_new("step", &diags);
  Graph *g = m->main;
  ValueId x = graph_add_input(g, "x", f32(2, B, I)), y = graph_add_input(g, "y", f32(2, B, O));
  ValueId w = state(m, "w"), b = state(m, "b"), v = state(m, "momentum/w"), avg = state(m, "average/w");
  ValueId e = build_sub(g, build_add(g, build_matmul(g, x, w), b), y);
  ValueId loss = build_mulc(g, build_reduce_all(g, OP_REDUCE_SUM, build_mul(g, e, e)), 1.0 / (B * O));
  graph_rename_value(m, loss, "loss");
  *vec_push(&m->perm, &g->outputs) = loss;
  ValueId dw = build_matmul(g, build_swap(g, x, 0, 1), e), db = build_sum_to(g, e, build_type(g, b));
  ValueId v1 = build_add(g, build_mulc(g, v, 0.9), dw), w1 = build_sub(g, w, build_mulc(g, v1, 0.02));
  graph_state_next(m, "w", w1);
  graph_state_next(m, "b", build_sub(g, b, build_mulc(g, db, 0.02)));
  graph_state_next(m, "momentum/w", v1);
  graph_state_next(m, "average/w", build_add(g, build_mulc(g, avg, 0.9), build_mulc(g, w1, 0.1)));
  ValueId here = state(m, "here"), there = state(m, "there"), square = state(m, "square");
  graph_state_next(m, "here", build_addc(g, there, 1));
  graph_state_next(m, "there", build_mulc(g, here, 2));
  graph_state_next(m, "square", build_add(g, build_swap(g, square, 0, 1), build_mulc(g, square, 0.5)));
  return m;
}

static Module *use_module(void) {
  Module *m = module_new("infer", &diags);
  Graph *g = m->main;
  ValueId x = graph_add_input(g, "x", type_of(DT_F32, 2, (Dim[]){dim_symbol("N", 1, B), DIM(I)}));
  ValueId y = build_add(g, build_matmul(g, x, state(m, "w")), state(m, "b"));
  graph_rename_value(m, y, "y");
  *vec_push(&m->perm, &g->outputs) = y;
  return m;
}

static void make_bundle(const char *target) {
  bundle = (Bundle){.diags = &diags, .name = "line", .batch = B};
  for (int k = 0; k < TENSORS; k++)
    *vec_push(&bundle.arena, &bundle.state) = (StateTensor){.name = tensors[k].name, .type = f32(tensors[k].rank, tensors[k].a, tensors[k].b)};
  bundle_layout(&bundle);
  add_function("init", FUNCTION_INIT, init_module());
  add_function("step", FUNCTION_STEP, step_module());
  add_function("infer", FUNCTION_INFER, use_module());
  PassOptions po = {.verify = true};
  for (int k = 0; k < bundle.fn.len; k++)
    bundle.fn.at[k].p = compile_module(bundle.fn.at[k].m, target_find(target), &po, &bundle.arena);
  diags_print(&diags, stderr);
  cr_assert(!diags.errors);
}

/* ---- the emitted C ---- */

static void *emitted(const char *target, const char *flags) {
  EmitFiles files = {0};
  EmitOptions o = {.prefix = "line", .target = target_find(target)};
  cr_assert(emit_bundle(&bundle, &o, &bundle.arena, &files, &diags));
  char dir[] = "/tmp/lathe-test-XXXXXX", cmd[400], path[200], why[200];
  cr_assert(mkdtemp(dir) != NULL);
  for (int k = 0; k < files.at.len; k++) {
    snprintf(path, sizeof path, "%s/%s", dir, files.at.at[k].name);
    cr_assert(file_save(files.at.at[k].data, files.at.at[k].size, path, why, sizeof why), "%s", why);
  }
  snprintf(cmd, sizeof cmd,
           "cd %s && cc -std=c99 -O1 -fPIC -shared -Wall -Wextra -Werror -Wno-psabi %s -o t.so *.c -lm", dir,
           flags);
  cr_assert(system(cmd) == 0, "the emitted C does not compile: %s", dir);
  snprintf(path, sizeof path, "%s/t.so", dir);
  void *h = dlopen(path, RTLD_NOW);
  cr_assert(h != NULL, "%s", dlerror());
  snprintf(cmd, sizeof cmd, "rm -r %s", dir);
  cr_assert(system(cmd) == 0);
  return h;
}

static void function_of(void *h, const char *name, void *to) {
  void *p = dlsym(h, name);
  cr_assert(p != NULL, "%s", name);
  memcpy(to, &p, sizeof p);
}

/* ---- the twin: the evaluator on the same module before its passes ---- */

static void eval_step(Module *m, Tensor **values, const Tensor *x, const Tensor *y, double *loss) {
  Eval e;
  eval_begin(&e, m);
  for (int k = 0; k < m->main->inputs.len; k++) {
    const StateSlot *s = graph_state_of_value(m, m->main->inputs.at[k]);
    const Tensor *t = s ? NULL : k == 0 ? x : y;
    for (int q = 0; s && q < TENSORS; q++) if (!strcmp(s->name, tensors[q].name)) t = values[q];
    cr_assert(eval_bind_input(&e, k, t));
  }
  cr_assert(eval_graph(&e, m->main));
  *loss = tensor_get(eval_value(&e, m->main->outputs.at[0]), 0);
  for (int k = 0; k < m->state.len; k++)
    for (int q = 0; q < TENSORS; q++)
      if (m->state.at[k].next && !strcmp(m->state.at[k].name, tensors[q].name)) {
        const Tensor *t = eval_value(&e, m->state.at[k].next);
        memcpy(values[q]->data, t->data, tensor_bytes(t));
      }
  eval_end(&e);
}

static Tensor *random_tensor(int64_t a, int64_t b, unsigned *r) {
  Tensor *t = tensor_new(&bundle.arena, DT_F32, 2, (int64_t[]){a, b});
  for (int64_t i = 0; i < a * b; i++)
    tensor_set(t, i, (double)((*r = *r * 1103515245u + 12345u) >> 16 & 1023) / 512 - 1);
  return t;
}

static void check_state(const char *block, Tensor **values, int step) {
  for (int k = 0; k < TENSORS; k++) {
    const float *got = (const float *)(block + bundle.state.at[k].offset);
    for (int64_t i = 0; i < tensor_count(values[k]); i++)
      cr_assert(fabs(got[i] - tensor_get(values[k], i)) < 1e-5, "step %d, %s[%lld]: %g, not %g", step, tensors[k].name,
                (long long)i, (double)got[i], tensor_get(values[k], i));
  }
}

typedef struct StepIo { const float *x, *y; float *loss; } StepIo;

static void trains(const char *target, const char *flags) {
  make_bundle(target);
  void *h = emitted(target, flags);
  int (*init)(void *, uint64_t), (*is_state)(const void *, size_t), (*step)(void *, void *, const StepIo *);
  function_of(h, "line_init", &init);
  function_of(h, "line_is_state", &is_state);
  function_of(h, "line_step", &step);
  size_t bytes = (size_t)bundle.state_bytes;
  char *block = aligned_alloc(64, bytes), *arena = aligned_alloc(64, 65536);
  memset(block, 0x5a, bytes);
  cr_assert(init(block, 3) == 0 && is_state(block, bytes));
  cr_assert(init(block + 4, 3) == 1);
  Tensor *values[TENSORS];
  for (int k = 0; k < TENSORS; k++) {
    values[k] = tensor_new(&bundle.arena, DT_F32, tensors[k].rank, (int64_t[]){tensors[k].a, tensors[k].b});
    memcpy(values[k]->data, block + bundle.state.at[k].offset, tensor_bytes(values[k]));
  }
  cr_assert(fabs(tensor_get(values[1], 0) - 0.25) < 1e-7);
  unsigned r = 7;
  Module *naive = step_module();
  for (int n = 0; n < STEPS; n++) {
    Tensor *x = random_tensor(B, I, &r), *y = random_tensor(B, O, &r);
    float loss;
    double want;
    StepIo io = {x->data, y->data, &loss};
    memset(arena, 0xff, 65536);
    cr_assert(step(block, arena, &io) == 0);
    eval_step(naive, values, x, y, &want);
    cr_assert(fabs(loss - want) < 1e-5, "loss %g, not %g", (double)loss, want);
    check_state(block, values, n);
  }
  block[16] ^= 1;                                               // another network's
  float loss;
  StepIo io = {values[0]->data, values[0]->data, &loss};
  cr_assert(step(block, arena, &io) != 0 && !is_state(block, bytes));
  free(block);
  free(arena);
  dlclose(h);
  module_free(naive);
  bundle_free(&bundle);
}

Test(bundle, trains_with_vectors) { trains("x86-64-v3", "-mavx2 -mfma"); }
Test(bundle, trains_as_plain_c) { trains("c99", "-pedantic"); }

/* The interpreter runs the same program, in the memory it was planned for: poisoned where nothing lives. */
Test(bundle, interpreter) {
  make_bundle("x86-64-v3");
  const Function *f = bundle_function(&bundle, FUNCTION_STEP, NULL);
  Module *naive = step_module();
  unsigned r = 5;
  Tensor *values[TENSORS], *x = random_tensor(B, I, &r), *y = random_tensor(B, O, &r);
  const Tensor *in[16];
  Tensor *out[16];
  for (int k = 0; k < TENSORS; k++) {
    values[k] = random_tensor(tensors[k].a, tensors[k].rank > 1 ? tensors[k].b : 1, &r);
    values[k]->rank = tensors[k].rank;
  }
  for (int k = 0; k < f->m->main->inputs.len; k++) {
    const StateSlot *s = graph_state_of_value(f->m, f->m->main->inputs.at[k]);
    in[k] = k == 0 ? x : y;
    for (int q = 0; s && q < TENSORS; q++) if (!strcmp(s->name, tensors[q].name)) in[k] = values[q];
  }
  bool ok = program_run(f->p, in, out, &bundle.arena, &diags);
  diags_print(&diags, stderr);
  cr_assert(ok);
  double loss;
  eval_step(naive, values, x, y, &loss);
  for (int k = 0; k < f->m->main->outputs.len; k++) {
    const StateSlot *s = graph_state_of_value(f->m, f->m->main->outputs.at[k]);
    for (int q = 0; s && q < TENSORS; q++)
      for (int64_t i = 0; !strcmp(s->name, tensors[q].name) && i < tensor_count(out[k]); i++)
        cr_assert(fabs(tensor_get(out[k], i) - tensor_get(values[q], i)) < 1e-5, "%s[%lld]", s->name, (long long)i);
  }
  module_free(naive);
  bundle_free(&bundle);
}

/* The plan: which updates are put off, and that gradients are applied where they come. */
Test(bundle, text_of_state) {
  bundle = (Bundle){.diags = &diags};
  for (int k = 0; k < TENSORS; k++)
    *vec_push(&bundle.arena, &bundle.state) = (StateTensor){.name = tensors[k].name, .type = f32(tensors[k].rank, tensors[k].a, tensors[k].b)};
  Module *m = step_module();
  Text a = {0}, b = {0};
  module_print(&a, m);
  Module *again = module_parse(a.at, NULL, &diags);
  cr_assert(again != NULL);
  module_print(&b, again);
  cr_assert(!strcmp(a.at, b.at), "%s\n%s", a.at, b.at);
  cr_assert(strstr(a.at, "state momentum/w : %momentum/w -> %") != NULL);
  cr_assert(m->state.len > 0 && again->state.len == m->state.len);
  for (int k = 0; k < m->state.len; k++) {
    const StateSlot *was = &m->state.at[k], *is = &again->state.at[k];
    cr_expect_str_eq(is->name, was->name);
    cr_expect_str_eq(value_of(again, is->value)->name, value_of(m, was->value)->name);
    cr_assert((is->next != 0) == (was->next != 0), "%s", was->name);
    if (was->next) cr_expect_str_eq(value_of(again, is->next)->name, value_of(m, was->next)->name);
  }
  text_free(&a);
  text_free(&b);
  module_free(m);
  module_free(again);
  bundle_free(&bundle);
}

/* ir/ and runtime/ may not include each other: what both say of the block and of bundles is the same. */
Test(bundle, runtime_says_the_same) {
  const int sizes[][2] = {
    {STATE_HEADER, LT_STATE_HEADER}, {STATE_ENTRY, LT_STATE_ENTRY}, {STATE_NAME, LT_STATE_NAME},
    {STATE_RANK, LT_STATE_RANK}};
  for (int k = 0; k < 4; k++) cr_expect_eq(sizes[k][0], sizes[k][1]);
  const int roles[][2] = {
    {ROLE_PARAMETER, LT_PARAMETER}, {ROLE_OPTIMIZER, LT_OPTIMIZER}, {ROLE_STATISTIC, LT_STATISTIC},
    {ROLE_AVERAGE, LT_AVERAGE}, {ROLE_COUNTER, LT_COUNTER}, {ROLE_SETTING, LT_SETTING}};
  for (int k = 0; k < 6; k++) cr_expect_eq(roles[k][0], roles[k][1]);
  const int kinds[][2] = {
    {FUNCTION_INIT, LT_INIT}, {FUNCTION_STEP, LT_STEP}, {FUNCTION_EVAL, LT_EVAL}, {FUNCTION_INFER, LT_INFER}};
  for (int k = 0; k < 4; k++) cr_expect_eq(kinds[k][0], kinds[k][1]);
}
