/* ONNX export: the table, elementwise functions that ONNX lacks, symbolic sizes, refusals. Whole models: suite
 * export. */
#include "frontend/import.h"
#include "frontend/onnx_export.h"
#include "ir/eval.h"
#include "tests/unit/cases.h"

Test(export, every_op_has_a_row) {
  for (int op = OP_NONE + 1; op < OP_COUNT; op++)
    cr_expect(onnx_exports((Op)op) != (onnx_export_refusal((Op)op) != NULL), "exporters.def: %s", op_info[op].text);
}

static Module *again(Module *m, Diags *d) {
  void *bytes;
  size_t size;
  if (!onnx_export(m, "a test", &d->arena, &bytes, &size, d)) return NULL;
  return onnx_import_bytes(bytes, size, "exported", &(ImportOptions){0}, d);
}

/* The text, exported and imported again; NULL after an error, which is in d. */
static Module *there_and_back(const char *text, Diags *d) {
  Module *m = module_parse(text, NULL, d);
  cr_assert(m && !d->errors, "%s", d->len ? d->at[0].text : "does not parse");
  Module *back = again(m, d);
  module_free(m);
  return back;
}

static double outcome_of(Module *m, double a, double b) {
  Eval e;
  eval_begin(&e, m);
  double in[] = {a, b};
  for (int k = 0; k < m->main->inputs.len; k++) {
    Tensor *t = tensor_new(&m->perm, value_of(m, m->main->inputs.at[k])->type.dtype, 1, (int64_t[]){1});
    tensor_set(t, 0, in[k]);
    cr_assert(eval_bind_input(&e, k, t));
  }
  cr_assert(eval_graph(&e, m->main));
  double y = tensor_get(eval_value(&e, m->main->outputs.at[0]), 0);
  eval_end(&e);
  return y;
}

#define ONE "module m { input %%a : f64[1] %%y = %s(%%a) output %%y }"
#define TWO "module m { input %%a : f64[1] input %%b : f64[1] %%y = %s(%%a, %%b) output %%y }"

/* Every scalar function of floats, where ONNX has it under its own name and where it is built. */
Test(export, scalar_functions) {
  static const double at[] = {-3.5, -1, -0.25, -1e-9, 0, 1e-9, 0.3, 1, 2.5, 30, 3e10, INFINITY, NAN};
  for (int s = 0; s < SCALAR_COUNT; s++) {
    const ScalarInfo *f = &scalar_info[s];
    if (f->arity > 2 || f->domain == DOM_INT || f->domain == DOM_BITS || f->domain == DOM_LOGIC) continue;
    const char *text = f->arity == 1 ? ONE : TWO;
    Diags d = {0};
    Module *m = there_and_back(arena_printf(&d.arena, text, f->text), &d);
    cr_assert(m, "%s: %s", f->text, d.len ? d.at[0].text : "");
    for (size_t i = 0; i < sizeof at / sizeof *at; i++)
      for (size_t k = 0; k < (f->arity == 2 ? sizeof at / sizeof *at : 1); k++) {
        if (isinf(at[i]) && isinf(at[k]) && s == S_ATAN2) continue;    // a quotient of infinities
        double want = scalar_eval_float((ScalarOp)s, at[i], at[k], 0), got = outcome_of(m, at[i], at[k]);
        bool same = want == got || (isnan(want) && isnan(got)) || fabs(want - got) <= 1e-12 * fabs(want);
        cr_expect(same, "%s(%g, %g) is %.17g, exported %.17g", f->text, at[i], at[k], want, got);
      }
    module_free(m);
  }
}

/* Every case of the evaluator, with each of its inputs given when running; how many cannot be said. */
Test(export, table) {
  int refused = 0;
  for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
    const Case *c = &cases[k];
    Diags d = {0};
    Op op = op_from_text(c->op);
    Module *m = module_new("case", &d);
    ValueId in[MAX_IN] = {0};
    Tensor *given[MAX_IN];
    Attr attr[16];
    int nin = 0, fed = 0;
    for (; nin < MAX_IN && c->in[nin]; nin++) {
      if (!*c->in[nin]) continue;
      Tensor *t = given[fed++] = read_tensor(&m->perm, c->in[nin]);
      Dim dims[MAX_RANK];
      for (int i = 0; i < t->rank; i++) dims[i] = DIM(t->dims[i]);
      in[nin] = graph_add_input(m->main, NULL, type_of(t->dtype, t->rank, dims));
    }
    NodeId n = graph_add_node(m->main, op, in, nin, case_outputs(c), attr, read_attrs(m, op, c->attrs, attr));
    for (int i = 0; i < node_of(m, n)->nout; i++) *vec_push(&m->perm, &m->main->outputs) = node_of(m, n)->out[i];
    Module *back = d.errors ? NULL : again(m, &d);
    cr_expect(back || d.errors, "%s", c->op);
    refused += !back;
    Eval e;
    if (back) {
      eval_begin(&e, back);
      for (int i = 0; i < fed; i++) eval_bind_input(&e, i, given[i]);
      cr_expect(eval_graph(&e, back->main), "case %zu, %s: %s", k, c->op, d.len ? d.at[0].text : "");
      for (int i = 0; i < MAX_OUT && c->out[i]; i++)
        if (*c->out[i])
          expect_tensor(eval_value(&e, back->main->outputs.at[i]), read_tensor(&m->perm, c->out[i]), c->op);
      eval_end(&e);
      module_free(back);
    } else if (!onnx_export_refusal(op))
      printf("  case %zu, %s {%s}: %s\n", k, c->op, c->attrs, d.len ? d.at[0].text : "?");
    module_free(m);
    diags_free(&d);
  }
  cr_expect(refused < 60, "%d of %zu cases refused", refused, sizeof cases / sizeof *cases);
}

/* Sizes that are known when running come from Shape of the input. */
Test(export, symbolic_sizes) {
  Diags d = {0};
  Module *m = there_and_back(
      "module m { dim N in 1..8 dim T in 1..8 input %x : f32[N,T,4] %y = reshape(%x) {shape=[T,2*N,2]} "
      "%z = slice(%y) {starts=[0,2*N - 1,0], steps=[1,-1,1], shape=[T,N,2]} output %z }",
      &d);
  cr_assert(m, "%s", d.len ? d.at[0].text : "");
  cr_expect_str_eq(type_text(&value_of(m, m->main->outputs.at[0])->type), "f32[T,N,2]");
  module_free(m);
}

/* fmt has the number of each of n, perhaps several times. */
static void put_each(Text *t, int n, const char *separator, const char *fmt) {
  for (int k = 0; k < n; k++) {
    if (k) text_put(t, separator);
    text_printf(t, fmt, k, k);
  }
}

/* Attributes of a scan have a number for each of its inputs, however many there are. */
Test(export, scan_of_many_inputs) {
  enum { MANY = 60 };
  static const char *const lists[] = {"in_axes", "in_reverse", "out_axes", "out_reverse"};
  Diags d = {0};
  Text t = {0};
  text_put(&t, "module m { ");
  put_each(&t, MANY, " ", "input %%x%d : f32[3,2]");
  put_each(&t, MANY, ", ", "%%y%d");
  text_put(&t, " = scan(");
  put_each(&t, MANY, ", ", "%%x%d");
  text_printf(&t, ") {scan_inputs=%d", MANY);
  for (int k = 0; k < 4; k++) {
    text_printf(&t, ", %s=[", lists[k]);
    put_each(&t, MANY, ",", "0");
    text_put(&t, "]");
  }
  text_put(&t, "} region body(");
  put_each(&t, MANY, ", ", "%%a%d : f32[2]");
  text_put(&t, ") { ");
  put_each(&t, MANY, " ", "%%b%d : f32[2] = neg(%%a%d)");
  text_put(&t, " yield ");
  put_each(&t, MANY, ", ", "%%b%d");
  text_put(&t, " } ");
  put_each(&t, MANY, " ", "output %%y%d");
  text_put(&t, " }");
  Module *m = there_and_back(t.at, &d);
  cr_assert(m, "%s", d.len ? d.at[0].text : "");
  cr_expect_eq(m->main->outputs.len, MANY);
  module_free(m);
  diags_free(&d);
  text_free(&t);
}

Test(export, refusals_name_the_node) {
  Diags d = {0};
  cr_expect_null(
      there_and_back("module m { input %x : f32[4] input %t : f32[4] %y = bitcast(%x) {to=i32} %z = mul(%x, %t) "
                     "%w = cumprod(%z) {axis=0, exclusive=0, reverse=0} output %y output %w }",
                     &d));
  cr_expect_eq(d.errors, 2);
  cr_expect_str_eq(d.at[0].text, "bitcast cannot be exported: BitCast exists from opset 26 on");
}
