/* Puts a graph's nodes in execution order. ONNX demands that order of the file, but exporters and graph surgery
 * break the rule often enough. A depth-first walk along the inputs, with its own stack (chains are as long as
 * networks are deep); it keeps the file's order where that is already right. A node with sub-graphs depends
 * on whatever those read from here. */
#include "frontend/onnx_order.h"
#include "base/intern.h"
#include "base/text.h"
#include "frontend/onnx_names.h"

const char *onnx_node_name(const Onnx__Node *n) {
  if (n->name && *n->name) return n->name;
  for (size_t k = 0; k < n->n_output; k++)
    if (*n->output[k]) return n->output[k];
  return "";
}

typedef VEC(int) Needs;

/* Appends the producers, in this graph, of every name that n reads, sub-graphs included. */
static void add_needs(Arena *a, const NameMap *producer, const Onnx__Node *n, Needs *needs) {
  int64_t from;
  for (size_t k = 0; k < n->n_input; k++)
    if (*n->input[k] && names_find(producer, intern(n->input[k]), &from)) *vec_push(a, needs) = (int)from;
  for (size_t k = 0; k < n->n_attribute; k++) {
    const Onnx__Attribute *at = n->attribute[k];
    for (size_t g = 0; g < at->n_graphs + (at->g != NULL); g++) {
      const Onnx__Graph *sub = g < at->n_graphs ? at->graphs[g] : at->g;
      for (size_t i = 0; i < sub->n_node; i++) add_needs(a, producer, sub->node[i], needs);
      for (size_t i = 0; i < sub->n_output; i++)
        if (sub->output[i]->name && names_find(producer, intern(sub->output[i]->name), &from))
          *vec_push(a, needs) = (int)from;
    }
  }
}

typedef struct Visit { int node, next; } Visit;

static int *report_cycle(const Visit *stack, int depth, int again, Onnx__Node *const *node, Diags *d) {
  Text t = {0};
  int first = 0;
  while (stack[first].node != again) first++;
  for (int k = depth - 1, shown = 0; k >= first; k--, shown++) {
    if (shown < 8) text_printf(&t, "'%s' -> ", onnx_node_name(node[stack[k].node]));
    else if (shown == 8) text_put(&t, "… -> ");
  }
  diag_error(d, "parse", NULL, "the nodes %s'%s' form a cycle", t.at, onnx_node_name(node[stack[depth - 1].node]));
  text_free(&t);
  return NULL;
}

int *onnx_order(Arena *a, Onnx__Node *const *node, size_t n, Diags *d) {
  NameMap producer = {0};
  for (size_t i = 0; i < n; i++)
    for (size_t k = 0; k < node[i]->n_output; k++)
      if (*node[i]->output[k]) names_add(a, &producer, intern(node[i]->output[k]), (int64_t)i);

  Needs *needs = NEW_N(a, Needs, n + 1);
  int *order = NEW_N(a, int, n + 1), done = 0;
  bool sorted = true;
  for (size_t i = 0; i < n; i++) {
    add_needs(a, &producer, node[i], &needs[i]);
    order[i] = (int)i;
    for (int k = 0; k < needs[i].len; k++) sorted &= needs[i].at[k] < (int)i;
  }
  if (sorted) return order;

  enum { NEW_NODE, OPEN, DONE };
  char *state = NEW_N(a, char, n);
  Visit *stack = NEW_N(a, Visit, n + 1);
  for (size_t i = 0; i < n; i++) {
    int depth = 0;
    if (state[i] == NEW_NODE) stack[depth++] = (Visit){(int)i, 0}, state[i] = OPEN;
    while (depth) {
      Visit *v = &stack[depth - 1];
      if (v->next == needs[v->node].len) {
        order[done++] = v->node, state[v->node] = DONE, depth--;
        continue;
      }
      int need = needs[v->node].at[v->next++];
      if (state[need] == OPEN) return report_cycle(stack, depth, need, node, d);
      if (state[need] == NEW_NODE) stack[depth++] = (Visit){need, 0}, state[need] = OPEN;
    }
  }
  return order;
}
