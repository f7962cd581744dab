/* The table of eval_cases.h through all passes and the loop interpreter: what kernels compute is what the evaluator
 * defines. Naive nests, tiled and vectorised ones, and scalar ones, as each target has them. */
#include "passes/pipeline.h"
#include "tests/unit/cases.h"

/* parts: of every kernel that can be shared */
typedef struct Form { const char *target; bool naive; int parts; } Form;
static const Form forms[] = {{"x86-64-v4", false, 1}, {"x86-64", false, 1}, {"c99", false, 1}, {"x86-64", true, 1},
                             {"x86-64-v3", false, 2}, {"x86-64-v3", false, 7}, {"c99", false, 3}};
enum { FORMS = sizeof forms / sizeof *forms };

/* Inputs as the model's, or as constants: a region of interest must be one. NULL: refused. */
static Program *compile(const Case *c, const Form *f, bool constant, Module *m, const Tensor **in) {
  Op op = op_from_text(c->op);
  ValueId v[MAX_IN] = {0};
  Attr attrs[16];
  int nin = 0, given = 0;
  for (int k = 0; k < MAX_IN && c->in[k]; k++, nin++) {
    if (!*c->in[k]) continue;
    Tensor *t = read_tensor(&m->perm, c->in[k]);
    Dim dims[MAX_RANK] = {{0}};
    for (int i = 0; i < t->rank; i++) dims[i] = DIM(t->dims[i]);
    if (constant && k) v[k] = graph_add_constant(m, NULL, t);
    else v[k] = graph_add_input(m->main, NULL, type_of(t->dtype, t->rank, dims)), in[given++] = t;
  }
  NodeId n = graph_add_node(m->main, op, v, nin, case_outputs(c), attrs, read_attrs(m, op, c->attrs, attrs));
  if (m->diags->errors) return NULL;
  for (int k = 0; k < case_outputs(c); k++) *vec_push(&m->perm, &m->main->outputs) = node_of(m, n)->out[k];
  PassOptions o = {.naive = f->naive, .verify = true, .part_cycles = f->parts > 1 ? 1 : 0};
  return compile_module(m, target_find(f->target), &o, &m->perm);
}

static void run_case(const Case *c, const Form *f) {
  char what[500];
  snprintf(what, sizeof what, "%s%s: %s {%s} of %s", f->target, f->naive ? " naive" : "", c->op, c->attrs,
           c->in[0] ? c->in[0] : "nothing");
  for (int constant = 0; constant < 2; constant++) {
    symbols_reset();
    Diags d = {0};
    Module *m = module_new("case", &d);
    const Tensor *in[MAX_IN] = {0};
    Tensor *out[MAX_OUT] = {0};
    Program *p = compile(c, f, constant, m, in);
    bool again = !p && !constant && d.errors && strstr(d.at[0].text, "only at run time");
    bool ok = p && program_run_parts(p, f->parts, in, out, &m->perm, &d);
    cr_expect(ok || again, "%s: %s", what, d.errors ? d.at[0].text : "failed without a word");
    for (int k = 0; ok && k < MAX_OUT && c->out[k]; k++)
      if (*c->out[k]) expect_tensor(out[k], read_tensor(&m->perm, c->out[k]), what);
    module_free(m);
    diags_free(&d);
    if (!again) break;
  }
}

Test(lower, table) {
  for (size_t k = 0; k < sizeof cases / sizeof *cases; k++)
    for (int f = 0; f < FORMS; f++) run_case(&cases[k], &forms[f]);
}

/* A transposed B lies strided in its input: read in place it would be gathered again and again, so it is packed
 * once. */
Test(lower, transposed_operand_is_packed) {
  Diags d = {0};
  Module *m = module_parse("module m { input %x : f32[32,64] input %w : f32[48,64] %t = transpose(%w) {perm=[1,0]} "
                           "%y = matmul(%x, %t) output %y }", NULL, &d);
  Program *p = compile_module(m, target_find("x86-64-v3"), &(PassOptions){0}, &m->perm);
  bool packed = false;
  for (int i = 0; i < p->buffers.len; i++) packed |= !p->buffers.at[i].value && dim_is(p->buffers.at[i].elems, 48 * 64);
  cr_assert(packed);
  module_free(m);
  diags_free(&d);
}
