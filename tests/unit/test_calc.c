/* frontend/calc.c and frontend/window.h by hand-made nodes: what the suite's models do not pin down. */
#include "frontend/onnx_model.h"
#include "frontend/window.h"
#include "ir/eval.h"
#include <criterion/criterion.h>
#include <math.h>

static Diags diags;
static Import x;
static OnnxNode node;
static Onnx__Node proto;

static void start(void) {
  diags = (Diags){0};
  onnx__node__init(&proto);
  node = (OnnxNode){.proto = &proto};
  Module *m = module_new("t", &diags);
  x = (Import){.m = m, .g = m->main, .node = &node, .op = "Test", .domain = "", .opset = 13};
}

static void stop(void) { module_free(x.m); diags_free(&diags); symbols_reset(); }

/* Graph inputs with these values: constants would be folded, for which a file must be being imported. */
static const Tensor *given[8];

static ValueId input(DType t, const double *v, int n) {
  Tensor *c = tensor_new(&x.m->perm, t, 1, (int64_t[]){n});
  for (int i = 0; i < n; i++) tensor_set(c, i, v[i]);
  given[x.g->inputs.len] = c;
  return graph_add_input(x.g, NULL, type_of(t, 1, (Dim[]){DIM(n)}));
}

static const Tensor *value(ValueId v) {
  static Eval e;
  cr_assert(v != 0 && diags.errors == 0, "%s", diags.len ? diags.at[0].text : "no value");
  eval_begin(&e, x.m);
  for (int k = 0; k < x.g->inputs.len; k++) cr_assert(eval_bind_input(&e, k, given[k]));
  cr_assert(eval_graph(&e, x.g));
  return eval_value(&e, v);
}

static void check(ValueId v, const double *want, int n) {
  const Tensor *t = value(v);
  cr_assert_eq(tensor_count(t), n);
  for (int i = 0; i < n; i++)
    cr_assert_eq(tensor_get(t, i), want[i], "element %d is %g, not %g", i, tensor_get(t, i), want[i]);
}

Test(calc, saturate_rounds_half_to_even_and_clamps, .init = start, .fini = stop) {
  const double in[] = {0.5, 1.5, 2.5, -0.5, -1.5, 300, -300, (double)INFINITY};
  ValueId v = input(DT_F32, in, 8), three = input(DT_U8, (double[]){3}, 1);
  check(calc_saturate(&x, v, three, DT_U8), (double[]){3, 5, 5, 3, 1, 255, 0, 255}, 8);
  check(calc_saturate(&x, v, 0, DT_I8), (double[]){0, 2, 2, 0, -2, 127, -128, 127}, 8);
  check(calc_saturate(&x, v, 0, DT_I4), (double[]){0, 2, 2, 0, -2, 7, -8, 7}, 8);
  check(calc_saturate(&x, v, 0, DT_U2), (double[]){0, 2, 2, 0, 0, 3, 0, 3}, 8);
}

Test(calc, mean_of_narrow_floats_does_not_overflow, .init = start, .fini = stop) {
  const double in[] = {60000, 60000, 60000, 60000};
  check(calc_mean(&x, input(DT_F16, in, 4), (int[]){0}, 1, true), in, 1);
}

Test(calc, absent_operands_give_absent_results, .init = start, .fini = stop) {
  ValueId one = imp_scalar(&x, DT_F32, 1);
  cr_expect_eq(calc_add(&x, one, 0), 0);
  cr_expect_eq(calc_reshape(&x, calc_cast(&x, calc_mulc(&x, 0, 2), DT_F16), NULL, 0), 0);
  cr_expect_eq(calc_concat2(&x, 0, 0, one), 0);
  cr_expect_eq(calc_swap_last(&x, one), 0);
  cr_expect_eq(calc_mean(&x, 0, NULL, 0, true), 0);
  cr_expect_eq(diags.errors, 0);
}

Test(calc, inlined_region_computes_in_place, .init = start, .fini = stop) {
  ValueId arg = input(DT_F32, (double[]){1, 2}, 2);
  Graph *region = graph_new(x.m, "body", 0);
  ValueId in = graph_add_input(region, "in", *calc_type(&x, arg));
  *vec_push(&x.m->perm, &region->outputs) = graph_op(region, OP_NEG, &in, 1, NULL, 0);
  *vec_push(&x.m->perm, &region->outputs) = in;                /* handed through: becomes the argument itself */
  calc_inline(&x, region, &arg, 1);
  cr_expect_eq(region->nodes.len, 0);
  cr_expect_eq(region->outputs.at[1], arg);
  check(region->outputs.at[0], (double[]){-1, -2}, 2);
}

/* ---- windows of a node with auto_pad */

static bool window(const char *mode, const Dim *spatial, Window *w) {
  static Onnx__Attribute attr[3];
  static const Onnx__Attribute *list[3] = {&attr[0], &attr[1], &attr[2]};
  static int64_t kernel[] = {4, 2}, strides[] = {2, 3};
  static const char *const name[] = {"auto_pad", "kernel_shape", "strides"};
  for (int k = 0; k < 3; k++) {
    onnx__attribute__init(&attr[k]);
    attr[k].name = (char *)name[k];
    attr[k].type = k ? ONNX_INTS : ONNX_STRING;
  }
  attr[0].s = (ProtobufCBinaryData){strlen(mode), (uint8_t *)mode};
  attr[1].n_ints = attr[2].n_ints = 2;
  attr[1].ints = kernel, attr[2].ints = strides;
  static bool read[3];
  node.attr = list, node.read = read, node.nattr = 3;
  static ValueId in[1];
  in[0] = graph_add_input(x.g, "image", type_of(DT_F32, 4, (Dim[]){DIM(1), DIM(3), spatial[0], spatial[1]}));
  x.in = in, x.nin = 1;
  return window_read(&x, 0, NULL, w);
}

Test(window, same_puts_the_odd_one_at_the_end_or_the_beginning, .init = start, .fini = stop) {
  /* axis 0: 9 -> 5 outputs, span 12, pad 3. axis 1: 7 -> 3 outputs, span 8, pad 1 */
  Window w;
  cr_assert(window("SAME_UPPER", (Dim[]){DIM(9), DIM(7)}, &w));
  cr_expect(dim_is(w.pad[0], 1) && dim_is(w.pad[2], 2) && dim_is(w.pad[1], 0) && dim_is(w.pad[3], 1));
  cr_assert(window("SAME_LOWER", (Dim[]){DIM(9), DIM(7)}, &w));
  cr_expect(dim_is(w.pad[0], 2) && dim_is(w.pad[2], 1) && dim_is(w.pad[1], 1) && dim_is(w.pad[3], 0));
}

Test(window, same_of_a_symbol_becomes_a_pad_node, .init = start, .fini = stop) {
  Window w;
  bool padded;
  Dim n = dim_symbol("N", 4, 64);
  cr_assert(window("SAME_UPPER", (Dim[]){n, DIM(7)}, &w));
  ValueId v = window_pad(&x, x.in[0], &w, 0, &padded);
  cr_expect(padded && dim_is(w.pad[0], 0) && dim_is(w.pad[3], 0));
  cr_expect(dim_is(calc_dim(&x, v, 3), 8));
  cr_expect(
      dim_eq(calc_dim(&x, v, 2),
             dim_add(n,
                     dim_max(DIM(0),
                             dim_sub(dim_add(dim_mul(dim_sub(dim_ceildiv(n, DIM(2)), DIM(1)), DIM(2)), DIM(4)),
                                     n)))));
}

Test(window, unknown_mode_is_an_error_for_people, .init = start, .fini = stop) {
  Window w;
  cr_expect_not(window("SAME", (Dim[]){DIM(9), DIM(7)}, &w));
  cr_assert_eq(diags.errors, 1);
  cr_expect(strstr(diags.at[0].text, "auto_pad 'SAME' is not one of") != NULL, "%s", diags.at[0].text);
}
