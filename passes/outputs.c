/* outputs: every output of the model is computed by a node of its own.
 *
 *   output that is an input, a constant, or an earlier output  ->  copy of it, under the output's name
 *
 * So that later passes may take an output's memory to be the caller's, written exactly once. */
#include "passes/passes.h"

static bool is_earlier(const Graph *g, int k) {
  for (int i = 0; i < k; i++)
    if (g->outputs.at[i] == g->outputs.at[k]) return true;
  return false;
}

static bool is_input(const Graph *g, ValueId v) {
  for (int i = 0; i < g->inputs.len; i++)
    if (g->inputs.at[i] == v) return true;
  return false;
}

bool pass_outputs(PassContext *c) {
  Module *m = c->module;
  Graph *g = m->main;
  for (int k = 0; k < g->outputs.len; k++) {
    ValueId v = g->outputs.at[k];
    if (value_of(m, v)->def && !is_earlier(g, k)) continue;
    const char *name = value_of(m, v)->name;
    bool keeps = is_input(g, v) || is_earlier(g, k);             // the input or first output needs its name itself
    if (!keeps) graph_rename_value(m, v, NULL);
    g->outputs.at[k] = graph_op(g, OP_COPY, &v, 1, NULL, 0);
    graph_rename_value(m, g->outputs.at[k], name);
  }
  return true;
}
