/* The graph IR: text that reads back as itself, messages for wrong text, replacing and removing, verification. */
#include "ir/ops.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *all =
    "module \"two words\" from \"a/b.onnx\" {\n"
    "  dim N in 1..32\n"
    "  dim 'past len' in 0..2147483647\n"
    "  input %image : f32[N,1,28,28]\n"
    "  input %\"x:0\" : i64['past len' + 1]\n"
    "  input %c : bool[]\n"
    "  weight %w1 : f32[8,1,5,5] = fill 0.5\n"
    "  weight %b1 : f32[8] = [0.0, 1.5, -2.0, inf, nan, 1e-10, -0.0, 3.4028235e+38]\n"
    "  %c1 : f32[N,8,28,28] = conv(%image, %w1, %b1) {strides=[1,1], pads=[2,2,2,2], dilations=[1,1], group=1}"
    " @\"Convolution28\":\"Conv\":7\n"
    "  %p : f32[N,8,14,14] = max_pool(%c1) {kernel=[2,2], strides=[2,2], pads=[0,0,0,0], dilations=[1,1], ceil=0} fused 3\n"
    "  %i : f32[N] = iota() {dtype=f32, shape=[N], axis=0} @_:\"Range\"\n"
    "  %d : i64[2] = dims() {dims=[2*N,7], rank=1}\n"
    "  %q : f32[N,8,28,28] = layer_norm(%c1, %w2, _) {axis=3, epsilon=1e-05}\n"
    "  %y : f32[N,8,28,28] = if(%c) @\"branch \\\"1\\\"\"\n"
    "    region then() {\n"
    "      %r : f32[N,8,28,28] = relu(%c1)\n"
    "      yield %r\n"
    "    }\n"
    "    region else() {\n"
    "      yield %q\n"
    "    }\n"
    "  output %y\n"
    "  output %i\n"
    "}\n";

static Module *parse(const char *text, Diags *d) {
  Module *m = module_parse(text, NULL, d);
  if (!m) diags_print(d, stderr);
  return m;
}

static void cr_same(const char *got, const char *want) {
  int line = 1;
  const char *g = got, *w = want;
  while (*g && *g == *w) { line += *g == '\n'; g++; w++; }
  if (*g || *w) fprintf(stderr, "%s", got);
  cr_assert(!*g && !*w, "differs at line %d", line);
}

Test(graph, text_reads_back) {
  Diags d = {0};
  char buf[4000];                                    // the weight of layer_norm goes where it is first used
  const char *at = strstr(all, "  %q :");
  snprintf(buf, sizeof buf, "%.*s  weight %%w2 : f32[28] = [%s]\n%s", (int)(at - all), all,
           "1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0, "
           "1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0", at);
  Module *m = parse(buf, &d);
  cr_assert(m);
  Text t = {0};
  module_print(&t, m);
  cr_same(t.at, buf);
  cr_assert(module_verify(m, &d));
  text_free(&t);
  module_free(m);
}

Test(graph, attributes_of_every_kind) {
  Diags d = {0};
  const char *text =
    "module m {\n"
    "  input %x : f32[5,2,3]\n"
    "  weight %w : f32[1,12,3] = fill 0.0\n"
    "  weight %r : f32[1,12,3] = fill -1.0\n"
    "  %y : f32[5,1,2,3], %h : f32[1,2,3], %c : f32[1,2,3] = lstm(%x, %w, %r) {hidden=3, direction=\"forward\","
    " activations=s[\"Sigmoid\",\"Tanh\",\"Tanh\"], alpha=f[], beta=f[0.5,0.1,inf], clip=0.0, input_forget=0}\n"
    "  output %y\n"
    "}\n";
  Module *m = parse(text, &d);
  cr_assert(m);
  Text t = {0};
  module_print(&t, m);
  cr_same(t.at, text);
}

Test(graph, side_file) {
  Diags d = {0};
  Module *m =
      parse("module m { input %x : f32[2,64] weight %w : f32[64,64] = random 3 %y = matmul(%x, %w) output %y }",
            &d);
  cr_assert(m);
  char path[] = "/tmp/lathe_graph_XXXXXX", why[200];
  close(mkstemp(path));
  cr_assert(module_save_weights(m, path, why, sizeof why), "%s", why);
  Text t = {0}, u = {0};
  module_print(&t, m);
  Module *again = module_parse(t.at, path, &d);
  cr_assert(again);
  module_print(&u, again);
  cr_same(u.at, t.at);
  cr_assert(!module_parse(t.at, NULL, &d));
  unlink(path);
}

Test(graph, names_like_fresh_ones) {
  Diags d = {0};
  const char *text =
    "module m {\n"
    "  input %x : f32[8]\n"
    "  %v3 : f32[2], %v1 : i64[2] = topk(%x) {axis=0, k=[2], largest=1, sorted=1}\n"
    "  %v2 : f32[2] = neg(%v3)\n"
    "  output %v2\n"
    "  output %v1\n"
    "}\n";
  Module *m = parse(text, &d);
  cr_assert(m);
  Text t = {0};
  module_print(&t, m);
  cr_same(t.at, text);
}

static void refused(const char *text, const char *where, const char *what) {
  Diags d = {.file = "t"};
  Module *m = module_parse(text, NULL, &d);
  cr_assert(!m && d.errors == 1, "%s", text);
  cr_assert(strstr(d.at[0].text, what), "'%s' does not say '%s'", d.at[0].text, what);
  if (where) cr_assert_str_eq(d.at[0].where, where);
  diags_free(&d);
}

Test(graph, wrong_text) {
  refused("", "1:1", "expected 'module'");
  refused("module m { input %x }", "1:21", "needs a type");
  refused("module m {\n  %y = relu(%x)\n}", "2:13", "%x is not defined");
  refused("module m { input %x : f33[2] }", "1:23", "'f33' is not an element type");
  refused("module m { input %x : f32[2] input %x : f32[2] }", "1:37", "defined twice");
  refused("module m { input %x : f32[8] %y, %y = topk(%x) {axis=0, k=[2], largest=1, sorted=1} }", NULL,
          "defined twice");
  refused("module m { input %x : f32[2] %y = rellu(%x) }", "1:35", "no op 'rellu'");
  refused("module m { input %x : f32[2] %y : f32[3] = relu(%x) }", "1:30", "f32[2]");
  refused("module m { input %x : f32[2] %y = relu(%x, %x) }", NULL, "input");
  refused("module m { weight %w : f32[2] = [1, 2 }", "1:39", "expected ']'");
  refused("module m { weight %w : f32[2] = #123 }", "1:34", "side file");
  refused("module m { weight %w : f32[99999999999999] = fill 0 }", NULL, "too large");
  refused("module m { dim N in 3..2 }", NULL, "empty");
  refused("module \"m", NULL, "does not end");
}

/* Every prefix of a module is an error or a module, never a crash. */
Test(graph, truncated_text) {
  for (size_t n = 0; n < strlen(all); n++) {
    Diags d = {0};
    char *s = strndup(all, n);
    Module *m = module_parse(s, NULL, &d);
    cr_assert(!m && d.errors > 0);
    diags_free(&d);
    free(s);
  }
}

Test(graph, replacing_keeps_output_names) {
  Diags d = {0};
  Module *m = parse("module m { input %x : f32[2] %a = relu(%x) %y = copy(%a) output %y }", &d);
  ValueId y = graph_find_value(m, "y"), a = graph_find_value(m, "a"), x = graph_find_value(m, "x");
  cr_assert(!graph_may_replace(m, y, x) && graph_may_replace(m, y, a));
  graph_replace_uses(m, y, a);
  graph_remove_node(m, value_of(m, y)->def);
  graph_sweep(m);
  cr_assert(module_verify(m, &d));
  Text t = {0};
  module_print(&t, m);
  cr_same(t.at, "module m {\n  input %x : f32[2]\n  %y : f32[2] = relu(%x)\n  output %y\n}\n");
  cr_assert_eq(graph_find_value(m, "y"), a);
}

Test(graph, inserting_in_the_middle) {
  Diags d = {0};
  Module *m = parse("module m { input %x : f32[2] %a = relu(%x) %y = neg(%a) output %y }", &d);
  NodeId neg = value_of(m, graph_find_value(m, "y"))->def;
  graph_insert_before(m->main, neg);
  ValueId b = graph_op(m->main, OP_EXP, (ValueId[]){graph_find_value(m, "a")}, 1, NULL, 0);
  ValueId c = graph_op(m->main, OP_LOG, &b, 1, NULL, 0);
  graph_insert_end(m->main);
  node_of(m, neg)->in[0] = c;
  cr_assert(module_verify(m, &d));
  cr_assert_eq(node_of(m, m->main->nodes.at[1])->op, OP_EXP);
  cr_assert_eq(node_of(m, m->main->nodes.at[3])->op, OP_NEG);
  Arena tmp = {0};
  int *uses = graph_use_counts(m, &tmp);
  cr_assert_eq(uses[b], 1);
  cr_assert_eq(uses[graph_find_value(m, "y")], 1);
  arena_free(&tmp);
}

Test(graph, verification_finds_faults) {
  Diags d = {0};
  const char *text = "module m { input %x : f32[2] %a = relu(%x) %y = neg(%a) output %y }";
  Module *m = parse(text, &d);
  NodeId first = m->main->nodes.at[0];
  m->main->nodes.at[0] = m->main->nodes.at[1];
  m->main->nodes.at[1] = first;
  cr_assert(!module_verify(m, &d), "order");
  m = parse(text, &d);
  value_of(m, graph_find_value(m, "y"))->type.dims[0] = DIM(3);
  cr_assert(!module_verify(m, &d), "type");
  m = parse(text, &d);
  value_of(m, graph_find_value(m, "y"))->name = "a";
  cr_assert(!module_verify(m, &d), "name");
  m = parse(text, &d);
  node_of(m, 1)->dead = true;
  cr_assert(!module_verify(m, &d), "dead");
}
