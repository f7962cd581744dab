/* The ONNX loader: damaged files, tensors of every packing, external data, order, names, functions, free dims.
 * Models are put together here, message by message, and imported from memory. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/text.h"
#include "frontend/import.h"
#include "frontend/onnx_model.h"
#include "ir/eval.h"

/* ---- a model under construction ---- */
enum { MOST = 16 };
typedef struct Sketch {
  Arena a;
  Onnx__Model model;
  Onnx__Graph graph;
  Onnx__Opset opset, *opsets[1];
  Onnx__Node *node[MOST];
  Onnx__Tensor *initializer[MOST];
  Onnx__ValueInfo *input[MOST], *output[MOST];
  Onnx__Function *function[MOST];
} Sketch;

static void sketch_begin(Sketch *s, int opset) {
  memset(s, 0, sizeof *s);
  onnx__model__init(&s->model);
  onnx__graph__init(&s->graph);
  onnx__opset__init(&s->opset);
  s->opset.has_version = 1, s->opset.version = opset;
  s->opsets[0] = &s->opset;
  s->model.has_ir_version = 1, s->model.ir_version = 8;
  s->model.n_opset_import = 1, s->model.opset_import = s->opsets;
  s->model.graph = &s->graph;
  s->graph.node = s->node, s->graph.initializer = s->initializer, s->graph.input = s->input,
  s->graph.output = s->output;
  s->model.functions = s->function;
}

static char *copy(Sketch *s, const char *text) { return arena_strdup(&s->a, text); }

/* "a b" -> {"a", "b"}; "-" stands for an absent one */
static size_t words(Sketch *s, const char *text, char ***out) {
  char *all = copy(s, text);
  *out = NEW_N(&s->a, char *, MOST);
  size_t n = 0;
  for (char *w = strtok(all, " "); w; w = strtok(NULL, " ")) (*out)[n++] = strcmp(w, "-") ? w : copy(s, "");
  return n;
}

static Onnx__Node *make_node(Sketch *s, const char *op, const char *in, const char *out) {
  Onnx__Node *n = NEW(&s->a, Onnx__Node);
  onnx__node__init(n);
  n->op_type = copy(s, op);
  n->n_input = words(s, in, &n->input);
  n->n_output = words(s, out, &n->output);
  n->name = arena_printf(&s->a, "n_%s", n->n_output ? n->output[0] : op);
  n->attribute = NEW_N(&s->a, Onnx__Attribute *, 4);
  return n;
}

static Onnx__Node *node(Sketch *s, const char *op, const char *in, const char *out) {
  return s->node[s->graph.n_node++] = make_node(s, op, in, out);
}

static Onnx__Attribute *attribute(Sketch *s, Onnx__Node *n, const char *name, AttrType type) {
  Onnx__Attribute *a = NEW(&s->a, Onnx__Attribute);
  onnx__attribute__init(a);
  a->name = copy(s, name);
  a->has_type = 1, a->type = (int)type;
  return n->attribute[n->n_attribute++] = a;
}

/* dims: "2 N -"; "-" is a dim without a name */
static Onnx__ValueInfo *port(Sketch *s, const char *name, int elem, const char *dims) {
  Onnx__ValueInfo *v = NEW(&s->a, Onnx__ValueInfo);
  onnx__value_info__init(v);
  v->name = copy(s, name);
  v->type = NEW(&s->a, Onnx__Type);
  onnx__type__init(v->type);
  Onnx__TensorType *t = v->type->tensor_type = NEW(&s->a, Onnx__TensorType);
  onnx__tensor_type__init(t);
  t->has_elem_type = 1, t->elem_type = elem;
  t->shape = NEW(&s->a, Onnx__Shape);
  onnx__shape__init(t->shape);
  char **w;
  t->shape->n_dim = words(s, dims, &w);
  t->shape->dim = NEW_N(&s->a, Onnx__Dimension *, MOST);
  for (size_t k = 0; k < t->shape->n_dim; k++) {
    Onnx__Dimension *d = t->shape->dim[k] = NEW(&s->a, Onnx__Dimension);
    onnx__dimension__init(d);
    if (w[k][0] >= '0' && w[k][0] <= '9') d->has_dim_value = 1, d->dim_value = atoll(w[k]);
    else if (*w[k]) d->dim_param = w[k];
  }
  return v;
}

static void input(Sketch *s, const char *name, const char *dims) {
  s->input[s->graph.n_input++] = port(s, name, 1, dims);
}
static void output(Sketch *s, const char *name) {
  s->output[s->graph.n_output++] = port(s, name, 0, "");
  s->output[s->graph.n_output - 1]->type = NULL;
}

static Onnx__Tensor *tensor(Sketch *s, const char *name, int type, int64_t n) {
  Onnx__Tensor *t = NEW(&s->a, Onnx__Tensor);
  onnx__tensor__init(t);
  t->name = copy(s, name);
  t->has_data_type = 1, t->data_type = type;
  t->n_dims = 1, t->dims = arena_dup(&s->a, &n, sizeof n);
  return t;
}

static Onnx__Tensor *ints(Sketch *s, const char *name, const int64_t *v, int n) {
  Onnx__Tensor *t = tensor(s, name, 7, n);
  t->n_int64_data = (size_t)n, t->int64_data = arena_dup(&s->a, v, sizeof *v * (size_t)n);
  return s->initializer[s->graph.n_initializer++] = t;
}

static size_t pack(Sketch *s, uint8_t **bytes) {
  size_t n = onnx__model__get_packed_size(&s->model);
  *bytes = arena_alloc(&s->a, n + 1);
  return onnx__model__pack(&s->model, *bytes);
}

static Module *import_with(Sketch *s, const ImportOptions *o, Diags *d) {
  uint8_t *p;
  size_t n = pack(s, &p);
  return onnx_import_bytes(p, n, NULL, o, d);
}

static Module *import(Sketch *s, Diags *d) { return import_with(s, NULL, d); }

static bool says(const Diags *d, const char *text) {
  for (int k = 0; k < d->len; k++)
    if (strstr(d->at[k].text, text) || (d->at[k].where && strstr(d->at[k].where, text))) return true;
  return false;
}

#define REFUSED(s, what) do {                                                                  \
    Diags d_ = {0};                                                                            \
    cr_assert_null(import(&(s), &d_));                                                         \
    cr_assert(says(&d_, what), "wanted '%s', got '%s'", what, d_.len ? d_.at[0].text : "nothing"); \
  } while (0)

static double run(Module *m, const Tensor *x, int64_t element) {
  Eval e;
  eval_begin(&e, m);
  cr_assert(!x || eval_bind_input(&e, 0, x));
  cr_assert(eval_graph(&e, m->main));
  return tensor_get(eval_value(&e, m->main->outputs.at[0]), element);
}

static Tensor *floats(Arena *a, int64_t n, double first) {
  Tensor *t = tensor_new(a, DT_F32, 1, &n);
  for (int64_t i = 0; i < n; i++) tensor_set(t, i, first + (double)i);
  return t;
}

/* ---- the container ---- */
static void chain(Sketch *s) {
  sketch_begin(s, 13);
  input(s, "x", "4");
  node(s, "Relu", "x", "a");
  node(s, "Neg", "a", "y");
  output(s, "y");
}

Test(onnx, foreign_files) {
  static const struct { const char *bytes; size_t n; const char *says; } file[] = {
    {"", 0, "empty"}, {"PK\003\004abc", 7, "zip"}, {"\x93NUMPY\1\0", 8, "NumPy"}, {"<!DOCTYPE html>", 15, "web page"},
    {"version https://git-lfs.github.com/spec/v1", 42, "git-lfs"}, {"\xff\xff\xff\xff\xff\xff", 6, "not an ONNX"},
    {"hello world, this is text", 25, "ONNX"},
  };
  for (size_t k = 0; k < sizeof file / sizeof *file; k++) {
    Diags d = {0};
    cr_assert_null(onnx_import_bytes(file[k].bytes, file[k].n, NULL, NULL, &d));
    cr_assert(says(&d, file[k].says), "%s: %s", file[k].says, d.at[0].text);
    cr_assert_eq(d.errors, 1);
  }
}

Test(onnx, every_truncation_is_an_error) {
  Sketch s;
  chain(&s);
  uint8_t *p;
  size_t n = pack(&s, &p);
  for (size_t k = 0; k < n; k++) {
    Diags d = {0};
    uint8_t *exact = malloc(k ? k : 1);                        // so that a sanitizer sees a read beyond
    memcpy(exact, p, k);
    Module *m = onnx_import_bytes(exact, k, NULL, NULL, &d);
    cr_assert(m || d.errors, "silent at %zu bytes", k);
    module_free(m);
    diags_free(&d);
    free(exact);
  }
}

Test(onnx, deep_nesting_does_not_exhaust_the_stack) {
  Sketch s;
  sketch_begin(&s, 13);
  Onnx__Graph *g = &s.graph;
  for (int k = 0; k < 200; k++) {
    Onnx__Node *n = make_node(&s, "If", "c", "y");
    g->n_node = 1, g->node = arena_dup(&s.a, &n, sizeof n);
    Onnx__Attribute *a = attribute(&s, n, "then_branch", ONNX_GRAPH);
    g = a->g = NEW(&s.a, Onnx__Graph);
    onnx__graph__init(g);
  }
  REFUSED(s, "nested deeper");
}

/* ---- tensors ---- */
static const Tensor *load(Sketch *s, Onnx__Tensor *t, Diags *d) {
  OnnxSource from = {&s->a, NULL, d};
  return onnx_tensor(&from, t, "initializer 't'");
}

Test(onnx, packed_integers) {
  Sketch s;
  sketch_begin(&s, 13);
  Diags d = {0};
  Onnx__Tensor *t = tensor(&s, "t", 22, 3);                    // i4: 1, -8 share a byte, -1 has its own
  uint8_t raw[] = {0x81, 0x0f};
  t->has_raw_data = 1, t->raw_data = (ProtobufCBinaryData){2, raw};
  const Tensor *got = load(&s, t, &d);
  cr_assert(got && tensor_get_int(got, 0) == 1 && tensor_get_int(got, 1) == -8 && tensor_get_int(got, 2) == -1);
  t->data_type = 25, t->dims[0] = 5;                           // u2, four to a byte
  raw[0] = 0xe4, raw[1] = 2;
  got = load(&s, t, &d);
  for (int k = 0; k < 4; k++) cr_assert_eq(tensor_get_int(got, k), k);
  cr_assert_eq(tensor_get_int(got, 4), 2);
  t->has_raw_data = 0;                                         // the same in int32_data: a packed byte in each
  int32_t typed[] = {0xe4, 2};
  t->n_int32_data = 2, t->int32_data = typed;
  got = load(&s, t, &d);
  cr_assert(got && tensor_get_int(got, 3) == 3 && tensor_get_int(got, 4) == 2);
  cr_assert_eq(d.errors, 0);
}

Test(onnx, typed_lists) {
  Sketch s;
  sketch_begin(&s, 13);
  Diags d = {0};
  Onnx__Tensor *t = tensor(&s, "t", 10, 2);                    // f16 bit patterns in int32_data
  int32_t half[] = {0x3c00, 0xc000};
  t->n_int32_data = 2, t->int32_data = half;
  const Tensor *got = load(&s, t, &d);
  cr_assert(got && tensor_get(got, 0) == 1 && tensor_get(got, 1) == -2);
  Onnx__Tensor *u = tensor(&s, "u", 12, 1);                    // u32 in uint64_data
  uint64_t big = 0xfffffffe;
  u->n_uint64_data = 1, u->uint64_data = &big;
  got = load(&s, u, &d);
  cr_assert(got && tensor_get_int(got, 0) == 0xfffffffe);
  cr_assert_eq(d.errors, 0);
}

Test(onnx, sizes_are_checked) {
  Sketch s;
  sketch_begin(&s, 13);
  Onnx__Tensor *t = tensor(&s, "t", 1, 3);
  uint8_t raw[8] = {0};
  t->has_raw_data = 1, t->raw_data = (ProtobufCBinaryData){8, raw};
  int64_t dims[][3] = {{3, 1, 1}, {INT64_MAX, 2, 1}, {-1, 2, 1}, {1LL << 31, 1LL << 31, 4}};
  static const char *const expect[] = {"need 12", "more than memory", "negative", "more than memory"};
  t->n_dims = 3;
  for (size_t k = 0; k < 4; k++) {
    Diags d = {0};
    t->dims = dims[k];
    cr_assert_null(load(&s, t, &d));
    cr_assert(says(&d, expect[k]), "%s", d.at[0].text);
  }
  Diags d = {0};
  t->data_type = 99;
  cr_assert_null(load(&s, t, &d));
  cr_assert(says(&d, "element type 99"));
}

Test(onnx, sparse_tensors) {
  Sketch s;
  sketch_begin(&s, 13);
  Diags d = {0};
  Onnx__SparseTensor sp = ONNX__SPARSE_TENSOR__INIT;
  float v[] = {5, 6};
  int64_t at[] = {1, 5}, dims[] = {2, 3};
  sp.values = tensor(&s, "v", 1, 2);
  sp.values->n_float_data = 2, sp.values->float_data = v;
  sp.indices = tensor(&s, "i", 7, 2);
  sp.indices->n_int64_data = 2, sp.indices->int64_data = at;
  sp.n_dims = 2, sp.dims = dims;
  OnnxSource from = {&s.a, NULL, &d};
  const Tensor *got = onnx_sparse_tensor(&from, &sp, "t");
  cr_assert(got && tensor_get(got, 1) == 5 && tensor_get(got, 5) == 6 && tensor_get(got, 0) == 0);
  at[1] = 6;
  cr_assert_null(onnx_sparse_tensor(&from, &sp, "t"));
  cr_assert(says(&d, "outside its dimensions"));
}

Test(onnx, external_data) {
  char dir[] = "/tmp/lathe_test_XXXXXX", path[200], link[200];
  cr_assert(mkdtemp(dir));
  float data[] = {0, 1, 2, 3};
  char why[200];
  snprintf(path, sizeof path, "%s/w.bin", dir);
  cr_assert(file_save(data, sizeof data, path, why, sizeof why));
  snprintf(link, sizeof link, "%s/out", dir);
  cr_assert_eq(symlink("/etc/passwd", link), 0);
  Sketch s;
  sketch_begin(&s, 13);
  Onnx__Tensor *t = tensor(&s, "t", 1, 2);
  Onnx__Pair location = ONNX__PAIR__INIT, offset = ONNX__PAIR__INIT, *pairs[] = {&location, &offset};
  location.key = copy(&s, "location"), offset.key = copy(&s, "offset"), offset.value = copy(&s, "8");
  t->n_external_data = 2, t->external_data = pairs;
  t->has_data_location = 1, t->data_location = 1;
  static const struct { const char *location, *says; } refused[] = {
    {"/etc/passwd", "outside the model's folder"}, {"../w.bin", "outside the model's folder"},
    {"a/../../w.bin", "outside the model's folder"}, {"out", "outside the model's folder"}, {"missing", "cannot open"},
  };
  OnnxSource from = {&s.a, dir, NULL};
  for (size_t k = 0; k < sizeof refused / sizeof *refused; k++) {
    Diags d = {0};
    from.diags = &d;
    location.value = copy(&s, refused[k].location);
    cr_assert_null(onnx_tensor(&from, t, "t"));
    cr_assert(says(&d, refused[k].says), "%s: %s", refused[k].location, d.at[0].text);
  }
  Diags d = {0};
  from.diags = &d;
  location.value = copy(&s, "w.bin");
  const Tensor *got = onnx_tensor(&from, t, "t");
  cr_assert(got && tensor_get(got, 0) == 2 && tensor_get(got, 1) == 3);
  offset.value = copy(&s, "12");
  cr_assert_null(onnx_tensor(&from, t, "t"));
  cr_assert(says(&d, "ends before byte 20"));
  unlink(path), unlink(link), rmdir(dir);
}

Test(onnx, saved_tensors_load_again) {
  char path[] = "/tmp/lathe_test_XXXXXX";
  close(mkstemp(path));
  Arena a = {0};
  static const DType types[] = {DT_F32, DT_F64, DT_F16, DT_I64, DT_I4, DT_U2, DT_BOOL, DT_F4E2M1};
  for (size_t k = 0; k < sizeof types / sizeof *types; k++) {
    Diags d = {0};
    Tensor *t = tensor_new(&a, types[k], 2, (int64_t[]){1, 3});
    tensor_set_int(t, 0, 1), tensor_set_int(t, 2, types[k] == DT_I4 ? -3 : 1);
    cr_assert(onnx_save_tensor(path, "t", t, &d));
    const Tensor *back = onnx_load_tensor(&a, path, &d);
    cr_assert(back && tensor_same(t, back), "%s", dtype_info[types[k]].text);
  }
  unlink(path);
  arena_free(&a);
}

/* ---- the graph ---- */
Test(onnx, order_is_repaired) {
  Sketch s;
  sketch_begin(&s, 13);
  input(&s, "x", "3");
  node(&s, "Neg", "b", "y");
  node(&s, "Abs", "a", "b");
  node(&s, "Neg", "x", "a");
  output(&s, "y");
  Diags d = {0};
  Module *m = import(&s, &d);
  cr_assert(m, "%s", d.len ? d.at[0].text : "");
  cr_assert_eq(run(m, floats(&s.a, 3, 4), 1), -5);
  cr_assert_str_eq(value_of(m, m->main->outputs.at[0])->name, "y");
}

Test(onnx, cycles_and_names) {
  Sketch s;
  sketch_begin(&s, 13);
  input(&s, "x", "3");
  node(&s, "Add", "x c", "b");
  node(&s, "Neg", "b", "c");
  output(&s, "c");
  REFUSED(s, "'n_c' -> 'n_b' -> 'n_c' form a cycle");
  chain(&s);
  node(&s, "Neg", "x", "a");
  REFUSED(s, "'a' is defined twice");
  chain(&s);
  node(&s, "Neg", "nowhere", "z");
  REFUSED(s, "reads 'nowhere', which nothing produces");
  chain(&s);
  output(&s, "gone");
  REFUSED(s, "output 'gone' is produced by no node");
}

Test(onnx, unsupported_operators_are_listed_at_once) {
  Sketch s;
  chain(&s);
  node(&s, "Frobnicate", "y", "p");
  node(&s, "Frobnicate", "p", "q");                             // reads what failed: still listed
  node(&s, "Defenestrate", "y", "r");
  REFUSED(s, "operator Frobnicate (opset 13) is not supported; used by 'n_p', 'n_q'");
  REFUSED(s, "operator Defenestrate");
  chain(&s);
  s.opset.version = 5;
  node(&s, "Erf", "y", "p");
  REFUSED(s, "knows it from opset 9 on");
}

Test(onnx, functions_are_inlined_with_their_attributes) {
  Sketch s;
  sketch_begin(&s, 13);
  Onnx__Function f = ONNX__FUNCTION__INIT;
  f.name = copy(&s, "Leak"), f.domain = copy(&s, "mine");
  f.n_input = words(&s, "v", &f.input), f.n_output = words(&s, "w", &f.output);
  Onnx__Node *body[] = {make_node(&s, "LeakyRelu", "v", "u"), make_node(&s, "Neg", "u", "w")};
  attribute(&s, body[0], "alpha", ONNX_FLOAT)->ref_attr_name = copy(&s, "slope");
  f.n_node = 2, f.node = body;
  s.function[s.model.n_functions++] = &f;
  input(&s, "x", "2");
  Onnx__Node *call = node(&s, "Leak", "x", "y"), *again = node(&s, "Leak", "y", "z");
  call->domain = again->domain = copy(&s, "mine");
  Onnx__Attribute *slope = attribute(&s, call, "slope", ONNX_FLOAT);   // the second call: LeakyRelu's own default
  slope->has_f = 1, slope->f = 0.5f;
  output(&s, "z");
  Diags d = {0};
  Module *m = import(&s, &d);
  cr_assert(m, "%s", d.len ? d.at[0].text : "");
  cr_assert_float_eq(run(m, floats(&s.a, 2, -4), 0), -2, 1e-6);    // -4 -> -2 -> 2; 2 -> 2 -> -2
  body[1]->op_type = copy(&s, "Leak"), body[1]->domain = copy(&s, "mine");
  REFUSED(s, "does a function call itself?");
}

Test(onnx, calls_that_multiply_come_to_an_end) {
  Sketch s;
  sketch_begin(&s, 13);
  for (int k = 0; k < 15; k++) {                                // f_k calls f_(k+1) eight times
    Onnx__Function *f = NEW(&s.a, Onnx__Function);
    onnx__function__init(f);
    f->name = arena_printf(&s.a, "f%d", k), f->domain = copy(&s, "mine");
    f->n_input = words(&s, "v", &f->input), f->n_output = words(&s, "o0", &f->output);
    f->node = NEW_N(&s.a, Onnx__Node *, 8);
    for (int i = 0; i < 8; i++) {
      Onnx__Node *n = make_node(&s, k < 14 ? arena_printf(&s.a, "f%d", k + 1) : "Identity", "v",
                                arena_printf(&s.a, "o%d", i));
      if (k < 14) n->domain = copy(&s, "mine");
      f->node[f->n_node++] = n;
    }
    s.function[s.model.n_functions++] = f;
  }
  input(&s, "x", "2");
  node(&s, "f0", "x", "y")->domain = copy(&s, "mine");
  output(&s, "y");
  REFUSED(s, "more than 262144 nodes");
}

Test(onnx, initializers_win_over_inputs) {
  Sketch s;
  sketch_begin(&s, 13);
  input(&s, "x", "2");
  input(&s, "k", "2");
  node(&s, "Mul", "x k", "y");
  Onnx__Tensor *k = tensor(&s, "k", 1, 2);
  float v[] = {10, 100};
  k->n_float_data = 2, k->float_data = v;
  s.initializer[s.graph.n_initializer++] = k;
  output(&s, "y");
  Diags d = {0};
  Module *m = import(&s, &d);
  cr_assert(m && m->main->inputs.len == 1);
  cr_assert_eq(run(m, floats(&s.a, 2, 1), 1), 200);
}

/* ---- free dims and bound inputs ---- */
static ImportOptions one_dim(Sketch *s, const char *name, int64_t lo, int64_t hi) {
  ImportOptions o = {.ndims = 1};
  o.dims = arena_alloc(&s->a, sizeof *o.dims);
  o.dims[0].name = name, o.dims[0].lo = lo, o.dims[0].hi = hi;
  return o;
}

static const char *input_text(Sketch *s, const ImportOptions *o) {
  Diags d = {0};
  Module *m = import_with(s, o, &d);
  return m ? type_text(&value_of(m, m->main->inputs.at[0])->type) : d.len ? d.at[0].text : "?";
}

Test(onnx, free_dims) {
  Sketch s;
  sketch_begin(&s, 13);
  input(&s, "x", "batch-size - 3");
  node(&s, "Relu", "x", "y");
  output(&s, "y");
  cr_assert_str_eq(input_text(&s, NULL), "f32[batch_size,x_1,3]");
  cr_assert_eq(symbol_find("batch_size")->hi, 65536);
  ImportOptions o = one_dim(&s, "batch-size", 4, 4);
  cr_assert_str_eq(input_text(&s, &o), "f32[4,x_1,3]");
  o = one_dim(&s, "x.1", 7, 7);
  cr_assert_str_eq(input_text(&s, &o), "f32[batch_size,7,3]");
  o = one_dim(&s, "*", 2, 2);
  cr_assert_str_eq(input_text(&s, &o), "f32[2,2,3]");
  o = one_dim(&s, "M", 2, 2);
  cr_assert_str_eq(input_text(&s, &o), "the model has no free dim 'M'\n  input 'x': f32[batch_size,x_1,3]");
  o = one_dim(&s, "x.2", 5, 5);
  cr_assert(strstr(input_text(&s, &o), "cannot be changed"));
}

Test(onnx, shape_arithmetic_vanishes) {
  Sketch s;
  sketch_begin(&s, 13);
  input(&s, "x", "N 6");
  ints(&s, "zero", (int64_t[]){0}, 1), ints(&s, "rest", (int64_t[]){2, -1}, 2);
  node(&s, "Shape", "x", "sh");
  node(&s, "Gather", "sh zero", "n");
  attribute(&s, node(&s, "Concat", "n rest", "to"), "axis", ONNX_INT)->has_i = 1;
  node(&s, "Reshape", "x to", "y");
  output(&s, "y");
  Diags d = {0};
  Module *m = import(&s, &d);
  cr_assert(m, "%s", d.len ? d.at[0].text : "");
  Value *y = value_of(m, m->main->outputs.at[0]);
  cr_assert_str_eq(type_text(&y->type), "f32[N,2,3]");
  cr_assert_eq(node_of(m, y->def)->in[0], m->main->inputs.at[0]);
}

/* As PyTorch's exporter writes it: the policy is about sizes, and there are none. */
Test(onnx, resize_by_scales_says_a_policy) {
  Sketch s;
  sketch_begin(&s, 18);
  input(&s, "x", "1 1 2 3");
  Onnx__Tensor *scales = tensor(&s, "scales", 1, 4);
  scales->n_float_data = 4, scales->float_data = arena_dup(&s.a, (float[]){1, 1, 2, 2}, 4 * sizeof(float));
  s.initializer[s.graph.n_initializer++] = scales;
  Onnx__Attribute *policy = attribute(&s, node(&s, "Resize", "x - scales", "y"), "keep_aspect_ratio_policy",
                                      ONNX_STRING);
  policy->has_s = 1, policy->s.data = (uint8_t *)copy(&s, "stretch"), policy->s.len = 7;
  output(&s, "y");
  Diags d = {0};
  Module *m = import(&s, &d);
  cr_assert(m, "%s", d.len ? d.at[0].text : "");
  cr_assert_str_eq(type_text(&value_of(m, m->main->outputs.at[0])->type), "f32[1,1,4,6]");
}

Test(onnx, inputs_that_decide_shapes_can_be_bound) {
  Sketch s;
  sketch_begin(&s, 13);
  input(&s, "x", "6");
  s.input[s.graph.n_input++] = port(&s, "to", 7, "2");
  node(&s, "Reshape", "x to", "y");
  output(&s, "y");
  REFUSED(s, "exists only at run time");
  REFUSED(s, "--bind to=");
  s.node[0]->input[1] = copy(&s, "sum");                        // the hint names the input that it is computed from
  node(&s, "Add", "to to", "sum");
  REFUSED(s, "--bind to=");
  s.node[0]->input[1] = copy(&s, "to"), s.graph.n_node = 1;
  Tensor *to = tensor_new(&s.a, DT_I64, 1, (int64_t[]){2});
  tensor_set_int(to, 0, 3), tensor_set_int(to, 1, 2);
  ImportOptions o = {.nbinds = 1};
  o.binds = arena_alloc(&s.a, sizeof *o.binds);
  o.binds[0].name = "to", o.binds[0].value = to;
  Diags d = {0};
  Module *m = import_with(&s, &o, &d);
  cr_assert(m && m->main->inputs.len == 1);
  cr_assert_str_eq(type_text(&value_of(m, m->main->outputs.at[0])->type), "f32[3,2]");
}

Test(onnx, damaged_bytes_never_crash) {
  Sketch s;
  chain(&s);
  ints(&s, "w", (int64_t[]){1, 2, 3}, 3);
  uint8_t *p;
  size_t n = pack(&s, &p);
  uint32_t r = 1;
  for (int k = 0; k < 1500; k++) {
    uint8_t *q = malloc(n);
    memcpy(q, p, n);
    for (int i = 0; i < 1 + k % 3; i++) {
      r = r * 1664525u + 1013904223u;
      q[(r >> 8) % n] = (uint8_t)(r >> 24);
    }
    Diags d = {0};
    Module *m = onnx_import_bytes(q, n, NULL, NULL, &d);
    cr_assert(m || d.errors, "silent in round %d", k);
    module_free(m);
    diags_free(&d);
    free(q);
  }
}

/* ---- lists ---- */
static Onnx__ValueInfo *sequence_port(Sketch *s, const char *name, const char *dims) {
  Onnx__ValueInfo *v = port(s, name, 1, dims);
  Onnx__Type *inner = v->type;
  v->type = NEW(&s->a, Onnx__Type);
  onnx__type__init(v->type);
  v->type->sequence_type = NEW(&s->a, Onnx__ElementType);
  onnx__element_type__init(v->type->sequence_type);
  v->type->sequence_type->elem_type = inner;
  return v;
}

Test(onnx, sequences_are_lists_of_known_length) {
  Sketch s;
  sketch_begin(&s, 13);
  input(&s, "x", "2");
  s.input[s.graph.n_input++] = sequence_port(&s, "q", "2");
  ints(&s, "first", (int64_t[]){0}, 1)->n_dims = 0;
  node(&s, "SequenceInsert", "q x first", "longer");
  node(&s, "SequenceErase", "longer", "cut");
  node(&s, "Identity", "cut", "y");
  output(&s, "y");
  REFUSED(s, "how many tensors it holds");
  REFUSED(s, "--list q=COUNT");
  ImportOptions o = {.nlists = 1};
  o.lists = arena_alloc(&s.a, sizeof *o.lists);
  o.lists[0].name = "q", o.lists[0].n = 2;
  Diags d = {0};
  Module *m = import_with(&s, &o, &d);
  cr_assert(m, "%s", d.len ? d.at[0].text : "");
  cr_assert_eq(m->main->inputs.len, 3);                         // x, q_0, q_1
  cr_assert_str_eq(value_of(m, m->main->inputs.at[2])->name, "q_1");
  cr_assert_eq(m->main->outputs.len, 2);                        // x, q_0
  cr_assert_str_eq(value_of(m, m->main->outputs.at[1])->name, "y_1");
  o.lists[0].name = "x";
  cr_assert_null(import_with(&s, &o, &d));
  cr_assert(says(&d, "no sequence or optional 'x'"));
}

Test(onnx, bound_values_are_converted) {
  Sketch s;
  sketch_begin(&s, 13);
  input(&s, "x", "2 3");
  s.input[s.graph.n_input++] = port(&s, "axis", 7, "1");
  node(&s, "ReduceSum", "x axis", "y");
  output(&s, "y");
  ImportOptions o = {.nbinds = 1};
  o.binds = arena_alloc(&s.a, sizeof *o.binds);
  o.binds[0].name = "axis", o.binds[0].value = tensor_scalar(&s.a, DT_F32, -1);
  Diags d = {0};
  Module *m = import_with(&s, &o, &d);
  cr_assert(m, "%s", d.len ? d.at[0].text : "");
  cr_assert_str_eq(type_text(&value_of(m, m->main->outputs.at[0])->type), "f32[2,1]");
  o.binds[0].value = tensor_scalar(&s.a, DT_F32, 0.5);
  cr_assert_null(import_with(&s, &o, &d));
  cr_assert(says(&d, "does not fit its type i64[1]"));
  o.binds[0].value = tensor_new(&s.a, DT_I64, 1, (int64_t[]){2});
  cr_assert_null(import_with(&s, &o, &d));
  cr_assert(says(&d, "the value bound to it is i64[2]"));
}
